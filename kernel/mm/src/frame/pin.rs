//! Pins: a device reads and writes a page past all page tables, and the mapping goes on showing it.
//!
//! A pin of a small folio is [`PIN_BIAS`] references; a large one has a count of its own. Whoever wants
//! to share a page, or to take it away, asks [`Mm::may_be_pinned`].
//!
//! Corresponds to Linux's `folio_add_pins`, `folio_maybe_dma_pinned`, `unpin_user_page`.

use super::{Counts, Flag};
use crate::{Hardware, Mm};
use abi::{Event, Order, Pfn};
use sync::atomic::Ordering;

/// References that one pin of a small folio counts as.
#[doc(alias = "GUP_PIN_COUNTING_BIAS")]
pub const PIN_BIAS: u32 = 1024;

/// Having this means: the page may be read and written by a device, past all page tables; the mapping
/// it was pinned through goes on showing this page, also across a fork.
#[doc(alias = "FOLL_PIN")]
#[must_use = "the pin is given back at once"]
pub struct FolioPin<'m, H: Hardware> {
    mm: &'m Mm<H>,
    pfn: Pfn,
    writes: bool,
}

impl<H: Hardware> FolioPin<'_, H> {
    /// The page that was pinned.
    pub fn pfn(&self) -> Pfn {
        self.pfn
    }
}

impl<H: Hardware> Drop for FolioPin<'_, H> {
    /// Corresponds to Linux's `unpin_user_page`, and where it was for writing to
    /// `unpin_user_pages_dirty_lock`.
    fn drop(&mut self) {
        let Some(head) = self.mm.frames.map().head(self.pfn) else { return };
        if self.writes {
            self.mm.note_written(head);
        }
        self.mm.folio_unpin(head);
    }
}

/// The tail that counts a large folio's pins.
const PINS: u64 = 2;

impl<H: Hardware> Mm<H> {
    /// Takes `n` pins on what was the head of the folio of `pfn`, seen in a table, a moment ago, if it still is; as
    /// [`Mm::head_try_get`] takes references: a small folio's pin is so many of them, a large one's is
    /// counted besides. No barrier comes after the counting of a large folio's pins: the caller executes
    /// one, and looks again.
    #[doc(alias("try_grab_folio", "try_grab_folio_fast"))]
    #[inline(always)]
    pub(crate) fn head_try_pin(&self, head: Pfn, pfn: Pfn, n: u32) -> bool {
        let desc = self.desc(head);
        // Right once there is a reference; until then a guess, which is checked.
        let small = desc.order() == Order::PAGE;
        let refs = if small { PIN_BIAS * n } else { n };
        if !self.head_try_get(head, pfn, refs) {
            return false;
        }
        if (desc.order() == Order::PAGE) != small {
            self.head_put(head, refs);
            return false;
        }
        if !small {
            self.desc(head + PINS).counts.fetch_add(Counts::maps_only(n), Ordering::Relaxed);
        }
        true
    }

    /// Gives back a pin of the folio that contains `pfn`.
    #[doc(alias("unpin_user_page", "gup_put_folio"))]
    pub(crate) fn folio_unpin(&self, pfn: Pfn) {
        if let Some(head) = self.frames.map().head(pfn) {
            let counted = self.head_unpin(head, 1);
            self.count(Event::PinReleased, counted.into());
        }
    }

    /// Gives back `n` pins of the folio of `head`. Says whether somebody counts them: those of the shared
    /// zeros, nobody.
    #[inline]
    pub(crate) fn head_unpin(&self, head: Pfn, n: u32) -> bool {
        let desc = self.desc(head);
        if desc.has(Flag::Zero) {
            return false;
        }
        if desc.order() == Order::PAGE {
            self.head_put(head, PIN_BIAS * n);
        } else {
            self.desc(head + PINS).counts.fetch_sub(Counts::maps_only(n), Ordering::Release);
            self.head_put(head, n);
        }
        true
    }

    /// A pin as a value; of somebody who writes past all page tables if `writes`.
    pub(crate) fn pinned(&self, pfn: Pfn, writes: bool) -> FolioPin<'_, H> {
        FolioPin { mm: self, pfn, writes }
    }

    /// Whether somebody may have pinned it. Never wrong when it says no; of a small folio with a
    /// thousand references it says yes.
    #[doc(alias = "folio_maybe_dma_pinned")]
    #[inline]
    pub(crate) fn may_be_pinned(&self, head: Pfn) -> bool {
        let desc = self.desc(head);
        match desc.order() {
            Order::PAGE => desc.refs() >= PIN_BIAS,
            _ => self.pins(head) > 0,
        }
    }

    /// Pins of a large folio; of a small one, as many as its references may hold.
    pub fn pins(&self, head: Pfn) -> u32 {
        match self.desc(head).order() {
            Order::PAGE => self.desc(head).refs() / PIN_BIAS,
            _ => Counts(self.desc(head + PINS).counts.load(Ordering::Acquire)).maps(),
        }
    }
}
