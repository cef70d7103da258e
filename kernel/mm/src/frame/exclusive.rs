//! Which pages of an anonymous folio are nobody else's.
//!
//! *Exclusive* says: one entry maps this page, in one space, and a write may go to it in place; a page
//! that somebody pinned is exclusive until it is unpinned. Nearly always all pages of a folio are, or
//! none: that is one bit beside the counts. Where only some are (a fork that met a pin half way), a
//! bitmap in the tails' descriptors decides, so nobody ever touches 512 descriptors to say one thing.
//!
//! # Rules
//! * A page becomes exclusive, or stops being so, under the lock of the one table that maps it.
//! * It stops being so only by [`Mm::share`] (fork), [`Mm::try_share`] (whoever replaces the entry
//!   by a shared one), when the folio is split (the migration entries say then what is still true) and
//!   when it is freed.
//!
//! Corresponds to Linux's `PageAnonExclusive`, `folio_try_dup_anon_rmap_ptes`,
//! `folio_try_share_anon_rmap_pte`.

use super::PageDesc;
use super::counts::Counts;
use super::pin::PIN_BIAS;
use crate::mutant::Mutant;
use crate::{Hardware, Mm};
use abi::{Order, Pfn};
use core::ops::Range;
use sync::Class;
use sync::atomic::Ordering;

/// The pages `pages` of a bitmap's word number `word`.
const fn mask(word: u64, pages: &Range<u64>) -> u64 {
    let (low, high) = (word * 64, word * 64 + 64);
    let start = if pages.start > low { pages.start } else { low };
    let end = if pages.end < high { pages.end } else { high };
    if start >= end {
        return 0;
    }
    (u64::MAX >> (64 - (end - start))) << (start - low)
}

impl PageDesc {
    /// Of a folio of one page: it belongs to the caller's entry alone from now on.
    ///
    /// Context: under the lock of the table that maps it.
    #[doc(alias = "SetPageAnonExclusive")]
    #[inline]
    pub(crate) fn made_exclusive(&self) {
        self.counts.fetch_or(Counts::EXCLUSIVE, Ordering::AcqRel);
    }
}

impl<H: Hardware> Mm<H> {
    /// The bitmap's word for pages `64 * word` to `64 * word + 63` of the folio.
    fn bitmap(&self, head: Pfn, word: u64) -> &'static PageDesc {
        self.desc(head + 1 + word)
    }

    fn bitmap_words(&self, head: Pfn) -> u64 {
        self.desc(head).order().pages().div_ceil(64)
    }

    /// Whether page number `page` of the folio is exclusive.
    ///
    /// Lockless: right while the table's lock is held, a hint otherwise.
    #[doc(alias = "PageAnonExclusive")]
    #[inline]
    pub(crate) fn is_exclusive(&self, head: Pfn, page: u64) -> bool {
        let counts = Counts(self.desc(head).counts.load(Ordering::Acquire));
        counts.is_exclusive()
            || counts.is_mixed()
                && self.bitmap(head, page / 64).owner.load(Ordering::Acquire) >> (page % 64) & 1
                    != 0
    }

    /// Pages `pages` of the folio belong to the caller's entry alone from now on.
    ///
    /// Context: under the lock of the table that maps them.
    #[doc(alias = "SetPageAnonExclusive")]
    pub(crate) fn set_exclusive(&self, head: Pfn, pages: Range<u64>) {
        let desc = self.desc(head);
        if pages.end - pages.start == desc.order().pages() {
            // The bit for all outweighs the bitmap.
            desc.counts.fetch_or(Counts::EXCLUSIVE, Ordering::AcqRel);
            return;
        }
        let _lock = desc.ptl.lock_as(&self.hw, Class::Folio);
        let counts = desc.counts();
        if counts.is_exclusive() {
            return;
        }
        for word in 0..self.bitmap_words(head) {
            let bits = &self.bitmap(head, word).owner;
            let old = if counts.is_mixed() { bits.load(Ordering::Relaxed) } else { 0 };
            bits.store(old | mask(word, &pages), Ordering::Release);
        }
        desc.counts.fetch_or(Counts::MIXED, Ordering::AcqRel);
    }

    /// Pages `pages` of the folio may be somebody else's too from now on. Who asked made sure that no
    /// pin relies on it: see [`Mm::share`] and [`Mm::try_share`].
    #[doc(alias = "ClearPageAnonExclusive")]
    pub(crate) fn clear_exclusive(&self, head: Pfn, pages: Range<u64>) {
        let desc = self.desc(head);
        if pages.end - pages.start == desc.order().pages() {
            desc.counts.fetch_and(!(Counts::EXCLUSIVE | Counts::MIXED), Ordering::AcqRel);
            return;
        }
        let _lock = desc.ptl.lock_as(&self.hw, Class::Folio);
        let counts = desc.counts();
        if !counts.is_exclusive() && !counts.is_mixed() {
            return;
        }
        for word in 0..self.bitmap_words(head) {
            let bits = &self.bitmap(head, word).owner;
            let old = if counts.is_exclusive() { u64::MAX } else { bits.load(Ordering::Relaxed) };
            bits.store(old & !mask(word, &pages), Ordering::Release);
        }
        if counts.is_exclusive() {
            // The bitmap holds from the moment that the bit for all is gone. It may have been in use before
            // that bit was set.
            desc.counts.fetch_or(Counts::MIXED, Ordering::AcqRel);
            desc.counts.fetch_and(!Counts::EXCLUSIVE, Ordering::AcqRel);
        }
    }

    /// A fork maps `pages` of the folio once more, by `n` entries: counts them and makes the pages
    /// shared. Refuses (and changes nothing) where a pin may rely on their being exclusive: then the
    /// child gets a copy.
    ///
    /// Context: under the lock of the table that maps them, inside the space's write-protect section,
    /// so that no lockless pin can come in between.
    #[doc(alias("folio_try_dup_anon_rmap_ptes", "folio_try_dup_anon_rmap_pmd"))]
    #[inline]
    pub(crate) fn share(&self, head: Pfn, pages: Range<u64>, n: u32, pinning: bool) -> bool {
        let desc = self.desc(head);
        if desc.order() == Order::PAGE {
            return self.share_small(desc, n, pinning);
        }
        if pages.end - pages.start == desc.order().pages() {
            return self.share_whole(head, desc, n, pinning);
        }
        let exclusive =
            desc.counts().is_exclusive() || pages.clone().any(|page| self.is_exclusive(head, page));
        if pinning && exclusive && self.may_be_pinned(head) {
            return false;
        }
        if exclusive && !self.commits(Mutant::ForkKeepsExclusive) {
            self.clear_exclusive(head, pages);
        }
        self.folio_map(head, n);
        true
    }

    /// As [`Mm::share`], of all pages of a folio, whose head `desc` describes.
    #[inline]
    pub(crate) fn share_whole(&self, head: Pfn, desc: &PageDesc, n: u32, pinning: bool) -> bool {
        let counts = desc.counts();
        let exclusive = counts.is_exclusive() || counts.is_mixed();
        if pinning && exclusive && self.may_be_pinned(head) {
            return false;
        }
        if counts.is_mixed() {
            self.clear_exclusive(head, 0..desc.order().pages());
        }
        // Exclusive it is by the entry whose lock is held, so nobody else touches that bit: one step
        // counts the mapping and clears it.
        let clear = if counts.is_mixed() { 0 } else { counts.0 & Counts::EXCLUSIVE };
        desc.counts.fetch_add(Counts::mappings(n).wrapping_sub(clear), Ordering::AcqRel);
        true
    }

    /// As [`Mm::share`], of the small folio that `desc` describes.
    #[inline]
    pub(crate) fn share_small(&self, desc: &PageDesc, n: u32, pinning: bool) -> bool {
        let counts = desc.counts();
        if pinning && counts.is_exclusive() && counts.refs() >= PIN_BIAS {
            return false;
        }
        // Under the table's lock nobody else touches a small page's exclusive bit, so one step
        // counts the mapping and clears it.
        let keeps = self.commits(Mutant::ForkKeepsExclusive);
        let clear = if keeps { 0 } else { counts.0 & Counts::EXCLUSIVE };
        desc.counts.fetch_add(Counts::mappings(n).wrapping_sub(clear), Ordering::AcqRel);
        true
    }

    /// Makes `pages` of the folio, whose entries were just cleared or made invalid, shared, unless a
    /// pin relies on their being exclusive.
    ///
    /// The full barrier pairs with the lockless pin's: either the pin is seen here, or whoever pins sees
    /// the entry gone. If a read-only one comes back, he sees the pages shared: its store is a release
    /// ([`Hardware::store`]). Linux, whose stores of entries are plain, needs a second barrier for that.
    ///
    /// Context: under the lock of the table that mapped them.
    #[doc(alias("folio_try_share_anon_rmap_pte", "folio_try_share_anon_rmap_pmd"))]
    pub(crate) fn try_share(&self, head: Pfn, pages: Range<u64>) -> bool {
        self.try_share_by(head, || self.clear_exclusive(head, pages))
    }

    /// As [`Mm::try_share`], for pages that `clear` knows and makes shared.
    #[inline]
    pub(crate) fn try_share_by(&self, head: Pfn, clear: impl FnOnce()) -> bool {
        self.fence(Mutant::ShareUnfenced);
        if self.may_be_pinned(head) {
            return false;
        }
        clear();
        true
    }
}

#[cfg(test)]
mod tests {
    use super::mask;

    #[test]
    fn masks_cut_a_range_into_words() {
        assert_eq!(mask(0, &(0..512)), u64::MAX);
        assert_eq!(mask(7, &(0..512)), u64::MAX);
        assert_eq!(mask(0, &(63..65)), 1 << 63);
        assert_eq!(mask(1, &(63..65)), 1);
        assert_eq!(mask(2, &(63..65)), 0);
        assert_eq!(mask(0, &(5..5)), 0);
        assert_eq!(mask(0, &(0..16)), 0xffff);
    }
}
