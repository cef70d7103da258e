//! Two machines on paper that take the same steps, right and wrong ones at random, and whose oracles must say the
//! same after each: of two ways to see a step, one is slow and plain.

use super::{ALL, ASID, LOCAL, Paper, RAM, TABLES, block, by, everything, of_page, of_walk};
use abi::{Asid, Level, Order, PAGE_SIZE, Pfn, PhysAddr, Prot, VirtRange};
use granule_oracle::{By, How, Site, Stored};
use pte::{AsidMatch, Caps, Depth, Entry, Leaf, MigrationKind, Soft, Table, Target, Tlbi};

/// A second table of pages, which comes and goes.
const SECOND: Pfn = Pfn(RAM.0 + 8);
/// Frames that entries map.
const FRAMES: Pfn = Pfn(RAM.0 + 1024);
const NR_FRAMES: u64 = 64;
/// Slots of each table that steps are about.
const SLOTS: u64 = 148;

/// Small numbers that one seed decides.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }

    pub(crate) fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

/// How the first of the two is told of stores to many slots.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Told {
    /// One by one, as the second is.
    Singly,
    /// All at once.
    Together,
}

/// Both machines, each with memory of its own.
pub(crate) struct Twins {
    pub(crate) quick: Paper,
    pub(crate) plain: Paper,
    told: Told,
    is_linked: bool,
    /// What decides their steps, for whoever has to repeat them.
    seed: u64,
}

/// A store: the slot, and the new word.
type Store = (PhysAddr, u64);

impl Twins {
    pub(crate) fn new(caps: Caps, told: Told, seed: u64) -> Self {
        let mut twins = Self {
            quick: Paper::new(caps),
            plain: Paper::with(caps, |oracle| oracle.thorough()),
            told,
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
        step(&mut self.quick);
        step(&mut self.plain);
    }

    /// Whether both say the same, and are silent.
    pub(crate) fn agree(&mut self) -> bool {
        let seed = self.seed;
        assert_eq!(self.quick.to_string(), self.plain.to_string(), "seed {seed}");
        assert_eq!(self.quick.oracle.steps(), self.plain.oracle.steps(), "seed {seed}");
        if self.quick.oracle.report().is_some() {
            return false;
        }
        for slot in [TABLES[3], SECOND].into_iter().flat_map(|table| slots(table, 0, SLOTS)) {
            let (quick, plain) = (self.quick.oracle.state(slot), self.plain.oracle.state(slot));
            assert_eq!(quick, plain, "{slot}, seed {seed}");
        }
        true
    }

    /// A kind of change for a run of entries of one table, or of two in turn.
    pub(crate) fn run(&mut self, dice: &mut Dice) {
        let (cpu, n) = (dice.below(2) as u8, 1 + dice.below(20));
        let how = if dice.one_in(4) { How::Store } else { How::Exchange };
        let one = self.changes(dice, n);
        let other = if dice.one_in(3) { self.changes(dice, n) } else { Vec::new() };
        let mut all = Vec::new();
        for (n, &store) in one.iter().enumerate() {
            all.push(store);
            all.extend(other.get(n));
        }
        self.stores(cpu, how, &all);
    }

    fn changes(&self, dice: &mut Dice, n: u64) -> Vec<Store> {
        let table = if dice.one_in(3) { SECOND } else { TABLES[3] };
        let (first, kind) = (dice.below(32) * 4, dice.below(11));
        // Most map frames side by side; some all the same one.
        let (frames, step) = (dice.below(NR_FRAMES - 24), u64::from(!dice.one_in(8)));
        let change = |(n, slot)| {
            (slot, word(kind, self.plain.word(slot), FRAMES + frames + step * n as u64))
        };
        slots(table, first, n).enumerate().map(change).collect()
    }

    /// Takes all entries of a run away, or a part of it, as a right operation does.
    pub(crate) fn clear(&mut self, dice: &mut Dice) {
        let (first, n) = (dice.below(32) * 4, 1 + dice.below(20));
        let cleared: Vec<_> = slots(TABLES[3], first, n).map(|slot| (slot, 0)).collect();
        self.stores(0, How::Exchange, &cleared);
        self.both(|paper| paper.publish(0, ALL));
        let missing = if dice.one_in(8) { dice.below(n) } else { n };
        for page in (first..first + n).filter(|page| *page != first + missing) {
            self.both(|paper| paper.tlbi(0, of_page(page, ALL)));
        }
        self.both(|paper| paper.complete(0, ALL));
        if dice.one_in(2) {
            let range = VirtRange::from_size(super::VA + first * PAGE_SIZE, n * PAGE_SIZE);
            self.both(|paper| paper.done(range));
        }
    }

    fn stores(&mut self, cpu: u8, how: How, stores: &[Store]) {
        let site = Site::here();
        let made = |paper: &mut Paper| -> Vec<_> {
            let made = stores.iter().map(|&(slot, new)| {
                let old = paper.word(slot);
                paper.scribble(slot, new);
                Stored { slot, old, new, how, site }
            });
            made.collect()
        };
        let singly = |paper: &mut Paper, made: Vec<Stored>| {
            for Stored { slot, old, new, how, site } in made {
                paper.oracle.store(By { cpu, site }, slot, old, new, how);
            }
        };
        let (first, second) = (made(&mut self.quick), made(&mut self.plain));
        match self.told {
            Told::Singly => singly(&mut self.quick, first),
            Told::Together => self.quick.oracle.stores(cpu, &first),
        }
        singly(&mut self.plain, second);
    }

    /// A step of another kind.
    pub(crate) fn other(&mut self, dice: &mut Dice) {
        let (cpu, page, frame) = (dice.below(3) as u8, dice.below(128), dice.below(NR_FRAMES));
        let scope = if dice.one_in(8) { LOCAL } else { ALL };
        let asid = if dice.one_in(8) { Asid(ASID.0 + 1) } else { ASID };
        let (kind, n) = (dice.below(20), 1 + dice.below(20));
        if kind == 0 || kind == 14 {
            self.is_linked = !self.is_linked;
        }
        let (dice_says, is_linked) = (dice.one_in(4), self.is_linked);
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
            10 => paper.done(VirtRange::from_size(super::VA + page * PAGE_SIZE, PAGE_SIZE)),
            // Somebody's no more; whoever maps it now is told so.
            11 if dice_says => paper.oracle.frame_free(by(cpu), FRAMES + frame, Order::PAGE),
            12 if dice_says => paper.unlock(1),
            13 => paper.lock(1),
            15 => paper.done(VirtRange::from_size(super::VA + page * PAGE_SIZE, n * PAGE_SIZE)),
            16 => paper.flush(cpu, of_pages(page, n)),
            17 => paper.tlbi(cpu, of_page(page, scope)),
            18 if !is_linked => {
                (0..512).for_each(|n| paper.scribble(SECOND.base() + 8 * n, 0));
                paper.oracle.fill(by(cpu), SECOND.base(), 512, 0, 0);
            }
            _ if dice_says => {
                let slot = TABLES[3].base() + 8 * page;
                paper.scribble(slot, paper.word(slot) ^ PAGE_SIZE);
            }
            _ => hardware_writes(paper, TABLES[3].base() + 8 * page),
        });
    }
}

fn slots(table: Pfn, first: u64, n: u64) -> impl Iterator<Item = PhysAddr> {
    (first..first + n).map(move |n| table.base() + 8 * n)
}

/// An operation on some pages side by side: an even number of them.
fn of_pages(first: u64, n: u64) -> Tlbi {
    let (start, asid, depth) =
        (super::VA + first * PAGE_SIZE, AsidMatch::Only(ASID), Depth::LastLevel);
    let (scale, num) = (0, (n / 2) as u8);
    Tlbi { target: Target::Range { start, asid, depth, hint: None, scale, num }, scope: ALL }
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
        // The page has moved.
        (10, Entry::Soft(Soft::Migration { .. })) => leaf.word(),
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
