//! CPUs for tests: host threads that say where they are, and one thread that plays all roles.

use abi::CpuId;
use granule_sync::{Class, Cpu, IrqState, Wait, WaitKey};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

thread_local! {
    static HERE: Cell<u16> = const { Cell::new(0) };
    static MASKED: Cell<u64> = const { Cell::new(0) };
}

/// A machine whose CPUs are threads of the host.
#[derive(Default)]
pub(crate) struct Host {
    asleep: Mutex<()>,
    bell: Condvar,
}

impl Host {
    /// The calling thread runs on CPU `id` from here on.
    pub(crate) fn run_on(id: usize) {
        HERE.set(id as u16);
    }

    fn asleep(&self) -> MutexGuard<'_, ()> {
        self.asleep.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Cpu for Host {
    fn id(&self) -> CpuId {
        CpuId(HERE.get())
    }

    fn irq_save(&self) -> IrqState {
        IrqState(MASKED.replace(MASKED.get() + 1))
    }

    fn irq_restore(&self, state: IrqState) {
        assert_eq!(MASKED.get(), state.0 + 1, "interrupt masks nest");
        MASKED.set(state.0);
    }

    fn relax(&self) {
        std::thread::yield_now();
    }

    fn lock_wanted(&self, _class: Class) {
        assert_ne!(MASKED.get(), 0, "a spin lock's holder is not interrupted");
    }
}

impl Wait for Host {
    fn wait(&self, _key: WaitKey, ready: &mut dyn FnMut() -> bool) {
        assert_eq!(MASKED.get(), 0, "nobody sleeps with interrupts masked");
        let mut asleep = self.asleep();
        while !ready() {
            asleep = self.bell.wait(asleep).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn wake(&self, _key: WaitKey) {
        drop(self.asleep());
        self.bell.notify_all();
    }
}

/// A machine on which nobody else runs. Whenever the thread waits, the next event takes place; when
/// it waits with no event left, it would have waited for ever.
#[derive(Default)]
pub(crate) struct Alone<'a> {
    pub(crate) cpu: Cell<u16>,
    events: RefCell<VecDeque<Box<dyn FnOnce() + 'a>>>,
    /// Questions that were answered no.
    pub(crate) sleeps: Cell<u32>,
    pub(crate) yields: Cell<u32>,
    pub(crate) wakes: Cell<u32>,
    masked: Cell<u64>,
    pub(crate) held: RefCell<Vec<Class>>,
    /// What was wanted out of order, and what was held then.
    pub(crate) disorder: RefCell<Vec<(Class, Class)>>,
}

impl<'a> Alone<'a> {
    /// `event` takes place at one of the next waits, after those that came before it.
    pub(crate) fn then(&self, event: impl FnOnce() + 'a) {
        self.events.borrow_mut().push_back(Box::new(event));
    }

    fn next(&self) {
        let event = self.events.borrow_mut().pop_front();
        event.expect("the thread waits for what never comes")();
    }
}

impl Cpu for Alone<'_> {
    fn id(&self) -> CpuId {
        CpuId(self.cpu.get())
    }

    fn irq_save(&self) -> IrqState {
        IrqState(self.masked.replace(self.masked.get() + 1))
    }

    fn irq_restore(&self, state: IrqState) {
        assert_eq!(self.masked.get(), state.0 + 1, "interrupt masks nest");
        self.masked.set(state.0);
    }

    fn relax(&self) {
        self.next();
    }

    fn lock_wanted(&self, class: Class) {
        let inner = self.held.borrow().iter().find(|held| **held >= class).copied();
        self.disorder.borrow_mut().extend(inner.map(|held| (class, held)));
        self.lock_tried(class);
    }

    fn lock_tried(&self, class: Class) {
        assert_ne!(self.masked.get(), 0, "a spin lock's holder is not interrupted");
        self.held.borrow_mut().push(class);
    }

    fn lock_dropped(&self, class: Class) {
        let mut held = self.held.borrow_mut();
        let at = held.iter().rposition(|held| *held == class).expect("it was not held");
        held.remove(at);
    }
}

impl Wait for Alone<'_> {
    fn wait(&self, _key: WaitKey, ready: &mut dyn FnMut() -> bool) {
        assert_eq!(self.masked.get(), 0, "nobody sleeps with interrupts masked");
        while !ready() {
            self.sleeps.set(self.sleeps.get() + 1);
            self.next();
        }
    }

    fn wake(&self, _key: WaitKey) {
        self.wakes.set(self.wakes.get() + 1);
    }

    fn yield_now(&self) {
        self.yields.set(self.yields.get() + 1);
        self.next();
    }
}

/// The seed of a run; printed by whoever fails.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    /// The next number below `limit`.
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ z >> 31) % limit
    }
}
