//! Nothing is mapped for 2 MiB around, and a huge page may be.
//!
//! A table is put aside with it, so that splitting it later cannot fail for memory.
//!
//! Corresponds to Linux's `do_huge_pmd_anonymous_page`.

use super::Space;
use super::fault::{Ended, Request, Stop};
use crate::entry::{At, PmdLevel, Spare};
use crate::frame::{Effort, OutOfMemory};
use crate::thp::Defrag;
use crate::{Hardware, Slot};
use abi::{Event, Level, Order, PMD_SIZE, Pfn};

impl<H: Hardware> Space<'_, H> {
    /// Maps the 2 MiB around the fault, whose PMD entry was empty, if policy and area permit. `None`:
    /// they do not, or there is no memory for it in one piece; try a smaller one.
    #[doc(alias = "do_huge_pmd_anonymous_page")]
    pub(super) fn fault_huge(&self, fault: &Request, slot: Slot) -> Result<Option<Ended>, Stop> {
        let mm = self.mm;
        if fault.vma.block_around(fault.va, PMD_SIZE).is_none()
            || !mm.thp.wants(&self.core, &fault.vma)
        {
            return Ok(None);
        }
        if !fault.wants_own() && mm.thp.use_zero_page() {
            return Ok(self.map_huge_zero(fault, slot));
        }
        let memory = mm.spare_table().and_then(|spare| match self.huge_folio(fault) {
            Ok(pfn) => Ok((spare, pfn)),
            Err(oom) => {
                spare.discard(mm);
                Err(oom)
            }
        });
        match memory {
            Ok((spare, pfn)) => Ok(Some(self.map_huge(fault, slot, spare, pfn))),
            Err(oom) => self.huge_fallback(fault, oom),
        }
    }

    /// There are no 2 MiB: stops, so that room is made, or says that something smaller must do.
    pub(super) fn huge_fallback<T>(
        &self,
        fault: &Request,
        oom: OutOfMemory,
    ) -> Result<Option<T>, Stop> {
        if self.mm.thp.effort(&fault.vma) == Effort::Full && !fault.last {
            return Err(oom.into());
        }
        self.mm.count(Event::ThpFaultFallback, 1);
        if self.mm.thp.defrag() == Defrag::Defer {
            self.mm.compact_later();
        }
        Ok(None)
    }

    /// 2 MiB of zeros, counted for one PMD entry.
    pub(super) fn huge_folio(&self, fault: &Request) -> Result<Pfn, OutOfMemory> {
        let mm = self.mm;
        let owner = self.owner(&fault.vma, fault.va.align_down(PMD_SIZE));
        let pfn = mm.anon_alloc_with(mm.thp.effort(&fault.vma), Order::PMD, 1, owner)?;
        mm.count_pmd_map(pfn);
        mm.zero(pfn, Order::PMD);
        Ok(pfn)
    }

    /// Gives back what [`Space::huge_folio`] gave and no entry came to map.
    pub(super) fn huge_folio_unused(&self, pfn: Pfn) {
        self.mm.uncount_pmd_map(pfn);
        self.mm.folio_unmap(pfn, 1);
    }

    fn map_huge(&self, fault: &Request, slot: Slot, spare: Spare, pfn: Pfn) -> Ended {
        let mm = self.mm;
        let table = mm.lock::<PmdLevel>(slot.table());
        if let At::None(empty) = table.at(Level::Pmd.index(fault.va)) {
            mm.deposit(table.table(), spare);
            empty.set(self.first_leaf(fault, Level::Pmd, pfn));
            drop(table);
            mm.count(Event::ThpFaultAlloc, 1);
            return Ended::Mapped;
        }
        drop(table);
        spare.discard(mm);
        self.huge_folio_unused(pfn);
        Ended::Spurious
    }
}
