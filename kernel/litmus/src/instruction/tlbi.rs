//! TLB invalidations: the instruction and its operand make the operation that the rest of granule knows.
//!
//! Source: Arm ARM, "TLB maintenance instructions", the fields of `TLBI VAE1` and `TLBI RVAE1`.

use abi::{Asid, Level, PAGE_SHIFT, VirtAddr};
use pte::{AsidMatch, Depth, Scope, Target, Tlbi};

/// What a TLBI names, its operand aside.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Named {
    /// `VMALLE1`: everything. No operand.
    All,
    /// `ASIDE1`: an ASID.
    Asid,
    /// `VAE1`, `VAAE1`, `VALE1`, `VAALE1`: an address.
    Va {
        /// Whether the operand's ASID counts; not so for the `A` forms.
        asid: bool,
        /// Whether table descriptors are kept: the `L` forms.
        last: bool,
    },
    /// The same with a range of addresses: the `R` forms.
    Range {
        /// As in [`Named::Va`].
        asid: bool,
        /// As in [`Named::Va`].
        last: bool,
    },
}

/// A TLB invalidation as an instruction: complete with its operand ([`TlbiOp::with`]).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct TlbiOp {
    /// What it names.
    pub named: Named,
    /// Whether other CPUs are meant as well.
    pub scope: Scope,
}

impl TlbiOp {
    /// What it invalidates, with `operand` in its register: the fields of 4 KiB pages.
    #[must_use]
    pub const fn with(self, operand: u64) -> Tlbi {
        let number = Asid((operand >> 48) as u16);
        let target = match self.named {
            Named::All => Target::All,
            Named::Asid => Target::Asid(number),
            Named::Va { asid, last } => Target::Va {
                va: page(operand & low(44)),
                asid: if asid { AsidMatch::Only(number) } else { AsidMatch::Any },
                depth: if last { Depth::LastLevel } else { Depth::AllLevels },
                hint: match operand >> 46 & 0b11 {
                    0b01 => hint(operand >> 44),
                    _ => None,
                },
            },
            Named::Range { asid, last } => Target::Range {
                start: page(operand & low(37)),
                scale: (operand >> 44 & low(2)) as u8,
                num: (operand >> 39 & low(5)) as u8,
                asid: if asid { AsidMatch::Only(number) } else { AsidMatch::Any },
                depth: if last { Depth::LastLevel } else { Depth::AllLevels },
                hint: hint(operand >> 37),
            },
        };
        Tlbi { target, scope: self.scope }
    }
}

const fn low(bits: u32) -> u64 {
    (1 << bits) - 1
}

const fn page(number: u64) -> VirtAddr {
    VirtAddr(number << PAGE_SHIFT)
}

const fn hint(field: u64) -> Option<Level> {
    match field & 0b11 {
        0b01 => Some(Level::Pud),
        0b10 => Some(Level::Pmd),
        0b11 => Some(Level::Pte),
        _ => None,
    }
}
