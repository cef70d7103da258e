//! Pins for as long as somebody likes, such as of memory that a device was given for good.
//!
//! Memory that is kept for what moves ([`crate::Frames::is_movable_only`]) would be worth nothing if such
//! pins stayed in it. So what is pinned there is let go, moved out in one batch, and pinned again; and
//! looked at again, for between the two it may have been given back, or moved again.
//!
//! Nor would a pin of zeros be that everybody shares: the program's next write puts a page in their place, and
//! whoever has pinned them goes on seeing zeros. A short pin to read may do that; for a long one the page comes
//! first.
//!
//! Corresponds to Linux's `FOLL_LONGTERM`, `check_and_migrate_movable_pages`,
//! `__gup_longterm_locked`, and what `gup_must_unshare` says of pages that are not anonymous.

use super::{GupError, Held, Run};
use crate::Hardware;
use crate::frame::FolioPin;
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
        let mut patience = Patience::new();
        loop {
            let pin = self.pin(va, access)?;
            let pfn = pin.pfn();
            if self.is_everybodys(pfn, access) {
                self.unshare(va)?;
            } else if self.may_stay(pfn) || self.looks_once(&patience) {
                return Ok(pin);
            } else {
                drop(pin);
                self.move_out(&[va], pfn, &mut patience)?;
            }
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
        let mut patience = Patience::new();
        loop {
            let held = self.pin_many(va, pages, access, &mut *runs)?;
            let stays = |pfn| self.may_stay(pfn) && !self.is_everybodys(pfn, access);
            if self.looks_once(&patience) || held.iter().all(stays) {
                // The same once more, with what it is made of lent for as long as it is held.
                let used = held.runs().len();
                core::mem::forget(held);
                let hold = super::Hold::Pin;
                return Ok(Held::adopt(self.mm(), &runs[..used], hold, access == Access::Write));
            }
            let (mut out, mut first) = (Vec::new(), None);
            for (n, pfn) in (0..).zip(held.iter()) {
                let va = va + n * PAGE_SIZE;
                if self.is_everybodys(pfn, access) {
                    self.unshare(va)?;
                } else if !self.may_stay(pfn) {
                    out.try_reserve(1).map_err(|_| GupError::OutOfMemory(NO_HEAP))?;
                    out.push(va);
                    first.get_or_insert(pfn);
                }
            }
            drop(held);
            if let Some(first) = first {
                self.move_out(&out, first, &mut patience)?;
            }
        }
    }

    /// Whether these are zeros that everybody shares. Who pins to write has got a page in their place.
    fn is_everybodys(&self, pfn: Pfn, access: Access) -> bool {
        access != Access::Write
            && self.mm().shows_zeros(pfn)
            && !self.mm().commits(Mutant::LongtermZeros)
    }

    /// Puts a page in the place of zeros.
    #[cold]
    fn unshare(&self, va: VirtAddr) -> Result<(), GupError> {
        super::slow::faulted(self.fault_unshare(va))
    }

    /// Whether a pin may stay there.
    fn may_stay(&self, pfn: Pfn) -> bool {
        let mm = self.mm();
        !mm.frames.is_movable_only(pfn) || mm.commits(Mutant::LongtermStays)
    }

    /// Whether nobody looks where the page is once it was moved.
    fn looks_once(&self, patience: &Patience) -> bool {
        patience.moved && self.mm().commits(Mutant::LongtermOnce)
    }

    /// Moves the folios at `pages`, of which `first` is the first page, out of memory that is kept for what
    /// moves. What is held for a moment is tried again by whoever pins again.
    #[cold]
    fn move_out(
        &self,
        pages: &[VirtAddr],
        first: Pfn,
        patience: &mut Patience,
    ) -> Result<(), GupError> {
        let mut moved: Vec<Moved> = Vec::new();
        moved.try_reserve_exact(pages.len()).map_err(|_| GupError::OutOfMemory(NO_HEAP))?;
        moved.resize(pages.len(), Err(MigrateError::NotMapped));
        self.move_pages(pages, Destination::Pinnable, &mut moved).map_err(GupError::OutOfMemory)?;
        patience.moved = moved.iter().all(Result::is_ok);
        for result in moved {
            match result {
                Err(MigrateError::OutOfMemory(oom)) => return Err(GupError::OutOfMemory(oom)),
                // Gone, or somebody's for the moment.
                Err(MigrateError::Busy { .. } | MigrateError::Locked) => {
                    patience.tries =
                        patience.tries.checked_sub(1).ok_or(GupError::Unmovable(first))?;
                    self.mm().hw.relax();
                    break;
                }
                Ok(_) | Err(MigrateError::NotMapped | MigrateError::NotAnonymous) => {}
            }
        }
        Ok(())
    }
}

/// How one call has fared so far.
struct Patience {
    /// How often it is tried again.
    tries: u32,
    /// Whether all that had to move was moved.
    moved: bool,
}

impl Patience {
    const fn new() -> Self {
        Self { tries: TRIES, moved: false }
    }
}
