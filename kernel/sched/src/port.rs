//! What the scheduler asks of others.
//!
//! Three small doors. [`Engine`] is the CPU itself: masks, waiting, switching registers; the kernel
//! has one over the `arch` room, the tests have one over host threads. [`Port`] and [`StackSource`]
//! are what the image plugs in at boot, because an interrupt controller and a mapper of guard pages
//! are no business of this room.

use crate::thread::Slot;
use abi::{CpuId, VirtRange};
use sync::Cpu;

/// Why a CPU interrupts another one. The number is the SGI's INTID.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Sgi {
    /// Look at your run queue. Handled by `on_irq_reschedule`.
    Reschedule = 0,
    /// Look at your cross-calls. Handled by `on_cross_call`.
    Call = 1,
    /// A CPU has died and wants silence. Handled by `on_stop`.
    Stop = 2,
}

impl Sgi {
    /// The kind behind an INTID, if it is one of ours.
    pub const fn of_intid(intid: u32) -> Option<Self> {
        match intid {
            0 => Some(Self::Reschedule),
            1 => Some(Self::Call),
            2 => Some(Self::Stop),
            _ => None,
        }
    }
}

/// Interrupts and time.
///
/// Context of every method: any, interrupts masked or not, scheduler locks held; none may block or
/// take a lock of class `Sched` or earlier. [`Port::send`] and [`Port::now_ns`] are also called by a
/// dying CPU and take no lock at all.
pub trait Port: Sync {
    /// Interrupts `to`. The caller's earlier stores are visible to the handler (DSB ISHST first).
    fn send(&self, to: CpuId, sgi: Sgi);

    /// Arms this CPU's one-shot timer, or turns it off. A deadline in the past fires at once; a
    /// deadline between two ticks of the counter is rounded up. Replaces what was armed.
    fn set_timer(&self, deadline_ns: Option<u64>);

    /// Nanoseconds since boot, the same on all CPUs, never going back.
    fn now_ns(&self) -> u64;
}

/// Where stacks come from and go to.
///
/// Context: thread (or boot), interrupts unmasked, no spin lock held; both may block.
pub trait StackSource: Sync {
    /// A mapped stack that nobody uses, growing down from its end (16-byte aligned), with a guard
    /// below its start; `None` when memory has run out.
    fn alloc(&self) -> Option<VirtRange>;

    /// Takes back what `alloc` gave. No CPU runs on it any more.
    fn free(&self, stack: VirtRange);
}

/// What the image plugs in.
#[derive(Clone, Copy)]
pub struct Hooks {
    /// Interrupts and time.
    pub port: &'static dyn Port,
    /// Stacks for spawned threads.
    pub stacks: &'static dyn StackSource,
    /// Makes the user half of this CPU that of the thread which runs next. Called with the old and
    /// the new thread's space word, only where they differ.
    ///
    /// Context: interrupts masked, no scheduler lock held, on the old thread's stack. Must not block.
    pub switch_space: fn(old: usize, new: usize),
}

/// The CPU under the scheduler.
pub trait Engine: Cpu + Sync {
    /// Unmasks interrupts on this CPU, whatever was before.
    fn unmask(&self);

    /// Masks interrupts on this CPU, whatever was before.
    fn mask(&self);

    /// Sleeps until an interrupt is pending, though masked. May return early.
    fn wait_for_interrupt(&self);

    /// Makes the first switch to `slot` call [`crate::Scheduler::thread_main`] on `stack`.
    fn prepare(&self, slot: Slot, stack: VirtRange);

    /// Makes the code that runs on this CPU, on `stack`, the thread in `slot`.
    fn adopt(&self, slot: Slot, stack: VirtRange);

    /// The thread that calls, once one was adopted or switched to: wherever it is by the time it has the
    /// answer, it is still about itself.
    fn running(&self) -> Option<Slot>;

    /// Saves this CPU's registers as `from`'s and continues with `to`'s; returns when somebody, on
    /// any CPU, switches to `from` again.
    ///
    /// # Safety
    /// Interrupts are masked; `from` is what this CPU runs; `to` was prepared, or saved by a switch
    /// that is over, and no other CPU runs it.
    #[expect(unsafe_code, reason = "the contract of a context switch cannot be a type")]
    unsafe fn switch(&self, from: Slot, to: Slot);
}
