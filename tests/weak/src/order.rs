//! What must come before what on one CPU: the architecture's *locally-ordered-before*, asked of one
//! instruction in flight: what of it may happen now?
//!
//! An order through something that is no step of its own, a barrier or a branch, is found by going through
//! the window once and remembering what is still to come.
//!
//! Source: Arm ARM, "Ordering relations", "Locally-ordered-before", "DSB-ordered-before", "Context
//! synchronization"; FEAT_ETS2, FEAT_ETS3.

use crate::is_switch;
use crate::state::{Flight, Guess, Thread, Translated};
use crate::values::Inputs;
use litmus::Column;
use litmus::instruction::{Acquire, Domain, Instruction, Kind, Reg};

/// An access, as far as orders are concerned.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Access {
    pub(crate) reads: bool,
    pub(crate) writes: bool,
    /// Whether what it reads goes to a register.
    pub(crate) kept: bool,
    pub(crate) acquire: Acquire,
    pub(crate) release: bool,
    pub(crate) exclusive: bool,
}

impl Access {
    /// Of an instruction in flight, if it is one.
    pub(crate) fn of(instruction: &Instruction, guess: Guess) -> Option<Self> {
        let plain = Self {
            reads: false,
            writes: false,
            kept: true,
            acquire: Acquire::No,
            release: false,
            exclusive: false,
        };
        let full = |acquire, kept| if acquire && kept { Acquire::Full } else { Acquire::No };
        Some(match *instruction {
            Instruction::Load { acquire, exclusive, .. } => {
                Self { reads: true, acquire, exclusive, ..plain }
            }
            Instruction::Store { release, .. } => Self { writes: true, release, ..plain },
            Instruction::StoreExclusive { release, .. } if guess != Guess::No => {
                Self { writes: true, release, exclusive: true, ..plain }
            }
            Instruction::Atomic { to, acquire, release, .. } => {
                let kept = to != Reg::ZERO;
                let acquire = full(acquire, kept);
                Self { reads: true, writes: true, kept, acquire, release, exclusive: false }
            }
            Instruction::CompareSwap { acquire, release, .. } => {
                let acquire = full(acquire, true);
                Self { reads: true, writes: true, acquire, release, ..plain }
            }
            _ => return None,
        })
    }

    /// A question for a translation, which accesses nothing.
    pub(crate) const fn question(write: bool) -> Self {
        Self {
            reads: false,
            writes: write,
            kept: false,
            acquire: Acquire::No,
            release: false,
            exclusive: false,
        }
    }

    /// Whether its load has yet to come.
    pub(crate) const fn owes_read(&self, flight: &Flight) -> bool {
        self.reads && !flight.done && !flight.is_fault()
    }

    /// Whether its store has yet to come.
    pub(crate) fn owes_write(&self, flight: &Flight, inputs: &Inputs) -> bool {
        if !self.writes || flight.is_fault() {
            return false;
        }
        match self.reads {
            false => !flight.done,
            // A comparison that fails stores nothing.
            true => !flight.stored && (!flight.done || inputs.way.value != Some(0)),
        }
    }
}

/// What may happen of an instruction now, as far as its own CPU is concerned.
#[derive(Clone, Debug, Default)]
pub(crate) struct Order {
    pub(crate) walk: bool,
    /// A walk that ends with a fault.
    pub(crate) no_entry: bool,
    pub(crate) no_right: bool,
    pub(crate) load: bool,
    pub(crate) store: bool,
    pub(crate) update: bool,
    pub(crate) fault: bool,
    pub(crate) tlbi: bool,
    /// Another value of TTBR0.
    pub(crate) switch: bool,
    /// TLBIs that are over before.
    pub(crate) ends: Vec<End>,
    /// Those that are over before it walks, or hardware updates for it.
    pub(crate) ends_walk: Vec<End>,
}

/// A TLBI that is over: in the window, on this CPU or on all.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct End {
    pub(crate) at: usize,
    pub(crate) everywhere: bool,
}

/// What is still to come of the instructions before.
#[derive(Clone, Copy, Default)]
struct Owed {
    reads: bool,
    kept: bool,
    writes: bool,
    walks: bool,
    /// Walks that nothing but a barrier waits for.
    questions: bool,
    updates: bool,
    tlbis: bool,
    branches: bool,
    addresses: bool,
    switches: bool,
    release: bool,
}

/// What of the later ones is held back.
#[derive(Clone, Copy, Default)]
struct Held {
    accesses: bool,
    stores: bool,
    waits: bool,
    all: bool,
}

/// What may happen now of instruction `at`.
pub(crate) fn order(
    column: Column,
    code: &[Instruction],
    thread: &Thread,
    inputs: &[Inputs],
    at: usize,
) -> Order {
    let ets2 = column >= Column::Ets2;
    let (mut owed, mut held) = (Owed::default(), Held::default());
    let (mut issued, mut order) = (Vec::new(), Order::default());
    for (nth, (flight, inputs)) in thread.window[..at].iter().zip(inputs).enumerate() {
        let instruction = &code[flight.place];
        if let Some(access) = Access::of(instruction, flight.guess) {
            let (reads, writes) = (access.owes_read(flight), access.owes_write(flight, inputs));
            owed.reads |= reads;
            owed.kept |= reads && access.kept;
            owed.writes |= writes;
            owed.walks |= flight.translated == Translated::Not;
            owed.updates |= flight.owes_update();
            owed.addresses |= inputs.address.certain().is_none();
            owed.release |= writes && access.release;
            held.accesses |= reads && access.acquire != Acquire::No;
            let both = access.acquire == Acquire::Full && access.release;
            held.accesses |= both && (reads || writes);
        }
        match *instruction {
            Instruction::BranchIf { .. } | Instruction::BranchZero { .. } => {
                owed.branches |= inputs.way.certain().is_none();
            }
            Instruction::Dmb(_, kind) => match kind {
                Kind::Full => held.accesses |= owed.reads || owed.writes,
                Kind::Loads => held.accesses |= owed.kept,
                Kind::Stores => held.stores |= owed.writes,
            },
            Instruction::Dsb(domain, Kind::Full) => {
                let walks = owed.walks || owed.questions || owed.updates;
                held.waits |= owed.reads || owed.writes || walks || owed.tlbis;
                // One of this CPU alone says nothing of others.
                let everywhere = domain != Domain::Local;
                order.ends.extend(issued.iter().map(|&at| End { at, everywhere }));
                if everywhere {
                    issued.clear();
                }
            }
            Instruction::Dsb(_, Kind::Loads) => held.waits |= owed.kept,
            Instruction::Dsb(_, Kind::Stores) => held.waits |= owed.writes,
            Instruction::Translate { .. } => {
                owed.questions |= flight.translated == Translated::Not;
                owed.updates |= flight.owes_update();
            }
            ref switch if is_switch(switch) => owed.switches |= !flight.done,
            Instruction::Tlbi { .. } => {
                owed.tlbis |= !flight.done;
                if flight.done && !flight.over {
                    issued.push(nth);
                }
            }
            _ => {}
        }
        let returns = matches!(instruction, Instruction::Isb | Instruction::Eret);
        if returns || flight.is_fault() {
            let unknown = owed.branches || owed.addresses || owed.switches;
            held.all |= unknown || owed.walks || held.waits;
            order.ends_walk = order.ends.clone();
        }
    }
    if ets2 {
        order.ends_walk = order.ends.clone();
    }
    let instruction = &code[thread.window[at].place];
    let access = Access::of(instruction, thread.window[at].guess);
    let acquires = access.is_some_and(|access| access.acquire == Acquire::Full);
    let releases = access.is_some_and(|access| access.release);
    let goes = !held.all && !held.waits;
    let certain = !owed.branches && !owed.addresses && !owed.walks;
    order.walk = !(held.all || ets2 && held.waits);
    order.no_entry = !ets2 || !owed.reads && !owed.writes;
    order.no_right = column < Column::Ets3 || order.no_entry;
    order.load = goes && !held.accesses && !(acquires && owed.release);
    order.store = goes && !held.accesses && !held.stores && certain;
    order.store &= !(releases && (owed.reads || owed.writes));
    order.update = order.walk && certain;
    order.fault = goes && !held.accesses && !held.stores;
    order.tlbi = goes && !owed.branches;
    order.switch = goes && !owed.switches;
    order
}

/// The values of TTBR0 that a walk for instruction `at` may begin with.
pub(crate) fn contexts(code: &[Instruction], thread: &Thread, at: usize) -> Vec<u64> {
    let mut contexts = thread.contexts.clone();
    for flight in &thread.window[..at] {
        let instruction = &code[flight.place];
        let returns = matches!(instruction, Instruction::Isb | Instruction::Eret);
        if is_switch(instruction) && flight.done {
            contexts.push(flight.value);
        } else if returns || flight.is_fault() {
            contexts.drain(..contexts.len() - 1);
        }
    }
    contexts
}
