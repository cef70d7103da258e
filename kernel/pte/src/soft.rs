//! Non-present entries that carry software data.
//!
//! Hardware ignores all of such a word, so its layout is free but for two bits: bit 0, or it would
//! be valid, and bit 11, or it would be a present-invalid leaf. The payload is the place of a leaf's
//! output address by coincidence of the granule; only [`Soft`] reads it.
//!
//! Invariant: [`Soft::decode`] accepts exactly the words that [`Soft::encode`] makes.
//!
//! Source: Linux `leafops.h`, `swapops.h` and "encode and decode a swap entry" in `pgtable.h`, with
//! every option on. Accessed and dirty are always stored.

use crate::bits::{
    ADDRESS, SOFT_DIRTY, SOFT_EXCLUSIVE, SOFT_OFFSET, SOFT_OFFSET_SHIFT, SOFT_TYPE,
    SOFT_TYPE_SHIFT, SOFT_UFFD_WP, SOFT_YOUNG,
};
use abi::{Level, Pfn, PhysAddr};

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
        /// Where on it: 50 bits.
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

// The numbering, frozen. Swap devices come first, the rest counts down from the top.
const HWPOISON: u64 = 24;
const MIGRATION_READ: u64 = 25;
const MIGRATION_READ_EXCLUSIVE: u64 = 26;
const MIGRATION_WRITE: u64 = 27;
const DEVICE_WRITE: u64 = 28;
const DEVICE_READ: u64 = 29;
const DEVICE_EXCLUSIVE: u64 = 30;
const MARKER: u64 = 31;

const MARKER_UFFD_WP: u64 = 1 << 0;
const MARKER_POISONED: u64 = 1 << 1;
const MARKER_GUARD: u64 = 1 << 2;

impl Soft {
    /// Swap devices that can be told apart.
    pub const SWAP_DEVICES: u8 = HWPOISON as u8;

    /// Whether it may stand in a table of `level`: anything for a page, only what a huge mapping
    /// can turn into for a PMD, nothing above.
    pub const fn is_legal_at(&self, level: Level) -> bool {
        match level {
            Level::Pte => true,
            Level::Pmd => matches!(self, Self::Migration { .. } | Self::DevicePrivate { .. }),
            Level::Pgd | Level::Pud => false,
        }
    }

    /// The word. `level` must be one where the kind is legal and the fields must fit; a release
    /// build cuts them off, and a wrong level shows as a corrupt entry when decoded.
    pub const fn encode(&self, level: Level) -> u64 {
        debug_assert!(self.is_legal_at(level));
        match *self {
            Self::Migration { pfn, kind, young, dirty, uffd_wp } => {
                let code = match kind {
                    MigrationKind::Read => MIGRATION_READ,
                    MigrationKind::ReadExclusive => MIGRATION_READ_EXCLUSIVE,
                    MigrationKind::Write => MIGRATION_WRITE,
                };
                code << SOFT_TYPE_SHIFT
                    | frame(pfn)
                    | flag(young, SOFT_YOUNG)
                    | flag(dirty, SOFT_DIRTY)
                    | flag(uffd_wp, SOFT_UFFD_WP)
            }
            Self::Swap { device, offset, exclusive, uffd_wp } => {
                debug_assert!(device < Self::SWAP_DEVICES);
                debug_assert!(offset <= SOFT_OFFSET >> SOFT_OFFSET_SHIFT);
                (device as u64) << SOFT_TYPE_SHIFT & SOFT_TYPE
                    | offset << SOFT_OFFSET_SHIFT & SOFT_OFFSET
                    | flag(exclusive, SOFT_EXCLUSIVE)
                    | flag(uffd_wp, SOFT_UFFD_WP)
            }
            Self::DevicePrivate { pfn, access, uffd_wp } => {
                let code = match access {
                    DeviceAccess::Write => DEVICE_WRITE,
                    DeviceAccess::Read => DEVICE_READ,
                };
                code << SOFT_TYPE_SHIFT | frame(pfn) | flag(uffd_wp, SOFT_UFFD_WP)
            }
            Self::HwPoison { pfn } => HWPOISON << SOFT_TYPE_SHIFT | frame(pfn),
            Self::DeviceExclusive { pfn, uffd_wp } => {
                DEVICE_EXCLUSIVE << SOFT_TYPE_SHIFT | frame(pfn) | flag(uffd_wp, SOFT_UFFD_WP)
            }
            Self::Marker(Marker { uffd_wp, poisoned, guard }) => {
                let remark = flag(uffd_wp, MARKER_UFFD_WP)
                    | flag(poisoned, MARKER_POISONED)
                    | flag(guard, MARKER_GUARD);
                MARKER << SOFT_TYPE_SHIFT | remark << SOFT_OFFSET_SHIFT
            }
        }
    }

    /// What a word that is neither 0 nor present says; `None` if nothing legal at `level`.
    pub const fn decode(level: Level, word: u64) -> Option<Self> {
        let pfn = PhysAddr(word & ADDRESS).pfn();
        let uffd_wp = word & SOFT_UFFD_WP != 0;
        let offset = (word & SOFT_OFFSET) >> SOFT_OFFSET_SHIFT;
        let (soft, fields) = match (word & SOFT_TYPE) >> SOFT_TYPE_SHIFT {
            HWPOISON => (Self::HwPoison { pfn }, ADDRESS),
            code @ MIGRATION_READ..=MIGRATION_WRITE => {
                let kind = match code {
                    MIGRATION_READ => MigrationKind::Read,
                    MIGRATION_READ_EXCLUSIVE => MigrationKind::ReadExclusive,
                    _ => MigrationKind::Write,
                };
                let (young, dirty) = (word & SOFT_YOUNG != 0, word & SOFT_DIRTY != 0);
                let soft = Self::Migration { pfn, kind, young, dirty, uffd_wp };
                (soft, ADDRESS | SOFT_YOUNG | SOFT_DIRTY | SOFT_UFFD_WP)
            }
            DEVICE_WRITE => {
                let access = DeviceAccess::Write;
                (Self::DevicePrivate { pfn, access, uffd_wp }, ADDRESS | SOFT_UFFD_WP)
            }
            DEVICE_READ => {
                let access = DeviceAccess::Read;
                (Self::DevicePrivate { pfn, access, uffd_wp }, ADDRESS | SOFT_UFFD_WP)
            }
            DEVICE_EXCLUSIVE => (Self::DeviceExclusive { pfn, uffd_wp }, ADDRESS | SOFT_UFFD_WP),
            MARKER => {
                let marker = Marker {
                    uffd_wp: offset & MARKER_UFFD_WP != 0,
                    poisoned: offset & MARKER_POISONED != 0,
                    guard: offset & MARKER_GUARD != 0,
                };
                let fields = MARKER_UFFD_WP | MARKER_POISONED | MARKER_GUARD;
                (Self::Marker(marker), fields << SOFT_OFFSET_SHIFT)
            }
            device => {
                let exclusive = word & SOFT_EXCLUSIVE != 0;
                let soft = Self::Swap { device: device as u8, offset, exclusive, uffd_wp };
                (soft, SOFT_OFFSET | SOFT_EXCLUSIVE | SOFT_UFFD_WP)
            }
        };
        if word & !(fields | SOFT_TYPE) == 0 && soft.is_legal_at(level) { Some(soft) } else { None }
    }
}

const fn frame(pfn: Pfn) -> u64 {
    debug_assert!(pfn.0 <= ADDRESS >> SOFT_OFFSET_SHIFT);
    pfn.base().0 & ADDRESS
}

const fn flag(on: bool, bit: u64) -> u64 {
    if on { bit } else { 0 }
}

#[cfg(test)]
#[path = "soft_tests.rs"]
mod tests;
