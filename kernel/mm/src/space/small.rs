//! The fault of a 4 KiB page: take a page, clear it, store one entry.
//!
//! The page is cleared before the table's lock is taken, so a lock covers no clearing; whoever finds
//! the slot taken by then gives its page back.
//!
//! Corresponds to Linux's `do_anonymous_page`.

use super::fault::{FaultOutcome, touched};
use super::{Space, Vma};
use crate::entry::At;
use crate::rmap::Owner;
use crate::table::Stop;
use crate::{Hardware, Slot};
use abi::{Access, Level, Order, VirtAddr};
use pte::{Entry, Leaf};

impl<H: Hardware> Space<'_, H> {
    /// Maps a page of zeros at `va`, below the table that `pmd` points to, or finds what is there
    /// already.
    #[doc(alias = "do_anonymous_page")]
    #[inline]
    pub(super) fn fault_small(
        &self,
        vma: &Vma,
        va: VirtAddr,
        pmd: Slot,
        access: Access,
    ) -> Result<FaultOutcome, Stop> {
        let mm = self.mm;
        let Entry::Table(table) = pte::decode(Level::Pmd, mm.hw.load(pmd)) else {
            // A huge page came meanwhile: look anew.
            return Ok(FaultOutcome::Spurious);
        };
        let index = Level::Pte.index(va);
        let slot = Slot::new(table.pfn(), index);
        let word = mm.hw.load(slot);
        if word != 0 {
            return self.permit(slot, Level::Pte, word, va, access);
        }
        let owner = self.owner(vma, va);
        let pfn = mm.anon_alloc(Order::PAGE, 1, owner).map_err(Stop::OutOfMemory)?;
        mm.zero(pfn, Order::PAGE);
        let leaf = touched(Leaf::user(Level::Pte, pfn, vma.prot), access);
        if let Some(table) = mm.lock_below(pmd)
            && let At::None(empty) = table.at(index)
        {
            // No barrier for the walkers: the worst is one more fault, which finds the entry right. The
            // zeros come before the entry for software that reads it (release), and for hardware the
            // dependency through the translation orders them.
            empty.set(leaf);
            return Ok(FaultOutcome::Mapped);
        }
        // Another CPU faulted on the same page and was faster.
        mm.folio_unmap(pfn, 1);
        Ok(FaultOutcome::Spurious)
    }

    /// Who maps the folio that begins at `va`.
    #[inline]
    pub(super) fn owner(&self, vma: &Vma, va: VirtAddr) -> u64 {
        Owner { family: self.core.family.id(), index: vma.index_at(va) }.word()
    }
}
