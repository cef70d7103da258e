//! The question that a test asks: what is looked at in the end, what is claimed of it, and the answers.

use super::{EntryId, ObservedId, ThreadId, Value, Var};
use crate::instruction::{Place, Reg};
use alloc::{boxed::Box, vec::Vec};

/// What is looked at in the end.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Observed {
    /// A register.
    Register(ThreadId, Reg),
    /// An element of a variable, in the frame that it has at the beginning.
    Memory(Var, usize),
    /// A descriptor.
    Entry(EntryId),
    /// Whether there was a fault like this: 1 or 0.
    Fault(Fault),
}

/// Faults that are alike.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Fault {
    /// Whose.
    pub thread: ThreadId,
    /// At which instruction, or anywhere.
    pub place: Option<Place>,
    /// At which data, or anywhere.
    pub variable: Option<Var>,
    /// At which descriptor, or anywhere: what EL0 gets that tries to access one.
    pub entry: Option<EntryId>,
    /// Of which kind, or any.
    pub kind: Option<FaultKind>,
}

/// What was wrong.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum FaultKind {
    /// `MMU:Translation`: an entry is not valid.
    Translation,
    /// `MMU:AccessFlag`
    AccessFlag,
    /// `MMU:Permission`
    Permission,
}

impl FaultKind {
    /// The status code of such a fault at level 3, as ESR_EL1 and PAR_EL1 have it.
    #[doc(alias("DFSC", "FST"))]
    #[must_use]
    pub const fn status(self) -> u64 {
        match self {
            Self::Translation => 0b00_0111,
            Self::AccessFlag => 0b00_1011,
            Self::Permission => 0b00_1111,
        }
    }
}

/// Whose states a condition is about.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Quantifier {
    /// Can it be?
    Exists,
    /// It cannot be.
    NotExists,
    /// It is always so.
    ForAll,
}

/// The question.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Condition {
    /// Of which states.
    pub quantifier: Quantifier,
    /// What about them.
    pub proposition: Proposition,
}

/// What can be said of a final state.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Proposition {
    /// A place holds a value. Compared in the width of the place.
    Equals(ObservedId, Value),
    /// Two places hold the same.
    Same(ObservedId, ObservedId),
    /// Not so.
    Not(Box<Self>),
    /// All of them; nothing at all is true.
    All(Vec<Self>),
    /// One of them.
    Any(Vec<Self>),
}

/// An answer.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Verdict {
    /// Some permitted executions end so.
    Allowed,
    /// None does.
    Forbidden,
    /// All do.
    Required,
}

/// Which rules: what a CPU promises about translation faults (`ID_AA64MMFR1_EL1.ETS`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Column {
    /// No promise: what Armv8.0 guarantees.
    Base,
    /// `FEAT_ETS2`: a fault of no valid translation is seen after what precedes it, and a `DSB` orders walks.
    Ets2,
    /// `FEAT_ETS3`: the same of every fault.
    Ets3,
}

/// The answers that a text claims, where it does.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Expected {
    /// In [`Column::Base`].
    pub base: Option<Verdict>,
    /// In [`Column::Ets2`].
    pub ets2: Option<Verdict>,
}
