//! Soft entries as words.
//!
//! Hardware ignores all of such a word, so its layout is free but for two bits: bit 0, or it would
//! be valid, and bit 11, or it would be a present-invalid leaf. So a soft entry is never made by
//! masking a leaf, which has bit 11 set; it is packed from what [`Soft`] says.
//!
//! | bits | |
//! | --- | --- |
//! | 2 | exclusive, of a swap entry only |
//! | 3 | userfaultfd write-protects it |
//! | 10 to 6 | the kind |
//! | 61 to 12 | the payload: a frame number with accessed and dirty above it, or what the kind says |
//!
//! Source: Linux "encode and decode a swap entry" in `pgtable.h`; `swap.h` for the kinds.

use crate::bits::{
    SOFT_EXCLUSIVE, SOFT_OFFSET, SOFT_OFFSET_SHIFT, SOFT_TYPE, SOFT_TYPE_SHIFT, SOFT_UFFD_WP,
};
use crate::granule::{Granule, K4};
use crate::{DeviceAccess, Marker, MigrationKind, Soft};
use abi::{Level, Pfn};

// The numbering, frozen. Swap devices come first, the rest counts down from the top.
const HWPOISON: u64 = Soft::SWAP_DEVICES as u64;
const MIGRATION_READ: u64 = 25;
const MIGRATION_READ_EXCLUSIVE: u64 = 26;
const MIGRATION_WRITE: u64 = 27;
const DEVICE_WRITE: u64 = 28;
const DEVICE_READ: u64 = 29;
const DEVICE_EXCLUSIVE: u64 = 30;
const MARKER: u64 = 31;

const MARKER_UFFD_WP: u64 = 0b001;
const MARKER_POISONED: u64 = 0b010;
const MARKER_GUARD: u64 = 0b100;

/// What every word of a soft entry is packed from, whatever its layout.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Parts {
    /// The kind: 5 bits.
    pub(crate) code: u64,
    /// The payload: 50 bits, a frame number with its history or something else.
    pub(crate) offset: u64,
    pub(crate) exclusive: bool,
    pub(crate) uffd_wp: bool,
}

/// The accessed bit above a frame number in a payload.
const fn young_bit<G: Granule>() -> u64 {
    G::SOFT_YOUNG >> SOFT_OFFSET_SHIFT
}

/// The dirty bit above a frame number in a payload.
const fn dirty_bit<G: Granule>() -> u64 {
    G::SOFT_DIRTY >> SOFT_OFFSET_SHIFT
}

impl Soft {
    /// The word. It must be legal at `level`; a release build cuts off what does not fit, and a wrong
    /// level shows as a corrupt entry when decoded.
    #[inline]
    pub const fn encode(&self, level: Level) -> u64 {
        self.encode_in::<K4>(level)
    }

    /// As [`Self::encode`], for any granule.
    #[inline]
    pub const fn encode_in<G: Granule>(&self, level: Level) -> u64 {
        debug_assert!(self.is_legal_in::<G>(level));
        let Parts { code, offset, exclusive, uffd_wp } = self.parts::<G>();
        code << SOFT_TYPE_SHIFT & SOFT_TYPE
            | offset << SOFT_OFFSET_SHIFT & SOFT_OFFSET
            | flag(exclusive, SOFT_EXCLUSIVE)
            | flag(uffd_wp, SOFT_UFFD_WP)
    }

    /// What a word that is neither 0 nor present says; `None` if nothing legal at `level`.
    #[inline]
    pub const fn decode(level: Level, word: u64) -> Option<Self> {
        Self::decode_in::<K4>(level, word)
    }

    /// As [`Self::decode`], for any granule.
    #[inline]
    pub const fn decode_in<G: Granule>(level: Level, word: u64) -> Option<Self> {
        if word & !(SOFT_TYPE | SOFT_OFFSET | SOFT_EXCLUSIVE | SOFT_UFFD_WP) != 0 {
            return None;
        }
        let parts = Parts {
            code: (word & SOFT_TYPE) >> SOFT_TYPE_SHIFT,
            offset: (word & SOFT_OFFSET) >> SOFT_OFFSET_SHIFT,
            exclusive: word & SOFT_EXCLUSIVE != 0,
            uffd_wp: word & SOFT_UFFD_WP != 0,
        };
        match Self::from_parts::<G>(parts) {
            Some(soft) if soft.is_legal_in::<G>(level) => Some(soft),
            _ => None,
        }
    }

    #[inline]
    pub(crate) const fn parts<G: Granule>(&self) -> Parts {
        let (code, offset, uffd_wp) = match *self {
            Self::Migration { pfn, kind, young, dirty, uffd_wp } => {
                let code = match kind {
                    MigrationKind::Read => MIGRATION_READ,
                    MigrationKind::ReadExclusive => MIGRATION_READ_EXCLUSIVE,
                    MigrationKind::Write => MIGRATION_WRITE,
                };
                let history = flag(young, young_bit::<G>()) | flag(dirty, dirty_bit::<G>());
                (code, pfn.0 | history, uffd_wp)
            }
            Self::Swap { device, offset, uffd_wp, .. } => (device as u64, offset, uffd_wp),
            Self::DevicePrivate { pfn, access: DeviceAccess::Write, uffd_wp } => {
                (DEVICE_WRITE, pfn.0, uffd_wp)
            }
            Self::DevicePrivate { pfn, access: DeviceAccess::Read, uffd_wp } => {
                (DEVICE_READ, pfn.0, uffd_wp)
            }
            Self::HwPoison { pfn } => (HWPOISON, pfn.0, false),
            Self::DeviceExclusive { pfn, uffd_wp } => (DEVICE_EXCLUSIVE, pfn.0, uffd_wp),
            Self::Marker(Marker { uffd_wp, poisoned, guard }) => {
                let remark = flag(uffd_wp, MARKER_UFFD_WP)
                    | flag(poisoned, MARKER_POISONED)
                    | flag(guard, MARKER_GUARD);
                (MARKER, remark, false)
            }
        };
        let exclusive = matches!(*self, Self::Swap { exclusive: true, .. });
        Parts { code, offset, exclusive, uffd_wp }
    }

    /// The entry that these are the parts of; `None` if of none.
    pub(crate) const fn from_parts<G: Granule>(parts: Parts) -> Option<Self> {
        let Parts { code, offset, exclusive, uffd_wp } = parts;
        let history = young_bit::<G>() | dirty_bit::<G>();
        let (young, dirty) = (offset & young_bit::<G>() != 0, offset & dirty_bit::<G>() != 0);
        let pfn = Pfn(offset);
        let soft = match code {
            HWPOISON => Self::HwPoison { pfn },
            MIGRATION_READ..=MIGRATION_WRITE => {
                let kind = match code {
                    MIGRATION_READ => MigrationKind::Read,
                    MIGRATION_READ_EXCLUSIVE => MigrationKind::ReadExclusive,
                    _ => MigrationKind::Write,
                };
                Self::Migration { pfn: Pfn(offset & !history), kind, young, dirty, uffd_wp }
            }
            DEVICE_WRITE => Self::DevicePrivate { pfn, access: DeviceAccess::Write, uffd_wp },
            DEVICE_READ => Self::DevicePrivate { pfn, access: DeviceAccess::Read, uffd_wp },
            DEVICE_EXCLUSIVE => Self::DeviceExclusive { pfn, uffd_wp },
            MARKER => Self::Marker(Marker {
                uffd_wp: offset & MARKER_UFFD_WP != 0,
                poisoned: offset & MARKER_POISONED != 0,
                guard: offset & MARKER_GUARD != 0,
            }),
            device => Self::Swap { device: device as u8, offset, exclusive, uffd_wp },
        };
        // What the kind has no place for must have been zero.
        if soft.parts::<G>().equals(parts) { Some(soft) } else { None }
    }
}

impl Parts {
    const fn equals(self, other: Self) -> bool {
        self.code == other.code
            && self.offset == other.offset
            && self.exclusive == other.exclusive
            && self.uffd_wp == other.uffd_wp
    }
}

const fn flag(on: bool, bit: u64) -> u64 {
    if on { bit } else { 0 }
}
