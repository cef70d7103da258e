//! Shared ownership.

use super::holds;
use granule_sync::Arc;
use loom::cell::UnsafeCell;
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;

/// A value that wants its drop to come after every use.
struct Owned {
    uses: [UnsafeCell<u32>; 2],
    drops: loom::sync::Arc<AtomicUsize>,
}

// SAFETY: each thread uses a cell of its own, and the drop comes after; loom checks it.
unsafe impl Sync for Owned {}

impl Drop for Owned {
    fn drop(&mut self) {
        for cell in &self.uses {
            cell.with_mut(|_| ());
        }
        self.drops.fetch_add(1, Ordering::Relaxed);
    }
}

/// Two owners use the value and go; it is dropped once, after both.
pub(super) fn the_last_owner_drops() {
    let drops = loom::sync::Arc::new(AtomicUsize::new(0));
    let uses = [UnsafeCell::new(0), UnsafeCell::new(0)];
    let one = Arc::try_new(Owned { uses, drops: drops.clone() }).unwrap();
    let other = one.clone();
    assert!(one.ptr_eq(&other));
    let thread = thread::spawn(move || other.uses[1].with_mut(|_| ()));
    one.uses[0].with_mut(|_| ());
    drop(one);
    thread.join().unwrap();
    assert_eq!(drops.load(Ordering::Relaxed), 1);
}

#[test]
fn a_value_is_dropped_once_and_last() {
    holds(None, the_last_owner_drops);
}
