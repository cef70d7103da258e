//! GICv3: a distributor, a redistributor for each CPU, and the CPU interface in system registers.
//!
//! Affinity routing is on and everything is in Non-secure group 1: that is what a kernel below EL3
//! sees with two Security states, and what it chooses with one. LPIs are not used.

use core::sync::atomic::{AtomicU64, Ordering};

use abi::{CpuId, MAX_CPUS, VirtAddr, VirtRange};
use tock_registers::interfaces::{Readable, Writeable};
use tock_registers::register_structs;
use tock_registers::registers::ReadWrite;

use super::bank::{Bank, Group, PRIVATE};
use super::redistributor::{Redistributor, Regions};
use super::{Active, GicError, IntId, Trigger, icc, sgi_number};
use crate::mmio::{Mmio, complete_accesses, poll, publish_stores, synchronize_context};

/// GICD_CTLR: affinity routing of this Security state.
const AFFINITY_ROUTING: u32 = 1 << 4;
/// GICD_CTLR: forward group 1. The same bit in the Non-secure view and with one Security state.
const ENABLE_GROUP1: u32 = 1 << 1;
/// GICD_CTLR: an earlier write has not taken effect everywhere.
const WRITE_PENDING: u32 = 1 << 31;
/// A write takes effect within microseconds.
const POLLS: u32 = 1 << 17;
/// Where the routing registers of SPIs start.
const ROUTERS: u64 = 0x6100;
/// ICC_CTLR_EL1: SGIs reach an Aff0 above 15.
const RANGE_SELECTOR: u64 = 1 << 18;
const SGI_ALL_BUT_SELF: u64 = 1 << 40;
/// The affinity fields of an MPIDR, and of a routing register.
const AFFINITY: u64 = 0xff_00ff_ffff;

register_structs! {
    Routers {
        (0x0000 => spi: [ReadWrite<u64>; 988]),
        (0x1ee0 => @END),
    }
}

/// What is known of a CPU once it is ready.
struct Seat {
    affinity: AtomicU64,
    /// Its redistributor, 0 until it is ready; stored last.
    redistributor: AtomicU64,
}

/// A GICv3, or a GICv4 used as one.
pub struct GicV3 {
    gicd: Mmio<Bank>,
    routers: Mmio<Routers>,
    regions: Regions,
    seats: [Seat; MAX_CPUS],
}

impl GicV3 {
    /// # Safety
    /// As [`super::Gic::v3`].
    pub(super) unsafe fn new(
        gicd: VirtAddr,
        regions: &[VirtRange],
        stride: Option<u64>,
    ) -> Result<Self, GicError> {
        Ok(Self {
            // SAFETY: the caller promises what `Mmio::new` asks.
            gicd: unsafe { Mmio::new(gicd) },
            // SAFETY: as above; the distributor is 64 KiB.
            routers: unsafe { Mmio::new(gicd + ROUTERS) },
            // SAFETY: passed on.
            regions: unsafe { Regions::new(regions, stride) }?,
            seats: [const { Seat { affinity: AtomicU64::new(0), redistributor: AtomicU64::new(0) } };
                MAX_CPUS],
        })
    }

    pub(super) fn lines(&self) -> u32 {
        self.gicd.lines()
    }

    pub(super) fn init_distributor(&self) -> Result<(), GicError> {
        let gicd = &*self.gicd;
        // Routing may change only while no group is enabled.
        gicd.ctlr.set(0);
        self.settle()?;
        gicd.ctlr.set(AFFINITY_ROUTING);
        self.settle()?;
        for word in 1..self.lines().div_ceil(32) {
            gicd.reset_word(word, Group::One);
        }
        self.settle()?;
        gicd.ctlr.set(AFFINITY_ROUTING | ENABLE_GROUP1);
        self.settle()
    }

    /// Waits until disables and changes of control have taken effect.
    fn settle(&self) -> Result<(), GicError> {
        if poll(POLLS, || self.gicd.ctlr.get() & WRITE_PENDING == 0) {
            Ok(())
        } else {
            Err(GicError::WritePending)
        }
    }

    pub(super) fn init_cpu(&self, cpu: CpuId, mpidr: u64) -> Result<(), GicError> {
        let seat = self.seats.get(cpu.index()).ok_or(GicError::TooManyCpus(cpu))?;
        let redistributor = self.regions.find(mpidr)?;
        if !redistributor.wake() {
            return Err(GicError::Asleep { mpidr });
        }
        redistributor.reset()?;

        icc::sre::write(icc::sre::read() | 1);
        synchronize_context();
        if icc::sre::read() & 1 == 0 {
            return Err(GicError::SystemRegistersOff);
        }
        let ctlr = icc::ctlr::read();
        if mpidr & 0xf0 != 0 && ctlr & RANGE_SELECTOR == 0 {
            return Err(GicError::OutOfSgiRange { mpidr });
        }
        // One write ends an interrupt and deactivates it; nothing is preempted by priority.
        icc::ctlr::write(0);
        icc::bpr1::write(0);
        icc::pmr::write(0xff);
        // An interrupt that firmware left active would hold back all others. How many words tell of
        // active priorities follows from the bits that a priority has.
        let priority_bits = (ctlr >> 8 & 7) + 1;
        icc::ap1r0::write(0);
        if priority_bits >= 6 {
            icc::ap1r1::write(0);
        }
        if priority_bits >= 7 {
            icc::ap1r2::write(0);
            icc::ap1r3::write(0);
        }
        icc::igrpen1::write(1);
        synchronize_context();

        seat.affinity.store(mpidr & AFFINITY, Ordering::Relaxed);
        seat.redistributor.store(redistributor.into_raw(), Ordering::Release);
        Ok(())
    }

    /// A CPU's redistributor and affinity.
    fn seat(&self, cpu: CpuId) -> Result<(Redistributor, u64), GicError> {
        let seat = self.seats.get(cpu.index()).ok_or(GicError::TooManyCpus(cpu))?;
        match seat.redistributor.load(Ordering::Acquire) {
            0 => Err(GicError::CpuNotReady(cpu)),
            raw => {
                // SAFETY: `init_cpu` stored it from a redistributor that it found.
                let redistributor = unsafe { Redistributor::from_raw(raw) };
                Ok((redistributor, seat.affinity.load(Ordering::Relaxed)))
            }
        }
    }

    fn number(&self, id: IntId) -> Result<u32, GicError> {
        id.number().filter(|&n| n < self.lines()).ok_or(GicError::NoSuchInterrupt(id))
    }

    pub(super) fn enable(&self, id: IntId, trigger: Trigger, cpu: CpuId) -> Result<(), GicError> {
        let number = self.number(id)?;
        let (redistributor, affinity) = self.seat(cpu)?;
        self.disable(id, cpu)?;
        if number < PRIVATE {
            let bank = redistributor.bank();
            if matches!(id, IntId::Ppi(_)) {
                // Usually fixed, and device trees are usually wrong about it: it is as it is wired.
                bank.set_trigger(number, trigger);
            }
            bank.enable(number);
        } else {
            if !self.gicd.set_trigger(number, trigger) {
                return Err(GicError::TriggerFixed(id));
            }
            self.routers.spi[(number - PRIVATE) as usize].set(affinity);
            self.gicd.enable(number);
        }
        Ok(())
    }

    pub(super) fn disable(&self, id: IntId, cpu: CpuId) -> Result<(), GicError> {
        let number = self.number(id)?;
        if number < PRIVATE {
            let (redistributor, _) = self.seat(cpu)?;
            redistributor.bank().disable(number);
            redistributor.settle()
        } else {
            self.gicd.disable(number);
            self.settle()
        }
    }

    pub(super) fn send_sgi(&self, cpu: CpuId, sgi: u8) -> Result<(), GicError> {
        let (_, affinity) = self.seat(cpu)?;
        send(sgi_word(affinity, sgi_number(sgi)?));
        Ok(())
    }

    pub(super) fn send_sgi_to_others(&self, sgi: u8) -> Result<(), GicError> {
        send(SGI_ALL_BUT_SELF | u64::from(sgi_number(sgi)?) << 24);
        Ok(())
    }

    #[inline]
    pub(super) fn ack(&self) -> Option<Active> {
        let number = icc::iar1::read() as u32 & 0xff_ffff;
        // The acknowledge is complete before interrupts may be unmasked, and the handler's loads are
        // not older than it.
        complete_accesses();
        Active::from_word(number, number)
    }

    #[inline]
    pub(super) fn eoi(&self, active: Active) {
        synchronize_context();
        icc::eoir1::write(u64::from(active.word));
        synchronize_context();
    }
}

/// A system register write is not ordered with stores by itself: the barrier does that, and the
/// context synchronisation sends it off now.
fn send(word: u64) {
    publish_stores();
    icc::sgi1r::write(word);
    synchronize_context();
}

/// What ICC_SGI1R_EL1 wants for one CPU: its Aff3 to Aff1, which sixteen of Aff0, and a bit for
/// which of the sixteen.
pub(super) const fn sgi_word(affinity: u64, number: u32) -> u64 {
    let aff0 = affinity & 0xff;
    let aff1 = affinity >> 8 & 0xff;
    let aff2 = affinity >> 16 & 0xff;
    let aff3 = affinity >> 32 & 0xff;
    aff3 << 48
        | (aff0 >> 4) << 44
        | aff2 << 32
        | (number as u64) << 24
        | aff1 << 16
        | 1 << (aff0 & 0xf)
}
