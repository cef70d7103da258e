//! Whether a page is nobody else's, so that it may be written in place.
//!
//! It is one of these:
//! * exclusive: only this entry maps it;
//! * small, and its one reference is this entry's;
//! * of a large folio all of whose references are mappings, and all of the mappings are entries of this
//!   table. One reading of the counts says how many there are, and whoever else holds the folio (a pin,
//!   a migration, another space) is in the count and not in the table. Found once, it holds for all
//!   pages of the folio that are mapped here, so the table is looked through once a folio.
//!
//! What is found to be nobody else's is made exclusive, so that it need not be found again.
//!
//! Under the claim no fork can add a mapping, and under the table's lock nobody else makes a page
//! exclusive or takes its entry away.
//!
//! Context: the page claimed, the lock of the table that maps it held.
//!
//! Corresponds to Linux's `wp_can_reuse_anon_folio`.

use super::touch::Pages;
use crate::entry::At;
use crate::mutant::Mutant;
use crate::{Hardware, Mm, PageDesc};
use abi::{ENTRIES, Order, Pfn};
use core::ops::Range;
use pte::{CONT_PTES, Leaf};
use sync::atomic::{Ordering, fence};

impl<H: Hardware> Mm<H> {
    /// Whether the page is exclusive. Right while the lock of the table that maps it is held.
    #[inline]
    pub(super) fn page_is_exclusive(&self, pfn: Pfn) -> bool {
        self.frames.map().head(pfn).is_some_and(|head| self.is_exclusive(head, pfn - head))
    }

    /// Whether the huge page of a PMD entry is nobody else's, and makes it exclusive if that shows only
    /// now. Under the PMD table's lock.
    #[doc(alias = "do_huge_pmd_wp_page")]
    pub(super) fn own_huge(&self, leaf: Leaf) -> bool {
        let Some(head) = self.frames.map().head(leaf.pfn()) else { return false };
        if self.is_exclusive(head, 0) {
            return true;
        }
        let counts = self.desc(head).counts();
        let alone = counts.refs() == 1 || self.commits(Mutant::CowCountsMaps) && counts.maps() == 1;
        if alone {
            self.made_exclusive(head, 0..Order::PMD.pages());
        }
        alone
    }

    /// Whether the page of entry `index` is nobody else's, and makes it exclusive if that shows only
    /// now.
    #[doc(alias("wp_can_reuse_anon_folio", "folio_move_anon_rmap"))]
    #[inline]
    pub(super) fn own(&self, table: &Pages<'_, H>, index: usize, leaf: Leaf) -> bool {
        let map = self.frames.map();
        match map.find(leaf.pfn()) {
            Some(desc) if desc.is_small_folio() => self.own_small(desc),
            Some(_) => map
                .head(leaf.pfn())
                .is_some_and(|head| self.own_large(table, index, head, leaf.pfn() - head)),
            None => false,
        }
    }

    /// As [`Mm::own`], for a folio of one page, which `desc` describes.
    #[inline]
    pub(super) fn own_small(&self, desc: &PageDesc) -> bool {
        let counts = desc.counts();
        if counts.is_exclusive() {
            return true;
        }
        let alone = counts.refs() == 1
            || self.commits(Mutant::CowReuseShared)
            || self.commits(Mutant::CowCountsMaps) && counts.maps() == 1;
        if alone {
            // What others did with it comes before what is done now.
            fence(Ordering::Acquire);
            desc.made_exclusive();
        }
        alone
    }

    /// As [`Mm::own`], for a page of a large folio that is mapped by pages.
    #[doc(alias = "__wp_can_reuse_large_anon_folio")]
    fn own_large(&self, table: &Pages<'_, H>, index: usize, head: Pfn, page: u64) -> bool {
        if self.is_exclusive(head, page) {
            return true;
        }
        let counts = self.desc(head).counts();
        let pages = self.desc(head).order().pages();
        let held = counts.refs() != counts.maps() && !self.commits(Mutant::CowCountsMaps);
        if held || u64::from(counts.maps()) > pages {
            return false;
        }
        // Where the folio's first page would be, and the first entry behind its last one.
        let first = index.saturating_sub(page as usize);
        let behind = (index + (pages - page) as usize).min(ENTRIES);
        let here = |&at: &usize| match table.at(at) {
            At::Present(entry) => entry.leaf().pfn() == head + (page + at as u64 - index as u64),
            _ => false,
        };
        let alone = (first..behind).filter(here).count() == counts.maps() as usize;
        if alone {
            self.made_exclusive(head, 0..pages);
        }
        alone
    }

    /// Nobody else has these pages any more: what others did with them comes before what is done now.
    fn made_exclusive(&self, head: Pfn, pages: Range<u64>) {
        fence(Ordering::Acquire);
        self.set_exclusive(head, pages);
    }

    /// Whether every page of the contiguous set around entry `index` is exclusive.
    pub(super) fn owns_set(&self, index: usize, leaf: Leaf) -> bool {
        let Some(head) = self.frames.map().head(leaf.pfn()) else { return false };
        let page = leaf.pfn() - head;
        let first = page - index as u64 % CONT_PTES as u64;
        (first..first + CONT_PTES as u64).all(|page| self.is_exclusive(head, page))
    }
}
