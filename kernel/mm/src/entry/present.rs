//! A mapping in a slot: changing it in place, taking it out, breaking it.

use super::{Fresh, Place, PmdLevel, TableLevel};
use crate::mutant::Mutant;
use crate::tlb::{Context, Flushed};
use crate::{Hardware, Mm};
use abi::{VirtAddr, VirtRange};
use pte::{Entry, Leaf, Soft};

/// An entry that maps memory: a valid leaf, or one that permits nothing and stays.
#[must_use = "an entry that is looked at is kept, changed or taken out"]
pub struct Present<'l, H: Hardware, L: TableLevel> {
    pub(super) place: Place<'l, H, L>,
    pub(super) leaf: Leaf,
}

impl<H: Hardware, L: TableLevel> Present<'_, H, L> {
    /// The mapping as it was read. Hardware may have added to its history since.
    #[inline]
    pub fn leaf(&self) -> Leaf {
        self.leaf
    }

    /// Takes the mapping out. What it maps stays the entry's, now this token's, until a flush.
    ///
    /// A member of a contiguous set is unfolded first, as for every step that changes one mapping.
    #[doc(alias("ptep_get_and_clear", "pmdp_huge_get_and_clear"))]
    #[inline]
    #[cfg_attr(feature = "sanitize", track_caller)]
    pub fn clear(self) -> Unmapped {
        debug_assert!(!self.leaf.is_contiguous(), "one of a contiguous set is taken out");
        Unmapped { leaf: same_mapping::<L>(self.place.swap(0), self.leaf) }
    }

    /// Changes the mapping to what `change` makes of it, in one atomic step even where hardware
    /// writes; returns what was there. The change must be one that live entries permit: rights and
    /// history, never the frame, the size or the contiguous mark. What it takes away holds only
    /// after a flush.
    #[doc(alias("ptep_set_wrprotect", "ptep_set_access_flags", "ptep_test_and_clear_young"))]
    #[inline]
    #[cfg_attr(feature = "sanitize", track_caller)]
    pub fn modify(self, change: impl Fn(Leaf) -> Leaf) -> Leaf {
        debug_assert!(!self.leaf.is_contiguous(), "one of a contiguous set is changed");
        self.update(change)
    }

    /// As [`Present::modify`], for whoever sees to the rest of a contiguous set.
    #[inline]
    #[cfg_attr(feature = "sanitize", track_caller)]
    pub(super) fn update(self, change: impl Fn(Leaf) -> Leaf) -> Leaf {
        let Self { place, mut leaf } = self;
        loop {
            let new = change(leaf);
            debug_assert!(new.pfn() == leaf.pfn());
            if !place.mm.hw_writes_entries() || place.mm.commits(Mutant::UpdateNotAtomic) {
                place.store(new.word());
                return leaf;
            }
            match place.mm.hw.compare_exchange(place.slot, leaf.word(), new.word()) {
                Ok(()) => return leaf,
                Err(now) => leaf = same_mapping::<L>(now, leaf),
            }
        }
    }
}

impl<'l, H: Hardware, L: TableLevel> Present<'l, H, L> {
    /// Puts a mapping of other memory in the place of this one: takes this one out, waits until no CPU
    /// has it, and only then stores `leaf`, which the caller has counted. Two places of one address
    /// are never cached together, and nobody writes to the new memory while another still reads the
    /// old.
    #[doc(alias("ptep_clear_flush", "wp_page_copy", "set_pte_at_notify"))]
    #[cfg_attr(feature = "sanitize", track_caller)]
    pub(crate) fn replace(self, space: &Context, va: VirtAddr, leaf: Leaf) -> (Unmapped, Flushed) {
        debug_assert!(!self.leaf.is_contiguous(), "one of a contiguous set is replaced");
        let Self { place, leaf: seen } = self;
        let mm = place.mm;
        let late = mm.commits(Mutant::ReplaceSetBeforeFlush);
        let early = mm.commits(Mutant::ReplaceFlushFirst);
        if early {
            let _: Flushed = mm.flush_leaf::<L>(space, va);
        }
        let old = same_mapping::<L>(place.swap(if late { leaf.word() } else { 0 }), seen);
        let proof = if early || mm.commits(Mutant::ReplaceNoFlush) {
            mm.flush(space, VirtRange::from_size(va, 0), L::LEVEL)
        } else {
            mm.flush_leaf::<L>(space, va)
        };
        // Secondary MMUs are invalidated here, while the entry is empty.
        if !late {
            place.store(leaf.word());
        }
        (Unmapped { leaf: old }, proof)
    }
}

impl<'l, H: Hardware> Present<'l, H, PmdLevel> {
    /// Makes the entry invalid for hardware while it stays present for software, and waits until no
    /// CPU has a translation from it. From then on its history cannot change.
    ///
    /// Corresponds to Linux's `pmdp_invalidate`.
    #[doc(alias("pmdp_invalidate", "pmdp_invalidate_ad", "pmd_mkinvalid"))]
    #[cfg_attr(feature = "sanitize", track_caller)]
    pub fn invalidate(self, space: &Context, va: VirtAddr) -> Broken<'l, H> {
        let Self { place, leaf } = self;
        let mm = place.mm;
        if mm.commits(Mutant::SplitNoBreak) {
            return Broken { place, leaf };
        }
        // The word that was read may lack what hardware has written since; the exchanged one has it.
        let old = place.swap(leaf.invalidated().word());
        let leaf = match mm.commits(Mutant::SplitPreread) {
            true => leaf,
            false => same_mapping::<PmdLevel>(old, leaf),
        };
        let _: Flushed = mm.flush_leaf::<PmdLevel>(space, va);
        Broken { place, leaf }
    }

    /// Makes the entry invalid for hardware, which may go on using what it has cached of it: the flush is
    /// owed. What the entry says is complete nevertheless, for hardware looks before it writes.
    #[doc(alias("pmdp_huge_get_and_clear", "set_pmd_migration_entry"))]
    #[cfg_attr(feature = "sanitize", track_caller)]
    pub(crate) fn suspend(self) -> Suspended<'l, H> {
        let Self { place, leaf } = self;
        let old = place.swap(leaf.invalidated().word());
        let leaf = match place.mm.commits(Mutant::SplitPreread) {
            true => leaf,
            false => same_mapping::<PmdLevel>(old, leaf),
        };
        Suspended { place, leaf }
    }
}

/// What the slot held instead of `seen`: the same mapping, with more history perhaps. Nobody else
/// stores to it while the lock is held.
#[inline]
fn same_mapping<L: TableLevel>(word: u64, seen: Leaf) -> Leaf {
    match pte::decode(L::LEVEL, word) {
        Entry::Leaf(leaf) | Entry::ProtNone(leaf) => leaf,
        other => {
            debug_assert!(false, "a locked entry changed from {seen:?} to {other:?}");
            seen
        }
    }
}

/// A huge entry that hardware can neither use nor has cached, and that software still sees as present.
/// It must become something else before the lock is released.
#[must_use = "a broken entry must not outlive the lock"]
pub struct Broken<'l, H: Hardware> {
    place: Place<'l, H, PmdLevel>,
    leaf: Leaf,
}

impl<H: Hardware> Broken<'_, H> {
    /// The mapping as it was, its history complete: valid, and not as it stands in the slot.
    pub fn leaf(&self) -> Leaf {
        self.leaf
    }

    /// The small entries take over. Their stores are visible to walkers before the table is.
    #[doc(alias = "pmd_populate")]
    #[cfg_attr(feature = "sanitize", track_caller)]
    pub fn link(self, fresh: Fresh) {
        fresh.link(&self.place);
    }

    /// Software data takes over.
    #[doc(alias = "set_pmd_migration_entry")]
    #[cfg_attr(feature = "sanitize", track_caller)]
    pub fn set_soft(self, soft: Soft) {
        self.place.store(soft.encode(abi::Level::Pmd));
    }

    /// The mapping comes back as it was. No flush: nothing was cached of the invalid entry.
    #[cfg_attr(feature = "sanitize", track_caller)]
    pub fn restore(self) {
        let leaf = self.leaf;
        self.place.store(leaf.word());
    }

    /// Another mapping of the same memory comes instead.
    #[cfg_attr(feature = "sanitize", track_caller)]
    pub fn set(self, leaf: Leaf) {
        debug_assert!(leaf.pfn() == self.leaf.pfn());
        self.place.store(leaf.word());
    }
}

/// A huge entry that hardware cannot find any more and may still have cached. It becomes a migration entry,
/// or again what it was; nothing else that is valid, for that needs a flush before.
#[must_use = "a suspended entry must not outlive the lock"]
pub(crate) struct Suspended<'l, H: Hardware> {
    place: Place<'l, H, PmdLevel>,
    leaf: Leaf,
}

impl<H: Hardware> Suspended<'_, H> {
    /// The mapping as it was, its history complete.
    pub(crate) fn leaf(&self) -> Leaf {
        self.leaf
    }

    /// Software data takes over. The flush is owed.
    #[cfg_attr(feature = "sanitize", track_caller)]
    pub(crate) fn set_soft(self, soft: Soft) {
        self.place.store(soft.encode(abi::Level::Pmd));
    }

    /// The same mapping comes back, no more permissive than it was. Nothing is owed.
    #[cfg_attr(feature = "sanitize", track_caller)]
    pub(crate) fn set(self, leaf: Leaf) {
        debug_assert!(leaf.pfn() == self.leaf.pfn());
        self.place.store(leaf.word());
    }
}

/// A mapping that has left its slot. CPUs may still have translations of it; it owns the references
/// and the mappings that the entry owned.
#[must_use = "what an entry mapped goes to a gather, or back with the proof of a flush"]
#[derive(Debug)]
pub struct Unmapped {
    leaf: Leaf,
}

impl Unmapped {
    /// The mapping as it was, its history complete but for what stale translations may still add where
    /// hardware does not look before it writes: on arm64 it always looks.
    pub fn leaf(&self) -> Leaf {
        self.leaf
    }

    /// Gives back what the entry owned, now that no CPU has it.
    #[inline]
    #[cfg_attr(feature = "sanitize", track_caller)]
    pub fn release<H: Hardware>(self, mm: &Mm<H>, proof: &Flushed) {
        let _ = proof;
        mm.leaf_put(self.leaf);
    }
}
