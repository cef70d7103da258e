//! From mappings to migration entries and back, and what happens to soft entries meanwhile.
//!
//! Every fact about a mapping has one place in the entry that stands for it: the right to write and
//! exclusivity are in the kind, accessed and dirty above the frame number, userfaultfd's mark in a bit
//! of its own. What goes in comes out again, unless a rule here says that it was taken away between.
//! The input is always what an exchange returned, never the word that was there before it: only that
//! one has all that hardware recorded.
//!
//! Source: Linux `set_pmd_migration_entry`, `remove_migration_pmd`, `__split_huge_pmd_locked`,
//! `copy_nonpresent_pte`, `change_pte_range`.

use crate::granule::Granule;
use crate::leaf::Leaf;
use crate::{DeviceAccess, MigrationKind, Soft};
use abi::{Level, Pfn, Prot};

impl Soft {
    /// The entry that stands for `leaf` while its folio moves. `exclusive`: anonymous memory that is
    /// nobody else's. A writable leaf is that by itself, or a file's.
    #[doc(alias("make_writable_migration_entry", "make_readable_exclusive_migration_entry"))]
    #[must_use]
    pub const fn migration_of<G: Granule>(leaf: Leaf<G>, exclusive: bool) -> Self {
        Self::Migration {
            pfn: leaf.pfn(),
            kind: MigrationKind::of(leaf.is_writable(), exclusive),
            young: leaf.is_young(),
            dirty: leaf.is_dirty(),
            uffd_wp: leaf.is_uffd_wp(),
        }
    }

    /// The entry that stands for a device-private one while its folio moves: old and clean, since
    /// such an entry has no history. `None` of any other entry.
    ///
    /// The questions for leaves give answers here too, and wrong ones: no device-private word looks
    /// writable, and each looks accessed.
    #[must_use]
    pub const fn migration_of_private(self, exclusive: bool) -> Option<Self> {
        match self {
            Self::DevicePrivate { pfn, access, uffd_wp } => {
                let kind = MigrationKind::of(matches!(access, DeviceAccess::Write), exclusive);
                Some(Self::Migration { pfn, kind, young: false, dirty: false, uffd_wp })
            }
            _ => None,
        }
    }

    /// The frame it names, if it names one.
    #[doc(alias("softleaf_to_pfn", "swp_offset_pfn"))]
    pub const fn pfn(self) -> Option<Pfn> {
        match self {
            Self::Migration { pfn, .. }
            | Self::DevicePrivate { pfn, .. }
            | Self::HwPoison { pfn }
            | Self::DeviceExclusive { pfn, .. } => Some(pfn),
            Self::Swap { .. } | Self::Marker(_) => None,
        }
    }

    /// The same of another frame, such as the one that a folio moved to. What names no frame stays.
    #[must_use]
    pub const fn with_pfn(self, to: Pfn) -> Self {
        match self {
            Self::Migration { kind, young, dirty, uffd_wp, .. } => {
                Self::Migration { pfn: to, kind, young, dirty, uffd_wp }
            }
            Self::DevicePrivate { access, uffd_wp, .. } => {
                Self::DevicePrivate { pfn: to, access, uffd_wp }
            }
            Self::HwPoison { .. } => Self::HwPoison { pfn: to },
            Self::DeviceExclusive { uffd_wp, .. } => Self::DeviceExclusive { pfn: to, uffd_wp },
            Self::Swap { .. } | Self::Marker(_) => self,
        }
    }

    /// The entry for page `index` of what this huge one stands for: same kind, same history.
    #[must_use]
    pub const fn piece(self, index: u64) -> Self {
        match self.pfn() {
            Some(pfn) => self.with_pfn(Pfn(pfn.0 + index)),
            None => self,
        }
    }

    /// What a fork leaves in both spaces: nothing here is writable or exclusive any more. History and
    /// userfaultfd's mark stay.
    #[doc(alias = "copy_nonpresent_pte")]
    #[must_use]
    pub const fn shared(self) -> Self {
        match self {
            Self::Migration { pfn, young, dirty, uffd_wp, .. } => {
                Self::Migration { pfn, kind: MigrationKind::Read, young, dirty, uffd_wp }
            }
            Self::DevicePrivate { pfn, uffd_wp, .. } => {
                Self::DevicePrivate { pfn, access: DeviceAccess::Read, uffd_wp }
            }
            Self::Swap { device, offset, uffd_wp, .. } => {
                Self::Swap { device, offset, exclusive: false, uffd_wp }
            }
            Self::HwPoison { .. } | Self::DeviceExclusive { .. } | Self::Marker(_) => self,
        }
    }

    /// What remains when the right to write is taken from a range: of anonymous memory, that nobody
    /// else has it. History and userfaultfd's mark stay.
    #[doc(alias = "change_huge_pmd")]
    #[must_use]
    pub const fn write_protected(self, anonymous: bool) -> Self {
        match self {
            Self::Migration { pfn, kind: MigrationKind::Write, young, dirty, uffd_wp } => {
                let kind = MigrationKind::of(false, anonymous);
                Self::Migration { pfn, kind, young, dirty, uffd_wp }
            }
            Self::DevicePrivate { pfn, uffd_wp, .. } => {
                Self::DevicePrivate { pfn, access: DeviceAccess::Read, uffd_wp }
            }
            _ => self,
        }
    }
}

impl MigrationKind {
    const fn of(writable: bool, exclusive: bool) -> Self {
        match (writable, exclusive) {
            (true, _) => Self::Write,
            (false, true) => Self::ReadExclusive,
            (false, false) => Self::Read,
        }
    }

    /// Whether it says that nobody else has the page, if the page is anonymous.
    pub const fn is_exclusive(self) -> bool {
        matches!(self, Self::Write | Self::ReadExclusive)
    }
}

impl<G: Granule> Leaf<G> {
    /// The mapping that comes back for a migration entry of `level`, of the frame that the entry names
    /// (see [`Soft::with_pfn`]). `None` of any other entry.
    ///
    /// `prot` is what the area permits now. Writable only if the mapping was and the area still is;
    /// dirty only if the folio still is too, since it may have been cleaned on the way.
    #[doc(alias("remove_migration_pmd", "remove_migration_pte"))]
    #[must_use]
    #[inline]
    pub const fn restored(level: Level, soft: Soft, prot: Prot, folio_dirty: bool) -> Option<Self> {
        let Soft::Migration { pfn, kind, young, dirty, uffd_wp } = soft else { return None };
        let leaf = Self::user(level, pfn, prot);
        let leaf = if matches!(kind, MigrationKind::Write) { leaf } else { leaf.write_protected() };
        let leaf = if young { leaf } else { leaf.made_old() };
        let leaf = if dirty && folio_dirty { leaf.made_dirty() } else { leaf };
        Some(if uffd_wp { leaf.uffd_protected() } else { leaf })
    }
}

#[cfg(test)]
#[path = "convert_tests.rs"]
mod tests;
