//! What a page's words say: whose it is.

use abi::{PAGE_SHIFT, VirtAddr};
use core::fmt;

/// Marks a word as a stamp: the top byte.
const MAGIC: u64 = 0xa5;

/// The owner of a page: which space, which page of it, which time round.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stamp {
    /// The space's number within its workload; 8 bits are kept.
    pub space: u8,
    /// The virtual page number; 32 bits are kept (16 TiB of address space).
    pub page: u32,
    /// How often the page was mapped anew; 16 bits are kept.
    pub version: u16,
}

impl Stamp {
    /// The stamp of the page at `va`.
    pub const fn new(space: u8, va: VirtAddr, version: u16) -> Self {
        Self { space, page: (va.0 >> PAGE_SHIFT) as u32, version }
    }

    /// As a word. Never zero, which is what a fresh page holds.
    pub const fn word(self) -> u64 {
        MAGIC << 56 | (self.space as u64) << 48 | (self.page as u64) << 16 | self.version as u64
    }

    /// What a word says, if it is a stamp.
    pub const fn read(word: u64) -> Option<Self> {
        if word >> 56 != MAGIC {
            return None;
        }
        Some(Self { space: (word >> 48) as u8, page: (word >> 16) as u32, version: word as u16 })
    }
}

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let va = u64::from(self.page) << PAGE_SHIFT;
        write!(f, "space {} page {va:#x} version {}", self.space, self.version)
    }
}

/// A word in words.
pub(crate) struct Content(pub(crate) u64);

impl fmt::Display for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0, Stamp::read(self.0)) {
            (0, _) => write!(f, "zero"),
            (_, Some(stamp)) => write!(f, "{stamp}"),
            (word, None) => write!(f, "{word:#018x}, which is no stamp"),
        }
    }
}
