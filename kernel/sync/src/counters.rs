//! Per-CPU event counters: each CPU adds to its own cache lines, readers sum them up.

use crate::atomic::{AtomicU64, Ordering};
use abi::{CpuId, Event, MAX_CPUS};
use alloc::boxed::Box;

/// One CPU's. As large as it is aligned, so that finding it is a shift.
#[repr(align(512))]
struct Row([AtomicU64; Event::COUNT]);

impl Row {
    /// What was counted of an event, as itself or as part of others.
    fn of(&self, event: Event) -> u64 {
        let counted = |event: &Event| self.0[*event as usize].load(Ordering::Relaxed);
        event.wholes().iter().map(counted).fold(counted(&event), u64::wrapping_add)
    }
}

/// A set of counters, one per event and CPU. They only grow, and wrap after 2^64.
#[doc(alias("vm_event_state", "vmstat"))]
pub struct Counters {
    /// As many as there can be CPUs: so no index is out of range, and none need be compared.
    rows: Box<[Row; MAX_CPUS]>,
}

const _: () = assert!(size_of::<Row>() == 512 && MAX_CPUS.is_power_of_two());

impl Counters {
    /// All zero. Allocates: at boot, where running out is the end anyway.
    pub fn at_zero() -> Self {
        let row = |_| Row(core::array::from_fn(|_| AtomicU64::new(0)));
        // Row by row: as one value it would come by way of the stack.
        let rows: Box<[Row]> = (0..MAX_CPUS).map(row).collect();
        match rows.try_into() {
            Ok(rows) => Self { rows },
            Err(_) => unreachable!("there are as many as asked for"),
        }
    }

    #[inline]
    fn row(&self, cpu: CpuId) -> &Row {
        &self.rows[cpu.index() % MAX_CPUS]
    }

    /// Counts `n` of `event` on behalf of `cpu`. Exact also if the thread moves in between.
    #[doc(alias = "count_vm_events")]
    #[inline]
    pub fn add(&self, cpu: CpuId, event: Event, n: u64) {
        self.row(cpu).0[event as usize].fetch_add(n, Ordering::Relaxed);
    }

    /// What was counted on behalf of `cpu`, by [`Event`]'s numbers. Stable only while `cpu` counts
    /// nothing, as when it is the one that asks.
    pub fn of(&self, cpu: CpuId) -> [u64; Event::COUNT] {
        core::array::from_fn(|event| self.row(cpu).of(Event::ALL[event]))
    }

    /// The sum over all CPUs; a snapshot per CPU, not across them.
    pub fn total(&self, event: Event) -> u64 {
        self.rows.iter().map(|row| row.of(event)).fold(0, u64::wrapping_add)
    }
}
