//! Taking entries out of tables.
//!
//! Entries are cleared under their table's lock and handed to a gather; a table none of whose
//! addresses is mapped any more is unlinked whole, with what it maps, and read only after the flush.
//!
//! Corresponds to Linux's `unmap_page_range` and `free_pgtables`, in one pass.

use super::Space;
use crate::entry::{At, PmdLevel, PteLevel};
use crate::tlb::Gather;
use crate::{Hardware, Slot};
use abi::{ENTRIES, Level, PAGE_SIZE, Pfn, VirtAddr, VirtRange};
use pte::Entry;

impl<H: Hardware> Space<'_, H> {
    /// Clears everything in `range` and unlinks the tables that serve only `gap`, the free space
    /// around it. The layout is locked for writing and no longer has `range`.
    #[doc(alias("unmap_region", "unmap_page_range", "zap_page_range"))]
    pub(super) fn zap(&self, range: VirtRange, gap: VirtRange) {
        let mut gather = Gather::new(self.mm, &self.core.context);
        // A huge page that is only partly in range loses its block first.
        for edge in [range.start, range.end] {
            if !edge.is_aligned(Level::Pmd.span()) {
                self.mm.split_huge_at(&self.core, edge);
            }
        }
        self.zap_table(&mut gather, self.core.root, Level::Pgd, VirtAddr(0), range, gap);
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
                    } else if down == Level::Pte {
                        self.zap_pages(gather, below.pfn(), here.intersect(&range));
                    } else {
                        self.zap_table(gather, below.pfn(), down, here.start, range, gap);
                    }
                }
                _ => self.zap_huge(gather, slot, here.start),
            }
        }
    }

    /// Clears `range` in one table of pages.
    #[doc(alias = "zap_pte_range")]
    fn zap_pages(&self, gather: &mut Gather<'_, H>, table: Pfn, range: VirtRange) {
        let table = self.mm.lock::<PteLevel>(table);
        table.unfold_edges(&self.core.context, range);
        let first = Level::Pte.index(range.start);
        let end = first + range.pages() as usize;
        let mut index = first;
        while index < end {
            if let At::Soft(entry) = table.at(index) {
                entry.clear();
            }
            let Some(run) = table.run(index, end - index) else {
                index += 1;
                continue;
            };
            let unmapped = run.clear();
            let start = range.start + (index - first) as u64 * PAGE_SIZE;
            let run = VirtRange::from_size(start, unmapped.pages() as u64 * PAGE_SIZE);
            gather.run(run, unmapped.leaf());
            index += unmapped.pages();
        }
    }

    /// Clears one huge leaf.
    #[doc(alias = "zap_huge_pmd")]
    fn zap_huge(&self, gather: &mut Gather<'_, H>, slot: Slot, va: VirtAddr) {
        let mm = self.mm;
        let table = mm.lock::<PmdLevel>(slot.table());
        let unmapped = match table.at(Level::Pmd.index(va)) {
            At::Present(entry) => Some(entry.clear()),
            At::Soft(entry) => {
                entry.clear();
                None
            }
            At::None(_) | At::Table(_) | At::Corrupt(_) => return,
        };
        let spare = mm.withdraw(slot.table());
        drop(table);
        // The deposited table was never linked, or not since its last flush.
        if let Some(spare) = spare {
            spare.discard(mm);
        }
        if let Some(unmapped) = unmapped {
            gather.leaf(va, unmapped);
        }
    }
}
