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
//! Nobody has a writable translation of it: that was flushed before the page was shared. And nobody finds
//! it theirs alone and writes to it meanwhile, because the entry that is to be replaced is there, with
//! its reference, until the copy is made: the table's lock is held. It would be held for the flush
//! anyway, and a copy of 4 KiB takes no longer than that. Of a huge page, whose lock is that of a whole
//! gibibyte, the copy is made without it, and a reference does the same service.
//!
//! The old entry goes before the new one comes, with a flush in between, and the old page is given back
//! only after that.
//!
//! Corresponds to Linux's `do_wp_page`, `wp_can_reuse_anon_folio`, `wp_page_copy`.

use super::Space;
use super::fault::{Ended, Request, Resolved};
use super::touch::Pages;
use crate::entry::{At, Locked, PmdLevel, Present, PteLevel};
use crate::frame::{FolioRef, OutOfMemory};
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
    pub(super) fn own(&self, table: &Pages<'_, H>, index: usize, leaf: Leaf) -> bool {
        let Some(head) = self.frames.map().head(leaf.pfn()) else { return false };
        let desc = self.desc(head);
        if desc.order() > Order::PAGE {
            return self.own_large(table, index, head, leaf.pfn() - head);
        }
        let counts = desc.counts();
        let alone = counts.is_exclusive() || counts.refs() == 1;
        if !counts.is_exclusive() && (alone || self.commits(Mutant::CowReuseShared)) {
            self.made_exclusive(head, 0..1);
            return true;
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
    /// The page of an entry is the space's own: what the fault wants is given to the entry, and to the
    /// rest of its contiguous set if all of that is the space's own too.
    #[inline]
    pub(super) fn write_in_place(
        &self,
        fault: &Request,
        table: &Pages<'_, H>,
        entry: Present<'_, H, PteLevel>,
    ) {
        let index = Level::Pte.index(fault.va);
        if !entry.leaf().is_contiguous() {
            entry.modify(|leaf| self.made_own(fault, leaf));
        } else if fault.access != Access::Write || self.mm.owns_set(index, entry.leaf()) {
            table.update_set(entry, index, |leaf| self.made_own(fault, leaf));
        } else {
            table.unfold(&self.core.context, fault.va);
            if let At::Present(entry) = table.at(index) {
                entry.modify(|leaf| self.made_own(fault, leaf));
            }
        }
    }

    /// Puts a copy of the page that an entry shows, which is `seen`, in its place.
    #[doc(alias = "wp_page_copy")]
    pub(super) fn copy_page(&self, fault: &Request, table: Pages<'_, H>, seen: Leaf) -> Resolved {
        let mm = self.mm;
        let (space, index) = (&self.core.context, Level::Pte.index(fault.va));
        let (copy, leaf) = self.copy_of(fault, seen.pfn(), seen)?;
        table.unfold(space, fault.va);
        let At::Present(entry) = table.at(index) else {
            mm.folio_unmap(copy, 1);
            return Ok(Ended::Spurious);
        };
        let (old, proof) = entry.replace(space, fault.va, leaf);
        drop(table);
        old.release(mm, &proof);
        mm.count(Event::CowCopy, 1);
        Ok(Ended::Mapped)
    }

    /// Splits a huge entry, with a copy in the place of the fault's page: the other 511 go on being
    /// shared.
    #[doc(alias = "do_huge_pmd_wp_page")]
    pub(super) fn copy_out_of_huge(
        &self,
        fault: &Request,
        slot: Slot,
        table: Locked<'_, H, PmdLevel>,
        seen: Leaf,
    ) -> Resolved {
        let mm = self.mm;
        mm.folio_get(seen.pfn(), 1);
        drop(table);
        let source = FolioRef::adopt(mm, seen.pfn());
        let page = seen.pfn() + Level::Pte.index(fault.va) as u64;
        let (copy, leaf) = self.copy_of(fault, page, seen)?;
        let table = mm.lock::<PmdLevel>(slot.table());
        let split = mm.split_pmd_with(&self.core, &table, fault.va, seen, leaf);
        drop(table);
        if !split {
            mm.folio_unmap(copy, 1);
            return Ok(Ended::Spurious);
        }
        source.put_with_mapping();
        mm.count(Event::CowCopy, 1);
        Ok(Ended::Mapped)
    }

    /// A copy of `page`, which the entry `seen` shows, counted for one entry; and that entry. As dirty as
    /// what it is a copy of: nobody else has this content for us any more.
    #[inline]
    fn copy_of(&self, fault: &Request, page: Pfn, seen: Leaf) -> Result<(Pfn, Leaf), OutOfMemory> {
        let mm = self.mm;
        let owner = self.owner(&fault.vma, fault.va);
        let copy = mm.anon_alloc_with(fault.effort(), Order::PAGE, 1, owner)?;
        mm.copy(page, copy, Order::PAGE);
        let leaf = self.first_leaf(fault, Level::Pte, copy);
        Ok((copy, if seen.is_dirty() { leaf.made_dirty() } else { leaf }))
    }
}

impl<H: Hardware> Mm<H> {
    /// Whether every page of the contiguous set around entry `index` is exclusive.
    fn owns_set(&self, index: usize, leaf: Leaf) -> bool {
        let Some(head) = self.frames.map().head(leaf.pfn()) else { return false };
        let page = leaf.pfn() - head;
        let first = page - index as u64 % CONT_PTES as u64;
        (first..first + CONT_PTES as u64).all(|page| self.is_exclusive(head, page))
    }
}
