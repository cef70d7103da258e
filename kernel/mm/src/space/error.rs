//! Why a change of an address space was refused: what is in the way, and what to do about it.

use super::{USER_END, USER_START};
use crate::frame::OutOfMemory;
use crate::thp::CollapseError;
use abi::{Pfn, VirtAddr, VirtRange};
use core::error::Error;
use core::fmt::{self, Display, Formatter};

/// Why a mapping was refused. Nothing was changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MapError {
    /// The size is zero or the range is not made of whole pages of the lower half.
    BadRange(VirtRange),
    /// Something is mapped there; unmap it first or choose another place.
    Occupied {
        /// What was asked for.
        wanted: VirtRange,
        /// The first area in the way.
        by: VirtRange,
    },
    /// No gap is large enough.
    NoRoom {
        /// How much was asked for.
        bytes: u64,
    },
    /// There are no frames of such numbers.
    BadFrames {
        /// The first.
        first: Pfn,
        /// How many.
        pages: u64,
    },
    /// The kernel has no memory to remember one more area, or for the tables of given frames.
    OutOfMemory,
}

/// Why an unmapping was refused. Nothing was changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum UnmapError {
    /// The range is empty or not made of whole pages of the lower half.
    BadRange(VirtRange),
    /// The range lies inside an area, and the kernel has no memory to remember two halves.
    OutOfMemory,
}

/// Why a change of rights was refused. Nothing was changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ProtectError {
    /// The range is empty or not made of whole pages of the lower half.
    BadRange(VirtRange),
    /// Nothing is mapped in this part of the range; leave it out.
    Hole(VirtRange),
    /// The range cuts areas, and the kernel has no memory to remember the pieces.
    OutOfMemory,
}

/// Why a mapping was not moved, or not made larger. Nothing was changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RemapError {
    /// The old or the new range is empty or not made of whole pages of the lower half.
    BadRange(VirtRange),
    /// Nothing is mapped in this part of the old range; leave it out.
    Hole(VirtRange),
    /// The old range is of more than one area; move them one by one.
    Border {
        /// Where the first area ends.
        at: VirtAddr,
    },
    /// These are given frames, of which there are no more than there are; map others beside them.
    Frames(VirtRange),
    /// The new range shares addresses with the old one; choose another.
    Overlap {
        /// Where it is.
        old: VirtRange,
        /// Where it was to go.
        new: VirtRange,
    },
    /// Something is mapped there; unmap it first, choose another place, or let the mapping be moved.
    Occupied {
        /// What was asked for.
        wanted: VirtRange,
        /// The first area in the way.
        by: VirtRange,
    },
    /// No gap is large enough.
    NoRoom {
        /// How much was asked for.
        bytes: u64,
    },
    /// The kernel has no memory to remember another area, or for the tables of the new place.
    OutOfMemory,
}

/// Why advice was not followed, or not everywhere.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AdviseError {
    /// The range is empty or not made of whole pages of the lower half. Nothing was done.
    BadRange(VirtRange),
    /// Nothing is mapped in this part of the range, the first of such. The advice holds for the rest.
    Hole(VirtRange),
    /// These are given frames, of which nothing can be dropped. What comes before was dropped.
    Frames(VirtRange),
    /// The area there does not permit what was to be made ready for. What comes before is ready.
    Denied(VirtAddr),
    /// The range cuts areas, and the kernel has no memory to remember the pieces. Nothing was done.
    NoRoom,
    /// There is no memory for the pages from here on; what comes before is ready. Free some and ask again.
    OutOfMemory(VirtAddr, OutOfMemory),
    /// The 2 MiB there, the first of such, cannot be one huge page; the rest was made ones.
    Apart(VirtAddr, CollapseError),
}

fn bad_range(f: &mut Formatter<'_>, range: &VirtRange) -> fmt::Result {
    write!(f, "{range} is not a non-empty range of whole pages between {USER_START} and {USER_END}")
}

fn no_room(f: &mut Formatter<'_>, bytes: u64) -> fmt::Result {
    write!(f, "no gap of {} KiB in the address space", bytes >> 10)
}

impl Display for MapError {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadRange(range) => bad_range(f, range),
            Self::Occupied { wanted, by } => write!(f, "{wanted} is occupied by {by}"),
            Self::NoRoom { bytes } => no_room(f, *bytes),
            Self::BadFrames { first, pages } => write!(f, "no {pages} frames from {first} on"),
            Self::OutOfMemory => write!(f, "no kernel memory for one more area or its tables"),
        }
    }
}

impl Display for UnmapError {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadRange(range) => bad_range(f, range),
            Self::OutOfMemory => write!(f, "no kernel memory for one more area"),
        }
    }
}

impl Display for ProtectError {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadRange(range) => bad_range(f, range),
            Self::Hole(hole) => write!(f, "nothing is mapped at {hole}"),
            Self::OutOfMemory => write!(f, "no kernel memory for one more area"),
        }
    }
}

impl Display for RemapError {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadRange(range) => bad_range(f, range),
            Self::Hole(hole) => write!(f, "nothing is mapped at {hole}"),
            Self::Border { at } => write!(f, "the first area ends at {at}"),
            Self::Frames(area) => write!(f, "{area} is of given frames and has no more"),
            Self::Overlap { old, new } => write!(f, "{new} shares addresses with {old}"),
            Self::Occupied { wanted, by } => write!(f, "{wanted} is occupied by {by}"),
            Self::NoRoom { bytes } => no_room(f, *bytes),
            Self::OutOfMemory => write!(f, "no kernel memory for another area or its tables"),
        }
    }
}

impl Display for AdviseError {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadRange(range) => bad_range(f, range),
            Self::Hole(hole) => write!(f, "nothing is mapped at {hole}; the rest was done"),
            Self::Frames(area) => write!(f, "{area} is of given frames, which cannot be dropped"),
            Self::Denied(va) => write!(f, "the area at {va} does not permit it"),
            Self::NoRoom => write!(f, "no kernel memory for one more area"),
            Self::OutOfMemory(va, oom) => write!(f, "ready up to {va}: {oom}"),
            Self::Apart(va, error) => write!(f, "no huge page at {va}: {error}"),
        }
    }
}

impl Error for MapError {}
impl Error for UnmapError {}
impl Error for ProtectError {}
impl Error for RemapError {}
impl Error for AdviseError {}
