//! Entries that change while somebody goes on with what they were.

use super::{Exhibit, Place};
use mm::mutant::Mutant;

const PRESENT: &str = "kernel/mm/src/entry/present.rs";

pub(super) const EXHIBITS: &[Exhibit] = &[
    Exhibit {
        mutant: Mutant::DontneedFlushLate,
        found: "2017, \"MADV_FREE and MADV_DONTNEED TLB flush miss\" (commonly cited as 99baac21e458): two \
            threads give up the same memory, one of them returns without a flush. Linux counts the flushes that \
            are under way (mm_tlb_flush_nested) and repeats what another one owes.",
        lanes: &["CPU 0", "CPU 1", "CPU 2"],
        steps: &[
            (2, "reads page P: its TLB has P -> F"),
            (0, "MADV_DONTNEED: clears the entry"),
            (0, "releases the table's lock; owes a flush"),
            (1, "MADV_DONTNEED of the same page"),
            (1, "finds nothing, flushes nothing, returns"),
            (1, "tells everybody: P reads as zeros now"),
            (2, "reads P: the old data"),
            (0, "TLBI, DSB: too late for CPU 1's promise"),
        ],
        rule: "When a call returns that gave memory up, no TLB leads to what was there, whoever cleared it.",
        prevents: "The flush is paid before the table's lock is released: who finds nothing finds it flushed.",
        place: Place { file: "kernel/mm/src/space/advise.rs", function: "pay" },
    },
    Exhibit {
        mutant: Mutant::ReplaceSetBeforeFlush,
        found: "2017, a thread on secondary TLBs: after a copy on write the CPU was on the new page and a device \
            still on the old one. Devices need what CPUs need: whoever has the old page loses it before anybody \
            gets the new one.",
        lanes: &["CPU 0", "CPU 1", "TLB of CPU 1"],
        steps: &[
            (1, "reads page P"),
            (2, "keeps P -> old frame A"),
            (0, "write fault: copies A to B"),
            (0, "stores P -> B over the live entry"),
            (0, "writes P: the data is in B"),
            (1, "reads P"),
            (2, "A, or B, or both: a TLB conflict"),
            (1, "reads A's old data after B's"),
            (0, "TLBI, DSB: too late"),
        ],
        rule: "Break before make: an entry's address changes by way of an invalid one, with the TLBI complete \
            before the new one is stored.",
        prevents: "The entry is exchanged for none, flushed, and only then stored.",
        place: Place { file: PRESENT, function: "replace" },
    },
    Exhibit {
        mutant: Mutant::ReplaceNoFlush,
        found: "The same rule's other half: the entry goes through none, and nobody waits for TLBs. \
            Walkers behave, those who have walked before do not.",
        lanes: &["CPU 0", "CPU 1", "TLB of CPU 1"],
        steps: &[
            (1, "reads page P"),
            (2, "keeps P -> old frame A"),
            (0, "write fault: copies A to B"),
            (0, "clears the entry; no TLBI"),
            (0, "stores P -> B, writes P"),
            (1, "reads P"),
            (2, "answers A"),
            (1, "never sees the write"),
        ],
        rule: "Break before make: between the invalid entry and the new one are a DSB, the TLBI, and a DSB.",
        prevents: "The flush of the one address stands between the exchange and the store.",
        place: Place { file: PRESENT, function: "replace" },
    },
    Exhibit {
        mutant: Mutant::ForkNoFlush,
        found: "A classic of copy on write: the tables say read-only and the TLB does not. Its relatives in \
            Linux: 3ea277194daa (2017), where mprotect did not see the flush that reclaim owed.",
        lanes: &["CPU 0", "CPU 1", "TLB of CPU 1"],
        steps: &[
            (1, "writes page P"),
            (2, "keeps P -> F, writable"),
            (0, "fork: P -> F read-only, here and in the child"),
            (0, "returns; no TLBI"),
            (1, "writes P"),
            (2, "answers: writable"),
            (1, "has written into the child's memory"),
        ],
        rule: "When rights are taken away, the call does not return before no TLB has them any more.",
        prevents: "What was narrowed is noted in the parent's gather, which flushes before fork is done.",
        place: Place { file: "kernel/mm/src/space/fork.rs", function: "narrowed" },
    },
    Exhibit {
        mutant: Mutant::GupNoRecheck,
        found: "What every lockless GUP has to do: read the entry, take the reference, read the entry again. \
            70cbc3cc78a9 (2022) added the same for the entry above.",
        lanes: &["CPU 0", "CPU 1"],
        steps: &[
            (0, "GUP-fast: reads P -> F"),
            (1, "munmap: clears the entry, flushes"),
            (1, "frees F"),
            (1, "allocates F for another space"),
            (0, "takes a reference to F; does not look again"),
            (0, "hands out F as page P"),
            (1, "its data is now read by CPU 0's caller"),
        ],
        rule: "A reference counts only if the entry that led to the frame is still there after it was taken.",
        prevents: "The second look, behind a barrier; where it differs the reference is given back.",
        place: Place { file: "kernel/mm/src/gup/fast.rs", function: "confirm_one" },
    },
    Exhibit {
        mutant: Mutant::RolloverNoFlush,
        found: "Derived from how 8- and 16-bit ASIDs are shared out by generations (arm64's asid_map and \
            flush_context): the number returns, and with it what its last owner left in a TLB.",
        lanes: &["CPU 0", "CPU 1", "TLB of CPU 1"],
        steps: &[
            (1, "runs space A as ASID 5"),
            (2, "keeps entries tagged 5"),
            (0, "no number is left: a new generation"),
            (0, "notes that each CPU owes a flush"),
            (1, "switches to space B, which gets 5"),
            (1, "does not flush"),
            (1, "reads an address of B"),
            (2, "answers with A's frame: the tag fits"),
        ],
        rule: "A number is used for a second space on a CPU only after that CPU has dropped what the first \
            one left there.",
        prevents: "Who enters a space in a new generation pays what his CPU owes, before the number is \
            written.",
        place: Place { file: "kernel/mm/src/tlb/asid.rs", function: "activate_asid_slow" },
    },
];
