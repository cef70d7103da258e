//! GICv2: a distributor and a memory-mapped CPU interface, for up to 8 CPUs.
//!
//! # Groups
//! With the Security Extensions a Non-secure kernel (the Pi's) sees only group 1, and bit 0 of each
//! control register is group 1's. Without them (QEMU's default) everything is put into group 0, and
//! bit 0 is group 0's. So: group registers to 0, which Security ignores, then bit 0. The same
//! acknowledge register serves whichever group that is.

use core::sync::atomic::{AtomicU8, Ordering};

use abi::{CpuId, VirtAddr};
use tock_registers::interfaces::{Readable, Writeable};
use tock_registers::register_structs;
use tock_registers::registers::{ReadOnly, ReadWrite, WriteOnly};

use super::bank::{Bank, Group, PRIVATE};
use super::{Active, GicError, IntId, Trigger, sgi_number};
use crate::mmio::{Mmio, order_loads, publish_stores, synchronize_context};

const MAX_CPUS: usize = 8;
/// Control: forward this view's group.
const ENABLE: u32 = 1;
/// GICC_CTLR: what happens with the interface disabled is firmware's choice.
const BYPASS: u32 = 0x1e0;
/// The INTID in an acknowledged word; above it lies the sender of an SGI.
const INTID: u32 = 0x3ff;

register_structs! {
    CpuInterface {
        (0x00 => ctlr: ReadWrite<u32>),
        (0x04 => pmr: ReadWrite<u32>),
        (0x08 => _bpr: ReadWrite<u32>),
        (0x0c => iar: ReadOnly<u32>),
        (0x10 => eoir: WriteOnly<u32>),
        (0x14 => _reserved0),
        (0xd0 => active_priorities: [ReadWrite<u32>; 4]),
        (0xe0 => @END),
    }
}

/// A GICv2.
pub struct GicV2 {
    gicd: Mmio<Bank>,
    gicc: Mmio<CpuInterface>,
    /// Each CPU's bit in target registers, 0 until it is ready. Not its number: the distributor has
    /// its own numbering, and tells a CPU its bit.
    targets: [AtomicU8; MAX_CPUS],
}

impl GicV2 {
    /// # Safety
    /// As [`super::Gic::v2`].
    pub(super) unsafe fn new(gicd: VirtAddr, gicc: VirtAddr) -> Self {
        Self {
            // SAFETY: the caller promises what `Mmio::new` asks.
            gicd: unsafe { Mmio::new(gicd) },
            // SAFETY: as above.
            gicc: unsafe { Mmio::new(gicc) },
            targets: [const { AtomicU8::new(0) }; MAX_CPUS],
        }
    }

    pub(super) fn lines(&self) -> u32 {
        self.gicd.lines()
    }

    pub(super) fn init_distributor(&self) -> Result<(), GicError> {
        let gicd = &*self.gicd;
        gicd.ctlr.set(0);
        for word in 1..self.lines().div_ceil(32) {
            gicd.reset_word(word, Group::Zero);
        }
        gicd.ctlr.set(ENABLE);
        Ok(())
    }

    pub(super) fn init_cpu(&self, cpu: CpuId, _mpidr: u64) -> Result<(), GicError> {
        let slot = self.targets.get(cpu.index()).ok_or(GicError::TooManyCpus(cpu))?;
        // The first 32 target bytes are read-only and show the reader's own bit; some show 0. A GIC
        // for a single CPU shows 0 in all, and ignores what is written.
        let target = self.gicd.target[..32].iter().map(Readable::get).find(|&bit| bit != 0);

        self.gicd.reset_word(0, Group::Zero);
        self.gicd.enable_sgis();

        let gicc = &*self.gicc;
        // An interrupt that firmware left active would hold back all others.
        for active in &gicc.active_priorities {
            active.set(0);
        }
        gicc.pmr.set(0xff);
        gicc.ctlr.set(gicc.ctlr.get() & BYPASS | ENABLE);
        slot.store(target.unwrap_or(1), Ordering::Release);
        Ok(())
    }

    fn target(&self, cpu: CpuId) -> Result<u8, GicError> {
        match self.targets.get(cpu.index()).map(|slot| slot.load(Ordering::Acquire)) {
            None => Err(GicError::TooManyCpus(cpu)),
            Some(0) => Err(GicError::CpuNotReady(cpu)),
            Some(target) => Ok(target),
        }
    }

    fn number(&self, id: IntId) -> Result<u32, GicError> {
        id.number().filter(|&n| n < self.lines()).ok_or(GicError::NoSuchInterrupt(id))
    }

    pub(super) fn enable(&self, id: IntId, trigger: Trigger, cpu: CpuId) -> Result<(), GicError> {
        let number = self.number(id)?;
        let target = self.target(cpu)?;
        let gicd = &*self.gicd;
        if !matches!(id, IntId::Sgi(_)) {
            // Trigger and target of an enabled interrupt may not change.
            gicd.disable(number);
            let took = gicd.set_trigger(number, trigger);
            if number >= PRIVATE {
                if !took {
                    return Err(GicError::TriggerFixed(id));
                }
                gicd.target[number as usize].set(target);
            }
            // A PPI's trigger is usually fixed, and device trees are usually wrong about it: it is
            // as it is wired, and works.
        }
        gicd.enable(number);
        Ok(())
    }

    pub(super) fn disable(&self, id: IntId, cpu: CpuId) -> Result<(), GicError> {
        let number = self.number(id)?;
        self.target(cpu)?;
        self.gicd.disable(number);
        Ok(())
    }

    pub(super) fn send_sgi(&self, cpu: CpuId, sgi: u8) -> Result<(), GicError> {
        let target = u32::from(self.target(cpu)?);
        let number = sgi_number(sgi)?;
        publish_stores();
        self.gicd.sgir.set(target << 16 | number);
        Ok(())
    }

    pub(super) fn send_sgi_to_others(&self, sgi: u8) -> Result<(), GicError> {
        const ALL_BUT_SELF: u32 = 1 << 24;
        let number = sgi_number(sgi)?;
        publish_stores();
        self.gicd.sgir.set(ALL_BUT_SELF | number);
        Ok(())
    }

    #[inline]
    pub(super) fn ack(&self) -> Option<Active> {
        let word = self.gicc.iar.get();
        // The sender of an SGI published before it sent: what the handler loads must not be older.
        order_loads();
        Active::from_word(word, word & INTID)
    }

    #[inline]
    pub(super) fn eoi(&self, active: Active) {
        synchronize_context();
        self.gicc.eoir.set(active.word);
    }
}
