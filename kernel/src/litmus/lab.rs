//! A test's run: its threads bound to CPUs of their own, batch after batch.
//!
//! A batch is one run of each instance. Everybody gives some of the instances their beginning back and
//! empties its TLB; then the instances follow each other, and at each the threads start together, give or
//! take a random while, and note what they find. Before the start a thread may use some variables, so that
//! its TLB holds something ([`Preload`]). In between nobody makes or ends a thread, or takes a lock.

use super::ground::{Ground, Instance};
use super::meet::{Meeting, Race};
use super::seat::Seat;
use crate::threads;
use crate::world::Kernel;
use alloc::{collections::BTreeMap, vec::Vec};
use arch::litmus::{End, UserHalf};
use arch::{LocalCpu, barrier, tlbi};
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use litmus::layout::Layout;
use litmus::rename::Renaming;
use litmus::test::{Test, ThreadId};
use pte::{Caps, Scope};
use stress::{Rng, World};
use sync::{Class, Cpu, SpinLock};

/// Which variables a thread uses before an instance begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Preload {
    /// None, whatever the test wishes.
    None,
    /// Those whose addresses are in its registers.
    Own,
    /// All.
    All,
    /// Some, decided by chance; and those that the test wishes.
    Random,
}

/// What a run is to be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    /// How often, at least.
    pub(crate) runs: u64,
    /// Which TLB entries there may be.
    pub(crate) preload: Preload,
    /// Decides what is left to chance.
    pub(crate) seed: u64,
}

/// What a run has shown.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// How often each final state was reached: the values of [`Test::observed`], in the law's numbers.
    pub(crate) states: BTreeMap<Vec<u64>, u64>,
    /// Runs of the test; those in which a thread got stuck at a fault have no final state.
    pub(crate) runs: u64,
    /// Nanoseconds.
    pub(crate) ns: u64,
    /// Why it ended before its time.
    pub(crate) trouble: Option<Trouble>,
}

/// Why a run ended before its time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Trouble {
    /// A thread raised an exception that is no fault of translation: the thread, the instruction's place
    /// and ESR_EL1.
    Exception(ThreadId, u64, u64),
    /// A thread does not end.
    Endless(ThreadId),
    /// It ends in more states than are counted: no litmus test.
    Countless,
    /// Somebody typed Ctrl-C.
    Interrupted,
    /// There was no memory for the threads.
    NoThreads,
}

/// How often the watcher may look in vain before it takes a run for endless.
const PATIENCE: u32 = 30;
/// The final states that are counted; a test has some dozens.
const MOST_STATES: usize = 1000;
/// The longest wait before a start, in steps of a few instructions.
const SKEW: u64 = 32;

struct Lab<'a> {
    test: &'a Test,
    ground: &'a Ground,
    wanted: Wanted,
    caps: Caps,
    /// From each instance's numbers to the law's.
    ways: Vec<Renaming>,
    meeting: Meeting,
    race: Race,
    /// What each thread found: by instance, then by [`Test::observed`].
    found: Vec<AtomicU64>,
    /// By instance, the last start in which a thread got stuck.
    stuck: Vec<AtomicU64>,
    /// Whether there should be no further batch.
    over: AtomicBool,
    /// The same, as the first thread has decided for all at the end of a batch.
    last: AtomicBool,
    /// Runs so far.
    done: AtomicU64,
    /// A thread's trouble, the first one.
    trouble: SpinLock<Option<Trouble>>,
    states: SpinLock<BTreeMap<Vec<u64>, u64>>,
}

/// Runs `test` on `ground`.
pub(crate) fn run(kernel: &Kernel, test: &Test, ground: &Ground, wanted: Wanted) -> Seen {
    let begun = kernel.now_ns();
    let cells = ground.instances().len() * test.observed.len();
    let law = Layout::law(test);
    let way = |instance: &Instance| Renaming::new(test, &instance.layout, &law);
    let ways = ground.instances().iter().map(way).collect();
    let lab = Lab {
        test,
        ground,
        wanted,
        caps: *mm::Hardware::caps(&kernel.mm().hw),
        ways,
        meeting: Meeting::new(test.threads.len()),
        race: Race::new(test.threads.len()),
        found: zeros(cells),
        stuck: zeros(ground.instances().len()),
        over: AtomicBool::new(false),
        last: AtomicBool::new(false),
        done: AtomicU64::new(0),
        trouble: SpinLock::new(Class::Image, None),
        states: SpinLock::new(Class::Image, BTreeMap::new()),
    };
    let (mut last, mut idle) = (0, 0);
    let started = kernel.run(test.threads.len(), &|thread| lab.take_part(thread), &mut || {
        let done = lab.done.load(Ordering::Relaxed);
        idle = if done == last { idle + 1 } else { 0 };
        last = done;
        if kernel.interrupted() {
            lab.give_up(Trouble::Interrupted);
        }
        if idle == PATIENCE {
            arch::litmus::stop(true);
            // Whoever runs elsewhere notices at an interrupt.
            sched::cross_call(sched::Targets::Others, &|_| ());
        }
    });
    arch::litmus::stop(false);
    if started == 0 {
        lab.give_up(Trouble::NoThreads);
    }
    Seen {
        states: core::mem::take(&mut *lab.states.lock(&LocalCpu)),
        runs: lab.done.load(Ordering::Relaxed),
        ns: kernel.now_ns() - begun,
        trouble: *lab.trouble.lock(&LocalCpu),
    }
}

fn zeros(n: usize) -> Vec<AtomicU64> {
    core::iter::repeat_with(|| AtomicU64::new(0)).take(n).collect()
}

impl Lab<'_> {
    fn give_up(&self, trouble: Trouble) {
        self.trouble.lock(&LocalCpu).get_or_insert(trouble);
        self.over.store(true, Ordering::Relaxed);
    }

    /// One thread's part in all batches.
    fn take_part(&self, id: ThreadId) {
        let column = &self.test.threads[id];
        let ttbr = self.ground.ttbr(self.test, column.space);
        let half = UserHalf::new(ttbr);
        let (hw_af, hw_dirty) = (column.ha || column.hd, column.hd);
        let masks = LocalCpu.irq_save();
        arch::control_translation(&Caps { hw_af, hw_dirty, ..self.caps });
        LocalCpu.irq_restore(masks);
        threads::inside_bare(&half, &mut || self.batches(id, &half, ttbr));
        let masks = LocalCpu.irq_save();
        arch::control_translation(&self.caps);
        LocalCpu.irq_restore(masks);
        tlbi::flush_local();
    }

    #[inline(never)]
    fn batches(&self, id: ThreadId, half: &UserHalf, ttbr: u64) {
        let mut rng = Rng::new(self.wanted.seed, &self.test.name, id);
        let mut seats: Vec<_> = self
            .ground
            .instances()
            .iter()
            .zip(&self.ways)
            .map(|(instance, way)| Seat::new(self.test, id, &instance.layout, way))
            .collect();
        let mut states = BTreeMap::new();
        let mut start = 0;
        loop {
            self.share(id).for_each(|(_, instance)| self.ground.reset(instance));
            half.reset(ttbr);
            barrier::complete(Scope::InnerShareable);
            self.meeting.meet();
            tlbi::flush_local();
            for (nth, seat) in seats.iter_mut().enumerate() {
                start += 1;
                if !self.race.has_begun(start) {
                    seat.preload(self.wanted.preload, &mut rng);
                }
                let wait = rng.below(SKEW);
                half.reset(ttbr);
                self.race.line_up(id, start);
                (0..wait).for_each(|_| LocalCpu.relax());
                if seat.run() == End::Stuck {
                    self.stuck[nth].store(start, Ordering::Relaxed);
                }
                self.note(nth, seat);
            }
            if id == 0 {
                let batch = self.ground.instances().len() as u64;
                let done = self.done.fetch_add(batch, Ordering::Relaxed) + batch;
                let enough = done >= self.wanted.runs || self.over.load(Ordering::Relaxed);
                self.last.store(enough, Ordering::Relaxed);
            }
            self.meeting.meet();
            self.collect(id, start, &mut states);
            if self.last.load(Ordering::Relaxed) {
                break;
            }
        }
        let mut all = self.states.lock(&LocalCpu);
        for (state, count) in states {
            *all.entry(state).or_insert(0) += count;
        }
    }

    /// The instances that a thread looks after between the batches.
    fn share(&self, id: ThreadId) -> impl Iterator<Item = (usize, &Instance)> {
        self.ground.instances().iter().enumerate().skip(id).step_by(self.test.threads.len())
    }

    /// Notes what a thread has found at instance `nth`.
    #[inline(never)]
    fn note(&self, nth: usize, seat: &Seat<'_>) {
        if let Some(trouble) = seat.trouble() {
            self.give_up(trouble);
        }
        for (what, observed) in self.test.observed.iter().enumerate() {
            if let Some(value) = seat.found(observed) {
                self.cell(nth, what).store(value, Ordering::Relaxed);
            }
        }
    }

    fn cell(&self, instance: usize, what: usize) -> &AtomicU64 {
        &self.found[instance * self.test.observed.len() + what]
    }

    /// Counts how a thread's share of the batch that ended with start number `last` has ended.
    #[inline(never)]
    fn collect(&self, id: ThreadId, last: u64, states: &mut BTreeMap<Vec<u64>, u64>) {
        let before = last - self.ground.instances().len() as u64;
        let mut state = Vec::with_capacity(self.test.observed.len());
        for (nth, instance) in self.share(id) {
            if self.stuck[nth].load(Ordering::Relaxed) > before {
                continue;
            }
            self.ground.settle(instance);
            state.clear();
            for (what, observed) in self.test.observed.iter().enumerate() {
                state.push(match instance.layout.place(self.test, observed) {
                    Some((at, bytes)) => self.ways[nth].word(self.ground.word(at, bytes)),
                    None => self.cell(nth, what).load(Ordering::Relaxed),
                });
            }
            if let Some(count) = states.get_mut(state.as_slice()) {
                *count += 1;
            } else if states.len() < MOST_STATES {
                states.insert(state.clone(), 1);
            } else {
                self.give_up(Trouble::Countless);
            }
        }
    }
}
