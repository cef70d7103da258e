//! Walkers' epochs.

use super::holds;
use super::machine::Here;
use granule_sync::Walkers;
use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicBool, Ordering};
use loom::thread;

struct Table {
    is_linked: AtomicBool,
    entry: UnsafeCell<u32>,
}

// SAFETY: the entry is read in walks only and changed after them; loom checks it.
unsafe impl Sync for Table {}

/// A walker reads a table that it finds linked; a reclaimer unlinks it, waits, and uses it anew.
pub(super) fn a_walk_against_a_free() {
    let here = Here::boot();
    let table = Table { is_linked: AtomicBool::new(true), entry: UnsafeCell::new(0) };
    let shared = Arc::new((Walkers::new(2), table));
    let walker = {
        let (there, shared) = (here.on(1), shared.clone());
        thread::spawn(move || {
            let (walkers, table) = &*shared;
            let _walk = walkers.enter(&there);
            if table.is_linked.load(Ordering::Relaxed) {
                table.entry.with(|_| ());
            }
        })
    };
    let (walkers, table) = &*shared;
    table.is_linked.store(false, Ordering::Relaxed);
    walkers.synchronize(&here);
    table.entry.with_mut(|_| ());
    walker.join().unwrap();
}

#[test]
fn a_table_outlives_its_walkers() {
    holds(None, a_walk_against_a_free);
}
