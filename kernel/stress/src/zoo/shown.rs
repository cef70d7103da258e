//! Kernel entries that are used before all can see them.

use super::{Exhibit, Place};
use mm::mutant::Mutant;

const RULE: &str = "Whatever was stored to kernel tables is published before the address is anybody's, also where the \
    operation fails half way; and it is never put off in an interrupt.";
const BARRIERS: &str = "kernel/mm/src/vmalloc/barriers.rs";

pub(super) const EXHIBITS: &[Exhibit] = &[
    Exhibit {
        mutant: Mutant::KernelMapUnsynced,
        found: "2025, fea18c686320: barriers were put off while a flag of the task said so, and an early return left it \
            set. The rule's other face: 24fe1b0efad4 took the ISB away after a kernel's entry was stored, \
            d0b7a302d58a brought it back.",
        lanes: &["CPU 0", "walker of CPU 0"],
        steps: &[
            (0, "apply_to_page_range: begins to put barriers off"),
            (0, "maps two of five pages; the third fails"),
            (0, "returns the error: no DSB, and still puts off"),
            (1, "looks at a page ahead: nothing is there"),
            (0, "maps the page; no DSB, no ISB"),
            (0, "uses it: a fault in the kernel's half"),
        ],
        rule: RULE,
        prevents: "Who stores kernel entries has a scope, and a scope pays when it goes, on every path.",
        place: Place { file: BARRIERS, function: "failed" },
    },
    Exhibit {
        mutant: Mutant::BarriersLeftToInterrupted,
        found: "2025, the fix of 5fdd05efa1cd: an interrupt changed a kernel entry for debugging, while the task it had \
            come upon put its barriers off; so the interrupt's were put off as well.",
        lanes: &["thread", "interrupt", "walker"],
        steps: &[
            (0, "vmap: stores the first entry, owes a barrier"),
            (1, "comes; maps a page, leaves the barrier owed"),
            (2, "has looked at the page before: nothing there"),
            (1, "uses the page: a fault"),
            (0, "would have paid now"),
        ],
        rule: RULE,
        prevents: "A scope is a value of whoever maps: an interrupt has its own, and no way to another's.",
        place: Place { file: BARRIERS, function: "drop" },
    },
    Exhibit {
        mutant: Mutant::KernelSyncSkipsError,
        found: "2020, 2ba3e6947aed and its series: where each space has the kernel's upper tables in a copy, walks keep \
            a mask of the levels that they changed, and synchronise if it says so. Error paths and a walk without the \
            mask left copies behind.",
        lanes: &["CPU 0", "CPU 1, in space B"],
        steps: &[
            (0, "apply_to_page_range: links a first-level entry"),
            (0, "maps two pages; the third fails"),
            (0, "returns the error; B's copy has no entry"),
            (0, "passes the address of the first page on"),
            (1, "uses it: B leads nowhere"),
        ],
        rule: "Whoever links an entry of a level that is copied brings it to all copies before the address is anybody's, \
            and so does who finds it linked and not yet brought.",
        prevents: "The scope that pays the barriers knows the levels, and copies first, on every path.",
        place: Place { file: BARRIERS, function: "failed" },
    },
];
