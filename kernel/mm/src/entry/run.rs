//! Runs: neighbouring entries that map neighbouring pages of one folio with the same rights. What is done
//! to all of them alike is done once for the folio's counts, and takes no set apart.
//!
//! Who works on a range calls [`Locked::unfold_edges`] first: then a run that ends with the range cuts no
//! contiguous set, and inside it every set is whole.
//!
//! Corresponds to Linux's `folio_pte_batch`, `clear_full_ptes`, `wrprotect_ptes`, `modify_prot_start_ptes`.

use super::contpte::is_member;
use super::{At, Locked, PteLevel};
use crate::{Hardware, Slot};
use abi::{ENTRIES, Level};
use pte::{CONT_PTES, Entry, Leaf};

/// Neighbouring entries of one folio, under their table's lock.
#[must_use = "a run that is looked at is kept, changed or taken out"]
pub struct Run<'l, 'm, H: Hardware> {
    table: &'l Locked<'m, H, PteLevel>,
    index: usize,
    pages: usize,
    first: Leaf,
}

/// Mappings that have left their slots; see [`super::Unmapped`].
#[must_use = "what entries mapped goes to a gather"]
#[derive(Debug)]
pub struct UnmappedRun {
    first: Leaf,
    pages: usize,
}

impl UnmappedRun {
    /// The first of the mappings, unmarked, with the history of all.
    pub fn leaf(&self) -> Leaf {
        self.first
    }

    /// How many pages follow each other.
    pub fn pages(&self) -> usize {
        self.pages
    }
}

impl<'m, H: Hardware> Locked<'m, H, PteLevel> {
    /// The run that begins with entry `index`, of `most` entries at most; `None` if nothing is mapped
    /// there. Memory that nobody counts makes runs of one.
    #[doc(alias("folio_pte_batch", "pte_batch_hint"))]
    #[inline]
    pub fn run(&self, index: usize, most: usize) -> Option<Run<'_, 'm, H>> {
        let At::Present(entry) = self.at(index) else { return None };
        let leaf = entry.leaf();
        debug_assert!(
            !is_member(self.mm, leaf) || index.is_multiple_of(CONT_PTES),
            "a run cuts a set"
        );
        let most = most.min(ENTRIES - index).min(self.pages_left(leaf));
        let mut first = leaf.contiguous(false);
        let mut pages = 1;
        while pages < most {
            let At::Present(entry) = self.at(index + pages) else { break };
            let next = entry.leaf().contiguous(false);
            if !first.nth(pages as u64).same_mapping(next) {
                break;
            }
            first = first.absorb(next);
            pages += 1;
        }
        Some(Run { table: self, index, pages, first })
    }

    /// Pages of the leaf's folio from the leaf's on.
    fn pages_left(&self, leaf: Leaf) -> usize {
        let map = self.mm.frames.map();
        if leaf.is_special() {
            return 1;
        }
        let left = |head| map.desc(head).order().pages() - (leaf.pfn() - head);
        map.head(leaf.pfn()).map_or(1, left) as usize
    }
}

impl<H: Hardware> Run<'_, '_, H> {
    /// The first of the mappings, unmarked, with the history of all as it was read.
    pub fn leaf(&self) -> Leaf {
        self.first
    }

    /// How many entries it is.
    pub fn pages(&self) -> usize {
        self.pages
    }

    /// Takes the mappings out. Until a flush CPUs may go on using them.
    #[doc(alias("clear_full_ptes", "get_and_clear_full_ptes"))]
    pub fn clear(self) -> UnmappedRun {
        let Self { table, index, pages, mut first } = self;
        let mm = table.mm;
        for index in index..index + pages {
            let slot = Slot::new(table.table, index);
            if !mm.hw_writes_entries() {
                mm.hw.store(slot, 0);
            } else if let Entry::Leaf(leaf) = pte::decode(Level::Pte, mm.hw.swap(slot, 0)) {
                first = first.absorb(leaf);
            }
        }
        UnmappedRun { first, pages }
    }

    /// Changes every mapping to what `change` makes of it: rights and history, alike for all. What it
    /// takes away holds only after a flush. Sets stay sets; what becomes valid may become one; what
    /// becomes invalid is none any more.
    #[doc(alias("wrprotect_ptes", "modify_prot_start_ptes", "modify_prot_commit_ptes"))]
    pub fn modify(self, change: impl Fn(Leaf) -> Leaf) {
        let Self { table, index, pages, first } = self;
        let new = change(first);
        if !first.is_valid() && new.is_valid() {
            // Nothing can be cached of these, and hardware does not write to them.
            for index in index..index + pages {
                table.mm.hw.store(Slot::new(table.table, index), 0);
            }
            table.set_run(index, new, pages);
            return;
        }
        for index in index..index + pages {
            if let At::Present(entry) = table.at(index) {
                entry.update(|leaf| {
                    let new = change(leaf.contiguous(false));
                    new.contiguous(leaf.is_contiguous() && new.is_valid())
                });
            }
        }
    }
}
