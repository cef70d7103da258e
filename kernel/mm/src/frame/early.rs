//! Memory before there is a memmap: the boot's short list of free ranges.
//!
//! Built from what the board reports, minus what is taken; hands out pages for the kernel's own
//! tables and for the memmap; what is left at the end goes to [`super::Frames::add`].
//!
//! Corresponds to Linux's `memblock`.

use abi::{PAGE_SIZE, PhysAddr, PhysRange};
use core::fmt;

/// Ranges the list can hold.
const CAPACITY: usize = 128;

/// What can go wrong before there is a page allocator.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EarlyError {
    /// The board reports more separate ranges than the list holds.
    TooManyRanges {
        /// The one that did not fit.
        range: PhysRange,
    },
    /// No free range has room for this.
    OutOfMemory {
        /// What was asked for.
        bytes: u64,
    },
}

impl fmt::Display for EarlyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooManyRanges { range } => {
                write!(f, "more than {CAPACITY} separate memory ranges; no place for {range}")
            }
            Self::OutOfMemory { bytes } => {
                write!(f, "no free range of {} KiB at boot; give the machine more RAM", bytes >> 10)
            }
        }
    }
}

impl core::error::Error for EarlyError {}

/// The free memory of a booting machine: whole pages, in no particular order, disjoint.
#[doc(alias = "memblock")]
pub struct EarlyMemory {
    ranges: [PhysRange; CAPACITY],
    len: usize,
}

impl EarlyMemory {
    /// No memory yet.
    pub const fn new() -> Self {
        Self { ranges: [PhysRange::new(PhysAddr(0), PhysAddr(0)); CAPACITY], len: 0 }
    }

    /// The free ranges.
    pub fn ranges(&self) -> &[PhysRange] {
        &self.ranges[..self.len]
    }

    /// Adds memory, cut down to whole pages. What is already in the list is not added twice.
    #[doc(alias = "memblock_add")]
    pub fn add(&mut self, range: PhysRange) -> Result<(), EarlyError> {
        // A start within the last page of all has no whole page behind it; it must not wrap to 0.
        let Some(start) = range.start.checked_add(PAGE_SIZE - 1) else { return Ok(()) };
        let range = PhysRange::new(start.align_down(PAGE_SIZE), range.end.align_down(PAGE_SIZE));
        // Taking the overlap out first keeps the list disjoint.
        self.reserve(range)?;
        self.push(range)
    }

    /// Takes every page that `range` touches out of the list: it belongs to somebody.
    #[doc(alias = "memblock_reserve")]
    pub fn reserve(&mut self, range: PhysRange) -> Result<(), EarlyError> {
        if range.is_empty() {
            return Ok(());
        }
        let end =
            range.end.checked_add(PAGE_SIZE - 1).map_or(range.end, |end| end.align_down(PAGE_SIZE));
        let taken = PhysRange::new(range.start.align_down(PAGE_SIZE), end);
        let mut at = 0;
        while at < self.len {
            let free = self.ranges[at];
            if !free.overlaps(&taken) {
                at += 1;
                continue;
            }
            let before = PhysRange::new(free.start, taken.start);
            let after = PhysRange::new(taken.end, free.end);
            self.len -= 1;
            self.ranges[at] = self.ranges[self.len];
            self.push(before)?;
            self.push(after)?;
        }
        Ok(())
    }

    /// Takes `bytes`, rounded up to pages, aligned to `align` (a power of two), from the top of the
    /// highest range that has room: low memory is what devices want.
    #[doc(alias = "memblock_alloc")]
    pub fn take(&mut self, bytes: u64, align: u64) -> Result<PhysRange, EarlyError> {
        let failed = EarlyError::OutOfMemory { bytes };
        let bytes = bytes.checked_next_multiple_of(PAGE_SIZE).ok_or(failed)?;
        let place = self
            .ranges()
            .iter()
            .filter_map(|free| {
                let start =
                    PhysAddr(free.end.0.checked_sub(bytes)?).align_down(align.max(PAGE_SIZE));
                (start >= free.start).then_some(start)
            })
            .max()
            .ok_or(failed)?;
        let range = PhysRange::from_size(place, bytes);
        self.reserve(range)?;
        Ok(range)
    }

    fn push(&mut self, range: PhysRange) -> Result<(), EarlyError> {
        if range.is_empty() {
            return Ok(());
        }
        let place = self.ranges.get_mut(self.len).ok_or(EarlyError::TooManyRanges { range })?;
        *place = range;
        self.len += 1;
        Ok(())
    }
}

impl Default for EarlyMemory {
    fn default() -> Self {
        Self::new()
    }
}
