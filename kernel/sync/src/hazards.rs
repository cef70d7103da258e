//! Hazards: what each CPU's threads claim right now of the things that [`crate::RangeLock`]s guard.
//!
//! A reader that counts itself in the lock writes to a line that all readers share, and faults on
//! 64 CPUs then take turns at it. Here a reader writes to a line of its own CPU, and whoever must
//! wait for readers looks for them on the CPUs' lines. Corresponds to Linux's per-VMA locks, whose
//! reference count is shared by the threads that fault in one VMA; the name is Michael's, of hazard
//! pointers.
//!
//! # Slots
//! A slot is zero, or one reader's [`Word`]. A claim is made by compare-exchange and let
//! go by a store, from any CPU. So the thread may move between asking where it is and claiming there:
//! that the line is its own CPU's is a matter of speed and of nothing else, and interrupts stay
//! unmasked. Where a CPU's slots are all taken, by threads that were preempted, a neighbour's serve.
//!
//! # Numbers
//! A claim names its lock by a number of 26 bits. They wrap, so two locks may share one; then a
//! writer may wait for a claim that is no concern of its own. That is harmless as long as no claim's
//! holder waits for a writer, which [`crate::RangeLock`] forbids for all locks alike.

#[cfg(all(test, not(loom)))]
mod tests;

use crate::atomic::{AtomicU64, Ordering};
use crate::cpu::Wait;
use crate::mutant::{Mutant, order};
use abi::MAX_CPUS;
use alloc::boxed::Box;
use core::sync::atomic::AtomicU32 as PlainU32;

/// One cache line's worth. A thread holds one claim, seldom two; the rest is for preempted ones.
const SLOTS: usize = if cfg!(loom) { 1 } else { 8 };

const PAGE_BITS: u32 = 36;
/// Pages are numbered below this: 48 bits of address in pages of 4 KiB.
pub const PAGES: u64 = 1 << PAGE_BITS;
const NUMBERS: u32 = (1 << 26) - 1;
const NUMBER_BITS: u64 = (NUMBERS as u64) << PAGE_BITS;
/// The claim covers every page.
const WHOLE: u64 = 1 << 62;
/// The reader looks at the value right now.
const LOOKING: u64 = 1 << 63;

/// Which lock, among those that share the hazards; in its place in a word. Never zero, so that no
/// word is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Number(u64);

impl Number {
    /// The number after `made` locks.
    const fn after(made: u32) -> Self {
        Self(((made % NUMBERS + 1) as u64) << PAGE_BITS)
    }
}

/// What a slot says.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Word(u64);

impl Word {
    /// A claim on `page` of lock `number`, or on all its pages, by a reader that looks at the value.
    #[inline]
    pub(crate) const fn looking(number: Number, page: Option<u64>) -> Self {
        let claimed = match page {
            Some(page) if page < PAGES => page,
            // A page that has no name here is claimed with all the others.
            _ => WHOLE,
        };
        Self(LOOKING | number.0 | claimed)
    }

    /// The same claim by a reader that looks no more.
    #[inline]
    pub(crate) const fn looked(self) -> Self {
        Self(self.0 & !LOOKING)
    }

    /// The same claim by a reader that looks again.
    #[inline]
    pub(crate) const fn looking_again(self) -> Self {
        Self(self.0 | LOOKING)
    }

    #[inline]
    pub(crate) const fn is_of(self, number: Number) -> bool {
        self.0 & NUMBER_BITS == number.0
    }

    #[inline]
    pub(crate) const fn is_looking(self) -> bool {
        self.0 & LOOKING != 0
    }

    /// The claimed page; `None` if it is every page.
    #[inline]
    pub(crate) const fn page(self) -> Option<u64> {
        if self.0 & WHOLE == 0 { Some(self.0 & (PAGES - 1)) } else { None }
    }
}

/// A slot that holds one reader's claim, until it stores something else there.
pub(crate) struct Slot<'a>(&'a AtomicU64);

impl<'a> Slot<'a> {
    /// Relaxed: the claimant's full fence comes next.
    #[inline]
    fn claim(slot: &'a AtomicU64, word: Word) -> Option<Self> {
        let (success, failure) = (Ordering::Relaxed, Ordering::Relaxed);
        slot.compare_exchange(0, word.0, success, failure).ok().map(|_| Self(slot))
    }

    #[inline]
    pub(crate) fn set(&self, word: Word, release: Ordering) {
        self.0.store(word.0, release);
    }

    #[inline]
    pub(crate) fn clear(&self, release: Ordering) {
        self.0.store(0, release);
    }
}

/// One CPU's slots, on a line (and its prefetched neighbour) of their own.
#[repr(align(128))]
struct Line([AtomicU64; SLOTS]);

/// Which CPUs' lines may hold claims on one lock: grows, never shrinks. It spares writers the lines
/// of CPUs whose threads never were in this address space.
pub(crate) struct Lines(AtomicU64);

impl Lines {
    pub(crate) fn none() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Notes a line, once; ever after, this only reads.
    #[inline]
    pub(crate) fn note(&self, line: usize) {
        let bit = 1 << line;
        if self.0.load(Ordering::Relaxed) & bit == 0 {
            self.0.fetch_or(bit, Ordering::Relaxed);
        }
    }
}

/// Every CPU's claims; one per machine, shared by its range locks.
#[doc(alias("vm_refcnt", "hazard_pointer"))]
pub struct Hazards {
    lines: Box<[Line]>,
    /// Locks made so far. No protocol rests on it, so loom need not see it.
    locks: PlainU32,
}

impl Hazards {
    /// No claims, on `nr_cpus` CPUs ([`MAX_CPUS`] at most). Allocates: at boot.
    pub fn new(nr_cpus: usize) -> Self {
        let line = |_| Line(core::array::from_fn(|_| AtomicU64::new(0)));
        let lines = (0..nr_cpus.clamp(1, MAX_CPUS)).map(line).collect();
        Self { lines, locks: PlainU32::new(0) }
    }

    /// A number for one more lock.
    pub(crate) fn number(&self) -> Number {
        Number::after(self.locks.fetch_add(1, Ordering::Relaxed))
    }

    /// Puts `word` into a slot of CPU `home`, or else of another; answers also whose line it is.
    /// `None` if there is no free slot in the machine.
    #[inline]
    pub(crate) fn claim(&self, home: usize, word: Word) -> Option<(usize, Slot<'_>)> {
        if let Some(Line(slots)) = self.lines.get(home)
            && let Some(slot) = Slot::claim(&slots[0], word)
        {
            return Some((home, slot));
        }
        self.claim_elsewhere(home, word)
    }

    #[cold]
    fn claim_elsewhere(&self, home: usize, word: Word) -> Option<(usize, Slot<'_>)> {
        let lines = || self.lines.iter().enumerate();
        lines().skip(home).chain(lines().take(home)).find_map(|(line, Line(slots))| {
            let slot = slots.iter().find_map(|slot| Slot::claim(slot, word))?;
            Some((line, slot))
        })
    }

    /// Waits until each slot of `lines` has once been seen without a claim that is `in_the_way`.
    /// Claims that come later are kept out by other means: what forbids them was stored, and a full
    /// fence executed, before this.
    pub(crate) fn wait_out<C: Wait>(
        &self,
        cpu: &C,
        lines: &Lines,
        in_the_way: impl Fn(Word) -> bool,
    ) {
        let acquire = order(Ordering::Acquire, Mutant::ScanRelaxed);
        let mut left = lines.0.load(Ordering::Relaxed);
        while left != 0 {
            let Line(slots) = &self.lines[left.trailing_zeros() as usize];
            left &= left - 1;
            // Nearly always there is no claim at all, which is one question for the whole line.
            if slots.iter().fold(0, |claims, slot| claims | slot.load(acquire)) == 0 {
                continue;
            }
            for slot in slots {
                while in_the_way(Word(slot.load(acquire))) {
                    cpu.yield_now();
                }
            }
        }
    }
}
