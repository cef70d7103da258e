//! A machine of weakly ordered CPUs, each with a TLB and walk caches, that takes every step the
//! architecture lets it take; explored to the end. It runs litmus tests, and reaches all that the law
//! allows and nothing else.
//!
//! # How it works
//! Memory is one. A CPU has its instructions in flight; each may take its step, out of program order, once
//! what is ordered before it on its own CPU has happened. A load takes its value from memory, or from a store
//! of its own thread that is still in flight; a store goes to memory when nothing can undo it.
//! Translation is a step of its own, and may come early. It chooses among all that the TLB may hold, which
//! is everything that a walker could have found since a TLBI removed it; a fault comes only of what is
//! in the tables at that moment. A TLBI takes effect where its issuer waits for it.
//!
//! | file | concern |
//! | --- | --- |
//! | `state` | what the machine is like between two steps |
//! | `order` | what must come before what on one CPU |
//! | `values` | what instructions in flight compute, as far as it is known |
//! | `fills` | what TLBs may hold |
//! | `step` | the steps |
//! | `translate` | an access is translated, or faults |
//! | `access` | a load gets its value, a store goes to memory |
//! | `flush` | TLBIs |
//! | `window` | instructions come into flight and leave it |
//! | `outcome` | how runs end, and what that says |

#![forbid(unsafe_code)]

mod access;
mod fills;
mod flush;
mod order;
mod outcome;
mod state;
mod step;
mod translate;
mod values;
mod window;

pub use outcome::{Outcome, Outcomes};

use abi::VirtAddr;
use fills::Universe;
use litmus::instruction::{Instruction, System};
use litmus::test::ThreadId;
use litmus::{Column, Layout, Test};
use state::{State, Thread};
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};

/// A test that is too much for the machine, or says what it does not understand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TooLarge(pub &'static str);

impl fmt::Display for TooLarge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not explored: {}", self.0)
    }
}

impl std::error::Error for TooLarge {}

/// A test on the machine.
pub(crate) struct Machine<'t> {
    test: &'t Test,
    layout: Layout,
    column: Column,
    /// The pages that the test can translate.
    pages: Vec<VirtAddr>,
    /// Places of memory, by number.
    places: HashMap<u64, usize>,
    universe: Universe,
    /// Whether a loop was left before its end.
    cut: bool,
}

/// Every way in which a test can end, on CPUs that promise what `column` says. `most`: how many states to look
/// at before giving up.
pub fn explore(test: &Test, column: Column, most: usize) -> Result<Outcomes, TooLarge> {
    let mut machine = Machine::new(test, column)?;
    let first = machine.first()?;
    let mut open = machine.settled(first)?;
    let mut seen: HashSet<u128> = open.iter().map(fingerprint).collect();
    let mut outcomes = Outcomes::default();
    while let Some(state) = open.pop() {
        if state.threads.iter().all(|here| here.next.is_none() && here.window.is_empty()) {
            outcomes.insert(machine.outcome(&state));
        }
        for next in machine.steps(&state)? {
            for next in machine.settled(next)? {
                if seen.insert(fingerprint(&next)) {
                    open.push(next);
                }
            }
        }
        if seen.len() > most {
            return Err(TooLarge("too many states"));
        }
    }
    outcomes.states = seen.len();
    outcomes.cut = machine.cut;
    Ok(outcomes)
}

/// Whether an instruction changes its thread's tables.
pub(crate) const fn is_switch(instruction: &Instruction) -> bool {
    matches!(instruction, Instruction::WriteSystem { to: System::Ttbr0El1, .. })
}

/// 128 bits that tell a state from all others.
fn fingerprint(state: &State) -> u128 {
    let hash = |salt: u64| {
        let mut hasher = DefaultHasher::new();
        salt.hash(&mut hasher);
        state.hash(&mut hasher);
        u128::from(hasher.finish())
    };
    hash(1) << 64 | hash(2)
}

impl<'t> Machine<'t> {
    fn new(test: &'t Test, column: Column) -> Result<Self, TooLarge> {
        let code = || test.threads.iter().flat_map(|thread| &thread.code);
        for instruction in code() {
            match instruction {
                Instruction::ReadSystem { from, .. }
                    if !matches!(from, System::ElrEl1 | System::ParEl1) =>
                {
                    return Err(TooLarge("MRS of anything but ELR_EL1 and PAR_EL1"));
                }
                Instruction::WriteSystem { to, .. }
                    if !matches!(to, System::ElrEl1 | System::Ttbr0El1) =>
                {
                    return Err(TooLarge("MSR of anything but ELR_EL1 and TTBR0_EL1"));
                }
                _ => {}
            }
        }
        let layout = Layout::law(test);
        let mut pages: Vec<_> = layout.pages.iter().map(|page| page.va).collect();
        pages.sort_unstable();
        pages.dedup();
        let (places, universe) = (HashMap::new(), Universe::default());
        Ok(Self { test, layout, column, pages, places, universe, cut: false })
    }

    fn first(&mut self) -> Result<State, TooLarge> {
        let mut memory = Vec::new();
        for word in self.layout.memory(self.test) {
            let index = self.index(word.at.0);
            memory.resize(index + 1, 0);
            memory[index] = word.value;
        }
        while memory.last() == Some(&0) {
            memory.pop();
        }
        let threads = 0..self.test.threads.len();
        let threads = threads.map(|thread| Thread::new(self.test, &self.layout, thread)).collect();
        let mut state = State { memory, threads };
        self.refill(&mut state)?;
        Ok(state)
    }

    /// The number of a place.
    pub(crate) fn index(&mut self, at: u64) -> usize {
        let next = self.places.len();
        *self.places.entry(at).or_insert(next)
    }

    /// What memory holds.
    pub(crate) fn read(&self, memory: &[u64], at: u64) -> u64 {
        self.places.get(&at).and_then(|index| memory.get(*index)).copied().unwrap_or(0)
    }

    /// The values of TTBR0 that a CPU's walkers may have.
    pub(crate) fn contexts(&self, thread: ThreadId, here: &Thread) -> Vec<u64> {
        let code = &self.test.threads[thread].code;
        let new = here.window.iter().filter(|flight| flight.done && is_switch(&code[flight.place]));
        here.contexts.iter().copied().chain(new.map(|flight| flight.value)).collect()
    }
}
