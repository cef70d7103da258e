//! The sequence count between GUP-fast and fork.

use super::holds;
use granule_sync::SeqCount;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use loom::thread;

#[derive(Default)]
struct Page {
    seq: SeqCount,
    pins: AtomicU32,
    is_shared: AtomicBool,
}

/// Pins the page, if it is found unshared and stays so; answers whether the pin was kept.
fn gup_fast(page: &Page) -> bool {
    let Some(sample) = page.seq.read() else { return false };
    page.pins.fetch_add(1, Ordering::Relaxed);
    let is_shared = page.is_shared.load(Ordering::Relaxed);
    !is_shared && page.seq.unchanged(sample)
}

/// Shares the page, unless somebody has pinned it; answers whether it is shared.
fn fork(page: &Page) -> bool {
    let _writing = page.seq.begin();
    let is_pinned = page.pins.load(Ordering::Relaxed) != 0;
    if !is_pinned {
        page.is_shared.store(true, Ordering::Relaxed);
    }
    !is_pinned
}

/// Never is a pin kept on a page that a fork shares: not in one that goes on meanwhile, and not in
/// one that is over.
pub(super) fn a_pin_against_a_fork() {
    let page = Arc::new(Page::default());
    let pinner = {
        let page = page.clone();
        thread::spawn(move || gup_fast(&page))
    };
    let is_shared = fork(&page);
    let is_kept = pinner.join().unwrap();
    assert!(!(is_shared && is_kept), "wrong: a shared page is pinned");
}

#[test]
fn a_pinned_page_is_not_shared() {
    holds(None, a_pin_against_a_fork);
}
