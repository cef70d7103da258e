//! The sleeping mutex. In these builds a waiter draws its ticket after its first question in vain.

use super::holds;
use super::machine::Here;
use granule_sync::Mutex;
use loom::sync::Arc;
use loom::thread;

fn count(here: Here, threads: u16) {
    let sum = Arc::new(Mutex::new(0));
    let others: Vec<_> = (1..threads)
        .map(|id| {
            let (there, sum) = (here.on(id), sum.clone());
            thread::spawn(move || *sum.lock(&there) += 1)
        })
        .collect();
    *sum.lock(&here) += 1;
    for other in others {
        other.join().unwrap();
    }
    assert_eq!(*sum.lock(&here), threads);
    assert!(sum.try_lock(&here).is_some());
}

pub(super) fn two_count() {
    count(Here::boot(), 2);
}

pub(super) fn two_count_restlessly() {
    count(Here::boot_restless(), 2);
}

fn three_count() {
    count(Here::boot(), 3);
}

#[test]
fn two_threads_take_turns() {
    holds(None, two_count);
}

#[test]
fn two_threads_take_turns_by_tickets() {
    holds(None, two_count_restlessly);
}

#[test]
fn three_threads_take_turns() {
    holds(Some(3), three_count);
}
