//! References to user pages, found without locks.
//!
//! # The order that makes it right
//! Inside a walkers' epoch (tables stay tables): read an entry, take a reference on what it names,
//! *then read the entry again*. Unmapping clears the entry, invalidates, and gives its reference
//! back; so an entry that still reads the same was not cleared before our reference was visible, and
//! the memory is the one it named. The entry above a PTE is read again too: a whole table may have
//! been unlinked with its entries left as they were.
//!
//! Corresponds to Linux's `gup_fast_pte_range` and `gup_fast_pmd_leaf`.

use crate::frame::FolioRef;
use crate::mutant::Mutant;
use crate::space::{FaultOutcome, Space, USER_END};
use crate::{Hardware, Note, Slot};
use abi::{Access, Event, Level, PAGE_SIZE, Pfn, VirtAddr};
use core::sync::atomic::{Ordering, fence};
use pte::Entry;

impl<'m, H: Hardware> Space<'m, H> {
    /// Takes a reference on the page at `va` if it is mapped and permits `access` right now, without
    /// a lock and without a fault. `None` says only that this was not the moment.
    ///
    /// Context: any, interrupt handlers included (a walk masks interrupts, so none is interrupted);
    /// bounded.
    #[doc(alias("get_user_pages_fast", "gup_fast_pte_range"))]
    pub fn gup_fast(&self, va: VirtAddr, access: Access) -> Option<FolioRef<'m, H>> {
        // A table looks at 48 bits: without this, an address of the upper half would find the page
        // that has the same low bits. Linux: `access_ok`.
        if va >= USER_END {
            return None;
        }
        let mm = self.mm();
        let _epoch = mm.walkers.enter(&mm.hw);
        mm.hw.note(Note::Walk(va));
        let mut table = self.root();
        let mut above: Option<(Slot, u64)> = None;
        for level in Level::ALL {
            let slot = Slot::new(table, level.index(va));
            let word = mm.hw.load(slot);
            match pte::decode(level, word) {
                Entry::Table(next) => {
                    above = Some((slot, word));
                    table = next.pfn();
                }
                Entry::Leaf(leaf) if leaf.permits(access) && !leaf.is_special() => {
                    let page = va.0 % level.span() / PAGE_SIZE;
                    return self.try_get(leaf.pfn() + page, (slot, word), above);
                }
                _ => return None,
            }
        }
        None
    }

    /// Takes the reference, unless `entry` or the table entry `above` it has changed since it was read.
    #[doc(alias = "try_grab_folio_fast")]
    #[inline]
    fn try_get(
        &self,
        pfn: Pfn,
        entry: (Slot, u64),
        above: Option<(Slot, u64)>,
    ) -> Option<FolioRef<'m, H>> {
        let mm = self.mm();
        let _head = mm.folio_try_get(pfn, 1)?;
        let folio = FolioRef::adopt(mm, pfn);
        // The reference is visible before the second look.
        fence(Ordering::SeqCst);
        let unchanged = |(slot, word): (Slot, u64)| mm.hw.load(slot) == word;
        if mm.commits(Mutant::GupNoRecheck) || (unchanged(entry) && above.is_none_or(unchanged)) {
            mm.count(Event::GupFast, 1);
            return Some(folio);
        }
        mm.count(Event::GupFastRetry, 1);
        None
    }

    /// Takes a reference on the page at `va`, faulting it in where need be.
    ///
    /// Context: thread, may sleep. Fails with [`FaultOutcome::Denied`] or
    /// [`FaultOutcome::OutOfMemory`] only.
    #[doc(alias = "get_user_pages")]
    pub fn gup(&self, va: VirtAddr, access: Access) -> Result<FolioRef<'m, H>, FaultOutcome> {
        loop {
            if let Some(folio) = self.gup_fast(va, access) {
                return Ok(folio);
            }
            match self.fault(va, access) {
                FaultOutcome::Mapped | FaultOutcome::Spurious => {
                    self.mm().count(Event::GupSlow, 1);
                    self.mm().hw.relax();
                }
                stop => return Err(stop),
            }
        }
    }
}
