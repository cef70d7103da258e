//! Pins for as long as somebody likes, such as of memory that a device was given for good.
//!
//! Memory that is kept for what moves ([`crate::Frames::is_movable_only`]) would be worth nothing if such
//! pins stayed in it. So what is pinned there is let go, moved out in one batch, and pinned again; and
//! looked at again, for between the two it may have been given back, or moved again.
//!
//! Corresponds to Linux's `FOLL_LONGTERM`, `check_and_migrate_movable_pages` and
//! `__gup_longterm_locked`.

use super::{GupError, Held, Run};
use crate::Hardware;
use crate::frame::{Flag, FolioPin};
use crate::migrate::{Destination, MigrateError, Moved};
use crate::mutant::Mutant;
use crate::rmap::NO_HEAP;
use crate::space::Space;
use abi::{Access, PAGE_SIZE, Pfn, VirtAddr};
use alloc::vec::Vec;

/// How often a folio is tried to be moved that others hold for a moment.
const TRIES: u32 = 16;

impl<'m, H: Hardware> Space<'m, H> {
    /// Pins the page at `va` for as long as it takes, as [`Space::pin`] does, in memory where it may stay.
    ///
    /// Context: as for [`Space::gup`].
    #[doc(alias = "FOLL_LONGTERM")]
    pub fn pin_longterm(&self, va: VirtAddr, access: Access) -> Result<FolioPin<'m, H>, GupError> {
        let mut tries = TRIES;
        loop {
            let pin = self.pin(va, access)?;
            let pfn = pin.pfn();
            if self.may_stay(pfn) {
                return Ok(pin);
            }
            drop(pin);
            self.move_out(&[va], pfn, &mut tries)?;
        }
    }

    /// Pins pages as [`Space::pin_many`] does, all of them in memory where they may stay.
    ///
    /// Context: as for [`Space::gup`].
    #[doc(alias("pin_user_pages", "FOLL_LONGTERM"))]
    pub fn pin_longterm_many<'b>(
        &self,
        va: VirtAddr,
        pages: u64,
        access: Access,
        runs: &'b mut [Run],
    ) -> Result<Held<'m, 'b, H>, GupError> {
        let mut tries = TRIES;
        loop {
            let held = self.pin_many(va, pages, access, &mut *runs)?;
            let Some(first) = held.iter().find(|&pfn| !self.may_stay(pfn)) else {
                // The same once more, with what it is made of lent for as long as it is held.
                let used = held.runs().len();
                core::mem::forget(held);
                let hold = super::Hold::Pin;
                return Ok(Held::adopt(self.mm(), &runs[..used], hold, access == Access::Write));
            };
            let mut out = Vec::new();
            let misplaced = || (0..).zip(held.iter()).filter(|(_, pfn)| !self.may_stay(*pfn));
            out.try_reserve_exact(misplaced().count())
                .map_err(|_| GupError::OutOfMemory(NO_HEAP))?;
            out.extend(misplaced().map(|(n, _): (u64, Pfn)| va + n * PAGE_SIZE));
            drop(held);
            self.move_out(&out, first, &mut tries)?;
        }
    }

    /// Whether a pin may stay there. Zeros that everybody shares never move anyway.
    fn may_stay(&self, pfn: Pfn) -> bool {
        let frames = &self.mm().frames;
        !frames.is_movable_only(pfn)
            || self.mm().commits(Mutant::LongtermStays)
            || frames.map().head(pfn).is_some_and(|head| frames.map().desc(head).has(Flag::Zero))
    }

    /// Moves the folios at `pages`, of which `first` is the first page, out of memory that is kept for what
    /// moves. What is held for a moment is tried again by whoever pins again.
    #[cold]
    fn move_out(&self, pages: &[VirtAddr], first: Pfn, tries: &mut u32) -> Result<(), GupError> {
        let mut moved: Vec<Moved> = Vec::new();
        moved.try_reserve_exact(pages.len()).map_err(|_| GupError::OutOfMemory(NO_HEAP))?;
        moved.resize(pages.len(), Err(MigrateError::NotMapped));
        self.move_pages(pages, Destination::Pinnable, &mut moved).map_err(GupError::OutOfMemory)?;
        for result in moved {
            match result {
                Err(MigrateError::OutOfMemory(oom)) => return Err(GupError::OutOfMemory(oom)),
                // Gone, or somebody's for the moment.
                Err(MigrateError::Busy { .. } | MigrateError::Locked) => {
                    *tries = tries.checked_sub(1).ok_or(GupError::Unmovable(first))?;
                    self.mm().hw.relax();
                    break;
                }
                Ok(_) | Err(MigrateError::NotMapped | MigrateError::NotAnonymous) => {}
            }
        }
        Ok(())
    }
}
