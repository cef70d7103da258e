//! The end: one CPU reports, the others are silent.
//!
//! From the first call of [`Scheduler::stop_others`] on nothing in this room takes a lock, so a
//! report can be made whatever the reporter, or a stopped CPU, held: wakes do nothing, waits spin,
//! ends of interrupts do not switch, listings read atomics. There is no interrupt that cannot be
//! masked: a CPU that has masked them is not stopped, and the reporter waits for it only so long.
//!
//! Linux: `panic_smp_self_stop`, `smp_send_stop`.

use crate::cpu_set::{AtomicCpuSet, CpuSet};
use crate::port::{Engine, Sgi};
use crate::scheduler::Scheduler;
use abi::CpuId;
use core::sync::atomic::{AtomicU32, Ordering};

/// No CPU reports. Otherwise it is the reporter's number plus one.
const NOBODY: u32 = 0;

/// Who reports, and who is silent.
pub(crate) struct Stop {
    reporter: AtomicU32,
    stopped: AtomicCpuSet,
}

impl Stop {
    pub(crate) const fn new() -> Self {
        Self { reporter: AtomicU32::new(NOBODY), stopped: AtomicCpuSet::new() }
    }

    #[inline]
    pub(crate) fn is_requested(&self) -> bool {
        self.reporter.load(Ordering::Relaxed) != NOBODY
    }
}

/// What [`Scheduler::stop_others`] found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stopped {
    /// This CPU is the one that reports.
    First {
        /// CPUs that did not answer in time: they may still run.
        running: CpuSet,
    },
    /// Another CPU reports already: this one must be silent, see [`Scheduler::on_stop`].
    Late {
        /// The reporter.
        by: CpuId,
    },
    /// This CPU was reporting when it died again.
    Again,
}

impl<E: Engine> Scheduler<E> {
    /// Asks all other CPUs to stop and waits until they have, but not longer than `bound_ns`.
    /// Interrupts stay masked here.
    ///
    /// Context: any at all.
    pub fn stop_others(&self, bound_ns: u64) -> Stopped {
        self.engine.mask();
        let here = self.engine.id();
        let me = u32::from(here.0) + 1;
        let before =
            self.stop.reporter.compare_exchange(NOBODY, me, Ordering::AcqRel, Ordering::Acquire);
        match before {
            Ok(_) => {}
            Err(by) if by == me => return Stopped::Again,
            Err(by) => return Stopped::Late { by: CpuId((by - 1) as u16) },
        }
        let others = self.online().without(here);
        for cpu in others.iter() {
            self.send(cpu, Sgi::Stop);
        }
        let deadline_ns = self.now_ns().saturating_add(bound_ns);
        loop {
            let stopped = self.stop.stopped.load();
            let running: CpuSet = others.iter().filter(|cpu| !stopped.contains(*cpu)).collect();
            if running.is_empty() || self.now_ns() >= deadline_ns {
                return Stopped::First { running };
            }
            self.engine.relax();
        }
    }

    /// Silences this CPU for good. Context: interrupt handler of [`Sgi::Stop`], or a CPU that was
    /// told that it is late.
    pub fn on_stop(&self) -> ! {
        self.engine.mask();
        self.stop.stopped.insert(self.engine.id());
        loop {
            self.engine.wait_for_interrupt();
        }
    }
}
