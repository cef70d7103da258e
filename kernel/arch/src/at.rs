//! Asking the CPU's own translation: the AT instruction.
//!
//! Source: Arm ARM, "AT S1E1R" and "PAR_EL1"; Linux `is_spurious_el1_translation_fault`.

use crate::irq;
use aarch64_cpu::asm::barrier;
use aarch64_cpu::registers::{PAR_EL1, Readable, Writeable};
use abi::{Access, PhysAddr, VirtAddr};
use core::arch::asm;

/// PAR_EL1.F: the translation failed.
const FAILED: u64 = 1;
/// PAR_EL1.PA.
const PA_MASK: u64 = 0x000f_ffff_ffff_f000;

/// Walks for `va` as a load or store at EL1 would, and returns PAR_EL1.
///
/// PAR_EL1 is one per CPU, and an exception handler may be here while the code it interrupted is:
/// so interrupts are masked and the register is given back as it was.
fn walk(va: VirtAddr, access: Access) -> u64 {
    let masks = irq::save();
    let before = PAR_EL1.get();
    match access {
        // SAFETY: AT writes PAR_EL1 and nothing else.
        Access::Write => unsafe { asm!("at s1e1w, {}", in(reg) va.0, options(nostack)) },
        // SAFETY: as above.
        Access::Read | Access::Exec => unsafe {
            asm!("at s1e1r, {}", in(reg) va.0, options(nostack));
        },
    }
    barrier::isb(barrier::SY);
    let result = PAR_EL1.get();
    PAR_EL1.set(before);
    irq::restore(masks);
    result
}

/// Whether EL1 could make this access now. Not asked of AT, and not answered: whether `va` may be
/// executed.
pub fn permits(va: VirtAddr, access: Access) -> bool {
    walk(va, access) & FAILED == 0
}

/// The physical address behind `va`, if EL1 may read it.
pub fn physical(va: VirtAddr) -> Option<PhysAddr> {
    let par = walk(va, Access::Read);
    (par & FAILED == 0).then_some(PhysAddr(par & PA_MASK | va.0 & 0xfff))
}
