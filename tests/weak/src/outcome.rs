//! How runs end, and what that says of a test's question.

use crate::Machine;
use crate::state::State;
use litmus::Test;
use litmus::test::{Observed, Verdict};
use std::collections::BTreeSet;

/// What was looked at in the end, in the order of [`Test::observed`].
pub type Outcome = Vec<u64>;

/// Every way in which a test can end.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Outcomes {
    /// The final states.
    pub ends: BTreeSet<Outcome>,
    /// How many states the machine was in.
    pub states: usize,
    /// Whether there was a loop that could have gone on: then these are the ends of the runs that leave it
    /// soon.
    pub cut: bool,
}

impl Outcomes {
    pub(crate) fn insert(&mut self, outcome: Outcome) {
        self.ends.insert(outcome);
    }

    /// The answer to the test's question.
    pub fn verdict(&self, test: &Test) -> Verdict {
        test.verdict(self.ends.iter())
    }
}

impl Machine<'_> {
    /// How a run ended.
    pub(crate) fn outcome(&self, state: &State) -> Outcome {
        let look = |observed: &Observed| match observed {
            Observed::Register(thread, reg) => {
                let registers = &state.threads[*thread].registers;
                registers.get(usize::from(reg.0)).copied().unwrap_or(0)
            }
            Observed::Memory(..) | Observed::Entry(_) => {
                let place = self.layout.place(self.test, observed);
                place.map_or(0, |(at, _)| self.read(&state.memory, at.0))
            }
            Observed::Fault(fault) => {
                let page = |va: u64| va & !(abi::PAGE_SIZE - 1);
                let of = fault.variable.and_then(|var| self.layout.pages.get(var));
                let like = |taken: &crate::state::Taken| {
                    let entry = fault.entry.map(|id| self.layout.entry_address(self.test, id));
                    entry.is_none_or(|at| at == taken.va)
                        && fault.place.is_none_or(|place| place == taken.place)
                        && fault.kind.is_none_or(|kind| kind == taken.kind)
                        && of.is_none_or(|of| of.va.0 == page(taken.va))
                };
                u64::from(state.threads[fault.thread].faults.iter().any(like))
            }
        };
        self.test.observed.iter().map(look).collect()
    }
}
