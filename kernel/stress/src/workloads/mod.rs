//! The workloads, one file each.

mod asid_rollover;
mod fault;
mod gup_vs_unmap;
mod oom;
mod shared;
mod unmap_shootdown;

use crate::run::{Failure, Run};
use crate::world::World;

/// What a workload does; it has the second argument called now and then while CPUs work.
pub type Work<W> = fn(&Run<'_, W>, &mut dyn FnMut()) -> Result<(), Failure>;

/// A workload by name.
pub struct Workload<W: World> {
    /// What the user types.
    pub name: &'static str,
    /// What it does, in a line.
    pub about: &'static str,
    /// Does it.
    pub run: Work<W>,
}

/// How many there are.
pub const COUNT: usize = 6;

/// Every workload, in the order in which `stress all` runs them.
pub const fn all<W: World>() -> [Workload<W>; COUNT] {
    [
        Workload {
            name: "fault-4k",
            about: "touch, verify and unmap 4 KiB pages in one space on all CPUs",
            run: fault::small,
        },
        Workload {
            name: "fault-thp",
            about: "touch huge pages, unmap parts of them, verify the rest",
            run: fault::huge,
        },
        Workload {
            name: "unmap-shootdown",
            about: "one CPU unmaps and reuses frames while others read through the same space",
            run: unmap_shootdown::run,
        },
        Workload {
            name: "gup-vs-unmap",
            about: "lockless references to pages that another CPU unmaps",
            run: gup_vs_unmap::run,
        },
        Workload {
            name: "asid-rollover",
            about: "more spaces than ASIDs, each must see its own memory",
            run: asid_rollover::run,
        },
        Workload {
            name: "oom",
            about: "use up all memory, be refused cleanly, give it back, again",
            run: oom::run,
        },
    ]
}
