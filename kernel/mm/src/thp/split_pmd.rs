//! Splitting a huge entry into 512 small ones.
//!
//! The block is broken first: a small and a huge translation of one address must never be live at
//! once; and it stays *present* to software throughout, so that no lockless reader sees nothing where
//! there is memory.
//!
//! Corresponds to Linux's `__split_huge_pmd_locked`.

use crate::entry::{At, Locked, PmdLevel};
use crate::space::Core;
use crate::{Hardware, Mm};
use abi::{ENTRIES, Event, Level, VirtAddr};
use pte::Leaf;

impl<H: Hardware> Mm<H> {
    /// If a huge entry of `core` maps `va`, maps its memory by 512 small entries instead.
    ///
    /// Context: any claim on the area, or the layout held; no table's lock.
    #[doc(alias("split_huge_pmd", "__split_huge_pmd"))]
    pub(crate) fn split_huge_at(&self, core: &Core, va: VirtAddr) {
        let Some(slot) = self.find_slot(core.root, va, Level::Pmd) else { return };
        let table = self.lock::<PmdLevel>(slot.table());
        self.split_pmd(core, &table, va);
    }

    /// As [`Mm::split_huge_at`], under the lock of the PMD table.
    pub(crate) fn split_pmd(&self, core: &Core, table: &Locked<'_, H, PmdLevel>, va: VirtAddr) {
        let At::Present(entry) = table.at(Level::Pmd.index(va)) else { return };
        let Some(fresh) = self.withdraw(table.table()) else { return };
        let broken = entry.invalidate(&core.context, va);
        let old = broken.leaf();
        let Some(head) = self.frames.map().head(old.pfn()) else { return };
        // One entry held one reference and one mapping; 512 entries hold one each. The exclusive bit
        // for all says the same before and after.
        self.folio_map(head, ENTRIES as u32 - 1);
        self.uncount_pmd_map(head);
        let first = piece(old);
        fresh.fill(self, 0, ENTRIES, first.word(), Level::Pte.span());
        broken.link(fresh);
        self.count(Event::ThpSplitPmd, 1);
    }
}

/// The small leaf that maps the first page of what `block` maps, with its rights and its history.
fn piece(block: Leaf) -> Leaf {
    let page = Leaf::user(Level::Pte, block.pfn(), block.prot());
    let page = if block.is_young() { page } else { page.made_old() };
    if block.is_dirty() { page.made_dirty() } else { page }
}
