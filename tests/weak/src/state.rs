//! What the machine is like between two steps.
//!
//! Two states that are equal go on equally, whatever led to them, so each is looked at once. Nothing is kept
//! that no later step asks for: what is done leaves the window, and its registers stay.

use litmus::Test;
use litmus::instruction::Place;
use litmus::test::{FaultKind, ThreadId};

/// Descriptors, by their numbers in [`crate::fills::Universe`].
pub(crate) type Held = u128;

/// The machine.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct State {
    /// Memory, by the numbers of [`crate::Machine::index`]; what is behind the end is zero.
    pub(crate) memory: Vec<u64>,
    pub(crate) threads: Vec<Thread>,
}

/// A CPU.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Thread {
    /// After all that has left the window.
    pub(crate) registers: [u64; 31],
    pub(crate) equal: bool,
    pub(crate) elr: u64,
    pub(crate) pars: Vec<u64>,
    /// Values of TTBR0 that walks may begin with; all but the last until the context is synchronised.
    pub(crate) contexts: Vec<u64>,
    /// What is fetched next; `None`: the program is over.
    pub(crate) next: Option<Place>,
    /// Instructions in flight, in program order.
    pub(crate) window: Vec<Flight>,
    /// All that its TLB may hold.
    pub(crate) tlb: Held,
    /// The exclusive monitor: of which place, and whether somebody else has written there.
    pub(crate) monitor: Option<(u64, bool)>,
    /// Faults taken, each kind once.
    pub(crate) faults: Vec<Taken>,
    /// How often it has branched back.
    pub(crate) turns: u8,
}

/// A fault that was taken.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct Taken {
    pub(crate) place: Place,
    /// The address.
    pub(crate) va: u64,
    pub(crate) kind: FaultKind,
}

/// What the CPU bets on, where an instruction goes two ways.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Guess {
    None,
    Yes,
    No,
}

/// How an access is translated.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Translated {
    Not,
    Yes {
        /// The physical address.
        at: u64,
        /// The descriptor, in the universe.
        by: u8,
        /// What hardware will write, where.
        update: Option<(u64, u64)>,
    },
    Fault {
        kind: FaultKind,
        by: u8,
    },
}

/// Where a load's value comes from.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum From {
    Memory,
    /// A store of the same thread, so many instructions before, that was in flight.
    Flight(u8),
}

/// An instruction in flight.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Flight {
    pub(crate) place: Place,
    pub(crate) guess: Guess,
    pub(crate) translated: Translated,
    /// Its load has its value, its store is in memory, its fault is taken, its TLBI is under way. Of
    /// an atomic: its load.
    pub(crate) done: bool,
    /// Of an atomic: its store is in memory.
    pub(crate) stored: bool,
    /// Of a load: what it has read.
    pub(crate) value: u64,
    pub(crate) from: From,
    /// Of a load: somebody else has written there since, while an earlier load may be of the same place.
    pub(crate) overwritten: bool,
    /// Of an exclusive load: somebody else has written there since.
    pub(crate) lost: bool,
    /// Hardware's update is in memory.
    pub(crate) updated: bool,
    /// Of a TLBI under way: what each CPU may hold when it is over.
    pub(crate) left: Vec<Held>,
    /// Of a TLBI: it is over.
    pub(crate) over: bool,
    /// Of a new value of TTBR0: what the TLB may hold for the instructions before it.
    pub(crate) before: Held,
}

impl Flight {
    pub(crate) const fn new(place: Place, guess: Guess) -> Self {
        Self {
            place,
            guess,
            translated: Translated::Not,
            done: false,
            stored: false,
            value: 0,
            from: From::Memory,
            overwritten: false,
            lost: false,
            updated: false,
            left: Vec::new(),
            over: false,
            before: 0,
        }
    }

    /// Whether it is an access of this place.
    pub(crate) fn is_of(&self, place: u64) -> bool {
        matches!(self.translated, Translated::Yes { at, .. } if at == place)
    }

    /// Whether hardware has yet to write.
    pub(crate) const fn owes_update(&self) -> bool {
        matches!(self.translated, Translated::Yes { update: Some(_), .. }) && !self.updated
    }

    pub(crate) const fn is_fault(&self) -> bool {
        matches!(self.translated, Translated::Fault { .. })
    }
}

impl Thread {
    /// All that the TLB may hold for instruction `at`: nothing of a context that comes later.
    pub(crate) fn held(&self, at: usize) -> Held {
        let later = self.window[at + 1..].iter().find(|flight| flight.before != 0);
        later.map_or(self.tlb, |switch| switch.before)
    }

    /// Nobody's exclusive load of this place is good for a store any more.
    pub(crate) fn loses(&mut self, place: u64) {
        if let Some((of, lost)) = &mut self.monitor {
            *lost |= *of == place;
        }
        for flight in self.window.iter_mut().filter(|flight| flight.done && flight.is_of(place)) {
            flight.lost = true;
        }
    }

    pub(crate) fn new(test: &Test, layout: &litmus::Layout, thread: ThreadId) -> Self {
        let code = &test.threads[thread];
        let root = litmus::test::Value::Root(code.space, None);
        let mut registers = [0; 31];
        for (reg, value) in &code.registers {
            if let Some(register) = registers.get_mut(usize::from(reg.0)) {
                *register = layout.value(test, value);
            }
        }
        Self {
            registers,
            equal: false,
            elr: 0,
            pars: vec![0],
            contexts: vec![layout.value(test, &root)],
            next: Some(0),
            window: Vec::new(),
            tlb: 0,
            monitor: None,
            faults: Vec::new(),
            turns: 0,
        }
    }
}
