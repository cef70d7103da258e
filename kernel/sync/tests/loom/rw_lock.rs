//! The sleeping reader-writer lock.

use super::holds;
use super::machine::Here;
use granule_sync::RwLock;
use loom::sync::Arc;
use loom::thread;

/// The reader sees none of a change or all of it, before it or after.
pub(super) fn a_reader_and_a_writer() {
    let here = Here::boot();
    let pair = Arc::new(RwLock::new((0, 0)));
    let reader = {
        let (there, pair) = (here.on(1), pair.clone());
        thread::spawn(move || {
            let guard = pair.read(&there);
            assert_eq!(guard.0, guard.1);
        })
    };
    {
        let mut guard = pair.write(&here);
        guard.0 += 1;
        guard.1 += 1;
    }
    reader.join().unwrap();
}

fn two_readers_and_a_writer() {
    let here = Here::boot();
    let sum = Arc::new(RwLock::new(0));
    let readers: Vec<_> = (1..3)
        .map(|id| {
            let (there, sum) = (here.on(id), sum.clone());
            thread::spawn(move || assert!(*sum.read(&there) < 2))
        })
        .collect();
    *sum.write(&here) += 1;
    for reader in readers {
        reader.join().unwrap();
    }
    assert_eq!(*sum.read(&here), 1);
}

fn two_writers() {
    let here = Here::boot();
    let sum = Arc::new(RwLock::new(0));
    let other = {
        let (there, sum) = (here.on(1), sum.clone());
        thread::spawn(move || *sum.write(&there) += 1)
    };
    *sum.write(&here) += 1;
    other.join().unwrap();
    assert_eq!(*sum.read(&here), 2);
}

#[test]
fn a_change_is_seen_whole() {
    holds(None, a_reader_and_a_writer);
}

#[test]
fn writers_take_turns() {
    holds(None, two_writers);
}

#[test]
fn readers_and_a_writer_all_come_through() {
    holds(Some(3), two_readers_and_a_writer);
}
