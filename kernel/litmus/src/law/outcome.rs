//! Final states, and what they say about the question.

use crate::layout::Layout;
use crate::test::{Fault, Observed, Proposition, Quantifier, Test, Value, Verdict};
use alloc::{collections::BTreeMap, vec::Vec};

/// What is observed in the end, in the order of [`Test::observed`]: register and memory contents; 1 or 0
/// for faults.
pub type Outcome = Vec<u64>;

/// All final states that are allowed.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Outcomes {
    /// Each; and whether some execution that ends so keeps to break-before-make wherever it must.
    pub states: BTreeMap<Outcome, bool>,
}

impl Outcomes {
    pub(crate) fn add(&mut self, outcome: Outcome, broken: bool) {
        *self.states.entry(outcome).or_default() |= !broken;
    }

    pub(crate) fn join(&mut self, other: Self) {
        other.states.into_iter().for_each(|(outcome, clean)| self.add(outcome, !clean));
    }

    /// Whether there is nothing more to learn of an outcome.
    pub(crate) fn is_clean(&self, outcome: &Outcome) -> bool {
        self.states.get(outcome).copied().unwrap_or(false)
    }

    /// Whether some state is reached by breaking break-before-make and not otherwise.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.states.values().any(|clean| !clean)
    }

    /// The answer to `test`'s question, with the law's layout.
    #[must_use]
    pub fn verdict(&self, test: &Test) -> Verdict {
        test.verdict(self.states.keys())
    }
}

impl Test {
    /// The answer to the question, if these are all final states there can be, in the law's layout.
    pub fn verdict<'s>(&self, mut states: impl Iterator<Item = &'s Outcome> + Clone) -> Verdict {
        let layout = Layout::law(self);
        let holds = |state: &Outcome| self.holds(&layout, state);
        match self.condition.quantifier {
            Quantifier::ForAll if states.clone().all(holds) => Verdict::Required,
            _ if states.any(holds) => Verdict::Allowed,
            _ => Verdict::Forbidden,
        }
    }

    /// Whether what the condition says is true of a final state, of a run with this layout.
    #[must_use]
    pub fn holds(&self, layout: &Layout, state: &[u64]) -> bool {
        self.proposition(layout, state, &self.condition.proposition)
    }

    fn proposition(&self, layout: &Layout, state: &[u64], proposition: &Proposition) -> bool {
        let inside = |inner: &Proposition| self.proposition(layout, state, inner);
        match proposition {
            Proposition::Equals(place, value) => {
                let wanted = layout.value(self, value);
                state.get(*place).is_some_and(|content| self.same(*place, *content, value, wanted))
            }
            Proposition::Same(one, other) => state.get(*one) == state.get(*other),
            Proposition::Not(inner) => !inside(inner),
            Proposition::All(list) => list.iter().all(inside),
            Proposition::Any(list) => list.iter().any(inside),
        }
    }

    /// Compared in the width of the place.
    fn same(&self, place: usize, content: u64, value: &Value, wanted: u64) -> bool {
        let narrow = match self.observed.get(place) {
            Some(Observed::Memory(var, _)) => {
                self.variables.get(*var).is_some_and(|v| v.width == 4)
            }
            Some(Observed::Register(..)) => {
                matches!(value, Value::Number(_)) && wanted >> 32 == !0 >> 32
            }
            _ => false,
        };
        if narrow { content as u32 == wanted as u32 } else { content == wanted }
    }
}

impl Fault {
    /// Whether a fault at `place` is one of these.
    pub(crate) fn is(&self, other: &super::event::Faulted) -> bool {
        self.place.is_none_or(|place| place == other.place)
            && self.variable.is_none_or(|variable| Some(variable) == other.variable)
            && self.entry.is_none_or(|entry| Some(entry) == other.entry)
            && self.kind.is_none_or(|kind| kind == other.kind)
    }
}
