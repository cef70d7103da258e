//! The sleeping reader-writer lock. Guards an address space's layout: faults read, mmap writes.
//!
//! Writers are preferred: once one waits, new readers queue behind it, so a storm of faults cannot
//! starve an munmap.

use crate::atomic::{AtomicU32, Ordering};
use crate::cell::UnsafeCell;
use crate::cpu::{Wait, WaitKey};
use crate::mutant::{Mutant, order};
use core::ops::{Deref, DerefMut};

/// In `state`: a writer holds the lock.
const WRITER: u32 = 1 << 31;
/// In `state`: a writer waits. The bits below count readers.
const WAITING: u32 = 1 << 30;
const READERS: u32 = WAITING - 1;

/// A value that many threads may read or one may change; waiting threads sleep.
#[doc(alias("rw_semaphore", "mmap_lock"))]
pub struct RwLock<T> {
    state: AtomicU32,
    value: UnsafeCell<T>,
}

// SAFETY: the lock hands out `&T` to many threads and `&mut T` to one at a time; both need what
// `std::sync::RwLock` needs.
#[expect(unsafe_code, reason = "a lock is where shared mutability is made sound")]
unsafe impl<T: Send + Sync> Sync for RwLock<T> {}

impl<T> RwLock<T> {
    /// Unlocked.
    #[cfg(not(loom))]
    pub const fn new(value: T) -> Self {
        Self { state: AtomicU32::new(0), value: UnsafeCell::new(value) }
    }

    /// Unlocked.
    #[cfg(loom)]
    pub fn new(value: T) -> Self {
        Self { state: AtomicU32::new(0), value: UnsafeCell::new(value) }
    }

    fn key(&self) -> WaitKey {
        WaitKey::of(&self.state)
    }

    fn try_read(&self) -> bool {
        let acquire = order(Ordering::Acquire, Mutant::ReadLockRelaxed);
        self.state
            .fetch_update(acquire, Ordering::Relaxed, |s| {
                (s & (WRITER | WAITING) == 0).then_some(s + 1)
            })
            .is_ok()
    }

    fn try_write(&self) -> bool {
        let acquire = order(Ordering::Acquire, Mutant::WriteLockRelaxed);
        self.state
            .fetch_update(acquire, Ordering::Relaxed, |s| {
                if s & (WRITER | READERS) == 0 { Some(WRITER) } else { None }
            })
            .is_ok()
    }

    /// Waits for shared access. Context: thread, may sleep.
    #[inline]
    pub fn read<'a, C: Wait>(&'a self, cpu: &'a C) -> ReadGuard<'a, T, C> {
        if !self.try_read() {
            cpu.wait(self.key(), &mut || self.try_read());
        }
        ReadGuard { lock: self, cpu }
    }

    /// Waits for exclusive access. Context: thread, may sleep.
    #[inline]
    pub fn write<'a, C: Wait>(&'a self, cpu: &'a C) -> WriteGuard<'a, T, C> {
        if !self.try_write() {
            cpu.wait(self.key(), &mut || {
                if self.try_write() {
                    return true;
                }
                // Announce the wait. If the holders left in between, nobody will wake us: ask again.
                self.state.fetch_or(WAITING, Ordering::Relaxed);
                self.try_write()
            });
        }
        WriteGuard { lock: self, cpu }
    }
}

/// Having this means that nobody changes the value.
pub struct ReadGuard<'a, T, C: Wait> {
    lock: &'a RwLock<T>,
    cpu: &'a C,
}

impl<T, C: Wait> Deref for ReadGuard<'_, T, C> {
    type Target = T;
    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: a reader is counted in `state`, so no `&mut` exists until this guard is dropped.
        #[expect(unsafe_code, reason = "a lock is where shared mutability is made sound")]
        self.lock.value.with(|value| unsafe { &*value })
    }
}

impl<T, C: Wait> Drop for ReadGuard<'_, T, C> {
    #[inline]
    fn drop(&mut self) {
        let before =
            self.lock.state.fetch_sub(1, order(Ordering::Release, Mutant::ReadUnlockRelaxed));
        if before & READERS == 1 && before & WAITING != 0 {
            self.cpu.wake(self.lock.key());
        }
    }
}

/// Having this means being alone with the value.
pub struct WriteGuard<'a, T, C: Wait> {
    lock: &'a RwLock<T>,
    cpu: &'a C,
}

impl<T, C: Wait> Deref for WriteGuard<'_, T, C> {
    type Target = T;
    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: WRITER is set in `state` by this guard alone; nobody else has a reference.
        #[expect(unsafe_code, reason = "a lock is where shared mutability is made sound")]
        self.lock.value.with(|value| unsafe { &*value })
    }
}

impl<T, C: Wait> DerefMut for WriteGuard<'_, T, C> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as in `deref`, and `&mut self` makes it the only borrow through the guard.
        #[expect(unsafe_code, reason = "a lock is where shared mutability is made sound")]
        self.lock.value.with_mut(|value| unsafe { &mut *value })
    }
}

impl<T, C: Wait> Drop for WriteGuard<'_, T, C> {
    #[inline]
    fn drop(&mut self) {
        // Clears a waiting mark too: every waiter asks again, and writers announce themselves anew.
        // A store would do; but loom lets one slip into the middle of another thread's update.
        self.lock.state.swap(0, order(Ordering::Release, Mutant::WriteUnlockRelaxed));
        self.cpu.wake(self.lock.key());
    }
}
