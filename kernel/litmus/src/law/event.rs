//! Events: what an instruction does that others can notice, or that orders what others do.
//!
//! A thread's run is a [`Trace`]: its events in program order, with what they depend on. The words are the
//! architecture's; an *Explicit* effect is one that the program asked for, an *Implicit* one is the walk's.

use super::set::Set;
use crate::instruction::{Acquire, Domain, Kind, Place};
use crate::semantics::Registers;
use crate::test::{EntryId, FaultKind, Var};
use abi::{Asid, Level, VirtAddr};
use alloc::vec::Vec;
use pte::Tlbi;

/// What a walk's read was for: TLBIs ask.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Walk {
    pub(crate) va: VirtAddr,
    pub(crate) asid: Asid,
    pub(crate) level: Level,
    /// Whether the descriptor ends the walk.
    pub(crate) leaf: bool,
    /// Whether the translation is of all ASIDs.
    pub(crate) global: bool,
    /// Whether no TLB can hold it, and the access faults for that.
    pub(crate) absent: bool,
}

/// What an event is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Effect {
    /// Implicit read of a descriptor.
    Walk(Walk),
    /// Hardware sets a descriptor's access flag or dirty state.
    Update,
    /// Explicit read. `kept` if its value goes to a register.
    Read {
        acquire: Acquire,
        kept: bool,
    },
    /// Explicit write.
    Write {
        release: bool,
    },
    /// A fault: exception entry.
    Fault(FaultKind),
    /// Return from an exception.
    Return,
    Dmb(Kind),
    Dsb(Domain, Kind),
    Isb,
    Tlbi(Tlbi),
    /// A new value of the register that says where walks begin, and of which ASID they are.
    Context,
}

/// What an event may come from: reads whose values reach it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub(crate) struct Sources {
    /// Through data.
    pub(crate) data: Set,
    /// Through data, and through choices between data: a superset.
    pub(crate) pick: Set,
}

impl core::ops::BitOr for Sources {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        Self { data: self.data | other.data, pick: self.pick | other.pick }
    }
}

impl core::ops::BitOrAssign for Sources {
    fn bitor_assign(&mut self, other: Self) {
        *self = *self | other;
    }
}

/// One event of a trace.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Event {
    pub(crate) effect: Effect,
    /// Which instruction of the run it is of: the first one is 0.
    pub(crate) step: u32,
    /// The physical address, of accesses.
    pub(crate) location: u64,
    /// What was read or written.
    pub(crate) value: u64,
    /// What its address depends on.
    pub(crate) address: Sources,
    /// What the value that it writes depends on.
    pub(crate) data: Sources,
    /// What the branches before it depend on.
    pub(crate) control: Sources,
    /// What has reached it any way but by control.
    pub(crate) flow: Sources,
    /// The walk's reads that it was translated with, of accesses and faults.
    pub(crate) walk: Set,
    /// The write before it in program order, of the same place, of reads.
    pub(crate) local_write: Option<u8>,
    /// The read that it makes one atomic update with, of writes.
    pub(crate) pair: Option<u8>,
    /// Whether that is one instruction, not two exclusive ones.
    pub(crate) one: bool,
    /// The offset in the page, of accesses.
    pub(crate) offset: u64,
}

impl Event {
    pub(crate) const fn is_explicit(&self) -> bool {
        matches!(self.effect, Effect::Read { .. } | Effect::Write { .. })
    }

    pub(crate) const fn is_read(&self) -> bool {
        matches!(self.effect, Effect::Read { .. } | Effect::Walk(_))
    }

    pub(crate) const fn is_write(&self) -> bool {
        matches!(self.effect, Effect::Write { .. } | Effect::Update | Effect::Context)
    }

    /// Whether orders between threads pass through it.
    pub(crate) const fn is_global(&self) -> bool {
        self.is_read()
            || self.is_write()
            || matches!(self.effect, Effect::Fault(_) | Effect::Tlbi(_))
    }
}

/// A fault as conditions ask for it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Faulted {
    pub(crate) place: Place,
    pub(crate) variable: Option<Var>,
    pub(crate) entry: Option<EntryId>,
    pub(crate) kind: FaultKind,
}

/// One way for a thread to run.
#[derive(Clone, Debug)]
pub(crate) struct Trace {
    pub(crate) events: Vec<Event>,
    pub(crate) registers: Registers,
    pub(crate) faults: Vec<Faulted>,
}
