//! How a collapse ended, and why there was none.
//!
//! Corresponds to Linux's `enum scan_result`.

use crate::frame::OutOfMemory;
use abi::{Pfn, VirtAddr, VirtRange};
use core::error::Error;
use core::fmt::{self, Display, Formatter};

/// How 2 MiB came to be one huge page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Collapsed {
    /// They were one, or are about to be: somebody was faster.
    #[doc(alias = "SCAN_PMD_MAPPED")]
    Already,
    /// Their small entries mapped the pages of one huge folio, in order: one entry does now.
    InPlace,
    /// Their content was copied to a new huge folio.
    #[doc(alias = "SCAN_SUCCEED")]
    Copied,
}

/// Why 2 MiB were not collapsed. Mappings, counts and contents are as they were.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use = "the memory is mapped by pages still"]
pub enum CollapseError {
    /// No area has all of these addresses.
    #[doc(alias("SCAN_VMA_NULL", "SCAN_ADDRESS_RANGE"))]
    NoArea(VirtRange),
    /// The area, its space or the settings want no huge pages there; or it is of given frames.
    #[doc(alias = "SCAN_VMA_CHECK")]
    Unwanted(VirtRange),
    /// Nothing was ever mapped there.
    #[doc(alias = "SCAN_PMD_NONE")]
    Empty(VirtRange),
    /// The page there is none that can be copied: its entry is of software's data, watched by
    /// userfaultfd, or of memory that is not anonymous. The entry's word.
    #[doc(alias("SCAN_PTE_NON_PRESENT", "SCAN_PTE_UFFD", "SCAN_PAGE_ANON"))]
    NoMemory(VirtAddr, u64),
    /// Somebody holds the folio of this page besides its mappings: a pin, a reference, another's work.
    #[doc(alias = "SCAN_PAGE_COUNT")]
    Busy {
        /// The page.
        page: Pfn,
        /// References that its folio has.
        refs: u32,
        /// References that its mappings have.
        expected: u32,
    },
    /// Somebody works on the folio of this page.
    #[doc(alias = "SCAN_PAGE_LOCK")]
    Locked(Pfn),
    /// More entries map nothing, or zeros, than the background fills with memory.
    #[doc(alias = "SCAN_EXCEED_NONE_PTE")]
    Holes {
        /// How many.
        found: u32,
        /// How many may.
        most: u32,
    },
    /// More pages are other spaces' too than the background copies.
    #[doc(alias = "SCAN_EXCEED_SHARED_PTE")]
    Shared {
        /// How many.
        found: u32,
        /// How many may be.
        most: u32,
    },
    /// Nobody has used any of it of late, or the program has given up this page: not worth the work.
    #[doc(alias = "SCAN_LACK_REFERENCED_PAGE")]
    Unused(VirtAddr),
    /// There is no memory for a huge page and the table that is put aside with it.
    #[doc(alias = "SCAN_ALLOC_HUGE_PAGE_FAIL")]
    OutOfMemory(OutOfMemory),
}

impl From<OutOfMemory> for CollapseError {
    fn from(oom: OutOfMemory) -> Self {
        Self::OutOfMemory(oom)
    }
}

impl Display for CollapseError {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoArea(block) => write!(f, "no area has all of {block}"),
            Self::Unwanted(area) => write!(f, "{area} is to have no huge pages"),
            Self::Empty(block) => write!(f, "nothing is mapped at {block}"),
            Self::NoMemory(va, word) => write!(f, "the entry of {va} is {word:#x}: no own memory"),
            Self::Busy { page, refs, expected } => {
                write!(f, "page {page} has {refs} references, and {expected} are accounted for")
            }
            Self::Locked(page) => write!(f, "page {page} is locked"),
            Self::Holes { found, most } => write!(f, "{found} pages are empty, {most} may be"),
            Self::Shared { found, most } => write!(f, "{found} pages are shared, {most} may be"),
            Self::Unused(va) => write!(f, "nobody uses the memory at {va}"),
            Self::OutOfMemory(oom) => oom.fmt(f),
        }
    }
}

impl Error for CollapseError {}
