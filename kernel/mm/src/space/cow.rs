//! Copy on write: a page that must be nobody else's.
//!
//! # When it is nobody else's
//! It is written in place; how that is found out is the business of `reuse`.
//!
//! What holds for a page mostly holds for its neighbours: a child that has ended leaves its parent with
//! nothing but small pages that only look shared. So those of the 64 KiB around a page that was written in
//! place become writable with it, each found to be nobody else's by itself. They stay clean: the first
//! write to each is recorded as ever.
//!
//! # Else it is copied
//! Nobody has a writable translation of it: that was flushed before the page was shared. And nobody finds
//! it theirs alone and writes to it meanwhile, because the entry that is to be replaced is there, with
//! its reference, until the copy is made: the table's lock is held. It would be held for the flush
//! anyway, and a copy of 4 KiB takes no longer than that. Of a huge page, whose lock is that of a whole
//! gibibyte, the copy is made without it, and a reference does the same service.
//!
//! The old entry goes before the new one comes, with a flush in between, and the old page is given back
//! only after that.
//!
//! Corresponds to Linux's `do_wp_page`, `wp_page_reuse`, `wp_page_copy`.

use super::fault::{Ended, Request, Resolved, Stop};
use super::touch::Pages;
use super::{Denial, Space};
use crate::entry::contpte::SET_BYTES;
use crate::entry::{At, Locked, PmdLevel, Present, PteLevel, Unmapped};
use crate::frame::{FolioRef, OutOfMemory};
use crate::mutant::Mutant;
use crate::tlb::Flushed;
use crate::{Hardware, Slot};
use abi::{Access, Event, Level, Order, Pfn, VirtRange};
use pte::Leaf;

/// How a page became the space's own.
pub(super) enum Owned {
    /// It was, or nobody else has it any more.
    InPlace,
    /// A copy took the place of what the entry showed.
    Copied(Unmapped, Flushed),
}

impl<H: Hardware> Space<'_, H> {
    /// The page of an entry is the space's own: what the fault wants is given to the entry, and to the
    /// rest of its contiguous set if all of that is the space's own too.
    #[inline]
    fn write_in_place(
        &self,
        fault: &Request,
        table: &Pages<'_, H>,
        entry: Present<'_, H, PteLevel>,
    ) {
        let index = Level::Pte.index(fault.va);
        let seen = entry.leaf();
        if !seen.is_contiguous() {
            entry.modify(|leaf| self.made_own(fault, leaf));
            if fault.access == Access::Write {
                self.write_around(fault, table, seen);
            }
        } else if fault.access != Access::Write || self.mm.owns_set(index, entry.leaf()) {
            table.update_set(entry, index, |leaf| self.made_own(fault, leaf));
        } else {
            table.unfold(&self.core.context, fault.va);
            if let At::Present(entry) = table.at(index) {
                entry.modify(|leaf| self.made_own(fault, leaf));
            }
        }
    }

    /// A page was found to be the space's own by an entry that was `seen`. Entries of the 64 KiB around it,
    /// in the same area, that differ in their memory alone and whose pages are the space's own too become
    /// writable with it: one fault in place of sixteen.
    fn write_around(&self, fault: &Request, table: &Pages<'_, H>, seen: Leaf) {
        let mm = self.mm;
        let block = VirtRange::from_size(fault.va.align_down(SET_BYTES), SET_BYTES);
        let block = block.intersect(&fault.vma.range);
        let first = Slot::new(table.table(), Level::Pte.index(block.start));
        for slot in (0..block.pages() as usize).map(|n| first.ahead(n)) {
            // The page itself is writable by now, and no sibling.
            if let Some(leaf) = seen.sibling(mm.hw.load(slot))
                && let Some(desc) = mm.frames.map().find(leaf.pfn())
                && desc.is_small_folio()
                && (mm.own_small(desc) || mm.commits(Mutant::WriteAroundShared))
            {
                mm.rewrite(slot, leaf, Leaf::made_writable);
            }
        }
    }

    /// Puts a copy of the page that `entry` shows in its place.
    #[doc(alias = "wp_page_copy")]
    fn copy_page(
        &self,
        fault: &Request,
        table: &Pages<'_, H>,
        entry: Present<'_, H, PteLevel>,
    ) -> Result<(Unmapped, Flushed), Stop> {
        let (space, seen) = (&self.core.context, entry.leaf());
        self.names_memory(seen)?;
        let (copy, leaf) = self.copy_of(fault, seen.pfn(), seen)?;
        if !seen.is_contiguous() {
            return Ok(entry.replace(space, fault.va, leaf));
        }
        table.unfold(space, fault.va);
        match table.at(Level::Pte.index(fault.va)) {
            At::Present(entry) => Ok(entry.replace(space, fault.va, leaf)),
            _ => {
                self.mm.folio_unmap(copy, 1);
                Err(Stop::Denied(Denial::Corrupt(Level::Pte, seen.word())))
            }
        }
    }

    /// Refuses an entry that names no memory: nobody here writes one.
    #[inline]
    fn names_memory(&self, seen: Leaf) -> Result<(), Stop> {
        match self.mm.frames.map().find(seen.pfn()) {
            Some(_) => Ok(()),
            None => Err(Stop::Denied(Denial::Corrupt(seen.level(), seen.word()))),
        }
    }

    /// Sees to it that the page of an entry is the space's own. What is left to do, without the lock, is
    /// [`Space::owned`]'s.
    #[doc(alias = "do_wp_page")]
    #[inline]
    pub(super) fn own_page(
        &self,
        fault: &Request,
        table: &Pages<'_, H>,
        entry: Present<'_, H, PteLevel>,
    ) -> Result<Owned, Stop> {
        if self.mm.own(table, Level::Pte.index(fault.va), entry.leaf()) {
            self.write_in_place(fault, table, entry);
            return Ok(Owned::InPlace);
        }
        self.copy_page(fault, table, entry).map(|(old, proof)| Owned::Copied(old, proof))
    }

    /// The page is the space's own now.
    #[inline]
    pub(super) fn owned(&self, fault: &Request, how: Owned) -> Ended {
        match how {
            Owned::InPlace => {
                self.mm.count(Event::CowReuse, 1);
                self.touched_ended::<PteLevel>(fault, true)
            }
            Owned::Copied(old, proof) => {
                old.release(self.mm, &proof);
                self.mm.count(Event::CowCopy, 1);
                Ended::Mapped
            }
        }
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
        self.names_memory(seen)?;
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
    #[inline(always)]
    fn copy_of(&self, fault: &Request, page: Pfn, seen: Leaf) -> Result<(Pfn, Leaf), OutOfMemory> {
        let mm = self.mm;
        let owner = self.owner(&fault.vma, fault.va);
        let copy = mm.anon_alloc_with(fault.effort(), Order::PAGE, 1, owner)?;
        mm.copy(page, copy, Order::PAGE);
        let leaf = self.first_leaf(fault, Level::Pte, copy);
        Ok((copy, if seen.is_dirty() { leaf.made_dirty() } else { leaf }))
    }
}
