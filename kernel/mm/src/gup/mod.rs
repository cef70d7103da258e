//! References and pins on user pages.
//!
//! A *reference* keeps the page's memory; the mapping may change under it. A *pin* is for somebody who
//! goes on reading and writing past all page tables, a device: the page stays the one that the
//! program sees at this address, across forks and everything else but its own unmapping. So only a page
//! that is nobody else's can be pinned.
//!
//! Either is had with the right to read or to write. Who writes past all page tables leaves no trace in an
//! entry; giving up a hold that was for writing says so of the folio.
//!
//! | file | concern |
//! | --- | --- |
//! | `fast` | without locks, where the page is mapped as it has to be |
//! | `window` | what one walk takes together |
//! | `held` | pages that are held together, by runs |
//! | `longterm` | pins for as long as somebody likes: not in memory that is kept for what moves, nor of shared zeros |
//! | `slow` | under the table's lock, with faults for what is missing |
//!
//! Corresponds to Linux's `mm/gup.c`.

mod fast;
mod held;
mod longterm;
mod slow;
mod window;

pub use held::{Held, Run};

use crate::frame::{FolioPin, FolioRef, OutOfMemory};
use crate::mutant::Mutant;
use crate::space::{Denial, Space};
use crate::{Hardware, Mm};
use abi::{Access, PAGE_SIZE, Pfn, VirtAddr};
use core::fmt;
use pte::Leaf;
use window::Got;

/// Why a page cannot be referenced or pinned. Nothing is held.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum GupError {
    /// The program may not do this itself.
    Denied(Denial),
    /// There is no memory to fault the page in. Free some and try again.
    OutOfMemory(OutOfMemory),
    /// This frame is mapped there, and nobody counts who uses it: a device's, or one that was given.
    #[doc(alias("VM_PFNMAP", "VM_IO"))]
    Uncounted(Pfn),
    /// This frame's folio has as many references as can be counted.
    TooMany(Pfn),
    /// This frame is kept for what moves, and its folio could not be moved out, time and again: somebody
    /// else holds it. Try again when that is over.
    #[doc(alias = "FOLL_LONGTERM")]
    Unmovable(Pfn),
}

impl fmt::Display for GupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Denied(denial) => denial.fmt(f),
            Self::OutOfMemory(oom) => oom.fmt(f),
            Self::Uncounted(pfn) => write!(f, "nobody counts the users of frame {pfn}"),
            Self::TooMany(pfn) => write!(f, "frame {pfn} has too many users to count"),
            Self::Unmovable(pfn) => write!(f, "frame {pfn} must be moved and is held by others"),
        }
    }
}

impl core::error::Error for GupError {}

/// What is wanted of a page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Hold {
    /// That it is not freed.
    #[doc(alias = "FOLL_GET")]
    Reference,
    /// That it is not freed and stays the one that is mapped.
    #[doc(alias = "FOLL_PIN")]
    Pin,
}

impl<'m, H: Hardware> Space<'m, H> {
    /// Takes a reference on the page at `va` if it is mapped and permits `access` right now, without
    /// a lock and without a fault. `None` says only that this was not the moment.
    ///
    /// Context: any, interrupt handlers included (a walk masks interrupts, so none is interrupted);
    /// bounded.
    #[doc(alias = "get_user_pages_fast")]
    pub fn gup_fast(&self, va: VirtAddr, access: Access) -> Option<FolioRef<'m, H>> {
        let pfn = self.mm().hold_fast(self.core(), va, access, Hold::Reference)?;
        Some(FolioRef::adopt(self.mm(), pfn).for_writing(access == Access::Write))
    }

    /// Pins the page at `va` if it is mapped, permits `access` and is nobody else's right now, without
    /// a lock and without a fault. `None` says only that this was not the moment.
    ///
    /// Context: as for [`Space::gup_fast`].
    #[doc(alias = "pin_user_pages_fast_only")]
    pub fn pin_fast(&self, va: VirtAddr, access: Access) -> Option<FolioPin<'m, H>> {
        let pfn = self.mm().hold_fast(self.core(), va, access, Hold::Pin)?;
        Some(self.mm().pinned(pfn, access == Access::Write))
    }

    /// Takes a reference on the page at `va`, faulting it in where need be.
    ///
    /// Context: thread, may sleep; no spin lock, no claim on an area.
    #[doc(alias = "get_user_pages")]
    pub fn gup(&self, va: VirtAddr, access: Access) -> Result<FolioRef<'m, H>, GupError> {
        if let Some(folio) = self.gup_fast(va, access) {
            return Ok(folio);
        }
        let pfn = self.hold_slow(va, access, Hold::Reference)?;
        Ok(FolioRef::adopt(self.mm(), pfn).for_writing(access == Access::Write))
    }

    /// Pins the page at `va`, faulting it in where need be, and making it the program's own where it
    /// is shared.
    ///
    /// Context: as for [`Space::gup`].
    #[doc(alias("pin_user_pages", "pin_user_pages_fast"))]
    pub fn pin(&self, va: VirtAddr, access: Access) -> Result<FolioPin<'m, H>, GupError> {
        if let Some(pin) = self.pin_fast(va, access) {
            return Ok(pin);
        }
        let pfn = self.hold_slow(va, access, Hold::Pin)?;
        Ok(self.mm().pinned(pfn, access == Access::Write))
    }
}

/// Many pages at once. `runs` is room for what is held, a run for each folio at most and one more for
/// each 128 pages of a large folio that is mapped in pieces; where it ends, so do the pages.
impl<'m, H: Hardware> Space<'m, H> {
    /// Takes references on pages from `va` on, at most `pages`, as far as they are mapped one after the
    /// other and permit `access` right now, without a lock and without a fault.
    ///
    /// Context: as for [`Space::gup_fast`]; interrupts are masked for 128 pages or one block at a time.
    #[doc(alias = "get_user_pages_fast_only")]
    pub fn gup_fast_many<'b>(
        &self,
        va: VirtAddr,
        pages: u64,
        access: Access,
        runs: &'b mut [Run],
    ) -> Held<'m, 'b, H> {
        self.many_fast(va, pages, access, Hold::Reference, runs)
    }

    /// Pins pages from `va` on, as [`Space::gup_fast_many`] references them: those that are mapped as
    /// [`Space::pin_fast`] asks.
    ///
    /// Context: as for [`Space::gup_fast_many`].
    #[doc(alias = "pin_user_pages_fast_only")]
    pub fn pin_fast_many<'b>(
        &self,
        va: VirtAddr,
        pages: u64,
        access: Access,
        runs: &'b mut [Run],
    ) -> Held<'m, 'b, H> {
        self.many_fast(va, pages, access, Hold::Pin, runs)
    }

    /// Takes references on `pages` pages from `va` on, faulting them in where need be. What is held is
    /// less where `runs` is full, or where a page cannot be had: whoever asks again from there is told
    /// why.
    ///
    /// Context: as for [`Space::gup`].
    #[doc(alias("get_user_pages", "get_user_pages_fast"))]
    pub fn gup_many<'b>(
        &self,
        va: VirtAddr,
        pages: u64,
        access: Access,
        runs: &'b mut [Run],
    ) -> Result<Held<'m, 'b, H>, GupError> {
        self.many(va, pages, access, Hold::Reference, runs)
    }

    /// Pins `pages` pages from `va` on, as [`Space::pin`] does, and as many as [`Space::gup_many`] would.
    ///
    /// Context: as for [`Space::gup`].
    #[doc(alias("pin_user_pages", "pin_user_pages_fast"))]
    pub fn pin_many<'b>(
        &self,
        va: VirtAddr,
        pages: u64,
        access: Access,
        runs: &'b mut [Run],
    ) -> Result<Held<'m, 'b, H>, GupError> {
        self.many(va, pages, access, Hold::Pin, runs)
    }

    fn many_fast<'b>(
        &self,
        va: VirtAddr,
        pages: u64,
        access: Access,
        hold: Hold,
        runs: &'b mut [Run],
    ) -> Held<'m, 'b, H> {
        let mut got = Got::default();
        self.more_fast(va, pages, access, hold, runs, &mut got);
        Held::adopt(self.mm(), &runs[..got.runs], hold, access == Access::Write)
    }

    /// Goes on where `got` ends, for as long as a walk finds something.
    fn more_fast(
        &self,
        va: VirtAddr,
        pages: u64,
        access: Access,
        hold: Hold,
        runs: &mut [Run],
        got: &mut Got,
    ) {
        while got.pages < pages && got.runs < runs.len() {
            let (at, room) = (va + got.pages * PAGE_SIZE, &mut runs[got.runs..]);
            let wanted = pages - got.pages;
            let more = self.mm().hold_window(self.core(), at, wanted, access, hold, room);
            let Some(more) = more else { return };
            got.runs += more.runs;
            got.pages += more.pages;
        }
    }

    fn many<'b>(
        &self,
        va: VirtAddr,
        pages: u64,
        access: Access,
        hold: Hold,
        runs: &'b mut [Run],
    ) -> Result<Held<'m, 'b, H>, GupError> {
        let mut got = Got::default();
        while got.pages < pages && got.runs < runs.len() {
            self.more_fast(va, pages, access, hold, runs, &mut got);
            if got.pages == pages || got.runs == runs.len() {
                break;
            }
            match self.hold_slow(va + got.pages * PAGE_SIZE, access, hold) {
                Ok(first) => runs[got.runs] = Run { first, pages: 1 },
                Err(error) if got.pages == 0 => return Err(error),
                Err(_) => break,
            }
            got.runs += 1;
            got.pages += 1;
        }
        Ok(Held::adopt(self.mm(), &runs[..got.runs], hold, access == Access::Write))
    }
}

impl<H: Hardware> Mm<H> {
    /// Whether a pin of a page, through an entry that says `leaf`, would be of a page that somebody else
    /// maps or may get to keep: then the program must first get a copy of its own. Through a writable entry
    /// there is nothing to ask: its page is exclusive.
    ///
    /// Without the table's lock: right if the entry is as it was once the pin is visible.
    #[doc(alias = "gup_must_unshare")]
    #[inline]
    fn must_unshare(&self, leaf: Leaf, page: Pfn) -> bool {
        let exclusive = |head| self.is_exclusive(head, page - head);
        !leaf.is_writable()
            && !self.frames.map().head(page).is_some_and(exclusive)
            && !self.commits(Mutant::PinShared)
    }
}
