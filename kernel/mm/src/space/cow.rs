//! Copy on write: a page that must be nobody else's.
//!
//! # When a page is written in place
//! * It is exclusive: then only this entry maps it.
//! * It is small and its one reference is this entry's.
//! * It is of a large folio all of whose references are mappings, and all of the mappings are entries of
//!   this table. One reading of the counts says how many there are, and whoever else holds the folio
//!   (a pin, a migration, another space) is in the count and not in the table. Found once, it holds
//!   for all pages of the folio that are mapped here, so the table is looked through once a folio.
//!
//! Under the claim no fork can add a mapping, and under the table's lock nobody else makes a page
//! exclusive or takes its entry away.
//!
//! # Otherwise it is copied
//! The copy is made without the lock, with a reference that keeps everybody else from finding the page
//! theirs alone and writing to it. Nobody has a writable translation of it: that was flushed before the
//! page was shared. The old entry goes before the new one comes, with a flush in between, and the old
//! page is given back only after that.
//!
//! Corresponds to Linux's `do_wp_page`, `wp_can_reuse_anon_folio`, `wp_page_copy`.

use super::Space;
use super::fault::{Ended, Request, Resolved};
use super::touch::Pages;
use crate::entry::{At, Locked, PteLevel};
use crate::frame::{Counts, FolioRef};
use crate::mutant::Mutant;
use crate::{Hardware, Mm, Slot};
use abi::{Access, ENTRIES, Event, Level, Order, Pfn};
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
        let alone = self.desc(head).counts().refs() == 1;
        if alone {
            self.made_exclusive(head, 0..Order::PMD.pages());
        }
        alone
    }

    /// Whether the page of entry `index` is nobody else's, and makes it exclusive if that shows only
    /// now.
    #[doc(alias("wp_can_reuse_anon_folio", "folio_move_anon_rmap"))]
    #[inline]
    fn own(&self, table: &Locked<'_, H, PteLevel>, index: usize, leaf: Leaf) -> bool {
        let Some(head) = self.frames.map().head(leaf.pfn()) else { return false };
        let page = leaf.pfn() - head;
        if self.is_exclusive(head, page) {
            return true;
        }
        let counts = self.desc(head).counts();
        if self.desc(head).order() > Order::PAGE {
            return self.own_large(table, index, head, page, counts);
        }
        let alone = counts.refs() == 1 || self.commits(Mutant::CowReuseShared);
        if alone {
            self.made_exclusive(head, 0..1);
        }
        alone
    }

    /// As [`Mm::own`], for a page of a large folio that is mapped by pages.
    #[doc(alias = "__wp_can_reuse_large_anon_folio")]
    fn own_large(
        &self,
        table: &Locked<'_, H, PteLevel>,
        index: usize,
        head: Pfn,
        page: u64,
        counts: Counts,
    ) -> bool {
        let pages = self.desc(head).order().pages();
        if counts.refs() != counts.maps() || u64::from(counts.maps()) > pages {
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
}

impl<H: Hardware> Space<'_, H> {
    /// The entry shows the page of `seen`, which may be shared and must not be.
    #[doc(alias = "do_wp_page")]
    pub(super) fn own_page(
        &self,
        fault: &Request,
        pmd: Slot,
        table: Pages<'_, H>,
        seen: Leaf,
    ) -> Resolved {
        let mm = self.mm;
        let index = Level::Pte.index(fault.va);
        if !mm.own(&table, index, seen) {
            return self.copy_page(fault, pmd, table, seen);
        }
        // Of a contiguous set that is all our own, all become writable, and it stays one.
        if fault.access == Access::Write && !mm.owns_set(index, seen) {
            table.unfold(&self.core.context, fault.va);
        }
        table.update_set(index, |leaf| self.made_own(fault, leaf));
        drop(table);
        mm.count(Event::CowReuse, 1);
        Ok(self.touched_ended(fault, Level::Pte, true))
    }

    /// Puts a copy of the page in its place.
    #[doc(alias = "wp_page_copy")]
    fn copy_page(&self, fault: &Request, pmd: Slot, table: Pages<'_, H>, seen: Leaf) -> Resolved {
        let mm = self.mm;
        let Some(head) = mm.frames.map().head(seen.pfn()) else {
            return Ok(Ended::Spurious);
        };
        mm.folio_get(head, 1);
        drop(table);
        let source = FolioRef::adopt(mm, seen.pfn());
        let copy = mm.anon_alloc(Order::PAGE, 1, self.owner(&fault.vma, fault.va))?;
        mm.copy(source.pfn(), copy, Order::PAGE);
        // As dirty as what it is a copy of: nobody else has this content for us any more.
        let leaf = self.first_leaf(fault, Level::Pte, copy);
        let leaf = if seen.is_dirty() { leaf.made_dirty() } else { leaf };
        if let Some(table) = mm.lock_below(pmd)
            && self.put_copy(fault, &table, seen, leaf)
        {
            mm.count(Event::CowCopy, 1);
            return Ok(Ended::Mapped);
        }
        // Another CPU did something about the page meanwhile: look anew.
        mm.folio_unmap(copy, 1);
        Ok(Ended::Spurious)
    }

    /// Stores `leaf` where `seen` was, if it still is. Says whether it was.
    fn put_copy(&self, fault: &Request, table: &Pages<'_, H>, seen: Leaf, leaf: Leaf) -> bool {
        let index = Level::Pte.index(fault.va);
        let same = |now: Leaf| now.contiguous(false).same_mapping(seen.contiguous(false));
        match table.at(index) {
            At::Present(entry) if same(entry.leaf()) => {}
            _ => return false,
        }
        table.unfold(&self.core.context, fault.va);
        let At::Present(entry) = table.at(index) else { return false };
        let (old, proof) = entry.replace(&self.core.context, fault.va, leaf);
        old.release(self.mm, &proof);
        true
    }
}

impl<H: Hardware> Mm<H> {
    /// Whether every page of the contiguous set around entry `index` is exclusive; of an entry that is
    /// in none, whether it is.
    fn owns_set(&self, index: usize, leaf: Leaf) -> bool {
        let Some(head) = self.frames.map().head(leaf.pfn()) else { return false };
        let page = leaf.pfn() - head;
        if !leaf.is_contiguous() {
            return self.is_exclusive(head, page);
        }
        let first = page - index as u64 % CONT_PTES as u64;
        (first..first + CONT_PTES as u64).all(|page| self.is_exclusive(head, page))
    }
}
