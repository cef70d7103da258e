//! Leaves that belong together: the pieces of a block, the members of a run, two readings of one
//! mapping.
//!
//! The word of a leaf grows by a constant from one page to the next, so a whole table or batch is
//! written from its first leaf and a step.
//!
//! Source: Linux `pte_next_pfn`, `pte_batch_hint`, `folio_pte_batch`, `__split_huge_pmd_locked`.

use crate::bits::{AF, CONT, DIRTY, NT, RDONLY, TYPE, WRITE};
use crate::granule::{Granule, leaf_address, span};
use crate::leaf::Leaf;
use abi::{Level, Pfn};
use core::marker::PhantomData;

impl<G: Granule> Leaf<G> {
    /// What the word of a leaf of `level` grows by from one leaf of a run to the next.
    pub const fn step(level: Level) -> u64 {
        span::<G>(level)
    }

    /// The same leaf of the memory that follows.
    #[doc(alias("pte_next_pfn", "pte_advance_pfn"))]
    #[must_use]
    pub const fn next(self) -> Self {
        self.nth(1)
    }

    /// The same leaf of the memory `n` leaves on.
    #[must_use]
    pub const fn nth(self, n: u64) -> Self {
        Self::from_raw(self.level(), self.word() + n * Self::step(self.level()))
    }

    /// The leaf one level down for part `index` of a block: same rights, same history, not of a
    /// contiguous set. A page has one part, itself.
    ///
    /// A table full of them is `piece(0)` and [`Self::step`] of the level below.
    #[must_use]
    pub const fn piece(self, index: u64) -> Self {
        let Some(down) = self.level().down() else { return self };
        debug_assert!(index < G::ENTRIES as u64);
        let page = if matches!(down, Level::Pte) { TYPE } else { 0 };
        // In a page, the block's nT would be an address bit.
        let first = self.clear(CONT | NT).set(page);
        Self::from_raw(down, first.word()).nth(index)
    }

    /// With the accessed and dirty state of another reading of the same mapping added: what an
    /// exchange returned, or another member of a contiguous set. Nothing is taken away.
    #[must_use]
    pub const fn absorb(self, other: Self) -> Self {
        let kept = if other.is_young() { self.made_young() } else { self };
        if other.is_dirty() { kept.made_dirty() } else { kept }
    }

    /// Whether both map the same memory with the same rights and attributes, whatever their history.
    #[doc(alias = "pte_same")]
    #[must_use]
    pub const fn same_mapping(self, other: Self) -> bool {
        self.level() as u8 == other.level() as u8 && self.timeless() == other.timeless()
    }

    /// Whether `next` maps the memory that follows with the same rights and attributes, whatever
    /// either's history.
    #[must_use]
    pub const fn is_run(self, next: Self) -> bool {
        self.next().same_mapping(next)
    }

    /// The leaf that `word` is, if it has the rights and attributes of this one, whatever its memory and
    /// its history. What is a leaf here is one there too, so nothing needs to be decoded: for loops over
    /// a table.
    #[inline]
    #[must_use]
    pub const fn sibling(self, word: u64) -> Option<Self> {
        if self.kin().has(word) { Some(Self::from_raw(self.level(), word)) } else { None }
    }

    /// What it shares with all leaves of its rights and attributes: for loops over a table that need no
    /// more of them than their memory.
    #[inline]
    #[must_use]
    pub const fn kin(self) -> Kin<G> {
        let kept = !(self.history() | leaf_address::<G>(self.level()));
        let field = G::OUTPUT & !(span::<G>(self.level()) - 1);
        Kin { kept, bits: self.word() & kept, field, granule: PhantomData }
    }

    /// The word without history. Where the leaf is not writable, the read-only bit is no history.
    const fn timeless(self) -> u64 {
        self.word() & !self.history()
    }

    const fn history(self) -> u64 {
        if self.has(WRITE) { AF | DIRTY | RDONLY } else { AF | DIRTY }
    }
}

/// The leaves of a level with the same rights and attributes, whatever their memory and history.
#[derive(Clone, Copy, Debug)]
pub struct Kin<G: Granule> {
    kept: u64,
    bits: u64,
    field: u64,
    granule: PhantomData<G>,
}

impl<G: Granule> Kin<G> {
    /// Whether the word is one of them.
    #[inline]
    #[must_use]
    pub const fn has(self, word: u64) -> bool {
        word & self.kept == self.bits
    }

    /// Whether the word is one of them and maps `pfn` on.
    #[inline]
    #[must_use]
    pub const fn maps(self, word: u64, pfn: Pfn) -> bool {
        word & (self.kept | self.field) == self.bits | pfn.0 << G::PAGE_SHIFT
    }

    /// The first frame that one of them maps.
    #[inline]
    #[must_use]
    pub const fn pfn(self, word: u64) -> Pfn {
        debug_assert!(self.has(word));
        Pfn((word & self.field) >> G::PAGE_SHIFT)
    }
}

#[cfg(test)]
#[path = "run_tests.rs"]
mod tests;
