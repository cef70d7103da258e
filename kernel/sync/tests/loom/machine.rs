//! CPUs for loom's threads.

use abi::CpuId;
use granule_sync::{Cpu, IrqState, Wait, WaitKey};
use loom::sync::{Arc, Condvar, Mutex};

/// One CPU of a machine, as the thread that runs on it sees it.
#[derive(Clone)]
pub(crate) struct Here {
    id: u16,
    /// Asks again and again instead of sleeping. Then it is the question alone that puts the waiter
    /// after what it waited for; a sleeper gets the same order from its waker, twice over.
    is_restless: bool,
    machine: Arc<(Mutex<()>, Condvar)>,
}

impl Here {
    /// CPU 0 of a new machine.
    pub(crate) fn boot() -> Self {
        Self { id: 0, is_restless: false, machine: Arc::new((Mutex::new(()), Condvar::new())) }
    }

    /// CPU 0 of a new machine where nobody sleeps.
    pub(crate) fn boot_restless() -> Self {
        Self { is_restless: true, ..Self::boot() }
    }

    /// CPU `id` of the same machine.
    pub(crate) fn on(&self, id: u16) -> Self {
        Self { id, ..self.clone() }
    }
}

impl Cpu for Here {
    fn id(&self) -> CpuId {
        CpuId(self.id)
    }

    fn irq_save(&self) -> IrqState {
        IrqState(0)
    }

    fn irq_restore(&self, _state: IrqState) {}

    fn relax(&self) {
        loom::thread::yield_now();
    }
}

impl Wait for Here {
    fn wait(&self, _key: WaitKey, ready: &mut dyn FnMut() -> bool) {
        if self.is_restless {
            while !ready() {
                self.relax();
            }
            return;
        }
        let (asleep, bell) = &*self.machine;
        let mut guard = asleep.lock().unwrap();
        while !ready() {
            guard = bell.wait(guard).unwrap();
        }
    }

    fn wake(&self, _key: WaitKey) {
        if self.is_restless {
            return;
        }
        let (asleep, bell) = &*self.machine;
        drop(asleep.lock().unwrap());
        bell.notify_all();
    }
}
