//! An engine that switches nothing: one host thread plays all CPUs, a step at a time, and looks at
//! the bookkeeping between the steps.

use crate::{Engine, Hooks, Port, Scheduler, Sgi, Slot, StackSource};
use abi::{CpuId, VirtAddr, VirtRange};
use core::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering};
use std::boxed::Box;
use std::sync::Mutex;
use std::vec::Vec;
use sync::{Cpu, IrqState};

/// What the scheduler asked for.
#[derive(Default)]
pub(super) struct Recorder {
    cpu: AtomicU16,
    clock: AtomicU64,
    pub(super) sent: Mutex<Vec<(CpuId, Sgi)>>,
    pub(super) timers: Mutex<std::collections::BTreeMap<u16, Option<u64>>>,
    no_memory: AtomicBool,
}

/// The engine; a handle, for the scheduler owns its engine.
pub(super) struct Handle(pub(super) &'static Recorder);

pub(super) type Recorded = (&'static Scheduler<Handle>, &'static Recorder);

/// A machine whose CPU 0 runs the boot thread and whose other CPUs idle.
pub(super) fn boot(nr_cpus: u16) -> Recorded {
    let recorder: &'static Recorder = Box::leak(Box::default());
    let sched: &'static Scheduler<Handle> = Box::leak(Box::new(Scheduler::new(Handle(recorder))));
    sched.init(Hooks { port: recorder, stacks: recorder, switch_space: |_, _| {} });
    sched.adopt_boot_thread(VirtRange::new(VirtAddr(0), VirtAddr(0))).unwrap();
    for cpu in (1..nr_cpus).map(CpuId) {
        sched.online.insert(cpu);
        sched.cpus[cpu.index()].set_current(Slot::idle(cpu));
        sched.idle.insert(cpu);
    }
    (sched, recorder)
}

impl Recorder {
    /// The next steps are CPU `cpu`'s.
    pub(super) fn play(&self, cpu: CpuId) {
        self.cpu.store(cpu.0, Ordering::Relaxed);
    }

    pub(super) fn advance(&self, ns: u64) {
        self.clock.fetch_add(ns, Ordering::Relaxed);
    }

    pub(super) fn run_out_of_memory(&self) {
        self.no_memory.store(true, Ordering::Relaxed);
    }

    pub(super) fn take_sent(&self) -> Vec<(CpuId, Sgi)> {
        core::mem::take(&mut self.sent.lock().unwrap())
    }

    pub(super) fn timer(&self, cpu: CpuId) -> Option<u64> {
        self.timers.lock().unwrap().get(&cpu.0).copied().flatten()
    }
}

impl Port for Recorder {
    fn send(&self, to: CpuId, sgi: Sgi) {
        self.sent.lock().unwrap().push((to, sgi));
    }

    fn set_timer(&self, deadline_ns: Option<u64>) {
        self.timers.lock().unwrap().insert(self.cpu.load(Ordering::Relaxed), deadline_ns);
    }

    fn now_ns(&self) -> u64 {
        self.clock.load(Ordering::Relaxed)
    }
}

impl StackSource for Recorder {
    fn alloc(&self) -> Option<VirtRange> {
        let is_left = !self.no_memory.load(Ordering::Relaxed);
        is_left.then_some(VirtRange::new(VirtAddr(0), VirtAddr(0)))
    }

    fn free(&self, _stack: VirtRange) {}
}

impl Cpu for Handle {
    fn id(&self) -> CpuId {
        CpuId(self.0.cpu.load(Ordering::Relaxed))
    }
    fn irq_save(&self) -> IrqState {
        IrqState(0)
    }
    fn irq_restore(&self, _state: IrqState) {}
    fn relax(&self) {
        panic!("alone, there is nobody to wait for");
    }
}

impl Engine for Handle {
    fn unmask(&self) {}
    fn mask(&self) {}
    fn wait_for_interrupt(&self) {}
    fn prepare(&self, _slot: Slot, _stack: VirtRange) {}
    fn adopt(&self, _slot: Slot, _stack: VirtRange) {}
    fn running(&self) -> Option<Slot> {
        None
    }
    #[expect(unsafe_code, reason = "the trait's contract; this one switches nothing")]
    unsafe fn switch(&self, _from: Slot, _to: Slot) {}
}
