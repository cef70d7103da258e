//! Long sequences that become short when they fail: whole stretches are left out first, the last ones
//! before the others, then single steps; what is left is made simpler.

use super::steps::{Step, step};
use proptest::prelude::*;
use proptest::strategy::{BoxedStrategy, NewTree, ValueTree};
use proptest::test_runner::TestRunner;
use std::fmt;

/// Steps, one in a line.
#[derive(Clone)]
pub(crate) struct Sequence(pub(crate) Vec<Step>);

impl fmt::Debug for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|step| write!(f, "\n    {step:?}"))
    }
}

/// Sequences of so many steps.
#[derive(Debug)]
pub(crate) struct Steps(usize, BoxedStrategy<Step>);

impl Steps {
    pub(crate) fn new(count: usize) -> Self {
        Self(count, step().boxed())
    }
}

impl Strategy for Steps {
    type Tree = Tree;
    type Value = Sequence;

    fn new_tree(&self, runner: &mut TestRunner) -> NewTree<Self> {
        let steps: Result<Vec<_>, _> = (0..self.0).map(|_| self.1.new_tree(runner)).collect();
        let kept = (0..self.0).collect();
        Ok(Tree { steps: steps?, kept, tried: Tried::Nothing, stretch: self.0, at: self.0 })
    }
}

/// A sequence on its way to a shorter one.
pub(crate) struct Tree {
    steps: Vec<Box<dyn ValueTree<Value = Step>>>,
    /// The steps that are still in.
    kept: Vec<usize>,
    tried: Tried,
    /// How many steps are left out at a time; 0 when single steps are made simpler.
    stretch: usize,
    /// Everything from here on was tried with this stretch.
    at: usize,
}

/// The last attempt, to be taken back if the failure went away.
enum Tried {
    Nothing,
    Without(Vec<usize>),
    Simpler,
}

impl ValueTree for Tree {
    type Value = Sequence;

    fn current(&self) -> Sequence {
        Sequence(self.kept.iter().map(|&step| self.steps[step].current()).collect())
    }

    fn simplify(&mut self) -> bool {
        while self.stretch > 0 {
            if self.at > 0 {
                self.at = self.at.min(self.kept.len());
                let first = self.at.saturating_sub(self.stretch);
                let rest = [&self.kept[..first], &self.kept[self.at..]].concat();
                self.tried = Tried::Without(std::mem::replace(&mut self.kept, rest));
                self.at = first;
                return true;
            }
            self.stretch /= 2;
            self.at = self.kept.len();
        }
        while self.at > 0 {
            if self.steps[self.kept[self.at - 1]].simplify() {
                self.tried = Tried::Simpler;
                return true;
            }
            self.at -= 1;
        }
        false
    }

    fn complicate(&mut self) -> bool {
        match std::mem::replace(&mut self.tried, Tried::Nothing) {
            Tried::Nothing => return false,
            // What failed before is not tried again: on to the next attempt.
            Tried::Without(kept) => self.kept = kept,
            Tried::Simpler => {
                if self.steps[self.kept[self.at - 1]].complicate() {
                    self.tried = Tried::Simpler;
                    return true;
                }
                self.at -= 1;
            }
        }
        self.simplify()
    }
}
