//! GICv3's redistributors: one for each CPU, found by the CPU's affinity.
//!
//! A region is a row of redistributors, two frames of 64 KiB each, or four where virtual LPIs are
//! implemented (GICv4); each says which CPU it serves and whether it is the row's last.

use abi::{VirtAddr, VirtRange};
use tock_registers::interfaces::{ReadWriteable, Readable};
use tock_registers::registers::{ReadOnly, ReadWrite};
use tock_registers::{register_bitfields, register_structs};

use super::GicError;
use super::bank::{Bank, Group};
use crate::mmio::{Mmio, poll};

const FRAME_BYTES: u64 = 0x1_0000;
const MAX_REGIONS: usize = 4;
/// A redistributor wakes, and a write takes effect, within microseconds.
const POLLS: u32 = 1 << 17;

register_bitfields! [u32,
    CTLR [WRITE_PENDING OFFSET(3) NUMBITS(1) []],
    WAKER [
        PROCESSOR_SLEEP OFFSET(1) NUMBITS(1) [],
        CHILDREN_ASLEEP OFFSET(2) NUMBITS(1) []
    ],
    PIDR2 [ARCHITECTURE OFFSET(4) NUMBITS(4) [V3 = 3, V4 = 4]]
];
register_bitfields! [u64,
    TYPER [
        VIRTUAL_LPIS OFFSET(1) NUMBITS(1) [],
        LAST OFFSET(4) NUMBITS(1) [],
        AFFINITY OFFSET(32) NUMBITS(32) []
    ]
];

register_structs! {
    Frame {
        (0x0000 => ctlr: ReadWrite<u32, CTLR::Register>),
        (0x0004 => _iidr: ReadOnly<u32>),
        (0x0008 => typer: ReadOnly<u64, TYPER::Register>),
        (0x0010 => _statusr: ReadWrite<u32>),
        (0x0014 => waker: ReadWrite<u32, WAKER::Register>),
        (0x0018 => _reserved0),
        (0xffe8 => pidr2: ReadOnly<u32, PIDR2::Register>),
        (0xffec => _reserved1),
        (0x10000 => @END),
    }
}

/// An MPIDR's four affinity fields in 32 bits, as GICR_TYPER has them.
pub(super) const fn packed_affinity(mpidr: u64) -> u32 {
    (mpidr & 0xff_ffff | mpidr >> 8 & 0xff00_0000) as u32
}

/// Where the redistributors are.
pub(super) struct Regions {
    regions: [VirtRange; MAX_REGIONS],
    stride: Option<u64>,
}

impl Regions {
    /// # Safety
    /// As [`super::Gic::v3`]: the regions map redistributors and nothing else.
    pub(super) unsafe fn new(regions: &[VirtRange], stride: Option<u64>) -> Result<Self, GicError> {
        if regions.len() > MAX_REGIONS {
            return Err(GicError::TooManyRegions(regions.len()));
        }
        let mut all = [VirtRange::new(VirtAddr(0), VirtAddr(0)); MAX_REGIONS];
        all[..regions.len()].copy_from_slice(regions);
        // Less than two frames would walk on the spot.
        let stride = stride.filter(|&bytes| bytes >= 2 * FRAME_BYTES);
        Ok(Self { regions: all, stride })
    }

    /// The redistributor of the CPU with this MPIDR: Linux's `gic_populate_rdist`.
    pub(super) fn find(&self, mpidr: u64) -> Result<Redistributor, GicError> {
        for region in &self.regions {
            let mut at = region.start;
            while at + 2 * FRAME_BYTES <= region.end {
                // SAFETY: within a region, which maps whole redistributors and nothing else.
                let frame: Mmio<Frame> = unsafe { Mmio::new(at) };
                let pidr2 = frame.pidr2.extract();
                if !pidr2.matches_any(&[PIDR2::ARCHITECTURE::V3, PIDR2::ARCHITECTURE::V4]) {
                    return Err(GicError::NotARedistributor { at, pidr2: pidr2.get() });
                }
                let typer = frame.typer.extract();
                if typer.read(TYPER::AFFINITY) as u32 == packed_affinity(mpidr) {
                    return Ok(Redistributor { base: at });
                }
                if typer.is_set(TYPER::LAST) {
                    break;
                }
                let frames = if typer.is_set(TYPER::VIRTUAL_LPIS) { 4 } else { 2 };
                at = at + self.stride.unwrap_or(frames * FRAME_BYTES);
            }
        }
        Err(GicError::NoRedistributor { mpidr })
    }
}

/// One CPU's redistributor: having one means that it was found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Redistributor {
    base: VirtAddr,
}

impl Redistributor {
    /// Its address, to keep in an atomic.
    pub(super) fn into_raw(self) -> u64 {
        self.base.0
    }

    /// # Safety
    /// `raw` came from [`Redistributor::into_raw`].
    pub(super) unsafe fn from_raw(raw: u64) -> Self {
        Self { base: VirtAddr(raw) }
    }

    fn frame(&self) -> Mmio<Frame> {
        // SAFETY: it was found within a region, which stays mapped.
        unsafe { Mmio::new(self.base) }
    }

    /// The registers of the CPU's private interrupts.
    pub(super) fn bank(&self) -> Mmio<Bank> {
        // SAFETY: as above; the second frame is the SGI frame.
        unsafe { Mmio::new(self.base + FRAME_BYTES) }
    }

    /// Tells it that its CPU is awake and waits until it believes so; whether it does.
    pub(super) fn wake(&self) -> bool {
        let frame = self.frame();
        frame.waker.modify(WAKER::PROCESSOR_SLEEP::CLEAR);
        poll(POLLS, || !frame.waker.is_set(WAKER::CHILDREN_ASLEEP))
    }

    /// SGIs on, PPIs off, nothing pending, all in group 1.
    pub(super) fn reset(&self) -> Result<(), GicError> {
        let bank = self.bank();
        bank.reset_word(0, Group::One);
        self.settle()?;
        bank.enable_sgis();
        Ok(())
    }

    /// Waits until disabled interrupts are no longer forwarded.
    pub(super) fn settle(&self) -> Result<(), GicError> {
        let frame = self.frame();
        if poll(POLLS, || !frame.ctlr.is_set(CTLR::WRITE_PENDING)) {
            Ok(())
        } else {
            Err(GicError::WritePending)
        }
    }
}
