//! A test's run: its threads bound to CPUs of their own, batch after batch.
//!
//! A batch is one run of each instance. Everybody gives some of the instances their beginning back and
//! empties its TLB; then the instances follow each other, and at each the threads start together, give or
//! take a random while, and note what they find. Before the start a thread may use some variables, so that
//! its TLB holds something ([`Preload`]). In between nobody makes or ends a thread, or takes a lock.

use super::ground::{Ground, Instance};
use super::meet::{Meeting, Race};
use crate::threads;
use crate::world::Kernel;
use abi::{PAGE_SIZE, VirtAddr};
use alloc::{collections::BTreeMap, vec::Vec};
use arch::exception::FaultKind as Kind;
use arch::litmus::{AfterFault, At, End, Thread, ThreadFault, UserHalf};
use arch::{LocalCpu, barrier, tlbi};
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use litmus::layout::Layout;
use litmus::rename::Renaming;
use litmus::test::{EntryId, Fault, FaultKind, Faults, Observed, Test, ThreadId, Var};
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
    /// Runs of the test.
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
    /// Somebody typed Ctrl-C.
    Interrupted,
    /// There was no memory for the threads.
    NoThreads,
}

/// How often the watcher may look in vain before it takes a run for endless.
const PATIENCE: u32 = 30;
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
        found: core::iter::repeat_with(|| AtomicU64::new(0)).take(cells).collect(),
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

    fn batches(&self, id: ThreadId, half: &UserHalf, ttbr: u64) {
        let mut rng = Rng::new(self.wanted.seed, &self.test.name, id);
        let mut seats = self.seats(id);
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
                    self.preload(seat, &mut rng);
                }
                let wait = rng.below(SKEW);
                half.reset(ttbr);
                self.race.line_up(id, start);
                (0..wait).for_each(|_| LocalCpu.relax());
                self.run_one(id, nth, seat);
            }
            if id == 0 {
                let batch = self.ground.instances().len() as u64;
                let done = self.done.fetch_add(batch, Ordering::Relaxed) + batch;
                let enough = done >= self.wanted.runs || self.over.load(Ordering::Relaxed);
                self.last.store(enough, Ordering::Relaxed);
            }
            self.meeting.meet();
            self.collect(id, &mut states);
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

    /// What one thread needs for each instance, made once.
    fn seats(&self, id: ThreadId) -> Vec<Seat<'_>> {
        let column = &self.test.threads[id];
        let after_fault = match (column.handler, self.test.faults) {
            (Some(_), _) => AfterFault::Handler,
            (None, Faults::Fatal) => AfterFault::End,
            (None, Faults::Retry) => AfterFault::Again,
            (None, Faults::Skip) => AfterFault::Next,
        };
        let seat = |instance: &Instance| {
            let layout = &instance.layout;
            let mut start = [0; 31];
            for (register, value) in &column.registers {
                if let Some(x) = start.get_mut(usize::from(register.0)) {
                    *x = layout.value(self.test, value);
                }
            }
            let handler = layout.label(id, column.handler.unwrap_or(0));
            let thread = Thread { handler, after_fault, ..Thread::default() };
            (start, thread)
        };
        let seats = self.ground.instances().iter().zip(&self.ways).map(|(instance, way)| {
            let (start, thread) = seat(instance);
            let (layout, own, wished) = (&instance.layout, self.own(id), &column.preload);
            Seat { layout, way, start, thread, own, wished }
        });
        seats.collect()
    }

    /// The variables whose addresses a thread begins with.
    fn own(&self, id: ThreadId) -> Vec<Var> {
        let addresses =
            self.test.threads[id].registers.iter().filter_map(|(_, value)| match value {
                litmus::test::Value::Address(variable, _) => Some(*variable),
                _ => None,
            });
        addresses.collect()
    }

    /// Uses variables, as far as that changes nothing but what a TLB holds.
    fn preload(&self, seat: &Seat<'_>, rng: &mut Rng) {
        for (variable, page) in seat.layout.pages.iter().enumerate() {
            let wanted = match self.wanted.preload {
                Preload::None => false,
                Preload::Own => seat.own.contains(&variable),
                Preload::All => true,
                Preload::Random => seat.wished.contains(&variable) || rng.one_in(2),
            };
            if wanted && self.is_cacheable(variable) {
                // A refusal is as good: nothing is held.
                let _ = arch::uaccess::read_u64(page.va);
            }
        }
    }

    /// Whether a use leaves the entries as they are: hardware may set an access flag.
    fn is_cacheable(&self, variable: Var) -> bool {
        let entries = self.test.entries.iter().zip(&self.test.initial);
        entries
            .filter(|(entry, _)| entry.variable == variable)
            .all(|(_, word)| word.valid && word.af)
    }

    /// One thread's part in one instance.
    fn run_one(&self, id: ThreadId, nth: usize, seat: &mut Seat<'_>) {
        let column = &self.test.threads[id];
        let at = if column.el0 { At::El0 } else { At::El1 };
        seat.thread.x = seat.start;
        let pc = VirtAddr(seat.layout.label(id, 0));
        // SAFETY: the ground has put the thread's instructions there, in a half that maps nothing but this
        // test's memory; what `needs` cannot rule out is said there.
        unsafe { arch::litmus::run(&mut seat.thread, pc, at) };
        let thread = &seat.thread;
        match thread.end {
            End::Done | End::Fault => {}
            End::Stopped => self.give_up(Trouble::Endless(id)),
            End::Unexpected => {
                let last = thread.faults.iter().take(thread.nr_faults as usize).next_back();
                let (pc, esr) = last.map_or((0, 0), |fault| (fault.pc, fault.esr));
                let place = pc.wrapping_sub(seat.layout.label(id, 0)) / 4;
                self.give_up(Trouble::Exception(id, place, esr));
            }
        }
        for (what, observed) in self.test.observed.iter().enumerate() {
            let value = match observed {
                Observed::Register(of, register) if *of == id => {
                    seat.way.word(thread.x.get(usize::from(register.0)).copied().unwrap_or(0))
                }
                Observed::Fault(fault) if fault.thread == id => {
                    let faults = thread.faults.iter().take(thread.nr_faults as usize);
                    u64::from(
                        faults.clone().any(|seen| is_such(self.test, seat.layout, fault, seen)),
                    )
                }
                _ => continue,
            };
            self.cell(nth, what).store(value, Ordering::Relaxed);
        }
    }

    fn cell(&self, instance: usize, what: usize) -> &AtomicU64 {
        &self.found[instance * self.test.observed.len() + what]
    }

    /// Counts how a thread's share of a batch has ended.
    fn collect(&self, id: ThreadId, states: &mut BTreeMap<Vec<u64>, u64>) {
        let mut state = Vec::with_capacity(self.test.observed.len());
        for (nth, instance) in self.share(id) {
            self.ground.settle(instance);
            state.clear();
            for (what, observed) in self.test.observed.iter().enumerate() {
                state.push(match instance.layout.place(self.test, observed) {
                    Some((at, bytes)) => self.ways[nth].word(self.ground.word(at, bytes)),
                    None => self.cell(nth, what).load(Ordering::Relaxed),
                });
            }
            match states.get_mut(state.as_slice()) {
                Some(count) => *count += 1,
                None => drop(states.insert(state.clone(), 1)),
            }
        }
    }
}

/// A thread's place at one instance.
struct Seat<'a> {
    layout: &'a Layout,
    way: &'a Renaming,
    /// The registers that it begins with.
    start: [u64; 31],
    thread: Thread,
    /// The variables whose addresses it begins with.
    own: Vec<Var>,
    /// Those that the test wishes to be used before.
    wished: &'a [Var],
}

/// Whether `seen` is a fault as `wanted` describes.
fn is_such(test: &Test, layout: &Layout, wanted: &Fault, seen: &ThreadFault) -> bool {
    let place = || seen.pc.wrapping_sub(layout.label(wanted.thread, 0)) / 4;
    let page = |variable: Var| layout.pages.get(variable).map(|page| page.va);
    let data = VirtAddr(seen.far & !(PAGE_SIZE - 1));
    let kind = match seen.syndrome().status().0 {
        Kind::Translation => Some(FaultKind::Translation),
        Kind::AccessFlag => Some(FaultKind::AccessFlag),
        Kind::Permission => Some(FaultKind::Permission),
        _ => None,
    };
    let entry = |id: EntryId| layout.entry_address(test, id) == seen.far;
    wanted.place.is_none_or(|wanted| wanted as u64 == place())
        && wanted.variable.is_none_or(|variable| page(variable) == Some(data))
        && wanted.entry.is_none_or(entry)
        && (wanted.kind.is_none() || wanted.kind == kind)
}
