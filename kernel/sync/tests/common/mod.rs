//! CPUs for tests: host threads that say where they are.

use abi::CpuId;
use granule_sync::{Class, Cpu, IrqState, Wait, WaitKey};
use std::cell::Cell;
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
