//! GICv3's CPU interface: the ICC system registers of the calling CPU.
//!
//! The only assembly of this room besides barriers. On the host there is no such interface: each
//! register is a word that remembers what was written, so that tests can look.

macro_rules! system_register {
    ($(#[$doc:meta])* $module:ident, $name:literal) => {
        $(#[$doc])*
        #[allow(dead_code, reason = "not every register is both read and written")]
        pub(super) mod $module {
            #[cfg(target_arch = "aarch64")]
            #[inline]
            pub(in super::super) fn read() -> u64 {
                let value;
                // SAFETY: the CPU has this register (the constructor's contract); reading it
                // touches no memory.
                unsafe {
                    core::arch::asm!(concat!("mrs {}, ", $name), out(reg) value,
                        options(nostack, preserves_flags));
                }
                value
            }

            #[cfg(target_arch = "aarch64")]
            #[inline]
            pub(in super::super) fn write(value: u64) {
                // SAFETY: as above; it changes which interrupts come, not what memory holds.
                unsafe {
                    core::arch::asm!(concat!("msr ", $name, ", {}"), in(reg) value,
                        options(nostack, preserves_flags));
                }
            }

            #[cfg(not(target_arch = "aarch64"))]
            static WORD: core::sync::atomic::AtomicU64 = core::sync::atomic::AtomicU64::new(0);

            #[cfg(not(target_arch = "aarch64"))]
            pub(in super::super) fn read() -> u64 {
                WORD.load(core::sync::atomic::Ordering::Relaxed)
            }

            #[cfg(not(target_arch = "aarch64"))]
            pub(in super::super) fn write(value: u64) {
                WORD.store(value, core::sync::atomic::Ordering::Relaxed);
            }
        }
    };
}

system_register! {
    /// System register enable: bit 0.
    sre, "ICC_SRE_EL1"
}
system_register! {
    /// Control: EOI mode, bits of priority, range selector.
    ctlr, "ICC_CTLR_EL1"
}
system_register! {
    /// Priority mask: lower values come through.
    pmr, "ICC_PMR_EL1"
}
system_register! {
    /// Binary point of group 1.
    bpr1, "ICC_BPR1_EL1"
}
system_register! {
    /// Enable of group 1.
    igrpen1, "ICC_IGRPEN1_EL1"
}
system_register! {
    /// Acknowledge, group 1.
    iar1, "ICC_IAR1_EL1"
}
system_register! {
    /// End of interrupt, group 1.
    eoir1, "ICC_EOIR1_EL1"
}
system_register! {
    /// Send a group 1 SGI of this Security state.
    sgi1r, "ICC_SGI1R_EL1"
}
system_register! {
    /// Active priorities of group 1, first word.
    ap1r0, "ICC_AP1R0_EL1"
}
system_register! {
    /// Second word; only with 6 or more bits of priority.
    ap1r1, "ICC_AP1R1_EL1"
}
system_register! {
    /// Third word; only with 7 or more bits of priority.
    ap1r2, "ICC_AP1R2_EL1"
}
system_register! {
    /// Fourth word; only with 7 or more bits of priority.
    ap1r3, "ICC_AP1R3_EL1"
}
