//! Contiguous sets: sixteen neighbours that map an aligned 64 KiB of one folio and are marked, so that a
//! TLB may keep one entry for all of them.
//!
//! # Rules kept here
//! * All sixteen are marked or none is; marked ones are valid, of one folio, alike in all but history.
//!   In use only users' tables change them, since that takes a moment without a mapping; what the kernel maps so
//!   comes and goes by whole sets ([`crate::vmalloc`]).
//! * The mark of a live entry changes through nothing: all sixteen are cleared by exchange, which gathers
//!   their history, the 64 KiB are flushed, all are stored again ([`Locked::unfold`],
//!   [`Locked::try_fold`]). Whoever changes or takes out one member unfolds first; who does the same to
//!   all sixteen need not.
//! * History is the set's: what one member knows of accesses and writes holds for each, and leaving
//!   the set each takes it along. But whether an entry *needs* an update is judged by the words
//!   themselves ([`Locked::update_set`]): a walker that records no history faults on the word that
//!   it has read, whatever its neighbours say.
//! * The mark means nothing in an entry that is not valid.
//!
//! Linux leaves the flush out where a CPU promises never to abort on two sizes of one mapping. That
//! promise is for a change of the mark and of nothing else, and here the rights of a member may be next
//! to change.
//!
//! A lockless reader may meet the moment without a mapping. It sees nothing, and takes the way of a
//! fault, which waits for the table's lock.
//!
//! Corresponds to Linux's `contpte_set_ptes`, `contpte_convert`, `contpte_try_unfold_partial`; Arm ARM, "The
//! Contiguous bit".

use super::{At, Locked, Present, PteLevel};
use crate::mutant::Mutant;
use crate::tlb::Context;
use crate::{Hardware, Slot};
use abi::{ENTRIES, Event, Level, PAGE_SIZE, VirtAddr, VirtRange};
use pte::bits::{CONT, VALID};
use pte::{CONT_PTE_ORDER, CONT_PTES, ContSet, Leaf};

/// Bytes that a set maps.
#[doc(alias = "CONT_PTE_SIZE")]
pub(crate) const SET_BYTES: u64 = PAGE_SIZE << CONT_PTE_ORDER.0;

/// The first entry of the set that entry `index` would be in.
const fn set_of(index: usize) -> usize {
    index & !(CONT_PTES - 1)
}

/// What one entry would map, whatever the mark.
#[inline]
fn mapping(word: u64) -> Option<Leaf> {
    Some(pte::decode(Level::Pte, word).mapping()?.contiguous(false))
}

impl<H: Hardware> Locked<'_, H, PteLevel> {
    fn slot(&self, index: usize) -> Slot {
        Slot::new(self.table, index)
    }

    /// Maps `n` pages of one folio, which the caller has counted, from entry `first` on; `leaf` is the
    /// first. None of the slots holds a mapping. Marks each set that the run fills and that may be one:
    /// nothing was valid, so nothing is flushed.
    #[doc(alias("set_ptes", "contpte_set_ptes"))]
    #[inline]
    pub fn set_run(&self, first: usize, leaf: Leaf, n: usize) {
        let end = first + n;
        debug_assert!(end <= ENTRIES && !leaf.is_contiguous());
        debug_assert!((first..end).all(|index| !matches!(self.at(index), At::Present(_))));
        let (from, to) = (first.next_multiple_of(CONT_PTES), set_of(end));
        let set = (from < to).then(|| ContSet::new(from, leaf.nth((from - first) as u64)));
        if let Some(Ok(set)) = set {
            self.store_run(first, leaf, from - first);
            self.store_run(from, set.folded(), to - from);
            self.store_run(to, leaf.nth((to - first) as u64), end - to);
        } else {
            self.store_run(first, leaf, n);
        }
    }

    #[inline]
    fn store_run(&self, first: usize, leaf: Leaf, n: usize) {
        for i in 0..n {
            self.mm.hw.store(self.slot(first + i), leaf.nth(i as u64).word());
        }
    }

    /// Whether entry `index` is a member of a set.
    #[inline]
    fn in_set(&self, index: usize) -> bool {
        // Nearly always the word says no, and need not be decoded for that.
        let trusted = self.mm.commits(Mutant::ContMarkTrusted);
        let members = if trusted { CONT } else { VALID | CONT };
        if self.mm.hw.load(self.slot(index)) & members != members {
            return false;
        }
        match self.at(index) {
            At::Present(entry) => entry.leaf().is_contiguous() || trusted,
            _ => trusted,
        }
    }

    /// If the entry of `va` is a member of a set, makes the sixteen single entries, each with the
    /// history of all. Afterwards it may be changed by itself.
    #[doc(alias("contpte_try_unfold", "__contpte_try_unfold"))]
    #[inline]
    pub fn unfold(&self, space: &Context, va: VirtAddr) {
        if self.in_set(Level::Pte.index(va)) && !self.mm.commits(Mutant::ContCutWhole) {
            self.convert(space, va, false);
            self.mm.count(Event::ContUnfold, 1);
        }
    }

    /// Unfolds the sets that `range`, which lies within what the table translates, covers in part: then
    /// whoever does the same to all of its entries cuts no set.
    #[doc(alias = "contpte_try_unfold_partial")]
    pub fn unfold_edges(&self, space: &Context, range: VirtRange) {
        if !range.start.is_aligned(SET_BYTES) {
            self.unfold(space, range.start);
        }
        if !range.end.is_aligned(SET_BYTES) {
            self.unfold(space, range.end - PAGE_SIZE);
        }
    }

    /// After a single entry was stored at `va`: if it is the last of sixteen that may be a set, makes
    /// them one.
    #[doc(alias("contpte_try_fold", "__contpte_try_fold"))]
    #[inline]
    pub fn try_fold(&self, space: &Context, va: VirtAddr) {
        // Whoever fills a table does so upwards, nearly always: only the last one looks.
        if va.is_aligned(SET_BYTES) || !(va.align_down(PAGE_SIZE) + PAGE_SIZE).is_aligned(SET_BYTES)
        {
            return;
        }
        let start = set_of(Level::Pte.index(va));
        let words: [u64; CONT_PTES] =
            core::array::from_fn(|i| self.mm.hw.load(self.slot(start + i)));
        let Ok(set) = ContSet::fold(Level::Pte, start, &words) else { return };
        let map = self.mm.frames.map();
        let pfn = set.unfolded().pfn();
        if map.head(pfn).is_some_and(|head| map.desc(head).order() >= CONT_PTE_ORDER) {
            self.convert(space, va, true);
            self.mm.count(Event::ContFold, 1);
        }
    }

    /// Marks or unmarks the sixteen entries around `va`, break-before-make, gathering their history.
    #[doc(alias = "contpte_convert")]
    #[cold]
    fn convert(&self, space: &Context, va: VirtAddr, mark: bool) {
        let hw = &self.mm.hw;
        let start = set_of(Level::Pte.index(va));
        let breaks = !self.mm.commits(Mutant::ContNoBreak);
        let words: [u64; CONT_PTES] = core::array::from_fn(|i| {
            let slot = self.slot(start + i);
            if breaks { hw.swap(slot, 0) } else { hw.load(slot) }
        });
        if breaks {
            let one = self.mm.commits(Mutant::ContFlushOne);
            let bytes = if one { PAGE_SIZE } else { SET_BYTES };
            let range = VirtRange::from_size(va.align_down(SET_BYTES), bytes);
            let _flushed = self.mm.flush(space, range, Level::Pte);
        }
        let all = words.iter().filter_map(|&word| mapping(word)).reduce(Leaf::absorb);
        for (i, &word) in words.iter().enumerate() {
            let word = match (mapping(word), all) {
                (Some(leaf), Some(all)) => {
                    let own = self.mm.commits(Mutant::ContOwnHistory);
                    let leaf = if own { leaf } else { leaf.absorb(all) };
                    leaf.contiguous(mark).word()
                }
                _ => word,
            };
            hw.store(self.slot(start + i), word);
        }
    }

    /// The mapping at `index`, with what the rest of its set knows of its use.
    #[doc(alias = "contpte_ptep_get")]
    pub fn history(&self, index: usize) -> Option<Leaf> {
        let At::Present(entry) = self.at(index) else { return None };
        let leaf = entry.leaf();
        Some(if leaf.is_contiguous() { self.gather(set_of(index), leaf) } else { leaf })
    }

    /// `leaf` with the history of the set that begins at `start`.
    fn gather(&self, start: usize, leaf: Leaf) -> Leaf {
        let word = |index| self.mm.hw.load(self.slot(index));
        (start..start + CONT_PTES).filter_map(|index| mapping(word(index))).fold(leaf, Leaf::absorb)
    }

    /// Changes `entry`, number `index`, in place, and with it its whole set: adds to history, or gives
    /// rights to all alike. Says whether there was anything to change, judged by each word itself.
    #[doc(alias("contpte_ptep_set_access_flags", "ptep_set_access_flags"))]
    #[inline]
    pub(crate) fn update_set(
        &self,
        entry: Present<'_, H, PteLevel>,
        index: usize,
        change: impl Fn(Leaf) -> Leaf,
    ) -> bool {
        let leaf = entry.leaf();
        if leaf.is_contiguous() {
            return self.update_members(set_of(index), leaf, change);
        }
        let changes = change(leaf) != leaf;
        if changes {
            entry.update(change);
        }
        changes
    }

    fn update_members(&self, start: usize, leaf: Leaf, change: impl Fn(Leaf) -> Leaf) -> bool {
        if self.mm.commits(Mutant::ContGatheredNoop) {
            let all = self.gather(start, leaf);
            if change(all) == all {
                return false;
            }
        }
        let mut changed = false;
        for index in start..start + CONT_PTES {
            if let At::Present(entry) = self.at(index)
                && change(entry.leaf()) != entry.leaf()
            {
                entry.update(&change);
                changed = true;
            }
        }
        changed
    }
}
