//! Which CPU runs. A seed decides it at each step: a seed is a schedule.
//!
//! Most races need one CPU to stand still between two of its steps while another does a great deal.
//! A schedule that picks evenly at each step nearly never does that; so now and then a CPU is stalled
//! for as long as a whole operation takes.
//!
//! Or a test says where: CPU 0 runs up to a given step, and then CPU 1 does all it can. Tried at each
//! step in turn, that is every way in which one operation can come in between another's steps.
//!
//! A CPU that sleeps is not asked again before somebody wakes it. When all sleep nobody ever will.

use crate::coroutines::takes_part;
use sync::WaitKey;

/// One in this many steps hands the baton over.
const PATIENCE: u64 = 10;
/// One in this many times the CPU that hands over is stalled.
const STALL: u64 = 200;
/// The longest stall, in steps of the others.
const LONGEST: u64 = 6_000;

/// One lockless walk in this many is stalled, within this many steps.
const TEMPTED: u64 = 16;
const TEMPTATION: u64 = 14;

/// Turns of spinning, without a step of anybody, after which nobody will take one any more.
const FOREVER: u64 = 1_000_000;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    /// Not taking part.
    Away,
    Ready,
    Asleep(WaitKey),
}

/// Whose turn it is.
pub(crate) struct Turn {
    holder: usize,
    phases: Vec<Phase>,
    /// The step before which a CPU is not to run, if there is another.
    stalled_until: Vec<u64>,
    /// Steps after which a CPU is to be stalled; 0: not planned.
    stall_in: Vec<u64>,
    step: u64,
    /// Turns of spinning since the last step.
    idle: u64,
    /// How often anybody was woken.
    wakes: u64,
    rng: stress::Rng,
    /// In place of the seed's choices, if a test has some.
    plan: Option<Plan>,
}

/// CPU 0 is interrupted once, by CPU 1, and that perhaps once by CPU 0.
struct Plan {
    /// Steps that each takes before it is interrupted; 0: it was, or is not to be.
    left: [u64; 2],
}

/// Whether the calling CPU goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub(crate) enum Go {
    On,
    /// It is another CPU's turn.
    Yield,
    /// Nobody's turn will ever come.
    Never,
}

impl Turn {
    pub(crate) fn new(cpus: usize, seed: u64) -> Self {
        Self {
            holder: 0,
            phases: vec![Phase::Away; cpus],
            stalled_until: vec![0; cpus],
            stall_in: vec![0; cpus],
            step: 0,
            idle: 0,
            wakes: 0,
            rng: stress::Rng::new(seed, "baton", 0),
            plan: None,
        }
    }

    /// Some CPU that is ready, other than `me`; a stalled one only if `me` itself cannot go on.
    fn other(&mut self, me: usize, can_go_on: bool) -> Option<usize> {
        let ready = |turn: &Self, cpu: usize| cpu != me && turn.phases[cpu] == Phase::Ready;
        let awake = |turn: &Self, cpu| ready(turn, cpu) && turn.stalled_until[cpu] <= turn.step;
        let pick = |turn: &mut Self, fits: &dyn Fn(&Self, usize) -> bool| {
            let fitting = (0..turn.phases.len()).filter(|&cpu| fits(turn, cpu));
            let which = fitting.clone().count();
            let which = turn.rng.below(which as u64) as usize;
            (0..turn.phases.len()).filter(|&cpu| fits(turn, cpu)).nth(which)
        };
        let found = pick(self, &awake);
        if found.is_none() && !can_go_on { pick(self, &ready) } else { found }
    }

    fn pass_on(&mut self, cpu: usize, can_go_on: bool) -> Go {
        match self.other(cpu, can_go_on) {
            Some(next) => {
                self.holder = next;
                Go::Yield
            }
            None => Go::On,
        }
    }

    /// `cpu` has taken a step: perhaps another one runs for a while.
    pub(crate) fn stepped(&mut self, cpu: usize) -> Go {
        self.idle = 0;
        if !takes_part() {
            return Go::On;
        }
        self.step += 1;
        if let Some(plan) = &mut self.plan {
            let Some(left) = plan.left.get_mut(cpu) else { return Go::On };
            let now = *left == 1;
            *left = left.saturating_sub(1);
            return if now { self.pass_on(cpu, false) } else { Go::On };
        }
        let planned = self.stall_in[cpu] == 1;
        self.stall_in[cpu] = self.stall_in[cpu].saturating_sub(1);
        if !planned && !self.rng.one_in(PATIENCE) {
            return Go::On;
        }
        let stalled = planned || self.rng.one_in(STALL);
        if stalled {
            self.stalled_until[cpu] = self.step + self.rng.below(LONGEST);
        }
        self.pass_on(cpu, !stalled)
    }

    /// `cpu` begins something that takes a few steps and that others must not disturb: perhaps it is
    /// to stand still in the middle of it.
    pub(crate) fn tempt(&mut self, cpu: usize) {
        if takes_part() && self.rng.one_in(TEMPTED) {
            self.stall_in[cpu] = 1 + self.rng.below(TEMPTATION);
        }
    }

    /// `cpu` can do nothing by itself: lets another one run if there is one.
    pub(crate) fn spins(&mut self, cpu: usize) -> Go {
        self.idle += 1;
        if self.idle > FOREVER {
            return Go::Never;
        }
        if !takes_part() {
            return Go::On;
        }
        // Waiting takes time too: what everybody waits for may be stalled.
        self.step += 4;
        self.pass_on(cpu, false)
    }

    /// A number that a wake changes.
    pub(crate) fn wakes(&self) -> u64 {
        self.wakes
    }

    /// `cpu` sleeps until somebody wakes `key`, unless somebody was woken since `wakes` was asked.
    pub(crate) fn sleeps(&mut self, cpu: usize, key: WaitKey, wakes: u64) -> Go {
        if self.wakes != wakes {
            return self.spins(cpu);
        }
        if !takes_part() {
            return Go::Never;
        }
        self.phases[cpu] = Phase::Asleep(key);
        match self.pass_on(cpu, false) {
            Go::Yield => Go::Yield,
            Go::On | Go::Never => {
                self.phases[cpu] = Phase::Ready;
                Go::Never
            }
        }
    }

    /// Lets every CPU that sleeps on `key` ask again.
    pub(crate) fn wake(&mut self, key: WaitKey) {
        self.wakes += 1;
        for phase in &mut self.phases {
            if *phase == Phase::Asleep(key) {
                *phase = Phase::Ready;
            }
        }
    }

    /// Interrupts CPU 0 and then CPU 1 after so many steps of their own, and nobody at any other time;
    /// 0: not at all; `None`: the seed decides. Says whether the last plan came to its end.
    pub(crate) fn plan(&mut self, steps: Option<[u64; 2]>) -> bool {
        let last = std::mem::replace(&mut self.plan, steps.map(|left| Plan { left }));
        last.is_some_and(|plan| plan.left == [0, 0])
    }

    /// The lowest `cpus` begin; the first of them first.
    pub(crate) fn begin(&mut self, cpus: usize) {
        self.holder = 0;
        self.idle = 0;
        for (cpu, phase) in self.phases.iter_mut().enumerate() {
            *phase = if cpu < cpus { Phase::Ready } else { Phase::Away };
        }
    }

    /// `cpu` is done. If only sleepers are left, one of them runs, to find that nobody will wake it.
    pub(crate) fn ends(&mut self, cpu: usize) {
        self.phases[cpu] = Phase::Away;
        if self.pass_on(cpu, false) == Go::Yield {
            return;
        }
        let sleeper = self.phases.iter().position(|phase| matches!(phase, Phase::Asleep(_)));
        if let Some(sleeper) = sleeper {
            self.holder = sleeper;
        }
    }

    /// Whether `cpu` was made to run though nobody has woken it.
    pub(crate) fn is_abandoned(&mut self, cpu: usize) -> bool {
        let asleep = matches!(self.phases[cpu], Phase::Asleep(_));
        if asleep {
            self.phases[cpu] = Phase::Ready;
        }
        asleep
    }

    /// The CPU to run next; `None` when all are done.
    pub(crate) fn next(&self) -> Option<usize> {
        (self.phases[self.holder] != Phase::Away).then_some(self.holder)
    }
}
