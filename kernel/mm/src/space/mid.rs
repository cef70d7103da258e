//! Nothing is mapped, and 64 KiB may be: one folio, sixteen entries, one contiguous set.
//!
//! Corresponds to Linux's `alloc_anon_folio` for an order above 0.

use super::Space;
use super::fault::{Ended, Request, Stop};
use crate::entry::PteLevel;
use crate::entry::contpte::SET_BYTES;
use crate::frame::Effort;
use crate::{Hardware, Slot};
use abi::{Event, Level, Pfn};
use pte::{CONT_PTE_ORDER, CONT_PTES};

impl<H: Hardware> Space<'_, H> {
    /// Maps the 64 KiB around the fault, if policy and area permit and nothing is mapped in them.
    /// `None`: they do not, or there is no memory for it in one piece; a page may do.
    #[doc(alias("alloc_anon_folio", "thp_vma_suitable_orders"))]
    #[inline]
    pub(super) fn fault_mid(&self, fault: &Request, table: Pfn) -> Result<Option<Ended>, Stop> {
        if self.mm.thp.wants_64k(&self.core, &fault.vma) {
            self.try_mid(fault, table)
        } else {
            Ok(None)
        }
    }

    /// As [`Space::fault_mid`], where policy permits. Not inlined: the fault of a page passes here.
    #[inline(never)]
    fn try_mid(&self, fault: &Request, table: Pfn) -> Result<Option<Ended>, Stop> {
        let mm = self.mm;
        let Some(range) = fault.vma.block_around(fault.va, SET_BYTES) else { return Ok(None) };
        let first = Level::Pte.index(range.start);
        // All of them, nearly always: so without a branch for each.
        let taken = |table: Pfn| {
            let slot = Slot::new(table, first);
            (0..CONT_PTES).fold(0, |any, n| any | mm.hw.load(slot.ahead(n))) != 0
        };
        if taken(table) {
            return Ok(None);
        }
        let owner = self.owner(&fault.vma, range.start);
        let effort = mm.thp.effort(&fault.vma);
        let n = CONT_PTES as u32;
        let pfn = match mm.anon_alloc_with(effort, CONT_PTE_ORDER, n, owner) {
            Ok(pfn) => pfn,
            Err(oom) if effort == Effort::Full && !fault.last => return Err(oom.into()),
            Err(_) => {
                mm.count(Event::Anon64kFallback, 1);
                return Ok(None);
            }
        };
        mm.zero(pfn, CONT_PTE_ORDER);
        let table = mm.lock::<PteLevel>(table);
        if !taken(table.table()) {
            table.set_run(first, self.first_leaf(fault, Level::Pte, pfn), CONT_PTES);
            drop(table);
            mm.count(Event::Anon64kAlloc, 1);
            return Ok(Some(Ended::Mapped));
        }
        drop(table);
        // Another CPU mapped something there meanwhile; perhaps what is wanted.
        mm.folio_unmap(pfn, n);
        Ok(Some(Ended::Spurious))
    }
}
