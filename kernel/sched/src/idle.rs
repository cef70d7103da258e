//! A CPU without work.
//!
//! # Why no wake-up is lost
//! With interrupts masked, the CPU enters the set of idle CPUs, executes a full fence, and looks at
//! the queues. Whoever queues a thread executes a full fence and then looks at the set. Either the
//! idle CPU sees the thread, or it is seen and interrupted; and WFI returns at once when an interrupt
//! is pending, though masked (Arm ARM, "Wait for Interrupt").
//!
//! Linux: `do_idle`, `newidle_balance`.

use crate::port::Engine;
use crate::scheduler::{Leave, Scheduler};
use crate::thread::{Slot, State};
use abi::CpuId;
use core::sync::atomic::{Ordering, fence};

impl<E: Engine> Scheduler<E> {
    /// What an idle thread does.
    pub(crate) fn idle_loop(&self) -> ! {
        let cpu = self.engine.id();
        self.engine.mask();
        loop {
            self.idle.insert(cpu);
            fence(Ordering::SeqCst);
            if !self.has_work(cpu) {
                self.engine.wait_for_interrupt();
            }
            // The handlers run here.
            self.engine.unmask();
            self.idle.remove(cpu);
            self.engine.mask();
            self.find_work(cpu);
            if self.here().is_some() {
                self.switch_away(Leave::Turn);
            }
        }
    }

    fn has_work(&self, cpu: CpuId) -> bool {
        self.cpus[cpu.index()].has_ready() || self.victims(cpu).next().is_some()
    }

    /// CPUs that have something to steal, the next higher id first.
    fn victims(&self, cpu: CpuId) -> impl Iterator<Item = CpuId> {
        let online = self.online();
        let (below, above): (u16, _) = (cpu.0, cpu.0 + 1);
        let others = online
            .iter()
            .filter(move |other| other.0 >= above)
            .chain(online.iter().filter(move |other| other.0 < below));
        others.filter(|other| self.cpus[other.index()].has_movable())
    }

    /// Fills this CPU's empty queue from somebody else's.
    pub(crate) fn find_work(&self, cpu: CpuId) {
        let here = &self.cpus[cpu.index()];
        if here.has_ready() {
            return;
        }
        let Some(slot) = self.victims(cpu).find_map(|victim| self.steal(victim, cpu)) else {
            return;
        };
        let mut rq = here.lock.lock(&self.engine);
        self.table.thread(slot).set_state(State::Ready);
        rq.push(&self.table, slot);
        here.show(&rq);
    }

    fn steal(&self, victim: CpuId, thief: CpuId) -> Option<Slot> {
        let queue = &self.cpus[victim.index()];
        let mut rq = queue.lock.lock(&self.engine);
        let slot = rq.steal(&self.table)?;
        queue.show(&rq);
        let thread = self.table.thread(slot);
        thread.set_state(State::Arriving);
        thread.set_home(thief);
        Some(slot)
    }
}
