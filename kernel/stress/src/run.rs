//! One run of one workload: its options, its deadline, its first failure; and accesses whose failure
//! is the run's, with the walk as evidence.

pub(crate) use crate::failure::{Failure, keep_walk};
use crate::rng::Rng;
use crate::stamp::Stamp;
use crate::world::World;
use abi::{Access, PAGE_SIZE, VirtAddr, VirtRange};
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use mm::audit::Audit;
use mm::{FaultOutcome, Mm, Space};
use sync::{Class, Cpu, SpinLock};

/// Turns of waiting that a deep sleep takes: about as long as a few operations of others.
const DEPTH: u32 = 64;

/// When a workload ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Limit {
    /// After so many nanoseconds.
    Time(u64),
    /// After so many rounds on each CPU: the same work whatever the machine's speed.
    Rounds(u64),
}

/// What each CPU does.
type Body<'a> = dyn Fn(usize, &mut Rng) -> Result<(), Failure> + Sync + 'a;

/// What the user chose.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// CPUs to use.
    pub cpus: usize,
    /// When to end.
    pub limit: Limit,
    /// What decides every random choice.
    pub seed: u64,
    /// Bytes of memory to work on, all CPUs together.
    pub bytes: u64,
}

/// What a workload's threads share.
pub struct Run<'w, W: World> {
    /// Where it runs.
    pub world: &'w W,
    /// What the user chose.
    pub options: Options,
    name: &'static str,
    began_ns: u64,
    stop: AtomicBool,
    operations: AtomicU64,
    failure: SpinLock<Option<Failure>>,
    audit: SpinLock<Option<Audit>>,
}

impl<'w, W: World> Run<'w, W> {
    pub(crate) fn new(world: &'w W, name: &'static str, options: Options) -> Self {
        Self {
            world,
            options,
            name,
            began_ns: world.now_ns(),
            stop: AtomicBool::new(false),
            operations: AtomicU64::new(0),
            failure: SpinLock::new(Class::Console, None),
            audit: SpinLock::new(Class::Console, None),
        }
    }

    /// The memory manager.
    pub fn mm(&self) -> &'w Mm<W::Machine> {
        self.world.mm()
    }

    /// The random numbers of one CPU.
    pub fn rng(&self, cpu: usize) -> Rng {
        Rng::new(self.options.seed, self.name, cpu)
    }

    /// Whether there is to be another round after `done` of them.
    pub fn goes_on(&self, done: u64) -> bool {
        if self.stop.load(Ordering::Relaxed) {
            return false;
        }
        match self.options.limit {
            Limit::Time(ns) => self.elapsed_ns() < ns,
            Limit::Rounds(rounds) => done < rounds,
        }
    }

    /// Whether everybody is to stop at once.
    pub fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Ends the run for everybody.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Nanoseconds since the run began.
    pub fn elapsed_ns(&self) -> u64 {
        self.world.now_ns().saturating_sub(self.began_ns)
    }

    /// Counts finished operations.
    pub fn did(&self, operations: u64) {
        self.operations.fetch_add(operations, Ordering::Relaxed);
    }

    /// Operations finished so far.
    pub fn operations(&self) -> u64 {
        self.operations.load(Ordering::Relaxed)
    }

    /// Keeps the first failure and stops everybody.
    pub fn fail(&self, failure: Failure) {
        self.failure.lock(&self.mm().hw).get_or_insert(failure);
        self.stop();
    }

    /// The first failure.
    pub(crate) fn failure(&self) -> Option<Failure> {
        *self.failure.lock(&self.mm().hw)
    }

    /// What the last audit saw that was made while the workload's spaces lived.
    pub(crate) fn audited(&self) -> Option<Audit> {
        *self.audit.lock(&self.mm().hw)
    }

    /// Runs `body` on each CPU; a failure of one stops all. What the CPUs did is complete after it, and
    /// audited, while what they worked on is still there: they hold no reference when they are done.
    pub fn on_cpus(
        &self,
        watch: &mut dyn FnMut(),
        body: impl Fn(usize, &mut Rng) -> Result<(), Failure> + Sync,
    ) -> Result<(), Failure> {
        self.on_each_cpu(watch, &body)
    }

    /// [`Run::on_cpus`], compiled once for all workloads.
    fn on_each_cpu(&self, watch: &mut dyn FnMut(), body: &Body<'_>) -> Result<(), Failure> {
        let cpus = self.options.cpus;
        let one = |cpu: usize| {
            if let Err(failure) = body(cpu, &mut self.rng(cpu)) {
                self.fail(failure);
            }
        };
        let started = self.world.run(cpus, &one, watch);
        match self.failure() {
            Some(failure) => Err(failure),
            None if started < cpus => Err(Failure::Threads { started }),
            None => {
                let audit = self.mm().audit()?;
                *self.audit.lock(&self.mm().hw) = Some(audit);
                Ok(())
            }
        }
    }

    /// Runs `turn` on each CPU, again and again; otherwise as [`Run::on_cpus`].
    pub fn rounds(
        &self,
        watch: &mut dyn FnMut(),
        turn: impl Fn(usize, &mut Rng) -> Result<(), Failure> + Sync,
    ) -> Result<(), Failure> {
        self.on_cpus(watch, |cpu, rng| {
            let mut round = 0;
            while self.goes_on(round) {
                turn(cpu, rng)?;
                round += 1;
            }
            Ok(())
        })
    }

    /// Runs `body` with `space` as the calling thread's user space.
    pub fn inside(
        &self,
        space: &Space<'_, W::Machine>,
        mut body: impl FnMut() -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let mut result = Ok(());
        self.world.inside(space, &mut || result = body());
        result
    }

    /// This CPU sleeps for a while, too deep to hear TLBIs, and comes back. Context: inside no space.
    pub fn sleep_deeply(&self) {
        let mm = self.mm();
        let _here = mm.hw.mask_irqs();
        mm.cpu_leaves();
        (0..DEPTH).for_each(|_| mm.hw.relax());
        mm.cpu_joins();
    }

    /// Loads a word that must be there.
    #[inline(never)]
    pub fn load(
        &self,
        space: &Space<'_, W::Machine>,
        cpu: usize,
        va: VirtAddr,
    ) -> Result<u64, Failure> {
        self.world
            .load(space, va)
            .map_err(|outcome| self.wrong_outcome(space, cpu, va, Access::Read, Some(outcome)))
    }

    /// Writes the stamp into the page at `va`: its first, a middle and its last word.
    #[inline(never)]
    pub fn mark(
        &self,
        space: &Space<'_, W::Machine>,
        cpu: usize,
        va: VirtAddr,
        stamp: Stamp,
    ) -> Result<(), Failure> {
        for offset in WORDS {
            self.world.store(space, va + offset, stamp.word()).map_err(|outcome| {
                self.wrong_outcome(space, cpu, va + offset, Access::Write, Some(outcome))
            })?;
        }
        Ok(())
    }

    /// Writes into each page of `range` the stamp of `number` and `version`.
    pub fn mark_all(
        &self,
        space: &Space<'_, W::Machine>,
        cpu: usize,
        range: VirtRange,
        number: u8,
        version: u16,
    ) -> Result<(), Failure> {
        (0..range.pages())
            .map(|page| range.start + page * PAGE_SIZE)
            .try_for_each(|va| self.mark(space, cpu, va, Stamp::new(number, va, version)))
    }

    /// Checks that the page at `va` still holds its stamp.
    #[inline(never)]
    pub fn check(
        &self,
        space: &Space<'_, W::Machine>,
        cpu: usize,
        va: VirtAddr,
        stamp: Stamp,
    ) -> Result<(), Failure> {
        for offset in WORDS {
            let found = self.load(space, cpu, va + offset)?;
            if found != stamp.word() {
                return Err(self.wrong_data(space, cpu, va + offset, stamp, found));
            }
        }
        Ok(())
    }

    /// The failure that `found` at `va` is, with the walk as it is now.
    #[cold]
    #[inline(never)]
    pub fn wrong_data(
        &self,
        space: &Space<'_, W::Machine>,
        cpu: usize,
        va: VirtAddr,
        expected: Stamp,
        found: u64,
    ) -> Failure {
        Failure::WrongData { cpu, va, expected, found, walk: keep_walk(space, va) }
    }

    /// The failure that `outcome` at `va` is, with the walk as it is now.
    #[cold]
    #[inline(never)]
    pub fn wrong_outcome(
        &self,
        space: &Space<'_, W::Machine>,
        cpu: usize,
        va: VirtAddr,
        access: Access,
        outcome: Option<FaultOutcome>,
    ) -> Failure {
        Failure::WrongOutcome { cpu, va, access, outcome, walk: keep_walk(space, va) }
    }

    /// The failure that an access to `va` is which was to be denied.
    #[cold]
    #[inline(never)]
    pub fn not_denied(
        &self,
        space: &Space<'_, W::Machine>,
        cpu: usize,
        va: VirtAddr,
        access: Access,
    ) -> Failure {
        self.wrong_outcome(space, cpu, va, access, None)
    }
}

/// The words of a page that carry its stamp.
pub(crate) const WORDS: [u64; 3] = [0, PAGE_SIZE / 2, PAGE_SIZE - 8];
