//! What can be wrong with a tree, each with the evidence that finds the place.

use crate::fixed::Text;
use core::fmt;

/// Why no board can be made of a blob.
///
/// Offsets are in bytes: of a token, within the structure block; of a block, within the blob.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TreeError {
    /// Fewer bytes than a header has.
    TooShort {
        /// How many there are.
        bytes: usize,
    },
    /// The first word is not the magic number: this is no device tree.
    Magic {
        /// What it is.
        found: u32,
    },
    /// The header claims more bytes than were given.
    Cut {
        /// The header's claim.
        total: u32,
        /// What was given.
        given: usize,
    },
    /// The header claims more than any sane tree has ([`crate::MAX_BYTES`]).
    TooLarge {
        /// The header's claim.
        total: u32,
    },
    /// Neither version 17 nor compatible with it.
    Version {
        /// The version of the blob.
        version: u32,
        /// The oldest version it says it can be read as.
        readable_as: u32,
    },
    /// A block lies outside the blob, or not at its alignment.
    Block {
        /// Which.
        block: Block,
        /// Where it should start.
        offset: u32,
        /// How long it should be.
        bytes: u32,
    },
    /// The memory reservations run to the end of the blob without a closing entry.
    ReservationsOpen {
        /// Where they start.
        offset: u32,
    },
    /// The structure block breaks a rule.
    Token {
        /// The offset of the token.
        at: usize,
        /// The rule.
        fault: TokenFault,
    },
    /// No enabled memory node names a whole page of memory.
    NoMemory,
    /// More reserved ranges than the list holds. To forget one would be to overwrite it.
    TooManyReservations {
        /// How many fit.
        capacity: usize,
    },
}

/// A part of the blob.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Block {
    /// Ranges of memory to keep, outside the tree proper.
    Reservations,
    /// Nodes and properties.
    Structure,
    /// Names of properties.
    Strings,
}

/// A rule of the structure block that a token breaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TokenFault {
    /// The block ends within the token or before the end token.
    Cut,
    /// Not one of the five tokens.
    Unknown(u32),
    /// A node's name is empty, not printable ASCII, or holds a slash.
    NodeName,
    /// A property's name lies outside the strings, does not end, or is not printable ASCII.
    PropertyName {
        /// Its offset in the strings block.
        offset: u32,
    },
    /// A property that belongs to no node, or comes after its node's first child.
    StrayProperty,
    /// A node's end without its beginning.
    StrayEnd,
    /// The end token while nodes are open, or before the root.
    EarlyFinish {
        /// How many are open.
        depth: usize,
    },
    /// A second node beside the root.
    SecondRoot,
    /// Nodes nested deeper than [`crate::MAX_DEPTH`].
    TooDeep,
}

/// Something in one node that makes no sense. The node is not used; the rest of the tree is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Warning {
    /// The name of the node, cut to what fits.
    pub node: Text<32>,
    /// What is wrong with it.
    pub fault: Fault,
}

impl Warning {
    pub(crate) const EMPTY: Self = Self { node: Text::EMPTY, fault: Fault::Missing("") };
}

/// What can be wrong with a node. The texts are the names of properties.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// A property that this kind of node must have.
    Missing(&'static str),
    /// A property whose length does not fit its meaning.
    Length {
        /// Its name.
        property: &'static str,
        /// How long it is.
        bytes: usize,
    },
    /// A property whose value is outside what is allowed or known.
    Value {
        /// Its name.
        property: &'static str,
        /// The value, or its low 64 bits.
        value: u64,
    },
    /// A property that should be a string and is not, or is one we do not know.
    Words(&'static str),
    /// An address that no range of a bus above translates, or that is beyond 48 bits.
    Unreachable {
        /// The address, as it was on the bus that does not pass it on.
        address: u64,
    },
    /// A reference to a node that is not there.
    Phandle(u32),
    /// An interrupt whose controller is not a GIC.
    ForeignController {
        /// The controller's phandle, or 0 where none was named.
        phandle: u32,
    },
    /// It shares an address or a number with an earlier one of its kind.
    Duplicate {
        /// What both have.
        value: u64,
    },
    /// It is one more of its kind than we keep.
    TooMany {
        /// The kind.
        what: What,
        /// How many we keep.
        capacity: usize,
    },
}

/// What there can be too many of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum What {
    /// Ranges of memory.
    MemoryRanges,
    /// CPUs.
    Cpus,
    /// UARTs.
    Uarts,
    /// GICv3 redistributor regions.
    RedistributorRegions,
    /// Bytes of the command line.
    BootargsBytes,
    /// PCI windows or stream maps.
    PcieEntries,
}

impl fmt::Display for TreeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::TooShort { bytes } => write!(f, "{bytes} bytes are no device tree header"),
            Self::Magic { found } => {
                write!(f, "no device tree: starts with {found:#010x}, not 0xd00dfeed")
            }
            Self::Cut { total, given } => {
                write!(f, "device tree of {total} bytes cut off after {given}")
            }
            Self::TooLarge { total } => {
                write!(f, "device tree claims {total} bytes, more than {}", crate::MAX_BYTES)
            }
            Self::Version { version, readable_as } => {
                write!(f, "device tree version {version} (readable as {readable_as}), not 17")
            }
            Self::Block { block, offset, bytes } => {
                write!(f, "{block:?} block misplaced: {bytes} bytes at offset {offset:#x}")
            }
            Self::ReservationsOpen { offset } => {
                write!(f, "memory reservations at offset {offset:#x} have no end")
            }
            Self::Token { at, fault } => {
                write!(f, "bad device tree structure at {at:#x}: {fault:?}")
            }
            Self::NoMemory => f.write_str("device tree names no memory"),
            Self::TooManyReservations { capacity } => {
                write!(f, "device tree reserves more than {capacity} ranges of memory")
            }
        }
    }
}

impl core::error::Error for TreeError {}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Missing(property) => write!(f, "has no {property}"),
            Self::Length { property, bytes } => write!(f, "{property} cannot have {bytes} bytes"),
            Self::Value { property, value } => write!(f, "{property} cannot be {value:#x}"),
            Self::Words(property) => write!(f, "{property} is not a string we know"),
            Self::Unreachable { address } => write!(f, "address {address:#x} reaches no CPU"),
            Self::Phandle(phandle) => write!(f, "refers to node {phandle:#x}, which is not there"),
            Self::ForeignController { phandle } => {
                write!(f, "interrupts at a controller ({phandle:#x}) that is no GIC")
            }
            Self::Duplicate { value } => write!(f, "has {value:#x}, as one before it"),
            Self::TooMany { what, capacity } => write!(f, "more than {capacity} {what:?}"),
        }
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.node, self.fault)
    }
}
