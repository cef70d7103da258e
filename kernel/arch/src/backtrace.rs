//! Who called whom, by the chain of frame records.
//!
//! Everything is compiled with frame pointers: x29 points at a pair of words, the caller's x29 and
//! the return address. The vectors make such a record of an interrupted program too, so the chain
//! runs through exceptions. It ends with a zero.
//!
//! The chain is not trusted: it is bounded, and each word is loaded by a routine that survives a
//! fault. Source: Arm, "Procedure Call Standard for the Arm 64-bit Architecture", "The Frame
//! Pointer".

use crate::layout::{DEVICE_BASE, KIMAGE_BASE};
use core::ops::Range;

/// The most frames that are followed.
const MAX_FRAMES: usize = 48;

/// An iterator over program counters, the innermost first.
///
/// Each is the address of the instruction that was being executed: in a caller, that of its call,
/// not the one it returns to, so that line tables give the call's line; in an interrupted program,
/// where it was interrupted.
pub struct Backtrace<R> {
    read: R,
    vectors: Range<u64>,
    /// The record that comes next was made by the vectors, and holds no return address.
    interrupted: bool,
    /// Yielded before the chain: the interrupted instruction, and its leaf routine's return address.
    known: [Option<u64>; 2],
    record: u64,
    left: usize,
    /// The chain may go down once, from a spare stack to the one that overflowed.
    may_descend: bool,
}

impl<R: Fn(u64) -> Option<u64>> Backtrace<R> {
    /// From the frame record at `record` on, by `read`, which answers `None` where nothing is.
    /// `known` comes first. `vectors` is the code whose callers were interrupted.
    pub fn new(known: [Option<u64>; 2], record: u64, vectors: Range<u64>, read: R) -> Self {
        Self {
            read,
            vectors,
            interrupted: false,
            known,
            record,
            left: MAX_FRAMES,
            may_descend: true,
        }
    }
}

impl<R: Fn(u64) -> Option<u64>> Iterator for Backtrace<R> {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        if let Some(pc) = self.known.iter_mut().find_map(Option::take) {
            return Some(pc);
        }
        // A stack is in the image (boot, spare) or in the stacks' region: never in device memory,
        // where a load might do something.
        let possible = KIMAGE_BASE.0..DEVICE_BASE.0;
        self.left = self.left.checked_sub(1)?;
        if !self.record.is_multiple_of(8) || !possible.contains(&self.record) {
            return None;
        }
        let caller = (self.read)(self.record)?;
        let return_address = (self.read)(self.record + 8)?;
        if return_address == 0 {
            return None;
        }
        if caller <= self.record && caller != 0 {
            if !self.may_descend {
                self.left = 0;
            }
            self.may_descend = false;
        }
        self.record = caller;
        let pc = return_address.wrapping_sub(if self.interrupted { 0 } else { 4 });
        self.interrupted = self.vectors.contains(&pc);
        Some(pc)
    }
}

#[cfg(target_os = "none")]
pub use target::{here, of_death, of_frame};

#[cfg(target_os = "none")]
mod target {
    use super::Backtrace;
    use crate::exception::{self, Death, TrapFrame};
    use crate::uaccess;
    use abi::VirtAddr;
    use core::arch::asm;

    fn read(address: u64) -> Option<u64> {
        uaccess::probe_u64(VirtAddr(address))
    }

    /// The callers of the executing function, itself included.
    #[inline(always)]
    pub fn here() -> Backtrace<fn(u64) -> Option<u64>> {
        let (record, pc): (u64, u64);
        // SAFETY: reads two registers.
        unsafe {
            asm!("mov {}, x29", "adr {}, .", out(reg) record, out(reg) pc,
                options(nomem, nostack, preserves_flags));
        };
        Backtrace::new(
            [Some(pc), None],
            record,
            exception::vectors(),
            read as fn(u64) -> Option<u64>,
        )
    }

    /// The interrupted instruction and its callers.
    pub fn of_frame(frame: &TrapFrame) -> Backtrace<fn(u64) -> Option<u64>> {
        let caller = uaccess::is_leaf(frame.elr).then(|| frame.lr.wrapping_sub(4));
        Backtrace::new([Some(frame.elr), caller], frame.fp, exception::vectors(), read)
    }

    /// The instruction that died and its callers.
    pub fn of_death(death: &Death<'_>) -> Backtrace<fn(u64) -> Option<u64>> {
        of_frame(death.frame)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use std::vec::Vec;

    const STACK: u64 = 0xffff_a000_0000_1000;
    const VECTORS: Range<u64> = 0x8000..0x8800;

    fn walk(words: &[(u64, u64)], record: u64) -> Vec<u64> {
        let words: BTreeMap<u64, u64> = words.iter().copied().collect();
        Backtrace::new([None; 2], record, VECTORS, |at| words.get(&at).copied()).collect()
    }

    #[test]
    fn chain_is_followed_to_its_zero() {
        let words =
            [(STACK, STACK + 32), (STACK + 8, 0x1004), (STACK + 32, 0), (STACK + 40, 0x2004)];
        assert_eq!(walk(&words, STACK), [0x1000, 0x2000]);
    }

    #[test]
    fn interrupted_instruction_is_given_exactly() {
        let words = [
            (STACK, STACK + 16),
            (STACK + 8, VECTORS.start + 0x204),
            (STACK + 16, STACK + 32),
            (STACK + 24, 0x2000),
            (STACK + 32, 0),
            (STACK + 40, 0x3004),
        ];
        assert_eq!(walk(&words, STACK), [VECTORS.start + 0x200, 0x2000, 0x3000]);
    }

    #[test]
    fn known_places_come_first() {
        let none = |_| None;
        let trace = Backtrace::new([Some(7), Some(9)], 0, VECTORS, none);
        assert_eq!(trace.collect::<Vec<_>>(), [7, 9]);
    }

    #[test]
    fn broken_chain_ends_the_walk_without_a_load() {
        for record in [1, STACK + 4, 0xffff_c000_0900_0000, 0x1000] {
            let trace = Backtrace::new([None; 2], record, VECTORS, |at| panic!("loaded {at:#x}"));
            assert_eq!(trace.count(), 0, "{record:#x}");
        }
    }

    #[test]
    fn unreadable_record_ends_the_walk() {
        assert!(walk(&[(STACK, STACK + 32)], STACK).is_empty());
    }

    #[test]
    fn loop_ends() {
        let words = [(STACK, STACK), (STACK + 8, 0x1004)];
        assert_eq!(walk(&words, STACK).len(), 2);
    }

    #[test]
    fn chain_may_descend_once_from_the_spare_stack() {
        let spare = STACK + 0x10000;
        let words = [
            (spare, STACK),
            (spare + 8, 0x1004),
            (STACK, STACK + 16),
            (STACK + 8, 0x2004),
            (STACK + 16, STACK),
            (STACK + 24, 0x3004),
        ];
        assert_eq!(walk(&words, spare), [0x1000, 0x2000, 0x3000]);
    }

    #[test]
    fn endless_chain_is_cut() {
        let trace = Backtrace::new([None; 2], STACK, VECTORS, |at| Some(at + 16));
        assert_eq!(trace.count(), MAX_FRAMES);
    }
}
