//! Registers for tests: a page-aligned block of ordinary memory in place of a device.
//!
//! It remembers the last value written to each register and does nothing else, so tests over it see
//! what a driver leaves behind, not the order in which it got there.

use std::vec;
use std::vec::Vec;

use abi::VirtAddr;

/// The block. Freed with the test, so a driver over it must not outlive it.
pub(crate) struct Ram {
    words: Vec<u64>,
    base: usize,
}

impl Ram {
    const ALIGN: usize = 0x1_0000;

    /// `bytes` of zeros, aligned as the largest register frame.
    pub(crate) fn new(bytes: usize) -> Self {
        let mut words = vec![0u64; (bytes + Self::ALIGN) / 8];
        let base = words.as_mut_ptr().expose_provenance().next_multiple_of(Self::ALIGN);
        Self { words, base }
    }

    /// Where the block is mapped.
    pub(crate) fn base(&self) -> VirtAddr {
        VirtAddr(self.base as u64)
    }

    fn at<T>(&self, offset: usize) -> *mut T {
        let end = self.words.as_ptr() as usize + 8 * self.words.len();
        assert!(self.base + offset + size_of::<T>() <= end, "offset {offset:#x} is outside");
        core::ptr::with_exposed_provenance_mut(self.base + offset)
    }

    /// What the register at `offset` holds.
    pub(crate) fn get<T: Copy>(&self, offset: usize) -> T {
        // SAFETY: `at` checked the bounds; any bits are a value for the integers used here.
        unsafe { self.at::<T>(offset).read_volatile() }
    }

    /// Makes the register at `offset` hold `value`.
    pub(crate) fn set<T: Copy>(&self, offset: usize, value: T) {
        // SAFETY: `at` checked the bounds; the block is only ever accessed by volatile accesses.
        unsafe { self.at::<T>(offset).write_volatile(value) }
    }
}
