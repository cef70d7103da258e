//! Kernel addresses whose translations are still there when somebody has been told that they are gone.

use super::{Exhibit, Place};
use mm::mutant::Mutant;

const RULE: &str = "When the alias flush returns, no CPU has a translation of anything that was unmapped before it began.";

pub(super) const EXHIBITS: &[Exhibit] = &[
    Exhibit {
        mutant: Mutant::VmapFullBlockForgotten,
        found: "2023, fc1e0d980037: vm_unmap_aliases went through the lists of blocks that have room. A block \
            without any is on no list, and what was unmapped in it stayed cached. In Linux since 2.6.28 \
            (db64fe02258f).",
        lanes: &["CPU 0", "CPU 1", "TLB of CPU 1"],
        steps: &[
            (0, "maps F in the last room of a block: it leaves the list"),
            (1, "reads F through it"),
            (2, "keeps the alias -> F, writable"),
            (0, "unmaps it; the flush is for later"),
            (0, "vm_unmap_aliases: no list has the block"),
            (0, "makes F read-only, or code, and trusts in that"),
            (1, "writes F through the alias"),
        ],
        rule: RULE,
        prevents: "The flush visits the index of all blocks; queues are for who looks for room.",
        place: Place { file: "kernel/mm/src/vmalloc/block/collect.rs", function: "collect_blocks" },
    },
    Exhibit {
        mutant: Mutant::VmapFlushOvertaken,
        found: "The same series, a09fad96ffb1: what is dirty is taken and reset under a lock that has to be held \
            until the flush is complete. Let go of it in between, and a second caller finds nothing to do.",
        lanes: &["CPU 0", "CPU 1", "TLB of CPU 2"],
        steps: &[
            (2, "keeps an alias of F"),
            (0, "vm_unmap_aliases: takes the dirty range, resets it"),
            (1, "vm_unmap_aliases: finds nothing dirty"),
            (1, "returns; frees F to somebody"),
            (2, "still leads to F"),
            (0, "TLBI, DSB: too late for CPU 1"),
        ],
        rule: "Whoever finds a flush taken by another waits for it.",
        prevents: "Collecting, flushing and returning are under one sleeping lock.",
        place: Place { file: "kernel/mm/src/vmalloc/purge.rs", function: "unmap_aliases" },
    },
    Exhibit {
        mutant: Mutant::VmapBlockInLimbo,
        found: "Found here, by trying each place to intrude. A block whose last piece comes back leaves the index, and \
            becomes lazy a few steps later; whoever flushes between the two finds it in neither.",
        lanes: &["CPU 0", "CPU 1", "TLB of CPU 2"],
        steps: &[
            (1, "unmaps F in block B; the flush is for later"),
            (2, "keeps the alias -> F"),
            (0, "unmaps the last piece of B: all of it is dirty"),
            (0, "takes B out of the index"),
            (1, "vm_unmap_aliases: B is not in the index, not lazy"),
            (1, "returns; trusts that F has no alias"),
            (0, "B becomes lazy: too late for CPU 1"),
        ],
        rule: RULE,
        prevents: "A block is lazy first, and then leaves the index.",
        place: Place { file: "kernel/mm/src/vmalloc/block/map.rs", function: "block_release" },
    },
];
