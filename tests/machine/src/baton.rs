//! Which CPU runs: each simulated CPU is a thread, and the one that holds the baton runs. Handing it
//! over is decided by the seed, so a seed is a schedule.
//!
//! Most races need one CPU to stand still between two of its steps while another does a great deal.
//! A schedule that picks evenly at each step nearly never does that; so now and then a CPU is stalled
//! for as long as a whole operation takes.
//!
//! Or a test says where: CPU 0 runs up to a given step, and then CPU 1 does all it can. Tried at each
//! step in turn, that is every way in which one operation can come in between another's steps.

use std::cell::Cell;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

thread_local! {
    /// Which simulated CPU this thread is, and whether it takes part in the schedule.
    static CPU: Cell<(usize, bool)> = const { Cell::new((0, false)) };
}

/// The CPU that the calling thread is; a thread outside of every schedule acts as CPU 0.
pub(crate) fn current_cpu() -> usize {
    CPU.get().0
}

/// One in this many steps hands the baton over.
const PATIENCE: u64 = 10;
/// One in this many times the CPU that hands over is stalled.
const STALL: u64 = 200;
/// The longest stall, in steps of the others.
const LONGEST: u64 = 6_000;

/// One lockless walk in this many is stalled, within this many steps.
const TEMPTED: u64 = 16;
const TEMPTATION: u64 = 14;

struct Turn {
    holder: usize,
    alive: Vec<bool>,
    /// The step before which a CPU is not to run, if there is another.
    stalled_until: Vec<u64>,
    /// Steps after which a CPU is to be stalled; 0: not planned.
    stall_in: Vec<u64>,
    step: u64,
    rng: stress::Rng,
    /// In place of the seed's choices, if a test has some.
    plan: Option<Plan>,
}

/// CPU 0 is interrupted once, by CPU 1, and that perhaps once by CPU 0.
struct Plan {
    /// Steps that each takes before it is interrupted; 0: it was, or is not to be.
    left: [u64; 2],
}

impl Turn {
    /// Some CPU that is alive, other than `me`; a stalled one only if `me` itself cannot go on.
    fn other(&mut self, me: usize, can_go_on: bool) -> Option<usize> {
        let alive: Vec<_> =
            (0..self.alive.len()).filter(|&cpu| cpu != me && self.alive[cpu]).collect();
        let awake: Vec<_> =
            alive.iter().copied().filter(|&cpu| self.stalled_until[cpu] <= self.step).collect();
        let others = if awake.is_empty() && !can_go_on { alive } else { awake };
        let pick = self.rng.below(others.len() as u64) as usize;
        others.get(pick).copied()
    }
}

/// The baton of one machine.
pub(crate) struct Baton {
    turn: Mutex<Turn>,
    called: Vec<Condvar>,
}

impl Baton {
    pub(crate) fn new(cpus: usize, seed: u64) -> Self {
        let rng = stress::Rng::new(seed, "baton", 0);
        Self {
            turn: Mutex::new(Turn {
                holder: 0,
                alive: vec![false; cpus],
                stalled_until: vec![0; cpus],
                stall_in: vec![0; cpus],
                step: 0,
                rng,
                plan: None,
            }),
            called: (0..cpus).map(|_| Condvar::new()).collect(),
        }
    }

    fn turn(&self) -> MutexGuard<'_, Turn> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Announces the CPUs that are about to run; the lowest begins.
    pub(crate) fn announce(&self, cpus: usize) {
        let mut turn = self.turn();
        turn.holder = 0;
        turn.alive.iter_mut().enumerate().for_each(|(cpu, alive)| *alive = cpu < cpus);
    }

    /// Interrupts CPU 0 and then CPU 1 after so many steps of their own, and nobody at any other time;
    /// 0: not at all; `None`: the seed decides. Says whether the last plan came to its end.
    pub(crate) fn plan(&self, steps: Option<[u64; 2]>) -> bool {
        let plan = steps.map(|left| Plan { left });
        let last = std::mem::replace(&mut self.turn().plan, plan);
        last.is_some_and(|plan| plan.left == [0, 0])
    }

    /// Makes the calling thread `cpu`, runs `body` when its turn comes, and leaves the schedule.
    pub(crate) fn take_part<R>(
        &self,
        cpu: usize,
        body: impl FnOnce() -> R,
    ) -> std::thread::Result<R> {
        let before = CPU.replace((cpu, true));
        self.wait_turn(self.turn(), cpu);
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(body));
        CPU.set(before);
        let mut turn = self.turn();
        turn.alive[cpu] = false;
        if let Some(next) = turn.other(cpu, false) {
            turn.holder = next;
            self.called[next].notify_one();
        }
        result
    }

    /// Perhaps lets another CPU run for a while.
    pub(crate) fn maybe_hand_over(&self) {
        let (cpu, scheduled) = CPU.get();
        if !scheduled {
            return;
        }
        let mut turn = self.turn();
        turn.step += 1;
        if let Some(plan) = &mut turn.plan {
            let Some(left) = plan.left.get_mut(cpu).filter(|left| **left > 0) else { return };
            *left -= 1;
            if *left == 0 {
                self.pass_on(turn, cpu, false);
            }
            return;
        }
        let planned = turn.stall_in[cpu] == 1;
        turn.stall_in[cpu] = turn.stall_in[cpu].saturating_sub(1);
        if planned || turn.rng.one_in(PATIENCE) {
            let stalled = planned || turn.rng.one_in(STALL);
            if stalled {
                turn.stalled_until[cpu] = turn.step + turn.rng.below(LONGEST);
            }
            self.pass_on(turn, cpu, !stalled);
        }
    }

    /// The calling CPU begins something that takes a few steps and that others must not disturb:
    /// perhaps it is to stand still in the middle of it.
    pub(crate) fn tempt(&self) {
        let (cpu, scheduled) = CPU.get();
        if scheduled {
            let mut turn = self.turn();
            if turn.rng.one_in(TEMPTED) {
                turn.stall_in[cpu] = 1 + turn.rng.below(TEMPTATION);
            }
        }
    }

    /// Lets another CPU run if there is one: this one can do nothing by itself.
    pub(crate) fn hand_over(&self) {
        let (cpu, scheduled) = CPU.get();
        if scheduled {
            let mut turn = self.turn();
            // Waiting takes time too: what everybody waits for may be stalled.
            turn.step += 4;
            self.pass_on(turn, cpu, false);
        }
    }

    fn pass_on(&self, mut turn: MutexGuard<'_, Turn>, cpu: usize, can_go_on: bool) {
        if let Some(next) = turn.other(cpu, can_go_on) {
            turn.holder = next;
            self.called[next].notify_one();
            self.wait_turn(turn, cpu);
        }
    }

    fn wait_turn(&self, mut turn: MutexGuard<'_, Turn>, cpu: usize) {
        while turn.holder != cpu {
            turn = self.called[cpu].wait(turn).unwrap_or_else(PoisonError::into_inner);
        }
    }
}
