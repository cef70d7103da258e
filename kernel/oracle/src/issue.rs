//! A TLBI, as debts look at it.

use crate::cover::Span;
use abi::{Asid, Level};
use pte::{AsidMatch, Scope, Target, Tlbi};

/// Who issued an operation, and so whom it reaches.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Source {
    /// A CPU's TLBI.
    Tlbi {
        /// Which CPU's.
        cpu: u8,
        /// How far.
        scope: Scope,
    },
    /// A command to a device.
    Command {
        /// Which one.
        device: u8,
        /// Who told it.
        cpu: u8,
    },
}

/// An operation that was issued, and what all debts ask of it.
pub(crate) struct Issue {
    pub(crate) op: Tlbi,
    pub(crate) source: Source,
    pub(crate) at: u64,
    /// The addresses that it names, if it goes by them.
    pub(crate) span: Option<Span>,
}

impl Issue {
    pub(crate) fn new(op: Tlbi, source: Source, at: u64) -> Self {
        Self { op, source, at, span: op.range().map(|range| (range.start.0, range.end.0)) }
    }
}

/// What an operation carries.
pub(crate) trait Operand {
    fn asid(&self) -> Asid;
    fn covers_asid(&self, asid: Asid) -> bool;
    fn covers_every_asid(&self) -> bool;
    fn hint(&self) -> Option<Level>;
}

impl Operand for Tlbi {
    fn asid(&self) -> Asid {
        match self.target {
            Target::Asid(asid)
            | Target::Va { asid: AsidMatch::Only(asid), .. }
            | Target::Range { asid: AsidMatch::Only(asid), .. } => asid,
            _ => Asid(0),
        }
    }

    fn covers_asid(&self, asid: Asid) -> bool {
        match self.target {
            Target::All => true,
            Target::Asid(only) => only == asid,
            Target::Va { asid: only, .. } | Target::Range { asid: only, .. } => {
                only == AsidMatch::Any || only == AsidMatch::Only(asid)
            }
        }
    }

    fn covers_every_asid(&self) -> bool {
        match self.target {
            Target::All => true,
            Target::Asid(_) => false,
            Target::Va { asid, .. } | Target::Range { asid, .. } => asid == AsidMatch::Any,
        }
    }

    fn hint(&self) -> Option<Level> {
        match self.target {
            Target::Va { hint, .. } | Target::Range { hint, .. } => hint,
            _ => None,
        }
    }
}
