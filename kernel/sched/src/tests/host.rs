//! An engine of host threads: each kernel thread is one, and a virtual CPU is a baton that they pass
//! on where the kernel would switch. So the scheduler runs whole, with real races between CPUs.
//!
//! Interrupts are taken where they are unmasked and in `relax`, as by hardware between two
//! instructions. The clock moves when somebody looks at it; when all CPUs wait for an interrupt it
//! jumps to the first timer. If there is none, somebody's wake-up is lost, and the test fails.

use crate::{Engine, Hooks, Port, Scheduler, Sgi, Slot, StackSource, State};
use abi::{CpuId, VirtAddr, VirtRange};
use core::cell::Cell;
use core::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::boxed::Box;
use std::collections::{HashMap, HashSet};
use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::vec::Vec;
use sync::{Cpu, IrqState, Wait, WaitKey};

std::thread_local! {
    static HERE: Cell<u16> = const { Cell::new(0) };
    static HOST: Cell<Option<&'static Host>> = const { Cell::new(None) };
    static IS_TEST: Cell<bool> = const { Cell::new(false) };
}

#[derive(Default)]
struct Line {
    masked: AtomicBool,
    /// A bit per kind of SGI.
    pending: AtomicU32,
    timer_ns: AtomicU64,
    space: AtomicUsize,
}

#[derive(Default)]
struct Shared {
    waiting: Vec<bool>,
    /// Who may run, and on which CPU.
    batons: HashMap<u16, u16>,
    /// Whose stacks CPUs execute on.
    executing: HashSet<u16>,
    is_stuck: bool,
    /// A thread was switched to while a CPU executed on its stack.
    is_torn: bool,
}

/// The machine.
pub(super) struct Host {
    lines: Vec<Line>,
    shared: Mutex<Shared>,
    bell: Condvar,
    clock_ns: AtomicU64,
    sched: OnceLock<&'static Scheduler<Handle>>,
    /// Stacks given out and not taken back.
    pub(super) stacks: AtomicI64,
}

/// The engine; a handle, for the scheduler owns its engine.
#[derive(Clone, Copy)]
pub(super) struct Handle(&'static Host);

pub(super) type Machine = (&'static Scheduler<Handle>, &'static Host);

fn here() -> usize {
    usize::from(HERE.get())
}

/// A machine of `nr_cpus`; the caller becomes its boot thread. Its CPUs outlive the test, asleep.
pub(super) fn boot(nr_cpus: usize) -> Machine {
    let line = || {
        let line = Line::default();
        line.timer_ns.store(u64::MAX, Ordering::SeqCst);
        line.masked.store(true, Ordering::SeqCst);
        line
    };
    let waiting = std::vec![false; nr_cpus];
    let host: &'static Host = Box::leak(Box::new(Host {
        lines: (0..nr_cpus).map(|_| line()).collect(),
        shared: Mutex::new(Shared { waiting, ..Shared::default() }),
        bell: Condvar::new(),
        clock_ns: AtomicU64::new(0),
        sched: OnceLock::new(),
        stacks: AtomicI64::new(0),
    }));
    let sched: &'static Scheduler<Handle> = Box::leak(Box::new(Scheduler::new(Handle(host))));
    assert!(host.sched.set(sched).is_ok());
    HOST.set(Some(host));
    HERE.set(0);
    IS_TEST.set(true);
    sched.init(Hooks { port: host, stacks: host, switch_space });
    sched.adopt_boot_thread(no_stack()).unwrap();
    for cpu in 1..nr_cpus {
        host.on_thread(move || {
            HERE.set(cpu as u16);
            sched.enter_idle(no_stack())
        });
    }
    while sched.online().len() < nr_cpus {
        thread::yield_now();
    }
    Handle(host).unmask();
    (sched, host)
}

fn no_stack() -> VirtRange {
    VirtRange::new(VirtAddr(0), VirtAddr(0))
}

fn switch_space(old: usize, new: usize) {
    let host = HOST.get().unwrap();
    let before = host.lines[here()].space.swap(new, Ordering::SeqCst);
    assert_eq!(before, old, "the hook is told what the CPU has");
}

impl Host {
    /// The address space that the caller's CPU has.
    pub(super) fn loaded_space(&self) -> usize {
        self.lines[here()].space.load(Ordering::SeqCst)
    }

    /// The CPU's timer, if it is armed.
    pub(super) fn timer(&self) -> Option<u64> {
        let timer = self.lines[here()].timer_ns.load(Ordering::SeqCst);
        (timer != u64::MAX).then_some(timer)
    }

    fn sched(&self) -> &'static Scheduler<Handle> {
        self.sched.get().unwrap()
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn on_thread(&'static self, body: impl FnOnce() + Send + 'static) {
        let body = move || {
            HOST.set(Some(self));
            body();
        };
        thread::Builder::new().stack_size(256 << 10).spawn(body).unwrap();
    }

    fn is_interrupted(&self, line: &Line) -> bool {
        let due = line.timer_ns.load(Ordering::SeqCst) <= self.clock_ns.load(Ordering::SeqCst);
        due || line.pending.load(Ordering::SeqCst) != 0
    }

    /// Takes this CPU's interrupts while it has some. It may be another CPU after each.
    fn take_interrupts(&self) {
        loop {
            let line = &self.lines[here()];
            if line.masked.load(Ordering::SeqCst) || !self.is_interrupted(line) {
                return;
            }
            line.masked.store(true, Ordering::SeqCst);
            let is_due =
                line.timer_ns.load(Ordering::SeqCst) <= self.clock_ns.load(Ordering::SeqCst);
            let pending = line.pending.swap(0, Ordering::SeqCst);
            let sched = self.sched();
            for sgi in (0..3).filter(|bit| pending & 1 << bit != 0).filter_map(Sgi::of_intid) {
                match sgi {
                    Sgi::Reschedule => sched.on_irq_reschedule(),
                    Sgi::Call => sched.on_cross_call(),
                    Sgi::Stop => sched.on_stop(),
                }
            }
            if is_due {
                sched.on_tick();
            }
            sched.preempt_point();
            self.lines[here()].masked.store(false, Ordering::SeqCst);
        }
    }

    /// Waits for somebody to switch to `slot`.
    fn await_baton(&self, slot: Slot, mut shared: MutexGuard<'_, Shared>) {
        loop {
            if let Some(cpu) = shared.batons.remove(&slot.0) {
                HERE.set(cpu);
                let is_torn = shared.is_torn && IS_TEST.get();
                drop(shared);
                assert!(!is_torn, "two CPUs on one stack");
                return;
            }
            if shared.is_stuck && IS_TEST.get() {
                drop(shared);
                panic!("all CPUs idle without a timer: a wake-up was lost");
            }
            shared = self.bell.wait(shared).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Port for Host {
    fn send(&self, to: CpuId, sgi: Sgi) {
        self.lines[to.index()].pending.fetch_or(1 << sgi as u32, Ordering::SeqCst);
        drop(self.shared());
        self.bell.notify_all();
    }

    fn set_timer(&self, deadline_ns: Option<u64>) {
        self.lines[here()].timer_ns.store(deadline_ns.unwrap_or(u64::MAX), Ordering::SeqCst);
    }

    fn now_ns(&self) -> u64 {
        self.clock_ns.fetch_add(100, Ordering::SeqCst)
    }
}

impl StackSource for Host {
    fn alloc(&self) -> Option<VirtRange> {
        self.stacks.fetch_add(1, Ordering::SeqCst);
        Some(no_stack())
    }

    fn free(&self, _stack: VirtRange) {
        self.stacks.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Cpu for Handle {
    fn id(&self) -> CpuId {
        CpuId(HERE.get())
    }

    fn irq_save(&self) -> IrqState {
        IrqState(self.0.lines[here()].masked.swap(true, Ordering::SeqCst).into())
    }

    fn irq_restore(&self, state: IrqState) {
        if state.0 == 0 {
            self.unmask();
        }
    }

    fn relax(&self) {
        thread::yield_now();
        self.0.clock_ns.fetch_add(1000, Ordering::SeqCst);
        self.0.take_interrupts();
    }
}

impl Wait for Handle {
    fn wait(&self, key: WaitKey, ready: &mut dyn FnMut() -> bool) {
        self.0.sched().wait(key, ready);
    }

    fn wake(&self, key: WaitKey) {
        self.0.sched().wake(key);
    }
}

impl Engine for Handle {
    fn unmask(&self) {
        self.0.lines[here()].masked.store(false, Ordering::SeqCst);
        self.0.take_interrupts();
    }

    fn mask(&self) {
        self.0.lines[here()].masked.store(true, Ordering::SeqCst);
    }

    fn wait_for_interrupt(&self) {
        let host = self.0;
        let cpu = here();
        let mut shared = host.shared();
        while !host.is_interrupted(&host.lines[cpu]) {
            shared.waiting[cpu] = true;
            let sleeps = |(n, line)| shared.waiting[n] && !host.is_interrupted(line);
            if host.lines.iter().enumerate().all(sleeps) {
                let timers = host.lines.iter().map(|line| line.timer_ns.load(Ordering::SeqCst));
                match timers.min() {
                    Some(next) if next != u64::MAX => {
                        host.clock_ns.fetch_max(next, Ordering::SeqCst);
                    }
                    _ => shared.is_stuck = true,
                }
                host.bell.notify_all();
                if !shared.is_stuck {
                    continue;
                }
            }
            shared = host.bell.wait(shared).unwrap_or_else(PoisonError::into_inner);
        }
        shared.waiting[cpu] = false;
    }

    fn prepare(&self, slot: Slot, _stack: VirtRange) {
        let host = self.0;
        host.on_thread(move || {
            host.await_baton(slot, host.shared());
            host.sched().thread_main(slot)
        });
    }

    fn adopt(&self, slot: Slot, _stack: VirtRange) {
        self.0.shared().executing.insert(slot.0);
    }

    fn running(&self) -> Option<Slot> {
        Some(self.0.sched().cpus[here()].current())
    }

    #[expect(unsafe_code, reason = "the trait's contract; a host thread switches by waiting")]
    unsafe fn switch(&self, from: Slot, to: Slot) {
        let host = self.0;
        let is_over = host.sched().table.thread(from).state() == State::Exited;
        // Long enough for other CPUs to find `from` in a queue while it still executes.
        thread::yield_now();
        let mut shared = host.shared();
        shared.executing.remove(&from.0);
        // A broken rule must reach the test, whoever breaks it.
        shared.is_torn |= !shared.executing.insert(to.0);
        shared.batons.insert(to.0, HERE.get());
        host.bell.notify_all();
        if is_over {
            drop(shared);
            // Ends the host thread; nothing on its stack wants dropping.
            std::panic::resume_unwind(Box::new(()));
        }
        host.await_baton(from, shared);
    }
}
