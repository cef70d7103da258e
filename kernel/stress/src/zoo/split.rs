//! Entries that change their kind or level: splits, migration entries, new tables.

use super::{Exhibit, Place};
use mm::mutant::Mutant;

pub(super) const EXHIBITS: &[Exhibit] = &[
    Exhibit {
        mutant: Mutant::SplitMigrationMkinvalid,
        found: "arm64, 2024: 3a5a8d343e1c. Splitting a huge PMD called pmdp_invalidate before it asked what the \
            entry was. On a migration entry pmd_mkinvalid sets the mark \"present, invalid for hardware\", and \
            software's word becomes a mapping. It was found by reading, without a reproducer. Here is one.",
        lanes: &["CPU 0", "CPU 1"],
        steps: &[
            (0, "migration: huge PMD becomes a migration entry (no mapping, a note)"),
            (0, "split: marks the entry invalid before it looks what it is"),
            (0, "now the word says: present leaf, at the note's bits"),
            (1, "walks without a lock: takes the note for a mapping"),
            (1, "follows its address bits, to a page that is being moved"),
            (0, "writes the table of 512 entries; the moment is over"),
        ],
        rule: "Only a present leaf may be made invalid; a migration entry goes to a table of migration entries \
            in one step, and no TLB has anything to forget.",
        prevents: "The split asks for the kind first. Here the type does: an invalidation is a method of a \
            present leaf alone, and the bug had to be written around it.",
        place: Place { file: "kernel/mm/src/thp/split_pmd.rs", function: "split_soft" },
    },
    Exhibit {
        mutant: Mutant::SplitNoBreak,
        found: "From the architecture: a block and the pages of the table in its place, in a TLB together, \
            are a conflict on CPUs without FEAT_BBM level 2: an abort, or a mixture of both.",
        lanes: &["CPU 0", "CPU 1", "TLB of CPU 1"],
        steps: &[
            (1, "reads the huge page"),
            (2, "keeps one block of 2 MiB"),
            (0, "split: stores the table over the live block"),
            (1, "reads another address of it"),
            (2, "walks: keeps a page within the block"),
            (1, "two answers for one address: conflict"),
        ],
        rule: "Break before make: a change of size goes by way of an invalid entry and a complete TLBI.",
        prevents: "The block is made invalid, still present for software, and flushed; then the table is \
            linked.",
        place: Place { file: "kernel/mm/src/entry/present.rs", function: "invalidate" },
    },
    Exhibit {
        mutant: Mutant::LinkBeforeZero,
        found: "Derived from what walkers may see late: the table's page is recycled, and full of descriptors of \
            its last life.",
        lanes: &["CPU 0", "CPU 1", "walker of CPU 1"],
        steps: &[
            (0, "takes page T for a table, writes zeros"),
            (0, "links T; no DSB between"),
            (1, "touches an address below T"),
            (2, "sees the link, and not yet the zeros"),
            (2, "walks on into T's last life"),
            (1, "uses a translation that nobody made"),
        ],
        rule: "A table is visible to walkers, zeros and all, before an entry leads to it.",
        prevents: "A DSB between the last word of the table and the entry above it.",
        place: Place { file: "kernel/mm/src/table.rs", function: "link_table" },
    },
];
