//! Which CPU runs: one at a time; a strategy decides at each step which.
//!
//! Or a test says where: CPU 0 runs up to a given step, and then CPU 1 does all it can. Tried at each
//! step in turn, that is every way in which one operation can come in between another's steps.
//!
//! A CPU that sleeps is not asked again before somebody wakes it. When all sleep nobody ever will.

use crate::coroutines::takes_part;
use crate::explore::Why;
use crate::explore::decisions::Decisions;
use sync::WaitKey;

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
    step: u64,
    /// Turns of spinning since the last step.
    idle: u64,
    /// How often anybody was woken.
    wakes: u64,
    /// In place of the strategy's choices, if a test has some.
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
    pub(crate) fn new(cpus: usize) -> Self {
        Self { holder: 0, phases: vec![Phase::Away; cpus], step: 0, idle: 0, wakes: 0, plan: None }
    }

    /// The CPUs that could run in place of `me`, one bit each.
    fn ready(&self, me: usize) -> u64 {
        let ready = |(_, phase): &(usize, &Phase)| **phase == Phase::Ready;
        let all = self.phases.iter().enumerate().filter(ready);
        all.fold(0, |bits, (cpu, _)| bits | 1 << cpu) & !(1 << me)
    }

    /// Asks who runs next.
    fn pass_on(&mut self, cpu: usize, why: Why, decisions: &mut Decisions) -> Go {
        let ready = self.ready(cpu);
        if ready == 0 && why != Why::Step {
            return Go::On;
        }
        let next = decisions.next(cpu, why, ready, self.step);
        if next >= self.phases.len() || ready >> next & 1 == 0 {
            return Go::On;
        }
        self.holder = next;
        Go::Yield
    }

    /// `cpu` has taken a step: perhaps another one runs for a while.
    pub(crate) fn stepped(&mut self, cpu: usize, decisions: &mut Decisions) -> Go {
        self.idle = 0;
        if !takes_part() {
            return Go::On;
        }
        self.step += 1;
        if let Some(plan) = &mut self.plan {
            let Some(left) = plan.left.get_mut(cpu) else { return Go::On };
            let now = *left == 1;
            *left = left.saturating_sub(1);
            return if now { self.pass_on(cpu, Why::Stop, decisions) } else { Go::On };
        }
        self.pass_on(cpu, Why::Step, decisions)
    }

    /// `cpu` can do nothing by itself: lets another one run if there is one.
    pub(crate) fn spins(&mut self, cpu: usize, decisions: &mut Decisions) -> Go {
        self.idle += 1;
        if self.idle > FOREVER {
            return Go::Never;
        }
        if !takes_part() {
            return Go::On;
        }
        // Waiting takes time too: what everybody waits for may be stalled.
        self.step += 4;
        self.pass_on(cpu, Why::Spin, decisions)
    }

    /// A number that a wake changes.
    pub(crate) fn wakes(&self) -> u64 {
        self.wakes
    }

    /// `cpu` sleeps until somebody wakes `key`, unless somebody was woken since `wakes` was asked.
    pub(crate) fn sleeps(
        &mut self,
        cpu: usize,
        (key, wakes): (WaitKey, u64),
        decisions: &mut Decisions,
    ) -> Go {
        if self.wakes != wakes {
            return self.spins(cpu, decisions);
        }
        if !takes_part() {
            return Go::Never;
        }
        self.phases[cpu] = Phase::Asleep(key);
        match self.pass_on(cpu, Why::Stop, decisions) {
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
    /// 0: not at all; `None`: the strategy decides. Says whether the last plan came to its end.
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
    pub(crate) fn ends(&mut self, cpu: usize, decisions: &mut Decisions) {
        self.phases[cpu] = Phase::Away;
        if self.pass_on(cpu, Why::Stop, decisions) == Go::Yield {
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
