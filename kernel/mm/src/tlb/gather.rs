//! The gather: collects what one operation clears, invalidates it at once, and only then gives the
//! frames and tables back.
//!
//! # Invariant
//! A frame or table given to a gather is owned by it until [`Gather::finish`] has invalidated; nobody
//! else can free it, and the gather frees nothing before. Dropping a gather without finishing it is
//! a bug that debug builds report: a flush must not hide in a destructor, where the order of
//! destructors decides whether it comes before or after the free.
//!
//! # Whole tables
//! When a whole subtree goes, it is unlinked with one store and kept as it is; its entries are read
//! after the invalidation, when no hardware can change them any more. So an munmap of any size needs
//! one flush and no memory.
//!
//! Corresponds to Linux's `struct mmu_gather`.

use crate::frame::NIL;
use crate::mutant::Mutant;
use crate::{Hardware, Mm, Slot};
use abi::{Asid, ENTRIES, Event, Level, Pfn, VirtAddr, VirtRange};
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use pte::{AsidMatch, Depth, Entry, Invalidation, Plan, Scope};

/// Single entries a gather holds before it must flush in between: 2 KiB of stack.
const BATCH: usize = 512;

/// What one operation on one address space has cleared and not yet freed.
#[doc(alias = "mmu_gather")]
#[must_use = "finish() invalidates and frees; without it nothing is flushed"]
pub struct Gather<'m, H: Hardware> {
    mm: &'m Mm<H>,
    /// The space's context, read only after what was cleared is published: a CPU that enters the
    /// space after the read walks cleared entries, and one that entered before did so under the
    /// number read.
    context: &'m AtomicU64,
    /// The number as it was at the beginning: of use to a known bug only.
    early: Option<Asid>,
    /// Everything that was cleared lies in here.
    hull: Option<VirtRange>,
    /// The smallest level at which something was cleared.
    stride: Level,
    /// Leaves of more than one level were cleared: no level hint fits them all.
    mixed: bool,
    /// Unlinked subtrees, chained through their descriptors' `owner`, with their level.
    tables: u32,
    /// First pages of what single leaf entries mapped; each holds one reference.
    folios: [u32; BATCH],
    len: usize,
}

impl<'m, H: Hardware> Gather<'m, H> {
    /// Begins with nothing, for the space of `context`.
    pub(crate) fn new(mm: &'m Mm<H>, context: &'m AtomicU64) -> Self {
        let early = if mm.commits(Mutant::AsidBeforeClear) { mm.asid(context) } else { None };
        Self {
            mm,
            context,
            early,
            hull: None,
            stride: Level::Pgd,
            mixed: false,
            tables: NIL,
            folios: [NIL; BATCH],
            len: 0,
        }
    }

    /// Takes over the reference of a leaf entry of `level` at `va` that was just cleared.
    ///
    /// Context: thread, no table's lock held: a full gather flushes here.
    #[doc(alias("tlb_remove_page", "tlb_remove_tlb_entry"))]
    #[inline]
    pub(crate) fn leaf(&mut self, va: VirtAddr, level: Level, pfn: Pfn) {
        self.widen(VirtRange::from_size(va.align_down(level.span()), level.span()), level);
        self.folios[self.len] = self.mm.frames.map().index(pfn);
        self.len += 1;
        if self.len == BATCH {
            self.flush();
        }
    }

    /// Takes over a subtree that was just unlinked: `table`, with entries of `level`, and everything
    /// below it. Of what it mapped, all lies in `range`.
    #[doc(alias("tlb_remove_table", "pte_free_tlb", "free_pgtables"))]
    pub(crate) fn subtree(&mut self, range: VirtRange, level: Level, table: Pfn) {
        // Below an unlinked table anything may be cached, down to single pages.
        self.widen(range, Level::Pte);
        let desc = self.mm.frames.map().desc(table);
        // A PMD table's `next` heads its deposited tables and must survive: chain through `owner`.
        desc.owner.store(u64::from(self.tables) | (level as u64) << 32, Relaxed);
        self.tables = self.mm.frames.map().index(table);
    }

    /// Invalidates what was cleared, waits until that is complete everywhere, and gives everything
    /// back.
    ///
    /// Context: thread; the slots' locks are released, the space's layout lock may be held.
    #[doc(alias("tlb_finish_mmu", "tlb_flush_mmu"))]
    pub fn finish(mut self) {
        self.flush();
    }

    fn widen(&mut self, range: VirtRange, level: Level) {
        self.hull = Some(match self.hull {
            None => {
                self.stride = level;
                range
            }
            Some(hull) => {
                self.mixed |= level != self.stride;
                self.stride = self.stride.max(level);
                VirtRange::new(hull.start.min(range.start), hull.end.max(range.end))
            }
        });
    }

    fn flush(&mut self) {
        let Some(hull) = self.hull.take() else { return };
        let mm = self.mm;
        if mm.commits(Mutant::FreeBeforeFlush) {
            self.free_folios();
        }
        if !mm.commits(Mutant::UnmapNoTlbi) {
            self.invalidate(hull);
        }
        mm.count(Event::TlbGather, 1);
        self.free_folios();
        self.free_tables();
        self.mixed = false;
    }

    fn invalidate(&self, hull: VirtRange) {
        let mm = self.mm;
        if !mm.commits(Mutant::NoPublish) {
            mm.publish(Scope::InnerShareable);
        }
        let late = mm.asid(self.context);
        let Some(mut asid) = (if mm.commits(Mutant::AsidBeforeClear) { self.early } else { late })
        else {
            // No CPU ever ran the space.
            return;
        };
        if mm.commits(Mutant::WrongAsid) {
            asid = Asid(asid.0 ^ 1);
        }
        let local = mm.commits(Mutant::UnmapLocalTlbi);
        let scope = if local { Scope::Local } else { Scope::InnerShareable };
        let tables = self.tables != NIL && !mm.commits(Mutant::TablesLastLevel);
        let what = Invalidation {
            range: hull,
            stride: self.stride,
            asid: AsidMatch::Only(asid),
            depth: if tables { Depth::AllLevels } else { Depth::LastLevel },
            hint: (!tables && !self.mixed).then_some(self.stride),
            scope,
        };
        for op in Plan::new(&what, mm.hw.caps(), &mm.cost) {
            mm.tlbi(op);
        }
        if !mm.commits(Mutant::NoComplete) {
            mm.complete(scope);
            // This CPU may access the range next, from where it is: no exception return in between.
            mm.hw.synchronize_context();
        }
    }

    fn free_folios(&mut self) {
        let map = self.mm.frames.map();
        for &index in &self.folios[..self.len] {
            self.mm.folio_put(map.pfn(index), 1);
        }
        self.len = 0;
    }

    fn free_tables(&mut self) {
        if self.tables == NIL {
            return;
        }
        let mm = self.mm;
        if !mm.commits(Mutant::NoGrace) && mm.walkers.synchronize(&mm.hw) {
            mm.count(Event::WalkerGrace, 1);
        }
        while self.tables != NIL {
            let table = mm.frames.map().pfn(self.tables);
            let link = mm.frames.map().desc(table).owner.load(Relaxed);
            self.tables = link as u32;
            let level = Level::ALL[(link >> 32) as usize & 3];
            mm.reap(table, level);
        }
    }
}

impl<H: Hardware> Drop for Gather<'_, H> {
    fn drop(&mut self) {
        debug_assert!(self.hull.is_none(), "a gather was dropped before finish()");
    }
}

impl<H: Hardware> Mm<H> {
    /// Frees an unreachable subtree, `table` with entries of `level` and all below it, and gives back
    /// the reference of every leaf in it. Nobody, hard or soft, walks it.
    #[doc(alias = "free_pgtables")]
    pub(crate) fn reap(&self, table: Pfn, level: Level) {
        for index in 0..ENTRIES {
            let word = self.hw.load(Slot::new(table, index));
            if word == 0 {
                continue;
            }
            match (pte::decode(level, word), level.down()) {
                (Entry::Table(below), Some(down)) => self.reap(below.pfn(), down),
                (Entry::Leaf(leaf) | Entry::PresentInvalid(leaf) | Entry::ProtNone(leaf), _) => {
                    self.folio_put(leaf.pfn(), 1);
                }
                // Soft leaves own nothing.
                _ => {}
            }
        }
        if level == Level::Pmd {
            while let Some(spare) = self.withdraw(table) {
                self.table_free(spare, Level::Pte);
            }
        }
        self.table_free(table, level);
    }
}
