//! The short way of a store against the long one: two oracles see the same steps, right and wrong ones at random,
//! of which one judges each store anew. They must agree after each.

mod common;

use abi::{Asid, Level, Order, PAGE_SIZE, Pfn, PhysAddr, Prot};
use common::{ALL, ASID, LOCAL, Paper, RAM, TABLES, block, by, everything, of_page, of_walk};
use pte::{Caps, Entry, Leaf, MigrationKind, Soft, Table};
use std::collections::BTreeSet;

/// A second table of pages, which comes and goes.
const SECOND: Pfn = Pfn(RAM.0 + 8);
/// Frames that entries map.
const FRAMES: Pfn = Pfn(RAM.0 + 1024);
const NR_FRAMES: u64 = 64;

/// Small numbers that one seed decides.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

/// Both oracles, each with memory of its own.
struct Twins {
    short: Paper,
    long: Paper,
    is_linked: bool,
    /// What decides their steps, for whoever has to repeat them.
    seed: u64,
}

impl Twins {
    fn new(caps: Caps, seed: u64) -> Self {
        let mut twins = Self {
            short: Paper::new(caps),
            long: Paper::with(caps, |oracle| oracle.thorough()),
            is_linked: false,
            seed,
        };
        twins.both(|paper| {
            (0..NR_FRAMES).for_each(|n| paper.alloc(FRAMES + n, Order::PAGE));
            paper.new_table(SECOND, Level::Pte);
            paper.publish(0, ALL);
            paper.enter(1, ASID);
            paper.lock(1);
        });
        twins
    }

    #[track_caller]
    fn both(&mut self, step: impl Fn(&mut Paper)) {
        step(&mut self.short);
        step(&mut self.long);
    }

    /// Whether both say the same; and whether they are silent.
    fn agree(&mut self, slots: &[PhysAddr]) -> bool {
        let seed = self.seed;
        assert_eq!(self.short.to_string(), self.long.to_string(), "seed {seed}");
        assert_eq!(self.short.oracle.steps(), self.long.oracle.steps(), "seed {seed}");
        if self.short.oracle.report().is_some() {
            return false;
        }
        for &slot in slots {
            let (short, long) = (self.short.oracle.state(slot), self.long.oracle.state(slot));
            assert_eq!(short, long, "{slot}, seed {seed}");
        }
        true
    }

    /// A kind of change for a run of entries of one table.
    fn run(&mut self, dice: &mut Dice) -> Vec<PhysAddr> {
        let table = if dice.one_in(3) { SECOND } else { TABLES[3] };
        let (first, n) = (dice.below(32) * 4, 1 + dice.below(20));
        let (kind, cpu) = (dice.below(10), dice.below(2) as u8);
        let (frames, exchanges) = (dice.below(NR_FRAMES - 24), !dice.one_in(4));
        let slots: Vec<_> = (first..first + n).map(|n| table.base() + 8 * n).collect();
        for (n, &slot) in slots.iter().enumerate() {
            let old = self.short.word(slot);
            let new = word(kind, old, FRAMES + frames + n as u64);
            self.both(|paper| match exchanges {
                true => drop(paper.exchange(cpu, slot, new)),
                false => paper.store(cpu, slot, new),
            });
        }
        slots
    }

    /// A step of another kind.
    fn other(&mut self, dice: &mut Dice) {
        let (cpu, page, frame) = (dice.below(3) as u8, dice.below(128), dice.below(NR_FRAMES));
        let scope = if dice.one_in(8) { LOCAL } else { ALL };
        let asid = if dice.one_in(8) { Asid(ASID.0 + 1) } else { ASID };
        let kind = dice.below(16);
        if kind == 0 || kind == 14 {
            self.is_linked = !self.is_linked;
        }
        let dice_says = dice.one_in(4);
        let link = if self.is_linked { Table::new(SECOND).word() } else { 0 };
        self.both(|paper| match kind {
            0 | 14 => drop(paper.exchange(0, block(1), link)),
            1 => paper.flush(cpu, of_page(page, scope)),
            2 => paper.flush(cpu, of_walk(512, scope)),
            3 => paper.flush(cpu, everything(scope)),
            4 => paper.publish(cpu, scope),
            5 => paper.complete(cpu, scope),
            6 => paper.enter(cpu, asid),
            7 => paper.oracle.leave(by(cpu)),
            8 => {
                paper.unlock(1);
                paper.lock(1);
            }
            9 => {
                paper.oracle.frame_free(by(cpu), FRAMES + frame, Order::PAGE);
                paper.oracle.frame_alloc(by(cpu), FRAMES + frame, Order::PAGE);
            }
            10 => paper.done(abi::VirtRange::from_size(common::VA + page * PAGE_SIZE, PAGE_SIZE)),
            // Somebody's no more; whoever maps it now is told so.
            11 if dice_says => paper.oracle.frame_free(by(cpu), FRAMES + frame, Order::PAGE),
            12 if dice_says => paper.unlock(1),
            13 => paper.lock(1),
            _ if dice_says => {
                let slot = TABLES[3].base() + 8 * page;
                paper.scribble(slot, paper.word(slot) ^ PAGE_SIZE);
            }
            _ => hardware_writes(paper, TABLES[3].base() + 8 * page),
        });
    }
}

/// What stands in for `old`, which may be anything.
fn word(kind: u64, old: u64, frame: Pfn) -> u64 {
    let leaf = Leaf::user(Level::Pte, frame, Prot::ReadWrite).made_young().made_dirty();
    let (young, dirty, uffd_wp) = (true, true, false);
    let migration = |pfn, kind| Soft::Migration { pfn, kind, young, dirty, uffd_wp };
    match (kind, pte::decode(Level::Pte, old)) {
        (0 | 1, Entry::None) => leaf.word(),
        (2, Entry::None) => leaf.contiguous(true).word(),
        (3, _) => migration(frame, MigrationKind::Write).encode(Level::Pte),
        (4, Entry::Leaf(leaf)) => leaf.invalidated().word(),
        (5, Entry::PresentInvalid(leaf)) => {
            migration(leaf.pfn(), MigrationKind::Write).encode(Level::Pte)
        }
        (6, Entry::Soft(Soft::Migration { pfn, .. })) => {
            Leaf::user(Level::Pte, pfn, Prot::Read).made_young().word()
        }
        // Nobody has used it, so no TLB may have it: unless it had before, or hardware marks it.
        (8, Entry::None) => leaf.made_old().word(),
        (9, Entry::Leaf(leaf)) => leaf.made_old().word(),
        (7, Entry::Leaf(leaf)) => {
            Leaf::user(Level::Pte, leaf.pfn(), Prot::Read).made_young().word()
        }
        (_, Entry::Leaf(_)) => 0,
        _ => old,
    }
}

/// Hardware marks an entry: used, and written to.
fn hardware_writes(paper: &mut Paper, slot: PhysAddr) {
    let old = paper.word(slot);
    if let Entry::Leaf(leaf) = pte::decode(Level::Pte, old) {
        let written = if leaf.is_writable() { old & !pte::bits::RDONLY } else { old };
        paper.scribble(slot, written | pte::bits::AF);
    }
}

#[test]
fn both_ways_lead_to_the_same_verdict() {
    let (mut rules, mut steps) = (BTreeSet::new(), 0);
    for seed in 0..300 {
        let caps = if seed % 2 == 0 { Caps::CORTEX_A72 } else { Caps::MAX };
        let (mut dice, mut twins) = (Dice(seed), Twins::new(caps, seed));
        for _ in 0..200 {
            steps += 1;
            let slots = match dice.one_in(2) {
                true => twins.run(&mut dice),
                false => {
                    twins.other(&mut dice);
                    Vec::new()
                }
            };
            if !twins.agree(&slots) {
                break;
            }
        }
        rules.extend(twins.short.oracle.report().map(|report| report.rule.name()));
    }
    println!("{steps} steps, {rules:?}");
    assert!(rules.len() >= 8 && steps > 2000, "{steps} steps see too little: {rules:?}");
}

/// What leaves a table that nobody can reach is to be seen before somebody can, whichever way it went.
#[test]
fn a_table_is_emptied_the_short_way() {
    let mut paper = Paper::for_traces(Caps::CORTEX_A72);
    paper.play("table T; put T 0 A; put T 1 B; drop T 0; dsb.st; drop T 1; link 1 T");
    assert_eq!(paper.verdict(), "link-unpublished");
}
