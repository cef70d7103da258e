//! Plain types that the kernel, the models and the host tools share.
//!
//! Nothing here decides anything: a value of these types names a place, a size or a right, and
//! that is all. Whoever needs policy is in another room. No `unsafe`, no allocation, no target.
//!
//! | file | concern |
//! | --- | --- |
//! | `addr` | physical and virtual addresses, frame numbers, orders, ranges |
//! | `level` | the four levels of a translation table with a 4 KiB granule |
//! | `rights` | what a mapping permits, and what an access wants |
//! | `event` | the counters, under Linux's printed names |
//! | `ktap` | the result format that every test and workload prints |

#![no_std]
#![forbid(unsafe_code)]

mod addr;
mod event;
pub mod ktap;
mod level;
mod rights;

pub use addr::{
    Order, PAGE_SHIFT, PAGE_SIZE, PMD_SHIFT, PMD_SIZE, PUD_SHIFT, PUD_SIZE, Pfn, PhysAddr,
    PhysRange, VirtAddr, VirtRange,
};
pub use event::Event;
pub use level::{ENTRIES, Level};
pub use rights::{Access, Prot};

/// A logical CPU: 0 is the one that booted, the others count up in device-tree order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct CpuId(pub u16);

impl CpuId {
    /// The number as an index into per-CPU arrays.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

impl core::fmt::Display for CpuId {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A memory node: memory that some CPUs are nearer to than others. They count from 0.
#[doc(alias("nid", "numa_node"))]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Node(pub u8);

impl Node {
    /// The number as an index into per-node arrays.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

impl core::fmt::Display for Node {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// The most CPUs that any board may bring: per-CPU arrays have this length.
pub const MAX_CPUS: usize = 64;

/// An address-space identifier as the hardware compares it; 8 or 16 bits of it are used.
///
/// ASID 0 is never given to an address space: it tags the empty user table.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Asid(pub u16);

impl core::fmt::Display for Asid {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{}", self.0)
    }
}
