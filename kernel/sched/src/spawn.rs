//! The life of a thread: made, joined, and taken apart; and how a CPU gets its first one.
//!
//! A spawn has a phase that can fail (a slot, a stack) and one that cannot (into a run queue), so
//! that several threads can be made before the first of them runs. A thread that has returned keeps
//! its slot and stack until its joiner takes them; those of a detached one are freed by the next
//! spawn or join, because freeing a stack may block and a dying thread stands on its own.

use crate::port::Engine;
use crate::scheduler::{Leave, Scheduler};
use crate::thread::{Affinity, Entry, Fate, Life, Name, Slot, State, ThreadId};
use abi::{CpuId, VirtRange};
use core::sync::atomic::Ordering;
use sync::WaitKey;

/// What a thread is to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Spec {
    /// For listings.
    pub name: Name,
    /// Where it may run.
    pub affinity: Affinity,
    /// What becomes of its result.
    pub fate: Fate,
}

impl Spec {
    /// A thread called `name` that runs anywhere and is joined.
    pub fn new(name: &str) -> Self {
        Self { name: Name::new(name), affinity: Affinity::Any, fate: Fate::Joined }
    }

    /// Bound to `cpu`.
    #[must_use]
    pub fn on(self, cpu: CpuId) -> Self {
        Self { affinity: Affinity::Cpu(cpu), ..self }
    }

    /// Joined by nobody.
    #[must_use]
    pub fn detached(self) -> Self {
        Self { fate: Fate::Detached, ..self }
    }
}

/// Why there is no new thread.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SpawnError {
    /// All slots are taken.
    TableFull {
        /// How many there are.
        slots: usize,
    },
    /// No memory for a stack.
    NoStack,
    /// The CPU that it is to be bound to runs no threads.
    Offline(CpuId),
    /// No CPU runs threads yet.
    NotStarted,
}

/// Why there is no result.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum JoinError {
    /// No thread of this name exists, any more or yet: it was joined, or it was detached and is gone.
    Stale(ThreadId),
    /// Somebody else joins it.
    Taken(ThreadId),
    /// It is detached, or the kernel's for good.
    NotJoinable(ThreadId),
    /// A thread cannot wait for its own end.
    Itself(ThreadId),
}

impl<E: Engine> Scheduler<E> {
    /// Makes a thread that calls `entry(argument)`. It may run before this returns.
    ///
    /// Context: thread, interrupts unmasked, no spin lock held (stacks come and go).
    pub fn spawn(&self, spec: Spec, entry: Entry, argument: usize) -> Result<ThreadId, SpawnError> {
        let slot = self.make(spec, (entry, argument))?;
        Ok(self.start(slot, spec.fate))
    }

    /// The phase that can fail.
    pub(crate) fn make(&self, spec: Spec, job: (Entry, usize)) -> Result<Slot, SpawnError> {
        self.bury();
        let hooks = self.hooks.get().ok_or(SpawnError::NotStarted)?;
        match spec.affinity {
            Affinity::Cpu(cpu) if cpu.index() >= abi::MAX_CPUS || !self.online().contains(cpu) => {
                return Err(SpawnError::Offline(cpu));
            }
            Affinity::Any if self.online().is_empty() => return Err(SpawnError::NotStarted),
            Affinity::Cpu(_) | Affinity::Any => {}
        }
        let slots = crate::table::MAX_THREADS - abi::MAX_CPUS;
        let slot = self.table.claim().ok_or(SpawnError::TableFull { slots })?;
        let Some(stack) = hooks.stacks.alloc() else {
            self.table.release(slot);
            return Err(SpawnError::NoStack);
        };
        let thread = self.table.thread(slot);
        thread.reset(spec.name, spec.affinity, stack);
        {
            let mut private = thread.private(&self.engine);
            private.job = Some(job);
            private.owned_stack = Some(stack);
        }
        self.engine.prepare(slot, stack);
        Ok(slot)
    }

    /// The phase that cannot.
    pub(crate) fn start(&self, slot: Slot, fate: Fate) -> ThreadId {
        let life = match fate {
            Fate::Joined => Life::Joinable,
            Fate::Detached => Life::Detached,
        };
        let id = self.table.publish(slot, life);
        let _irqs = self.engine.mask_irqs();
        let cpu = match self.table.thread(slot).affinity() {
            Affinity::Cpu(cpu) => cpu,
            // The first of the least loaded: `min_by_key` prefers earlier ones.
            Affinity::Any => self
                .online()
                .iter()
                .min_by_key(|cpu| self.cpus[cpu.index()].load(*cpu))
                .unwrap_or(self.engine.id()),
        };
        self.enqueue(slot, cpu);
        id
    }

    /// Undoes [`Scheduler::make`], of a thread that was not started, or takes apart one whose end has
    /// come.
    pub(crate) fn unmake(&self, slot: Slot) {
        let stack = self.table.thread(slot).private(&self.engine).owned_stack.take();
        self.table.release(slot);
        if let (Some(stack), Some(hooks)) = (stack, self.hooks.get()) {
            hooks.stacks.free(stack);
        }
    }

    /// Waits for the end of a thread and gives its result; its name is stale from then on.
    ///
    /// Context: as [`Scheduler::spawn`].
    pub fn join(&self, id: ThreadId) -> Result<usize, JoinError> {
        if self.current() == Some(id) {
            return Err(JoinError::Itself(id));
        }
        let (thread, _) = self.table.lookup(id).ok_or(JoinError::Stale(id))?;
        let joinable = Life::Joinable.word(id.generation);
        let claimed = Life::Claimed.word(id.generation);
        thread
            .life
            .compare_exchange(joinable, claimed, Ordering::AcqRel, Ordering::Acquire)
            .map_err(|word| match Life::of_word(word) {
                (generation, _) if generation != id.generation => JoinError::Stale(id),
                (_, Life::Free | Life::Joinable) => JoinError::Stale(id),
                (_, Life::Claimed) => JoinError::Taken(id),
                (_, Life::Detached | Life::Permanent) => JoinError::NotJoinable(id),
            })?;
        self.wait(WaitKey::of(&thread.life), &mut || thread.state() == State::Exited);
        let result = thread.result.load(Ordering::Relaxed);
        self.take_apart(Slot(id.slot));
        self.bury();
        Ok(result)
    }

    /// Takes an exited thread apart, once its CPU is off its stack: a few instructions later.
    fn take_apart(&self, slot: Slot) {
        while self.table.thread(slot).on_cpu.load(Ordering::Acquire) {
            self.engine.relax();
        }
        self.unmake(slot);
    }

    /// Takes apart the detached threads that have returned.
    fn bury(&self) {
        loop {
            let slot = self.dead.lock(&self.engine).pop_front(&self.table.run_links);
            let Some(slot) = slot else { return };
            self.take_apart(slot);
        }
    }

    /// The body of every thread: what [`Engine::prepare`] makes the first switch call. Interrupts are
    /// masked, the switch is not finished.
    pub fn thread_main(&self, slot: Slot) -> ! {
        self.finish_switch();
        if slot.is_idle() {
            self.idle_loop();
        }
        self.engine.unmask();
        let job = self.table.thread(slot).private(&self.engine).job.take();
        let result = job.map_or(0, |(entry, argument)| entry(argument));
        self.exit(result)
    }

    /// Ends the calling thread with `result`. Nothing that its stack owns is dropped.
    ///
    /// Context: a spawned thread, no lock held.
    pub fn exit(&self, result: usize) -> ! {
        self.engine.mask();
        let here = &self.cpus[self.engine.id().index()];
        let me = here.current();
        let thread = self.table.thread(me);
        thread.result.store(result, Ordering::Relaxed);
        {
            let _rq = here.lock.lock(&self.engine);
            thread.set_state(State::Exited);
        }
        if Life::of_word(thread.life.load(Ordering::Acquire)).1 == Life::Detached {
            self.dead.lock(&self.engine).push_back(&self.table.run_links, me);
        } else {
            self.wake(WaitKey::of(&thread.life));
        }
        self.switch_away(Leave::Exit);
        // Nobody switches to an exited thread.
        loop {
            self.engine.wait_for_interrupt();
        }
    }

    /// Makes the code that runs now, on `stack`, a thread bound to its CPU, and makes the CPU one
    /// that runs threads.
    ///
    /// Context: the boot CPU, once, after [`Scheduler::init`].
    pub fn adopt_boot_thread(&self, stack: VirtRange) -> Result<ThreadId, SpawnError> {
        let hooks = self.hooks.get().ok_or(SpawnError::NotStarted)?;
        let slots = crate::table::MAX_THREADS - abi::MAX_CPUS;
        let slot = self.table.claim().ok_or(SpawnError::TableFull { slots })?;
        let Some(idle_stack) = hooks.stacks.alloc() else {
            self.table.release(slot);
            return Err(SpawnError::NoStack);
        };
        let _irqs = self.engine.mask_irqs();
        let cpu = self.engine.id();
        self.found(Slot::idle(cpu), Name::with_cpu("idle", cpu), idle_stack);
        self.engine.prepare(Slot::idle(cpu), idle_stack);
        let id = self.found(slot, Name::new("boot"), stack);
        self.occupy(slot, stack);
        Ok(id)
    }

    /// Makes the code that runs now, on `stack`, its CPU's idle thread; threads run here from now on.
    ///
    /// Context: a secondary CPU that is set up, after [`Scheduler::init`] on the boot CPU.
    pub fn enter_idle(&self, stack: VirtRange) -> ! {
        self.engine.mask();
        let cpu = self.engine.id();
        self.found(Slot::idle(cpu), Name::with_cpu("idle", cpu), stack);
        self.occupy(Slot::idle(cpu), stack);
        self.idle_loop()
    }

    /// Makes the record of a thread of this CPU that never ends.
    fn found(&self, slot: Slot, name: Name, stack: VirtRange) -> ThreadId {
        let cpu = self.engine.id();
        let thread = self.table.thread(slot);
        thread.reset(name, Affinity::Cpu(cpu), stack);
        thread.set_home(cpu);
        thread.set_state(State::Ready);
        self.table.publish(slot, Life::Permanent)
    }

    /// Makes `slot` the thread that runs on this CPU.
    fn occupy(&self, slot: Slot, stack: VirtRange) {
        let cpu = self.engine.id();
        let thread = self.table.thread(slot);
        thread.set_state(State::Running);
        thread.on_cpu.store(true, Ordering::Relaxed);
        thread.since_ns.store(self.now_ns(), Ordering::Relaxed);
        self.cpus[cpu.index()].set_current(slot);
        self.engine.adopt(slot, stack);
        self.online.insert(cpu);
    }
}
