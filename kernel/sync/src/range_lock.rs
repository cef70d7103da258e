//! The lock around what is ordered by page: an address space's layout.
//!
//! | who | names | keeps out |
//! | --- | --- | --- |
//! | point reader (page fault) | one page | exclusions of that page |
//! | whole reader (rmap walk, MADV_DONTNEED) | every page | every exclusion |
//! | [`Writer`] (mmap, munmap, mprotect, mremap, fork) | ranges, if any | other writers |
//!
//! A reader's stay has two parts. During the *lookup* it reads the value; then it goes on with its
//! pages *claimed* (allocates, zeroes, stores an entry) while the value may change. A writer waits
//! for what is in its way and for nothing else: [`Writer::mutate`] for lookups, which are short,
//! [`Writer::exclude`] for claims on the range that it names. So an mmap waits for no fault, and
//! faults elsewhere go on during an munmap. Readers never exclude readers.
//!
//! Corresponds to the pair `mmap_lock` and per-VMA locks (`lock_vma_under_rcu`, `vma_start_write`).
//! The claim is on pages and not on an area, so areas can be split, merged and freed under it.
//!
//! # What a reader pays
//! A compare-exchange on its own CPU's line ([`crate::Hazards`]), a full fence, a load of the gate
//! (and of the note which CPUs use this lock, on the same line), the lookup, and two release stores.
//! Nothing that other CPUs read or write is written, except by the first reader on each CPU.
//!
//! # Why it is right
//! 1. *Claim against exclusion.* A reader stores its claim, executes a full fence, and loads the
//!    gate; refused, it takes the claim back. A writer stores its ranges at the gate, executes a full
//!    fence, and loads the claims. The fences are ordered: either the reader sees the ranges, or the
//!    writer sees the claim and waits for its end. What the reader did under the claim comes before
//!    the release store that ends it, which the writer acquires. The note of the reader's CPU is on
//!    the reader's side of the fence too, so the writer looks at the right lines.
//! 2. *Lookup against change.* The same with a mark at the gate for the ranges, and the mark of a
//!    lookup in the claim.
//! 3. *What is done against who comes later.* Each store to the gate is a release, and writers follow
//!    one another through a mutex. A reader acquires the gate: admitted, it sees all that was done by
//!    the writers up to what it read there, also if it read what a later writer put there. The
//!    ranges are acquired as well: a reader may see one writer's gate with a later one's ranges, and
//!    is then after the earlier one. (It conflicts with the later one only if that one saw its claim.)
//! 4. *Sleep against wake.* A refused reader counts itself asleep, executes a full fence, and asks
//!    the gate again. A writer opens the gate, executes a full fence, and loads the count.
//! 5. *Slots are reused.* The next owner of a slot may be a reader of another lock, and hides the
//!    store that ended the last claim. It read that store before its full fence and stores to the
//!    slot after it, so a writer that acquires one of its stores is after the last owner all the same.
//!
//! # Nobody starves
//! A writer waits for each slot once. Readers that come after its mark withdraw, and claim anew only
//! when they have found the gate open, so no storm of faults holds it up. A reader that was refused
//! [`PATIENCE`] times waits in the writers' queue, which is fair, and claims while the queue is its
//! own: no gate is closed then. Only a second look ([`Claim::look`]) has no turn in that queue, for
//! the writer before it may wait for its claim; a change would have to begin in each of its attempts.
//!
//! # Rules for callers
//! * Who holds a claim must not wait for a writer, of this lock or of any other (locks may share a
//!   number, see [`crate::Hazards`]): no `write`, `exclude` or `mutate`, no second claim but by the
//!   `try_` methods, and nothing that such a thread holds. Spin locks may be taken; sleeping is for
//!   preemption only. To look at the value again is fine ([`Claim::look`]).
//! * The closures of a lookup and of a change use no range lock at all.
//! * Who cannot wait for a writer because it holds what the writer may need uses the `try_` methods.

mod gate;
mod writer;

pub use writer::Writer;

use crate::atomic::{AtomicU32, Ordering};
use crate::cell::UnsafeCell;
use crate::cpu::{Cpu, Wait, WaitKey};
use crate::hazards::{Hazards, Slot, Word};
use crate::mutant::{self, Mutant, order};
use crate::{Arc, Mutex};
use gate::Gate;

/// Refusals after which a reader queues with the writers.
const PATIENCE: u32 = if cfg!(loom) { 1 } else { 3 };

/// A value that readers look at while they claim pages, and one writer at a time changes.
#[doc(alias("mmap_lock", "lock_vma_under_rcu", "vma_start_read", "mmap_read_lock"))]
pub struct RangeLock<T> {
    gate: Gate,
    value: UnsafeCell<T>,
    queues: Queues,
}

/// Who waits for whom, away from what readers read.
#[repr(align(128))]
struct Queues {
    writers: Mutex<()>,
    /// Readers that sleep until the gate admits them, or are about to.
    sleepers: AtomicU32,
}

// SAFETY: lookups on any thread share `&T`, one writer at a time gets `&mut T`: both need what
// `std::sync::RwLock` needs.
#[expect(unsafe_code, reason = "a lock is where shared mutability is made sound")]
unsafe impl<T: Send + Sync> Sync for RangeLock<T> {}

/// Why a reader got no claim.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Refusal {
    /// A writer is in the way.
    Closed,
    /// Every slot of the machine is taken.
    NoSlot,
}

impl<T> RangeLock<T> {
    /// A lock around `value` whose readers claim in `hazards`.
    pub fn new(hazards: Arc<Hazards>, value: T) -> Self {
        Self {
            gate: Gate::new(hazards),
            value: UnsafeCell::new(value),
            queues: Queues { writers: Mutex::new(()), sleepers: AtomicU32::new(0) },
        }
    }

    /// Claims `page` (a virtual page number below [`crate::PAGES`]; one above claims every page) and
    /// looks at the value. Answers what `look` found, and the claim.
    ///
    /// Context: thread, may sleep until a writer is done; holds no claim and no spin lock.
    #[inline]
    pub fn read_at<C: Wait, R>(
        &self,
        cpu: &C,
        page: u64,
        look: impl FnOnce(&T) -> R,
    ) -> (R, Claim<'_, T>) {
        self.claim(cpu, Some(page)).look_first(look)
    }

    /// As [`RangeLock::read_at`], for every page.
    pub fn read_whole<C: Wait, R>(&self, cpu: &C, look: impl FnOnce(&T) -> R) -> (R, Claim<'_, T>) {
        self.claim(cpu, None).look_first(look)
    }

    /// As [`RangeLock::read_at`], but `None` where that would wait. Context: any.
    #[doc(alias = "mmap_read_trylock")]
    pub fn try_read_at<C: Cpu, R>(
        &self,
        cpu: &C,
        page: u64,
        look: impl FnOnce(&T) -> R,
    ) -> Option<(R, Claim<'_, T>)> {
        Some(self.claim_at_once(cpu, Some(page))?.look_first(look))
    }

    /// As [`RangeLock::try_read_at`], for every page.
    pub fn try_read_whole<C: Cpu, R>(
        &self,
        cpu: &C,
        look: impl FnOnce(&T) -> R,
    ) -> Option<(R, Claim<'_, T>)> {
        Some(self.claim_at_once(cpu, None)?.look_first(look))
    }

    /// The value, of a lock that nobody else can have.
    pub fn get_mut(&mut self) -> &mut T {
        // SAFETY: `&mut self` outlives every claim and writer.
        #[expect(unsafe_code, reason = "a lock is where shared mutability is made sound")]
        self.value.with_mut(|value| unsafe { &mut *value })
    }

    fn claim_at_once<C: Cpu>(&self, cpu: &C, page: Option<u64>) -> Option<Claim<'_, T>> {
        // A claim that will be refused holds writers up for nothing, time and again if the caller
        // tries in a loop.
        let is_open = self.gate.admits(Word::looking(self.gate.number, page));
        if is_open { self.try_claim(cpu, page).ok() } else { None }
    }

    #[inline]
    fn try_claim<C: Cpu>(&self, cpu: &C, page: Option<u64>) -> Result<Claim<'_, T>, Refusal> {
        let gate = &self.gate;
        let word = Word::looking(gate.number, page);
        let claimed = gate.hazards.claim(cpu.id().index(), word);
        let (line, slot) = claimed.ok_or(Refusal::NoSlot)?;
        // Dropped, it takes itself back: when refused here, or when the lookup panics.
        let claim = Claim { lock: self, slot, word };
        if !Mutant::LineNotedLate.is_armed() {
            gate.lines.note(line);
        }
        mutant::fence(Mutant::ClaimUnfenced);
        if Mutant::LineNotedLate.is_armed() {
            gate.lines.note(line);
        }
        if gate.admits(word) { Ok(claim) } else { Err(Refusal::Closed) }
    }

    #[inline]
    fn claim<C: Wait>(&self, cpu: &C, page: Option<u64>) -> Claim<'_, T> {
        match self.try_claim(cpu, page) {
            Ok(claim) => claim,
            Err(refusal) => self.claim_slowly(cpu, page, refusal),
        }
    }

    #[cold]
    fn claim_slowly<C: Wait>(
        &self,
        cpu: &C,
        page: Option<u64>,
        mut refusal: Refusal,
    ) -> Claim<'_, T> {
        let mut refused = 0;
        let mut queue = None;
        loop {
            match refusal {
                Refusal::NoSlot => cpu.yield_now(),
                Refusal::Closed if refused < PATIENCE => {
                    refused += 1;
                    self.sleep(cpu, Word::looking(self.gate.number, page));
                }
                Refusal::Closed => {
                    debug_assert!(queue.is_none(), "a gate is closed without a writer");
                    queue = Some(self.queues.writers.lock(cpu));
                }
            }
            match self.try_claim(cpu, page) {
                Ok(claim) => return claim,
                Err(again) => refusal = again,
            }
        }
    }

    /// Sleeps until the gate would admit `word`.
    fn sleep<C: Wait>(&self, cpu: &C, word: Word) {
        self.queues.sleepers.fetch_add(1, Ordering::Relaxed);
        mutant::fence(Mutant::SleepUnfenced);
        cpu.wait(self.key(), &mut || self.gate.admits(word));
        self.queues.sleepers.fetch_sub(1, Ordering::Relaxed);
    }

    /// Lets the sleepers ask the gate, which was opened a little just now.
    fn wake<C: Wait>(&self, cpu: &C) {
        mutant::fence(Mutant::WakeUnfenced);
        if self.queues.sleepers.load(Ordering::Relaxed) != 0 {
            cpu.wake(self.key());
        }
    }

    fn key(&self) -> WaitKey {
        WaitKey::of(&self.queues.sleepers)
    }
}

/// Having this means that no writer excludes the claimed page, or any page, until it is dropped.
///
/// It may be dropped on any CPU and by any thread. Leaked, it keeps writers out for ever.
#[must_use = "the page is claimed only as long as this lives"]
pub struct Claim<'a, T> {
    lock: &'a RangeLock<T>,
    slot: Slot<'a>,
    word: Word,
}

impl<'a, T> Claim<'a, T> {
    /// The lookup of a reader that was just admitted.
    #[inline]
    fn look_first<R>(self, look: impl FnOnce(&T) -> R) -> (R, Self) {
        // SAFETY: the slot says that we look, and the gate admitted us: no writer changes the value
        // until it has seen the slot say something else.
        #[expect(unsafe_code, reason = "a lock is where shared mutability is made sound")]
        let found = self.lock.value.with(|value| look(unsafe { &*value }));
        self.slot.set(self.word.looked(), order(Ordering::Release, Mutant::LookupEndRelaxed));
        (found, self)
    }

    /// Looks at the value again. Waits for a change that is being made, never for an exclusion.
    ///
    /// Areas over claimed pages are as they were, if who changes those excludes their pages first.
    pub fn look<C: Wait, R>(&mut self, cpu: &C, look: impl FnOnce(&T) -> R) -> R {
        let ended = LookEnds(self);
        let Claim { lock, slot, word } = &*ended.0;
        loop {
            slot.set(word.looking_again(), Ordering::Release);
            mutant::fence(Mutant::ClaimUnfenced);
            if !lock.gate.is_changing() {
                break;
            }
            slot.set(word.looked(), Ordering::Release);
            while lock.gate.is_changing() {
                cpu.yield_now();
            }
        }
        // SAFETY: as in `look_first`: the slot says that we look, and no change was going on.
        #[expect(unsafe_code, reason = "a lock is where shared mutability is made sound")]
        lock.value.with(|value| look(unsafe { &*value }))
    }
}

/// Ends a second look, also one that panics.
struct LookEnds<'c, 'a, T>(&'c mut Claim<'a, T>);

impl<T> Drop for LookEnds<'_, '_, T> {
    #[inline]
    fn drop(&mut self) {
        let release = order(Ordering::Release, Mutant::LookupEndRelaxed);
        self.0.slot.set(self.0.word.looked(), release);
    }
}

impl<T> Drop for Claim<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.slot.clear(order(Ordering::Release, Mutant::ClaimEndRelaxed));
    }
}
