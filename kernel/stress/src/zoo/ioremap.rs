//! Kernel tables that blocks take the place of, and who may still be in them.

use super::{Exhibit, Place};
use mm::mutant::Mutant;

const RULE: &str = "Clear, flush on every CPU for all ASIDs and all levels, wait, and free the table only then. A \
    walk goes on in a table for as long as a walk cache leads there, though no entry below was ever valid.";
const PROMOTE: &str = "kernel/mm/src/vmalloc/promote.rs";

pub(super) const EXHIBITS: &[Exhibit] = &[
    Exhibit {
        mutant: Mutant::IoremapFreeFirst,
        found: "The thread of 2018 on huge ioremap, where a whole series of kernels mapped a block over an empty \
            table and freed that first: e3e288121408 and b6bdb7517c3d stopped them. Of the same family is \
            5e0fb5df2ee8.",
        lanes: &["CPU 0", "CPU 1", "walker of CPU 1"],
        steps: &[
            (1, "used a page of the range once"),
            (2, "keeps: the PMD leads to table T, now empty"),
            (0, "ioremap: clears the PMD"),
            (0, "frees T; no flush yet"),
            (1, "gets T as a page of data"),
            (2, "speculates below T: reads data for descriptors"),
            (0, "stores the block; flushes: too late"),
        ],
        rule: RULE,
        prevents: "Tables that are taken out are chained; they are freed behind the one flush for all of them.",
        place: Place { file: PROMOTE, function: "finish" },
    },
    Exhibit {
        mutant: Mutant::IoremapOneAsid,
        found: "Follows from the architecture's text: the leaves of the kernel's half are global, the walks to them \
            are not. They are kept under the ASID that the CPU ran meanwhile.",
        lanes: &["CPU 0", "CPU 1", "walker of CPU 1"],
        steps: &[
            (1, "runs a program under ASID 7; its kernel uses the range"),
            (2, "keeps, for ASID 7: the PMD leads to table T"),
            (0, "ioremap: clears the PMD, DSB"),
            (0, "TLBI VAE1IS for its own ASID; DSB"),
            (0, "frees T"),
            (2, "still walks in T"),
        ],
        rule: RULE,
        prevents: "Operations on the kernel's half name no ASID: VAAE1IS.",
        place: Place { file: PROMOTE, function: "finish" },
    },
    Exhibit {
        mutant: Mutant::DumpUnprotected,
        found: "2026, for all architectures (fa93b45fd397 was the first attempt): a dump of the kernel's tables walks \
            without a lock, and a huge mapping frees a table under it. A TLBI says nothing to software.",
        lanes: &["CPU 0", "CPU 1"],
        steps: &[
            (1, "ptdump: reads the PMD, which leads to table T"),
            (0, "ioremap: clears the PMD, flushes, waits"),
            (0, "frees T; it becomes a page of data"),
            (1, "reads T: data for descriptors"),
        ],
        rule: "Whoever walks without locks says so, and whoever frees a table waits for those who do.",
        prevents: "Each slice of a dump is inside a walkers' epoch, and the next begins at the root.",
        place: Place { file: "kernel/mm/src/dump.rs", function: "dump_slice" },
    },
];
