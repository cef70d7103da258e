//! The fault of a 4 KiB page.
//!
//! The page is made ready before the lock is taken, so that the lock covers no clearing; whoever finds
//! the slot taken by then gives its page back.
//!
//! Corresponds to Linux's `do_anonymous_page`.

use super::fault::{FaultOutcome, touched};
use super::{Space, Vma};
use crate::frame::Kind;
use crate::table::Stop;
use crate::{Hardware, Slot};
use abi::{Access, Level, Order, VirtAddr};
use pte::Leaf;

impl<H: Hardware> Space<'_, H> {
    /// Maps a page of zeros at `slot`, or finds what is there already.
    #[doc(alias = "do_anonymous_page")]
    #[inline]
    pub(super) fn fault_small(
        &self,
        vma: &Vma,
        va: VirtAddr,
        slot: Slot,
        access: Access,
    ) -> Result<FaultOutcome, Stop> {
        let mm = self.mm;
        let word = mm.hw.load(slot);
        if word != 0 {
            return self.permit(slot, Level::Pte, word, va, access);
        }
        let pfn = mm.alloc_zeroed(Order::PAGE, Kind::Folio).map_err(Stop::OutOfMemory)?;
        let leaf = touched(Leaf::user(Level::Pte, pfn, vma.prot), access);
        let lock = mm.lock_table(slot.table(), Level::Pte);
        if mm.hw.load(slot) != 0 {
            // Another CPU faulted on the same page and was faster.
            drop(lock);
            mm.folio_put(pfn, 1);
            return Ok(FaultOutcome::Spurious);
        }
        // No barrier for the walkers: the worst is one more fault, which finds the entry right. The
        // zeros come before the entry for software that reads it (release), and for hardware the
        // dependency through the translation orders them.
        mm.hw.store(slot, leaf.word());
        Ok(FaultOutcome::Mapped)
    }
}
