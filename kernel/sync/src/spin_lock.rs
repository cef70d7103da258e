//! Spin locks. Taking one masks interrupts on this CPU, so a lock may be shared with a handler and
//! its holder is never preempted; that costs three instructions and spares a second kind of lock.

use crate::cpu::{Cpu, IrqState};
use core::ops::{Deref, DerefMut};

/// The lock classes, outermost first. A CPU that holds one may take only later ones.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u8)]
pub enum Class {
    /// ASID allocation and roll-over.
    Asid,
    /// What the kernel image keeps for itself: the boot's lists, stacks, the prompt.
    Image,
    /// A PMD-level (or higher) table page.
    PmdTable,
    /// A PTE-level table page.
    PteTable,
    /// Per-CPU page lists.
    PageList,
    /// The page allocator's zone.
    Zone,
    /// The kernel heap.
    Heap,
    /// Run queues and wait queues.
    Sched,
    /// The log and the console.
    Console,
}

/// A value that one CPU at a time may touch.
///
/// Unfair on purpose: a fair (ticket) lock hands over to a CPU that an emulator or hypervisor may
/// have descheduled, and then everybody waits for the host.
pub struct SpinLock<T: ?Sized> {
    class: Class,
    inner: spin::mutex::SpinMutex<T>,
}

impl<T> SpinLock<T> {
    /// A lock of `class` around `value`.
    pub const fn new(class: Class, value: T) -> Self {
        Self { class, inner: spin::mutex::SpinMutex::new(value) }
    }
}

impl<T: ?Sized> SpinLock<T> {
    /// Waits for the lock and takes it; interrupts stay masked until the guard is dropped.
    ///
    /// Context: any, interrupt handlers included. Never sleeps.
    #[doc(alias = "spin_lock_irqsave")]
    #[inline]
    pub fn lock<'a, C: Cpu>(&'a self, cpu: &'a C) -> SpinGuard<'a, T, C> {
        self.lock_as(cpu, self.class)
    }

    /// As [`SpinLock::lock`], for a lock whose place in the order depends on what it guards today:
    /// a table page's is a PMD table's or a PTE table's.
    #[inline]
    pub fn lock_as<'a, C: Cpu>(&'a self, cpu: &'a C, class: Class) -> SpinGuard<'a, T, C> {
        let irq = cpu.irq_save();
        cpu.lock_wanted(class);
        loop {
            if let Some(inner) = self.inner.try_lock() {
                return SpinGuard { inner: Some(inner), cpu, irq, class };
            }
            while self.inner.is_locked() {
                cpu.relax();
            }
        }
    }
}

/// Having this means being the lock's only holder, on a CPU that cannot be interrupted.
pub struct SpinGuard<'a, T: ?Sized, C: Cpu> {
    /// `None` only inside `drop`: the lock is released before interrupts are unmasked.
    inner: Option<spin::mutex::SpinMutexGuard<'a, T>>,
    cpu: &'a C,
    irq: IrqState,
    class: Class,
}

impl<T: ?Sized, C: Cpu> Deref for SpinGuard<'_, T, C> {
    type Target = T;
    #[inline]
    fn deref(&self) -> &T {
        match &self.inner {
            Some(inner) => inner,
            None => unreachable!(),
        }
    }
}

impl<T: ?Sized, C: Cpu> DerefMut for SpinGuard<'_, T, C> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        match &mut self.inner {
            Some(inner) => inner,
            None => unreachable!(),
        }
    }
}

impl<T: ?Sized, C: Cpu> Drop for SpinGuard<'_, T, C> {
    #[inline]
    fn drop(&mut self) {
        self.inner = None;
        self.cpu.lock_dropped(self.class);
        self.cpu.irq_restore(self.irq);
    }
}
