//! The gather: collects what one operation clears, invalidates it at once, and only then gives the
//! frames and tables back.
//!
//! # Invariant
//! A frame or table given to a gather is owned by it until what it was mapped by has been invalidated;
//! nobody else can free it, and the gather frees nothing before. Dropping a gather without
//! finishing it is a bug that debug builds report: a flush must not hide in a destructor, where the
//! order of destructors decides whether it comes before or after the free.
//!
//! # Who may be in the way
//! An operation that holds off faults in its range (munmap, mprotect, fork: see [`crate::space`])
//! collects everything and flushes once, in [`Gather::finish`]. One that does not (madvise) calls
//! [`Gather::invalidate`] before it releases the lock of the table it has cleared entries in: whoever
//! finds an entry empty under that lock knows that no CPU has it any more, so nobody can skip a
//! flush that somebody else still owes, and no new mapping can meet an old translation.
//!
//! # No memory
//! Unmapping must not fail for memory. Whole subtrees are unlinked with one store and kept as they are;
//! their entries are read after the invalidation, when no hardware can change them any more. Single
//! folios that this operation alone unmaps are chained through their own descriptors. For shared ones
//! there is a small array, then a page if there is one; when that is full, the gather flushes in between.
//!
//! Corresponds to Linux's `struct mmu_gather`.

use super::Context;
use crate::entry::Unmapped;
use crate::frame::{Freed, NIL, PageDesc};
use crate::mutant::Mutant;
use crate::{Hardware, Mm};
use abi::{Asid, ENTRIES, Event, Level, Order, PAGE_SIZE, Pfn, VirtAddr, VirtRange};
use core::sync::atomic::Ordering::Relaxed;
use pte::{AsidMatch, Depth, Invalidation, Leaf, Scope, Soft};

/// Entries of shared folios that a gather holds in itself; further ones go to a page of their own, and
/// where there is none, or it is full, the gather flushes in between.
const SHARED: usize = 4;
/// Entries that such a page holds.
const SPILLED: usize = ENTRIES;

/// What one operation on one address space has changed and not yet flushed, and what it has taken out
/// and not yet freed.
#[doc(alias = "mmu_gather")]
#[must_use = "finish() invalidates and frees; without it nothing is flushed"]
pub struct Gather<'m, H: Hardware> {
    mm: &'m Mm<H>,
    /// Read only after what was cleared is published; see [`Mm::flush`].
    space: &'m Context,
    /// The number as it was at the beginning: of use to a known bug only.
    early: Option<Asid>,
    /// Everything that was changed and not yet flushed lies in here.
    hull: Option<VirtRange>,
    /// The smallest level at which something was changed.
    stride: Level,
    /// Leaves of more than one level were changed: no level hint fits them all.
    mixed: bool,
    /// Tables went, so walk caches must too.
    unlinked: bool,
    /// Unlinked subtrees, chained through their descriptors' `owner`, with their level.
    tables: u32,
    /// Folios that only this gather unmaps, chained through their heads' `next`; `prev` says how many
    /// entries, or that it was a PMD.
    own: u32,
    /// Entries of other folios: a page's index, and above it how many entries from there.
    shared: [u64; SHARED],
    /// Where more of them are.
    spilled: Option<Pfn>,
    /// How many there are, here and there.
    len: usize,
}

/// In a chained folio's `prev`: the one entry was a PMD.
const BY_PMD: u32 = u32::MAX;

impl<'m, H: Hardware> Gather<'m, H> {
    /// Begins with nothing, for the space known as `space`.
    pub(crate) fn new(mm: &'m Mm<H>, space: &'m Context) -> Self {
        let early = if mm.commits(Mutant::AsidBeforeClear) { mm.asid(space) } else { None };
        Self {
            mm,
            space,
            early,
            hull: None,
            stride: Level::Pgd,
            mixed: false,
            unlinked: false,
            tables: NIL,
            own: NIL,
            shared: [0; SHARED],
            spilled: None,
            len: 0,
        }
    }

    /// Takes over what an entry at `va` mapped.
    ///
    /// Context: any; a full gather flushes here.
    #[doc(alias("tlb_remove_page", "tlb_remove_tlb_entry"))]
    #[inline]
    pub fn leaf(&mut self, va: VirtAddr, unmapped: Unmapped) {
        let leaf = unmapped.leaf();
        let span = leaf.level().span();
        self.run(VirtRange::from_size(va.align_down(span), span), leaf);
    }

    /// Takes over what the entries of `range`, all of one folio and next to each other, mapped; `first`
    /// is the first of them. One entry for each page, or one PMD.
    #[doc(alias("tlb_remove_folio", "__tlb_remove_folio_pages"))]
    #[inline]
    pub(crate) fn run(&mut self, range: VirtRange, first: Leaf) {
        let level = first.level();
        if first.is_valid() {
            self.changed(range, level);
        }
        if first.is_special() {
            return;
        }
        let n = if level == Level::Pmd { BY_PMD } else { range.pages() as u32 };
        if let Some(head) = self.mm.frames.map().head(first.pfn()) {
            self.folio(head, self.mm.desc(head), n);
        }
    }

    /// Takes over what `n` entries owned that mapped pages of a folio, or one PMD; what they were cleared
    /// from is told by [`Gather::changed`], before one is given to a full gather: see
    /// [`Gather::is_full`].
    #[inline]
    pub(crate) fn folio(&mut self, head: Pfn, desc: &PageDesc, n: u32) {
        let index = self.mm.frames.map().index(head);
        if desc.counts().is_sole(if n == BY_PMD { 1 } else { n }) {
            // Nobody else maps it, so nobody else unmaps it: its own descriptor holds it.
            desc.prev.store(n, Relaxed);
            desc.next.store(self.own, Relaxed);
            self.own = index;
        } else {
            self.keep(u64::from(index) | u64::from(n) << 32);
        }
    }

    /// Whether it flushes when it is given one more shared folio: whoever has cleared entries that it does
    /// not know of yet tells it of them first, or it would free what they mapped without a flush.
    #[inline]
    pub(crate) fn is_full(&self) -> bool {
        self.len == SHARED || self.len == SHARED + SPILLED
    }

    /// Keeps an entry of a shared folio for after the flush.
    fn keep(&mut self, entry: u64) {
        if let Some(place) = self.shared.get_mut(self.len) {
            *place = entry;
        } else {
            let at = self.len - SHARED;
            if at == 0 {
                self.spilled = self.mm.alloc(Order::PAGE).ok();
            }
            match self.spilled {
                Some(page) if at < SPILLED => self.mm.hw.poke(page.base() + 8 * at as u64, entry),
                _ => {
                    self.flush();
                    self.shared[0] = entry;
                }
            }
        }
        self.len += 1;
    }

    /// Remembers that the entries of `range` at `level` were changed and must be flushed; they own what
    /// they owned.
    #[doc(alias("tlb_flush_pte_range", "tlb_flush_pmd_range"))]
    #[inline]
    pub(crate) fn changed(&mut self, range: VirtRange, level: Level) {
        self.hull = Some(match self.hull {
            None => {
                self.stride = level;
                range
            }
            Some(hull) => {
                self.mixed |= level != self.stride && !self.mm.commits(Mutant::GatherOneLevel);
                self.stride = self.stride.max(level);
                VirtRange::new(hull.start.min(range.start), hull.end.max(range.end))
            }
        });
    }

    /// Remembers that software data at `level` in `range` was taken out, weakened or moved: a migration
    /// entry may still be cached as what it was before ([`super::Owed`]).
    #[doc(alias = "flush_tlb_batched_pending")]
    #[inline]
    pub(crate) fn changed_soft(&mut self, range: VirtRange, level: Level, was: Soft) {
        if matches!(was, Soft::Migration { .. }) && !self.mm.commits(Mutant::MigrationNotCached) {
            self.changed(range, level);
        }
    }

    /// Remembers that a table of pages no longer serves `range`, though it is not to be freed: walks are
    /// to be forgotten with the leaves.
    pub(crate) fn unlinked(&mut self, range: VirtRange) {
        self.changed(range, Level::Pte);
        self.unlinked = true;
    }

    /// Takes over a subtree that was just unlinked: `table`, with entries of `level`, and everything
    /// below it. Of what it mapped, all lies in `range`.
    #[doc(alias("tlb_remove_table", "pte_free_tlb", "free_pgtables"))]
    pub(crate) fn subtree(&mut self, range: VirtRange, level: Level, table: Pfn) {
        // Below an unlinked table anything may be cached, down to single pages.
        let part = self.mm.commits(Mutant::SubtreeInPart);
        self.unlinked(if part { VirtRange::from_size(range.start, PAGE_SIZE) } else { range });
        let desc = self.mm.desc(table);
        // A PMD table's `next` heads its deposited tables and must survive: chain through `owner`.
        desc.owner.store(u64::from(self.tables) | (level as u64) << 32, Relaxed);
        self.tables = self.mm.frames.map().index(table);
    }

    /// Invalidates what was changed so far and waits until no CPU has it. What was taken out stays the
    /// gather's.
    ///
    /// Context: any; the lock of the tables may be held.
    #[doc(alias = "tlb_flush_mmu_tlbonly")]
    pub(crate) fn invalidate(&mut self) {
        let Some(hull) = self.hull.take() else { return };
        let mm = self.mm;
        mm.count(Event::TlbGather, 1);
        if !mm.commits(Mutant::UnmapNoTlbi) {
            self.broadcast(hull);
        }
        self.mixed = false;
        self.unlinked = false;
    }

    /// Invalidates what was changed, waits until that is complete everywhere, and gives everything
    /// back.
    ///
    /// Context: any in which tables may be freed; the slots' locks are released.
    #[doc(alias("tlb_finish_mmu", "tlb_flush_mmu"))]
    #[inline(always)]
    pub fn finish(mut self) {
        self.flush();
    }

    fn flush(&mut self) {
        if self.mm.commits(Mutant::FreeBeforeFlush) {
            self.free_folios();
        }
        if self.mm.commits(Mutant::TablesBeforeFlush) {
            self.free_tables();
        }
        self.invalidate();
        self.free_folios();
        self.free_tables();
    }

    fn broadcast(&self, hull: VirtRange) {
        let mm = self.mm;
        if !mm.commits(Mutant::NoPublish) {
            mm.publish(Scope::InnerShareable);
        }
        let tables = self.unlinked && !mm.commits(Mutant::TablesLastLevel);
        let what = Invalidation {
            range: hull,
            stride: self.stride,
            asid: AsidMatch::Any,
            depth: if tables { Depth::AllLevels } else { Depth::LastLevel },
            hint: (!tables && !self.mixed).then_some(self.stride),
            scope: Scope::InnerShareable,
        };
        if mm.commits(Mutant::AsidBeforeClear) {
            if let Some(asid) = self.early {
                mm.invalidate_as(&Invalidation { asid: AsidMatch::Only(asid), ..what });
            }
        } else if mm.commits(Mutant::WrongAsid) {
            if let Some(asid) = mm.asid(self.space) {
                mm.invalidate_as(&Invalidation { asid: AsidMatch::Only(Asid(asid.0 ^ 1)), ..what });
            }
        } else if mm.commits(Mutant::UnmapLocalTlbi) {
            if let Some(asid) = mm.asid(self.space) {
                let (asid, scope) = (AsidMatch::Only(asid), Scope::Local);
                mm.invalidate_as(&Invalidation { asid, scope, ..what });
            }
        } else {
            mm.invalidate(self.space, &what);
        }
    }

    fn free_folios(&mut self) {
        let (mm, map) = (self.mm, self.mm.frames.map());
        self.free_own();
        for n in 0..self.len {
            let word = match (self.shared.get(n), self.spilled) {
                (Some(word), _) => *word,
                (None, Some(page)) => mm.hw.peek(page.base() + 8 * (n - SHARED) as u64),
                (None, None) => break,
            };
            mm.entries_put(map.pfn(word as u32), (word >> 32) as u32);
        }
        self.len = 0;
        if let Some(page) = self.spilled.take() {
            mm.free(page);
        }
    }

    /// Those that nobody else maps. Of many pages most are small, and go back together.
    fn free_own(&mut self) {
        let (mm, map) = (self.mm, self.mm.frames.map());
        let mut freed = None;
        while self.own != NIL {
            let head = map.pfn(self.own);
            let desc = map.desc(head);
            self.own = desc.next.load(Relaxed);
            let n = desc.prev.load(Relaxed);
            if n == 1 && desc.is_small_folio() && (self.own != NIL || freed.is_some()) {
                freed.get_or_insert_with(|| Freed::new(mm)).unmap(head, desc);
            } else {
                mm.entries_put(head, n);
            }
        }
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
            let link = mm.desc(table).owner.load(Relaxed);
            self.tables = link as u32;
            let level = Level::ALL[(link >> 32) as usize & 3];
            mm.reap(table, level);
        }
    }
}

impl<H: Hardware> Drop for Gather<'_, H> {
    fn drop(&mut self) {
        debug_assert!(
            self.hull.is_none() && self.own == NIL && self.len == 0 && self.tables == NIL,
            "a gather was dropped before finish()"
        );
    }
}

impl<H: Hardware> Mm<H> {
    /// Gives back what `n` entries of one folio owned, or what one PMD did.
    #[inline]
    #[cfg_attr(feature = "sanitize", track_caller)]
    fn entries_put(&self, head: Pfn, n: u32) {
        if n == BY_PMD {
            self.pmd_put(head);
        } else {
            self.folio_unmap(head, n);
        }
    }
}
