//! What a range lock's readers look at before they go in: the writer's mark and ranges.
//!
//! Only the writer stores here. Readers load one word if no writer is at work.

use crate::Arc;
use crate::atomic::{AtomicU32, AtomicU64, Ordering};
use crate::hazards::{Hazards, Lines, Number, Word};
use crate::mutant::{Mutant, order};
use core::ops::Range;

/// A writer changes the value, or waits for lookups in order to.
const CHANGING: u32 = 1;
/// A writer excludes the pages in the spans.
const EXCLUDING: u32 = 2;

/// All that a reader loads of the lock, on a line of its own: sleepers and queueing writers must not
/// disturb readers that nobody is in the way of.
#[repr(align(128))]
pub(super) struct Gate {
    state: AtomicU32,
    pub(super) number: Number,
    pub(super) hazards: Arc<Hazards>,
    /// CPUs with readers of this lock, so far.
    pub(super) lines: Lines,
    /// Two, for a move from one range to another. They may overlap.
    spans: [Span; 2],
}

/// Pages from `first` to before `end`; none if that is not above.
struct Span {
    first: AtomicU64,
    end: AtomicU64,
}

impl Span {
    fn none() -> Self {
        Self { first: AtomicU64::new(0), end: AtomicU64::new(0) }
    }

    fn load(&self) -> Range<u64> {
        let acquire = order(Ordering::Acquire, Mutant::SpanLoadRelaxed);
        self.first.load(acquire)..self.end.load(acquire)
    }

    fn store(&self, pages: Range<u64>) {
        let release = order(Ordering::Release, Mutant::SpanStoreRelaxed);
        self.first.store(pages.start, release);
        self.end.store(pages.end, release);
    }

    fn has(&self, page: Option<u64>) -> bool {
        let pages = self.load();
        page.map_or(!pages.is_empty(), |page| pages.contains(&page))
    }

    /// Whether no page is between or in both.
    fn can_join(&self, other: &Range<u64>) -> bool {
        let pages = self.load();
        pages.is_empty() || (pages.start <= other.end && other.start <= pages.end)
    }

    /// Makes it cover `other` as well. Not for an instant does it cover less than before.
    fn join(&self, other: &Range<u64>) {
        let pages = self.load();
        self.store(if pages.is_empty() {
            other.clone()
        } else {
            pages.start.min(other.start)..pages.end.max(other.end)
        });
    }
}

impl Gate {
    pub(super) fn new(hazards: Arc<Hazards>) -> Self {
        Self {
            state: AtomicU32::new(0),
            number: hazards.number(),
            hazards,
            lines: Lines::none(),
            spans: [Span::none(), Span::none()],
        }
    }

    // --- readers -----------------------------------------------------------------------------

    /// Whether a reader with this claim may go in.
    #[inline]
    pub(super) fn admits(&self, word: Word) -> bool {
        let state = self.state.load(order(Ordering::Acquire, Mutant::GateLoadRelaxed));
        state == 0 || self.admits_beside(state, word)
    }

    #[cold]
    fn admits_beside(&self, state: u32, word: Word) -> bool {
        let outside = state & EXCLUDING == 0 || !self.excludes(word);
        state & CHANGING == 0 && outside
    }

    /// Whether a reader's second look must wait.
    pub(super) fn is_changing(&self) -> bool {
        let state = self.state.load(order(Ordering::Acquire, Mutant::GateLoadRelaxed));
        state & CHANGING != 0
    }

    // --- the writer --------------------------------------------------------------------------

    /// Whether this claim reaches into the excluded pages.
    pub(super) fn excludes(&self, word: Word) -> bool {
        let page = word.page();
        self.spans.iter().any(|span| span.has(page))
    }

    /// Excludes `pages` besides what is excluded already: exactly those while there are no more than
    /// two ranges, else what lies between some of them as well.
    pub(super) fn exclude(&self, pages: &Range<u64>) {
        let state = self.state.load(Ordering::Relaxed);
        let [one, other] = &self.spans;
        if state & EXCLUDING == 0 {
            one.store(pages.clone());
            other.store(0..0);
        } else if one.can_join(pages) {
            one.join(pages);
        } else {
            other.join(pages);
        }
        self.set(state | EXCLUDING, Mutant::AnnounceRelaxed);
    }

    pub(super) fn mark_changing(&self) {
        let state = self.state.load(Ordering::Relaxed);
        self.set(state | CHANGING, Mutant::AnnounceRelaxed);
    }

    pub(super) fn unmark_changing(&self) {
        let state = self.state.load(Ordering::Relaxed);
        self.set(state & !CHANGING, Mutant::UnmarkRelaxed);
    }

    /// Ends the exclusion; answers whether there was one.
    pub(super) fn open(&self) -> bool {
        let was_closed = self.state.load(Ordering::Relaxed) != 0;
        if was_closed {
            self.set(0, Mutant::ReopenRelaxed);
        }
        was_closed
    }

    fn set(&self, state: u32, without: Mutant) {
        self.state.store(state, order(Ordering::Release, without));
    }
}
