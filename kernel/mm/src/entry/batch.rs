//! Neighbouring entries of one table, worked on as words.
//!
//! A handle ([`super::Present`]) sees one entry through one step. Whoever goes over hundreds decodes one
//! and compares the rest with it: they mostly differ in their frames alone ([`Leaf::sibling`]), or in
//! nothing but being the next page of the same folio.
//!
//! # Rules kept here
//! * The lock of the table is held. Contiguous sets that the range cuts were unfolded; whole ones may be
//!   changed entry by entry, as any.
//! * Hardware that records history may write to an entry at any time, as long as there is something left
//!   to record in it. Such an entry is exchanged; for any other a plain store will do.
//!
//! Corresponds to Linux's `folio_pte_batch`, `modify_prot_start_ptes`, `wrprotect_ptes`.

use crate::mutant::Mutant;
use crate::{Hardware, Mm, Slot};
use abi::{Level, Order};
use pte::Leaf;

/// Whether hardware has nothing more to record in this leaf: so it does not write to it.
#[inline]
const fn is_settled(leaf: Leaf) -> bool {
    !leaf.is_valid() || leaf.is_young() && (leaf.is_dirty() || !leaf.is_writable())
}

impl<H: Hardware> Mm<H> {
    /// Whether hardware may write to entries at all.
    #[inline]
    pub(crate) fn hw_writes_entries(&self) -> bool {
        let caps = self.hw.caps();
        caps.hw_af || caps.hw_dirty
    }

    /// The mapping in a slot of a table of pages, if there is one.
    #[inline]
    pub(crate) fn leaf_at(&self, slot: Slot) -> Option<Leaf> {
        pte::decode(Level::Pte, self.hw.load(slot)).mapping()
    }

    /// How many entries from `slot` on, at most `most`, map one folio's pages one after the other as
    /// `first` does, which was read there.
    #[doc(alias = "folio_pte_batch")]
    #[inline]
    pub(crate) fn run_length(&self, slot: Slot, first: Leaf, most: usize) -> usize {
        let map = self.frames.map();
        let Some(head) = map.head(first.pfn()) else { return 1 };
        let order = map.desc(head).order();
        if order == Order::PAGE || first.is_special() {
            return 1;
        }
        let most = most.min((order.pages() - (first.pfn() - head)) as usize);
        self.run_of_frames(slot, first, most, |leaf| leaf.is_valid() == first.is_valid())
    }

    /// How many entries from `slot` on, at most `most`, map pages one after the other from that of `first`
    /// on, which was read there, and are `alike`.
    #[inline]
    pub(crate) fn run_of_frames(
        &self,
        slot: Slot,
        first: Leaf,
        most: usize,
        alike: impl Fn(Leaf) -> bool,
    ) -> usize {
        let follows = |n: &usize| {
            self.leaf_at(slot.ahead(*n))
                .is_some_and(|leaf| leaf.pfn() == first.pfn() + *n as u64 && alike(leaf))
        };
        1 + (1..most).take_while(follows).count()
    }

    /// Stores `change` of each leaf from `slot` on, at most `most`, as long as they have the rights of
    /// `first`, which was read there. Says how many there were.
    #[doc(alias("modify_prot_start_ptes", "modify_prot_commit_ptes"))]
    #[inline]
    pub(crate) fn rewrite_run(
        &self,
        slot: Slot,
        first: Leaf,
        most: usize,
        change: impl Fn(Leaf) -> Leaf,
    ) -> usize {
        let watched = self.hw_writes_entries();
        let mut leaf = first;
        let mut n = 0;
        loop {
            let slot = slot.ahead(n);
            self.rewrite_if(watched, slot, leaf, &change);
            n += 1;
            if n == most {
                return n;
            }
            match first.sibling(self.hw.load(slot.ahead(1))) {
                Some(next) => leaf = next,
                None => return n,
            }
        }
    }

    /// Stores `change` of the leaf in `slot`, which was `seen` and may have more history by now. Returns
    /// the leaf that it was made of.
    #[inline]
    pub(crate) fn rewrite(&self, slot: Slot, seen: Leaf, change: impl Fn(Leaf) -> Leaf) -> Leaf {
        self.rewrite_if(self.hw_writes_entries(), slot, seen, &change)
    }

    /// As [`Mm::rewrite`]. `watched`: whether hardware may write to entries.
    #[inline]
    fn rewrite_if(
        &self,
        watched: bool,
        slot: Slot,
        seen: Leaf,
        change: &impl Fn(Leaf) -> Leaf,
    ) -> Leaf {
        let new = change(seen);
        // What hardware has written is taken away by an exchange only: nobody else can see that it was known.
        if watched && (!is_settled(seen) || seen.is_young() && !new.is_young()) {
            return self.exchange(slot, seen, change);
        }
        self.hw.store(slot, new.word());
        seen
    }

    /// As [`Mm::rewrite`], where hardware may come in between.
    #[cold]
    fn exchange(&self, slot: Slot, mut seen: Leaf, change: &impl Fn(Leaf) -> Leaf) -> Leaf {
        if self.commits(Mutant::RewriteNotAtomic) {
            self.hw.store(slot, change(seen).word());
            return seen;
        }
        while let Err(now) = self.hw.compare_exchange(slot, seen.word(), change(seen).word()) {
            match seen.sibling(now) {
                Some(leaf) => seen = leaf,
                // Nobody but hardware changes it under the lock.
                None => break,
            }
        }
        seen
    }
}
