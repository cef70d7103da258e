//! Epochs of lockless page-table walkers.
//!
//! A broadcast TLBI stops the hardware's walkers and says nothing to software that has just loaded
//! a table pointer. Linux waits for that software with RCU or with an interrupt to every CPU; here
//! each CPU publishes a counter that is odd while it walks, and whoever has unlinked a table waits
//! for the counters that were odd to move on. Nobody is interrupted, and when nobody walks (nearly
//! always) the wait is a few loads.
//!
//! # Why it is right
//! A walker stores *odd*, executes a full fence, then loads tables. A reclaimer unlinks the table,
//! executes a full fence, then loads the counters. The two fences are ordered: either the reclaimer
//! sees *odd* and waits for the walker to leave, or the walker sees the table unlinked. The walker's
//! last access comes before its release store of *even*, which the reclaimer acquires.

use crate::atomic::{AtomicU64, Ordering};
use crate::cpu::{Cpu, IrqState};
use crate::mutant::{Mutant, fence, order};
use alloc::boxed::Box;

/// One CPU's counter on a cache line (and its prefetched neighbour) of its own.
#[repr(align(128))]
struct Epoch(AtomicU64);

/// The walkers of one memory manager.
pub struct Walkers {
    epochs: Box<[Epoch]>,
}

impl Walkers {
    /// Nobody walks on any of `nr_cpus` CPUs. Allocates: at boot.
    pub fn new(nr_cpus: usize) -> Self {
        Self { epochs: (0..nr_cpus).map(|_| Epoch(AtomicU64::new(0))).collect() }
    }

    /// Begins a walk: until the guard is dropped no table that was reachable is freed or reused.
    ///
    /// Interrupts are masked meanwhile, so the walk must be short and must not block. Does not nest.
    #[inline]
    pub fn enter<'a, C: Cpu>(&'a self, cpu: &'a C) -> WalkGuard<'a, C> {
        let irq = cpu.irq_save();
        let epoch = &self.epochs[cpu.id().index()].0;
        let now = epoch.load(Ordering::Relaxed);
        debug_assert!(now.is_multiple_of(2), "walks do not nest");
        epoch.store(now.wrapping_add(1), Ordering::Relaxed);
        fence(Mutant::WalkUnfenced);
        WalkGuard { epoch, now: now.wrapping_add(2), cpu, irq }
    }

    /// Waits until each walk that may have begun before this call has ended.
    ///
    /// Context: any that may spin for the length of a walk; not inside a walk. Returns whether
    /// anybody had to be waited for.
    #[doc(alias("synchronize_rcu", "tlb_remove_table_sync_one"))]
    pub fn synchronize<C: Cpu>(&self, cpu: &C) -> bool {
        fence(Mutant::SynchronizeUnfenced);
        let acquire = order(Ordering::Acquire, Mutant::SynchronizeRelaxed);
        let mut waited = false;
        for Epoch(epoch) in &self.epochs {
            let seen = epoch.load(acquire);
            if seen.is_multiple_of(2) {
                continue;
            }
            waited = true;
            while epoch.load(acquire) == seen {
                cpu.relax();
            }
        }
        waited
    }
}

/// Having this means: tables seen since it was made stay tables.
pub struct WalkGuard<'a, C: Cpu> {
    epoch: &'a AtomicU64,
    now: u64,
    cpu: &'a C,
    irq: IrqState,
}

impl<C: Cpu> Drop for WalkGuard<'_, C> {
    #[inline]
    fn drop(&mut self) {
        self.epoch.store(self.now, order(Ordering::Release, Mutant::WalkEndRelaxed));
        self.cpu.irq_restore(self.irq);
    }
}
