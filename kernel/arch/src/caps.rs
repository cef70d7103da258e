//! What this CPU can do, from its ID registers, and whether it fits the others.
//!
//! Decoding is pure and tested on the host. Source: Arm ARM, "ID_AA64MMFR0_EL1" to
//! "ID_AA64MMFR2_EL1", "ID_AA64ISAR0_EL1", "CTR_EL0", "MIDR_EL1", and "Principles of the ID scheme":
//! in each field used here a larger value includes the smaller ones.

use core::fmt;
use pte::{BbmLevel, Caps};

/// The ID registers that matter for translation.
#[derive(Clone, Copy, Debug, Default)]
pub struct IdRegisters {
    /// MIDR_EL1: which core it is.
    pub midr: u64,
    /// ID_AA64MMFR0_EL1.
    pub mmfr0: u64,
    /// ID_AA64MMFR1_EL1.
    pub mmfr1: u64,
    /// ID_AA64MMFR2_EL1.
    pub mmfr2: u64,
    /// ID_AA64ISAR0_EL1.
    pub isar0: u64,
    /// CTR_EL0.
    pub ctr: u64,
}

/// The four bits at `shift`.
const fn field(register: u64, shift: u32) -> u64 {
    register >> shift & 0xf
}

impl IdRegisters {
    /// What the registers say.
    pub fn caps(&self) -> Caps {
        let core = Core::of(self.midr);
        Caps {
            asid_bits: if field(self.mmfr0, 4) >= 2 { 16 } else { 8 },
            pa_bits: match field(self.mmfr0, 0) {
                0 => 32,
                1 => 36,
                2 => 40,
                3 => 42,
                4 => 44,
                5 => 48,
                6 => 52,
                _ => 56,
            },
            bbm: match field(self.mmfr2, 52) {
                0 => BbmLevel::L0,
                1 => BbmLevel::L1,
                2 => BbmLevel::L2,
                _ => BbmLevel::L2NoAbort,
            },
            tlb_range: field(self.isar0, 56) >= 2,
            ttl: field(self.mmfr2, 48) >= 1,
            hw_af: field(self.mmfr1, 0) >= 1,
            hw_dirty: field(self.mmfr1, 0) >= 2,
            cnp: field(self.mmfr2, 0) >= 1,
            // Signed: 0xf means that there is no 4 KiB granule at all.
            lpa2: field(self.mmfr0, 28) == 1,
            repeat_tlbi: core.is_some_and(|core| core.repeat_tlbi),
            ets2: field(self.mmfr1, 36) >= 2,
            ntlbpa: field(self.mmfr1, 48) >= 1,
            lse: field(self.isar0, 20) >= 2,
            pan: field(self.mmfr1, 20) >= 1,
            e0pd: field(self.mmfr2, 60) >= 1,
            dic: self.ctr & 1 << 29 != 0,
            idc: self.ctr & 1 << 28 != 0,
        }
    }

    /// Whether the core translates with 4 KiB pages.
    pub const fn has_4k_granule(&self) -> bool {
        field(self.mmfr0, 28) <= 7
    }
}

/// What a CPU lacks that the kernel, set up for the CPUs before it, uses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lack {
    /// 4 KiB pages.
    Granule,
    /// Bits of an ASID: two address spaces would share a tag here.
    AsidBits {
        /// How many it has.
        has: u8,
        /// How many are used.
        used: u8,
    },
    /// Bits of a physical address: some memory would be out of reach.
    PaBits {
        /// How many it has.
        has: u8,
        /// How many are used.
        used: u8,
    },
    /// TLBI by range.
    TlbRange,
    /// Hardware management of the access flag.
    HwAccessFlag,
    /// Hardware management of dirty state.
    HwDirty,
    /// The break-before-make level.
    Bbm,
    /// The relaxed ordering of walks.
    Ets2,
    /// Coherency of instruction fetches without maintenance.
    CoherentFetch,
    /// Not a lack but a need: its TLBIs must be issued twice, and nobody does.
    RepeatTlbi,
}

impl fmt::Display for Lack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Granule => "no 4 KiB granule",
            Self::AsidBits { has, used } => {
                return write!(f, "ASIDs of {has} bits where {used} are used");
            }
            Self::PaBits { has, used } => {
                return write!(f, "physical addresses of {has} bits where {used} are used");
            }
            Self::TlbRange => "no TLBI by range",
            Self::HwAccessFlag => "no hardware management of the access flag",
            Self::HwDirty => "no hardware management of dirty state",
            Self::Bbm => "a lower break-before-make level",
            Self::Ets2 => "no enhanced translation synchronisation",
            Self::CoherentFetch => "instruction fetches need cache maintenance",
            Self::RepeatTlbi => "an erratum: TLBI must be repeated",
        })
    }
}

/// Whether a CPU of `own` abilities may run a kernel that relies on `used`. What it can do beyond
/// that, and features that change no rule of the shared tables, are of no account.
pub fn fits(own: &Caps, used: &Caps) -> Result<(), Lack> {
    if own.asid_bits < used.asid_bits {
        return Err(Lack::AsidBits { has: own.asid_bits, used: used.asid_bits });
    }
    if own.pa_bits < used.pa_bits {
        return Err(Lack::PaBits { has: own.pa_bits, used: used.pa_bits });
    }
    let lacks = [
        (used.tlb_range && !own.tlb_range, Lack::TlbRange),
        (used.hw_af && !own.hw_af, Lack::HwAccessFlag),
        (used.hw_dirty && !own.hw_dirty, Lack::HwDirty),
        (own.bbm < used.bbm, Lack::Bbm),
        (used.ets2 && !own.ets2, Lack::Ets2),
        (used.dic && !own.dic || used.idc && !own.idc, Lack::CoherentFetch),
        (own.repeat_tlbi && !used.repeat_tlbi, Lack::RepeatTlbi),
    ];
    match lacks.into_iter().find(|(lacking, _)| *lacking) {
        Some((_, lack)) => Err(lack),
        None => Ok(()),
    }
}

/// A core this file knows by name.
#[derive(Clone, Copy, Debug)]
struct Core {
    /// MIDR_EL1's implementer and part number.
    id: (u8, u16),
    name: &'static str,
    /// The core is on Linux's list of those whose DSB may finish before a TLBI does.
    repeat_tlbi: bool,
}

const ARM: u8 = 0x41;

const fn core(id: (u8, u16), name: &'static str) -> Core {
    Core { id, name, repeat_tlbi: false }
}

const fn repeating(id: (u8, u16), name: &'static str) -> Core {
    Core { id, name, repeat_tlbi: true }
}

/// The emulated cores first. QEMU's `max` has a part number of its own and no implementer.
const CORES: &[Core] = &[
    core((0x00, 0x051), "QEMU max"),
    core((ARM, 0xd03), "Cortex-A53"),
    core((ARM, 0xd04), "Cortex-A35"),
    core((ARM, 0xd05), "Cortex-A55"),
    core((ARM, 0xd07), "Cortex-A57"),
    core((ARM, 0xd08), "Cortex-A72"),
    core((ARM, 0xd09), "Cortex-A73"),
    core((ARM, 0xd0a), "Cortex-A75"),
    repeating((ARM, 0xd0b), "Cortex-A76"),
    repeating((ARM, 0xd0c), "Neoverse-N1"),
    repeating((ARM, 0xd40), "Neoverse-V1"),
    repeating((ARM, 0xd41), "Cortex-A78"),
    repeating((ARM, 0xd47), "Cortex-A710"),
    repeating((ARM, 0xd49), "Neoverse-N2"),
    repeating((ARM, 0xd4f), "Neoverse-V2"),
];

impl Core {
    fn of(midr: u64) -> Option<&'static Self> {
        let id = ((midr >> 24) as u8, (midr >> 4 & 0xfff) as u16);
        CORES.iter().find(|core| core.id == id)
    }
}

/// A core's name and revision, from MIDR_EL1.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CoreName(pub u64);

impl fmt::Display for CoreName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (variant, revision) = (field(self.0, 20), field(self.0, 0));
        match Core::of(self.0) {
            Some(core) => f.write_str(core.name)?,
            None => write!(f, "core {:02x}:{:03x}", self.0 >> 24 & 0xff, self.0 >> 4 & 0xfff)?,
        }
        write!(f, " r{variant}p{revision}")
    }
}

#[cfg(target_os = "none")]
pub use target::{core_name, has_mops, has_rcpc, id_registers, read};

#[cfg(target_os = "none")]
mod target {
    use super::{CoreName, IdRegisters, field};
    use aarch64_cpu::registers::{
        ID_AA64ISAR0_EL1, ID_AA64MMFR0_EL1, ID_AA64MMFR1_EL1, ID_AA64MMFR2_EL1, MIDR_EL1, Readable,
    };
    use core::arch::asm;
    use pte::Caps;

    /// This CPU's ID registers.
    pub fn id_registers() -> IdRegisters {
        let ctr: u64;
        // SAFETY: reads a register that is always there.
        unsafe { asm!("mrs {}, ctr_el0", out(reg) ctr, options(nomem, nostack, preserves_flags)) };
        IdRegisters {
            midr: MIDR_EL1.get(),
            mmfr0: ID_AA64MMFR0_EL1.get(),
            mmfr1: ID_AA64MMFR1_EL1.get(),
            mmfr2: ID_AA64MMFR2_EL1.get(),
            isar0: ID_AA64ISAR0_EL1.get(),
            ctr,
        }
    }

    /// What this CPU can do.
    pub fn read() -> Caps {
        id_registers().caps()
    }

    /// What this CPU is called.
    pub fn core_name() -> CoreName {
        CoreName(MIDR_EL1.get())
    }

    /// FEAT_LRCPC: LDAPR.
    pub fn has_rcpc() -> bool {
        let isar1: u64;
        // SAFETY: ID_AA64ISAR1_EL1; reads as zero where it is not defined.
        unsafe {
            asm!("mrs {}, S3_0_C0_C6_1", out(reg) isar1, options(nomem, nostack, preserves_flags));
        };
        field(isar1, 20) != 0
    }

    /// FEAT_MOPS: instructions that copy and set memory. The boot has made sure that they do not
    /// trap to EL2.
    pub fn has_mops() -> bool {
        let isar2: u64;
        // SAFETY: ID_AA64ISAR2_EL1; reads as zero where it is not defined.
        unsafe {
            asm!("mrs {}, S3_0_C0_C6_2", out(reg) isar2, options(nomem, nostack, preserves_flags));
        };
        field(isar2, 16) != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    const A72: IdRegisters = IdRegisters {
        midr: 0x410f_d083,
        mmfr0: 0x0000_1124,
        mmfr1: 0,
        mmfr2: 0,
        isar0: 0x0001_1120,
        ctr: 0x8444_c004,
    };

    const MAX: IdRegisters = IdRegisters {
        midr: 0x000f_0510,
        mmfr0: 0x2000_0321_1022_0026 & !(0xf << 28) | 1 << 28,
        mmfr1: 2 | 3 << 20 | 2 << 36,
        mmfr2: 1 | 1 << 48 | 2 << 52 | 1 << 60,
        isar0: 2 << 20 | 2 << 56,
        ctr: 0x8444_c004 | 1 << 28 | 1 << 29,
    };

    #[test]
    fn decoding_gives_what_pte_states_about_the_two_reference_cores() {
        assert_eq!(A72.caps(), Caps::CORTEX_A72);
        assert_eq!(MAX.caps(), Caps::MAX);
        assert!(A72.has_4k_granule() && MAX.has_4k_granule());
    }

    #[test]
    fn names_carry_the_revision() {
        assert_eq!(CoreName(A72.midr).to_string(), "Cortex-A72 r0p3");
        assert_eq!(CoreName(0x610f_0220).to_string(), "core 61:022 r0p0");
    }

    #[test]
    fn fitting_is_judged_by_what_is_used() {
        assert_eq!(fits(&Caps::MAX, &Caps::CORTEX_A72), Ok(()));
        assert_eq!(fits(&Caps::CORTEX_A72, &Caps::MAX), Err(Lack::PaBits { has: 44, used: 52 }));
        let eight = Caps { asid_bits: 8, ..Caps::CORTEX_A72 };
        assert_eq!(fits(&eight, &Caps::CORTEX_A72), Err(Lack::AsidBits { has: 8, used: 16 }));
        let broken = Caps { repeat_tlbi: true, ..Caps::MAX };
        assert_eq!(fits(&broken, &Caps::MAX), Err(Lack::RepeatTlbi));
    }

    #[test]
    fn merging_makes_every_core_fit() {
        for (a, b) in [(A72, MAX), (MAX, A72)] {
            let used = a.caps().merge(&b.caps());
            assert_eq!(fits(&a.caps(), &used), Ok(()));
            assert_eq!(fits(&b.caps(), &used), Ok(()));
        }
    }
}
