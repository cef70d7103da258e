//! Address-space identifiers, handed out in generations.
//!
//! A space's *context* is one 64-bit word: the ASID in the low 16 bits, above them the generation it
//! was given in; zero says that it never had one. When the numbers run out a new generation begins:
//! every context is stale at once, CPUs keep running on what they have (*reserved*), and each CPU
//! drops its whole TLB before it first uses a number of the new generation. Numbers are never given
//! back one by one, so a dead space's translations can stay until then: nobody can use its number.
//!
//! Corresponds to Linux's `arch/arm64/mm/context.c`.

use super::Context;
use crate::mutant::Mutant;
use crate::{Hardware, Mm, Note};
use abi::{Asid, Event};
use alloc::boxed::Box;
use pte::{Scope, Target, Tlbi};
use sync::atomic::{AtomicU64, Ordering};
use sync::{Class, SpinLock};

/// The generation counts in steps of this, so that it never meets the ASID's bits.
const GENERATION: u64 = 1 << 16;
/// Words of a set with one bit for each ASID.
const WORDS: usize = 1 << 10;

const fn asid_of(context: u64) -> Asid {
    Asid(context as u16)
}

const fn generation_of(context: u64) -> u64 {
    context & !(GENERATION - 1)
}

/// What one CPU runs, on a cache line of its own.
#[repr(align(128))]
struct Active(AtomicU64);

/// What the lock guards.
struct State {
    /// One bit for each number that this generation has given out or reserved.
    used: Box<[u64]>,
    /// The contexts that CPUs went on running when the generation changed.
    reserved: Box<[u64]>,
    /// Where the search for a free number goes on.
    cursor: u32,
    /// Numbers from here on are not given out.
    limit: u32,
}

impl State {
    fn is_used(&self, asid: Asid) -> bool {
        self.used[usize::from(asid.0) / 64] >> (asid.0 % 64) & 1 != 0
    }

    fn mark(&mut self, asid: Asid) {
        self.used[usize::from(asid.0) / 64] |= 1 << (asid.0 % 64);
    }

    /// The next free number from the cursor on, not looking back.
    fn next_free(&mut self) -> Option<Asid> {
        while self.cursor < self.limit {
            let asid = Asid(self.cursor as u16);
            self.cursor += 1;
            if !self.is_used(asid) {
                return Some(asid);
            }
        }
        None
    }
}

/// The ASIDs of one machine.
#[doc(alias = "asid_generation")]
pub struct Asids {
    /// In the upper bits, as in a context.
    generation: AtomicU64,
    /// The context that each CPU runs; zero since a roll-over has looked at it.
    active: Box<[Active]>,
    /// CPUs that must drop their TLB before they use a number of the current generation.
    owing: AtomicU64,
    state: SpinLock<State>,
    bits: u8,
}

impl Asids {
    pub(crate) fn new(bits: u8, nr_cpus: usize) -> Self {
        let mut used: Box<[u64]> = (0..WORDS).map(|_| 0).collect();
        // ASID 0 tags the empty user table and is never given out.
        used[0] = 1;
        Self {
            generation: AtomicU64::new(GENERATION),
            active: (0..nr_cpus).map(|_| Active(AtomicU64::new(0))).collect(),
            owing: AtomicU64::new(0),
            state: SpinLock::new(
                Class::Asid,
                State {
                    used,
                    reserved: (0..nr_cpus).map(|_| 0).collect(),
                    cursor: 1,
                    limit: 1 << bits,
                },
            ),
            bits,
        }
    }

    /// How many generations have begun.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Relaxed) / GENERATION
    }
}

impl<H: Hardware> Mm<H> {
    /// Lets only `n` numbers be in use from now on (or as few as the CPUs allow), by beginning a new
    /// generation. For tests and workloads that want roll-overs; `None` lifts the limit. Says how
    /// many it is now.
    ///
    /// Context: any; takes the ASIDs' lock.
    pub fn limit_asids(&self, n: Option<u32>) -> u32 {
        let mut state = self.asids.state.lock(&self.hw);
        let all = 1 << self.asids.bits;
        // Each CPU may hold one reserved number, and then there must be one to give.
        let least = self.hw.nr_cpus() as u32 + 2;
        state.limit = n.map_or(all, |n| n.saturating_add(1).clamp(least, all));
        self.begin_generation(&mut state);
        state.limit - 1
    }

    /// The ASID that the space's translations may be tagged with, if any.
    #[inline]
    pub(crate) fn asid(&self, space: &Context) -> Option<Asid> {
        match space.id.load(Ordering::SeqCst) {
            0 => None,
            context => Some(asid_of(context)),
        }
    }

    /// The ASID to run `space` with on this CPU, now: given anew if its generation is past,
    /// and with what this CPU owes for the generation paid.
    ///
    /// Context: interrupts masked, until TTBR0 is written.
    #[doc(alias = "check_and_switch_context")]
    #[inline]
    pub(crate) fn activate_asid(&self, space: &Context) -> Asid {
        let context = &space.id;
        let asids = &self.asids;
        let active = &asids.active[self.hw.id().index()].0;
        let id = context.load(Ordering::SeqCst);
        let old = active.load(Ordering::Relaxed);
        // Zero in `active` says that a roll-over has looked at this CPU: then the lock decides.
        if old != 0
            && generation_of(id) == asids.generation.load(Ordering::SeqCst)
            && active.compare_exchange(old, id, Ordering::SeqCst, Ordering::Relaxed).is_ok()
        {
            self.note_cpu(space);
            return asid_of(id);
        }
        self.activate_asid_slow(space)
    }

    /// This CPU is about to walk the space: whoever clears an entry and looks after this which CPUs
    /// those are finds it, and walks that begin after it see what was cleared before.
    #[inline]
    pub(crate) fn note_cpu(&self, space: &Context) {
        if self.commits(Mutant::CpuNotedLate) {
            return;
        }
        let bit = 1 << self.hw.id().index();
        let ran = space.ran.load(Ordering::Relaxed);
        if self.commits(Mutant::FirstCpuOnly) && ran != 0 {
            return;
        }
        if ran & bit == 0 {
            space.ran.fetch_or(bit, Ordering::SeqCst);
            self.publish(Scope::InnerShareable);
        }
    }

    #[cold]
    fn activate_asid_slow(&self, space: &Context) -> Asid {
        let context = &space.id;
        let asids = &self.asids;
        let cpu = self.hw.id();
        let mut state = asids.state.lock(&self.hw);
        let mut id = context.load(Ordering::SeqCst);
        if generation_of(id) != asids.generation.load(Ordering::Relaxed) {
            id = self.new_context(&mut state, space, id);
            context.store(id, Ordering::SeqCst);
            // Whoever clears an entry after this must see the new number, or walks under it must see
            // the entry cleared: the store is complete before TTBR0 is written.
            self.publish(Scope::InnerShareable);
        }
        if !self.commits(Mutant::RolloverFlushLate) {
            self.pay_generation();
        }
        asids.active[cpu.index()].0.store(id, Ordering::SeqCst);
        self.note_cpu(space);
        asid_of(id)
    }

    /// Drops this CPU's whole TLB if it has not since the generation began.
    pub(crate) fn pay_generation(&self) {
        let bit = 1 << self.hw.id().index();
        let owes = self.asids.owing.fetch_and(!bit, Ordering::Relaxed) & bit != 0;
        if owes && !self.commits(Mutant::RolloverNoFlush) {
            self.drop_all_here();
        }
    }

    /// Drops all that this CPU's TLB has.
    #[doc(alias = "local_flush_tlb_all")]
    fn drop_all_here(&self) {
        self.publish(Scope::Local);
        self.tlbi(Tlbi { target: Target::All, scope: Scope::Local });
        self.complete(Scope::Local);
    }

    /// This CPU hears no TLBI of others from now on: it is about to be switched off, or to sleep too deep for
    /// that. What its TLB has may stay there.
    ///
    /// Context: interrupts masked; it runs no space, and none before [`Mm::cpu_joins`].
    #[doc(alias("cpu_pm_enter", "takedown_cpu"))]
    #[cfg_attr(feature = "sanitize", track_caller)]
    pub fn cpu_leaves(&self) {
        self.hw.note(Note::CpuLeaves);
    }

    /// This CPU takes part from now on, after its start or [`Mm::cpu_leaves`]. Whatever its TLB has is of before,
    /// under numbers that spaces still have: all of it goes.
    ///
    /// Context: interrupts masked; it runs no space yet.
    #[doc(alias("cpu_pm_exit", "secondary_start_kernel"))]
    #[cfg_attr(feature = "sanitize", track_caller)]
    pub fn cpu_joins(&self) {
        self.hw.note(Note::CpuJoins);
        if !self.commits(Mutant::CpuJoinsStale) {
            self.drop_all_here();
        }
    }

    /// A context of the current generation for a space that had `old`: with the same number where
    /// nobody else has that. Begins a generation when there is no number left.
    fn new_context(&self, state: &mut State, space: &Context, old: u64) -> u64 {
        let generation = self.asids.generation.load(Ordering::Relaxed);
        self.count(Event::AsidAlloc, 1);
        if old != 0 {
            let asid = asid_of(old);
            let fresh = generation | u64::from(asid.0);
            // Still running somewhere under the old number: keep it, everywhere it is reserved.
            let mut kept = false;
            for reserved in &mut state.reserved {
                if *reserved == old && !(kept && self.commits(Mutant::RolloverFirstReserved)) {
                    *reserved = fresh;
                    kept = true;
                }
            }
            if kept {
                return fresh;
            }
            // No CPU runs it, and each drops its TLB before it can again: nobody has anything of it.
            space.ran.store(0, Ordering::SeqCst);
            if u32::from(asid.0) < state.limit && !state.is_used(asid) {
                state.mark(asid);
                return fresh;
            }
        }
        let asid = match state.next_free() {
            Some(asid) => asid,
            None => {
                self.begin_generation(state);
                // There are always more numbers than CPUs can have reserved.
                state.next_free().unwrap_or(Asid(0))
            }
        };
        state.mark(asid);
        self.asids.generation.load(Ordering::Relaxed) | u64::from(asid.0)
    }

    /// Makes every context stale; the numbers that CPUs are running stay theirs, reserved.
    #[doc(alias = "flush_context")]
    fn begin_generation(&self, state: &mut State) {
        let asids = &self.asids;
        self.count(Event::AsidRollover, 1);
        asids.generation.fetch_add(GENERATION, Ordering::SeqCst);
        state.used.fill(0);
        state.mark(Asid(0));
        state.cursor = 1;
        for cpu in 0..self.hw.nr_cpus() {
            let running = match asids.active[cpu].0.swap(0, Ordering::SeqCst) {
                // It has not switched since the last roll-over: what it had then, it still has.
                0 => state.reserved[cpu],
                running => running,
            };
            if self.commits(Mutant::RolloverForgetsActive) {
                continue;
            }
            state.mark(asid_of(running));
            state.reserved[cpu] = running;
        }
        asids.owing.fetch_or(all_cpus(self.hw.nr_cpus()), Ordering::Relaxed);
    }
}

/// One bit for each of `n` CPUs.
const fn all_cpus(n: usize) -> u64 {
    if n >= 64 { u64::MAX } else { (1 << n) - 1 }
}
