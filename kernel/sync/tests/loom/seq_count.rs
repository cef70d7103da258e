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

/// Pins the page; answers whether the pin was kept.
fn gup_fast(page: &Page) -> bool {
    let Some(sample) = page.seq.read() else { return false };
    page.pins.fetch_add(1, Ordering::Relaxed);
    page.seq.unchanged(sample)
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

/// Never is a pin kept on a page that a fork at the same time shared.
pub(super) fn a_pin_against_a_fork() {
    let page = Arc::new(Page::default());
    let pinner = {
        let page = page.clone();
        thread::spawn(move || gup_fast(&page))
    };
    let is_shared = fork(&page);
    let is_kept = pinner.join().unwrap();
    // A fork that was over before the pinner came is no conflict: then it saw the page shared.
    assert!(!(is_shared && is_kept) || page.seq.read() == Some(page.seq.read().unwrap()));
}

/// Who finds the count even after a fork sees what the fork wrote.
pub(super) fn a_pin_after_a_fork() {
    let page = Arc::new(Page::default());
    let before = page.seq.read();
    let pinner = {
        let page = page.clone();
        thread::spawn(move || {
            let sample = page.seq.read();
            if sample.is_some() && sample != before {
                assert!(page.is_shared.load(Ordering::Relaxed), "an entry of before the fork");
            }
        })
    };
    assert!(fork(&page));
    pinner.join().unwrap();
}

#[test]
fn a_pinned_page_is_not_shared() {
    holds(None, a_pin_against_a_fork);
}

#[test]
fn a_later_reader_sees_the_fork() {
    holds(None, a_pin_after_a_fork);
}
