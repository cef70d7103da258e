//! Memory that is given back while somebody may still reach it.

use super::{Exhibit, Place};
use mm::mutant::Mutant;

const RULE: &str = "A frame has no owner's leave to be used again before no TLB can lead to it: cleared, \
    made visible to walkers, invalidated on every CPU that may have it, waited for, and then freed.";
const GATHER: &str = "kernel/mm/src/tlb/gather.rs";

pub(super) const EXHIBITS: &[Exhibit] = &[
    Exhibit {
        mutant: Mutant::UnmapNoTlbi,
        found: "The plainest of its kind: every kernel's porters have met it. An emulator may hide it, for \
            its TLB is small and is emptied often.",
        lanes: &["CPU 0", "CPU 1", "TLB of CPU 1"],
        steps: &[
            (1, "reads page P"),
            (2, "keeps P -> frame F"),
            (0, "munmap: clears the entry"),
            (0, "frees F; no TLBI"),
            (0, "maps F elsewhere, writes a secret"),
            (1, "reads P"),
            (2, "answers from what it kept"),
            (1, "reads the secret"),
        ],
        rule: RULE,
        prevents: "What was cleared has one TLBI for its hull before anything is freed.",
        place: Place { file: GATHER, function: "invalidate" },
    },
    Exhibit {
        mutant: Mutant::UnmapLocalTlbi,
        found: "What remains when code for one CPU meets a second one. On Arm the difference is two letters: \
            an operation without IS ends at its own CPU.",
        lanes: &["CPU 0", "CPU 1", "TLB of CPU 1"],
        steps: &[
            (1, "reads page P"),
            (2, "keeps P -> frame F"),
            (0, "munmap: clears the entry, DSB"),
            (0, "TLBI VAE1: this CPU only"),
            (0, "DSB; frees F"),
            (1, "writes P"),
            (2, "answers from what it kept"),
            (1, "has written to the next owner's memory"),
        ],
        rule: RULE,
        prevents: "The operation names the inner shareable domain, so that each CPU hears it, unless the \
            space has never run on another one.",
        place: Place { file: GATHER, function: "broadcast" },
    },
    Exhibit {
        mutant: Mutant::FreeBeforeFlush,
        found: "Why Linux has mmu_gather at all: pages are collected while entries are cleared, and given \
            back after the flush. A driver's pages had it again as CVE-2022-39188 (fixed 2022, b67fbebd4cf9): \
            their owner took them back after unmap and before the merged flush.",
        lanes: &["CPU 0", "CPU 1", "CPU 2"],
        steps: &[
            (2, "reads page P: its TLB has P -> F"),
            (0, "munmap: clears the entry"),
            (0, "frees F"),
            (1, "gets F, writes its data"),
            (2, "reads P: sees CPU 1's data"),
            (0, "TLBI, DSB: too late"),
        ],
        rule: RULE,
        prevents: "A gather holds what it took out until its flush is complete.",
        place: Place { file: GATHER, function: "flush" },
    },
    Exhibit {
        mutant: Mutant::TablesLastLevel,
        found: "The PTE table freed before the walk caches were: huge ioremap, thread of 2018 \
            (e3e288121408, b6bdb7517c3d are of its family). arm64 frees a kernel's table only after an operation \
            that reaches walk caches, and so does this with a program's.",
        lanes: &["CPU 0", "CPU 1", "walker of CPU 1"],
        steps: &[
            (1, "reads page P"),
            (2, "keeps: the PMD leads to table T"),
            (0, "munmap: clears T's entries, unlinks T"),
            (0, "TLBI VALE1IS: leaves only; the walk cache stays"),
            (0, "frees T; it becomes a page of data"),
            (2, "speculates: reads a descriptor from T"),
            (2, "takes data for an address"),
            (1, "reads or writes any memory"),
        ],
        rule: "A table is freed only after an invalidation that reaches walk caches (not the last-level \
            kind), and after lockless walkers have left.",
        prevents: "Whoever has unlinked a table asks for all levels.",
        place: Place { file: GATHER, function: "broadcast" },
    },
];
