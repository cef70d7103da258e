//! Bugs of code that is not built yet. They are as well known as the others; here nobody can commit them.

use super::Waiting;

/// All of them.
pub const WAITING: &[Waiting] = &[
    Waiting {
        name: "kernel-map-unsynced",
        about: "a kernel mapping is used, or passed on, before walkers can see all of it",
        waits_for: "mappings of kernel ranges page by page by callback (apply_to_page_range), on error paths too.",
        found: "2ba3e6947aed, and the rule's other face on arm64: 24fe1b0efad4 took the ISB away after a kernel's \
            entry was stored, d0b7a302d58a brought it back. fea18c686320 (2025) returned early and kept the \
            barriers owed.",
        lanes: &["CPU 0", "CPU 1", "walker of CPU 1"],
        steps: &[
            (0, "maps three of four pages; the fourth fails"),
            (0, "returns the error: no DSB for the three, nor for the new table"),
            (0, "passes the address of the first on"),
            (1, "uses it"),
            (2, "finds the entry above empty still"),
            (1, "takes a fault in the kernel's half"),
        ],
        rule: "Whatever was stored to kernel tables is published before the address is anybody's, also where the \
            operation fails half way; and it is never put off in an interrupt.",
    },
    Waiting {
        name: "device-flush-after-set",
        about: "copy on write gives CPUs the new page while a device keeps the old one",
        waits_for: "the notifier, and a device with a TLB of its own.",
        found: "2017, the thread on secondary TLBs and copy on write: the device was told of the change after \
            the new entry was stored. CPU and device wrote to different pages, and neither knew.",
        lanes: &["CPU 0", "device", "its TLB"],
        steps: &[
            (1, "reads page P"),
            (2, "keeps P -> old frame A"),
            (0, "write fault: copies A to B"),
            (0, "clears, flushes CPUs, stores P -> B"),
            (0, "writes P: the data is in B"),
            (1, "reads P: A's data"),
            (0, "tells the device: too late"),
        ],
        rule: "Between the cleared entry and the new one are the flush of the CPUs and that of every device that \
            shares the table, both complete.",
    },
];
