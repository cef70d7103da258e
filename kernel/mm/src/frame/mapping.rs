//! Mappings of a folio: counted when an entry is stored, given back when it is gone.
//!
//! An entry owns one mapping and one reference, whatever its level, and both come and go in one step. The
//! mappings by PMDs are counted besides: a folio that has one is mapped whole.
//!
//! Corresponds to Linux's `folio_add_anon_rmap_ptes` and `folio_remove_rmap_ptes`; references, which those
//! leave to their callers, come and go here.

use super::{Counts, Kind, PageDesc};
use crate::mutant::Mutant;
use crate::{Hardware, Mm, Note};
use abi::{Event, Level, Order, Pfn};
use pte::Leaf;
use sync::atomic::Ordering;

/// The tail that counts a large folio's PMD mappings.
const PMD_MAPS: u64 = 1;

impl PageDesc {
    /// Of a small folio, `pfn`: gives back what one entry owned. Says whether that was the last reference,
    /// and the page is the caller's to free.
    #[inline]
    fn put_entry(&self, pfn: Pfn) -> bool {
        let before = Counts(self.counts.fetch_sub(Counts::mappings(1), Ordering::AcqRel));
        debug_assert!(before.maps() > 0, "page {pfn} unmapped once too often: {before:?}");
        before.refs() == 1
    }
}

impl<H: Hardware> Mm<H> {
    /// `n` more entries map pages of the folio, each with a reference.
    #[doc(alias("folio_dup_anon_rmap_ptes", "folio_add_anon_rmap_ptes"))]
    #[inline]
    pub(crate) fn folio_map(&self, head: Pfn, n: u32) {
        self.desc(head).counts.fetch_add(Counts::mappings(n), Ordering::Relaxed);
    }

    /// `n` entries that mapped pages of the folio are gone, and so are their translations: gives back
    /// mappings and references in one step. A large folio that is left partly mapped is remembered for
    /// splitting.
    ///
    /// Context: no spin lock of class `Folio` or later.
    #[doc(alias("folio_remove_rmap_ptes", "folio_remove_rmap_pmd"))]
    #[inline]
    #[cfg_attr(feature = "sanitize", track_caller)]
    pub(crate) fn folio_unmap(&self, head: Pfn, n: u32) {
        let left = self.subtract(head, Counts::mappings(n), n);
        if left.maps() > 0 {
            self.note_partial(head, left);
        }
    }

    /// As [`Mm::folio_unmap`], of a folio whose lock and one more reference the caller holds: it is not
    /// freed here, and a large one is not remembered, since its mappings are to come back.
    #[inline]
    pub(crate) fn folio_unmap_held(&self, head: Pfn, n: u32) {
        let before =
            Counts(self.desc(head).counts.fetch_sub(Counts::mappings(n), Ordering::AcqRel));
        debug_assert!(before.maps() >= n && before.refs() > n, "folio {head}: {n} of {before:?}");
    }

    /// One more PMD maps the folio; its mapping and reference are counted elsewhere.
    #[inline]
    pub(crate) fn count_pmd_map(&self, head: Pfn) {
        self.desc(head + PMD_MAPS).counts.fetch_add(Counts::maps_only(1), Ordering::Relaxed);
    }

    /// One PMD less maps the folio; its mapping and reference are given back elsewhere.
    #[inline]
    pub(crate) fn uncount_pmd_map(&self, head: Pfn) {
        self.desc(head + PMD_MAPS).counts.fetch_sub(Counts::maps_only(1), Ordering::Relaxed);
    }

    /// PMDs that map the folio.
    #[doc(alias = "folio_entire_mapcount")]
    pub fn pmd_maps(&self, head: Pfn) -> u32 {
        let large = self.desc(head).order() > Order::PAGE;
        if large { self.desc(head + PMD_MAPS).counts().maps() } else { 0 }
    }

    /// Gives back what a leaf of any level owned: one mapping with its reference, unless it is of memory
    /// that nobody counts.
    #[inline]
    #[cfg_attr(feature = "sanitize", track_caller)]
    pub(crate) fn leaf_put(&self, leaf: Leaf) {
        if leaf.is_special() {
            return;
        }
        match self.frames.map().find(leaf.pfn()) {
            Some(desc) if !desc.is_small_folio() => self.large_leaf_put(leaf),
            Some(desc) if desc.put_entry(leaf.pfn()) => self.folio_free_rarely(leaf.pfn()),
            _ => {}
        }
    }

    #[inline(never)]
    fn large_leaf_put(&self, leaf: Leaf) {
        let Some(head) = self.frames.map().head(leaf.pfn()) else { return };
        if leaf.level() == Level::Pmd {
            self.pmd_put(head);
        } else {
            self.folio_unmap(head, 1);
        }
    }

    /// Gives back what a PMD owned that mapped the folio. It ceases to be one of those that map it whole
    /// first: whether the rest map it in part is asked with the last step.
    #[inline]
    pub(crate) fn pmd_put(&self, head: Pfn) {
        let late = self.commits(Mutant::PmdUncountedLate);
        if !late {
            self.uncount_pmd_map(head);
        }
        self.folio_unmap(head, 1);
        if late {
            self.uncount_pmd_map(head);
        }
    }
}

/// Small folios whose last reference went with the entry that mapped them: freed together.
#[doc(alias("folio_batch", "free_unref_folios"))]
pub(crate) struct Freed<'m, H: Hardware> {
    mm: &'m Mm<H>,
    pages: [Pfn; 32],
    len: usize,
}

impl<'m, H: Hardware> Freed<'m, H> {
    pub(crate) fn new(mm: &'m Mm<H>) -> Self {
        Self { mm, pages: [Pfn(0); 32], len: 0 }
    }

    /// Gives back what one entry owned of the small folio `pfn`, whose descriptor is `desc`.
    #[inline]
    #[cfg_attr(feature = "sanitize", track_caller)]
    pub(crate) fn unmap(&mut self, pfn: Pfn, desc: &PageDesc) {
        if !desc.put_entry(pfn) {
            return;
        }
        self.mm.hw.note(Note::FrameFree(pfn, Order::PAGE));
        desc.set(Kind::Stocked, Order::PAGE);
        self.pages[self.len] = pfn;
        self.len += 1;
        if self.len == self.pages.len() {
            self.give();
        }
    }

    fn give(&mut self) {
        self.mm.count(Event::PgFree, self.len as u64);
        self.mm.frames.give_pages(&self.mm.hw, &self.pages[..self.len]);
        self.len = 0;
    }
}

impl<H: Hardware> Drop for Freed<'_, H> {
    fn drop(&mut self) {
        if self.len > 0 {
            self.give();
        }
    }
}
