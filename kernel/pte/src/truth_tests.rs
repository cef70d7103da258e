//! The truth table: what each raw predicate answers to each kind of entry, and what it decodes to.
//!
//! Expected values are data; words are built, asked and decoded. Each row stands for every setting of
//! what it leaves open: accessed, dirty, userfaultfd's mark, exclusivity. The accessors of a leaf are
//! asked of every word here, also of those that are none: the type system forbids that outside of this
//! crate, and these columns are why.

use super::*;
use crate::bits::{AF, DIRTY, PRESENT_INVALID, RDONLY, UFFD_WP};
use crate::entry::Table;
use crate::granule::{K4, K16, K64, span};
use crate::leaf::Leaf;
use crate::{DeviceAccess, Marker, MigrationKind, Soft};
use abi::{Access, Pfn, Prot};
use std::vec::Vec;

/// Aligned to whatever a leaf maps, in every granule.
const PFN: Pfn = Pfn(0x14_0000);

/// 0 and 1; A and D where the answer is how the entry was built; a dot where the level has no such
/// question. A frame is right ("ok"), 0, or what hardware's field holds of a soft entry ("soft").
const HUGE: &str = "
                      valid PI present table leaf huge bad protnone read write young write dirty pfn
none                |   0   0     0      0    0    0    1     0      0     0     0     0     0    0   | None
table               |   1   0     1      1    0    0    0     0      0     0     A     0     0    ok  | Table
leaf RW clean       |   1   0     1      0    1    1    1     0      1     1     A     1     0    ok  | Leaf
leaf RW dirty       |   1   0     1      0    1    1    1     0      1     1     A     1     1    ok  | Leaf
leaf RW hw-dirty    |   1   0     1      0    1    1    1     0      1     1     A     1     1    ok  | Leaf
leaf RO             |   1   0     1      0    1    1    1     0      1     0     A     0     D    ok  | Leaf
leaf RX             |   1   0     1      0    1    1    1     0      1     0     A     0     D    ok  | Leaf
leaf exec-only      |   1   0     1      0    1    1    1     0      0     0     A     0     D    ok  | Leaf
protnone            |   0   1     1      0    1    1    1     1      0     0     A     0     D    ok  | ProtNone
invalid RW clean    |   0   1     1      0    1    1    1     0      0     0     A     1     0    ok  | PresentInvalid
invalid RW dirty    |   0   1     1      0    1    1    1     0      0     0     A     1     1    ok  | PresentInvalid
invalid RW hw-dirty |   0   1     1      0    1    1    1     0      0     0     A     1     1    ok  | PresentInvalid
invalid RO          |   0   1     1      0    1    1    1     0      0     0     A     0     D    ok  | PresentInvalid
invalid exec-only   |   0   1     1      0    1    1    1     0      0     0     A     0     D    ok  | PresentInvalid
invalid protnone    |   0   1     1      0    1    1    1     1      0     0     A     0     D    ok  | ProtNone
migration R         |   0   0     0      0    0    0    1     0      0     0     1     0     0   soft | Soft
migration RE        |   0   0     0      0    0    0    1     0      0     0     1     0     0   soft | Soft
migration W         |   0   0     0      0    0    0    1     0      0     0     1     0     0   soft | Soft
private R           |   0   0     0      0    0    0    1     0      0     0     1     0     0   soft | Soft
private W           |   0   0     0      0    0    0    1     0      0     0     1     0     0   soft | Soft
bug: migration R    |   0   1     1      0    1    1    1     0      0     0     1     0     0   soft | Corrupt
bug: migration RE   |   0   1     1      0    1    1    1     0      0     0     1     0     0   soft | Corrupt
bug: migration W    |   0   1     1      0    1    1    1     0      0     0     1     0     0   soft | Corrupt
bug: private W      |   0   1     1      0    1    1    1     0      0     0     1     0     0   soft | Corrupt
bug: table          |   0   1     1      0    1    0    1     0      0     0     A     0     0    ok  | Corrupt
bug: none           |   0   1     1      0    1    1    1     0      0     0     0     0     0    0   | Corrupt
";

const SMALL: &str = "
                      valid PI present table leaf huge bad protnone read write young write dirty pfn
none                |   0   0     0      .    .    .    .     0      0     0     0     0     0    0   | None
leaf RW clean       |   1   0     1      .    .    .    .     0      1     1     A     1     0    ok  | Leaf
leaf RW dirty       |   1   0     1      .    .    .    .     0      1     1     A     1     1    ok  | Leaf
leaf RW hw-dirty    |   1   0     1      .    .    .    .     0      1     1     A     1     1    ok  | Leaf
leaf RO             |   1   0     1      .    .    .    .     0      1     0     A     0     D    ok  | Leaf
leaf RX             |   1   0     1      .    .    .    .     0      1     0     A     0     D    ok  | Leaf
leaf exec-only      |   1   0     1      .    .    .    .     0      0     0     A     0     D    ok  | Leaf
protnone            |   0   1     1      .    .    .    .     1      0     0     A     0     D    ok  | ProtNone
invalid RW clean    |   0   1     1      .    .    .    .     0      0     0     A     1     0    ok  | PresentInvalid
invalid RW dirty    |   0   1     1      .    .    .    .     0      0     0     A     1     1    ok  | PresentInvalid
invalid RW hw-dirty |   0   1     1      .    .    .    .     0      0     0     A     1     1    ok  | PresentInvalid
invalid RO          |   0   1     1      .    .    .    .     0      0     0     A     0     D    ok  | PresentInvalid
invalid exec-only   |   0   1     1      .    .    .    .     0      0     0     A     0     D    ok  | PresentInvalid
invalid protnone    |   0   1     1      .    .    .    .     1      0     0     A     0     D    ok  | ProtNone
migration R         |   0   0     0      .    .    .    .     0      0     0     1     0     0   soft | Soft
migration RE        |   0   0     0      .    .    .    .     0      0     0     1     0     0   soft | Soft
migration W         |   0   0     0      .    .    .    .     0      0     0     1     0     0   soft | Soft
private R           |   0   0     0      .    .    .    .     0      0     0     1     0     0   soft | Soft
private W           |   0   0     0      .    .    .    .     0      0     0     1     0     0   soft | Soft
hwpoison            |   0   0     0      .    .    .    .     0      0     0     1     0     0   soft | Soft
device-exclusive    |   0   0     0      .    .    .    .     0      0     0     1     0     0   soft | Soft
marker              |   0   0     0      .    .    .    .     0      0     0     1     0     0   soft | Soft
swap low device     |   0   0     0      .    .    .    .     0      0     0     0     0     0   soft | Soft
swap high device    |   0   0     0      .    .    .    .     0      0     0     1     0     0   soft | Soft
swap far out        |   0   0     0      .    .    .    .     0      0     0     0     1     1   soft | Soft
bug: migration W    |   0   1     1      .    .    .    .     0      0     0     1     0     0   soft | Corrupt
bug: swap           |   0   1     1      .    .    .    .     0      0     0     0     0     0   soft | Corrupt
bug: none           |   0   1     1      .    .    .    .     0      0     0     0     0     0    0   | Corrupt
";

/// What a row leaves open.
#[derive(Clone, Copy, Debug)]
struct Open {
    young: bool,
    dirty: bool,
    uffd_wp: bool,
    exclusive: bool,
}

impl Open {
    fn all() -> impl Iterator<Item = Self> {
        (0..16).map(|n| {
            let bit = |i: u32| n >> i & 1 == 1;
            Self { young: bit(0), dirty: bit(1), uffd_wp: bit(2), exclusive: bit(3) }
        })
    }

    fn soft(self, kind: &str) -> Soft {
        let (pfn, Self { young, dirty, uffd_wp, exclusive }) = (PFN, self);
        let migration = |kind| Soft::Migration { pfn, kind, young, dirty, uffd_wp };
        let private = |access| Soft::DevicePrivate { pfn, access, uffd_wp };
        let swap = |device, offset| Soft::Swap { device, offset, exclusive, uffd_wp };
        match kind {
            "migration R" => migration(MigrationKind::Read),
            "migration RE" => migration(MigrationKind::ReadExclusive),
            "migration W" => migration(MigrationKind::Write),
            "private R" => private(DeviceAccess::Read),
            "private W" => private(DeviceAccess::Write),
            "hwpoison" => Soft::HwPoison { pfn },
            "device-exclusive" => Soft::DeviceExclusive { pfn, uffd_wp },
            "marker" => Soft::Marker(Marker { uffd_wp, poisoned: young, guard: dirty }),
            "swap" | "swap low device" => swap(3, 0x77),
            "swap high device" => swap(19, 0x77),
            "swap far out" => swap(3, 1 << 39 | 1 << 43),
            _ => panic!("no kind of soft entry is called {kind}"),
        }
    }

    /// A leaf with the rights and the dirtiness that `kind` names.
    fn leaf<G: Granule>(self, level: Level, kind: &str) -> Leaf<G> {
        let user = |prot| Leaf::<G>::user(level, PFN, prot);
        let leaf = match kind {
            "RW clean" => user(Prot::ReadWrite),
            "RW dirty" => user(Prot::ReadWrite).made_dirty(),
            "RW hw-dirty" => {
                let written = user(Prot::ReadWrite).word() & !RDONLY;
                Leaf::from_raw(level, if self.dirty { written | DIRTY } else { written })
            }
            "RO" => user(Prot::Read),
            "RX" => user(Prot::ReadExec),
            "exec-only" => user(Prot::Exec),
            "protnone" => user(Prot::None),
            _ => panic!("no leaf is called {kind}"),
        };
        let leaf = if self.dirty && !leaf.is_writable() { leaf.made_dirty() } else { leaf };
        let leaf = if self.young { leaf } else { leaf.made_old() };
        Leaf::from_raw(level, leaf.word() | if self.uffd_wp { UFFD_WP } else { 0 })
    }

    fn word<G: Granule>(self, level: Level, kind: &str) -> u64 {
        if let Some(kind) = kind.strip_prefix("bug: ") {
            // The mark of an invalid leaf, set without looking.
            return self.word::<G>(level, kind) & !VALID | PRESENT_INVALID;
        }
        if let Some(kind) = kind.strip_prefix("invalid ") {
            return self.leaf::<G>(level, kind).invalidated().word();
        }
        match (kind.strip_prefix("leaf "), kind) {
            (Some(kind), _) => self.leaf::<G>(level, kind).word(),
            (None, "none") => 0,
            (None, "table") => {
                let table = Table::<G>::new(PFN).word();
                if self.young { table } else { table & !AF }
            }
            (None, "protnone") => self.leaf::<G>(level, kind).word(),
            (None, _) => self.soft(kind).encode_in::<G>(level),
        }
    }
}

/// The raw predicates, in the order of the table; those of `Leaf` follow.
fn ask<G: Granule>(level: Level, word: u64) -> [Option<bool>; 13] {
    macro_rules! upper {
        ($name:ident) => {{
            let entry = $name::<G>::from_word(word);
            let upper = [entry.is_table(), entry.is_leaf(), entry.is_trans_huge(), entry.is_bad()];
            assert_eq!(entry.is_none(), word == 0);
            (
                upper.map(Some),
                entry.is_valid(),
                entry.is_present_invalid(),
                entry.is_present(),
                entry.is_protnone(),
                entry.decode(),
            )
        }};
    }
    let (upper, valid, invalid, present, protnone, entry) = match level {
        Level::Pgd => upper!(Pgd),
        Level::Pud => upper!(Pud),
        Level::Pmd => upper!(Pmd),
        Level::Pte => {
            let pte = Pte::<G>::from_word(word);
            (
                [None; 4],
                pte.is_valid(),
                pte.is_present_invalid(),
                pte.is_present(),
                pte.is_protnone(),
                pte.decode(),
            )
        }
    };
    assert_eq!(entry, decode_in::<G>(level, word));
    let [table, leaf, huge, bad] = upper;
    let raw = Leaf::<G>::from_raw(level, word);
    [
        Some(valid),
        Some(invalid),
        Some(present),
        table,
        leaf,
        huge,
        bad,
        Some(protnone),
        Some(raw.permits(Access::Read)),
        Some(raw.permits(Access::Write)),
        Some(raw.is_young()),
        Some(raw.is_writable()),
        Some(raw.is_dirty()),
    ]
}

/// Linux's frame accessor, by bit numbers: bits 49 to the size of the leaf, counted in pages.
fn output<G: Granule>(level: Level, word: u64) -> Pfn {
    let below = span::<G>(level).ilog2();
    Pfn((word << 14 >> 14 >> below << below) >> G::PAGE_SHIFT)
}

fn name<G: Granule>(entry: &Entry<G>) -> &'static str {
    match entry {
        Entry::None => "None",
        Entry::Table(_) => "Table",
        Entry::Leaf(_) => "Leaf",
        Entry::PresentInvalid(_) => "PresentInvalid",
        Entry::ProtNone(_) => "ProtNone",
        Entry::Soft(_) => "Soft",
        Entry::Corrupt(_) => "Corrupt",
    }
}

fn check<G: Granule>(level: Level, table: &str) {
    let rows = table.lines().filter(|line| line.contains('|'));
    for row in rows {
        let parts: Vec<&str> = row.split('|').map(str::trim).collect();
        let (kind, decoded) = (parts[0], parts[2]);
        let columns: Vec<&str> = parts[1].split_whitespace().collect();
        let soft = columns[13] == "soft";
        if soft && level == Level::Pud {
            // Nothing huge of that size is ever migrated.
            continue;
        }
        for open in Open::all() {
            let word = open.word::<G>(level, kind);
            let at =
                std::format!("{kind} at {level}, {G:?}, {open:?}: {word:#x}", G = G::default());
            let found = ask::<G>(level, word);
            for (n, (column, found)) in columns.iter().zip(found).enumerate() {
                let expected = match *column {
                    "0" => Some(false),
                    "1" => Some(true),
                    "A" => Some(open.young),
                    "D" => Some(open.dirty),
                    "." => None,
                    _ => panic!("column {n} of {kind}"),
                };
                assert_eq!(found, expected, "column {n}, {at}");
            }
            let entry = decode_in::<G>(level, word);
            assert_eq!(name(&entry), decoded, "{at}");
            assert_eq!(entry.word(level), word, "{at}");
            let frame = match columns[13] {
                "0" => Pfn(0),
                "ok" => PFN,
                _ => output::<G>(level, word),
            };
            assert_eq!(Leaf::<G>::from_raw(level, word).pfn(), frame, "{at}");
            match entry {
                Entry::Soft(found) => assert_eq!(found, open.soft(kind), "{at}"),
                Entry::Table(table) => assert_eq!(table.pfn(), PFN, "{at}"),
                _ => {}
            }
            assert_eq!(entry.leaf().is_some(), entry.is_present(), "{at}");
            let stays = if decoded == "PresentInvalid" { None } else { entry.leaf() };
            assert_eq!(entry.mapping(), stays, "{at}");
            assert_eq!(entry.is_valid(), decoded == "Table" || decoded == "Leaf", "{at}");
        }
    }
}

#[test]
fn truth_table_of_pmds_4k() {
    check::<K4>(Level::Pmd, HUGE);
}

#[test]
fn truth_table_of_pmds_16k() {
    check::<K16>(Level::Pmd, HUGE);
}

#[test]
fn truth_table_of_pmds_64k() {
    check::<K64>(Level::Pmd, HUGE);
}

#[test]
fn truth_table_of_ptes_4k() {
    check::<K4>(Level::Pte, SMALL);
}

#[test]
fn truth_table_of_ptes_16k() {
    check::<K16>(Level::Pte, SMALL);
}

#[test]
fn truth_table_of_ptes_64k() {
    check::<K64>(Level::Pte, SMALL);
}

#[test]
fn truth_table_of_puds_where_they_can_be_leaves() {
    check::<K4>(Level::Pud, HUGE);
}

#[test]
fn where_puds_cannot_be_leaves_none_decodes_to_one() {
    let block = Leaf::<K4>::user(Level::Pud, PFN, Prot::ReadWrite);
    for word in [block.word(), block.invalidated().word(), block.with_prot(Prot::None).word()] {
        assert!(decode_in::<K4>(Level::Pud, word).is_present());
        assert_eq!(decode_in::<K16>(Level::Pud, word), Entry::Corrupt(word));
        assert_eq!(decode_in::<K64>(Level::Pud, word), Entry::Corrupt(word));
    }
    let table = Table::<K64>::new(PFN);
    assert_eq!(decode_in::<K64>(Level::Pud, table.word()), Entry::Table(table), "the root");
    assert_eq!(decode_in::<K64>(Level::Pgd, table.word()), Entry::Corrupt(table.word()));
}
