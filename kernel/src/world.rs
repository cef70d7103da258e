//! The workloads' view of this kernel.

use crate::threads::{self, Hw};
use crate::{console, memory};
use abi::{Access, CpuId, VirtAddr};
use arch::LocalCpu;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use mm::{FaultOutcome, Mm, Space};
use sched::{CpuSet, Spec};
use stress::World;
use sync::{Cpu, WaitKey};

/// How often the watcher looks: ten times a second.
const WATCH_NS: u64 = 100_000_000;

/// The booted kernel; having one means that its memory is managed.
pub(crate) struct Kernel {
    mm: &'static Mm<Hw>,
}

impl Kernel {
    /// The world, once there is one.
    pub(crate) fn new() -> Option<Self> {
        memory::mm().map(|mm| Self { mm })
    }
}

/// A run on many CPUs, as its coordinating thread sees it.
struct Job<'a> {
    cpus: CpuSet,
    body: &'a (dyn Fn(usize) + Sync),
    started: AtomicUsize,
    done: AtomicBool,
}

/// Runs a job. A thread of its own, so that the caller can watch meanwhile.
fn coordinate(argument: usize) -> usize {
    let job: *const Job<'_> = core::ptr::with_exposed_provenance(argument);
    // SAFETY: `run` made the word from a job that it keeps until it has joined this thread.
    let job = unsafe { &*job };
    let number_of = |cpu: CpuId| job.cpus.iter().take_while(|other| *other != cpu).count();
    let body = |cpu: CpuId| (job.body)(number_of(cpu));
    if sched::run_on(job.cpus, "stress", &body).is_ok() {
        job.started.store(job.cpus.iter().count(), Ordering::Relaxed);
    }
    job.done.store(true, Ordering::Release);
    sched::wake(WaitKey::of(&job.done));
    0
}

/// An access failed: tries it until the hardware lets it through or the space says no.
#[cold]
fn persist<T>(
    space: &Space<'_, Hw>,
    va: VirtAddr,
    access: Access,
    attempt: impl Fn() -> Result<T, arch::uaccess::UserFault>,
) -> Result<T, FaultOutcome> {
    loop {
        // The fault's handler has refused; ask for the reason.
        match space.fault(va, access) {
            FaultOutcome::Mapped | FaultOutcome::Spurious => {}
            stop => return Err(stop),
        }
        if let Ok(value) = attempt() {
            return Ok(value);
        }
    }
}

impl World for Kernel {
    type Machine = Hw;

    fn mm(&self) -> &Mm<Hw> {
        self.mm
    }

    fn cpus(&self) -> usize {
        sched::online().iter().count()
    }

    fn run(&self, cpus: usize, body: &(dyn Fn(usize) + Sync), watch: &mut dyn FnMut()) -> usize {
        let job = Job {
            cpus: sched::online().iter().take(cpus).collect(),
            body,
            started: AtomicUsize::new(0),
            done: AtomicBool::new(false),
        };
        let argument = core::ptr::from_ref(&job).expose_provenance();
        let Ok(coordinator) = sched::spawn(Spec::new("coordinator"), coordinate, argument) else {
            return 0;
        };
        while !job.done.load(Ordering::Acquire) {
            let deadline = self.now_ns() + WATCH_NS;
            let key = WaitKey::of(&job.done);
            sched::wait_until(key, deadline, &mut || job.done.load(Ordering::Acquire));
            watch();
        }
        // The job is borrowed until here.
        let _ = sched::join(coordinator);
        job.started.load(Ordering::Relaxed)
    }

    fn inside(&self, space: &Space<'_, Hw>, body: &mut dyn FnMut()) {
        threads::inside(space, body);
    }

    #[inline]
    fn load(&self, space: &Space<'_, Hw>, va: VirtAddr) -> Result<u64, FaultOutcome> {
        let attempt = || arch::uaccess::read_u64(va);
        attempt().or_else(|_| persist(space, va, Access::Read, attempt))
    }

    #[inline]
    fn store(&self, space: &Space<'_, Hw>, va: VirtAddr, value: u64) -> Result<(), FaultOutcome> {
        let attempt = || arch::uaccess::write_u64(va, value);
        attempt().or_else(|_| persist(space, va, Access::Write, attempt))
    }

    #[inline]
    fn kernel_load(&self, va: VirtAddr) -> Option<u64> {
        arch::uaccess::probe_u64(va)
    }

    #[inline]
    fn kernel_store(&self, va: VirtAddr, value: u64) -> bool {
        arch::uaccess::write_vmalloc_u64(va, value).is_ok()
    }

    fn kernel_try(&self, va: VirtAddr, store: Option<u64>) -> Option<u64> {
        match store {
            None => arch::uaccess::probe_u64(va),
            Some(value) => arch::uaccess::write_vmalloc_u64(va, value).ok().map(|()| value),
        }
    }

    fn kernel_call(&self, va: VirtAddr) -> Option<u64> {
        arch::code::call_constant(va)
    }

    fn yield_now(&self) {
        sched::yield_now();
        // And to other CPUs, where an emulator runs them all on one thread of the host.
        LocalCpu.relax();
    }

    fn now_ns(&self) -> u64 {
        arch::timer::now_ns()
    }

    fn interrupted(&self) -> bool {
        console::interrupted()
    }
}
