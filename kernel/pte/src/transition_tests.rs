use super::*;
use crate::granule::{K16, K64};
use crate::{DeviceAccess, Marker, any};
use abi::{Pfn, Prot};
use proptest::prelude::*;
use std::vec::Vec;

/// Aligned to whatever a leaf maps, in every granule.
const PFN: Pfn = Pfn(0x14_0000);
const OTHER: Pfn = Pfn(0x18_0000);

/// Rows are what was there, columns what is stored. A letter names what is wrong: Corrupt,
/// Over corrupt, table over Leaf, Migration over leaf, Invalidated no leaf, over Table, other
/// Kind of migration; a dot is right. "Other" is of other memory than the rest.
const PMDS: &str = "
            none table other-table leaf other-leaf invalid other-invalid protnone R RE W other-W private bad
none          .    .        .       .       .         I          I          .     . .  .    .       .     C
table         .    .        T       T       T         I          I          T     T T  T    T       T     C
leaf          .    L        L       .       .         .          I          .     M M  M    M       .     C
invalid       .    .        .       .       .         .          I          .     . .  .    .       .     C
protnone      .    .        .       .       .         .          I          .     . .  .    .       .     C
R             .    .        .       .       .         I          I          .     . K  K    K       .     C
RE            .    .        .       .       .         I          I          .     . .  K    K       .     C
W             .    .        .       .       .         I          I          .     . .  .    K       .     C
private       .    .        .       .       .         I          I          .     . .  .    .       .     C
bad           .    O        O       O       O         O          O          O     O O  O    O       O     C
";

const PTES: &str = "
            none leaf other-leaf invalid other-invalid protnone R RE W other-W private swap marker poison bad
none          .   .       .         I          I          .     . .  .    .       .      .    .      .     C
leaf          .   .       .         .          I          .     M M  M    M       .      .    .      .     C
invalid       .   .       .         .          I          .     . .  .    .       .      .    .      .     C
protnone      .   .       .         .          I          .     . .  .    .       .      .    .      .     C
R             .   .       .         I          I          .     . K  K    K       .      .    .      .     C
RE            .   .       .         I          I          .     . .  K    K       .      .    .      .     C
W             .   .       .         I          I          .     . .  .    K       .      .    .      .     C
swap          .   .       .         I          I          .     . .  .    .       .      .    .      .     C
marker        .   .       .         I          I          .     . .  .    .       .      .    .      .     C
poison        .   .       .         I          I          .     . .  .    .       .      .    .      .     C
bad           .   O       O         O          O          O     O O  O    O       O      O    O      O     C
";

fn word<G: Granule>(level: Level, name: &str, dirty: bool) -> u64 {
    let user = |pfn, prot| any::Leaf::<G>::user(level, pfn, prot);
    let leaf = |pfn| {
        let leaf = user(pfn, Prot::ReadWrite);
        if dirty { leaf.made_dirty() } else { leaf.made_old() }
    };
    let migration = |pfn, kind| Soft::Migration { pfn, kind, young: true, dirty, uffd_wp: false };
    let soft = match name {
        "none" => return 0,
        "table" => return any::Table::<G>::new(PFN).word(),
        "other-table" => return any::Table::<G>::new(OTHER).word(),
        "leaf" => return leaf(PFN).word(),
        "other-leaf" => return leaf(OTHER).word(),
        "invalid" => return leaf(PFN).invalidated().word(),
        "other-invalid" => return leaf(OTHER).invalidated().word(),
        "protnone" => return user(PFN, Prot::None).word(),
        "bad" => return 1 << 11,
        "R" => migration(PFN, MigrationKind::Read),
        "RE" => migration(PFN, MigrationKind::ReadExclusive),
        "W" => migration(PFN, MigrationKind::Write),
        "other-W" => migration(OTHER, MigrationKind::Write),
        "private" => Soft::DevicePrivate { pfn: PFN, access: DeviceAccess::Write, uffd_wp: false },
        "swap" => Soft::Swap { device: 0, offset: 9, exclusive: dirty, uffd_wp: false },
        "marker" => Soft::Marker(Marker { guard: true, ..Marker::default() }),
        "poison" => Soft::HwPoison { pfn: PFN },
        _ => panic!("{name}"),
    };
    soft.encode_in::<G>(level)
}

fn judge<G: Granule>(level: Level, table: &str) {
    let mut lines = table.lines().filter(|line| !line.trim().is_empty());
    let columns: Vec<&str> = lines.next().expect("columns").split_whitespace().collect();
    for line in lines {
        let row: Vec<&str> = line.split_whitespace().collect();
        let (old, verdicts) = row.split_first().expect("a row");
        assert_eq!(verdicts.len(), columns.len());
        for (new, verdict) in columns.iter().zip(verdicts) {
            let expected = match *verdict {
                "." => Ok(()),
                "C" => Err(Illegal::Corrupt),
                "O" => Err(Illegal::OverCorrupt),
                "L" => Err(Illegal::TableOverLeaf),
                "M" => Err(Illegal::MigrationOverLeaf),
                "I" => Err(Illegal::InvalidatedNoLeaf),
                "T" => Err(Illegal::OverTable),
                "K" => Err(Illegal::OtherMigration),
                _ => panic!("{verdict}"),
            };
            for (was, is) in [(false, false), (false, true), (true, false), (true, true)] {
                let (from, to) = (word::<G>(level, old, was), word::<G>(level, new, is));
                let found = transition_in::<G>(level, from, to);
                assert_eq!(found, expected, "{old} to {new} at {level}: {from:#x} to {to:#x}");
            }
        }
    }
}

#[test]
fn transitions_of_pmds() {
    judge::<K4>(Level::Pmd, PMDS);
    judge::<K16>(Level::Pmd, PMDS);
    judge::<K64>(Level::Pmd, PMDS);
}

#[test]
fn transitions_of_ptes() {
    judge::<K4>(Level::Pte, PTES);
    judge::<K16>(Level::Pte, PTES);
    judge::<K64>(Level::Pte, PTES);
}

#[test]
fn the_mark_of_an_invalid_leaf_makes_no_mapping_of_anything_else() {
    for old in ["none", "table", "R", "RE", "W", "private"] {
        let word = word::<K4>(Level::Pmd, old, true);
        let marked = word & !1 | 1 << 11;
        assert_eq!(transition(Level::Pmd, word, marked), Err(Illegal::Corrupt), "{old}");
    }
}

#[test]
fn a_table_may_be_marked_as_used() {
    let table = word::<K4>(Level::Pmd, "table", false);
    assert_eq!(transition(Level::Pmd, table & !(1 << 10), table), Ok(()));
    assert_eq!(transition(Level::Pgd, table, 0), Ok(()));
}

#[test]
fn each_reason_in_words() {
    let all = [
        Illegal::Corrupt,
        Illegal::OverCorrupt,
        Illegal::TableOverLeaf,
        Illegal::MigrationOverLeaf,
        Illegal::InvalidatedNoLeaf,
        Illegal::OverTable,
        Illegal::OtherMigration,
    ];
    let mut words = all.map(|illegal| std::format!("{illegal}"));
    assert_eq!(words[2], "a table over a live leaf");
    words.sort();
    assert!(words.windows(2).all(|pair| pair[0] != pair[1]));
}

proptest! {
    // Whatever was there, only a right step leads to a word that decodes, and zero always does.
    #[test]
    fn every_pair_of_words_is_judged(
        level in prop::sample::select(&Level::ALL), old: u64, new: u64, low in 0..1u64 << 12,
    ) {
        prop_assert_eq!(transition(level, old, 0), Ok(()));
        let new = new & !0xfff | low;
        let corrupt = matches!(decode_in::<K4>(level, new), Entry::Corrupt(_));
        prop_assert_eq!(transition(level, old, new) == Err(Illegal::Corrupt), corrupt);
    }
}
