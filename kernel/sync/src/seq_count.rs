//! A sequence count: tells a reader that a writer was at work meanwhile.
//!
//! Corresponds to `mm->write_protect_seq`: a fork that write-protects and shares pages, against
//! GUP-fast, which pins pages without a lock.
//!
//! # Why it is right
//! The writer stores *odd*, executes a full fence, and then looks whether pages are pinned. The
//! reader pins, executes a full fence ([`SeqCount::unchanged`]), and loads the count. The fences are
//! ordered: either the writer sees the pin, or the reader sees *odd*, or what came after it, and
//! gives the pin back. A reader that samples *even* acquires what the writer before it released, so
//! it sees the entries write-protected.

use crate::atomic::{AtomicU64, Ordering};
use crate::mutant::{Mutant, fence, order};

/// Odd while a writer is at work. Wraps after 2^63 writers.
#[doc(alias("seqcount_t", "write_protect_seq"))]
pub struct SeqCount(AtomicU64);

/// The count as a reader found it, even.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SeqSample(u64);

impl SeqCount {
    /// No writer is at work.
    #[cfg(not(loom))]
    pub const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// No writer is at work.
    #[cfg(loom)]
    pub fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Begins to write, until the guard is dropped. What the writer loads after this sees whatever
    /// readers did whose [`SeqCount::unchanged`] will say yes.
    ///
    /// The caller keeps other writers out.
    #[doc(alias("write_seqcount_begin", "raw_write_seqcount_begin"))]
    pub fn begin(&self) -> SeqWriting<'_> {
        let now = self.0.load(Ordering::Relaxed);
        debug_assert!(now.is_multiple_of(2), "two writers of one sequence count");
        self.0.store(now.wrapping_add(1), Ordering::Relaxed);
        fence(Mutant::SeqBeginUnfenced);
        SeqWriting { count: self, now: now.wrapping_add(2) }
    }

    /// Begins to read; `None` while a writer is at work.
    #[doc(alias("read_seqcount_begin", "raw_read_seqcount"))]
    #[inline]
    pub fn read(&self) -> Option<SeqSample> {
        let now = self.0.load(order(Ordering::Acquire, Mutant::SeqReadRelaxed));
        now.is_multiple_of(2).then_some(SeqSample(now))
    }

    /// Whether no writer has been at work since `sample`, as far as it could have missed what this
    /// CPU stored until now. Executes a full fence: ask once per batch.
    #[doc(alias = "read_seqcount_retry")]
    #[inline]
    pub fn unchanged(&self, sample: SeqSample) -> bool {
        fence(Mutant::SeqUnchangedUnfenced);
        self.0.load(Ordering::Relaxed) == sample.0
    }
}

impl Default for SeqCount {
    fn default() -> Self {
        Self::new()
    }
}

/// Having this means being the writer; dropping it ends the writing.
#[must_use = "the writing ends when this is dropped"]
pub struct SeqWriting<'a> {
    count: &'a SeqCount,
    now: u64,
}

impl Drop for SeqWriting<'_> {
    #[doc(alias = "write_seqcount_end")]
    fn drop(&mut self) {
        self.count.0.store(self.now, order(Ordering::Release, Mutant::SeqEndRelaxed));
    }
}
