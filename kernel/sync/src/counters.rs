//! Per-CPU event counters: each CPU adds to its own cache lines, readers sum them up.

use crate::atomic::{AtomicU64, Ordering};
use abi::{CpuId, Event};
use alloc::boxed::Box;

#[repr(align(128))]
struct Row([AtomicU64; Event::COUNT]);

/// A set of counters, one per event and CPU. They only grow, and wrap after 2^64.
#[doc(alias("vm_event_state", "vmstat"))]
pub struct Counters {
    rows: Box<[Row]>,
}

impl Counters {
    /// All zero, for `nr_cpus` CPUs. Allocates: at boot, where running out is the end anyway.
    pub fn new(nr_cpus: usize) -> Self {
        let row = |_| Row(core::array::from_fn(|_| AtomicU64::new(0)));
        Self { rows: (0..nr_cpus).map(row).collect() }
    }

    /// Counts `n` of `event` on behalf of `cpu`. Exact also if the thread moves in between.
    #[doc(alias = "count_vm_events")]
    #[inline]
    pub fn add(&self, cpu: CpuId, event: Event, n: u64) {
        self.rows[cpu.index()].0[event as usize].fetch_add(n, Ordering::Relaxed);
    }

    /// What was counted on behalf of `cpu`, by [`Event`]'s numbers. Stable only while `cpu` counts
    /// nothing, as when it is the one that asks.
    pub fn of(&self, cpu: CpuId) -> [u64; Event::COUNT] {
        let row = &self.rows[cpu.index()].0;
        core::array::from_fn(|event| row[event].load(Ordering::Relaxed))
    }

    /// The sum over all CPUs; a snapshot per CPU, not across them.
    pub fn total(&self, event: Event) -> u64 {
        self.rows.iter().map(|row| row.0[event as usize].load(Ordering::Relaxed)).sum()
    }
}
