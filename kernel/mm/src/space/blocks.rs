//! Going over the tables of a range, one 2 MiB block after the other.
//!
//! Whoever does so holds tables off from being freed: by excluding the range, or by a claim in it.
//!
//! Corresponds to Linux's `walk_pgd_range` and what each of `mm/memory.c`, `mm/mprotect.c` and
//! `mm/madvise.c` has of its own for the same purpose.

use super::Space;
use crate::entry::{Locked, PmdLevel, PteLevel};
use crate::{Hardware, Mm, Slot};
use abi::{Level, PMD_SIZE, Pfn, VirtRange};
use pte::Entry;

/// The PMD entries that serve a range and are not empty, each with the part of the range that it serves,
/// in address order.
#[doc(alias("walk_pmd_range", "pmd_addr_end"))]
pub(super) struct Blocks<'m, H: Hardware> {
    mm: &'m Mm<H>,
    root: Pfn,
    rest: VirtRange,
    /// The PMD table that serves the start of the rest, where it is known.
    table: Option<Pfn>,
}

impl<'m, H: Hardware> Blocks<'m, H> {
    /// Those of `range` under `root`.
    #[inline]
    pub(super) const fn new(mm: &'m Mm<H>, root: Pfn, range: VirtRange) -> Self {
        Self { mm, root, rest: range, table: None }
    }

    /// Finds the PMD table of the rest's start, or cuts off the part that has none.
    fn descend(&mut self) -> Option<Pfn> {
        let mut table = self.root;
        for level in [Level::Pgd, Level::Pud] {
            let slot = Slot::new(table, level.index(self.rest.start));
            match pte::decode(level, self.mm.hw.load(slot)) {
                Entry::Table(next) => table = next.pfn(),
                _ => {
                    self.rest.start = (self.rest.start + 1).align_up(level.span());
                    return None;
                }
            }
        }
        Some(table)
    }
}

impl<H: Hardware> Blocks<'_, H> {
    /// `part`, which one huge entry of `table` maps, with as much as follows and is mapped the same way by
    /// the same table: to be gone over under one lock. That is held now, or all of it is excluded.
    #[inline]
    pub(super) fn join_huge(&mut self, table: Pfn, part: VirtRange) -> VirtRange {
        let mut all = part;
        while self.table.is_some() && self.rest.start + PMD_SIZE <= self.rest.end {
            let slot = Slot::new(table, Level::Pmd.index(self.rest.start));
            match pte::decode(Level::Pmd, self.mm.hw.load(slot)) {
                Entry::None | Entry::Table(_) => break,
                _ => {}
            }
            self.rest.start = self.rest.start + PMD_SIZE;
            all.end = self.rest.start;
            if all.end.is_aligned(Level::Pud.span()) {
                self.table = None;
            }
        }
        all
    }
}

impl<H: Hardware> Iterator for Blocks<'_, H> {
    type Item = (Slot, VirtRange);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        while self.rest.start < self.rest.end {
            let Some(table) = self.table.or_else(|| self.descend()) else { continue };
            let start = self.rest.start;
            let end = (start + 1).align_up(PMD_SIZE);
            self.table = if end.is_aligned(Level::Pud.span()) { None } else { Some(table) };
            self.rest.start = end;
            let slot = Slot::new(table, Level::Pmd.index(start));
            if self.mm.hw.load(slot) != 0 {
                return Some((slot, VirtRange::new(start, end.min(self.rest.end))));
            }
        }
        None
    }
}

/// What maps one part of a range, its table's lock held.
pub(super) enum Entries<'m, H: Hardware> {
    /// A table of pages.
    Pages(Locked<'m, H, PteLevel>),
    /// One huge entry, all of which is in the range; or software data in its place.
    Huge(Locked<'m, H, PmdLevel>),
    /// Nothing.
    Nothing,
}

impl<'m, H: Hardware> Space<'m, H> {
    /// The PMD entries that serve `range` and are not empty.
    #[inline]
    pub(super) fn blocks(&self, range: VirtRange) -> Blocks<'m, H> {
        Blocks::new(self.mm, self.core.root, range)
    }

    /// Locks what maps `part`, which `slot` serves, so that it can be changed on its own: a huge entry of
    /// which only a part is meant is split first, and so are contiguous sets across its ends.
    ///
    /// Nothing is said to be there only when nobody owes a flush of what was there: a look without the
    /// lock could come between the two.
    ///
    /// Context: the part excluded or claimed; no table's lock.
    #[doc(alias("split_huge_pmd", "pte_offset_map_lock"))]
    #[inline]
    pub(super) fn open(&self, slot: Slot, part: VirtRange) -> Entries<'m, H> {
        loop {
            if let Some(table) = self.mm.lock_below(slot) {
                table.unfold_edges(&self.core.context, part);
                return Entries::Pages(table);
            }
            let table = self.mm.lock::<PmdLevel>(slot.table());
            match pte::decode(Level::Pmd, self.mm.hw.load(slot)) {
                Entry::None => return Entries::Nothing,
                // It was split a moment ago.
                Entry::Table(_) => {}
                _ if part.bytes() == PMD_SIZE => return Entries::Huge(table),
                _ if self.opens(table, part) => {}
                // What cannot be split is none of ours: memory corruption, and reported by faults.
                _ => return Entries::Nothing,
            }
        }
    }

    /// Splits the huge entry of which `part` is only a part. Says whether that did it.
    #[cold]
    fn opens(&self, table: Locked<'m, H, PmdLevel>, part: VirtRange) -> bool {
        self.mm.split_pmd(&self.core, &table, part.start);
        let word = self.mm.hw.load(Slot::new(table.table(), Level::Pmd.index(part.start)));
        matches!(pte::decode(Level::Pmd, word), Entry::Table(_))
    }
}
