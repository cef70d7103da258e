//! Taking entries out of tables.
//!
//! Entries are cleared under their table's lock and handed to a gather; a table none of whose
//! addresses is mapped any more is unlinked whole, with what it maps, and read only after the flush.
//!
//! # History
//! What hardware recorded in an entry is of no use once the content goes, so entries of pages are cleared
//! by plain stores: an update that hardware makes meanwhile is an exchange of its own, and finds nothing
//! to update or is lost with the rest.
//!
//! Corresponds to Linux's `unmap_page_range` and `free_pgtables`, in one pass.

use super::Space;
use super::blocks::Entries;
use crate::entry::{At, Locked, PmdLevel, PteLevel};
use crate::mutant::Mutant;
use crate::tlb::Gather;
use crate::{Hardware, Mm, Slot};
use abi::{ENTRIES, Level, PAGE_SIZE, PMD_SIZE, Pfn, VirtAddr, VirtRange};
use pte::{Entry, Leaf};

impl<H: Hardware> Space<'_, H> {
    /// Clears everything in `range`, invalidates it, frees it, and frees the tables that serve only
    /// `gap`, the free space around it. The range is excluded, and the layout no longer has it.
    pub(super) fn zap(&self, range: VirtRange, gap: VirtRange) {
        let mut gather = Gather::new(self.mm, &self.core.context);
        self.zap_into(&mut gather, range, gap);
        gather.finish();
    }

    /// As [`Space::zap`], but invalidates and frees nothing: that is left to the gather.
    #[doc(alias("unmap_region", "unmap_page_range", "zap_page_range"))]
    pub(super) fn zap_into(&self, gather: &mut Gather<'_, H>, range: VirtRange, gap: VirtRange) {
        let block = VirtRange::from_size(range.start.align_down(PMD_SIZE), PMD_SIZE);
        if block.covers(&range) && !gap.covers(&block) {
            // No table goes with it, so none above need be looked at one by one.
            if let Some(slot) = self.mm.find_slot(self.core.root, range.start, Level::Pmd) {
                self.zap_block(gather, slot, range);
            }
            return;
        }
        self.zap_table(gather, self.core.root, Level::Pgd, VirtAddr(0), range, gap);
    }

    /// Clears `range` in one table, whose first entry translates `base`, and below it.
    #[doc(alias("zap_pud_range", "zap_pmd_range"))]
    fn zap_table(
        &self,
        gather: &mut Gather<'_, H>,
        table: Pfn,
        level: Level,
        base: VirtAddr,
        range: VirtRange,
        gap: VirtRange,
    ) {
        let mm = self.mm;
        let span = level.span();
        let first = level.index(range.start.max(base));
        for index in first..ENTRIES {
            let here = VirtRange::from_size(base + index as u64 * span, span);
            if here.start >= range.end {
                break;
            }
            let slot = Slot::new(table, index);
            let word = mm.hw.load(slot);
            if word == 0 {
                continue;
            }
            let part = here.intersect(&range);
            match (pte::decode(level, word), level.down()) {
                (Entry::Table(below), Some(down)) if gap.covers(&here) => {
                    let lock = mm.lock_table(table, level);
                    mm.hw.swap(slot, 0);
                    drop(lock);
                    gather.subtree(part, down, below.pfn());
                }
                (Entry::Table(below), Some(down)) if level != Level::Pmd => {
                    self.zap_table(gather, below.pfn(), down, here.start, range, gap);
                }
                _ => self.zap_block(gather, slot, part),
            }
        }
    }

    /// Clears the part of a 2 MiB block that `slot` serves.
    #[doc(alias("zap_pte_range", "zap_huge_pmd"))]
    fn zap_block(&self, gather: &mut Gather<'_, H>, slot: Slot, part: VirtRange) {
        match self.open(slot, part) {
            Entries::Pages(table) => self.clear_pages(gather, &table, part),
            Entries::Huge(table) => self.clear_huge(gather, &table, part.start),
            Entries::Nothing => {}
        }
    }

    /// Clears the entries of `part` in one table of pages.
    pub(super) fn clear_pages(
        &self,
        gather: &mut Gather<'_, H>,
        table: &Locked<'_, H, PteLevel>,
        part: VirtRange,
    ) {
        let mm = self.mm;
        let first = Slot::new(table.table(), Level::Pte.index(part.start));
        let pages = part.pages() as usize;
        let page = |n: usize| part.start + n as u64 * PAGE_SIZE;
        let mut at = 0;
        while at < pages {
            let slot = first.ahead(at);
            let begin = at;
            at += 1;
            let word = mm.hw.load(slot);
            if word == 0 {
                continue;
            }
            match pte::decode(Level::Pte, word) {
                Entry::Leaf(leaf) | Entry::ProtNone(leaf) => {
                    at = begin + mm.clear_like(gather, slot, leaf, pages - begin);
                    if leaf.is_valid() {
                        gather.changed(VirtRange::new(page(begin), page(at)), Level::Pte);
                    }
                }
                Entry::Soft(soft) => {
                    mm.hw.store(slot, 0);
                    mm.soft_put(Level::Pte, soft);
                    gather.changed_soft(VirtRange::new(page(begin), page(at)), Level::Pte, soft);
                }
                _ => {}
            }
        }
    }

    /// Clears the huge entry of `va`, or the software data in its place.
    pub(super) fn clear_huge(
        &self,
        gather: &mut Gather<'_, H>,
        table: &Locked<'_, H, PmdLevel>,
        va: VirtAddr,
    ) {
        let mm = self.mm;
        match table.at(Level::Pmd.index(va)) {
            At::Present(entry) => gather.leaf(va, entry.clear()),
            At::Soft(entry) => {
                let soft = entry.soft();
                entry.clear();
                mm.soft_put(Level::Pmd, soft);
                gather.changed_soft(VirtRange::from_size(va, PMD_SIZE), Level::Pmd, soft);
            }
            At::None(_) | At::Table(_) | At::Corrupt(_) => return,
        }
        if !mm.commits(Mutant::ZapKeepsDeposit)
            && let Some(spare) = mm.withdraw(table.table())
        {
            // It was never linked, or not since its last flush.
            spare.discard(mm);
        }
    }
}

impl<H: Hardware> Mm<H> {
    /// Clears the entries from `slot` on, at most `most`, that have the rights of `first`, which was read
    /// there, and hands over what they owned. Says how many there were; the caller tells the gather where.
    #[doc(alias("clear_full_ptes", "zap_present_ptes"))]
    #[inline]
    fn clear_like(
        &self,
        gather: &mut Gather<'_, H>,
        slot: Slot,
        first: Leaf,
        most: usize,
    ) -> usize {
        let map = self.frames.map();
        let counted = !first.is_special();
        let (mut leaf, mut n) = (first, 0);
        loop {
            let pfn = leaf.pfn();
            let mut run = 1;
            match map.find(pfn) {
                Some(desc) if counted && desc.is_small_folio() => gather.folio(pfn, desc, 1),
                Some(_) if counted => {
                    run = self.run_length(slot.ahead(n), leaf, most - n);
                    if let Some(head) = map.head(pfn) {
                        gather.folio(head, map.desc(head), run as u32);
                    }
                }
                _ => {}
            }
            (n..n + run).for_each(|n| self.hw.store(slot.ahead(n), 0));
            n += run;
            let full = gather.is_full() && !self.commits(Mutant::ZapFillsUntold);
            if n == most || full {
                return n;
            }
            match first.sibling(self.hw.load(slot.ahead(n))) {
                Some(next) => leaf = next,
                None => return n,
            }
        }
    }
}
