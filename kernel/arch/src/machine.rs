//! The machine that the memory manager runs on: its hardware trait, on real registers.
//!
//! Nothing is decided and nothing counted here; each method is the instruction or two that its
//! contract in [`mm::hw`] names. Descriptors and frames are reached through the linear map, which
//! must be in place, and which nothing but this file turns a frame number into an address of.

use crate::layout::LINEAR_BASE;
use crate::{barrier, boot, cache, frames, irq, percpu, tlbi};
use aarch64_cpu::asm::barrier as cpu;
use aarch64_cpu::registers::{TTBR0_EL1, Writeable};
use abi::{Asid, CpuId, Order, Pfn, PhysAddr, VirtAddr, VirtRange};
use core::arch::asm;
use core::marker::PhantomData;
use core::sync::atomic::{AtomicU64, Ordering, compiler_fence};
use mm::hw::{Hardware, Slot};
use pte::{Caps, Scope, Tlbi};
use sync::{Cpu, IrqState, Wait, WaitKey};

/// Threads that can sleep: what a scheduler, which is above this room, gives the machine.
pub trait Threads {
    /// As [`Wait::wait`].
    fn wait(key: WaitKey, ready: &mut dyn FnMut() -> bool);
    /// As [`Wait::wake`].
    fn wake(key: WaitKey);
    /// As [`Wait::yield_now`].
    fn yield_now();
}

/// The executing CPU, for locks of rooms that have nothing to do with memory.
#[derive(Clone, Copy, Debug)]
pub struct LocalCpu;

impl Cpu for LocalCpu {
    #[inline]
    fn id(&self) -> CpuId {
        percpu::this().id()
    }

    #[inline]
    fn irq_save(&self) -> IrqState {
        IrqState(irq::save())
    }

    #[inline]
    fn irq_restore(&self, state: IrqState) {
        irq::restore(state.0);
    }

    #[inline]
    fn relax(&self) {
        // SAFETY: a hint.
        unsafe { asm!("yield", options(nomem, nostack, preserves_flags)) };
    }
}

/// The CPUs of one machine, with `T` as the scheduler.
#[derive(Debug)]
pub struct Machine<T> {
    caps: Caps,
    nr_cpus: usize,
    empty: Pfn,
    threads: PhantomData<fn() -> T>,
}

impl<T> Machine<T> {
    /// A machine of `nr_cpus` CPUs that all can do `caps`. Context: the linear map is in place.
    pub fn new(caps: Caps, nr_cpus: usize) -> Self {
        Self { caps, nr_cpus, empty: boot::empty_root(), threads: PhantomData }
    }

    /// A word of RAM: a descriptor, or part of a frame that is looked at past its mappings.
    #[inline]
    fn cell(at: PhysAddr) -> &'static AtomicU64 {
        let va = LINEAR_BASE.0 + at.0;
        debug_assert!(va.is_multiple_of(8));
        // SAFETY: RAM is mapped linearly for good, the word is aligned, and words that are shared
        // are accessed as atomics only, by software through here and by the walker.
        unsafe { AtomicU64::from_ptr(va as *mut u64) }
    }

    #[inline]
    fn frame(pfn: Pfn) -> u64 {
        LINEAR_BASE.0 + pfn.base().0
    }

    #[inline]
    fn set_user(root: Pfn, asid: Asid) {
        // What the caller noted about the switch must not sink below it; the register write alone
        // is nothing to the compiler.
        compiler_fence(Ordering::SeqCst);
        TTBR0_EL1.set(u64::from(asid.0) << 48 | root.base().0);
        cpu::isb(cpu::SY);
    }
}

impl<T> Cpu for Machine<T> {
    #[inline]
    fn id(&self) -> CpuId {
        LocalCpu.id()
    }

    #[inline]
    fn irq_save(&self) -> IrqState {
        LocalCpu.irq_save()
    }

    #[inline]
    fn irq_restore(&self, state: IrqState) {
        LocalCpu.irq_restore(state);
    }

    #[inline]
    fn relax(&self) {
        LocalCpu.relax();
    }
}

impl<T: Threads> Wait for Machine<T> {
    fn wait(&self, key: WaitKey, ready: &mut dyn FnMut() -> bool) {
        T::wait(key, ready);
    }

    fn wake(&self, key: WaitKey) {
        T::wake(key);
    }

    fn yield_now(&self) {
        T::yield_now();
        // And to other CPUs, where an emulator runs them all on one thread of the host.
        self.relax();
    }
}

impl<T: Threads> Hardware for Machine<T> {
    #[inline]
    fn caps(&self) -> &Caps {
        &self.caps
    }

    #[inline]
    fn nr_cpus(&self) -> usize {
        self.nr_cpus
    }

    #[inline]
    fn load(&self, slot: Slot) -> u64 {
        Self::cell(slot.0).load(Ordering::Acquire)
    }

    #[inline]
    fn store(&self, slot: Slot, word: u64) {
        Self::cell(slot.0).store(word, Ordering::Release);
    }

    #[inline]
    fn swap(&self, slot: Slot, word: u64) -> u64 {
        Self::cell(slot.0).swap(word, Ordering::Release)
    }

    #[inline]
    fn compare_exchange(&self, slot: Slot, old: u64, new: u64) -> Result<(), u64> {
        let (success, failure) = (Ordering::Release, Ordering::Relaxed);
        Self::cell(slot.0).compare_exchange(old, new, success, failure).map(|_| ())
    }

    #[inline]
    fn fill(&self, first: Slot, n: usize, word: u64, step: u64) {
        debug_assert!(first.0.0 % abi::PAGE_SIZE + 8 * n as u64 <= abi::PAGE_SIZE);
        // SAFETY: the table is the caller's alone, says the trait, and RAM is mapped linearly.
        unsafe { frames::fill(LINEAR_BASE.0 + first.0.0, n, word, step) };
    }

    #[inline]
    fn peek(&self, at: PhysAddr) -> u64 {
        Self::cell(at).load(Ordering::Relaxed)
    }

    #[inline]
    fn poke(&self, at: PhysAddr, value: u64) {
        Self::cell(at).store(value, Ordering::Relaxed);
    }

    #[inline]
    fn zero(&self, pfn: Pfn, order: Order) {
        // SAFETY: the caller owns the block, says the trait; RAM is mapped linearly.
        unsafe { frames::zero(Self::frame(pfn), order.bytes()) };
    }

    #[inline]
    fn copy(&self, from: Pfn, to: Pfn, order: Order) {
        // SAFETY: as in `zero`; two blocks of one order are the same or do not overlap, and the
        // caller owns one of them.
        unsafe { frames::copy(Self::frame(from), Self::frame(to), order.bytes()) };
    }

    fn make_executable(&self, pfn: Pfn, order: Order) {
        let range = VirtRange::from_size(VirtAddr(Self::frame(pfn)), order.bytes());
        cache::synchronize_text(range, &self.caps);
    }

    #[inline(always)]
    fn tlbi(&self, op: Tlbi) {
        tlbi::execute(op, &self.caps);
    }

    #[inline]
    fn publish(&self, scope: Scope) {
        barrier::publish(scope);
    }

    #[inline]
    fn complete(&self, scope: Scope) {
        barrier::complete(scope);
    }

    #[inline]
    fn synchronize_context(&self) {
        barrier::synchronize_context();
    }

    #[inline]
    fn switch_user(&self, root: Pfn, asid: Asid) {
        Self::set_user(root, asid);
    }

    #[inline]
    fn switch_user_off(&self) {
        Self::set_user(self.empty, Asid(0));
    }
}
