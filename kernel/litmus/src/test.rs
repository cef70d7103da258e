//! What a litmus test is: threads, what memory and registers hold before, and a question about the end.
//!
//! Everything is a name here. A [`crate::Layout`] makes numbers of them, one way for the law, another for a
//! machine's memory, a third for a running kernel; so one test serves all three.
//!
//! Names of memory: a [`Var`] is data in a page of its own, mapped by a descriptor of its own
//! (`pte_x`, `PTE(x)`); an [`EntryName`] is a descriptor that the test speaks of.

mod question;

pub use question::{
    Column, Condition, Expected, Fault, FaultKind, Observed, Proposition, Quantifier, Verdict,
};

use crate::instruction::{Instruction, Place, Reg};
use abi::Level;
use alloc::{string::String, vec::Vec};
use pte::MemType;

/// An index into [`Test::variables`].
pub type Var = usize;
/// An index into [`Test::entries`].
pub type EntryId = usize;
/// An index into [`Test::threads`].
pub type ThreadId = usize;
/// An index into [`Test::observed`].
pub type ObservedId = usize;

/// A litmus test.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Test {
    /// Its name.
    pub name: String,
    /// What its text says about it, a line each.
    pub notes: Vec<String>,
    /// What becomes of a thread that faults and has no handler.
    pub faults: Faults,
    /// Data.
    pub variables: Vec<Variable>,
    /// Translation tables beyond those that every address space has.
    pub tables: Vec<String>,
    /// Address spaces; the first one always exists, and threads start in it unless they say otherwise.
    pub spaces: Vec<Space>,
    /// The descriptors that the test speaks of. Those of each variable's page in the first space are among
    /// them, spoken of or not: the one of variable `v` is entry `v`.
    pub entries: Vec<EntryName>,
    /// What the descriptors hold at the beginning, by [`EntryId`].
    pub initial: Vec<Descriptor>,
    /// The threads.
    pub threads: Vec<Thread>,
    /// What is looked at in the end.
    pub observed: Vec<Observed>,
    /// The question.
    pub condition: Condition,
    /// The answers that its text claims.
    pub expected: Expected,
}

/// Data in a page of its own.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// How wide an element is, in bytes: 4 or 8.
    pub width: u64,
    /// What the elements are at the beginning; at least one.
    pub initial: Vec<Value>,
    /// Which neighbours it has: variables of one group lie in neighbouring pages, in their order, the first
    /// one at the beginning of a contiguous set. Of other groups, not even the level-3 table is shared.
    pub group: usize,
}

/// An address space: tables of its own for every variable.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Space {
    /// Its name.
    pub name: String,
    /// Its ASID, which `TTBR(name)` carries.
    pub asid: u16,
}

/// Which table a descriptor is in: one that a space has from the beginning, or one of [`Test::tables`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Holder {
    /// An index into [`Test::spaces`].
    Space(usize),
    /// An index into [`Test::tables`].
    Table(usize),
}

/// A descriptor: the one at the place that `variable`'s address has in a table of `level`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct EntryName {
    /// Whose.
    pub variable: Var,
    /// `PTE(x)`, `PMD(x)`, `PUD(x)`, `PGD(x)`.
    pub level: Level,
    /// In which table.
    pub within: Holder,
}

/// What a descriptor leads to.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Output {
    /// The frame that a variable has at the beginning, or the block around it.
    Frame(Var),
    /// The table of the next level that a space has for this address.
    Next(Holder),
    /// Nothing: a word of zeroes.
    None,
}

/// A descriptor, field by field (`(oa:PA(x), valid:1, af:1, db:1, dbm:0)`).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Descriptor {
    /// What it leads to.
    pub output: Output,
    /// Whose address it is about: the place in the table, and the table that `Next` of a space means.
    pub of: Option<Var>,
    /// Which level it is made for: below the last one, a frame is a block.
    pub level: Level,
    /// Whether walkers take it.
    pub valid: bool,
    /// The access flag.
    pub af: bool,
    /// Whether it can be written (`AP[2]` clear): with hardware's help, that it has been.
    pub db: bool,
    /// Whether hardware may set that (`DBM`).
    pub dbm: bool,
    /// Whether EL0 may access it.
    pub el0: bool,
    /// Whether it is of one ASID (`nG`).
    pub ng: bool,
    /// Whether it is of a contiguous set.
    pub cont: bool,
    /// What kind of memory.
    pub memory: MemType,
}

impl Descriptor {
    /// A mapping of `variable`'s frame with nothing special about it.
    #[must_use]
    pub const fn page(variable: Var) -> Self {
        Self {
            output: Output::Frame(variable),
            of: Some(variable),
            level: Level::Pte,
            valid: true,
            af: true,
            db: true,
            dbm: false,
            el0: true,
            ng: false,
            cont: false,
            memory: MemType::Normal,
        }
    }
}

/// What a register, a memory word or a comparison may name.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Value {
    /// A number.
    Number(u64),
    /// The address of a variable's first element, and bytes behind it.
    Address(Var, u64),
    /// The physical address of a variable's frame.
    Frame(Var),
    /// The address of a descriptor, for instructions to write it by.
    Entry(EntryId),
    /// The address of an instruction.
    Label(ThreadId, Place),
    /// A descriptor's word.
    Descriptor(Descriptor),
    /// `TTBR0_EL1`: a space's root, and its ASID or another.
    Root(usize, Option<u16>),
    /// The operand of a TLBI.
    Operand(Operand),
}

/// A TLBI's operand, field by field (`(va:x, asid:1, ttl:3)`, `(va:x, scale:0, num:1)`).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Operand {
    /// The page, or the first one of a range.
    pub va: Option<Var>,
    /// Pages behind that.
    pub plus: u64,
    /// `ASID`
    pub asid: u16,
    /// `TTL`: 0 promises nothing, 1 to 3 that the leaf is of this level.
    pub ttl: u8,
    /// `SCALE` and `NUM`, of a range.
    pub range: Option<(u8, u8)>,
}

/// What becomes of a thread that faults and has no handler.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Faults {
    /// It is over (`fatal`, `precise`). The rule.
    Fatal,
    /// It tries the instruction once more (`handled`, `imprecise`).
    Retry,
    /// It goes on behind the instruction (`skip`).
    Skip,
}

/// One column of the text.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Thread {
    /// The program, ended by [`Instruction::Stop`]; the handler's behind that, ended so as well.
    pub code: Vec<Instruction>,
    /// Where the handler of faults begins, if there is one.
    pub handler: Option<Place>,
    /// Names of places in `code`.
    pub labels: Vec<(String, Place)>,
    /// What registers hold at the beginning; the others hold zero.
    pub registers: Vec<(Reg, Value)>,
    /// Whether it runs at EL0.
    pub el0: bool,
    /// Whether hardware sets access flags for it (`TCR_EL1.HA`).
    pub ha: bool,
    /// Whether hardware sets dirty state for it (`TCR_EL1.HD`).
    pub hd: bool,
    /// The space it starts in.
    pub space: usize,
    /// Variables that it has used before: a wish that machines fulfil by one access each before the test,
    /// so that a TLB holds something. Allows nothing and forbids nothing.
    pub preload: Vec<Var>,
    /// Whether it is a device behind an SMMU: no CPU, and deaf to TLBIs.
    pub device: bool,
}

impl Test {
    /// The name of a thread's place: a label, or the index.
    #[must_use]
    pub fn label(&self, thread: ThreadId, place: Place) -> Option<&str> {
        let labels = &self.threads.get(thread)?.labels;
        labels.iter().find(|(_, at)| *at == place).map(|(name, _)| name.as_str())
    }
}
