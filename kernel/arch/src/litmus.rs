//! Running a litmus thread: a few instructions that are data, until they end or fault.
//!
//! The instructions lie in the user half, in [`CODE`], and so do all the addresses that they are
//! given; no kernel code is ever there, so an exception from there is a litmus thread's and nobody
//! else's. What the thread does to itself is recorded in its [`Thread`] and survived: a fault, an
//! undefined instruction, no end. It may be interrupted and preempted like any other code.
//!
//! What ends a thread is an SVC ([`END`]), which leaves its registers alone. [`RESUME`] stands for the
//! ERET of a thread's own fault handler, with [`LINK_REGISTER`] for its ELR_EL1: the real one belongs
//! to whichever exception comes next, and the next may be an interrupt.
//!
//! Not prevented here: a store to a kernel address, which a thread at EL1 may make by computing
//! one; and whatever becomes reachable by a store to a translation table.
//!
//! Source: Arm ARM, "Exception entry", "SVC", "ESR_EL1".

use crate::exception::{FRAME_BYTES, Syndrome, TrapFrame};
use crate::{barrier, irq};
use aarch64_cpu::registers::{Readable, TTBR0_EL1, Writeable};
use abi::{Access, VirtAddr, VirtRange};
use core::arch::{asm, global_asm};
use core::mem::offset_of;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Where litmus threads' instructions lie, and nothing else.
pub const CODE: VirtRange = VirtRange::new(VirtAddr(0x7000_0000_0000), VirtAddr(0x7000_0010_0000));

/// The instruction that ends a thread: `svc #0`.
pub const END: u32 = svc(0);
/// The instruction that goes on where [`LINK_REGISTER`] says: `svc #1`, for a fault handler.
pub const RESUME: u32 = svc(1);
/// The system register that a fault handler finds where ELR_EL1 would be: TPIDR_EL0, as `op0` to
/// `op2` in bits 5 to 20 of an MSR or MRS.
pub const LINK_REGISTER: u32 = 0b11 << 19 | 0b011 << 16 | 13 << 12 | 2 << 5;

const fn svc(number: u32) -> u32 {
    0xd400_0001 | number << 5
}

/// Faults that one run of a thread can note.
pub const MAX_FAULTS: usize = 4;
/// Faults after which a thread that tries again and again is taken to be stuck.
const TRIES: u64 = 1000;

/// What follows a fault.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(u64)]
pub enum AfterFault {
    /// The thread's end.
    #[default]
    End,
    /// The same instruction once more, until it succeeds.
    Again,
    /// The next instruction.
    Next,
    /// The thread's handler.
    Handler,
}

/// One fault of a thread.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(C)]
pub struct ThreadFault {
    /// The instruction.
    pub pc: u64,
    /// The address that it accessed, where there is one.
    pub far: u64,
    /// ESR_EL1.
    pub esr: u64,
}

impl ThreadFault {
    /// Why.
    pub const fn syndrome(&self) -> Syndrome {
        Syndrome(self.esr)
    }
}

/// How a run of a thread ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(u64)]
pub enum End {
    /// By its last instruction.
    #[default]
    Done,
    /// By a fault.
    Fault,
    /// It tried the same instruction again and again, in vain.
    Stuck,
    /// By an exception that no litmus thread should raise; it is the last of the faults.
    Unexpected,
    /// It ran until [`stop`].
    Stopped,
}

/// One run of a thread: what it begins with, and what it left.
#[derive(Clone, Debug, Default)]
#[repr(C)]
pub struct Thread {
    /// x0 to x30: before the run as it begins, after it as it ended.
    pub x: [u64; 31],
    /// Where a fault handler is; looked at with [`AfterFault::Handler`] only.
    pub handler: u64,
    /// What follows a fault.
    pub after_fault: AfterFault,
    /// How it ended.
    pub end: End,
    /// How many faults there were, those that found no place among `faults` included.
    pub nr_faults: u64,
    /// The first faults.
    pub faults: [ThreadFault; MAX_FAULTS],
}

/// Which exception level a thread runs at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum At {
    /// Without privilege.
    El0,
    /// As the kernel.
    El1,
}

/// Bytes of the stack that `litmus.s` uses, and what is where in them.
const ENTER_FRAME: u64 = 0x70;
const RECORD: u64 = 0;
const SCRATCH: u64 = 8;

global_asm!(
    include_str!("litmus.s"),
    FRAME = const ENTER_FRAME,
    RECORD = const RECORD,
    SCRATCH = const SCRATCH,
);

// `litmus.s` knows the registers to come first.
const _: () = assert!(offset_of!(Thread, x) == 0 && ENTER_FRAME.is_multiple_of(16));

unsafe extern "C" {
    fn litmus_enter(thread: *mut Thread, pc: u64, spsr: u64);
    static litmus_leave: [u8; 0];
}

/// PSTATE.M: EL0; EL1 with its own stack pointer.
const SPSR_EL0: u64 = 0b0000;
const SPSR_EL1: u64 = 0b0101;
/// D, A, I and F.
const MASKED: u64 = 0xf << 6;

/// Whether running threads are to end, wherever they are.
static STOP: AtomicBool = AtomicBool::new(false);

/// Makes every running thread end at the next interrupt that its CPU takes, and every one to come
/// before it begins; or, with `false`, lets them run again.
pub fn stop(stop: bool) {
    STOP.store(stop, Ordering::Release);
}

/// Runs the thread at `pc` until it ends.
///
/// Context: thread, interrupts unmasked, bound to its CPU; the user half is the test's.
///
/// # Safety
/// `pc` is in [`CODE`], and what this CPU fetches there are instructions that change nothing but
/// their registers, memory that is nobody else's, translation of the user half, and TTBR0_EL1.
pub unsafe fn run(thread: &mut Thread, pc: VirtAddr, at: At) {
    thread.nr_faults = 0;
    if STOP.load(Ordering::Acquire) {
        thread.end = End::Stopped;
        return;
    }
    let mode = match at {
        At::El0 => SPSR_EL0,
        At::El1 => SPSR_EL1,
    };
    let masks = irq::save();
    // SAFETY: the routine gives back every register that a call preserves, and the exclusive
    // reference lasts until it does.
    unsafe { litmus_enter(thread, pc.0, mode | masks) };
    irq::set_mask(masks);
}

/// Whether the instruction at `pc` is a litmus thread's.
#[inline(always)]
pub(crate) const fn owns(pc: u64) -> bool {
    pc.wrapping_sub(CODE.start.0) < CODE.end.0 - CODE.start.0
}

/// The record of the interrupted thread.
fn interrupted(frame: &mut TrapFrame) -> &mut Thread {
    let sp = core::ptr::from_mut(frame) as u64 + FRAME_BYTES;
    let record = (sp + RECORD) as *const *mut Thread;
    // SAFETY: the frame was pushed while a thread ran, and a thread leaves the stack as `litmus_enter`
    // left it, with the record's address at its low end.
    let thread = unsafe { *record };
    // SAFETY: `run` lends the record to the thread until it ends, and the thread itself knows nothing
    // of it.
    unsafe { &mut *thread }
}

/// Ends the interrupted thread.
fn leave(frame: &mut TrapFrame, end: End) {
    interrupted(frame).end = end;
    frame.elr = core::ptr::addr_of!(litmus_leave) as u64;
    frame.spsr = SPSR_EL1 | MASKED;
}

/// A synchronous exception that a thread has caused.
#[cold]
pub(crate) fn exception(frame: &mut TrapFrame, esr: u64, far: u64) {
    const EC_SVC: u64 = 0x15;
    let syndrome = Syndrome(esr);
    if syndrome.class() == EC_SVC {
        match svc((syndrome.specific() & 0xffff) as u32) {
            END => leave(frame, End::Done),
            RESUME if owns(link()) => frame.elr = link(),
            // Whatever it did there, nobody would know it for a thread's.
            RESUME => {
                let fault = ThreadFault { pc: frame.elr - 4, far: link(), esr };
                let thread = interrupted(frame);
                if let Some(place) = thread.faults.get_mut(thread.nr_faults as usize) {
                    *place = fault;
                    thread.nr_faults += 1;
                }
                leave(frame, End::Unexpected);
            }
            _ => leave(frame, End::Unexpected),
        }
        return;
    }
    let pc = frame.elr;
    let thread = interrupted(frame);
    if let Some(place) = thread.faults.get_mut(thread.nr_faults as usize) {
        *place = ThreadFault { pc, far, esr };
    }
    thread.nr_faults += 1;
    // Neither is a fetch that fails: the code is there.
    if !matches!(syndrome.access(), Some(Access::Read | Access::Write)) {
        return leave(frame, End::Unexpected);
    }
    match thread.after_fault {
        AfterFault::End => leave(frame, End::Fault),
        AfterFault::Again if thread.nr_faults < TRIES => {}
        AfterFault::Again => leave(frame, End::Stuck),
        AfterFault::Next => frame.elr = pc + 4,
        AfterFault::Handler => {
            frame.elr = thread.handler;
            set_link(pc);
        }
    }
}

/// The end of an interrupt that a thread was interrupted by.
#[cold]
pub(crate) fn interrupt(frame: &mut TrapFrame) {
    if STOP.load(Ordering::Acquire) {
        leave(frame, End::Stopped);
    }
}

/// A lower half that belongs to a litmus thread: what TTBR0_EL1 holds while that runs.
#[derive(Debug)]
pub struct UserHalf {
    own: AtomicU64,
    before: AtomicU64,
}

impl UserHalf {
    /// The half that `ttbr` leads to: a root, and an ASID in the upper 16 bits.
    pub const fn new(ttbr: u64) -> Self {
        Self { own: AtomicU64::new(ttbr), before: AtomicU64::new(0) }
    }

    /// Makes it this CPU's. Context: interrupts masked; between this and [`UserHalf::leave`] the thread
    /// may not change CPUs.
    pub fn enter(&self) {
        self.before.store(TTBR0_EL1.get(), Ordering::Relaxed);
        set_ttbr(self.own.load(Ordering::Relaxed));
    }

    /// Gives this CPU back the half it had, and keeps what the thread has made of its own.
    pub fn leave(&self) {
        self.own.store(TTBR0_EL1.get(), Ordering::Relaxed);
        set_ttbr(self.before.load(Ordering::Relaxed));
    }

    /// Makes it the half that `ttbr` leads to. Context: entered.
    pub fn reset(&self, ttbr: u64) {
        if TTBR0_EL1.get() != ttbr {
            set_ttbr(ttbr);
        }
    }
}

fn set_ttbr(ttbr: u64) {
    TTBR0_EL1.set(ttbr);
    barrier::synchronize_context();
}

fn link() -> u64 {
    let link: u64;
    // SAFETY: reads a register that nothing else uses while a thread runs.
    unsafe { asm!("mrs {}, tpidr_el0", out(reg) link, options(nomem, nostack, preserves_flags)) };
    link
}

fn set_link(link: u64) {
    // SAFETY: writes a register that nothing else uses while a thread runs.
    unsafe { asm!("msr tpidr_el0, {}", in(reg) link, options(nomem, nostack, preserves_flags)) };
}
