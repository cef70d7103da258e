//! The scheduler: who runs where, and the switch from one thread to the next.
//!
//! # Placement, which is simple on purpose
//! * A new thread goes to its CPU, or to the least loaded one, the lowest id among equals.
//! * A woken thread goes back to the CPU it last ran on if that CPU idles, else to the idle CPU with
//!   the lowest id, else back.
//! * A CPU that runs out of work steals the thread that has waited longest in the next CPU's queue
//!   (see `idle`). Nobody balances in the background.
//!
//! All of it is a function of the order of events, so a machine whose events are deterministic
//! schedules deterministically.
//!
//! # Invariants
//! * A thread's state changes under the lock of its home's run queue; the home changes only while the
//!   state is `Arriving`, which one CPU owns.
//! * A thread is in at most one run queue, and in one exactly while it is `Ready`.
//! * No two locks of this room are held together (both have class `Sched`).
//! * `on_cpu` is set for as long as a CPU executes on the thread's stack. Whoever picks a thread waits
//!   for it to be clear; it waits only for a switch that began before its own, so nobody waits in a
//!   circle.
//!
//! Linux: `__schedule`, `try_to_wake_up`, `finish_task_switch`, `select_idle_sibling`.

use crate::cpu_set::{AtomicCpuSet, CpuSet};
use crate::cross_call::Calls;
use crate::port::{Engine, Hooks, Sgi};
use crate::run_queue::{CpuQueue, RunQueue, SLICE_NS};
use crate::stop::Stop;
use crate::table::{List, Table};
use crate::thread::{Affinity, Slot, State, ThreadId};
use crate::wait_table::WaitTable;
use abi::{CpuId, MAX_CPUS};
use core::sync::atomic::{Ordering, fence};
use spin::Once;
use sync::{Class, SpinLock};

/// Why the current thread gives up its CPU.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Leave {
    /// It lets others have a turn.
    Turn,
    /// It is `Blocked`, unless somebody has woken it in the meantime.
    Block,
    /// It has `Exited`.
    Exit,
}

/// All threads of a machine.
///
/// Its methods are called on the CPU that executes them; the engine says which.
pub struct Scheduler<E: Engine> {
    pub(crate) engine: E,
    pub(crate) hooks: Once<Hooks>,
    pub(crate) table: Table,
    pub(crate) cpus: [CpuQueue; MAX_CPUS],
    /// CPUs that run threads.
    pub(crate) online: AtomicCpuSet,
    /// CPUs that will look at the queues before they sleep only if they are interrupted.
    pub(crate) idle: AtomicCpuSet,
    pub(crate) waits: WaitTable,
    pub(crate) calls: Calls,
    pub(crate) stop: Stop,
    /// Detached threads that have returned and whose stacks wait to be freed.
    pub(crate) dead: SpinLock<List>,
}

impl<E: Engine> Scheduler<E> {
    /// No threads, no CPUs, and but for the engine no byte that is not zero: a static one takes no room in the
    /// image.
    pub const fn new(engine: E) -> Self {
        Self {
            engine,
            hooks: Once::new(),
            table: Table::new(),
            cpus: [const { CpuQueue::new() }; MAX_CPUS],
            online: AtomicCpuSet::new(),
            idle: AtomicCpuSet::new(),
            waits: WaitTable::new(),
            calls: Calls::new(),
            stop: Stop::new(),
            dead: SpinLock::new(Class::Sched, List::new()),
        }
    }

    /// Plugs in what is below. Context: boot, once, before any other CPU runs; a second call changes
    /// nothing.
    pub fn init(&self, hooks: Hooks) {
        self.hooks.call_once(|| hooks);
    }

    /// The CPUs that run threads.
    pub fn online(&self) -> CpuSet {
        self.online.load()
    }

    /// The thread that asks; `None` before its CPU runs threads.
    pub fn current(&self) -> Option<ThreadId> {
        let _irqs = self.engine.mask_irqs();
        // Not `here`: a dying CPU asks too.
        let cpu = self.engine.id();
        let runs = self.online.load().contains(cpu);
        self.table.id(runs.then(|| self.cpus[cpu.index()].current())?)
    }

    /// Lets other threads of this CPU run, if any is ready. Context: thread, no spin lock held.
    pub fn yield_now(&self) {
        let _irqs = self.engine.mask_irqs();
        if self.here().is_some() {
            self.switch_away(Leave::Turn);
        }
    }

    /// The user address space of the calling thread: the word its creator or
    /// [`Scheduler::set_space`] gave it, 0 at first.
    #[inline]
    pub fn space(&self) -> usize {
        self.engine.running().map_or(0, |slot| self.space_of(slot))
    }

    /// Changes the user address space of the calling thread, and of its CPU at once; returns the old
    /// word. Context: thread.
    pub fn set_space(&self, new: usize) -> usize {
        let _irqs = self.engine.mask_irqs();
        let Some(here) = self.here() else { return 0 };
        let old = self.table.thread(here.current()).space.swap(new, Ordering::Relaxed);
        self.switch_space(old, new);
        old
    }

    /// How many interrupts `cpu` has sent to others: cross-calls, one for each target, and wake-ups.
    pub fn interrupts_sent(&self, cpu: CpuId) -> u64 {
        self.cpus[cpu.index()].sent.load(Ordering::Relaxed)
    }

    /// The end of an interrupt: the place where a thread whose slice is over is preempted.
    ///
    /// Context: interrupts masked, after the interrupt controller was told that the interrupt is
    /// handled, on the interrupted thread's stack, with nothing held. May return much later, on
    /// another CPU.
    pub fn preempt_point(&self) {
        let Some(here) = self.here() else { return };
        if here.resched.swap(false, Ordering::Relaxed) && !here.current().is_idle() {
            self.switch_away(Leave::Turn);
        }
    }

    /// The timer has fired on this CPU. Context: interrupt handler.
    pub fn on_tick(&self) {
        let Some(here) = self.here() else { return };
        let now_ns = self.now_ns();
        while let Some(slot) = self.pop_expired(here, now_ns) {
            self.arrive(slot);
        }
        let mut rq = here.lock.lock(&self.engine);
        if rq.slice_end_ns.is_some_and(|end| end <= now_ns) {
            rq.slice_end_ns = None;
            here.resched.store(rq.nr_ready() != 0, Ordering::Relaxed);
        }
        // Always, even if nothing has changed: the timer's line stays up until it is told what next.
        rq.armed_ns = rq.next_event_ns(&self.table);
        self.set_timer(rq.armed_ns);
    }

    fn pop_expired(&self, here: &CpuQueue, now_ns: u64) -> Option<Slot> {
        let mut rq = here.lock.lock(&self.engine);
        let slot = rq.pop_expired(&self.table, now_ns)?;
        let thread = self.table.thread(slot);
        thread.deadline_ns.store(u64::MAX, Ordering::Relaxed);
        thread.set_state(State::Arriving);
        Some(slot)
    }

    /// Another CPU has put a thread into this CPU's queue. Context: interrupt handler.
    ///
    /// A CPU that idles looks at its queue by itself, now that it is awake. A busy one may have begun
    /// a slice without a timer.
    pub fn on_irq_reschedule(&self) {
        let Some(here) = self.here() else { return };
        let mut rq = here.lock.lock(&self.engine);
        self.arm(&mut rq);
    }

    // --- below: interrupts are masked --------------------------------------------------------

    /// This CPU's queue, unless the CPU runs no threads: not yet, or not any more.
    pub(crate) fn here(&self) -> Option<&CpuQueue> {
        let cpu = self.engine.id();
        let runs = self.online.load().contains(cpu) && !self.stop.is_requested();
        runs.then(|| &self.cpus[cpu.index()])
    }

    pub(crate) fn now_ns(&self) -> u64 {
        self.hooks.get().map_or(0, |hooks| hooks.port.now_ns())
    }

    pub(crate) fn send(&self, to: CpuId, sgi: Sgi) {
        if let Some(hooks) = self.hooks.get() {
            self.cpus[self.engine.id().index()].sent.fetch_add(1, Ordering::Relaxed);
            hooks.port.send(to, sgi);
        }
    }

    fn set_timer(&self, deadline_ns: Option<u64>) {
        if let Some(hooks) = self.hooks.get() {
            hooks.port.set_timer(deadline_ns);
        }
    }

    fn space_of(&self, slot: Slot) -> usize {
        self.table.thread(slot).space.load(Ordering::Relaxed)
    }

    fn switch_space(&self, old: usize, new: usize) {
        if let Some(hooks) = self.hooks.get()
            && old != new
        {
            (hooks.switch_space)(old, new);
        }
    }

    /// Sets this CPU's timer to what its queue wants.
    pub(crate) fn arm(&self, rq: &mut RunQueue) {
        let wanted = rq.next_event_ns(&self.table);
        if rq.armed_ns != wanted {
            rq.armed_ns = wanted;
            self.set_timer(wanted);
        }
    }

    /// Puts a thread whose state is `Arriving` where a woken thread belongs.
    pub(crate) fn arrive(&self, slot: Slot) {
        let thread = self.table.thread(slot);
        let home = thread.home();
        let cpu = match thread.affinity() {
            Affinity::Cpu(cpu) => cpu,
            Affinity::Any => {
                let idle = self.idle.load();
                if idle.contains(home) { home } else { idle.first().unwrap_or(home) }
            }
        };
        self.enqueue(slot, cpu);
    }

    /// Puts a thread whose state is `Arriving` into `cpu`'s queue, and sees to it that somebody
    /// looks there in time.
    pub(crate) fn enqueue(&self, slot: Slot, cpu: CpuId) {
        let here = self.engine.id();
        let queue = &self.cpus[cpu.index()];
        let thread = self.table.thread(slot);
        let is_movable = thread.affinity() == Affinity::Any;
        let (begins_slice, must_queue) = {
            let mut rq = queue.lock.lock(&self.engine);
            thread.set_home(cpu);
            thread.set_state(State::Ready);
            rq.push(&self.table, slot);
            let is_busy = queue.current() != Slot::idle(cpu);
            let begins_slice = is_busy && rq.slice_end_ns.is_none();
            if begins_slice {
                rq.slice_end_ns = Some(self.now_ns() + SLICE_NS);
                if cpu == here {
                    self.arm(&mut rq);
                }
            }
            queue.show(&rq);
            (begins_slice, is_busy || rq.nr_ready() > 1)
        };
        // Pairs with the fence of a CPU that goes idle: it sees the thread, or is seen idling.
        fence(Ordering::SeqCst);
        let was_idle = self.idle.remove(cpu);
        if cpu != here && (was_idle || begins_slice) {
            self.send(cpu, Sgi::Reschedule);
        }
        if is_movable && must_queue {
            self.poke_idle();
        }
    }

    /// Makes an idle CPU, if there is one, look for something to steal.
    fn poke_idle(&self) {
        if let Some(cpu) = self.idle.remove_first()
            && cpu != self.engine.id()
        {
            self.send(cpu, Sgi::Reschedule);
        }
    }

    /// Gives the CPU to the next thread, or to the idle one. Returns when the thread runs again:
    /// at once where nobody else wants the CPU, or a blocked thread has been woken already.
    #[expect(unsafe_code, reason = "the one place where threads are switched")]
    pub(crate) fn switch_away(&self, leave: Leave) {
        let cpu = self.engine.id();
        let here = &self.cpus[cpu.index()];
        here.resched.store(false, Ordering::Relaxed);
        let now_ns = self.now_ns();
        let Some((from, to)) = self.pick(here, cpu, leave, now_ns) else { return };

        fence(Ordering::SeqCst);
        if leave == Leave::Turn && here.has_movable() {
            self.poke_idle();
        }
        let (leaving, next) = (self.table.thread(from), self.table.thread(to));
        while next.on_cpu.load(Ordering::Acquire) {
            self.engine.relax();
        }
        next.on_cpu.store(true, Ordering::Relaxed);
        let since_ns = leaving.since_ns.load(Ordering::Relaxed);
        leaving.run_ns.fetch_add(now_ns.saturating_sub(since_ns), Ordering::Relaxed);
        next.since_ns.store(now_ns, Ordering::Relaxed);
        next.switches.fetch_add(1, Ordering::Relaxed);
        here.previous.store(from.0, Ordering::Relaxed);
        self.switch_space(self.space_of(from), self.space_of(to));
        // SAFETY: interrupts are masked; `from` was this CPU's current thread, and `to` is it now,
        // by the run queue's lock; nobody else runs `to`, by the lock and by `on_cpu`.
        unsafe { self.engine.switch(from, to) };
        self.finish_switch();
    }

    /// Decides who runs next. `None`: the current thread goes on.
    fn pick(&self, here: &CpuQueue, cpu: CpuId, leave: Leave, now_ns: u64) -> Option<(Slot, Slot)> {
        let mut rq = here.lock.lock(&self.engine);
        let from = here.current();
        let leaving = self.table.thread(from);
        match leave {
            Leave::Turn => {
                if rq.nr_ready() == 0 {
                    rq.slice_end_ns = None;
                    self.arm(&mut rq);
                    return None;
                }
                leaving.set_state(State::Ready);
                if !from.is_idle() {
                    rq.push(&self.table, from);
                }
            }
            Leave::Block if leaving.state() == State::Running => {
                self.arm(&mut rq);
                return None;
            }
            Leave::Block | Leave::Exit => {}
        }
        let to = rq.pop(&self.table).unwrap_or(Slot::idle(cpu));
        self.table.thread(to).set_state(State::Running);
        here.set_current(to);
        let shares = !to.is_idle() && rq.nr_ready() != 0;
        rq.slice_end_ns = shares.then_some(now_ns + SLICE_NS);
        self.arm(&mut rq);
        here.show(&rq);
        Some((from, to))
    }

    /// The second half of a switch, on the stack of the thread that runs now: nobody executes on the
    /// previous one's any more. The CPU may be another than the one the thread left.
    pub(crate) fn finish_switch(&self) {
        let here = &self.cpus[self.engine.id().index()];
        let previous = Slot(here.previous.load(Ordering::Relaxed));
        self.table.thread(previous).on_cpu.store(false, Ordering::Release);
    }
}
