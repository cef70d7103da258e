//! What the CPUs can do, as far as translation is concerned.
//!
//! Invariant: a [`Caps`] that the kernel acts on is the lowest common denominator of all CPUs that
//! run, since they share tables and broadcast to each other. Source: Arm ARM, "ID_AA64MMFR0_EL1" to
//! "ID_AA64MMFR2_EL1", "ID_AA64ISAR0_EL1", "CTR_EL0".

/// How much break-before-make the CPU spares when only the size of a mapping changes (FEAT_BBM).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum BbmLevel {
    /// Nothing is spared.
    L0,
    /// The Contiguous bit may be flipped and the nT bit used, at the risk of conflict aborts.
    L1,
    /// Sizes may be changed directly, at the risk of conflict aborts.
    L2,
    /// Sizes may be changed directly, and this CPU never raises a conflict abort for it.
    L2NoAbort,
}

/// Features and sizes, from the ID registers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Caps {
    /// Bits of an ASID: 8 or 16.
    pub asid_bits: u8,
    /// Bits of a physical address.
    pub pa_bits: u8,
    /// Break-before-make level, after the kernel's own list of cores that it trusts with one.
    pub bbm: BbmLevel,
    /// FEAT_TLBIRANGE.
    pub tlb_range: bool,
    /// FEAT_TTL: by-VA operations take a level hint.
    pub ttl: bool,
    /// Hardware sets the access flag (FEAT_HAFDBS, first half).
    pub hw_af: bool,
    /// Hardware marks writable-clean leaves dirty (FEAT_HAFDBS, second half).
    pub hw_dirty: bool,
    /// FEAT_TTCNP: CPUs may share TLB entries.
    pub cnp: bool,
    /// FEAT_LPA2 for the 4 KiB granule. Reported only: TCR_EL1.DS stays 0.
    pub lpa2: bool,
    /// Some core needs TLBI and DSB twice (an erratum).
    pub repeat_tlbi: bool,
    /// FEAT_ETS2: a walk is ordered after a DSB without an ISB.
    pub ets2: bool,
    /// FEAT_nTLBPA: walkers keep no descriptors by the physical address that they were read from.
    pub ntlbpa: bool,
    /// FEAT_LSE: single-instruction atomics.
    pub lse: bool,
    /// FEAT_PAN.
    pub pan: bool,
    /// FEAT_E0PD.
    pub e0pd: bool,
    /// Instruction fetches need no invalidation for new code (CTR_EL0.DIC).
    pub dic: bool,
    /// Data need no clean to the point of unification for new code (CTR_EL0.IDC).
    pub idc: bool,
}

impl Caps {
    /// Cortex-A72, the CPU of the Raspberry Pi 4: plain Armv8.0.
    pub const CORTEX_A72: Self = Self {
        asid_bits: 16,
        pa_bits: 44,
        bbm: BbmLevel::L0,
        tlb_range: false,
        ttl: false,
        hw_af: false,
        hw_dirty: false,
        cnp: false,
        lpa2: false,
        repeat_tlbi: false,
        ets2: false,
        ntlbpa: false,
        lse: false,
        pan: false,
        e0pd: false,
        dic: false,
        idc: false,
    };

    /// QEMU's `-cpu max`: every feature that this crate has a use for.
    pub const MAX: Self = Self {
        asid_bits: 16,
        pa_bits: 52,
        bbm: BbmLevel::L2,
        tlb_range: true,
        ttl: true,
        hw_af: true,
        hw_dirty: true,
        cnp: true,
        lpa2: true,
        repeat_tlbi: false,
        ets2: true,
        ntlbpa: false,
        lse: true,
        pan: true,
        e0pd: true,
        dic: true,
        idc: true,
    };

    /// What both can do, and every workaround that either needs.
    #[must_use]
    pub const fn merge(&self, other: &Self) -> Self {
        Self {
            asid_bits: least(self.asid_bits, other.asid_bits),
            pa_bits: least(self.pa_bits, other.pa_bits),
            bbm: if (self.bbm as u8) < other.bbm as u8 { self.bbm } else { other.bbm },
            tlb_range: self.tlb_range && other.tlb_range,
            ttl: self.ttl && other.ttl,
            hw_af: self.hw_af && other.hw_af,
            hw_dirty: self.hw_dirty && other.hw_dirty,
            cnp: self.cnp && other.cnp,
            lpa2: self.lpa2 && other.lpa2,
            repeat_tlbi: self.repeat_tlbi || other.repeat_tlbi,
            ets2: self.ets2 && other.ets2,
            ntlbpa: self.ntlbpa && other.ntlbpa,
            lse: self.lse && other.lse,
            pan: self.pan && other.pan,
            e0pd: self.e0pd && other.e0pd,
            dic: self.dic && other.dic,
            idc: self.idc && other.idc,
        }
    }
}

const fn least(a: u8, b: u8) -> u8 {
    if a < b { a } else { b }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merging_keeps_what_both_can_and_each_workaround() {
        let broken = Caps { repeat_tlbi: true, asid_bits: 8, ntlbpa: true, ..Caps::MAX };
        let both = broken.merge(&Caps::CORTEX_A72);
        assert_eq!(both, Caps { asid_bits: 8, repeat_tlbi: true, ..Caps::CORTEX_A72 });
        assert_eq!(both, Caps::CORTEX_A72.merge(&broken));
        assert_eq!(Caps::MAX.merge(&Caps::MAX), Caps::MAX);
    }
}
