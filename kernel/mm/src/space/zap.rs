//! Taking entries out of tables.
//!
//! Entries are cleared under their table's lock and handed to a gather; a table none of whose
//! addresses is mapped any more is unlinked whole, with what it maps, and read only after the flush.
//!
//! Corresponds to Linux's `unmap_page_range` and `free_pgtables`, in one pass.

use super::Space;
use crate::tlb::Gather;
use crate::{Hardware, Slot};
use abi::{ENTRIES, Level, Pfn, VirtAddr, VirtRange};
use pte::Entry;

impl<H: Hardware> Space<'_, H> {
    /// Clears everything in `range` and unlinks the tables that serve only `gap`, the free space
    /// around it. The layout is locked for writing and no longer has `range`.
    #[doc(alias("unmap_region", "unmap_page_range", "zap_page_range"))]
    pub(super) fn zap(&self, range: VirtRange, gap: VirtRange) {
        let mut gather = Gather::new(self.mm, &self.context);
        // A huge page that is only partly in range loses its block first.
        for edge in [range.start, range.end] {
            if !edge.is_aligned(Level::Pmd.span()) {
                self.split_huge_at(edge);
            }
        }
        self.zap_table(&mut gather, self.root, Level::Pgd, VirtAddr(0), range, gap);
        gather.finish();
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
            let entry = pte::decode(level, mm.hw.load(slot));
            match (entry, level.down()) {
                (Entry::None, _) => {}
                (Entry::Table(below), Some(down)) => {
                    if gap.covers(&here) {
                        let lock = mm.lock_table(table, level);
                        mm.hw.swap(slot, 0);
                        drop(lock);
                        gather.subtree(here.intersect(&range), down, below.pfn());
                    } else {
                        self.zap_table(gather, below.pfn(), down, here.start, range, gap);
                    }
                }
                _ => self.zap_leaf(gather, slot, level, here.start),
            }
        }
    }

    /// Clears one leaf.
    #[doc(alias("zap_pte_range", "zap_huge_pmd", "ptep_get_and_clear"))]
    fn zap_leaf(&self, gather: &mut Gather<'_, H>, slot: Slot, level: Level, va: VirtAddr) {
        let mm = self.mm;
        let lock = mm.lock_table(slot.table(), level);
        let old = pte::decode(level, mm.hw.swap(slot, 0));
        let huge = level == Level::Pmd && old.is_present();
        let spare = if huge { mm.withdraw(slot.table()) } else { None };
        drop(lock);
        // The deposited table was never linked, or not since its last flush.
        if let Some(spare) = spare {
            mm.table_free(spare, Level::Pte);
        }
        if let Entry::Leaf(leaf) | Entry::PresentInvalid(leaf) | Entry::ProtNone(leaf) = old {
            gather.leaf(va, level, leaf.pfn());
        }
    }
}
