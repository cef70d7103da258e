//! Spin locks. Taking one masks interrupts on this CPU, so a lock may be shared with a handler and
//! its holder is never preempted; that costs three instructions and spares a second kind of lock.

mod raw;

use crate::cpu::{Cpu, IrqState};
use core::ops::{Deref, DerefMut};
use raw::{Raw, RawGuard};

/// The lock classes, outermost first. A CPU that holds one may take only later ones.
///
/// Where two table pages of one level are locked together (mremap, fork), the one at the lower
/// address is taken first, and the other as the second of its kind. The class cannot check the
/// addresses; it does check that there is no third.
///
/// Counted from [`Class::Sched`], which is zero: a static that is zero throughout takes no room in the image, and
/// the scheduler is the largest.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(i8)]
pub enum Class {
    /// ASID allocation and roll-over.
    Asid = -17,
    /// The list of families of address spaces.
    Family,
    /// What the kernel image keeps for itself: the boot's lists, stacks, the prompt.
    Image,
    /// A CPU's blocks of kernel addresses that have room; or all blocks.
    VmapQueue,
    /// One such block.
    VmapBlock,
    /// A CPU's areas of kernel addresses.
    VmallocNode,
    /// The kernel addresses that nobody has.
    VmallocGaps,
    /// Blocks of the linear map that are parted into pages.
    VmallocParted,
    /// A PMD-level (or higher) table page.
    PmdTable,
    /// A second PMD-level table page, at a higher address.
    PmdTable2,
    /// A PTE-level table page.
    PteTable,
    /// A second PTE-level table page, at a higher address.
    #[doc(alias = "SINGLE_DEPTH_NESTING")]
    PteTable2,
    /// What a folio keeps about its pages' mappings.
    Folio,
    /// The queue of folios that wait to be split.
    DeferredSplit,
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
    inner: Raw<T>,
}

impl<T> SpinLock<T> {
    /// A lock of `class` around `value`.
    #[cfg(not(loom))]
    pub const fn new(class: Class, value: T) -> Self {
        Self { class, inner: Raw::new(value) }
    }

    /// A lock of `class` around `value`.
    #[cfg(loom)]
    pub fn new(class: Class, value: T) -> Self {
        Self { class, inner: Raw::new(value) }
    }
}

impl<T: ?Sized> SpinLock<T> {
    /// Waits for the lock and takes it; interrupts stay masked until the guard is dropped.
    ///
    /// Context: any, interrupt handlers included. Never sleeps.
    #[doc(alias = "spin_lock_irqsave")]
    #[inline]
    #[cfg_attr(feature = "watched", track_caller)]
    pub fn lock<'a, C: Cpu>(&'a self, cpu: &'a C) -> SpinGuard<'a, T, C> {
        self.lock_as(cpu, self.class)
    }

    /// As [`SpinLock::lock`], for a lock whose place in the order depends on what it guards today:
    /// a table page's is a PMD table's or a PTE table's.
    #[inline]
    #[cfg_attr(feature = "watched", track_caller)]
    pub fn lock_as<'a, C: Cpu>(&'a self, cpu: &'a C, class: Class) -> SpinGuard<'a, T, C> {
        let irq = cpu.irq_save();
        cpu.lock_wanted(class);
        #[cfg(feature = "watched")]
        crate::atomic::touch((&raw const self.inner).addr(), true);
        let inner = self.inner.lock(|| cpu.relax());
        SpinGuard { inner: Some(inner), cpu, irq, class }
    }

    /// Takes the lock if it is free, whatever is held: who does not wait cannot deadlock.
    ///
    /// Context: any.
    #[doc(alias = "spin_trylock_irqsave")]
    #[inline]
    #[cfg_attr(feature = "watched", track_caller)]
    pub fn try_lock<'a, C: Cpu>(&'a self, cpu: &'a C) -> Option<SpinGuard<'a, T, C>> {
        self.try_lock_as(cpu, self.class)
    }

    /// [`SpinLock::try_lock`], as [`SpinLock::lock_as`] is for `lock`.
    #[inline]
    #[cfg_attr(feature = "watched", track_caller)]
    pub fn try_lock_as<'a, C: Cpu>(
        &'a self,
        cpu: &'a C,
        class: Class,
    ) -> Option<SpinGuard<'a, T, C>> {
        let irq = cpu.irq_save();
        #[cfg(feature = "watched")]
        crate::atomic::touch((&raw const self.inner).addr(), true);
        let Some(inner) = self.inner.try_lock() else {
            cpu.irq_restore(irq);
            return None;
        };
        cpu.lock_tried(class);
        Some(SpinGuard { inner: Some(inner), cpu, irq, class })
    }
}

/// Having this means being the lock's only holder, on a CPU that cannot be interrupted.
pub struct SpinGuard<'a, T: ?Sized, C: Cpu> {
    /// `None` only inside `drop`: the lock is released before interrupts are unmasked.
    inner: Option<RawGuard<'a, T>>,
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
        self.cpu.lock_dropped(self.class);
        self.inner = None;
        self.cpu.irq_restore(self.irq);
    }
}
