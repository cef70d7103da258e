//! Pages that are held together.

use super::Hold;
use super::window::Got;
use crate::frame::PIN_BIAS;
use crate::mutant::Mutant;
use crate::{Hardware, Mm};
use abi::{Event, Pfn};

/// Pages in a row of one folio: held in one step, given back in one step.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Run {
    /// The first of them.
    pub first: Pfn,
    /// How many.
    pub pages: u32,
}

impl Run {
    /// Of no pages: what a buffer begins with.
    pub const EMPTY: Self = Self { first: Pfn(0), pages: 0 };

    /// The pages.
    pub fn iter(self) -> impl Iterator<Item = Pfn> {
        (0..u64::from(self.pages)).map(move |n| self.first + n)
    }
}

/// Having this means: these pages are referenced, or pinned, until it is dropped. They are the pages from the
/// address on that was asked for, as many as there are here.
#[doc(alias("folio_put_refs", "unpin_user_pages", "unpin_user_page_range_dirty_lock"))]
#[must_use = "the pages are given back at once"]
pub struct Held<'m, 'b, H: Hardware> {
    mm: &'m Mm<H>,
    runs: &'b [Run],
    hold: Hold,
    writes: bool,
}

impl<'m, 'b, H: Hardware> Held<'m, 'b, H> {
    /// Takes over what was counted already.
    pub(super) fn adopt(mm: &'m Mm<H>, runs: &'b [Run], hold: Hold, writes: bool) -> Self {
        Self { mm, runs, hold, writes }
    }

    /// The pages, by runs.
    pub fn runs(&self) -> &'b [Run] {
        self.runs
    }

    /// The pages in the order of their addresses.
    pub fn iter(&self) -> impl Iterator<Item = Pfn> + use<'b, H> {
        self.runs.iter().flat_map(|run| run.iter())
    }

    /// How many pages.
    pub fn pages(&self) -> u64 {
        self.runs.iter().map(|run| u64::from(run.pages)).sum()
    }
}

impl<H: Hardware> Drop for Held<'_, '_, H> {
    fn drop(&mut self) {
        let mut pins = 0;
        for &run in self.runs {
            let counted = self.mm.release(run, self.hold, self.writes);
            pins += if counted { u64::from(run.pages) } else { 0 };
        }
        if self.hold == Hold::Pin {
            self.mm.count(Event::PinReleased, pins);
        }
    }
}

impl<H: Hardware> Mm<H> {
    /// Gives back a run, which was for writing if `writes`. Says whether it was counted.
    #[inline(always)]
    fn release(&self, run: Run, hold: Hold, writes: bool) -> bool {
        let refs = if hold == Hold::Pin { PIN_BIAS } else { 1 };
        match self.frames.map().find(run.first) {
            Some(desc) if desc.is_plain_small_folio() => {
                self.subtract_from(run.first, desc, u64::from(refs), refs);
                true
            }
            _ => self.release_large(run, hold, writes),
        }
    }

    #[inline(never)]
    fn release_large(&self, run: Run, hold: Hold, writes: bool) -> bool {
        let Some(head) = self.frames.map().head(run.first) else { return false };
        if writes {
            self.note_written(head);
        }
        match hold {
            Hold::Reference => {
                self.head_put(head, run.pages);
                true
            }
            Hold::Pin => self.head_unpin(head, run.pages),
        }
    }

    /// What was counted on a page is given back: the second look has found something else.
    #[cold]
    pub(super) fn let_go<T>(&self, pfn: Pfn, hold: Hold) -> Option<T> {
        self.give_up(0, hold, &mut [Run { first: pfn, pages: 1 }]);
        None
    }

    /// Keeps the first `good` pages of what was counted, and gives back the rest.
    #[cold]
    pub(super) fn give_up(&self, good: u64, hold: Hold, runs: &mut [Run]) -> Got {
        self.count(Event::GupFastRetry, 1);
        let mut kept = Got::default();
        for run in runs {
            let pages =
                u32::try_from(good - kept.pages).map_or(run.pages, |left| left.min(run.pages));
            let vain = Run { first: run.first + u64::from(pages), pages: run.pages - pages };
            run.pages = pages;
            if vain.pages > 0 && !self.commits(Mutant::GupKeepsFailed) {
                self.release(vain, hold, false);
            }
            kept.runs += usize::from(pages > 0);
            kept.pages += u64::from(pages);
        }
        kept
    }
}
