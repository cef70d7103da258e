//! Every schedule within a bound, depth first: the dull one, then those that differ in the last place
//! where they can, and so on.
//!
//! Bounded is how often a CPU is interrupted that could have gone on, and how often something special
//! happens; who runs where somebody must stop is free. Most bugs need one or two interruptions (Musuvathi,
//! Qadeer, "Iterative Context Bounding for Systematic Testing of Multithreaded Programs", 2007), and the
//! runs grow with the steps to that power: this is for small scenarios.

use super::{Moment, Question, Strategy, Why};
use std::sync::{Arc, Mutex, PoisonError};
use stress::Rng;

/// A place where a run could have differed.
struct Node {
    taken: u64,
    /// What has not been tried, one bit each for CPUs.
    left: Left,
}

enum Left {
    Cpus(u64),
    /// The outcomes above the taken one, up to here.
    Outcomes(u64),
}

impl Node {
    /// Takes the next alternative, if there is one.
    fn turn(&mut self) -> bool {
        match &mut self.left {
            Left::Cpus(0) => false,
            Left::Cpus(cpus) => {
                self.taken = cpus.trailing_zeros().into();
                *cpus &= *cpus - 1;
                true
            }
            Left::Outcomes(options) => {
                self.taken += 1;
                self.taken < *options
            }
        }
    }
}

/// The runs that were made, as the path of the last.
#[derive(Default)]
pub(crate) struct Tree {
    path: Vec<Node>,
    at: usize,
    bounds: [u32; 2],
    left: [u32; 2],
    begun: bool,
}

const PREEMPTIONS: usize = 0;
const OUTCOMES: usize = 1;

impl Tree {
    pub(crate) fn new(preemptions: u32, outcomes: u32) -> Self {
        Self { bounds: [preemptions, outcomes], ..Self::default() }
    }

    /// Begins the next run; false when there is none left.
    pub(crate) fn advance(&mut self) -> bool {
        if std::mem::replace(&mut self.begun, true) {
            while !self.path.last_mut().is_some_and(Node::turn) {
                if self.path.pop().is_none() {
                    return false;
                }
            }
        }
        (self.at, self.left) = (0, self.bounds);
        true
    }

    /// What the run takes here: what its path says, or `dull`, with a new node for the rest. What is not
    /// dull costs one of `cost`.
    fn take(&mut self, dull: u64, left: Left, cost: Option<usize>) -> u64 {
        if cost.is_some_and(|cost| self.left[cost] == 0) {
            return dull;
        }
        if self.at == self.path.len() {
            self.path.push(Node { taken: dull, left });
        }
        let taken = self.path[self.at].taken;
        self.at += 1;
        if let Some(cost) = cost
            && taken != dull
        {
            self.left[cost] -= 1;
        }
        taken
    }
}

/// One run of a [`Tree`].
pub(crate) struct Exhaustive(pub(crate) Arc<Mutex<Tree>>);

impl Strategy for Exhaustive {
    fn next(&mut self, at: &Moment) -> usize {
        let dull = at.dull();
        let others = at.ready & !(1 << dull);
        if others == 0 {
            return dull;
        }
        // To choose who spins is bounded too: two could spin for each other for ever.
        let cost = (at.why != Why::Stop).then_some(PREEMPTIONS);
        let mut tree = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tree.take(dull as u64, Left::Cpus(others), cost) as usize
    }

    fn outcome(&mut self, at: &Question, _: &mut dyn FnMut(&mut Rng) -> u64) -> u64 {
        if at.options <= 1 || !at.scheduled {
            return 0;
        }
        let mut tree = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tree.take(0, Left::Outcomes(at.options), Some(OUTCOMES))
    }
}
