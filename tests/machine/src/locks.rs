//! Locks, interrupt masks and sleep: who holds what, in which order, and who waits.

use crate::Machine;
use crate::coroutines::stand_still;
use crate::schedule::Go;
use crate::timeline::Concern;
use abi::CpuId;
use sync::{Class, Cpu, IrqState, Wait, WaitKey};

impl Machine {
    /// Does what the schedule says.
    pub(crate) fn go(&self, go: Go, otherwise: &str) {
        match go {
            Go::On => {}
            Go::Yield => stand_still(),
            // A CPU that is dying already must not die twice.
            Go::Never if std::thread::panicking() => {}
            Go::Never => panic!("deadlock: CPU {} {otherwise}", self.me()),
        }
    }
}

impl Cpu for Machine {
    fn id(&self) -> CpuId {
        CpuId(self.me() as u16)
    }

    fn irq_save(&self) -> IrqState {
        let cpu = self.me();
        let masked = &mut self.state().cpus[cpu].masked;
        *masked += 1;
        IrqState(*masked - 1)
    }

    fn irq_restore(&self, IrqState(before): IrqState) {
        let cpu = self.me();
        let mut state = self.state();
        if state.cpus[cpu].masked != before + 1 {
            state.violate(cpu, &Concern::default(), "interrupt masks do not nest".into());
        }
        state.cpus[cpu].masked = before;
    }

    fn relax(&self) {
        let cpu = self.me();
        let go = {
            let mut state = self.state();
            let state = &mut *state;
            state.step += 1;
            state.decisions.begin(cpu);
            state.turn.spins(cpu, &mut state.decisions)
        };
        self.go(go, "spins, and nobody does anything else");
    }

    fn lock_wanted(&self, class: Class) {
        self.step();
        let cpu = self.me();
        let mut state = self.state();
        *state.taken.entry(class).or_default() += 1;
        if let Some(&held) = state.cpus[cpu].locks.iter().find(|held| **held >= class) {
            let what = format!("lock order: {class:?} wanted while {held:?} is held");
            state.violate(cpu, &Concern::default(), what);
        }
        state.cpus[cpu].locks.push(class);
    }

    fn lock_tried(&self, class: Class) {
        let cpu = self.me();
        self.state().cpus[cpu].locks.push(class);
    }

    fn lock_dropped(&self, class: Class) {
        let cpu = self.me();
        let mut state = self.state();
        let locks = &mut state.cpus[cpu].locks;
        if let Some(at) = locks.iter().rposition(|held| *held == class) {
            locks.remove(at);
        }
        state.hidden.released(cpu);
        state.check_unlocked(cpu);
    }
}

impl Wait for Machine {
    fn wait(&self, key: WaitKey, ready: &mut dyn FnMut() -> bool) {
        let cpu = self.me();
        if self.state().cpus[cpu].masked > 0 {
            let what = "sleeping with interrupts masked".into();
            self.state().violate(cpu, &Concern::default(), what);
        }
        loop {
            let wakes = self.state().turn.wakes();
            let irqs = self.irq_save();
            let is_ready = ready();
            self.irq_restore(irqs);
            if is_ready {
                return;
            }
            let go = {
                let mut state = self.state();
                let state = &mut *state;
                state.step += 1;
                state.decisions.begin(cpu);
                state.turn.sleeps(cpu, (key, wakes), &mut state.decisions)
            };
            self.go(go, "sleeps, and nobody is left to wake it");
            if self.state().turn.is_abandoned(cpu) {
                self.go(Go::Never, "sleeps, and nobody is left to wake it");
            }
        }
    }

    fn wake(&self, key: WaitKey) {
        self.state().turn.wake(key);
    }
}
