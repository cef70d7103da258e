//! How a fault ended, as whoever made the access is told.
//!
//! Corresponds to Linux's `vm_fault_t`.

use crate::frame::OutOfMemory;
use abi::{Level, Prot};
use core::fmt;

/// How a fault ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use = "a fault that was not resolved must stop the access"]
pub enum FaultOutcome {
    /// The entry permits the access now. Run the instruction again.
    Mapped,
    /// The entry permitted it all along (a stale walk, or another CPU was faster), or it was waited for
    /// whoever held it. Run the instruction again.
    Spurious,
    /// The program may not do this.
    Denied(Denial),
    /// There is no memory for it. Nothing was changed; free some and run the instruction again.
    OutOfMemory(OutOfMemory),
}

/// Why an access is not permitted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Denial {
    /// Nothing is mapped there.
    NoArea,
    /// The area has other rights.
    Rights(Prot),
    /// The area shows given frames, and none was given for this page.
    NoFrame,
    /// A guard was put there.
    #[doc(alias = "MADV_GUARD_INSTALL")]
    Guard,
    /// The memory is broken, and what it held is lost.
    #[doc(alias = "VM_FAULT_HWPOISON")]
    Poisoned,
    /// A device has the page, and it cannot be fetched back.
    Device,
    /// The entry is none that this memory manager writes: memory corruption.
    Corrupt(Level, u64),
}

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoArea => write!(f, "nothing is mapped there"),
            Self::Rights(prot) => write!(f, "the area is {prot}"),
            Self::NoFrame => write!(f, "the area has no frame there"),
            Self::Guard => write!(f, "a guard is there"),
            Self::Poisoned => write!(f, "the memory is broken"),
            Self::Device => write!(f, "a device has the page"),
            Self::Corrupt(level, word) => write!(f, "corrupt {level} entry {word:#018x}"),
        }
    }
}
