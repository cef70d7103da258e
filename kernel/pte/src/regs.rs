//! The system register values that the descriptors here assume.
//!
//! One place, because they belong together: a leaf's attribute index means what MAIR_EL1 says, and
//! the walker reads tables with the attributes in TCR_EL1. All are full values, written whole: what
//! a register holds at entry differs between loaders and is never kept.
//!
//! Every CPU must hold the same values. TCR_EL1 and SCTLR_EL1 fields may be cached in TLBs, so they
//! change only while the MMU is off or with everything flushed.
//!
//! Source: Arm ARM, "MAIR_EL1", "TCR_EL1", "SCTLR_EL1".

use crate::Caps;

/// Attribute index of write-back cacheable memory.
pub const MAIR_NORMAL: u64 = 0;
/// Attribute index of Device-nGnRE.
pub const MAIR_DEVICE: u64 = 1;
/// Attribute index of memory that is not cached.
pub const MAIR_NORMAL_NC: u64 = 2;

const WRITE_BACK: u64 = 0xff;
const DEVICE_NGNRE: u64 = 0x04;
const NON_CACHEABLE: u64 = 0x44;

/// MAIR_EL1. The indices that nothing uses are Device-nGnRnE, the most cautious type.
pub const fn mair() -> u64 {
    attribute(MAIR_NORMAL, WRITE_BACK)
        | attribute(MAIR_DEVICE, DEVICE_NGNRE)
        | attribute(MAIR_NORMAL_NC, NON_CACHEABLE)
}

const fn attribute(index: u64, byte: u64) -> u64 {
    byte << (8 * index)
}

/// TxSZ for 48-bit addresses.
const SIZE_48: u64 = 64 - 48;
/// IRGN and ORGN: write-back, read and write allocate.
const WBWA: u64 = 0b01;
const INNER_SHAREABLE: u64 = 0b11;
const TG0_4K: u64 = 0b00;
/// The two granule fields do not share their encoding.
const TG1_4K: u64 = 0b10;

/// TCR_EL1: 48-bit addresses and 4 KiB granule in both halves, cacheable inner-shareable walks.
///
/// A1 = 0, so the ASID travels with the user table in TTBR0_EL1. No top byte is ignored, no walk
/// disabled. Hardware management of the access flag and dirty state is on where all CPUs have it.
pub const fn tcr(caps: &Caps) -> u64 {
    half(TG0_4K)
        | half(TG1_4K) << 16
        | ips(caps.pa_bits) << 32
        | only_if(caps.asid_bits >= 16, TCR_AS)
        | only_if(caps.hw_af, TCR_HA)
        | only_if(caps.hw_af && caps.hw_dirty, TCR_HD)
}

/// The fields that TTBR0's half of the addresses has from bit 0 on, and TTBR1's from bit 16.
const fn half(granule: u64) -> u64 {
    SIZE_48 | WBWA << 8 | WBWA << 10 | INNER_SHAREABLE << 12 | granule << 14
}

const fn only_if(condition: bool, bits: u64) -> u64 {
    if condition { bits } else { 0 }
}

/// TCR_EL1.AS: ASIDs of 16 bits.
pub const TCR_AS: u64 = 1 << 36;
/// TCR_EL1.HA: hardware sets the access flag.
pub const TCR_HA: u64 = 1 << 39;
/// TCR_EL1.HD: hardware marks writable-clean leaves dirty; works only with HA.
pub const TCR_HD: u64 = 1 << 40;

/// The code of the largest output size that the CPU has and that descriptors without FEAT_LPA2 can
/// express: 48 bits.
const fn ips(pa_bits: u8) -> u64 {
    match pa_bits {
        0..36 => 0b000,
        36..40 => 0b001,
        40..42 => 0b010,
        42..44 => 0b011,
        44..48 => 0b100,
        48.. => 0b101,
    }
}

/// The MMU.
const M: u64 = 1;
/// Data caches.
const C: u64 = 1 << 2;
/// Instruction caches.
const I: u64 = 1 << 12;
/// Stack alignment checks at EL1 and EL0.
const SA: u64 = 1 << 3 | 1 << 4;
/// Bits that are 1 on an Armv8.0 core, and what later cores made of them. EOS (11) and EIS (22):
/// exception exit and entry synchronise the context, which the barriers here count on. SPAN (23):
/// taking an exception leaves PAN alone. TSCXT (20), nTLSMD (28), LSMAOE (29). ITD (7) and SED (8)
/// are 1 on a core without AArch32, and nothing here runs AArch32.
const RES1: u64 = 1 << 7 | 1 << 8 | 1 << 11 | 1 << 20 | 1 << 22 | 1 << 23 | 1 << 28 | 1 << 29;
/// Nothing that EL0 might do traps for want of permission: DZE, UCT, nTWI, nTWE, UCI.
const EL0_FREE: u64 = 1 << 14 | 1 << 15 | 1 << 16 | 1 << 18 | 1 << 26;

/// SCTLR_EL1 with the MMU and caches on, little-endian.
///
/// WXN stays 0: it would forbid execution from the boot map, which is writable while it is used.
/// W^X is a property of the leaves instead. Alignment checks (A) stay off.
pub const fn sctlr() -> u64 {
    sctlr_mmu_off() | M | C | I
}

/// SCTLR_EL1 with the MMU and caches off: what a CPU needs before its translation registers are
/// set.
pub const fn sctlr_mmu_off() -> u64 {
    RES1 | EL0_FREE | SA
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mair_holds_each_type_at_its_index() {
        assert_eq!(mair(), 0x0044_04ff);
    }

    #[test]
    fn tcr_of_a_plain_core() {
        // Field by field: IPS 4 (44 bits), AS; TG1 2, SH1 3, ORGN1 1, IRGN1 1, T1SZ 16; TG0 0, ...
        assert_eq!(tcr(&Caps::CORTEX_A72), 0x14_b510_3510);
        let narrow = Caps { asid_bits: 8, pa_bits: 40, ..Caps::CORTEX_A72 };
        assert_eq!(tcr(&narrow), 0x02_b510_3510);
    }

    #[test]
    fn tcr_turns_hardware_management_on_where_it_is_and_stays_at_48_bits() {
        let value = tcr(&Caps::MAX);
        assert_eq!(value, 0x195_b510_3510);
        assert_eq!(value >> 59 & 1, 0, "DS");
        let half = Caps { hw_dirty: false, ..Caps::MAX };
        assert_eq!(tcr(&half) & (TCR_HA | TCR_HD), TCR_HA);
        let nonsense = Caps { hw_af: false, ..Caps::MAX };
        assert_eq!(tcr(&nonsense) & (TCR_HA | TCR_HD), 0, "HD works only with HA");
    }

    #[test]
    fn output_size_never_exceeds_what_the_core_has() {
        const SIZES: [u8; 6] = [32, 36, 40, 42, 44, 48];
        for pa_bits in 32..=64 {
            assert!(SIZES[ips(pa_bits) as usize] <= pa_bits);
        }
        for (code, pa_bits) in SIZES.into_iter().enumerate() {
            assert_eq!(ips(pa_bits), code as u64);
        }
    }

    #[test]
    fn sctlr_is_a_full_value() {
        assert_eq!(sctlr_mmu_off(), 0x34d5_c998);
        assert_eq!(sctlr(), 0x34d5_d99d);
        let (wxn, big_endian) = (1 << 19, 1 << 25 | 1 << 24);
        assert_eq!(sctlr() & (wxn | big_endian), 0);
    }
}
