//! Stores by runs: what was judged right for the first of many entries side by side is looked up once for all.
//!
//! A CPU's stores come here together, those between two other steps of it. Where each is to the slot behind
//! the one before, from the same line, and like it, they are one event: for each slot there is left to see
//! that its own words and its own frame are in order, and all of them owe one debt (`parts` tells what
//! becomes of it). Who copies a table or moves one stores here and there in turn: two runs, in step.
//!
//! Whatever does not fit goes by itself (`routine`, `stores`), in its turn. So no rule can be broken here, and
//! what is kept is what would have been kept of one store after the other (`tests/runs.rs` holds the two
//! against each other).

mod fitting;

use crate::debt::Taken;
use crate::pairs::Pair;
use crate::shadow::{DebtId, Kind, Owed, SlotId};
use crate::site::{Site, SiteId};
use crate::stores::How;
use crate::{By, Oracle};
use abi::{Level, PAGE_SHIFT, PAGE_SIZE, PhysAddr};
use pte::bits::{ADDRESS, VALID};

/// Fewer stores are no run.
const LEAST: usize = 2;

/// A store that was made.
#[derive(Clone, Copy, Debug)]
pub struct Stored {
    /// The slot.
    pub slot: PhysAddr,
    /// What it held at that moment.
    pub old: u64,
    /// What it holds now.
    pub new: u64,
    /// How it was made.
    pub how: How,
    /// Where in the program.
    pub site: Site,
}

impl Stored {
    /// None.
    pub const BLANK: Self =
        Self { slot: PhysAddr(0), old: 0, new: 0, how: How::Store, site: Site::Unknown };

    /// Whether it is to the slot behind the one of `before`, in the same table, from the same line.
    #[inline(always)]
    fn follows(&self, before: &Self) -> bool {
        self.slot.0 == before.slot.0 + 8
            && !self.slot.0.is_multiple_of(PAGE_SIZE)
            && self.how == before.how
            && self.site.is(before.site)
    }
}

/// A run of stores, with what is known of all of them.
struct Run {
    table: usize,
    /// The first slot.
    slot: SlotId,
    pair: Pair,
    /// The root that leads to the table.
    root: Option<u32>,
    /// What the slots remember of TLBs beside their words.
    was_cached: bool,
    /// A TLB may have the old words, and to take them away owes a flush.
    cached: bool,
    takes: bool,
    was: bool,
    is: bool,
}

impl Run {
    /// Whether its frames are mapped by it.
    fn maps(&self) -> bool {
        self.is && !self.was
    }

    /// What the release of the lock looks at, if it looks at anything: the slots from this one on, each alone or
    /// one of sixteen for all.
    #[inline(always)]
    fn touches(&self) -> Option<(SlotId, bool)> {
        let facts = self.pair.facts;
        facts.is_touched().then_some((self.slot, facts.is_locks_only()))
    }
}

impl Oracle {
    /// Stores of one CPU in their order, between which it took no other step that is told.
    pub fn stores(&mut self, cpu: u8, stores: &[Stored]) {
        let mut rest = stores;
        while let Some(first) = rest.first() {
            let done = match rest {
                _ if self.is_thorough || self.report.is_some() => 0,
                [first, second, ..] if second.follows(first) => self.by_run(cpu, rest),
                [first, second, third, fourth, ..]
                    if third.follows(first) && fourth.follows(second) =>
                {
                    self.by_two_runs(cpu, rest)
                }
                _ => 0,
            };
            if done == 0 {
                let by = By { cpu, site: first.site };
                self.store(by, first.slot, first.old, first.new, first.how);
            }
            rest = &rest[done.max(1)..];
        }
    }

    /// Takes the beginning of `stores` as a run, as far as it is one. Says how many they were.
    fn by_run(&mut self, cpu: u8, stores: &[Stored]) -> usize {
        let Some(run) = self.run(cpu, &stores[0]) else { return 0 };
        let rows = self.fitting::<1>(&run, stores, 0, stores.len());
        if rows < LEAST {
            return 0;
        }
        self.take_run::<1>(cpu, &run, &stores[..rows], 0, self.clock + 1);
        self.clock += rows as u64;
        let touches = [run.touches(), None];
        if touches[0].is_some() {
            self.touch_runs(cpu, touches, rows as u32);
        }
        rows
    }

    /// As [`Oracle::by_run`], of two runs in step.
    fn by_two_runs(&mut self, cpu: u8, stores: &[Stored]) -> usize {
        let Some(one) = self.run(cpu, &stores[0]) else { return 0 };
        let rows = self.fitting::<2>(&one, stores, 0, stores.len() / 2);
        let other = if rows < LEAST { None } else { self.run(cpu, &stores[1]) };
        let Some(other) = other else { return 0 };
        let rows = self.fitting::<2>(&other, stores, 1, rows);
        // What one has changed, the other has not looked at yet; and a frame knows who mapped it last.
        let is_near = (one.slot.0.abs_diff(other.slot.0) as usize) < rows;
        if rows < LEAST || is_near || one.maps() && other.maps() {
            return 0;
        }
        let both = &stores[..2 * rows];
        self.take_run::<2>(cpu, &one, both, 0, self.clock + 1);
        self.take_run::<2>(cpu, &other, both, 1, self.clock + 2);
        self.clock += both.len() as u64;
        let touches = [one.touches(), other.touches()];
        if touches.iter().any(Option::is_some) {
            self.touch_runs(cpu, touches, rows as u32);
        }
        both.len()
    }

    /// A run that may begin with `first`.
    #[inline(always)]
    fn run(&mut self, cpu: u8, first: &Stored) -> Option<Run> {
        let &Stored { old, new, how, .. } = first;
        let frame = self.frame_of(first.slot.pfn())?;
        let slot = SlotId::new(frame, (first.slot.0 % PAGE_SIZE / 8) as usize);
        let table = self.table_at(frame)?;
        let reach = self.reach(table)?;
        let pair = *self.pairs.find(old, new, how)?;
        let facts = pair.facts;
        let needs_lock = reach.root.is_some() && (reach.is_running || facts.is_locks_only());
        if needs_lock && self.cpus.get(cpu).held[usize::from(true)] == 0 {
            return None;
        }
        let (was, is) = (old & VALID != 0, new & VALID != 0);
        let was_cached = self.tables[table].slots[slot.index()].cached;
        let cached = reach.holders != 0 && (facts.is_cacheable() || (was && was_cached));
        let takes = cached && facts.owes();
        let root = reach.root;
        Some(Run { table, slot, pair, root, was_cached, cached, takes, was, is })
    }

    /// Keeps what a run leaves behind, the first store of which was made at the moment `at`.
    #[inline(always)]
    fn take_run<const N: usize>(
        &mut self,
        cpu: u8,
        run: &Run,
        stores: &[Stored],
        n: usize,
        at: u64,
    ) {
        let (first, rows) = (&stores[n], (stores.len() / N) as u16);
        let site = self.sites.id(first.site);
        let debt = match run.root {
            Some(root) if run.takes => {
                Some(self.owe_run(run.slot, (rows, N as u8), first.old, root, (cpu, at, site)))
            }
            _ => None,
        };
        let (is_counted, change) = (run.was != run.is, if run.is { 1 } else { -1 });
        if is_counted || debt.is_some() {
            let Self { frames, book, first: base, .. } = self;
            let frames = &mut frames[..];
            for (link, row) in (run.slot.0..).zip(stores.chunks_exact(N)) {
                let word = if run.was { row[n].old } else { row[n].new };
                let pfn = (word & ADDRESS) >> PAGE_SHIFT;
                let Some(frame) = frames.get_mut(pfn.wrapping_sub(base.0) as usize) else {
                    continue;
                };
                if is_counted && frame.kind != Kind::Table {
                    frame.maps = frame.maps.wrapping_add_signed(change);
                    frame.link = if run.is { link } else { frame.link };
                }
                if let Some(debt) = debt {
                    // The one before may be of this run.
                    let is_one = frame.owed == Owed::Nothing || book.get(frame.debt).is_none();
                    frame.owed = if is_one { Owed::One } else { Owed::Some };
                    frame.debt = debt;
                }
            }
        }
        // Where the first is empty all are, for nothing else is like that.
        let emptied = debt.is_some() && first.new == 0;
        let cached = run.is && run.cached;
        let table = &mut self.tables[run.table];
        let slots = &mut table.slots[run.slot.index()..];
        for (kept, row) in slots.iter_mut().zip(stores.chunks_exact(N)) {
            kept.held = if emptied { row[n].old } else { row[n].new };
            kept.emptied = emptied;
            (kept.site, kept.cpu, kept.cached) = (site, cpu, cached);
            if let Some(debt) = debt {
                kept.debt = debt;
            }
        }
        table.live = table.live + rows * u16::from(run.is) - rows * u16::from(run.was);
        if run.was && run.root.is_none() {
            table.filled = (at + u64::from(rows - 1) * N as u64, cpu);
        }
    }

    /// The debt for the pages' entries of a run.
    #[inline(never)]
    fn owe_run(
        &mut self,
        slot: SlotId,
        (nr, stride): (u16, u8),
        old: u64,
        root: u32,
        (cpu, at, site): (u8, u64, SiteId),
    ) -> DebtId {
        let (space, asid) = self.space_of(root);
        let Some(table) = self.table_at(slot.frame()) else { return DebtId::NONE };
        let reach = &self.tables[table].reach;
        let what = Taken {
            slot,
            nr,
            stride,
            level: Level::Pte,
            va: reach.base + slot.index() as u64 * PAGE_SIZE,
            old,
            is_walk: false,
            space,
            asid,
            left: reach.holders,
            at,
            cpu,
            site,
            hull: (0, 0),
            frame: u32::MAX,
        };
        self.enter_in_book(&what)
    }

    /// Remembers what the release of the lock looks at, in the order of the stores.
    fn touch_runs(&mut self, cpu: u8, runs: [Option<(SlotId, bool)>; 2], rows: u32) {
        let cpu = self.cpus.get_mut(cpu);
        let runs = runs.iter().flatten();
        let is_each = runs.clone().any(|(_, alone)| *alone);
        let mut row = 0;
        while row < rows && !cpu.is_full() {
            let mut ahead = 16;
            for &(first, alone) in runs.clone() {
                let slot = SlotId(first.0 + row);
                cpu.touch(slot, alone);
                ahead = ahead.min(16 - slot.0 % 16);
            }
            row += if is_each { 1 } else { ahead };
        }
    }
}
