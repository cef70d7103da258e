//! Who asks for free 2 MiB blocks: a fault that found none, and then either makes one itself or leaves it to
//! the thread in the background, as the settings want it ([`crate::thp::Defrag`]).
//!
//! Where nothing was to be gained, nobody tries again for a while: twice as many requests are let pass after
//! each failure, up to 64.
//!
//! Corresponds to Linux's `try_to_compact_pages`, `defer_compaction`, `wakeup_kcompactd`, `kcompactd`.

use crate::{Hardware, Mm};
use abi::Event;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use sync::WaitKey;

/// Requests that are let pass at most.
const MOST_PASSED: u32 = 64;

/// What is asked for, and how it went lately.
pub(crate) struct Demand {
    /// Somebody wants the thread to work.
    wanted: AtomicBool,
    /// Requests to let pass.
    pass: AtomicU32,
    /// How many were let pass the last time.
    last: AtomicU32,
}

impl Demand {
    pub(crate) const fn new() -> Self {
        Self { wanted: AtomicBool::new(false), pass: AtomicU32::new(0), last: AtomicU32::new(0) }
    }

    /// Whether it is too early to try again.
    #[doc(alias = "compaction_deferred")]
    fn is_deferred(&self) -> bool {
        let less = |left: u32| left.checked_sub(1);
        self.pass.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok()
    }

    /// Remembers how it went.
    #[doc(alias("defer_compaction", "compaction_defer_reset"))]
    fn note(&self, gained: bool) {
        let last = self.last.load(Ordering::Relaxed);
        let next = if gained { 0 } else { (2 * last + 1).min(MOST_PASSED) };
        self.last.store(next, Ordering::Relaxed);
        self.pass.store(next, Ordering::Relaxed);
    }
}

impl<H: Hardware> Mm<H> {
    /// Makes one free page block, for somebody who found none. Says whether there is one more.
    ///
    /// Context: as [`Mm::compact`].
    #[doc(alias("__alloc_pages_direct_compact", "try_to_compact_pages"))]
    pub(crate) fn compact_directly(&self) -> bool {
        if self.demand.is_deferred() {
            return false;
        }
        self.count(Event::CompactStall, 1);
        let made = self.compact_noting(1);
        self.count(if made { Event::CompactSuccess } else { Event::CompactFail }, 1);
        made
    }

    /// Wakes the thread in the background. Context: any but a spin lock's of the scheduler.
    #[doc(alias = "wakeup_kcompactd")]
    pub(crate) fn compact_later(&self) {
        let wanted = &self.demand.wanted;
        if !wanted.load(Ordering::Relaxed) && !wanted.swap(true, Ordering::AcqRel) {
            self.hw.wake(WaitKey::of(wanted));
        }
    }

    /// What the thread in the background does, once: sleeps until blocks are wanted or `ended` says so, and
    /// makes as many as there can be.
    ///
    /// Context: thread; as [`Mm::compact`].
    #[doc(alias("kcompactd", "kcompactd_do_work"))]
    pub fn compact_when_wanted(&self, ended: &dyn Fn() -> bool) {
        let wanted = &self.demand.wanted;
        let ready = &mut || wanted.swap(false, Ordering::AcqRel) || ended();
        self.hw.wait(WaitKey::of(wanted), ready);
        if ended() || self.demand.is_deferred() {
            return;
        }
        self.count(Event::CompactDaemonWake, 1);
        self.compact_noting(u64::MAX);
    }

    /// Compacts, and remembers how it went. Where there was no memory for the work itself, nobody knows what
    /// is to be gained.
    #[inline(never)]
    fn compact_noting(&self, wanted: u64) -> bool {
        let made = self.compact(wanted).map(|done| done.made > 0);
        made.inspect(|made| self.demand.note(*made)).unwrap_or(false)
    }

    /// Wakes the thread in the background so that it looks whether it is to end.
    pub fn compact_look_up(&self) {
        self.hw.wake(WaitKey::of(&self.demand.wanted));
    }
}
