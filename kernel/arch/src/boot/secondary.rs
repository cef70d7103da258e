//! What a CPU that comes later has to know before it can read anything.
//!
//! One record a CPU, found by affinity, because a spin table passes no argument. The reader's cache
//! is off, so the writer cleans the records to the point of coherency, all of them: a record that
//! was never written must not look like one that survived in memory from the kernel before.
//!
//! Source: Linux, `Documentation/arch/arm64/booting.rst` (spin-table, PSCI), `secondary_startup`.

use super::sections::{address, image_phys};
use super::tables::identity_root;
use aarch64_cpu::registers::{MAIR_EL1, SCTLR_EL1, TCR_EL1};
use abi::{CpuId, MAX_CPUS, Pfn, PhysAddr, VirtAddr};
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use tock_registers::interfaces::Readable;

/// The affinity fields of MPIDR_EL1, which is what device trees and PSCI call a CPU.
pub(super) const AFFINITY_MASK: u64 = 0xff_00ff_ffff;
/// In a record's key: there is a CPU to look for. Affinity 0 is a CPU like any other.
pub(super) const RECORD_VALID: u64 = 1 << 63;

/// `secondary.s` reads this by offset.
#[repr(C, align(64))]
pub(super) struct Record {
    key: AtomicU64,
    stack_top: AtomicU64,
    cpu: AtomicU64,
    ttbr0: AtomicU64,
    ttbr1: AtomicU64,
    tcr: AtomicU64,
    mair: AtomicU64,
    sctlr: AtomicU64,
}

const _: () = assert!(size_of::<Record>() == 64);

pub(super) static RECORDS: [Record; MAX_CPUS] = [const {
    Record {
        key: AtomicU64::new(0),
        stack_top: AtomicU64::new(0),
        cpu: AtomicU64::new(0),
        ttbr0: AtomicU64::new(0),
        ttbr1: AtomicU64::new(0),
        tcr: AtomicU64::new(0),
        mair: AtomicU64::new(0),
        sctlr: AtomicU64::new(0),
    }
}; MAX_CPUS];

unsafe extern "C" {
    safe fn secondary_main(cpu: usize) -> !;
    safe static secondary_entry: u8;
    /// In `cpu.s`: DC CIVAC over a range. Harmless on any mapped range.
    safe fn dcache_clean_invalidate(start: u64, end: u64);
}

/// Where a CPU is to be started: PSCI's entry point, or what goes into a spin table's slot.
pub fn secondary_entry_pa() -> PhysAddr {
    image_phys(address(&secondary_entry))
}

/// Says what the CPU with this MPIDR will do when it is started at [`secondary_entry_pa`]: use the
/// kernel tables at `root` and this CPU's translation registers, and call `secondary_main(cpu)` on
/// the stack below `stack_top`. Its user half is empty by then.
///
/// Returns the record's address, a context for PSCI that the CPU does not need; `None` if there is
/// no such CPU number. To be called after the caller's own TCR_EL1 and SCTLR_EL1 are final, once per
/// CPU, by one CPU at a time. `stack_top` is 16-byte aligned and mapped by `root`.
pub fn prepare_secondary(
    cpu: CpuId,
    mpidr: u64,
    stack_top: VirtAddr,
    root: Pfn,
) -> Option<PhysAddr> {
    let record = RECORDS.get(cpu.index())?;
    record.stack_top.store(stack_top.0, Relaxed);
    record.cpu.store(u64::from(cpu.0), Relaxed);
    record.ttbr0.store(identity_root().base().0, Relaxed);
    record.ttbr1.store(root.base().0, Relaxed);
    record.tcr.store(TCR_EL1.get(), Relaxed);
    record.mair.store(MAIR_EL1.get(), Relaxed);
    record.sctlr.store(SCTLR_EL1.get(), Relaxed);
    record.key.store(mpidr & AFFINITY_MASK | RECORD_VALID, Relaxed);
    let start = RECORDS.as_ptr().addr() as u64;
    dcache_clean_invalidate(start, start + size_of_val(&RECORDS) as u64);
    let here = VirtAddr(core::ptr::from_ref(record).addr() as u64);
    Some(image_phys(here))
}

/// `secondary_high` ends here.
pub(super) extern "C" fn boot_secondary(cpu: usize) -> ! {
    secondary_main(cpu)
}
