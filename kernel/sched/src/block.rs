//! Waiting and waking.
//!
//! Interrupts stay masked from the moment a thread says that it is about to wait until it has left
//! its CPU, so it is never preempted half-way; other CPUs may wake it at any step, which it notices
//! when it leaves ([`Leave::Block`] looks at the state under the lock). Why no wake-up is lost is
//! told in `wait_table`.
//!
//! Linux: `prepare_to_wait`, `___wait_event`, `wake_up_all`, `schedule_timeout`.

use crate::port::Engine;
use crate::scheduler::{Leave, Scheduler};
use crate::thread::{Slot, State};
use core::sync::atomic::Ordering;
use sync::WaitKey;

/// How a wait with a deadline ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Waited {
    /// The question was answered with yes.
    Ready,
    /// The deadline has passed, and the last answer was no.
    TimedOut,
}

impl<E: Engine> Scheduler<E> {
    /// Sleeps until `ready` answers yes; see [`sync::Wait::wait`] for the rules of the question.
    ///
    /// Context: thread, no spin lock held. Before this CPU runs threads, and in a dying kernel, it
    /// spins instead of sleeping.
    pub fn wait(&self, key: WaitKey, ready: &mut dyn FnMut() -> bool) {
        self.wait_inner(Some(key), u64::MAX, ready);
    }

    /// As [`Scheduler::wait`], but gives up when `deadline_ns` has passed.
    pub fn wait_until(
        &self,
        key: WaitKey,
        deadline_ns: u64,
        ready: &mut dyn FnMut() -> bool,
    ) -> Waited {
        self.wait_inner(Some(key), deadline_ns, ready)
    }

    /// Sleeps until the clock shows `deadline_ns`. Context: as [`Scheduler::wait`].
    pub fn sleep_until(&self, deadline_ns: u64) {
        self.wait_inner(None, deadline_ns, &mut || false);
    }

    /// Lets every waiter of `key` ask its question again. A fence and a load where there is none.
    ///
    /// Context: any, interrupt handlers included, with any lock held but this room's.
    pub fn wake(&self, key: WaitKey) {
        if !self.waits.has_waiters(key) || self.stop.is_requested() {
            return;
        }
        let _irqs = self.engine.mask_irqs();
        let mut horizon = None;
        loop {
            let batch = self.waits.take(&self.engine, &self.table, key, &mut horizon);
            for slot in batch.iter() {
                self.wake_thread(slot);
            }
            if !batch.is_full() {
                return;
            }
        }
    }

    fn wait_inner(
        &self,
        key: Option<WaitKey>,
        deadline_ns: u64,
        ready: &mut dyn FnMut() -> bool,
    ) -> Waited {
        let irqs = self.engine.mask_irqs();
        if ready() {
            return Waited::Ready;
        }
        while let Some(here) = self.here() {
            let me = here.current();
            debug_assert!(!me.is_idle(), "an idle thread does not wait");
            self.begin_block(me, deadline_ns);
            if let Some(key) = key {
                self.waits.enter(&self.engine, &self.table, key, me);
            }
            let is_ready = ready();
            let is_over = is_ready || self.now_ns() >= deadline_ns;
            if is_over {
                self.cancel_block(me);
            } else {
                self.switch_away(Leave::Block);
            }
            if let Some(key) = key {
                self.waits.leave(&self.engine, &self.table, key, me);
            }
            if is_over {
                return if is_ready { Waited::Ready } else { Waited::TimedOut };
            }
        }
        drop(irqs);
        self.spin(deadline_ns, ready)
    }

    /// Waits where nobody can sleep.
    fn spin(&self, deadline_ns: u64, ready: &mut dyn FnMut() -> bool) -> Waited {
        loop {
            {
                let _irqs = self.engine.mask_irqs();
                if ready() {
                    return Waited::Ready;
                }
            }
            if self.now_ns() >= deadline_ns {
                return Waited::TimedOut;
            }
            self.engine.relax();
        }
    }

    /// From here on a waker finds the current thread `Blocked`, though it still runs.
    pub(crate) fn begin_block(&self, me: Slot, deadline_ns: u64) {
        let here = &self.cpus[self.engine.id().index()];
        let thread = self.table.thread(me);
        let mut rq = here.lock.lock(&self.engine);
        thread.set_state(State::Blocked);
        thread.deadline_ns.store(deadline_ns, Ordering::Relaxed);
        if deadline_ns != u64::MAX {
            rq.add_sleeper(&self.table, me);
            self.arm(&mut rq);
        }
    }

    /// The current thread need not wait after all. It may have been woken already.
    pub(crate) fn cancel_block(&self, me: Slot) {
        let here = &self.cpus[self.engine.id().index()];
        let thread = self.table.thread(me);
        let mut rq = here.lock.lock(&self.engine);
        if thread.deadline_ns.swap(u64::MAX, Ordering::Relaxed) != u64::MAX {
            rq.remove_sleeper(&self.table, me);
            self.arm(&mut rq);
        }
        thread.set_state(State::Running);
    }

    /// Makes `slot` run if it is blocked. For one that is not, the wake is spurious, or it is late
    /// and the slot belongs to somebody else: harmless, for everybody who blocks asks again.
    pub(crate) fn wake_thread(&self, slot: Slot) {
        let thread = self.table.thread(slot);
        let queue = loop {
            let home = thread.home();
            let queue = &self.cpus[home.index()];
            let rq = queue.lock.lock(&self.engine);
            // It may have moved before the lock was taken; then the lock says nothing about it.
            if thread.home() == home {
                break (queue, rq);
            }
        };
        let (queue, mut rq) = queue;
        if thread.state() != State::Blocked {
            return;
        }
        if thread.deadline_ns.swap(u64::MAX, Ordering::Relaxed) != u64::MAX {
            rq.remove_sleeper(&self.table, slot);
        }
        if queue.current() == slot {
            // It has not left its CPU, and will not.
            thread.set_state(State::Running);
            return;
        }
        thread.set_state(State::Arriving);
        drop(rq);
        self.arrive(slot);
    }
}
