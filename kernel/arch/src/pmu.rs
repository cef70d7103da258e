//! The performance monitors: cycles and, where the core counts them, executed instructions.
//!
//! Under an emulator that counts instructions exactly, these are regression budgets; elsewhere they
//! are what they are. Counting is on from [`init`]; each CPU counts its own.
//! Source: Arm ARM, "The Performance Monitors Extension".

use aarch64_cpu::asm::barrier;
use aarch64_cpu::registers::{ID_AA64DFR0_EL1, Readable};
use core::arch::asm;

/// The architectural event INST_RETIRED.
const INST_RETIRED: u64 = 0x08;
/// PMCR_EL0: enable, reset the event counters, reset the cycle counter, 64-bit cycle counter.
const ENABLE: u64 = 1 | 1 << 1 | 1 << 2 | 1 << 6;
/// PMCR_EL0.LP: 64-bit event counters (FEAT_PMUv3p5).
const LONG_EVENTS: u64 = 1 << 7;
/// PMCNTENSET_EL0: event counter 0 and the cycle counter.
const COUNTERS: u64 = 1 | 1 << 31;

macro_rules! read {
    ($register:literal) => {{
        let value: u64;
        // SAFETY: reads a register of the PMU, which is there: every path here has asked `version`.
        unsafe { asm!(concat!("mrs {}, ", $register), out(reg) value, options(nomem, nostack, preserves_flags)) };
        value
    }};
}

macro_rules! write {
    ($register:literal, $value:expr) => {
        // SAFETY: configures counting, which no program's meaning depends on; see `read`.
        unsafe { asm!(concat!("msr ", $register, ", {}"), in(reg) $value, options(nostack, preserves_flags)) }
    };
}

/// PMUVer, or 0 where there is no PMU of the architecture's kind.
fn version() -> u64 {
    match ID_AA64DFR0_EL1.get() >> 8 & 0xf {
        0xf => 0,
        version => version,
    }
}

/// Whether event counter 0 exists and can count instructions.
fn counts_instructions() -> bool {
    version() != 0
        && read!("pmcr_el0") >> 11 & 0x1f > 0
        && read!("pmceid0_el0") & 1 << INST_RETIRED != 0
}

/// Starts this CPU's counters at zero. Without a PMU does nothing.
pub fn init() {
    if version() == 0 {
        return;
    }
    if counts_instructions() {
        // The filter bits zero: count at EL1 and EL0.
        write!("pmevtyper0_el0", INST_RETIRED);
    }
    write!("pmccfiltr_el0", 0u64);
    write!("pmintenclr_el1", 0xffff_ffffu64);
    write!("pmcntenset_el0", COUNTERS);
    write!("pmcr_el0", if version() >= 6 { ENABLE | LONG_EVENTS } else { ENABLE });
    barrier::isb(barrier::SY);
}

/// Marks the edge of a window for whoever watches the machine from outside: the emulator's plugin in
/// `xtask/hotspots`. Two hints that no architecture has given a meaning, so they do nothing.
#[inline]
pub fn mark(begin: bool) {
    if begin {
        // SAFETY: a hint without a meaning.
        unsafe { asm!("hint #112", options(nostack, preserves_flags)) };
    } else {
        // SAFETY: as above.
        unsafe { asm!("hint #113", options(nostack, preserves_flags)) };
    }
}

/// Cycles that this CPU has run since [`init`]; `None` without a PMU.
pub fn cycles() -> Option<u64> {
    (version() != 0).then(|| read!("pmccntr_el0"))
}

/// Instructions that this CPU has executed since [`init`]; `None` where it does not count them.
///
/// Take differences by [`instructions_since`]: without FEAT_PMUv3p5 the counter has 32 bits.
pub fn instructions() -> Option<u64> {
    counts_instructions().then(|| {
        barrier::isb(barrier::SY);
        read!("pmevcntr0_el0")
    })
}

/// Instructions executed since [`instructions`] answered `start` on this CPU; right as long as the
/// counter has come round less than once.
#[inline]
pub fn instructions_since(start: u64) -> Option<u64> {
    let width = if version() >= 6 { u64::MAX } else { u64::from(u32::MAX) };
    instructions().map(|now| now.wrapping_sub(start) & width)
}
