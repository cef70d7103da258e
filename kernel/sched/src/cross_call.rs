//! Cross-calls: a function run on other CPUs, and waited for.
//!
//! A call takes one of 64 call slots, so that an inbox is one word per CPU: a bit per slot. The
//! caller posts, interrupts, and spins until each target has cleared itself from the slot. While it
//! spins it serves its own inbox, so two CPUs that call each other cannot wait in a circle.
//!
//! # Rule
//! The caller holds no spin lock, and is not an interrupt handler: a target that spins for that lock,
//! or has masked interrupts, answers only when it unmasks them. For the same reason the function must
//! not wait for a thread, or for a lock that is ever held with interrupts unmasked.
//!
//! Linux: `smp_call_function_many`, `flush_smp_call_function_queue`.

use crate::cpu_set::{AtomicCpuSet, CpuSet};
use crate::port::{Engine, Sgi};
use crate::scheduler::Scheduler;
use abi::{CpuId, MAX_CPUS};
use core::sync::atomic::{AtomicU64, Ordering};
use sync::{Class, SpinLock};

const SLOTS: usize = 64;

/// Whom a cross-call goes to; CPUs that run no threads are left out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Targets {
    /// These; the caller's own CPU runs the function too if it is among them.
    Set(CpuSet),
    /// All CPUs but the caller's.
    Others,
    /// All CPUs.
    All,
}

type Function = dyn Fn(CpuId) + Sync;

struct CallSlot {
    function: SpinLock<Option<&'static Function>>,
    /// Who has yet to run it.
    waiting: AtomicCpuSet,
}

#[repr(align(128))]
struct Inbox(AtomicU64);

/// The calls under way.
pub(crate) struct Calls {
    slots: [CallSlot; SLOTS],
    /// A bit per slot: taken.
    taken: AtomicU64,
    inboxes: [Inbox; MAX_CPUS],
}

impl Calls {
    pub(crate) const fn new() -> Self {
        Self {
            slots: [const {
                CallSlot {
                    function: SpinLock::new(Class::Sched, None),
                    waiting: AtomicCpuSet::new(),
                }
            }; SLOTS],
            taken: AtomicU64::new(0),
            inboxes: [const { Inbox(AtomicU64::new(0)) }; MAX_CPUS],
        }
    }

    fn claim(&self) -> Option<usize> {
        let lowest_free = |taken: u64| (taken != u64::MAX).then(|| taken | (taken + 1));
        let before =
            self.taken.fetch_update(Ordering::Acquire, Ordering::Relaxed, lowest_free).ok()?;
        Some(before.trailing_ones() as usize)
    }

    fn release(&self, n: usize) {
        self.taken.fetch_and(!(1 << n), Ordering::Release);
    }
}

impl<E: Engine> Scheduler<E> {
    /// Runs `function` once on each target, with interrupts masked there, and returns when all have
    /// returned from it. What the caller stored before, they see; what they stored, the caller sees.
    ///
    /// Context: thread, interrupts unmasked, no spin lock held; see the module's rule.
    pub fn cross_call(&self, targets: Targets, function: &(dyn Fn(CpuId) + Sync)) {
        let n = loop {
            if let Some(n) = self.calls.claim() {
                break n;
            }
            self.serve_while_waiting();
        };
        let call = &self.calls.slots[n];
        *call.function.lock(&self.engine) = Some(forget_lifetime(function));
        {
            // Neither preempted nor moved while it is decided who "the others" are.
            let _irqs = self.engine.mask_irqs();
            let here = self.engine.id();
            let set = match targets {
                Targets::Set(set) => set.and(self.online()),
                Targets::Others => self.online().without(here),
                Targets::All => self.online(),
            };
            let remote = set.without(here);
            call.waiting.store(remote);
            for cpu in remote.iter() {
                self.calls.inboxes[cpu.index()].0.fetch_or(1 << n, Ordering::AcqRel);
                self.send(cpu, Sgi::Call);
            }
            if set.contains(here) {
                function(here);
            }
        }
        while !call.waiting.load().is_empty() {
            self.serve_while_waiting();
        }
        *call.function.lock(&self.engine) = None;
        self.calls.release(n);
    }

    fn serve_while_waiting(&self) {
        {
            let _irqs = self.engine.mask_irqs();
            self.on_cross_call();
        }
        self.engine.relax();
    }

    /// Somebody has called. Context: interrupt handler, or interrupts masked.
    pub fn on_cross_call(&self) {
        let here = self.engine.id();
        let mut posted = self.calls.inboxes[here.index()].0.swap(0, Ordering::AcqRel);
        while posted != 0 {
            let call = &self.calls.slots[posted.trailing_zeros() as usize];
            posted &= posted - 1;
            let function = *call.function.lock(&self.engine);
            if let Some(function) = function {
                function(here);
            }
            // The last use of the function: after this the caller may return.
            call.waiting.remove(here);
        }
    }
}

/// Lets a function be called by CPUs whose stay in it the borrow checker cannot see.
#[expect(unsafe_code, reason = "a borrow that other CPUs' call frames end")]
fn forget_lifetime<'a>(function: &'a (dyn Fn(CpuId) + Sync + 'a)) -> &'static Function {
    // SAFETY: `cross_call`, the only caller, does not return before every CPU that was given the
    // function has returned from it, and then takes the reference out of the slot.
    unsafe { core::mem::transmute::<&'a (dyn Fn(CpuId) + Sync + 'a), &'static Function>(function) }
}
