//! Interrupt controllers: GICv2 and GICv3 behind one [`Gic`].
//!
//! Owns the distributor and each CPU's interface to it. Everything runs at one priority, in the one
//! group that this Security state sees: interrupts do not nest by priority here.
//!
//! # Contexts
//! * [`Gic::init_distributor`] once, on the boot CPU, before anything else.
//! * [`Gic::init_cpu`] once on each CPU, before it unmasks interrupts. From then on it can be named
//!   as a target.
//! * [`Gic::enable`] and [`Gic::disable`] by one CPU at a time for shared interrupts (the caller
//!   locks); private ones of GICv2 only on their own CPU.
//! * [`Gic::ack`], [`Gic::eoi`] and the SGIs on any CPU at any time, without a lock.
//!
//! # Why not the `arm-gic` crate
//! Its GICv2 half names no target CPU for shared interrupts, writes the Secure view's group bit where
//! a Non-secure kernel on the Pi has another, and takes the sender in an acknowledged SGI for part of
//! its number; its GICv3 half finds redistributors by position, not by affinity, and sends no SGI to
//! an Aff0 above 15. Both want `&mut` for what every CPU does at once, and panic on a bad number.
//!
//! Source: Arm GIC Architecture Specification (GICv2: IHI 0048; GICv3: IHI 0069); the order of set-up
//! follows Linux `gic_dist_init`, `gic_cpu_init`, `gic_populate_rdist`, `gic_cpu_sys_reg_init`.

use core::fmt;

use abi::{CpuId, VirtAddr, VirtRange};

mod bank;
mod icc;
mod redistributor;
mod v2;
mod v3;

pub use v2::GicV2;
pub use v3::GicV3;

/// An interrupt that can be enabled, counted from 0 within its kind as device trees count.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum IntId {
    /// Software-generated, 0 to 15: what CPUs send each other.
    Sgi(u8),
    /// Private to a CPU, 0 to 15: its timers. INTID 16 and up.
    Ppi(u8),
    /// Shared by all, 0 to 987: devices. INTID 32 and up.
    Spi(u16),
}

impl IntId {
    /// The virtual timer of each CPU: INTID 27.
    pub const VIRTUAL_TIMER: Self = Self::Ppi(11);
    /// The Non-secure physical timer of each CPU: INTID 30.
    pub const PHYSICAL_TIMER: Self = Self::Ppi(14);

    /// From an INTID. `None` for the special numbers (1020 to 1023) and for kinds that are never
    /// enabled here (LPIs, the extended ranges).
    pub const fn from_number(number: u32) -> Option<Self> {
        match number {
            0..16 => Some(Self::Sgi(number as u8)),
            16..32 => Some(Self::Ppi((number - 16) as u8)),
            32..1020 => Some(Self::Spi((number - 32) as u16)),
            _ => None,
        }
    }

    /// The INTID; `None` where there is no such interrupt in any GIC.
    pub const fn number(self) -> Option<u32> {
        match self {
            Self::Sgi(n) if n < 16 => Some(n as u32),
            Self::Ppi(n) if n < 16 => Some(16 + n as u32),
            Self::Spi(n) if n < 988 => Some(32 + n as u32),
            _ => None,
        }
    }
}

impl fmt::Display for IntId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sgi(n) => write!(f, "SGI {n}"),
            Self::Ppi(n) => write!(f, "PPI {n}"),
            Self::Spi(n) => write!(f, "SPI {n}"),
        }
    }
}

/// What makes an interrupt pending.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Trigger {
    /// The line being high.
    Level,
    /// The line going high.
    Edge,
}

/// Why an interrupt controller did not do as asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum GicError {
    /// This controller has no such interrupt.
    NoSuchInterrupt(IntId),
    /// This controller cannot serve so many CPUs.
    TooManyCpus(CpuId),
    /// The CPU has not been through [`Gic::init_cpu`].
    CpuNotReady(CpuId),
    /// The interrupt's trigger is wired to the other kind.
    TriggerFixed(IntId),
    /// A write had not taken effect after milliseconds.
    WritePending,
    /// More redistributor regions than a device tree was ever seen to have.
    TooManyRegions(usize),
    /// What should be a redistributor says it is none.
    NotARedistributor {
        /// Where.
        at: VirtAddr,
        /// Its GICR_PIDR2.
        pidr2: u32,
    },
    /// No redistributor has this affinity.
    NoRedistributor {
        /// The CPU's MPIDR.
        mpidr: u64,
    },
    /// The redistributor does not wake up.
    Asleep {
        /// The CPU's MPIDR.
        mpidr: u64,
    },
    /// The CPU interface's system registers stay off: a higher exception level holds them.
    SystemRegistersOff,
    /// No SGI can reach this CPU: its Aff0 is above 15 and the range selector is missing.
    OutOfSgiRange {
        /// The CPU's MPIDR.
        mpidr: u64,
    },
}

/// An interrupt that this CPU has taken and must end.
#[derive(Debug)]
#[must_use = "an interrupt that is not ended blocks all others on this CPU"]
pub struct Active {
    id: IntId,
    /// As acknowledged: a GICv2 wants the sender of an SGI back.
    word: u32,
}

impl Active {
    fn from_word(word: u32, number: u32) -> Option<Self> {
        IntId::from_number(number).map(|id| Self { id, word })
    }

    /// Which one.
    pub const fn id(&self) -> IntId {
        self.id
    }
}

/// An interrupt controller.
#[expect(clippy::large_enum_variant, reason = "there is one, in a static")]
pub enum Gic {
    /// Up to 8 CPUs; the Pi's GIC-400, and QEMU virt's default.
    V2(GicV2),
    /// Up to [`abi::MAX_CPUS`] CPUs, named by affinity.
    V3(GicV3),
}

macro_rules! each {
    ($self:expr, $gic:ident => $do:expr) => {
        match $self {
            Gic::V2($gic) => $do,
            Gic::V3($gic) => $do,
        }
    };
}

impl Gic {
    /// A GICv2 with its distributor at `gicd` and its CPU interface at `gicc`.
    ///
    /// # Safety
    /// `gicd` maps 4 KiB and `gicc` 8 KiB of the respective registers as device memory (or the MMU
    /// is off), for good, and nothing else drives them.
    pub unsafe fn v2(gicd: VirtAddr, gicc: VirtAddr) -> Self {
        // SAFETY: passed on.
        Self::V2(unsafe { GicV2::new(gicd, gicc) })
    }

    /// A GICv3 with its distributor at `gicd` and its redistributors, `stride` apart or as they say
    /// themselves, in `regions`.
    ///
    /// # Safety
    /// `gicd` maps 64 KiB of distributor, and each region redistributors and nothing else, as device
    /// memory (or the MMU is off), for good, and nothing else drives them. The CPUs implement the
    /// system register interface (ID_AA64PFR0_EL1.GIC is not 0).
    pub unsafe fn v3(
        gicd: VirtAddr,
        regions: &[VirtRange],
        stride: Option<u64>,
    ) -> Result<Self, GicError> {
        // SAFETY: passed on.
        Ok(Self::V3(unsafe { GicV3::new(gicd, regions, stride) }?))
    }

    /// Brings the shared part into a known state: everything disabled, nothing pending, level
    /// triggered; then forwards interrupts. The boot CPU, once.
    pub fn init_distributor(&self) -> Result<(), GicError> {
        each!(self, gic => gic.init_distributor())
    }

    /// Brings the calling CPU's part into a known state: SGIs enabled, PPIs disabled, every priority
    /// let through. `mpidr` is its MPIDR_EL1.
    pub fn init_cpu(&self, cpu: CpuId, mpidr: u64) -> Result<(), GicError> {
        each!(self, gic => gic.init_cpu(cpu, mpidr))
    }

    /// Lets `id` interrupt `cpu`. A private interrupt is `cpu`'s own; with a GICv2 `cpu` must then
    /// be the caller's. SGIs are enabled from the start and ignore `trigger`.
    pub fn enable(&self, id: IntId, trigger: Trigger, cpu: CpuId) -> Result<(), GicError> {
        each!(self, gic => gic.enable(id, trigger, cpu))
    }

    /// Lets `id` interrupt no longer; `cpu` as for [`Gic::enable`]. One that is already on its way
    /// may still come.
    pub fn disable(&self, id: IntId, cpu: CpuId) -> Result<(), GicError> {
        each!(self, gic => gic.disable(id, cpu))
    }

    /// Sends SGI number `sgi` to `cpu`, which may be the caller's. What the caller stored before is
    /// visible to the handler.
    pub fn send_sgi(&self, cpu: CpuId, sgi: u8) -> Result<(), GicError> {
        each!(self, gic => gic.send_sgi(cpu, sgi))
    }

    /// Sends SGI number `sgi` to every CPU but the caller's, ready or not.
    pub fn send_sgi_to_others(&self, sgi: u8) -> Result<(), GicError> {
        each!(self, gic => gic.send_sgi_to_others(sgi))
    }

    /// Takes the pending interrupt. `None` when there is none after all (it was withdrawn, or
    /// another CPU had it): the handler just returns.
    #[inline]
    pub fn ack(&self) -> Option<Active> {
        each!(self, gic => gic.ack())
    }

    /// Ends an interrupt on the CPU that took it. What the handler did to its own system registers
    /// (a timer's, say) takes effect before; a device's line is the driver's to wait for.
    #[inline]
    pub fn eoi(&self, active: Active) {
        each!(self, gic => gic.eoi(active));
    }

    /// How many INTIDs there are: SPIs from 32 up to this.
    pub fn lines(&self) -> u32 {
        each!(self, gic => gic.lines())
    }
}

/// The number of an SGI, checked.
fn sgi_number(sgi: u8) -> Result<u32, GicError> {
    let id = IntId::Sgi(sgi);
    id.number().ok_or(GicError::NoSuchInterrupt(id))
}

#[cfg(test)]
mod tests;
