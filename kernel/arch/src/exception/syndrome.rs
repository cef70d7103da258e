//! ESR_EL1 in words: what kind of exception, what kind of abort, at which level. Pure.
//!
//! Source: Arm ARM, "ESR_EL1, Exception Syndrome Register (EL1)", the EC table and the ISS encodings
//! for an Instruction Abort and a Data Abort.

use abi::{Access, Level};
use core::fmt;

/// The value of ESR_EL1 as an exception left it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Syndrome(pub u64);

/// Exception classes that the fast path tells apart.
pub(super) const EC_UNKNOWN: u64 = 0x00;
/// Instruction abort from EL0, and one taken without a change of exception level.
const EC_INSTRUCTION_ABORT_EL0: u64 = 0x20;
const EC_INSTRUCTION_ABORT: u64 = 0x21;
/// Data abort from EL0, and one taken without a change of exception level.
const EC_DATA_ABORT_EL0: u64 = 0x24;
const EC_DATA_ABORT: u64 = 0x25;

/// Why a memory access was refused.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum FaultKind {
    /// An address in a descriptor (or a TTBR) is larger than the machine's.
    AddressSize,
    /// No valid descriptor: nothing is mapped, or it is being changed.
    Translation,
    /// The descriptor's access flag is clear, and the hardware does not set it.
    AccessFlag,
    /// A valid descriptor that does not permit the access.
    Permission,
    /// The memory system answered the access with an error.
    External,
    /// The memory system answered a fetch of the table walk with an error.
    ExternalOnWalk,
    /// As `External`, and the error is one of parity or ECC.
    Parity,
    /// As `ExternalOnWalk`, and the error is one of parity or ECC.
    ParityOnWalk,
    /// An address that is not a multiple of what the access needs.
    Alignment,
    /// Two TLB entries for one address: break-before-make was skipped.
    TlbConflict,
    /// The hardware's own update of a descriptor could not be atomic.
    UnsupportedUpdate,
    /// An exclusive or atomic access to memory that has none.
    UnsupportedExclusive,
    /// A tag check failed.
    TagCheck,
    /// A code this file has no word for; the number is DFSC or IFSC.
    Other(u8),
}

impl Syndrome {
    /// EC: the exception class.
    #[inline]
    pub const fn class(self) -> u64 {
        self.0 >> 26 & 0x3f
    }

    /// ISS: the class's own syndrome.
    pub const fn specific(self) -> u64 {
        self.0 & 0x1ff_ffff
    }

    /// What was tried, if this is an abort.
    #[inline(always)]
    pub const fn access(self) -> Option<Access> {
        /// Set for a store, and for cache maintenance although that stores nothing.
        const WNR: u64 = 1 << 6;
        const CACHE_MAINTENANCE: u64 = 1 << 8;
        match self.class() {
            EC_DATA_ABORT | EC_DATA_ABORT_EL0 => {
                let store = self.0 & (WNR | CACHE_MAINTENANCE) == WNR;
                Some(if store { Access::Write } else { Access::Read })
            }
            EC_INSTRUCTION_ABORT | EC_INSTRUCTION_ABORT_EL0 => Some(Access::Exec),
            _ => None,
        }
    }

    /// Of an abort: whether the tables said no, which is what a memory manager can answer.
    /// Everything else is broken hardware or a broken program.
    #[inline(always)]
    pub const fn is_translation_matter(self) -> bool {
        self.status_code() <= 0x0f || matches!(self.status_code(), 0x29 | 0x2b)
    }

    /// DFSC or IFSC.
    const fn status_code(self) -> u8 {
        (self.0 & 0x3f) as u8
    }

    /// Of an abort: why, and where in the walk. No level where the code names none, or names
    /// level -1, which only addresses of more than 48 bits have.
    pub const fn status(self) -> (FaultKind, Option<Level>) {
        let code = self.status_code();
        let (kind, has_level) = match code {
            0x00..=0x03 => (FaultKind::AddressSize, true),
            0x04..=0x07 => (FaultKind::Translation, true),
            0x08..=0x0b => (FaultKind::AccessFlag, true),
            0x0c..=0x0f => (FaultKind::Permission, true),
            0x10 => (FaultKind::External, false),
            0x11 => (FaultKind::TagCheck, false),
            0x13 => (FaultKind::ExternalOnWalk, false),
            0x14..=0x17 => (FaultKind::ExternalOnWalk, true),
            0x18 => (FaultKind::Parity, false),
            0x1b => (FaultKind::ParityOnWalk, false),
            0x1c..=0x1f => (FaultKind::ParityOnWalk, true),
            0x21 => (FaultKind::Alignment, false),
            0x29 => (FaultKind::AddressSize, false),
            0x2b => (FaultKind::Translation, false),
            0x30 => (FaultKind::TlbConflict, false),
            0x31 => (FaultKind::UnsupportedUpdate, false),
            0x35 => (FaultKind::UnsupportedExclusive, false),
            other => (FaultKind::Other(other), false),
        };
        let level = match (has_level, code & 3) {
            (false, _) => None,
            (true, 0) => Some(Level::Pgd),
            (true, 1) => Some(Level::Pud),
            (true, 2) => Some(Level::Pmd),
            (true, _) => Some(Level::Pte),
        };
        (kind, level)
    }

    /// FAR_EL1 tells the address of this exception.
    pub const fn has_address(self) -> bool {
        /// FnV: "FAR not valid", for some external aborts.
        const FAR_NOT_VALID: u64 = 1 << 10;
        match self.class() {
            EC_INSTRUCTION_ABORT_EL0 | EC_INSTRUCTION_ABORT | EC_DATA_ABORT_EL0 | EC_DATA_ABORT => {
                self.0 & FAR_NOT_VALID == 0
            }
            // PC alignment, watchpoint.
            0x22 | 0x34 | 0x35 => true,
            _ => false,
        }
    }

    const fn class_name(self) -> &'static str {
        match self.class() {
            EC_UNKNOWN => "undefined instruction",
            0x01 => "trapped WFI or WFE",
            0x07 => "floating-point or SIMD instruction (the kernel uses none)",
            0x0d => "branch target exception",
            0x0e => "illegal execution state",
            0x15 => "SVC instruction",
            0x16 => "HVC instruction",
            0x17 => "SMC instruction",
            0x18 => "trapped system register access",
            0x19 => "SVE instruction",
            0x1c => "pointer authentication failure",
            EC_INSTRUCTION_ABORT_EL0 => "instruction abort from EL0",
            EC_INSTRUCTION_ABORT => "instruction abort",
            0x22 => "PC alignment fault",
            EC_DATA_ABORT_EL0 => "data abort from EL0",
            EC_DATA_ABORT => "data abort",
            0x26 => "SP alignment fault",
            0x27 => "memory copy or set exception",
            0x2f => "SError",
            0x30 | 0x31 => "breakpoint",
            0x32 | 0x33 => "software step",
            0x34 | 0x35 => "watchpoint",
            0x3c => "BRK instruction",
            _ => "exception of an unknown class",
        }
    }
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AddressSize => "address size fault",
            Self::Translation => "translation fault",
            Self::AccessFlag => "access flag fault",
            Self::Permission => "permission fault",
            Self::External => "synchronous external abort",
            Self::ExternalOnWalk => "external abort on a table walk",
            Self::Parity => "parity or ECC error",
            Self::ParityOnWalk => "parity or ECC error on a table walk",
            Self::Alignment => "alignment fault",
            Self::TlbConflict => "TLB conflict abort",
            Self::UnsupportedUpdate => "unsupported atomic hardware update",
            Self::UnsupportedExclusive => "exclusive or atomic access to unsuitable memory",
            Self::TagCheck => "tag check fault",
            Self::Other(code) => return write!(f, "fault status {code:#x}"),
        })
    }
}

impl fmt::Display for Syndrome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.class_name())?;
        if let Some(access) = self.access() {
            let (kind, level) = self.status();
            write!(f, ": {access}, {kind}")?;
            if let Some(level) = level {
                write!(f, ", level {} ({level})", level as u8)?;
            }
        } else if self.class() == 0x3c || self.class() == 0x15 {
            write!(f, " #{:#x}", self.specific() & 0xffff)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    fn data(iss: u64) -> Syndrome {
        Syndrome(EC_DATA_ABORT << 26 | 1 << 25 | iss)
    }

    #[test]
    fn abort_names_access_kind_and_level() {
        let esr = data(0x47);
        assert_eq!(esr.access(), Some(Access::Write));
        assert_eq!(esr.status(), (FaultKind::Translation, Some(Level::Pte)));
        assert_eq!(data(0x0e).status(), (FaultKind::Permission, Some(Level::Pmd)));
        assert_eq!(data(0x10).status(), (FaultKind::External, None));
    }

    #[test]
    fn cache_maintenance_is_not_a_write() {
        assert_eq!(data(1 << 8 | 1 << 6 | 0x07).access(), Some(Access::Read));
    }

    #[test]
    fn fetch_is_an_exec_access() {
        let esr = Syndrome(EC_INSTRUCTION_ABORT << 26 | 0x0f);
        assert_eq!(esr.access(), Some(Access::Exec));
        assert_eq!(esr.to_string(), "instruction abort: execute, permission fault, level 3 (pte)");
    }

    #[test]
    fn what_tables_say_is_told_from_what_hardware_says() {
        use FaultKind::{AccessFlag, AddressSize, Permission, Translation};
        for code in 0..64 {
            let (kind, _) = data(code).status();
            let by_table = matches!(kind, AddressSize | Translation | AccessFlag | Permission);
            assert_eq!(data(code).is_translation_matter(), by_table, "{code:#x}");
        }
    }

    #[test]
    fn every_class_prints() {
        for class in 0..64u64 {
            assert!(!Syndrome(class << 26).to_string().is_empty());
        }
        assert_eq!(Syndrome(0x3c << 26 | 7).to_string(), "BRK instruction #0x7");
    }

    #[test]
    fn address_is_trusted_only_where_the_hardware_gives_one() {
        assert!(data(0x07).has_address());
        assert!(!data(1 << 10 | 0x10).has_address());
        assert!(!Syndrome(0x2f << 26).has_address());
    }
}
