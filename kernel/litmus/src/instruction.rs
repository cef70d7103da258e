//! The instructions that a litmus test may use: AArch64's subset as data.
//!
//! An instruction's meaning is arithmetic on 64-bit numbers; addresses, descriptors and labels have become
//! numbers by a [`crate::Layout`] before the first one runs. What one computes,
//! and what its accesses may see, is the business of who runs it.

mod operands;
mod tlbi;

pub use operands::{Acquire, Atomic, Domain, Flags, Kind, Op, Reg, Source, System, Width};
pub use tlbi::{Named, TlbiOp};

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
