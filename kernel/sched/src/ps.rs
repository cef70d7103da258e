//! The listing of threads. Takes no lock, so that a dying kernel can print it.

use crate::port::Engine;
use crate::scheduler::Scheduler;
use crate::table::MAX_THREADS;
use crate::thread::{Affinity, Life, Name, Slot, State, ThreadId};
use abi::{CpuId, VirtRange};
use core::sync::atomic::{Ordering, fence};

/// What a thread was like at one moment; its fields may be from moments a little apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ThreadInfo {
    /// Its name for the kernel.
    pub id: ThreadId,
    /// Its name for people.
    pub name: Name,
    /// Where it runs, is queued, or ran last.
    pub cpu: CpuId,
    /// Where it may run.
    pub affinity: Affinity,
    /// What it does.
    pub state: State,
    /// How long it has had a CPU, the current turn included.
    pub run_ns: u64,
    /// How often it was given a CPU.
    pub switches: u64,
    /// Its user address space.
    pub space: usize,
    /// Its stack.
    pub stack: VirtRange,
}

impl<E: Engine> Scheduler<E> {
    /// All threads by slot, idle ones first. Context: any.
    pub fn threads(&self) -> impl Iterator<Item = ThreadInfo> + '_ {
        (0..MAX_THREADS as u16).filter_map(|slot| self.info(Slot(slot)))
    }

    fn info(&self, slot: Slot) -> Option<ThreadInfo> {
        let thread = self.table.thread(slot);
        let before = thread.life.load(Ordering::Acquire);
        let (generation, life) = Life::of_word(before);
        if life == Life::Free {
            return None;
        }
        let state = thread.state();
        let turn_ns = match state {
            State::Running => self.now_ns().saturating_sub(thread.since_ns.load(Ordering::Relaxed)),
            _ => 0,
        };
        let info = ThreadInfo {
            id: ThreadId { slot: slot.0, generation },
            name: thread.name(),
            cpu: thread.home(),
            affinity: thread.affinity(),
            state,
            run_ns: thread.run_ns.load(Ordering::Relaxed) + turn_ns,
            switches: thread.switches.load(Ordering::Relaxed),
            space: thread.space.load(Ordering::Relaxed),
            stack: thread.stack(),
        };
        // If the slot has changed hands meanwhile, the record may be of two threads. Then the one
        // that was asked for is gone.
        fence(Ordering::Acquire);
        let (now, _) = Life::of_word(thread.life.load(Ordering::Relaxed));
        (now == generation).then_some(info)
    }
}
