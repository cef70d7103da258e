//! The scheduler over this machine: its interrupts, its clock, its stacks, its address spaces.

use crate::{interrupts, stacks};
use abi::{CpuId, VirtRange};
use arch::litmus::UserHalf;
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

/// Set in a thread's space word where that is the address of a [`UserHalf`].
const BARE: usize = 1;

/// A thread's user half, as its space word says: the address of a [`Space`], that of a bare half with
/// [`BARE`] added, or 0.
enum Half {
    None,
    Space(&'static Space<'static, Hw>),
    Bare(&'static UserHalf),
}

fn half_of(word: usize) -> Half {
    if word & BARE != 0 {
        let half: *const UserHalf = core::ptr::with_exposed_provenance(word - BARE);
        // SAFETY: only `inside_bare` sets such a word, from a reference that outlives the time during
        // which it is set.
        return Half::Bare(unsafe { &*half });
    }
    let space: *const Space<'static, Hw> = core::ptr::with_exposed_provenance(word);
    // SAFETY: as above, of `inside`; 0 is null.
    unsafe { space.as_ref() }.map_or(Half::None, Half::Space)
}

/// The user space of the running thread.
pub(crate) fn current_space() -> Option<&'static Space<'static, Hw>> {
    match half_of(sched::space()) {
        Half::Space(space) => Some(space),
        Half::None | Half::Bare(_) => None,
    }
}

/// The scheduler's hook between two threads: the old one's space word, the new one's. Context:
/// interrupts masked.
fn switch_space(old: usize, new: usize) {
    match half_of(old) {
        Half::None => {}
        Half::Space(space) => space.leave(),
        Half::Bare(half) => half.leave(),
    }
    match half_of(new) {
        Half::None => {}
        Half::Space(space) => space.enter(),
        Half::Bare(half) => half.enter(),
    }
}

/// Runs `body` with `space` as the calling thread's user half.
pub(crate) fn inside(space: &Space<'_, Hw>, body: &mut dyn FnMut()) {
    let word = core::ptr::from_ref(space).expose_provenance();
    let before = sched::set_space(word);
    body();
    sched::set_space(before);
}

/// Runs `body` with a user half that no memory manager knows. Context: a thread bound to its CPU.
pub(crate) fn inside_bare(half: &UserHalf, body: &mut dyn FnMut()) {
    let word = core::ptr::from_ref(half).expose_provenance();
    let before = sched::set_space(word + BARE);
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
