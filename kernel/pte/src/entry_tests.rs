use super::*;
use crate::bits::{DIRTY, PXN};
use crate::{DeviceAccess, KernelProt, MemType, MigrationKind};
use abi::{Access, Prot};
use proptest::prelude::*;

const PFN: Pfn = Pfn(0x12_3400);

fn user(level: Level, prot: Prot) -> Leaf {
    Leaf::user(level, PFN, prot)
}

/// Execute-only, which [`Prot`] has no name for.
fn exec_only(level: Level) -> Leaf {
    Leaf::from_raw(level, user(level, Prot::ReadExec).word() & !USER)
}

fn migration(kind: MigrationKind) -> u64 {
    Soft::Migration { pfn: PFN, kind, young: false, dirty: false, uffd_wp: false }
        .encode(Level::Pmd)
}

fn device(access: DeviceAccess) -> u64 {
    Soft::DevicePrivate { pfn: PFN, access, uffd_wp: false }.encode(Level::Pmd)
}

/// Setting the mark without looking, as the bug did.
fn careless_invalid(word: u64) -> u64 {
    word & !VALID | PRESENT_INVALID
}

#[test]
fn predicates_of_every_kind_of_pmd() {
    let rw = user(Level::Pmd, Prot::ReadWrite);
    let table = Table::new(PFN).word();
    // valid, invalid, present, table, leaf, trans_huge, bad, protnone
    #[rustfmt::skip]
    let rows: [(&str, u64, [u8; 8]); 17] = [
        ("none",                 0,                                         [0, 0, 0, 0, 0, 0, 1, 0]),
        ("table",                table,                                     [1, 0, 1, 1, 0, 0, 0, 0]),
        ("leaf RW clean",        rw.word(),                                 [1, 0, 1, 0, 1, 1, 1, 0]),
        ("leaf RW hw-dirty",     rw.word() & !RDONLY,                       [1, 0, 1, 0, 1, 1, 1, 0]),
        ("leaf RO",              user(Level::Pmd, Prot::Read).word(),       [1, 0, 1, 0, 1, 1, 1, 0]),
        ("leaf exec-only",       exec_only(Level::Pmd).word(),              [1, 0, 1, 0, 1, 1, 1, 0]),
        ("protnone",             user(Level::Pmd, Prot::None).word(),       [0, 1, 1, 0, 1, 1, 1, 1]),
        ("invalid RW dirty",     rw.made_dirty().invalidated().word(),      [0, 1, 1, 0, 1, 1, 1, 0]),
        ("invalid exec-only",    exec_only(Level::Pmd).invalidated().word(), [0, 1, 1, 0, 1, 1, 1, 0]),
        ("migration read",       migration(MigrationKind::Read),            [0, 0, 0, 0, 0, 0, 1, 0]),
        ("migration read-excl",  migration(MigrationKind::ReadExclusive),   [0, 0, 0, 0, 0, 0, 1, 0]),
        ("migration write",      migration(MigrationKind::Write),           [0, 0, 0, 0, 0, 0, 1, 0]),
        ("device-private read",  device(DeviceAccess::Read),                [0, 0, 0, 0, 0, 0, 1, 0]),
        ("device-private write", device(DeviceAccess::Write),               [0, 0, 0, 0, 0, 0, 1, 0]),
        ("bug: migration",       careless_invalid(migration(MigrationKind::Read)), [0, 1, 1, 0, 1, 1, 1, 0]),
        ("bug: table",           careless_invalid(table),                   [0, 1, 1, 0, 1, 0, 1, 0]),
        ("bug: none",            careless_invalid(0),                       [0, 1, 1, 0, 1, 1, 1, 0]),
    ];
    for (name, word, expected) in rows {
        let pmd = Pmd::from_word(word);
        let found = [
            pmd.is_valid(),
            pmd.is_present_invalid(),
            pmd.is_present(),
            pmd.is_table(),
            pmd.is_leaf(),
            pmd.is_trans_huge(),
            pmd.is_bad(),
            pmd.is_protnone(),
        ];
        assert_eq!(found.map(u8::from), expected, "{name}");
        if name.starts_with("bug") {
            assert_eq!(pmd.decode(), Entry::Corrupt(word), "{name}");
        } else {
            assert_ne!(pmd.decode(), Entry::Corrupt(word), "{name}");
        }
        assert_eq!(pmd.is_none(), word == 0);
    }
}

/// The variant that a leaf decodes to.
type Kind = fn(Leaf) -> Entry;

#[test]
fn accessors_of_every_kind_of_leaf_at_both_sizes() {
    for level in [Level::Pmd, Level::Pte] {
        let rw = user(level, Prot::ReadWrite);
        let hw_dirty = Leaf::from_raw(level, rw.word() & !RDONLY);
        let ro_dirty = user(level, Prot::Read).made_dirty();
        let (valid, invalid, none): (Kind, Kind, Kind) =
            (Entry::Leaf, Entry::PresentInvalid, Entry::ProtNone);
        // read, write, exec permitted; writable, dirty
        #[rustfmt::skip]
        let rows: [(&str, Kind, Leaf, [u8; 5]); 10] = [
            ("RW clean",           valid,   rw,                                 [1, 1, 0, 1, 0]),
            ("RW dirty",           valid,   rw.made_dirty(),                    [1, 1, 0, 1, 1]),
            ("RW hw-dirty",        valid,   hw_dirty,                           [1, 1, 0, 1, 1]),
            ("RO",                 valid,   user(level, Prot::Read),            [1, 0, 0, 0, 0]),
            ("RO dirty",           valid,   ro_dirty,                           [1, 0, 0, 0, 1]),
            ("RX",                 valid,   user(level, Prot::ReadExec),        [1, 0, 1, 0, 0]),
            ("exec-only",          valid,   exec_only(level),                   [0, 0, 1, 0, 0]),
            ("protnone",           none,    user(level, Prot::None),            [0, 0, 0, 0, 0]),
            ("invalid RW hw-dirty", invalid, hw_dirty.invalidated(),            [0, 0, 0, 1, 1]),
            ("invalid exec-only",  invalid, exec_only(level).invalidated(),     [0, 0, 0, 0, 0]),
        ];
        for (name, kind, leaf, expected) in rows {
            let found = [
                leaf.permits(Access::Read),
                leaf.permits(Access::Write),
                leaf.permits(Access::Exec),
                leaf.is_writable(),
                leaf.is_dirty(),
            ];
            assert_eq!(found.map(u8::from), expected, "{name} {level}");
            let entry = decode(level, leaf.word());
            assert_eq!(entry, kind(leaf), "{name} {level}");
            assert!(entry.is_present());
            assert_eq!(entry.is_valid(), leaf.is_valid());
            assert_eq!((leaf.pfn(), leaf.is_young()), (PFN, true));
            assert!(!decode(level, leaf.made_old().word()).leaf().is_some_and(Leaf::is_young));
        }
    }
}

#[test]
fn low_bits_of_pages_and_blocks_differ_when_invalid_too() {
    let (page, block) = (user(Level::Pte, Prot::None), user(Level::Pmd, Prot::None));
    assert_eq!((page.word() & 0b11, block.word() & 0b11), (0b10, 0b00));
    assert_eq!(decode(Level::Pmd, page.word()), Entry::Corrupt(page.word()));
    assert_eq!(decode(Level::Pte, block.word()), Entry::Corrupt(block.word()));
    let bare = careless_invalid(0);
    assert_eq!(decode(Level::Pte, bare), Entry::Corrupt(bare));
}

#[test]
fn descriptors_that_no_level_has_are_corrupt() {
    let block = user(Level::Pmd, Prot::Read).word();
    for (level, word) in [
        (Level::Pgd, block),             // no blocks of 512 GiB
        (Level::Pte, block),             // bits 01 are reserved in a page table
        (Level::Pud, block),             // not aligned to 1 GiB
        (Level::Pmd, block | 1 << 12),   // address bits that a block has no use for
        (Level::Pmd, block | 1 << 48),   // above a 48-bit address
        (Level::Pmd, block & !(1 << 9)), // reserved shareability
        (Level::Pmd, Table::new(PFN).word() | 1 << 49),
        (Level::Pte, 0b10),
        (Level::Pud, 1 << 12),
    ] {
        assert_eq!(decode(level, word), Entry::Corrupt(word), "{level} {word:#x}");
    }
    assert!(matches!(decode(Level::Pmd, block | NT), Entry::Leaf(_)), "nT is no address bit");
}

#[test]
fn tables_name_their_frame_and_limit_the_other_half() {
    let (user, kernel) = (Table::new(PFN), Table::kernel(PFN));
    assert_eq!(user.word(), 0x0800_0001_2340_0403);
    assert_eq!(kernel.word(), 0x1000_0001_2340_0403);
    for table in [user, kernel] {
        assert_eq!(table.pfn(), PFN);
        for level in [Level::Pgd, Level::Pud, Level::Pmd] {
            assert_eq!(decode(level, table.word()), Entry::Table(table));
        }
        assert!(decode(Level::Pmd, table.word()).is_valid());
        assert!(!decode(Level::Pmd, table.word()).is_present(), "names no folio");
    }
}

#[test]
fn kernel_leaves_are_leaves() {
    for prot in [KernelProt::Text, KernelProt::Rodata, KernelProt::Data] {
        let leaf = Leaf::kernel(Level::Pmd, PFN, prot, MemType::Normal);
        assert_eq!(Pmd::from_word(leaf.word()).decode(), Entry::Leaf(leaf));
    }
}

/// Random words rarely have the right shape: fix the low bits and clear the high ones by choice.
fn any_word() -> impl Strategy<Value = u64> {
    (any::<u64>(), 0..16u64, any::<bool>(), any::<bool>()).prop_map(|(word, low, small, shared)| {
        let low = low & 0b11 | (low & 0b100) << 9;
        let word = word & !(0b11 | PRESENT_INVALID) | low;
        let word = if small { word & 0x00ff_0fff_ffe0_0fff } else { word };
        if shared { word | SH_INNER } else { word }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn every_word_decodes_and_encodes_back(
        word in any_word(), level in prop::sample::select(&Level::ALL),
    ) {
        prop_assert_eq!(decode(level, word).word(level), word);
    }

    // Each kind agrees with the raw predicates that Linux would ask.
    #[test]
    fn decoding_agrees_with_the_raw_predicates(word in any_word()) {
        let pmd = Pmd::from_word(word);
        match pmd.decode() {
            Entry::None => prop_assert!(pmd.is_none()),
            Entry::Table(_) => prop_assert!(pmd.is_table() && !pmd.is_bad()),
            Entry::Leaf(_) => prop_assert!(pmd.is_valid() && pmd.is_trans_huge()),
            Entry::PresentInvalid(_) => {
                prop_assert!(pmd.is_present_invalid() && pmd.is_trans_huge() && !pmd.is_protnone());
            }
            Entry::ProtNone(_) => prop_assert!(pmd.is_protnone() && pmd.is_trans_huge()),
            Entry::Soft(_) => prop_assert!(!pmd.is_none() && !pmd.is_present()),
            Entry::Corrupt(_) => prop_assert!(!pmd.is_none()),
        }
    }

    // Wherever the two Linux predicates disagree, decoding calls it corrupt.
    #[test]
    fn a_leaf_that_is_not_huge_is_corrupt(word in any_word()) {
        let pmd = Pmd::from_word(word);
        if pmd.is_leaf() != pmd.is_trans_huge() {
            prop_assert_eq!(pmd.decode(), Entry::Corrupt(word));
        }
    }

    #[test]
    fn no_leaf_that_decodes_invalid_is_outside_the_four_states(word in any_word()) {
        for level in [Level::Pmd, Level::Pte] {
            if let Entry::PresentInvalid(leaf) | Entry::ProtNone(leaf) = decode(level, word) {
                prop_assert!(leaf.is_writable() || leaf.word() & RDONLY != 0);
                prop_assert!(!leaf.permits(Access::Read) && !leaf.is_global());
            }
        }
    }

    #[test]
    fn changing_software_bits_changes_no_kind(word in any_word()) {
        let leaf = decode(Level::Pmd, word).leaf();
        if let Some(leaf) = leaf {
            let other = decode(Level::Pmd, leaf.word() ^ DIRTY);
            prop_assert_eq!(other.leaf().map(|l| l.word() & !DIRTY), Some(leaf.word() & !DIRTY));
            prop_assert_eq!(other.is_valid(), leaf.is_valid());
            prop_assert_eq!(leaf.word() & PXN, other.word(Level::Pmd) & PXN);
        }
    }
}
