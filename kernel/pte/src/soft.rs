//! Non-present entries that carry software data.
//!
//! Invariant: [`Soft::decode`] accepts exactly the words that [`Soft::encode`] makes of entries that
//! are legal at the level.
//!
//! Source: Linux `leafops.h`, `swapops.h` and "encode and decode a swap entry" in `pgtable.h`, with
//! every option on. Accessed and dirty are always stored.

use crate::bits::{SOFT_OFFSET, SOFT_OFFSET_SHIFT};
use crate::granule::{self, Granule, K4};
use abi::{Level, Pfn};

/// What the leaf that a migration entry stands for may be restored to.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum MigrationKind {
    /// Read-only: shared with others, or of a file.
    Read,
    /// Read-only but anonymous and nobody else's, so that a write may make it writable in place.
    ReadExclusive,
    /// Writable.
    Write,
}

/// What a device-private entry permits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum DeviceAccess {
    /// Writing.
    Write,
    /// Reading.
    Read,
}

/// What a marker remembers about a page that is not there.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Marker {
    /// userfaultfd write-protects what will be mapped.
    pub uffd_wp: bool,
    /// The contents were lost; an access is an error.
    pub poisoned: bool,
    /// A guard: an access is an error.
    pub guard: bool,
}

/// A non-present entry with data.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Soft {
    /// The folio is on its way elsewhere; who needs it waits.
    Migration {
        /// Where it still is. The entry keeps no reference to it.
        pfn: Pfn,
        /// What may come back.
        kind: MigrationKind,
        /// The leaf was accessed.
        young: bool,
        /// The leaf was dirty.
        dirty: bool,
        /// userfaultfd write-protects it.
        uffd_wp: bool,
    },
    /// The contents are on a swap device.
    Swap {
        /// Which device, below [`Soft::SWAP_DEVICES`].
        device: u8,
        /// Where on it: 50 bits, and never 0, where a device keeps its header. So no swap entry is the
        /// empty word.
        offset: u64,
        /// Nobody else has it.
        exclusive: bool,
        /// userfaultfd write-protects it.
        uffd_wp: bool,
    },
    /// The contents are in memory that only a device can reach.
    DevicePrivate {
        /// The frame number that stands for the device's memory.
        pfn: Pfn,
        /// What may come back.
        access: DeviceAccess,
        /// userfaultfd write-protects it.
        uffd_wp: bool,
    },
    /// The frame is broken.
    HwPoison {
        /// Which one.
        pfn: Pfn,
    },
    /// A device uses the page with atomics of its own; CPUs take it back by a fault.
    DeviceExclusive {
        /// The page.
        pfn: Pfn,
        /// userfaultfd write-protects it.
        uffd_wp: bool,
    },
    /// No page, but a remark for the one to come.
    Marker(Marker),
}

impl Soft {
    /// Swap devices that can be told apart.
    pub const SWAP_DEVICES: u8 = 24;
    /// What the word of a migration or device-private entry for a page grows by from one page to the
    /// next.
    pub const STEP: u64 = 1 << SOFT_OFFSET_SHIFT;

    /// Whether it may stand in a table of `level`: anything for a page, only what a huge mapping can
    /// turn into for a PMD, nothing above. Its numbers must fit, a huge one's frame be aligned.
    pub const fn is_legal_at(&self, level: Level) -> bool {
        self.is_legal_in::<K4>(level)
    }

    /// As [`Self::is_legal_at`], for any granule.
    pub const fn is_legal_in<G: Granule>(&self, level: Level) -> bool {
        let huge = match *self {
            Self::Migration { pfn, .. } | Self::DevicePrivate { pfn, .. } => {
                pfn.is_aligned(granule::order::<G>(Level::Pmd))
            }
            _ => false,
        };
        let fits = match *self {
            Self::Swap { device, offset, .. } => {
                device < Self::SWAP_DEVICES
                    && 0 < offset
                    && offset <= SOFT_OFFSET >> SOFT_OFFSET_SHIFT
            }
            Self::Marker(_) => true,
            Self::Migration { pfn, .. }
            | Self::DevicePrivate { pfn, .. }
            | Self::HwPoison { pfn }
            | Self::DeviceExclusive { pfn, .. } => pfn.0 >> G::PFN_BITS == 0,
        };
        match level {
            Level::Pte => fits,
            Level::Pmd => fits && huge,
            Level::Pgd | Level::Pud => false,
        }
    }
}

#[cfg(test)]
#[path = "soft_tests.rs"]
pub(crate) mod tests;
