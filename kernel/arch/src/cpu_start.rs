//! Starting CPUs without firmware: the spin table; and a look at whether a CPU listens to others.
//!
//! Source: Linux, Documentation/arch/arm64/booting.rst ("spin-table"); Cortex-A72 TRM, "CPU Extended
//! Control Register, EL1".

use crate::barrier;
use crate::cache;
use aarch64_cpu::asm;
use abi::{PhysAddr, VirtAddr, VirtRange};
use core::ptr;

/// Releases the CPU that waits on the spin-table slot mapped at `slot`, to `entry`.
///
/// The CPU reads the slot with its caches off, so the line is cleaned to memory, and the clean is
/// finished before the event is sent.
///
/// # Safety
/// `slot` is the mapped `cpu-release-addr` of a CPU that has not been released, aligned to 8 bytes
/// and writable; nobody else accesses it.
pub unsafe fn release(slot: VirtAddr, entry: PhysAddr) {
    // SAFETY: promised by the caller.
    unsafe { ptr::write_volatile(slot.0 as *mut u64, entry.0.to_le()) };
    cache::clean_to_coherency(VirtRange::from_size(slot, 8));
    barrier::complete_system();
    asm::sev();
}

/// Whether this CPU takes part in broadcast maintenance and cache coherency.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Coherency {
    /// The core has no such switch, or firmware has turned it on.
    On,
    /// CPUECTLR_EL1 reads as zero altogether, which no core's does: an emulator that does not model
    /// the register, and always broadcasts.
    NotModelled,
    /// SMPEN is clear: TLBIs of other CPUs do not reach this one. It must not join them.
    Off {
        /// CPUECTLR_EL1.
        cpuectlr: u64,
    },
}

/// Reads SMPEN on the cores that have it.
pub fn coherency() -> Coherency {
    const SMPEN: u64 = 1 << 6;
    if !has_smpen(crate::caps::id_registers().midr) {
        return Coherency::On;
    }
    let cpuectlr: u64;
    // SAFETY: CPUECTLR_EL1, which EL1 may read on exactly the cores that `has_smpen` lists.
    unsafe {
        core::arch::asm!("mrs {}, S3_1_C15_C2_1", out(reg) cpuectlr,
            options(nomem, nostack, preserves_flags));
    }
    match cpuectlr {
        0 => Coherency::NotModelled,
        value if value & SMPEN == 0 => Coherency::Off { cpuectlr },
        _ => Coherency::On,
    }
}

/// Cortex-A53, A57, A72 and A73, where the register lies at one and the same encoding.
const fn has_smpen(midr: u64) -> bool {
    midr >> 24 & 0xff == 0x41 && matches!(midr >> 4 & 0xfff, 0xd03 | 0xd07 | 0xd08 | 0xd09)
}
