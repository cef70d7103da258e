//! From a saved frame to the hook that handles it.

use super::{
    Cause, Death, FRAME_BYTES, Fault, FaultKind, FaultVerdict, Handlers, Syndrome, TrapFrame,
};
use crate::percpu::{self, CpuLocal, SPARE_BYTES, STACK_SHIFT};
use crate::{at, irq, litmus, semihosting, uaccess};
use aarch64_cpu::asm::barrier;
use aarch64_cpu::registers::{VBAR_EL1, Writeable};
use abi::VirtAddr;
use core::arch::{asm, global_asm};
use core::mem::offset_of;
use core::ops::Range;
use core::ptr;
use core::sync::atomic::{AtomicPtr, Ordering};

global_asm!(
    include_str!("vectors.s"),
    FRAME = const FRAME_BYTES,
    STACK_FLOOR = const offset_of!(CpuLocal, stack_floor),
    STACK_SHIFT = const STACK_SHIFT,
    SPARE_TOP = const offset_of!(CpuLocal, spare_top),
    SPARE_BYTES = const SPARE_BYTES,
    LOST_VECTOR = const offset_of!(CpuLocal, lost_vector),
    LOST_SP = const offset_of!(CpuLocal, lost_sp),
    STACK_LOST = const Cause::STACK_LOST,
    synchronous = sym synchronous,
    irq = sym interrupt,
    died = sym died,
    last_resort = sym last_resort,
);

// The offsets that `vectors.s` writes as numbers.
const _: () = {
    assert!(offset_of!(TrapFrame, lr) == 0x98);
    assert!(offset_of!(TrapFrame, fp) == 0xa0 && offset_of!(TrapFrame, elr) == 0xa8);
    assert!(offset_of!(TrapFrame, spsr) == 0xb0 && offset_of!(TrapFrame, esr) == 0xb8);
    assert!(offset_of!(TrapFrame, far) == 0xc0 && offset_of!(TrapFrame, sp) == 0xc8);
    assert!(offset_of!(TrapFrame, high) == 0xd0);
    assert!(SPARE_BYTES.is_multiple_of(4096), "an immediate of `sub`");
};

unsafe extern "C" {
    static exception_vectors: [u8; 0x800];
    static exception_vectors_end: [u8; 0];
}

static HANDLERS: AtomicPtr<Handlers> = AtomicPtr::new(ptr::null_mut());

/// Makes `handlers` those of all CPUs. Until then each fault and interrupt is a death, and each
/// death ends in [`park`].
pub fn install(handlers: &'static Handlers) {
    HANDLERS.store(ptr::from_ref(handlers).cast_mut(), Ordering::Release);
}

fn handlers() -> Option<&'static Handlers> {
    // SAFETY: the pointer is null or came from a `&'static Handlers` in `install`.
    unsafe { HANDLERS.load(Ordering::Acquire).as_ref() }
}

/// The text of the vectors, where a frame record is followed by that of an interrupted program.
pub(crate) fn vectors() -> Range<u64> {
    ptr::addr_of!(exception_vectors) as u64..ptr::addr_of!(exception_vectors_end) as u64
}

/// Points this CPU at the vectors. Its [`CpuLocal`] must be in TPIDR_EL1: they check the stack by it.
pub(crate) fn enable() {
    VBAR_EL1.set(ptr::addr_of!(exception_vectors) as u64);
    barrier::isb(barrier::SY);
}

/// A synchronous exception. Answers 0 where the frame may be returned to.
///
/// Context: all exceptions masked; stays so at the return.
extern "C" fn synchronous(frame: &mut TrapFrame, esr: u64, far: u64) -> u32 {
    if litmus::owns(frame.elr) {
        litmus::exception(frame, esr, far);
        return 0;
    }
    let esr = Syndrome(esr);
    match esr.access() {
        Some(access) if esr.is_translation_matter() => {
            translation(frame, &Fault { va: VirtAddr(far), access, esr })
        }
        // A HLT that no debugger wanted: semihosting is absent, and its routine is told so.
        None if esr.class() == super::syndrome::EC_UNKNOWN && semihosting::is_call(frame.elr) => {
            uaccess::fail(frame)
        }
        _ => 1,
    }
}

/// Bit 55 chooses between TTBR0 and TTBR1, whatever is above it.
const fn is_user(va: VirtAddr) -> bool {
    va.0 & 1 << 55 == 0
}

#[inline]
fn translation(frame: &mut TrapFrame, fault: &Fault) -> u32 {
    if !is_user(fault.va) {
        return kernel_translation(frame, fault);
    }
    let Some(handlers) = handlers() else { return uaccess::fail(frame) };
    // As it was: the handler may sleep if the interrupted thread might have.
    irq::set_mask(frame.spsr);
    let verdict = (handlers.fault)(fault, frame);
    irq::mask_all();
    match verdict {
        FaultVerdict::Resolved => 0,
        FaultVerdict::Fixup => uaccess::fail(frame),
        FaultVerdict::Unhandled => 1,
    }
}

/// The kernel's half has no demand paging. But a CPU that has learnt of a new mapping without a
/// context synchronisation may have walked too early, so the walk is repeated before it counts.
#[cold]
#[doc(alias = "is_spurious_el1_translation_fault")]
fn kernel_translation(frame: &mut TrapFrame, fault: &Fault) -> u32 {
    if fault.kind() == FaultKind::Translation && at::permits(fault.va, fault.access) {
        percpu::this().count_spurious_fault();
        return 0;
    }
    uaccess::fail(frame)
}

/// An interrupt. Answers as [`synchronous`] does.
extern "C" fn interrupt(frame: &mut TrapFrame) -> u32 {
    let Some(handlers) = handlers() else { return 1 };
    // The exception masked SErrors too. The handler may switch to a thread that left by itself, with
    // interrupts masked and no more: it must not go on with errors unheard.
    irq::unmask_reports();
    (handlers.irq)(frame);
    if litmus::owns(frame.elr) {
        litmus::interrupt(frame);
    }
    0
}

/// Reports a death. A death in the report is reported once more; after that the CPU just stops.
extern "C" fn died(frame: &TrapFrame, cause: u64) -> ! {
    let local = percpu::this();
    let nested = local.count_death();
    match handlers() {
        Some(handlers) if nested < 2 => {
            let cause = Cause::from_word(cause);
            let (cpu, stack) = (local.id(), local.stack());
            (handlers.dead)(&Death { cpu, cause, nested, stack, frame })
        }
        _ => last_resort(),
    }
}

/// The end where even a report is too much: fails the run if somebody listens, and stops.
///
/// Uses hardly any stack. Does not return to whoever called it, whatever state that is in.
extern "C" fn last_resort() -> ! {
    irq::mask_all();
    if percpu::this().is_first_last_resort() && semihosting::known_present() {
        semihosting::exit(semihosting::STATUS_DEAD);
    }
    park()
}

/// Dies by an undefined instruction: to see that report.
pub fn undefined() -> ! {
    // SAFETY: the architecture keeps this encoding undefined for ever, and its exception is a death.
    unsafe { asm!("udf #0", options(noreturn)) }
}

/// Stops this CPU for good.
pub fn park() -> ! {
    loop {
        // SAFETY: with everything masked, WFI only waits; no pending interrupt is ever taken.
        unsafe { asm!("msr daifset, #0xf", "wfi", options(nostack)) };
    }
}
