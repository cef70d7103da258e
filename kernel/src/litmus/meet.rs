//! Where threads wait for each other.
//!
//! A batch begins and ends with a [`Meeting`], which all must reach. Before each instance they
//! line up for a moment only ([`Race`]), and start without whoever is late. Where an emulator has fewer CPUs
//! than it emulates, somebody is always late by far, and all the time would go into waiting.

use abi::MAX_CPUS;
use arch::LocalCpu;
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use sync::Cpu;

/// Looks before a thread that waits goes to sleep.
const LOOKS: u32 = 2000;
/// How long it sleeps before it looks again.
const NAP_NS: u64 = 50_000;
/// Looks before a thread starts without the others: about as long as a few runs take.
const PATIENCE: u32 = 300;

/// A meeting point of so many threads, used again and again.
pub(crate) struct Meeting {
    threads: usize,
    /// How often somebody has arrived.
    arrivals: AtomicUsize,
}

impl Meeting {
    /// Of `threads`, each on a CPU of its own.
    pub(crate) const fn new(threads: usize) -> Self {
        Self { threads, arrivals: AtomicUsize::new(0) }
    }

    /// Returns when all have come. What they did before is seen by all.
    pub(crate) fn meet(&self) {
        let before = self.arrivals.fetch_add(1, Ordering::AcqRel);
        let complete = (before / self.threads + 1) * self.threads;
        let mut looks = 0;
        while self.arrivals.load(Ordering::Acquire) < complete {
            looks += 1;
            if looks < LOOKS {
                LocalCpu.relax();
            } else {
                sched::sleep_until(arch::timer::now_ns() + NAP_NS);
            }
        }
    }
}

/// How far each thread is.
pub(crate) struct Race {
    at: [Place; MAX_CPUS],
    threads: usize,
}

/// On a cache line of its own: it is written at every start.
#[repr(align(64))]
struct Place(AtomicU64);

impl Race {
    /// Of `threads`, which are at the beginning.
    pub(crate) const fn new(threads: usize) -> Self {
        Self { at: [const { Place(AtomicU64::new(0)) }; MAX_CPUS], threads }
    }

    /// Whether another thread has started on `start`, or beyond.
    pub(crate) fn has_begun(&self, start: u64) -> bool {
        self.at[..self.threads].iter().any(|place| place.0.load(Ordering::Relaxed) >= start)
    }

    /// Thread `id` is about to begin on `start`, a number that grows. Returns when the others are as far,
    /// or will not be soon.
    pub(crate) fn line_up(&self, id: usize, start: u64) {
        self.at[id].0.store(start, Ordering::Relaxed);
        let late = |place: &Place| place.0.load(Ordering::Relaxed) < start;
        for _ in 0..PATIENCE {
            if !self.at[..self.threads].iter().any(late) {
                return;
            }
            LocalCpu.relax();
        }
    }
}
