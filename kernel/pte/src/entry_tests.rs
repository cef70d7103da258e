use super::*;
use crate::bits::{DIRTY, PXN};
use crate::{Entry, KernelProt, Leaf, MemType, Pmd, Table, decode};
use abi::{Access, Prot};
use proptest::prelude::*;

const PFN: Pfn = Pfn(0x12_3400);

fn user(level: Level, prot: Prot) -> Leaf {
    Leaf::user(level, PFN, prot)
}

#[test]
fn low_bits_of_pages_and_blocks_differ_when_invalid_too() {
    let (page, block) = (user(Level::Pte, Prot::None), user(Level::Pmd, Prot::None));
    assert_eq!((page.word() & 0b11, block.word() & 0b11), (0b10, 0b00));
    assert_eq!(decode(Level::Pmd, page.word()), Entry::Corrupt(page.word()));
    assert_eq!(decode(Level::Pte, block.word()), Entry::Corrupt(block.word()));
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
