//! What each page of some memory may show: which versions its one writer has begun and has finished to
//! write, and whether it may be zero.
//!
//! The writer says before each step what may be seen from then on, and after it what may not be seen any
//! more. A reader asks before he reads and after: between the two he has found nothing that was over
//! before he began, and nothing that is yet to come. That holds with any number of readers, and
//! whatever else is done to the memory at the same time.

use super::list_of;
use crate::run::Failure;
use crate::stamp::Stamp;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering, fence};

/// What a page may show at some moment: versions from `low` to before `next`, in a circle of 2^16.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    /// The oldest version that may be seen. `next`: none may.
    pub(super) low: u16,
    /// The version that is written next.
    pub(super) next: u16,
    /// How often the content was thrown away.
    era: u16,
    /// Whether zero may be seen.
    pub(super) zero: bool,
}

impl Entry {
    const FRESH: Self = Self { low: 1, next: 1, era: 0, zero: true };

    const fn word(self) -> u64 {
        self.low as u64
            | (self.next as u64) << 16
            | (self.era as u64) << 32
            | (self.zero as u64) << 48
    }

    const fn from_word(word: u64) -> Self {
        Self {
            low: word as u16,
            next: (word >> 16) as u16,
            era: (word >> 32) as u16,
            zero: word >> 48 & 1 != 0,
        }
    }

    /// Whether somebody may have found `word` who asked when this was so, then read, and then asked again
    /// and was told `after`. `stamp`: how the page is marked, whichever version.
    pub(super) fn allows(self, after: Self, word: u64, stamp: Stamp) -> bool {
        if word == 0 {
            return self.zero || after.zero || self.era != after.era;
        }
        Stamp::read(word).is_some_and(|found| {
            let (age, range) =
                (found.version.wrapping_sub(self.low), after.next.wrapping_sub(self.low));
            found == Stamp { version: found.version, ..stamp } && age < range
        })
    }

    /// How often the content was thrown away by then.
    pub(super) const fn era(self) -> u16 {
        self.era
    }

    /// What may be seen where others throw the content away whenever they like.
    pub(super) const fn or_zero(self) -> Self {
        Self { zero: true, ..self }
    }

    /// What may be seen once everything has been thrown away that was finished when this was so.
    pub(super) const fn gone(self) -> Self {
        if self.zero { self } else { Self { low: self.low.wrapping_add(1), zero: true, ..self } }
    }
}

/// The entries of all pages.
pub(super) struct Ledger(Vec<AtomicU64>);

impl Ledger {
    /// Of so many pages, all of them zero.
    pub(super) fn new(pages: u64) -> Result<Self, Failure> {
        Ok(Self(list_of(pages, |_| Ok(AtomicU64::new(Entry::FRESH.word())))?))
    }

    /// What may be seen from now on: asked before reading.
    pub(super) fn before(&self, page: u64) -> Entry {
        Entry::from_word(self.0[page as usize].load(Ordering::SeqCst))
    }

    /// What may have been seen until now: asked after reading.
    pub(super) fn after(&self, page: u64) -> Entry {
        fence(Ordering::SeqCst);
        self.before(page)
    }

    fn change(&self, page: u64, change: impl FnOnce(Entry) -> Entry) -> Entry {
        // One writer, so nothing comes between. The fences order this with what he does to the memory.
        fence(Ordering::SeqCst);
        let entry = change(self.before(page));
        self.0[page as usize].store(entry.word(), Ordering::SeqCst);
        fence(Ordering::SeqCst);
        entry
    }

    /// The writer is about to write a new version: which one.
    pub(super) fn begin(&self, page: u64) -> u16 {
        let next = |entry: Entry| entry.next.wrapping_add(1);
        self.change(page, |entry| Entry { next: next(entry), ..entry }).next.wrapping_sub(1)
    }

    /// The writer has written this version, to all of the page.
    pub(super) fn finish(&self, page: u64, version: u16) {
        self.change(page, |entry| Entry { low: version, zero: false, ..entry });
    }

    /// The writer is about to throw the content away.
    pub(super) fn vanish(&self, page: u64) {
        let era = |entry: Entry| entry.era.wrapping_add(1);
        self.change(page, |entry| Entry { zero: true, era: era(entry), ..entry });
    }

    /// The writer has thrown the content away: nobody sees any of it any more.
    pub(super) fn vanished(&self, page: u64) {
        self.change(page, |entry| Entry { low: entry.next, zero: true, ..entry });
    }
}
