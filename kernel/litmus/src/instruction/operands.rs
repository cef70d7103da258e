//! What instructions work on, and the variants in which they come.

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
