//! The scheduler over this machine: its interrupts, its clock, its stacks, its address spaces.

use crate::{interrupts, stacks};
use abi::{CpuId, VirtRange};
use mm::Space;
use sched::{Hooks, Port, Sgi};

/// The kernel's scheduler, as the machine waits with it.
pub(crate) type Sched = sched::KernelThreads;
/// The CPUs.
pub(crate) type Bare = arch::Machine<Sched>;
/// The machine that memory is managed for.
#[cfg(not(feature = "sanitize"))]
pub(crate) type Hw = Bare;
/// The machine that memory is managed for: the CPUs, perhaps watched.
#[cfg(feature = "sanitize")]
pub(crate) type Hw = mm::Sanitized<Bare>;

struct KernelPort;

impl Port for KernelPort {
    fn send(&self, to: CpuId, sgi: Sgi) {
        interrupts::send(to, sgi as u8);
    }

    fn set_timer(&self, deadline_ns: Option<u64>) {
        match deadline_ns {
            Some(deadline) => arch::timer::set_deadline_ns(deadline),
            None => arch::timer::stop(),
        }
    }

    fn now_ns(&self) -> u64 {
        arch::timer::now_ns()
    }
}

/// Makes the running boot code the first thread, on `stack`.
pub(crate) fn init(stack: VirtRange) -> Result<(), sched::SpawnError> {
    sched::init(Hooks { port: &KernelPort, stacks: &stacks::KernelStacks, switch_space });
    sched::adopt_boot_thread(stack).map(drop)
}

/// A thread's space word is the address of its [`Space`], or 0.
fn space_of(word: usize) -> Option<&'static Space<'static, Hw>> {
    let space: *const Space<'static, Hw> = core::ptr::with_exposed_provenance(word);
    // SAFETY: a word other than 0 is set by `inside` alone, from a reference that outlives the time
    // during which it is set.
    unsafe { space.as_ref() }
}

/// The user space of the running thread.
pub(crate) fn current_space() -> Option<&'static Space<'static, Hw>> {
    space_of(sched::space())
}

/// The scheduler's hook between two threads: the old one's space word, the new one's. Context:
/// interrupts masked.
fn switch_space(old: usize, new: usize) {
    if let Some(space) = space_of(old) {
        space.leave();
    }
    if let Some(space) = space_of(new) {
        space.enter();
    }
}

/// Runs `body` with `space` as the calling thread's user half.
pub(crate) fn inside(space: &Space<'_, Hw>, body: &mut dyn FnMut()) {
    let word = core::ptr::from_ref(space).expose_provenance();
    let before = sched::set_space(word);
    body();
    sched::set_space(before);
}

/// A software-generated interrupt has arrived.
pub(crate) fn on_sgi(intid: u8) {
    match Sgi::of_intid(intid.into()) {
        Some(Sgi::Reschedule) => sched::on_irq_reschedule(),
        Some(Sgi::Call) => sched::on_cross_call(),
        Some(Sgi::Stop) => sched::on_stop(),
        None => {}
    }
}
