//! Setting up the executing CPU, once it runs Rust at its linked address.

use crate::caps::{self, Lack};
use crate::cpu_start::{Coherency, coherency};
use crate::{barrier, exception, irq, percpu, pmu, timer, tlbi};
use aarch64_cpu::registers::{CPACR_EL1, MDSCR_EL1, Readable, SCTLR_EL1, TCR_EL1, Writeable};
use abi::{CpuId, MAX_CPUS, VirtRange};
use core::arch::asm;
use core::fmt;
use pte::{Caps, regs};

/// Why a CPU cannot take part.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CpuError {
    /// There is no place for its data: `MAX_CPUS` is the limit.
    TooMany(usize),
    /// It can do less than what the kernel already uses.
    Lacks(Lack),
    /// Other CPUs' TLBIs would not reach it.
    NotCoherent {
        /// CPUECTLR_EL1, whose SMPEN bit is clear.
        cpuectlr: u64,
    },
}

impl fmt::Display for CpuError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooMany(cpu) => write!(f, "CPU {cpu} is beyond the limit of {MAX_CPUS}"),
            Self::Lacks(lack) => write!(f, "the CPU does not fit the others: {lack}"),
            Self::NotCoherent { cpuectlr } => {
                write!(f, "firmware left SMPEN clear (CPUECTLR_EL1 = {cpuectlr:#x})")
            }
        }
    }
}

/// Makes the executing CPU number `cpu`, running on `stack`, with `used` as the abilities that the
/// kernel relies on: [`caps::read`] on the first CPU (or less, to try paths out), and what the first
/// one got on all others.
///
/// Afterwards exceptions arrive, SErrors and FIQs among them; interrupts stay masked. On an error
/// only the vectors and the CPU's data are set up: enough to report it, and to
/// [park](crate::exception::park).
pub fn init_cpu(cpu: usize, stack: VirtRange, used: &Caps) -> Result<(), CpuError> {
    if cpu >= MAX_CPUS {
        return Err(CpuError::TooMany(cpu));
    }
    percpu::install(CpuId(cpu as u16), stack);
    exception::enable();
    let id = caps::id_registers();
    if !id.has_4k_granule() {
        return Err(CpuError::Lacks(Lack::Granule));
    }
    caps::fits(&id.caps(), used).map_err(CpuError::Lacks)?;
    if let Coherency::Off { cpuectlr } = coherency() {
        return Err(CpuError::NotCoherent { cpuectlr });
    }
    control_translation(used);
    // Workloads access user pages from EL1.
    if id.caps().pan {
        // SAFETY: MSR PAN, #0, which the assembler's base architecture does not name.
        unsafe { asm!(".inst 0xd500409f", options(nostack, preserves_flags)) };
    }
    // The kernel has no floating point: a stray use is an exception.
    CPACR_EL1.set(0);
    MDSCR_EL1.set(0);
    timer::init();
    pmu::init();
    barrier::synchronize_context();
    irq::unmask_reports();
    percpu::set_online();
    Ok(())
}

/// Gives TCR_EL1 and SCTLR_EL1 their final values. Fields of both may be cached with translations,
/// so this CPU's TLB is emptied where anything changes; sizes and granules stay what they were at
/// boot, so the code runs on meanwhile.
///
/// Context: interrupts masked.
pub fn control_translation(used: &Caps) {
    let (tcr, sctlr) = (regs::tcr(used), regs::sctlr());
    if TCR_EL1.get() == tcr && SCTLR_EL1.get() == sctlr {
        return;
    }
    TCR_EL1.set(tcr);
    SCTLR_EL1.set(sctlr);
    barrier::synchronize_context();
    tlbi::flush_local();
}
