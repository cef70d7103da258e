//! Blocks where pages were: empty tables are taken out, all of them flushed at once, and only then freed.
//!
//! Tables stay when the pages they mapped go. Whoever maps the addresses again by blocks finds them in the way,
//! with nothing in them: a walker may still have the pointer to each. So the order is
//! 1. clear the descriptors that lead to the tables, those below before those above, and publish that once;
//! 2. invalidate the walks, one operation for each address range that a table of pages served, for every ASID:
//!    walks are cached under the ASID that ran meanwhile, and each descriptor is cached by itself;
//! 3. wait, synchronise this CPU's context, and wait for software that walks without locks;
//! 4. free the tables. Only now something else may come where they were.
//!
//! # Rules
//! * A table goes only if all that it could translate belongs to the caller's area: nobody else walks there.
//! * It goes only if nothing is in it and in the tables below it; else it stays, and smaller leaves have to do.
//!   What was in it is in no TLB: the addresses are an area's.
//! * What was unlinked ([`Unlinked`]) can only be given to the gather, which frees nothing before its flush.
//! * Between the first store and the last table's return nothing is allocated (T-38): the chain is in the
//!   pages' own descriptors, the ranges are on the stack.
//!
//! Corresponds to Linux's `pmd_free_pte_page` and `pud_free_pmd_page`, which flush for each table.

use super::ranges::Ranges;
use crate::frame::NIL;
use crate::mutant::Mutant;
use crate::{Hardware, Mm, Note, Slot};
use abi::{ENTRIES, Event, Level, PMD_SIZE, Pfn, VirtAddr, VirtRange};
use core::sync::atomic::Ordering::Relaxed;
use pte::{AsidMatch, Entry, Invalidation};

/// A table that no descriptor leads to any more, though walkers may.
#[must_use = "it is lost unless a gather frees it"]
struct Unlinked {
    table: Pfn,
    level: Level,
}

/// Tables of the kernel's half that were taken out and not yet flushed.
struct TableGather<'m, H: Hardware> {
    mm: &'m Mm<H>,
    /// Chained through their descriptors' `owner`, with their level.
    tables: u32,
    /// Where walks lead to them: an address in the reach of each.
    walks: Ranges,
}

impl<H: Hardware> Mm<H> {
    /// Takes out the empty tables that are in the way of `blocks`: the address of each and its level, all in an
    /// area of the caller's. One flush does for all of them. What is not empty stays.
    ///
    /// Context: waits for software walkers; no spin lock is held.
    #[doc(alias("vmap_try_huge_pmd", "pmd_free_pte_page", "pud_free_pmd_page"))]
    #[cold]
    #[inline(never)]
    pub(super) fn make_way(&self, mut blocks: impl Iterator<Item = (VirtAddr, Level)>) {
        // Mostly no table is in the way.
        let Some(first) = blocks.find(|(va, level)| self.table_at(*va, *level).is_some()) else {
            return;
        };
        let mut gather = TableGather { mm: self, tables: NIL, walks: Ranges::new() };
        for (va, level) in core::iter::once(first).chain(blocks) {
            gather.clear(va, level);
        }
        gather.finish();
    }

    /// The slot of `level` for `va`, and the table that it leads to, if it does.
    fn table_at(&self, va: VirtAddr, level: Level) -> Option<(Slot, Pfn)> {
        let slot = self.find_slot(self.vmalloc.root, va, level)?;
        match pte::decode(level, self.hw.load(slot)) {
            Entry::Table(table) => Some((slot, table.pfn())),
            _ => None,
        }
    }

    /// Whether nothing is in a table of `level`, nor in those below it.
    fn is_empty_below(&self, table: Pfn, level: Level) -> bool {
        (0..ENTRIES).all(|index| {
            let word = self.hw.load(Slot::new(table, index));
            match (pte::decode(level, word), level.down()) {
                (Entry::None, _) => true,
                (Entry::Table(below), Some(down)) => self.is_empty_below(below.pfn(), down),
                _ => false,
            }
        })
    }
}

impl<H: Hardware> TableGather<'_, H> {
    /// Makes the slot of `level` for `va` empty if only empty tables are there; else those of its parts.
    fn clear(&mut self, va: VirtAddr, level: Level) {
        let mm = self.mm;
        let (Some((slot, table)), Some(down)) = (mm.table_at(va, level), level.down()) else {
            return;
        };
        if mm.is_empty_below(table, down) {
            self.unlink(va, slot, level);
        } else if down != Level::Pte {
            for part in 0..ENTRIES as u64 {
                self.clear(va + part * down.span(), down);
            }
        }
    }

    /// Takes out the table that `slot` of `level` leads to, after those below it: each descriptor may be
    /// cached by itself.
    fn unlink(&mut self, va: VirtAddr, slot: Slot, level: Level) {
        let mm = self.mm;
        let (Entry::Table(table), Some(down)) =
            (pte::decode(level, mm.hw.load(slot)), level.down())
        else {
            return;
        };
        let before = self.tables;
        if down != Level::Pte {
            for part in 0..ENTRIES {
                let below = Slot::new(table.pfn(), part);
                self.unlink(va + part as u64 * down.span(), below, down);
            }
        }
        // Neighbours link and unlink in the same page.
        let lock = mm.lock_table(slot.table(), level);
        mm.hw.store(slot, 0);
        drop(lock);
        // An operation for one of those below finds this one too.
        let is_found = self.tables != before
            || (!self.walks.is_empty() && mm.commits(Mutant::IoremapOneOperation));
        if !is_found {
            self.walks.add(VirtRange::from_size(va, PMD_SIZE));
        }
        self.keep(Unlinked { table: table.pfn(), level: down });
    }

    /// Takes over what was unlinked.
    #[doc(alias = "tlb_remove_table")]
    fn keep(&mut self, Unlinked { table, level }: Unlinked) {
        let desc = self.mm.desc(table);
        desc.owner.store(u64::from(self.tables) | (level as u64) << 32, Relaxed);
        self.tables = self.mm.frames.map().index(table);
    }

    /// Flushes the walks to what was taken out, waits for whoever is in there, and gives it back.
    fn finish(mut self) {
        let mm = self.mm;
        if self.tables == NIL {
            return;
        }
        if mm.commits(Mutant::IoremapFreeFirst) {
            self.free();
        }
        let one_asid = mm.commits(Mutant::IoremapOneAsid);
        mm.flush_ranges(&self.walks, if one_asid { walks_of_one_asid } else { walks });
        if !mm.commits(Mutant::IoremapNoGrace) && mm.walkers.synchronize(&mm.hw) {
            mm.count(Event::WalkerGrace, 1);
        }
        self.free();
    }

    fn free(&mut self) {
        let mm = self.mm;
        while self.tables != NIL {
            let table = mm.frames.map().pfn(self.tables);
            let link = mm.desc(table).owner.load(Relaxed);
            self.tables = link as u32;
            mm.hw.note(Note::TableFree(table, Level::ALL[(link >> 32) as usize & 3]));
            mm.vmalloc.tables.fetch_sub(1, Relaxed);
            mm.count(Event::VmapTableFree, 1);
            mm.free(table);
        }
    }
}

/// Walks to tables of pages, and those on the way.
fn walks(range: VirtRange) -> Invalidation {
    Invalidation::tables(range, Level::Pmd, AsidMatch::Any)
}

/// What [`Mutant::IoremapOneAsid`] invalidates: walks of whoever runs no space.
fn walks_of_one_asid(range: VirtRange) -> Invalidation {
    Invalidation::tables(range, Level::Pmd, AsidMatch::Only(abi::Asid(0)))
}
