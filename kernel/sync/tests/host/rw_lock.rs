//! The sleeping reader-writer lock.

use crate::machine::{Alone, Host};
use granule_sync::RwLock;
use std::cell::RefCell;
use std::thread;

#[test]
fn readers_share_and_a_writer_waits_for_all_of_them() {
    let lock = RwLock::new(1);
    let others = Alone::default();
    let readers = RefCell::new(vec![lock.read(&others), lock.read(&others)]);
    let cpu = Alone::default();
    cpu.then(|| drop(readers.borrow_mut().pop()));
    cpu.then(|| drop(readers.borrow_mut().pop()));
    *lock.write(&cpu) += 1;
    assert_eq!((cpu.sleeps.get(), others.wakes.get()), (2, 1));
    assert_eq!(*lock.read(&cpu), 2);
}

#[test]
fn readers_of_threads_see_each_change_whole() {
    let host = Host::default();
    let pair = RwLock::new((0, 0));
    let turns = if cfg!(miri) { 40 } else { 10_000 };
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                for _ in 0..turns {
                    let pair = pair.read(&host);
                    assert_eq!(pair.0, pair.1);
                }
            });
            scope.spawn(|| {
                for _ in 0..turns {
                    let mut pair = pair.write(&host);
                    pair.0 += 1;
                    thread::yield_now();
                    pair.1 += 1;
                }
            });
        }
    });
    assert_eq!(*pair.read(&host), (2 * turns, 2 * turns));
}
