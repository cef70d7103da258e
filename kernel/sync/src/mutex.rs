//! The sleeping mutex.
//!
//! Whoever comes while it is free takes it, even past sleepers: a woken thread needs a while to run,
//! and a mutex that waits for it is idle meanwhile. But a thread that has asked [`PATIENCE`] times in
//! vain draws a ticket, and as long as there are tickets each release hands the mutex to the next of
//! them, in order. So it is fast while that is fair, and nobody waits forever.
//!
//! # Why no wake-up is lost
//! All of it is one word, and every step on it is one atomic update. A release that comes after a
//! waiter's note ([`SLEEPERS`], or a ticket) sees it and wakes; one that comes before it leaves a
//! free mutex, or a grant, for the waiter's question to find.

use crate::atomic::{AtomicU64, Ordering};
use crate::cell::UnsafeCell;
use crate::cpu::{Wait, WaitKey};
use crate::mutant::{Mutant, order};
use core::marker::PhantomData;
use core::ops::{Deref, DerefMut};

/// Somebody holds it, or was handed it.
const LOCKED: u64 = 1;
/// Somebody without a ticket sleeps, or is about to.
const SLEEPERS: u64 = 1 << 1;
/// Above it, 31 bits: how many tickets were drawn. The count wraps.
const DRAWN: u32 = 2;
/// Above it, 31 bits: how many of them were granted. Equal to the drawn ones in a free mutex.
const GRANTED: u32 = 33;
const COUNT: u64 = (1 << 31) - 1;

/// Questions in vain after which a waiter draws a ticket; the first is asked before it sleeps.
const PATIENCE: u32 = if cfg!(loom) { 1 } else { 4 };

const fn drawn(state: u64) -> u64 {
    state >> DRAWN & COUNT
}

const fn granted(state: u64) -> u64 {
    state >> GRANTED
}

const fn draw(state: u64) -> u64 {
    let count = (drawn(state) + 1) & COUNT;
    state & !(COUNT << DRAWN) | count << DRAWN
}

/// A grant carries out of the word when its count wraps.
const fn grant(state: u64) -> u64 {
    state.wrapping_add(1 << GRANTED)
}

/// A value that one thread at a time may touch; the others sleep.
#[doc(alias("mutex", "mutex_lock"))]
pub struct Mutex<T> {
    state: AtomicU64,
    value: UnsafeCell<T>,
}

// SAFETY: the lock hands out `&mut T` to one thread at a time, which needs what `std::sync::Mutex`
// needs.
#[expect(unsafe_code, reason = "a lock is where shared mutability is made sound")]
unsafe impl<T: Send> Sync for Mutex<T> {}

/// What one waiter remembers between its questions.
#[derive(Default)]
struct Asking {
    in_vain: u32,
    ticket: Option<u64>,
}

impl<T> Mutex<T> {
    /// Free.
    #[cfg(not(loom))]
    pub const fn new(value: T) -> Self {
        Self { state: AtomicU64::new(0), value: UnsafeCell::new(value) }
    }

    /// Free.
    #[cfg(loom)]
    pub fn new(value: T) -> Self {
        Self { state: AtomicU64::new(0), value: UnsafeCell::new(value) }
    }

    /// Waits until the mutex is this thread's. Context: thread, may sleep.
    #[inline]
    pub fn lock<'a, C: Wait>(&'a self, cpu: &'a C) -> MutexGuard<'a, T, C> {
        if !self.take() {
            let mut asking = Asking::default();
            cpu.wait(self.key(), &mut || self.ask(&mut asking));
        }
        MutexGuard { lock: self, cpu, alone: PhantomData }
    }

    /// Takes the mutex if it is free. Context: thread; does not sleep.
    #[inline]
    pub fn try_lock<'a, C: Wait>(&'a self, cpu: &'a C) -> Option<MutexGuard<'a, T, C>> {
        self.take().then(|| MutexGuard { lock: self, cpu, alone: PhantomData })
    }

    /// Whether somebody has it, or had it a moment ago. Context: any.
    #[doc(alias = "mutex_is_locked")]
    #[inline]
    pub fn is_locked(&self) -> bool {
        self.state.load(Ordering::Relaxed) & LOCKED != 0
    }

    fn key(&self) -> WaitKey {
        WaitKey::of(&self.state)
    }

    #[inline]
    fn take(&self) -> bool {
        let acquire = order(Ordering::Acquire, Mutant::MutexLockRelaxed);
        self.state.fetch_or(LOCKED, acquire) & LOCKED == 0
    }

    /// A waiter's question: takes the mutex, or leaves a note for its holder.
    fn ask(&self, asking: &mut Asking) -> bool {
        if let Some(ticket) = asking.ticket {
            // Granted to us and to nobody later, for that takes our release.
            let acquire = order(Ordering::Acquire, Mutant::MutexTicketRelaxed);
            return granted(self.state.load(acquire)) == (ticket + 1) & COUNT;
        }
        let is_hungry = asking.in_vain >= PATIENCE;
        let acquire = order(Ordering::Acquire, Mutant::MutexLockRelaxed);
        let noted = |state| match state {
            free if free & LOCKED == 0 => free | LOCKED,
            held if is_hungry => draw(held),
            held => held | SLEEPERS,
        };
        let before = update(&self.state, acquire, noted);
        if before & LOCKED == 0 {
            return true;
        }
        asking.in_vain += 1;
        asking.ticket = is_hungry.then(|| drawn(before));
        false
    }

    #[inline]
    fn release<C: Wait>(&self, cpu: &C) {
        let release = order(Ordering::Release, Mutant::MutexUnlockRelaxed);
        // Everybody asks again after the wake, so the note is stale.
        let before = update(&self.state, release, |state| {
            if drawn(state) == granted(state) {
                state & !(LOCKED | SLEEPERS)
            } else {
                grant(state & !SLEEPERS)
            }
        });
        if before & SLEEPERS != 0 || drawn(before) != granted(before) {
            cpu.wake(self.key());
        }
    }
}

/// Applies `change` in one step and answers what was there before.
#[inline]
fn update(state: &AtomicU64, ordering: Ordering, change: impl Fn(u64) -> u64) -> u64 {
    let mut seen = state.load(Ordering::Relaxed);
    loop {
        match state.compare_exchange_weak(seen, change(seen), ordering, Ordering::Relaxed) {
            Ok(before) => return before,
            Err(now) => seen = now,
        }
    }
}

/// Having this means being alone with the value.
pub struct MutexGuard<'a, T, C: Wait> {
    lock: &'a Mutex<T>,
    cpu: &'a C,
    /// The guard goes to other threads as a `&mut T` does, and is shared as that is.
    alone: PhantomData<&'a mut T>,
}

impl<T, C: Wait> Deref for MutexGuard<'_, T, C> {
    type Target = T;
    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: LOCKED is this guard's alone; nobody else has a reference.
        #[expect(unsafe_code, reason = "a lock is where shared mutability is made sound")]
        self.lock.value.with(|value| unsafe { &*value })
    }
}

impl<T, C: Wait> DerefMut for MutexGuard<'_, T, C> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as in `deref`, and `&mut self` makes it the only borrow through the guard.
        #[expect(unsafe_code, reason = "a lock is where shared mutability is made sound")]
        self.lock.value.with_mut(|value| unsafe { &mut *value })
    }
}

impl<T, C: Wait> Drop for MutexGuard<'_, T, C> {
    #[inline]
    fn drop(&mut self) {
        self.lock.release(self.cpu);
    }
}
