//! One CPU's cached translations: leaves, and the table descriptors on the way to them.

use abi::{Asid, Level, Pfn, VirtAddr};
use pte::{Entry, Leaf, Tlbi};

/// One cached descriptor.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Cached {
    pub(crate) asid: Asid,
    /// The first address it translates.
    pub(crate) va: VirtAddr,
    pub(crate) level: Level,
    pub(crate) word: u64,
    /// The machine's step at which it was read.
    pub(crate) since: u64,
}

impl Cached {
    pub(crate) fn leaf(&self) -> Option<Leaf> {
        match pte::decode(self.level, self.word) {
            Entry::Leaf(leaf) => Some(leaf),
            _ => None,
        }
    }

    pub(crate) fn table(&self) -> Option<Pfn> {
        match pte::decode(self.level, self.word) {
            Entry::Table(table) => Some(table.pfn()),
            _ => None,
        }
    }

    fn translates(&self, va: VirtAddr, asid: Asid) -> bool {
        self.asid == asid && va.align_down(self.level.span()) == self.va
    }

    /// Whether a TLBI must remove it.
    pub(crate) fn is_covered(&self, op: &Tlbi) -> bool {
        let leaf = self.leaf();
        let global = leaf.is_some_and(Leaf::is_global);
        op.covers(self.va, self.asid, self.level, leaf.is_some(), global)
    }
}

/// All that one CPU has cached.
#[derive(Default)]
pub(crate) struct Tlb {
    entries: Vec<Cached>,
}

impl Tlb {
    /// Remembers a descriptor. Returns one that contradicts it: same address and space, but another
    /// size or place.
    pub(crate) fn insert(&mut self, new: Cached) -> Option<Cached> {
        let mut conflict = None;
        if let Some(leaf) = new.leaf() {
            let clashes = |old: &Cached| {
                let (small, large) = if old.level > new.level { (old, &new) } else { (&new, old) };
                let same_address = small.va.align_down(large.level.span()) == large.va;
                old.asid == new.asid
                    && same_address
                    && old
                        .leaf()
                        .is_some_and(|other| old.level != new.level || other.pfn() != leaf.pfn())
            };
            conflict = self.entries.iter().copied().find(clashes);
        }
        let same = |old: &Cached| {
            old.asid == new.asid
                && old.va == new.va
                && old.level == new.level
                && old.word == new.word
        };
        if !self.entries.iter().any(same) {
            self.entries.push(new);
        }
        conflict
    }

    /// Every cached leaf for `va`.
    pub(crate) fn leaves(&self, va: VirtAddr, asid: Asid) -> impl Iterator<Item = Cached> + '_ {
        self.entries
            .iter()
            .filter(move |cached| cached.translates(va, asid) && cached.leaf().is_some())
            .copied()
    }

    /// Every cached table descriptor on the way to `va`.
    pub(crate) fn tables(&self, va: VirtAddr, asid: Asid) -> impl Iterator<Item = Cached> + '_ {
        self.entries
            .iter()
            .filter(move |cached| cached.translates(va, asid) && cached.table().is_some())
            .copied()
    }

    /// Carries out a TLBI.
    pub(crate) fn invalidate(&mut self, op: &Tlbi) {
        self.entries.retain(|cached| !cached.is_covered(op));
    }

    /// Forgets one entry: capacity, or no reason.
    pub(crate) fn evict(&mut self, which: u64) {
        if !self.entries.is_empty() {
            let at = which as usize % self.entries.len();
            self.entries.swap_remove(at);
        }
    }

    /// Everything cached.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Cached> {
        self.entries.iter()
    }
}
