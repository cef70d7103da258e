//! The sleeping mutex.

use crate::machine::{Alone, Host};
use granule_sync::{Mutex, MutexGuard};
use std::cell::{Cell, RefCell};
use std::thread;

/// A holder that events can make let go and come back.
type Holder<'a, 'b> = RefCell<Option<MutexGuard<'a, u32, Alone<'b>>>>;

#[test]
fn one_at_a_time() {
    let cpu = Alone::default();
    let mutex = Mutex::new(1);
    let mut guard = mutex.lock(&cpu);
    *guard += 1;
    assert!(mutex.try_lock(&cpu).is_none());
    drop(guard);
    assert_eq!(mutex.try_lock(&cpu).as_deref(), Some(&2));
    assert_eq!(cpu.wakes.get(), 0, "nobody slept, and a failed try is no sleeper");
}

#[test]
fn a_free_mutex_is_for_whoever_comes_first() {
    let mutex = Mutex::new(0);
    let others = Alone::default();
    let holder: Holder<'_, '_> = RefCell::new(mutex.try_lock(&others));
    let cpu = Alone::default();
    // Released, and taken again before the sleeper runs; then released for good.
    cpu.then(|| {
        drop(holder.take());
        *holder.borrow_mut() = mutex.try_lock(&others);
        assert!(holder.borrow().is_some(), "a sleeper without a ticket does not keep others out");
    });
    cpu.then(|| drop(holder.take()));
    drop(mutex.lock(&cpu));
    assert_eq!((cpu.sleeps.get(), others.wakes.get()), (2, 2));
}

#[test]
fn a_sleeper_that_was_overtaken_too_often_is_handed_the_mutex() {
    let mutex = Mutex::new(0);
    let others = Alone::default();
    let holder: Holder<'_, '_> = RefCell::new(mutex.try_lock(&others));
    let overtakings = Cell::new(0);
    let cpu = Alone::default();
    // Always somebody is quicker, for as long as that is possible.
    for _ in 0..20 {
        cpu.then(|| {
            drop(holder.take());
            *holder.borrow_mut() = mutex.try_lock(&others);
            overtakings.set(overtakings.get() + u32::from(holder.borrow().is_some()));
        });
    }
    let guard = mutex.lock(&cpu);
    assert_eq!(overtakings.get(), 4);
    assert!(holder.borrow().is_none());
    drop(guard);
    assert!(mutex.try_lock(&cpu).is_some(), "the ticket is used up");
}

#[test]
fn counting_threads_do_not_disturb_one_another() {
    let host = Host::default();
    let sum = Mutex::new((0, 0));
    let turns = if cfg!(miri) { 50 } else { 20_000 };
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..turns {
                    let mut sum = sum.lock(&host);
                    sum.0 += 1;
                    if sum.0 % 8 == 0 {
                        thread::yield_now();
                    }
                    sum.1 += 1;
                }
            });
        }
    });
    assert_eq!(*sum.lock(&host), (4 * turns, 4 * turns));
}
