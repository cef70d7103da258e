//! How much memory all CPUs together may use, where each would like a huge page or more: with many CPUs
//! and little memory some of them wait.

use abi::PMD_SIZE;
use core::sync::atomic::{AtomicU64, Ordering};

/// Blocks of 2 MiB that nobody has taken.
pub(super) struct Budget(AtomicU64);

/// Blocks that somebody has taken, until this is dropped.
#[must_use = "they are given back at once"]
pub(super) struct Share<'a> {
    budget: &'a Budget,
    pub(super) blocks: u64,
}

impl Budget {
    /// As many as fit into `bytes`, at least one.
    pub(super) fn new(bytes: u64) -> Self {
        Self(AtomicU64::new((bytes / PMD_SIZE).max(1)))
    }

    /// `wanted` blocks, or as many as are left; `None` if none is.
    pub(super) fn take(&self, wanted: u64) -> Option<Share<'_>> {
        let rest = |left: u64| (left > 0).then(|| left.saturating_sub(wanted));
        let left = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, rest).ok()?;
        Some(Share { budget: self, blocks: left.min(wanted) })
    }
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        self.budget.0.fetch_add(self.blocks, Ordering::Relaxed);
    }
}
