//! Cache maintenance by address.
//!
//! Owed in three places: what a CPU with its caches off, or a device that does not snoop, is going
//! to read is cleaned; what such an observer has written is invalidated before it is read; and new
//! instructions are made visible to the fetcher. Nothing else maintains caches.
//!
//! Source: Arm ARM, "Cache maintenance operations", "CTR_EL0", "DCZID_EL0".

use crate::barrier;
use abi::VirtRange;
use core::arch::asm;
use pte::{Caps, Scope};

/// CTR_EL0. `aarch64-cpu` does not define it.
fn type_register() -> u64 {
    let value: u64;
    // SAFETY: reads a register that is always there.
    unsafe { asm!("mrs {}, ctr_el0", out(reg) value, options(nomem, nostack, preserves_flags)) };
    value
}

/// Bytes in the smallest data cache line on the way to memory (DminLine).
fn data_line() -> u64 {
    4 << (type_register() >> 16 & 0xf)
}

/// Bytes in the smallest instruction cache line (IminLine).
fn instruction_line() -> u64 {
    4 << (type_register() & 0xf)
}

fn lines(range: VirtRange, line: u64) -> impl Iterator<Item = u64> {
    (range.start.align_down(line).0..range.end.0).step_by(line as usize)
}

/// Writes what the caches hold of `range` to the point of coherency, and waits.
pub fn clean_to_coherency(range: VirtRange) {
    for va in lines(range, data_line()) {
        // SAFETY: cleaning changes no value; `range` is mapped, says the caller by naming it, and
        // an address that is not causes a reported fault.
        unsafe { asm!("dc cvac, {}", in(reg) va, options(nostack, preserves_flags)) };
    }
    barrier::complete_system();
}

/// As [`clean_to_coherency`], and drops the lines: the next load comes from memory.
pub fn clean_and_invalidate(range: VirtRange) {
    for va in lines(range, data_line()) {
        // SAFETY: as in `clean_to_coherency`; what is dropped has been written.
        unsafe { asm!("dc civac, {}", in(reg) va, options(nostack, preserves_flags)) };
    }
    barrier::complete_system();
}

/// Makes instructions that were stored in `range` the ones that every CPU fetches. Another CPU that
/// is already running there needs a context synchronisation of its own.
pub fn synchronize_text(range: VirtRange, caps: &Caps) {
    if !caps.idc {
        for va in lines(range, data_line()) {
            // SAFETY: as in `clean_to_coherency`.
            unsafe { asm!("dc cvau, {}", in(reg) va, options(nostack, preserves_flags)) };
        }
    }
    barrier::complete(Scope::InnerShareable);
    if !caps.dic {
        for va in lines(range, instruction_line()) {
            // SAFETY: only makes the fetcher ask memory again.
            unsafe { asm!("ic ivau, {}", in(reg) va, options(nostack, preserves_flags)) };
        }
        barrier::complete(Scope::InnerShareable);
    }
    barrier::synchronize_context();
}

/// Bytes that one DC ZVA clears; `None` where it is prohibited.
pub fn zero_block() -> Option<u64> {
    let value: u64;
    // SAFETY: reads a register that is always there.
    unsafe { asm!("mrs {}, dczid_el0", out(reg) value, options(nomem, nostack, preserves_flags)) };
    (value & 1 << 4 == 0).then_some(4 << (value & 0xf))
}
