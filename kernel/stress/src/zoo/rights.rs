//! Rights of the kernel's own memory, which has two addresses.

use super::{Exhibit, Place};
use mm::mutant::Mutant;

/// These.
pub(super) const EXHIBITS: &[Exhibit] = &[
    Exhibit {
        mutant: Mutant::VmapHullShort,
        found: "2023, 8e41f8726dcf: of the pages' addresses in the linear map, the hull to flush ended where \
            the last page begins. In Linux since the memory of modules and BPF programs is given back so \
            (868b104d7379, 2019).",
        lanes: &["CPU 0", "CPU 1", "TLB of CPU 1"],
        steps: &[
            (0, "code in frame F: its linear address L is read-only"),
            (1, "reads F by L"),
            (2, "keeps L -> F, read-only"),
            (0, "frees the code: closes L, flushes up to L"),
            (0, "opens L again, to read and to write; frees F"),
            (1, "is given F, writes by L"),
            (2, "answers: read-only"),
            (1, "dies of a fault in the kernel's half"),
        ],
        rule: "What is given back has the rights of all memory, in the tables and in every TLB.",
        prevents: "Each page that was closed is one of the ranges that the one flush reaches, the last like the \
            others.",
        place: Place {
            file: "kernel/mm/src/vmalloc/permission/reset.rs",
            function: "reset_rights",
        },
    },
    Exhibit {
        mutant: Mutant::AliasErrorDropped,
        found: "Linux's set_memory_ro on arm64 changed the linear map without a look at what that returned; a \
            split that failed went by unheard.",
        lanes: &["CPU 0", "CPU 1"],
        steps: &[
            (0, "set_memory_ro: the linear map has frame F in a block"),
            (0, "no memory to split it; drops the error"),
            (0, "makes the area read-only, returns success"),
            (1, "writes F by its linear address"),
            (0, "trusts in what it reads"),
        ],
        rule: "A change of rights holds by every address of the frame, or it is an error and nothing has changed.",
        prevents: "Each frame gets a leaf of its own in the linear map before anything is changed; what fails there \
            is returned.",
        place: Place { file: "kernel/mm/src/vmalloc/permission/mod.rs", function: "set_memory" },
    },
    Exhibit {
        mutant: Mutant::LinearSplitInUse,
        found: "Derived from the architecture's text. Linux mapped the linear map by pages wherever rights may \
            change, until CPUs that promise no conflict abort could be told from others (a166563e7ec3, 2025).",
        lanes: &["CPU 0", "CPU 1", "TLB of CPU 1"],
        steps: &[
            (1, "reads by the linear map"),
            (2, "keeps a block of 2 MiB"),
            (0, "stores a table of pages over the block"),
            (2, "adds a page of the same memory"),
            (1, "reads: two translations match"),
            (2, "a conflict abort, or a blend of both"),
        ],
        rule: "A block becomes a table by way of nothing, flushed in between, but on CPUs that say that they stand \
            both sizes and never abort for it.",
        prevents: "On other CPUs the block stays, and the change of rights is refused.",
        place: Place { file: "kernel/mm/src/vmalloc/permission/alias.rs", function: "split_block" },
    },
    Exhibit {
        mutant: Mutant::ExecStaleIcache,
        found: "What every compiler at run time must not forget on Arm: data and instructions have caches of their \
            own, and they meet further out.",
        lanes: &["CPU 0", "CPU 1", "its caches"],
        steps: &[
            (1, "ran code in frame F once"),
            (2, "keep its instructions"),
            (0, "is given F, writes other code"),
            (0, "makes it executable; no maintenance"),
            (1, "calls it"),
            (2, "answer with what was there before"),
        ],
        rule: "Between the last store of an instruction and its first fetch: clean the data cache to where both meet, \
            wait, invalidate the instruction caches, wait, and synchronise the context of who runs it.",
        prevents: "Sealing does so, while the pages can neither be written nor executed.",
        place: Place { file: "kernel/mm/src/vmalloc/permission/mod.rs", function: "set_memory" },
    },
];
