//! Priorities: always the ready CPU with the highest runs, and at a few steps drawn beforehand the one
//! that runs falls below all others.
//!
//! A bug that needs `d` things in an order is found by one run in `cpus * steps^(d - 1)` at the least,
//! whatever else happens. Source: Burckhardt, Kothari, Musuvathi, Nagarakatte, "A Randomized Scheduler
//! with Probabilistic Guarantees of Finding Bugs", 2010.

use super::{Moment, Question, Strategy, Why};
use stress::Rng;

/// A schedule by priorities.
pub(crate) struct Pct {
    /// By CPU; the higher the sooner.
    priorities: Vec<i64>,
    /// Turns at which the running CPU falls, the last first.
    changes: Vec<u64>,
    lowest: i64,
    asked: u64,
    machine: Rng,
}

impl Pct {
    /// For bugs of `depth`, in runs of about `length` turns.
    pub(crate) fn new(cpus: usize, seed: u64, depth: u32, length: u64) -> Self {
        let mut rng = Rng::new(seed, "priorities", 0);
        let mut priorities: Vec<i64> = (1..=cpus as i64).collect();
        for n in (1..cpus).rev() {
            priorities.swap(n, rng.below(n as u64 + 1) as usize);
        }
        let mut changes: Vec<_> = (1..depth).map(|_| 1 + rng.below(length)).collect();
        changes.sort_unstable_by(|a, b| b.cmp(a));
        let machine = Rng::new(seed, "machine", 0);
        Self { priorities, changes, lowest: 0, asked: 0, machine }
    }

    fn fall(&mut self, cpu: usize) {
        self.lowest -= 1;
        self.priorities[cpu] = self.lowest;
    }
}

impl Strategy for Pct {
    fn next(&mut self, at: &Moment) -> usize {
        let cpu = at.place.cpu;
        self.asked += 1;
        while self.changes.last().is_some_and(|change| *change <= self.asked) {
            self.changes.pop();
            self.fall(cpu);
        }
        // Who spins would never let those run that it waits for.
        if at.why == Why::Spin {
            self.fall(cpu);
        }
        let mine = if at.why == Why::Stop { 0 } else { 1 << cpu };
        let ready = at.ready | mine;
        let ready = (0..self.priorities.len()).filter(|cpu| ready >> cpu & 1 != 0);
        ready.max_by_key(|cpu| self.priorities[*cpu]).unwrap_or(cpu)
    }

    fn outcome(&mut self, _: &Question, luck: &mut dyn FnMut(&mut Rng) -> u64) -> u64 {
        luck(&mut self.machine)
    }
}
