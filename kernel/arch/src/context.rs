//! Switching between kernel threads.
//!
//! Only what a function call preserves is kept; the rest is on the thread's stack already. A thread
//! that an interrupt preempts switches from within the interrupt's handler, so this one switch
//! serves both. Nothing of the user half is saved: that belongs to whoever owns address spaces.
//!
//! Source: Arm, "Procedure Call Standard for the Arm 64-bit Architecture"; Linux `cpu_switch_to`.

use crate::percpu::{CpuLocal, floor_of};
use abi::VirtRange;
use core::arch::naked_asm;
use core::mem::offset_of;

/// Where a thread that does not run is to go on.
///
/// Having one that was saved by [`switch`], or made by [`Context::new`], means that its stack holds
/// all else the thread needs.
#[derive(Debug)]
#[repr(C)]
pub struct Context {
    /// x19 to x30.
    saved: [u64; 12],
    sp: u64,
    /// Constant; the vectors check against it while the thread runs.
    stack_floor: u64,
    /// Constant.
    stack: [u64; 2],
}

impl Context {
    /// A thread that will begin in `entry(argument)`, on an empty `stack`, with interrupts masked:
    /// `entry` unmasks them once it has done what the scheduler owes.
    ///
    /// More than 128 KiB of a stack are not used.
    pub fn new(stack: VirtRange, entry: extern "C" fn(usize) -> !, argument: usize) -> Self {
        let mut saved = [0; 12];
        saved[0] = entry as *const () as u64;
        saved[1] = argument as u64;
        // x29 stays 0, which ends backtraces.
        saved[11] = thread_start as *const () as u64;
        let sp = stack.end.align_down(16).0;
        Self { saved, sp, ..Self::running(stack) }
    }

    /// The context of the thread that runs now, on `stack`: to be filled by its first [`switch`].
    pub fn running(stack: VirtRange) -> Self {
        Self {
            saved: [0; 12],
            sp: 0,
            stack_floor: floor_of(stack),
            stack: [stack.start.0, stack.end.0],
        }
    }
}

/// The first code of a thread: entry in x19, its argument in x20.
#[unsafe(naked)]
extern "C" fn thread_start() {
    naked_asm!("mov x0, x20", "blr x19", "brk #1")
}

/// Leaves the running thread, whose state goes to `from`, and goes on where `to` was left. Returns
/// when somebody switches back, perhaps on another CPU.
///
/// Contains a DSB ISH, so that a TLBI which the leaving thread issued is complete before the thread
/// can go on elsewhere and rely on it.
///
/// # Safety
/// Interrupts are masked. `from` and `to` are valid, and nobody else uses either: `to` is not
/// running, and nobody may switch to `from` before this switch is over (which the code that runs
/// next may tell them).
#[unsafe(naked)]
pub unsafe extern "C" fn switch(from: *mut Context, to: *const Context) {
    naked_asm!(
        "mov x8, sp",
        "stp x19, x20, [x0]",
        "stp x21, x22, [x0, #16]",
        "stp x23, x24, [x0, #32]",
        "stp x25, x26, [x0, #48]",
        "stp x27, x28, [x0, #64]",
        "stp x29, x30, [x0, #80]",
        "str x8, [x0, #{sp}]",
        "dsb ish",
        // The vectors' idea of the stack and the stack change together: everything is masked but
        // SErrors, which end the CPU anyway.
        "mrs x9, tpidr_el1",
        "ldp x8, x10, [x1, #{sp}]",
        "ldp x11, x12, [x1, #{stack}]",
        "str x10, [x9, #{local_floor}]",
        "mov sp, x8",
        "stp x11, x12, [x9, #{local_stack}]",
        "ldp x19, x20, [x1]",
        "ldp x21, x22, [x1, #16]",
        "ldp x23, x24, [x1, #32]",
        "ldp x25, x26, [x1, #48]",
        "ldp x27, x28, [x1, #64]",
        "ldp x29, x30, [x1, #80]",
        "ret",
        sp = const offset_of!(Context, sp),
        stack = const offset_of!(Context, stack),
        local_floor = const offset_of!(CpuLocal, stack_floor),
        local_stack = const offset_of!(CpuLocal, stack),
    )
}

const _: () = assert!(offset_of!(Context, stack_floor) == offset_of!(Context, sp) + 8);
