//! Simulated CPUs as coroutines of the thread that runs the machine: to hand over is to switch stacks.
//! Threads of the host would do as well, a hundred times slower.

use crate::Machine;
use generator::Gn;
use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// A simulated CPU's stack, in words.
const STACK: usize = 1 << 18;

thread_local! {
    /// Which simulated CPU this thread is, and whether it takes part in a schedule.
    static CPU: Cell<(usize, bool)> = const { Cell::new((0, false)) };
}

/// The CPU that the caller is; a thread outside of every schedule acts as CPU 0, unless it says
/// otherwise.
pub(crate) fn current_cpu() -> usize {
    CPU.get().0
}

/// Whether the caller is a CPU of a schedule, and not a thread that acts as one.
pub(crate) fn takes_part() -> bool {
    CPU.get().1
}

/// Lets the calling CPU stand still until its turn comes again.
#[expect(
    deprecated,
    reason = "a scope's own yield cannot be reached from inside the memory manager"
)]
pub(crate) fn stand_still() {
    generator::yield_with(());
}

impl Machine {
    /// Runs `body(n)` as CPU `n`, for each `n` below `cpus`, until all are done. Says how each ended.
    pub(crate) fn schedule(
        &self,
        cpus: usize,
        body: &(dyn Fn(usize) + Sync),
    ) -> Vec<Result<(), Box<dyn Any + Send>>> {
        let (results, collected) = std::sync::mpsc::channel();
        self.state().turn.begin(cpus);
        let mut threads: Vec<_> = (0..cpus)
            .map(|cpu| {
                let (machine, results) = (self.clone(), results.clone());
                Gn::<()>::new_opt(STACK, move || {
                    let result = catch_unwind(AssertUnwindSafe(|| body(cpu)));
                    machine.ends(cpu);
                    // Nobody listens only if the schedule itself has panicked.
                    let _ = results.send((cpu, result));
                })
            })
            .collect();
        let before = CPU.get();
        while let Some(cpu) = { self.state().turn.next() } {
            CPU.set((cpu, true));
            threads[cpu].resume();
        }
        CPU.set(before);
        let mut ended: Vec<_> = collected.try_iter().collect();
        ended.sort_by_key(|(cpu, _)| *cpu);
        ended.into_iter().map(|(_, result)| result).collect()
    }

    /// Runs `body` as CPU `cpu`, outside of any schedule: what it does is done at once.
    pub fn on<R>(&self, cpu: usize, body: impl FnOnce() -> R) -> R {
        /// Puts the CPU back, also when the body panics.
        struct Back((usize, bool));
        impl Drop for Back {
            fn drop(&mut self) {
                CPU.set(self.0);
            }
        }
        assert!(cpu < self.inner().cpus);
        let _back = Back(CPU.replace((cpu, false)));
        body()
    }
}
