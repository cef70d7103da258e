//! The fault of a 2 MiB page.
//!
//! Corresponds to Linux's `do_huge_pmd_anonymous_page`.

use super::fault::{FaultOutcome, touched};
use super::{Space, Vma};
use crate::entry::{At, PmdLevel};
use crate::{Hardware, Slot};
use abi::{Access, Event, Level, Order, PMD_SIZE, VirtAddr};
use pte::Leaf;

impl<H: Hardware> Space<'_, H> {
    /// Maps the 2 MiB around `va`, whose PMD slot was empty, if policy and area permit. `None`: they do
    /// not, or there is no memory for it in one piece; try a smaller one.
    #[doc(alias = "do_huge_pmd_anonymous_page")]
    pub(super) fn fault_huge(
        &self,
        vma: &Vma,
        va: VirtAddr,
        slot: Slot,
        access: Access,
    ) -> Option<FaultOutcome> {
        let mm = self.mm;
        let range = vma.block_around(va, PMD_SIZE)?;
        if !mm.thp.wants(vma) {
            return None;
        }
        let Ok(spare) = mm.fresh_table() else {
            mm.count(Event::ThpFaultFallback, 1);
            return None;
        };
        let Ok(pfn) = mm.anon_alloc(Order::PMD, 1, self.owner(vma, range.start)) else {
            spare.discard(mm);
            mm.count(Event::ThpFaultFallback, 1);
            return None;
        };
        mm.count_pmd_map(pfn);
        mm.zero(pfn, Order::PMD);
        let leaf = touched(Leaf::user(Level::Pmd, pfn, vma.prot), access);
        let table = mm.lock::<PmdLevel>(slot.table());
        if let At::None(empty) = table.at(Level::Pmd.index(va)) {
            mm.deposit(table.table(), spare);
            empty.set(leaf);
            drop(table);
            mm.count(Event::ThpFaultAlloc, 1);
            return Some(FaultOutcome::Mapped);
        }
        drop(table);
        spare.discard(mm);
        mm.uncount_pmd_map(pfn);
        mm.folio_unmap(pfn, 1);
        Some(FaultOutcome::Spurious)
    }
}
