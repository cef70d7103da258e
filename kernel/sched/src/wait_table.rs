//! Who waits for what: buckets of waiting threads, by a hash of the key.
//!
//! # Why no wake-up is lost
//! A waiter marks itself `Blocked`, enters its bucket (which counts it), executes a full fence, and
//! asks its question. A waker has stored what the question reads, executes a full fence, and loads
//! the count. The fences are ordered. Either the waker sees the count, finds the waiter in the
//! bucket, and by the bucket's lock sees it `Blocked`: it makes it run. Or the waiter sees the
//! waker's store. So a wake of a key that nobody waits for costs a fence and a load.

use crate::table::{List, MAX_THREADS, Table};
use crate::thread::Slot;
use abi::MAX_CPUS;
use core::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering, fence};
use sync::{Class, Cpu, SpinLock, WaitKey};

const BUCKETS: usize = 64;
/// How many waiters are taken out of a bucket under one hold of its lock.
pub(crate) const BATCH: usize = 16;

/// Threads taken out of a bucket, which are to be woken.
pub(crate) struct Batch {
    slots: [Slot; BATCH],
    len: usize,
}

impl Batch {
    pub(crate) fn iter(&self) -> impl Iterator<Item = Slot> + '_ {
        self.slots[..self.len].iter().copied()
    }

    pub(crate) const fn is_full(&self) -> bool {
        self.len == BATCH
    }
}

#[repr(align(128))]
struct Bucket {
    waiters: AtomicU32,
    list: SpinLock<Inner>,
}

struct Inner {
    list: List,
    next_ticket: u64,
}

/// What a waiter notes, beside the threads' table because only this file reads it.
pub(crate) struct Note {
    key: AtomicUsize,
    ticket: AtomicU64,
}

impl Note {
    pub(crate) const fn blank() -> Self {
        Self { key: AtomicUsize::new(0), ticket: AtomicU64::new(0) }
    }
}

/// Waiters that came before this; later ones have asked their question after the wake began.
#[derive(Clone, Copy)]
pub(crate) struct Horizon(u64);

/// All waiting threads.
pub(crate) struct WaitTable {
    buckets: [Bucket; BUCKETS],
    notes: [Note; MAX_THREADS],
}

impl WaitTable {
    pub(crate) const fn new() -> Self {
        Self {
            buckets: [const {
                Bucket {
                    waiters: AtomicU32::new(0),
                    list: SpinLock::new(Class::Sched, Inner { list: List::new(), next_ticket: 0 }),
                }
            }; BUCKETS],
            notes: [const { Note::blank() }; MAX_THREADS],
        }
    }

    fn bucket(&self, key: WaitKey) -> &Bucket {
        // Fibonacci hashing: keys are addresses, whose low bits say little.
        let hash = (key.0 as u64 >> 3).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        &self.buckets[(hash >> 58) as usize % BUCKETS]
    }

    /// Enters `slot`, which is `Blocked` already. The question may be asked after this returns.
    pub(crate) fn enter<C: Cpu>(&self, cpu: &C, table: &Table, key: WaitKey, slot: Slot) {
        debug_assert!(slot.index() >= MAX_CPUS, "an idle thread does not wait");
        let bucket = self.bucket(key);
        {
            let mut inner = bucket.list.lock(cpu);
            let note = &self.notes[slot.index()];
            note.key.store(key.0, Ordering::Relaxed);
            note.ticket.store(inner.next_ticket, Ordering::Relaxed);
            inner.next_ticket += 1;
            inner.list.push_back(&table.wait_links, slot);
            bucket.waiters.store(inner.list.len() as u32, Ordering::Relaxed);
        }
        fence(Ordering::SeqCst);
    }

    /// Takes `slot` out, if no waker has done so.
    pub(crate) fn leave<C: Cpu>(&self, cpu: &C, table: &Table, key: WaitKey, slot: Slot) {
        let bucket = self.bucket(key);
        let mut inner = bucket.list.lock(cpu);
        inner.list.remove_first(&table.wait_links, |other| other == slot);
        bucket.waiters.store(inner.list.len() as u32, Ordering::Relaxed);
    }

    /// Whether anybody might wait for `key`. What the waiters ask about must have been stored.
    pub(crate) fn has_waiters(&self, key: WaitKey) -> bool {
        fence(Ordering::SeqCst);
        self.bucket(key).waiters.load(Ordering::Relaxed) != 0
    }

    /// Takes out the first waiters for `key`, up to a batch, that came before `horizon`; the first
    /// call sets it. Without a horizon, a waiter that is quick to wait again would be woken for ever.
    pub(crate) fn take<C: Cpu>(
        &self,
        cpu: &C,
        table: &Table,
        key: WaitKey,
        horizon: &mut Option<Horizon>,
    ) -> Batch {
        let bucket = self.bucket(key);
        let mut batch = Batch { slots: [Slot(0); BATCH], len: 0 };
        let mut inner = bucket.list.lock(cpu);
        let Horizon(end) = *horizon.get_or_insert(Horizon(inner.next_ticket));
        while batch.len < BATCH {
            let wanted = |slot: Slot| {
                let note = &self.notes[slot.index()];
                note.key.load(Ordering::Relaxed) == key.0
                    && note.ticket.load(Ordering::Relaxed) < end
            };
            let Some(slot) = inner.list.remove_first(&table.wait_links, wanted) else { break };
            batch.slots[batch.len] = slot;
            batch.len += 1;
        }
        bucket.waiters.store(inner.list.len() as u32, Ordering::Relaxed);
        batch
    }
}
