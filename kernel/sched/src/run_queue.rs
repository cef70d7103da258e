//! One CPU's run queue: who is ready, who sleeps until when, and when this CPU must look again.
//!
//! Round robin: in at the back, out at the front. Pure bookkeeping under one lock; what is done
//! about it is in `scheduler`.
//!
//! # When the timer runs
//! A CPU's timer is armed for the earlier of two things: the end of the running thread's slice, which
//! exists only while another thread is ready, and the first sleeper's deadline. With neither, it is
//! off: a CPU that has one thread, or none, hears no tick.

use crate::table::{List, Table};
use crate::thread::{Affinity, Slot};
use abi::CpuId;
use core::sync::atomic::{AtomicBool, AtomicU16, AtomicU32, AtomicU64, Ordering};
use sync::{Class, SpinLock};

/// How long a thread runs while another one is ready: 10 ms.
pub const SLICE_NS: u64 = 10_000_000;

/// Under the lock.
pub(crate) struct RunQueue {
    ready: List,
    /// How many of `ready` may run elsewhere.
    movable: u32,
    /// Ordered by deadline; equal ones in the order they came.
    sleepers: List,
    /// When the running thread has to make room.
    pub(crate) slice_end_ns: Option<u64>,
    /// What the timer is set to.
    pub(crate) armed_ns: Option<u64>,
}

impl RunQueue {
    pub(crate) const fn new() -> Self {
        Self {
            ready: List::new(),
            movable: 0,
            sleepers: List::new(),
            slice_end_ns: None,
            armed_ns: None,
        }
    }

    pub(crate) fn nr_ready(&self) -> usize {
        self.ready.len()
    }

    pub(crate) fn push(&mut self, table: &Table, slot: Slot) {
        self.movable += u32::from(is_movable(table, slot));
        self.ready.push_back(&table.run_links, slot);
    }

    pub(crate) fn pop(&mut self, table: &Table) -> Option<Slot> {
        let slot = self.ready.pop_front(&table.run_links)?;
        self.movable -= u32::from(is_movable(table, slot));
        Some(slot)
    }

    /// Gives away the thread that has waited longest among those that may run elsewhere.
    pub(crate) fn steal(&mut self, table: &Table) -> Option<Slot> {
        let slot = self.ready.remove_first(&table.run_links, |slot| is_movable(table, slot))?;
        self.movable -= 1;
        Some(slot)
    }

    /// Notes that `slot`, whose deadline is set, sleeps.
    pub(crate) fn add_sleeper(&mut self, table: &Table, slot: Slot) {
        let deadline = deadline_of(table, slot);
        let later = |other| deadline_of(table, other) > deadline;
        self.sleepers.insert_before(&table.run_links, slot, later);
    }

    pub(crate) fn remove_sleeper(&mut self, table: &Table, slot: Slot) {
        self.sleepers.remove_first(&table.run_links, |other| other == slot);
    }

    /// Takes out the first sleeper, if its time has come.
    pub(crate) fn pop_expired(&mut self, table: &Table, now_ns: u64) -> Option<Slot> {
        let first = self.sleepers.first()?;
        if deadline_of(table, first) > now_ns {
            return None;
        }
        self.sleepers.pop_front(&table.run_links)
    }

    /// When the timer has to fire.
    pub(crate) fn next_event_ns(&self, table: &Table) -> Option<u64> {
        let wake = self.sleepers.first().map(|slot| deadline_of(table, slot));
        match (self.slice_end_ns, wake) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }
}

fn is_movable(table: &Table, slot: Slot) -> bool {
    table.thread(slot).affinity() == Affinity::Any
}

fn deadline_of(table: &Table, slot: Slot) -> u64 {
    table.thread(slot).deadline_ns.load(Ordering::Relaxed)
}

/// A run queue with what others may see of it without its lock.
#[repr(align(128))]
pub(crate) struct CpuQueue {
    pub(crate) lock: SpinLock<RunQueue>,
    /// Written under the lock.
    current: AtomicU16,
    nr_ready: AtomicU32,
    nr_movable: AtomicU32,
    /// Who ran before the current thread: its switch is finished by the current one.
    pub(crate) previous: AtomicU16,
    /// The current thread's slice is over; acted on at the end of the interrupt.
    pub(crate) resched: AtomicBool,
    /// Interrupts that this CPU has sent to others.
    pub(crate) sent: AtomicU64,
}

impl CpuQueue {
    pub(crate) const fn new() -> Self {
        Self {
            lock: SpinLock::new(Class::Sched, RunQueue::new()),
            current: AtomicU16::new(0),
            nr_ready: AtomicU32::new(0),
            nr_movable: AtomicU32::new(0),
            previous: AtomicU16::new(0),
            resched: AtomicBool::new(false),
            sent: AtomicU64::new(0),
        }
    }

    /// Who runs. Exact on this CPU with interrupts masked, and under the lock.
    pub(crate) fn current(&self) -> Slot {
        Slot(self.current.load(Ordering::Relaxed))
    }

    pub(crate) fn set_current(&self, slot: Slot) {
        self.current.store(slot.0, Ordering::Relaxed);
    }

    /// Shows others what is in the queue. Owed before the lock is released.
    pub(crate) fn show(&self, rq: &RunQueue) {
        self.nr_ready.store(rq.nr_ready() as u32, Ordering::Relaxed);
        self.nr_movable.store(rq.movable, Ordering::Relaxed);
    }

    pub(crate) fn has_ready(&self) -> bool {
        self.nr_ready.load(Ordering::Relaxed) != 0
    }

    pub(crate) fn has_movable(&self) -> bool {
        self.nr_movable.load(Ordering::Relaxed) != 0
    }

    /// Ready and running threads.
    pub(crate) fn load(&self, cpu: CpuId) -> u32 {
        let running = u32::from(self.current() != Slot::idle(cpu));
        self.nr_ready.load(Ordering::Relaxed) + running
    }
}
