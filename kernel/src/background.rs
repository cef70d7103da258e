//! The thread that makes huge pages of small ones, unasked.
//!
//! It is off until somebody switches it on: what it does would be measured by `bench`, and counted by the
//! workloads, with what they do themselves.
//!
//! Corresponds to Linux's `khugepaged`.

use crate::memory;
use arch::timer::now_ns;
use core::sync::atomic::{AtomicBool, Ordering::Relaxed};
use sched::{SpawnError, Spec};
use sync::WaitKey;

/// Whether it is to work.
static ON: AtomicBool = AtomicBool::new(false);
/// Whether there is a thread.
static THERE: AtomicBool = AtomicBool::new(false);

/// Whether it works.
pub(crate) fn is_on() -> bool {
    ON.load(Relaxed)
}

/// Switches it on or off; a scan that has begun is ended. Context: thread.
pub(crate) fn switch(on: bool) -> Result<(), SpawnError> {
    if on && !THERE.swap(true, Relaxed) {
        let spawned = sched::spawn(Spec::new("collapse").detached(), work, 0);
        spawned.inspect_err(|_| THERE.store(false, Relaxed))?;
    }
    ON.store(on, Relaxed);
    sched::wake(WaitKey::of(&ON));
    Ok(())
}

/// Looks, collapses, sleeps.
#[doc(alias = "khugepaged")]
fn work(_: usize) -> usize {
    let Some(mm) = memory::mm() else { return 0 };
    let limits = &mm.thp.collapse;
    loop {
        sched::wait(WaitKey::of(&ON), &mut is_on);
        let scanned = mm.collapse_scan(limits.pages_to_scan().into());
        let ms =
            if scanned.out_of_memory { limits.alloc_sleep_ms() } else { limits.scan_sleep_ms() };
        let deadline = now_ns() + u64::from(ms) * 1_000_000;
        // Whoever switches it off and on again wants something to happen.
        sched::wait_until(WaitKey::of(&ON), deadline, &mut || !is_on());
    }
}
