//! Loads and stores at user addresses, made by the kernel, that report a denied access as an error.
//!
//! Workloads run at EL1 and touch their spaces through this file: a demand fault is handled under
//! the access as if it came from EL0, and what the memory manager denies comes back as
//! [`UserFault`]. Only the user half can be named, and kernel addresses where mappings come and go, so no
//! kernel memory is ever at risk.
//!
//! Context: a thread, with interrupts unmasked if a fault is to be resolved by sleeping. Accesses
//! are aligned to their size or to nothing at all, except the atomic ones, which must be aligned.

use crate::exception::TrapFrame;
use abi::VirtAddr;
use core::arch::global_asm;
use core::ops::Range;
use core::ptr;

global_asm!(include_str!("uaccess.s"));

/// What the routines answer, in x0 and x1.
#[repr(C)]
struct Answer {
    value: u64,
    failed: u64,
}

unsafe extern "C" {
    static uaccess_start: [u8; 0];
    static uaccess_end: [u8; 0];
    fn uaccess_read_u64(va: u64) -> Answer;
    fn uaccess_read_u8(va: u64) -> Answer;
    fn uaccess_write_u64(va: u64, value: u64) -> Answer;
    fn uaccess_write_u8(va: u64, value: u64) -> Answer;
    fn uaccess_compare_exchange_u64(va: u64, expected: u64, new: u64) -> Answer;
    fn uaccess_fetch_add_u64(va: u64, addend: u64) -> Answer;
    fn uaccess_copy_words(to: u64, from: u64, words: usize) -> Answer;
    fn uaccess_fill_words(to: u64, word: u64, words: usize) -> Answer;
    fn uaccess_find_other(va: u64, word: u64, words: usize, found: *mut u64) -> Answer;
}

/// The first address past the user half.
const USER_END: u64 = 1 << 48;

/// The access at `va` was denied, or `va` is not in the user half.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UserFault {
    /// The address that could not be accessed; the first one that the hardware complained about.
    pub va: VirtAddr,
}

/// A word that is not what it should be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mismatch {
    /// Where.
    pub va: VirtAddr,
    /// What was read there.
    pub found: u64,
}

impl Answer {
    fn outcome(self) -> Result<u64, UserFault> {
        match self.failed {
            0 => Ok(self.value),
            _ => Err(UserFault { va: VirtAddr(self.value) }),
        }
    }
}

/// `va`, if `bytes` from there on are in the user half.
#[inline]
fn user(va: VirtAddr, bytes: usize) -> Result<u64, UserFault> {
    match va.0.checked_add(bytes as u64) {
        Some(end) if end <= USER_END => Ok(va.0),
        _ => Err(UserFault { va }),
    }
}

fn routines() -> Range<u64> {
    ptr::addr_of!(uaccess_start) as u64..ptr::addr_of!(uaccess_end) as u64
}

/// Whether `pc` is in a routine that survives a fault. Such a routine makes no frame record, so a
/// backtrace finds its caller in the link register.
pub(crate) fn is_leaf(pc: u64) -> bool {
    routines().contains(&pc)
}

/// Makes the interrupted routine return a failure at FAR; 0 if it was one that can, else 1.
pub(crate) fn fail(frame: &mut TrapFrame) -> u32 {
    if !is_leaf(frame.elr) && !crate::semihosting::is_call(frame.elr) {
        return 1;
    }
    frame.low[0] = frame.far;
    frame.low[1] = 1;
    frame.elr = frame.lr;
    0
}

/// Loads a word.
#[inline]
pub fn read_u64(va: VirtAddr) -> Result<u64, UserFault> {
    let va = user(va, 8)?;
    // SAFETY: the routine only loads, and returns an error if it cannot.
    unsafe { uaccess_read_u64(va) }.outcome()
}

/// Loads a byte.
#[inline]
pub fn read_u8(va: VirtAddr) -> Result<u8, UserFault> {
    let va = user(va, 1)?;
    // SAFETY: as in `read_u64`.
    unsafe { uaccess_read_u8(va) }.outcome().map(|byte| byte as u8)
}

/// Stores a word.
#[inline]
pub fn write_u64(va: VirtAddr, value: u64) -> Result<(), UserFault> {
    let va = user(va, 8)?;
    // SAFETY: no Rust object lies in the user half, so the store changes none.
    unsafe { uaccess_write_u64(va, value) }.outcome().map(|_| ())
}

/// Stores a byte.
#[inline]
pub fn write_u8(va: VirtAddr, value: u8) -> Result<(), UserFault> {
    let va = user(va, 1)?;
    // SAFETY: as in `write_u64`.
    unsafe { uaccess_write_u8(va, value.into()) }.outcome().map(|_| ())
}

/// Stores `new` if the word is `expected`; returns what it was. Acquires and releases.
pub fn compare_exchange_u64(va: VirtAddr, expected: u64, new: u64) -> Result<u64, UserFault> {
    let va = user(va, 8)?;
    // SAFETY: as in `write_u64`.
    unsafe { uaccess_compare_exchange_u64(va, expected, new) }.outcome()
}

/// Adds to a word in one step; returns what it was. Acquires and releases.
pub fn fetch_add_u64(va: VirtAddr, addend: u64) -> Result<u64, UserFault> {
    let va = user(va, 8)?;
    // SAFETY: as in `write_u64`.
    unsafe { uaccess_fetch_add_u64(va, addend) }.outcome()
}

/// Loads as many words as `words` has room for. After a failure some of them are loaded.
pub fn read_words(va: VirtAddr, words: &mut [u64]) -> Result<(), UserFault> {
    let va = user(va, size_of_val(words))?;
    let to = words.as_mut_ptr() as u64;
    // SAFETY: the routine stores to `words`, no further than its length, and loads from user memory.
    unsafe { uaccess_copy_words(to, va, words.len()) }.outcome().map(|_| ())
}

/// Stores all of `words`. After a failure some of them are stored.
pub fn write_words(va: VirtAddr, words: &[u64]) -> Result<(), UserFault> {
    let va = user(va, size_of_val(words))?;
    let from = words.as_ptr() as u64;
    // SAFETY: the routine loads `words` and stores to user memory, as in `write_u64`.
    unsafe { uaccess_copy_words(va, from, words.len()) }.outcome().map(|_| ())
}

/// Stores `word` to `words` places from `va` on.
pub fn fill_words(va: VirtAddr, word: u64, words: usize) -> Result<(), UserFault> {
    let va = user(va, words.saturating_mul(8))?;
    // SAFETY: as in `write_u64`.
    unsafe { uaccess_fill_words(va, word, words) }.outcome().map(|_| ())
}

/// Looks for the first of `words` places from `va` on that does not hold `word`.
pub fn find_other(va: VirtAddr, word: u64, words: usize) -> Result<Option<Mismatch>, UserFault> {
    let va = user(va, words.saturating_mul(8))?;
    let mut found = 0;
    // SAFETY: the routine loads from user memory and stores to `found`.
    let at = unsafe { uaccess_find_other(va, word, words, &raw mut found) }.outcome()?;
    Ok((at != va + 8 * words as u64).then_some(Mismatch { va: VirtAddr(at), found }))
}

/// Stores a word at a kernel address where mappings come and go.
pub fn write_vmalloc_u64(va: VirtAddr, value: u64) -> Result<(), UserFault> {
    if !crate::layout::VMALLOC.contains(va) {
        return Err(UserFault { va });
    }
    // SAFETY: what is mapped there is reached by numbers only: no Rust object lies in it.
    unsafe { uaccess_write_u64(va.0, value) }.outcome().map(|_| ())
}

/// Loads the word at any address of either half, if there is one: for backtraces and the shell.
///
/// Of device memory this is an access like any other, with whatever it does there.
pub fn probe_u64(va: VirtAddr) -> Option<u64> {
    // SAFETY: as in `read_u64`; a load changes no Rust object.
    unsafe { uaccess_read_u64(va.0) }.outcome().ok()
}
