//! A slot without a mapping: nothing in it, or software data; and what may be put there.

use super::{Detached, Fresh, Place, PmdLevel, TableLevel};
use crate::{Hardware, Mm};
use abi::Level;
use pte::{Leaf, Soft, Table};

/// An entry of nothing.
#[must_use = "an entry that is looked at is kept or filled"]
pub struct Empty<'l, H: Hardware, L: TableLevel>(pub(super) Place<'l, H, L>);

impl<H: Hardware, L: TableLevel> Empty<'_, H, L> {
    /// Maps memory that the caller has counted for this entry. No flush and no barrier: nothing was
    /// cached, and a walker that is late makes one more fault, which finds the entry right.
    #[doc(alias("set_pte_at", "set_pmd_at"))]
    #[inline]
    #[cfg_attr(feature = "sanitize", track_caller)]
    pub fn set(self, leaf: Leaf) {
        self.0.store(leaf.word());
    }

    /// Puts software data there.
    #[cfg_attr(feature = "sanitize", track_caller)]
    pub fn set_soft(self, soft: Soft) {
        self.0.store(soft.encode(L::LEVEL));
    }
}

impl<H: Hardware> Empty<'_, H, PmdLevel> {
    /// Links a table.
    #[doc(alias = "pmd_populate")]
    #[cfg_attr(feature = "sanitize", track_caller)]
    pub fn link(self, fresh: Fresh) {
        fresh.link(&self.0);
    }

    /// Links a table that served other addresses until now. Its entries are visible to walkers already.
    #[cfg_attr(feature = "sanitize", track_caller)]
    pub(crate) fn relink(self, table: Detached) {
        self.0.store(Table::new(table.pfn()).word());
    }
}

/// An entry of software data. It owns no reference. No CPU has a translation of it, but of what a migration
/// entry was before: see [`crate::tlb`].
#[must_use = "an entry that is looked at is kept, changed or taken out"]
pub struct SoftEntry<'l, H: Hardware, L: TableLevel> {
    pub(super) place: Place<'l, H, L>,
    pub(super) soft: Soft,
}

impl<H: Hardware, L: TableLevel> SoftEntry<'_, H, L> {
    /// The data.
    pub fn soft(&self) -> Soft {
        self.soft
    }

    /// Other data instead.
    #[cfg_attr(feature = "sanitize", track_caller)]
    pub fn replace(self, soft: Soft) {
        self.place.store(soft.encode(L::LEVEL));
    }

    /// A mapping instead; its memory was counted for this entry before. No flush: nothing is cached.
    #[doc(alias("remove_migration_pte", "remove_migration_pmd"))]
    #[cfg_attr(feature = "sanitize", track_caller)]
    pub fn restore(self, leaf: Leaf) {
        self.place.store(leaf.word());
    }

    /// Nothing instead.
    #[cfg_attr(feature = "sanitize", track_caller)]
    pub fn clear(self) {
        self.place.store(0);
    }
}

impl<H: Hardware> SoftEntry<'_, H, PmdLevel> {
    /// A table of small entries that say the same instead. Nothing is invalidated: nothing was valid.
    #[cfg_attr(feature = "sanitize", track_caller)]
    pub fn link(self, fresh: Fresh) {
        fresh.link(&self.place);
    }
}

impl<H: Hardware> Mm<H> {
    /// Gives back what software data owned. Only memory of a device is counted like memory that is mapped;
    /// of that no CPU has a translation, so nothing needs to be flushed before.
    #[inline]
    #[cfg_attr(feature = "sanitize", track_caller)]
    pub(crate) fn soft_put(&self, level: Level, soft: Soft) {
        if let Soft::DevicePrivate { pfn, .. } = soft
            && let Some(head) = self.frames.map().head(pfn)
        {
            if level == Level::Pmd {
                self.uncount_pmd_map(head);
            }
            self.folio_unmap(head, 1);
        }
    }

    /// Counts the same software data in one more slot; see [`Mm::soft_put`].
    #[inline]
    pub(crate) fn soft_dup(&self, level: Level, soft: Soft) {
        if let Soft::DevicePrivate { pfn, .. } = soft
            && let Some(head) = self.frames.map().head(pfn)
        {
            // Exclusive it was by its entry, which says otherwise from now on.
            self.folio_map(head, 1);
            if level == Level::Pmd {
                self.count_pmd_map(head);
            }
        }
    }
}
