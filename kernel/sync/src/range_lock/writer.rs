//! The writer of a range lock.

use super::RangeLock;
use crate::MutexGuard;
use crate::cpu::Wait;
use crate::mutant::{self, Mutant};
use core::ops::{Deref, Range};

impl<T> RangeLock<T> {
    /// Waits until no other writer is left. Readers are not disturbed yet.
    ///
    /// Context: thread, may sleep; holds no claim and no spin lock.
    #[doc(alias("mmap_write_lock", "down_write"))]
    #[inline]
    pub fn write<'a, C: Wait>(&'a self, cpu: &'a C) -> Writer<'a, T, C> {
        Writer { lock: self, cpu, _queue: self.queues.writers.lock(cpu) }
    }

    /// As [`RangeLock::write`], but `None` where that would wait.
    #[doc(alias = "mmap_write_trylock")]
    pub fn try_write<'a, C: Wait>(&'a self, cpu: &'a C) -> Option<Writer<'a, T, C>> {
        Some(Writer { lock: self, cpu, _queue: self.queues.writers.try_lock(cpu)? })
    }
}

/// Having this means that nobody else changes the value. Dropping it ends the exclusions.
///
/// What to do in which order is the caller's affair: an mmap only changes the value; an munmap
/// excludes its range, takes the areas out, zaps and flushes, and is dropped; a fork excludes all.
pub struct Writer<'a, T, C: Wait> {
    lock: &'a RangeLock<T>,
    cpu: &'a C,
    /// Let go after `drop` has opened the gate: fields are dropped last.
    _queue: MutexGuard<'a, (), C>,
}

impl<T, C: Wait> Writer<'_, T, C> {
    /// Waits until no reader claims a page of `pages`, and lets none claim one until this guard is
    /// dropped. May be repeated to exclude more; everything excluded so far stays so.
    ///
    /// Two ranges that do not touch are kept apart, as mremap needs it. A third may take what lies
    /// between it and the second with it.
    ///
    /// Context: as [`RangeLock::write`].
    #[doc(alias = "vma_start_write")]
    pub fn exclude(&mut self, pages: Range<u64>) {
        if pages.is_empty() {
            return;
        }
        let gate = &self.lock.gate;
        gate.exclude(&pages);
        mutant::fence(Mutant::ExcludeUnfenced);
        gate.hazards
            .wait_out(self.cpu, &gate.lines, |word| word.is_of(gate.number) && gate.excludes(word));
    }

    /// Changes the value. Waits for lookups to end and holds new ones up meanwhile: `change` should
    /// be short, with its allocations made before where that is possible.
    ///
    /// Context: as [`RangeLock::write`].
    pub fn mutate<R>(&mut self, change: impl FnOnce(&mut T) -> R) -> R {
        let RangeLock { gate, value, .. } = self.lock;
        gate.mark_changing();
        // Unmarks also if the change panics.
        let _changing = Changing { lock: self.lock, cpu: self.cpu };
        mutant::fence(Mutant::MutateUnfenced);
        gate.hazards
            .wait_out(self.cpu, &gate.lines, |word| word.is_of(gate.number) && word.is_looking());
        // SAFETY: this is the only writer; no lookup is left, and none begins while the mark stands;
        // `&mut self` is the only borrow through this guard.
        #[expect(unsafe_code, reason = "a lock is where shared mutability is made sound")]
        value.with_mut(|value| change(unsafe { &mut *value }))
    }
}

/// The mark at the gate.
struct Changing<'a, T, C: Wait> {
    lock: &'a RangeLock<T>,
    cpu: &'a C,
}

impl<T, C: Wait> Drop for Changing<'_, T, C> {
    fn drop(&mut self) {
        self.lock.gate.unmark_changing();
        self.lock.wake(self.cpu);
    }
}

impl<T, C: Wait> Deref for Writer<'_, T, C> {
    type Target = T;

    /// Only writers change the value, so the one writer may read it at any time.
    fn deref(&self) -> &T {
        // SAFETY: only this guard hands out `&mut T`, and `mutate` borrows it exclusively.
        #[expect(unsafe_code, reason = "a lock is where shared mutability is made sound")]
        self.lock.value.with(|value| unsafe { &*value })
    }
}

impl<T, C: Wait> Drop for Writer<'_, T, C> {
    #[inline]
    fn drop(&mut self) {
        if self.lock.gate.open() {
            self.lock.wake(self.cpu);
        }
    }
}
