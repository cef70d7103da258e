//! Pages that are to be copied: whether they can be, and how.
//!
//! Corresponds to Linux's `__collapse_huge_page_isolate` and `__collapse_huge_page_copy`.

use super::CollapseError;
use super::table::Quiet;
use crate::frame::{Flag, PageDesc};
use crate::mutant::Mutant;
use crate::{Hardware, Mm, Slot};
use abi::{ENTRIES, Event, Level, Order, PAGE_SIZE, Pfn, VirtRange};
use pte::Leaf;

/// What is looked at of a folio's flags, and what they must be.
const ASKED: u32 = Flag::Anon as u32 | Flag::Zero as u32 | Flag::Locked as u32;
const PLAIN: u32 = Flag::Anon as u32;

impl<H: Hardware> Mm<H> {
    /// Whether all that the table maps can be copied: it is anonymous memory that nobody holds besides its
    /// mappings.
    #[doc(alias = "__collapse_huge_page_isolate")]
    pub(super) fn check_pages(&self, block: VirtRange, table: Pfn) -> Result<(), CollapseError> {
        let slot = |index: usize| Slot::new(table, index);
        let mut at = 0;
        while at < ENTRIES {
            let word = self.hw.load(slot(at));
            if word == 0 {
                at += 1;
                continue;
            }
            let strange = || CollapseError::NoMemory(block.start + at as u64 * PAGE_SIZE, word);
            let leaf = pte::decode(Level::Pte, word).mapping().ok_or_else(strange)?;
            if leaf.is_uffd_wp() {
                return Err(strange());
            }
            if leaf.is_special() {
                if !self.shows_zeros(leaf.pfn()) {
                    return Err(strange());
                }
                at += 1;
                continue;
            }
            let head = self.frames.map().head(leaf.pfn()).ok_or_else(strange)?;
            self.check_folio(leaf.pfn(), self.desc(head))
                .map_err(|why| why.unwrap_or_else(strange))?;
            at += match self.desc(head).order() {
                Order::PAGE => self.check_siblings(table, at, leaf)?,
                _ => self.run_length(slot(at), leaf, ENTRIES - at),
            };
        }
        Ok(())
    }

    /// As [`Mm::check_pages`], of the small folios from entry `at` on that are mapped with the rights of
    /// `first`, the first of them, which was checked. Says how many there are.
    #[inline]
    fn check_siblings(&self, table: Pfn, at: usize, first: Leaf) -> Result<usize, CollapseError> {
        let map = self.frames.map();
        for n in 1..ENTRIES - at {
            let Some(leaf) = first.sibling(self.hw.load(Slot::new(table, at + n))) else {
                return Ok(n);
            };
            let Some(desc) = map.find(leaf.pfn()) else { return Ok(n) };
            if !desc.is_small_folio() {
                return Ok(n);
            }
            if let Err(why) = self.check_folio(leaf.pfn(), desc) {
                // Said by the caller, who finds it again.
                return why.map_or(Ok(n), Err);
            }
        }
        Ok(ENTRIES - at)
    }

    /// Whether the folio of `page`, whose head `desc` describes, is anonymous memory that nobody holds.
    /// An error of `None`: it is no anonymous memory.
    #[inline]
    fn check_folio(&self, page: Pfn, desc: &PageDesc) -> Result<(), Option<CollapseError>> {
        let flags = desc.flags() & ASKED;
        if flags != PLAIN {
            let locked = flags == PLAIN | Flag::Locked as u32;
            return Err(locked.then_some(CollapseError::Locked(page)));
        }
        let counts = desc.counts();
        let (refs, expected) = (counts.refs(), counts.maps());
        if refs != expected && !self.commits(Mutant::CollapseHeld) {
            return Err(Some(CollapseError::Busy { page, refs, expected }));
        }
        Ok(())
    }

    /// Copies what the table maps to the folio `to`, page by page, and fills with zeros what it does not.
    #[doc(alias = "__collapse_huge_page_copy")]
    pub(super) fn copy_pages(&self, table: &Quiet, to: Pfn) {
        let mut copied = 0;
        let mut index = 0;
        while index < ENTRIES {
            let page = |index: usize| to + index as u64;
            match self.leaf_at(table.slot(index)) {
                Some(leaf) if !leaf.is_special() => {
                    // Nearly always the rest is like it, and need not be decoded.
                    let (begin, kin) = (index, leaf.kin());
                    let mut word = leaf.word();
                    while kin.has(word) {
                        self.hw.copy(kin.pfn(word), page(index), Order::PAGE);
                        index += 1;
                        if index == ENTRIES {
                            break;
                        }
                        word = self.hw.load(table.slot(index));
                    }
                    copied += (index - begin) as u64;
                    continue;
                }
                _ if self.commits(Mutant::CollapseHolesLeft) => {}
                _ => self.hw.zero(page(index), Order::PAGE),
            }
            index += 1;
        }
        self.count(Event::PgCopy, copied);
        self.count(Event::PgClear, ENTRIES as u64 - copied);
    }
}
