//! The instructions that a litmus test may use: AArch64's subset as data.
//!
//! An instruction's meaning is arithmetic on 64-bit numbers; addresses, descriptors and labels have become
//! numbers by a [`crate::Layout`] before the first one runs. What one computes,
//! and what its accesses may see, is the business of who runs it.

use abi::{Asid, Level, PAGE_SHIFT, VirtAddr};
use pte::{AsidMatch, Depth, Scope, Target, Tlbi};

/// A general-purpose register: 0 to 30, or [`Reg::ZERO`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Reg(pub u8);

impl Reg {
    /// Reads as nothing, forgets what is written.
    #[doc(alias = "XZR")]
    pub const ZERO: Self = Self(31);
}

/// How much of a register, or of memory, an instruction works on.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Width {
    /// 32 bits. A register's upper half becomes zero.
    W,
    /// 64 bits.
    X,
}

impl Width {
    /// In bytes.
    pub const fn bytes(self) -> u64 {
        match self {
            Self::W => 4,
            Self::X => 8,
        }
    }

    /// What of `value` fits.
    pub const fn cut(self, value: u64) -> u64 {
        match self {
            Self::W => value & 0xffff_ffff,
            Self::X => value,
        }
    }
}

/// The second operand of arithmetic, and an access's offset.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Source {
    /// A number in the instruction.
    Immediate(u64),
    /// A register.
    Register(Reg),
    /// The lower half of a register, with its sign extended or not (`SXTW`, `UXTW`).
    Extended {
        /// Which register.
        from: Reg,
        /// Whether bit 31 is repeated above.
        signed: bool,
    },
}

/// Arithmetic and logic.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Op {
    /// `ADD`
    Add,
    /// `SUB`; `CMP` is one whose result nobody keeps.
    Sub,
    /// `AND`
    And,
    /// `ORR`; `MOV` of a register is one with the zero register.
    Or,
    /// `EOR`
    Xor,
    /// `BIC`: and with the complement.
    Clear,
    /// `LSL`
    Left,
    /// `LSR`
    Right,
}

/// What the flags must say.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Flags {
    /// `EQ`: the last comparison found equals.
    Equal,
    /// `NE`
    NotEqual,
}

/// Which accesses a barrier is about.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Kind {
    /// Loads and stores before, both after.
    Full,
    /// `LD`: loads before, both after.
    Loads,
    /// `ST`: stores before; of a `DMB` stores after, of a `DSB` everything.
    Stores,
}

/// How far a barrier reaches. Each test runs within one inner shareable domain.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Domain {
    /// `NSH`: this CPU alone.
    Local,
    /// `ISH`
    Inner,
    /// `OSH`
    Outer,
    /// `SY`
    System,
}

/// What a load promises about later accesses.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Acquire {
    /// Nothing.
    No,
    /// `LDAPR`: they are seen after it.
    Weak,
    /// `LDAR`: they are seen after it, and it after earlier store-releases.
    Full,
}

/// A read-modify-write of one instruction.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Atomic {
    /// `SWP`
    Swap,
    /// `LDADD`
    Add,
    /// `LDSET`: or.
    Set,
    /// `LDCLR`: and with the complement.
    Clear,
    /// `LDEOR`
    Xor,
}

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

/// The system registers that tests read or write.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum System {
    /// Where the handler returns to.
    ElrEl1,
    /// What a fault was.
    EsrEl1,
    /// The address that faulted.
    FarEl1,
    /// What an address translation instruction found.
    ParEl1,
    /// The tables of the lower half, and the ASID.
    Ttbr0El1,
}

/// Where a branch goes: an index into [`crate::test::Thread::code`].
pub type Place = usize;

/// One instruction.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Instruction {
    /// `NOP`
    Nop,
    /// `MOV` of a number.
    Constant {
        /// How wide.
        width: Width,
        /// Where it goes.
        to: Reg,
        /// The number.
        value: u64,
    },
    /// Arithmetic, comparison (`CMP`: [`Op::Sub`] to [`Reg::ZERO`]), `MOV` between registers.
    Compute {
        /// What.
        op: Op,
        /// How wide.
        width: Width,
        /// Where the result goes.
        to: Reg,
        /// The first operand.
        left: Reg,
        /// The second.
        right: Source,
        /// Whether the result is compared with zero (`CMP`, `ADDS`, `SUBS`, `ANDS`).
        flags: bool,
    },
    /// `CSEL`, `CSINC`, `CSET`: one of two registers.
    Select {
        /// How wide.
        width: Width,
        /// Where the result goes.
        to: Reg,
        /// What it is when the flags agree.
        then: Reg,
        /// What it is otherwise.
        otherwise: Reg,
        /// Whether one is added to `otherwise` (`CSINC`; `CSET` with it reversed).
        plus_one: bool,
        /// What the flags must say.
        when: Flags,
    },
    /// `ADR`: the address of an instruction.
    Address {
        /// Where it goes.
        to: Reg,
        /// Which.
        of: Place,
    },
    /// `B`
    Branch {
        /// Where to.
        to: Place,
    },
    /// `B.EQ`, `B.NE`
    BranchIf {
        /// What the flags must say.
        when: Flags,
        /// Where to.
        to: Place,
    },
    /// `CBZ`, `CBNZ`
    BranchZero {
        /// How wide.
        width: Width,
        /// What is looked at.
        register: Reg,
        /// Whether it goes when that is zero, or when it is not.
        zero: bool,
        /// Where to.
        to: Place,
    },
    /// `LDR`, `LDAR`, `LDAPR`, `LDXR`, `LDAXR`
    Load {
        /// How wide.
        width: Width,
        /// Where the value goes.
        to: Reg,
        /// The address.
        base: Reg,
        /// Added to it.
        offset: Source,
        /// What it promises.
        acquire: Acquire,
        /// Whether it opens the exclusive monitor.
        exclusive: bool,
    },
    /// `STR`, `STLR`
    Store {
        /// How wide.
        width: Width,
        /// The value.
        from: Reg,
        /// The address.
        base: Reg,
        /// Added to it.
        offset: Source,
        /// Whether earlier accesses are seen before it.
        release: bool,
    },
    /// `STXR`, `STLXR`
    StoreExclusive {
        /// How wide.
        width: Width,
        /// 0 when it was stored, 1 when not.
        status: Reg,
        /// The value.
        from: Reg,
        /// The address.
        base: Reg,
        /// Whether earlier accesses are seen before it.
        release: bool,
    },
    /// `SWP`, `LDADD`, `LDSET`, `LDCLR`, and the forms without a result (`STADD`, `STSET`, `STCLR`).
    Atomic {
        /// What becomes of the value.
        op: Atomic,
        /// How wide.
        width: Width,
        /// The operand.
        from: Reg,
        /// Where the old value goes.
        to: Reg,
        /// The address.
        base: Reg,
        /// Whether its load acquires.
        acquire: bool,
        /// Whether its store releases.
        release: bool,
    },
    /// `CAS`
    CompareSwap {
        /// How wide.
        width: Width,
        /// What must be there; what was there, afterwards.
        expected: Reg,
        /// What is stored then.
        new: Reg,
        /// The address.
        base: Reg,
        /// Whether its load acquires.
        acquire: bool,
        /// Whether its store releases.
        release: bool,
    },
    /// `DMB`
    Dmb(Domain, Kind),
    /// `DSB`
    Dsb(Domain, Kind),
    /// `ISB`
    Isb,
    /// `TLBI`
    Tlbi {
        /// Which.
        op: TlbiOp,
        /// Its operand's register.
        operand: Reg,
    },
    /// `AT S1E1R`, `AT S1E1W`, `AT S1E0R`, `AT S1E0W`: asks for a translation, which `PAR_EL1` tells.
    Translate {
        /// Of a store.
        write: bool,
        /// Of an access from EL0.
        el0: bool,
        /// The address.
        address: Reg,
    },
    /// `MRS`
    ReadSystem {
        /// Where the value goes.
        to: Reg,
        /// Which.
        from: System,
    },
    /// `MSR`
    WriteSystem {
        /// Which.
        to: System,
        /// The value.
        from: Reg,
    },
    /// `ERET`: from the fault handler back.
    Eret,
    /// No instruction of the CPU: the thread's program is over here. Ends each column of the text.
    Stop,
}

impl Instruction {
    /// Whether it accesses memory.
    #[must_use]
    pub const fn is_access(&self) -> bool {
        matches!(
            self,
            Self::Load { .. }
                | Self::Store { .. }
                | Self::StoreExclusive { .. }
                | Self::Atomic { .. }
                | Self::CompareSwap { .. }
        )
    }
}
