//! Dice. A seed decides at each step: a seed is a schedule.
//!
//! Most races need one CPU to stand still between two of its steps while another does a great deal.
//! A schedule that picks evenly at each step nearly never does that; so now and then a CPU is stalled
//! for as long as a whole operation takes.

use super::{Moment, Question, Strategy, Why};
use stress::Rng;

/// One in this many steps hands the baton over.
const PATIENCE: u64 = 10;
/// One in this many times the CPU that hands over is stalled.
const STALL: u64 = 200;
/// The longest stall, in steps of the others.
const LONGEST: u64 = 6_000;

/// One lockless walk in this many is stalled, within this many steps.
const TEMPTED: u64 = 16;
const TEMPTATION: u64 = 14;

/// A schedule by seed.
pub(crate) struct Random {
    /// The step before which a CPU is not to run, if there is another.
    stalled_until: Vec<u64>,
    /// Steps after which a CPU is to be stalled; 0: not planned.
    stall_in: Vec<u64>,
    baton: Rng,
    machine: Rng,
}

impl Random {
    pub(crate) fn new(cpus: usize, seed: u64) -> Self {
        Self {
            stalled_until: vec![0; cpus],
            stall_in: vec![0; cpus],
            baton: Rng::new(seed, "baton", 0),
            machine: Rng::new(seed, "machine", 0),
        }
    }

    /// One of the CPUs that are ready; a stalled one only if the asking one cannot go on.
    fn other(&mut self, at: &Moment, can_go_on: bool) -> Option<usize> {
        let stalled = |until: &u64| *until > at.step;
        let stalled = (0..).zip(&self.stalled_until).filter(|(_, until)| stalled(until));
        let awake = at.ready & !stalled.fold(0, |bits, (cpu, _)| bits | 1 << cpu);
        match awake {
            0 if can_go_on => None,
            0 => self.pick(at.ready),
            _ => self.pick(awake),
        }
    }

    fn pick(&mut self, mut cpus: u64) -> Option<usize> {
        for _ in 0..self.baton.below(cpus.count_ones().into()) {
            cpus &= cpus - 1;
        }
        (cpus != 0).then(|| cpus.trailing_zeros() as usize)
    }
}

impl Strategy for Random {
    fn next(&mut self, at: &Moment) -> usize {
        let cpu = at.place.cpu;
        if at.why != Why::Step {
            return self.other(at, false).unwrap_or(cpu);
        }
        let planned = self.stall_in[cpu] == 1;
        self.stall_in[cpu] = self.stall_in[cpu].saturating_sub(1);
        if !planned && !self.baton.one_in(PATIENCE) {
            return cpu;
        }
        let stalled = planned || self.baton.one_in(STALL);
        if stalled {
            self.stalled_until[cpu] = at.step + self.baton.below(LONGEST);
        }
        self.other(at, !stalled).unwrap_or(cpu)
    }

    fn outcome(&mut self, _: &Question, luck: &mut dyn FnMut(&mut Rng) -> u64) -> u64 {
        luck(&mut self.machine)
    }

    fn tempted(&mut self, cpu: usize) {
        if self.baton.one_in(TEMPTED) {
            self.stall_in[cpu] = 1 + self.baton.below(TEMPTATION);
        }
    }
}
