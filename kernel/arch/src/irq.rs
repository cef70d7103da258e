//! This CPU's exception masks, and waiting for interrupts.
//!
//! The kernel masks with the I bit alone: no board routes an FIQ here, and an SError is to be heard
//! at once. The masking instructions are compiler barriers too: what is inside a critical section
//! stays inside.

use core::arch::asm;

/// The I bit, where PSTATE's masks are read as DAIF or saved in SPSR_EL1.
const IRQ_MASK: u64 = 1 << 7;
/// D, A, I and F.
const ALL_MASKS: u64 = 0xf << 6;

/// Masks interrupts; returns the masks as they were.
#[inline]
pub fn save() -> u64 {
    let masks: u64;
    // SAFETY: masking interrupts is always sound; the block is a barrier for the compiler.
    unsafe {
        asm!("mrs {}, daif", "msr daifset, #2", out(reg) masks, options(nostack, preserves_flags));
    };
    masks
}

/// Unmasks interrupts if they were unmasked when `masks` was returned by [`save`].
#[inline]
pub fn restore(masks: u64) {
    if masks & IRQ_MASK == 0 {
        unmask();
    }
}

/// Unmasks interrupts. Context: the vectors are in place, and what the handlers need.
#[inline]
pub fn unmask() {
    // SAFETY: a handler finds the stack pointer valid here, as everywhere in compiled code.
    unsafe { asm!("msr daifclr, #2", options(nostack, preserves_flags)) };
}

/// Masks interrupts.
#[inline]
pub fn mask() {
    // SAFETY: as in `save`.
    unsafe { asm!("msr daifset, #2", options(nostack, preserves_flags)) };
}

/// Whether interrupts are masked.
#[inline]
pub fn is_masked() -> bool {
    let masks: u64;
    // SAFETY: reads a register.
    unsafe { asm!("mrs {}, daif", out(reg) masks, options(nomem, nostack, preserves_flags)) };
    masks & IRQ_MASK != 0
}

/// Sleeps until an interrupt is pending, masked or not. The idle loop masks, looks for work, waits,
/// and unmasks: so an interrupt between the look and the wait ends the wait at once.
#[inline]
pub fn wait() {
    // SAFETY: DSB and WFI change nothing. Earlier stores are finished before the CPU sleeps.
    unsafe { asm!("dsb sy", "wfi", options(nostack, preserves_flags)) };
}

/// Lets SErrors and FIQs through, which are reported as deaths.
pub(crate) fn unmask_reports() {
    // SAFETY: the vectors are in place (the one caller sees to it).
    unsafe { asm!("msr daifclr, #5", options(nostack, preserves_flags)) };
}

/// Masks every exception that can be.
#[inline]
pub(crate) fn mask_all() {
    // SAFETY: as in `save`.
    unsafe { asm!("msr daifset, #0xf", options(nostack, preserves_flags)) };
}

/// Makes the masks what they are in `spsr`.
#[inline]
pub(crate) fn set_mask(spsr: u64) {
    let masks = spsr & ALL_MASKS;
    // SAFETY: gives back the masks of a program that this CPU was running; see `unmask`.
    unsafe { asm!("msr daif, {}", in(reg) masks, options(nostack, preserves_flags)) };
}
