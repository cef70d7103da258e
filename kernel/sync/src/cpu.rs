//! What waiting needs of a machine: who am I, may I be interrupted, how do I spin, how do I sleep.

use crate::Class;
use abi::CpuId;

/// The interrupt mask as it was before [`Cpu::irq_save`]; opaque to everyone but the machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use = "the mask must be given back to irq_restore"]
pub struct IrqState(pub u64);

/// The CPU that executes the caller.
///
/// Implemented by the real machine, by the host's models, and by a stand-in for unit tests. A
/// handle, not a CPU: the same value answers for whichever CPU runs it.
pub trait Cpu {
    /// Which CPU this is. Stable only while interrupts are masked or the thread is bound to it.
    fn id(&self) -> CpuId;

    /// Masks interrupts on this CPU and returns how it was. Nests.
    fn irq_save(&self) -> IrqState;

    /// Puts the mask back. Calls must nest in reverse order of [`Cpu::irq_save`].
    fn irq_restore(&self, state: IrqState);

    /// One turn of a spin-wait: lets somebody else have the execution resource for a moment.
    ///
    /// On aarch64 `yield`, never `isb` (what `core::hint::spin_loop` emits): single-threaded
    /// emulation hands over at `yield` only.
    fn relax(&self);

    /// A spin lock of `class` is about to be taken here. Machines that check the lock order (the
    /// host's models do) compare it with what is held; the others compile it away.
    #[inline]
    fn lock_wanted(&self, class: Class) {
        let _ = class;
    }

    /// A spin lock of `class` was taken here by trying, which cannot deadlock: the order is not
    /// checked against what was held before, only noted for what is wanted after.
    #[inline]
    fn lock_tried(&self, class: Class) {
        let _ = class;
    }

    /// A spin lock of `class` is about to be released here: what it guards is still this CPU's.
    #[inline]
    fn lock_dropped(&self, class: Class) {
        let _ = class;
    }

    /// Masks interrupts until the guard is dropped.
    fn mask_irqs(&self) -> IrqGuard<'_, Self>
    where
        Self: Sized,
    {
        IrqGuard { cpu: self, state: self.irq_save() }
    }
}

/// Interrupts are masked on this CPU while this lives.
pub struct IrqGuard<'a, C: Cpu> {
    cpu: &'a C,
    state: IrqState,
}

impl<C: Cpu> Drop for IrqGuard<'_, C> {
    fn drop(&mut self) {
        self.cpu.irq_restore(self.state);
    }
}

/// Names what is waited for: by convention the address of the thing.
#[doc(alias = "wait_queue_head")]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct WaitKey(pub usize);

impl WaitKey {
    /// The address of `thing`.
    pub fn of<T: ?Sized>(thing: &T) -> Self {
        Self(core::ptr::from_ref(thing).cast::<()>() as usize)
    }
}

/// A CPU whose threads can sleep.
pub trait Wait: Cpu {
    /// Sleeps until `ready` answers true. `ready` is asked again after each [`Wait::wake`] of the
    /// same key, and at least once before the first sleep; a wake that comes between the question
    /// and the sleep is not lost.
    ///
    /// Context: thread, interrupts unmasked, no spin lock held. `ready` itself runs with interrupts
    /// masked and must not block.
    fn wait(&self, key: WaitKey, ready: &mut dyn FnMut() -> bool);

    /// Lets every waiter of `key` ask its question again. Any context but a spin lock's of the
    /// scheduler. What `ready` reads must have been stored before.
    fn wake(&self, key: WaitKey);

    /// Lets this CPU's other threads run, and other CPUs as [`Cpu::relax`] does; returns when it is
    /// the caller's turn again. For a wait that ends soon and that nobody ends with a wake.
    ///
    /// Context: thread, interrupts unmasked, no spin lock held.
    #[doc(alias("cond_resched", "schedule"))]
    fn yield_now(&self) {
        self.relax();
    }
}
