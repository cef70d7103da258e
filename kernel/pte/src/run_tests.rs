use super::*;
use crate::bits::{GP, NG, PXN, SPECIAL, UFFD_WP, USER, UXN, VALID};
use crate::entry::decode_in;
use crate::granule::{K4, K16, K64, order};
use abi::{Pfn, Prot};
use proptest::prelude::*;

const LEVELS: [Level; 3] = [Level::Pud, Level::Pmd, Level::Pte];
const PROTS: [Prot; 5] = [Prot::None, Prot::Read, Prot::ReadWrite, Prot::ReadExec, Prot::Exec];
/// Aligned to whatever a leaf maps, in every granule.
const PFN: Pfn = Pfn(0x14_0000);

/// A leaf of any rights and any history.
fn any_leaf<G: Granule>(level: Level) -> impl Strategy<Value = Leaf<G>> {
    let history = (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>());
    (prop::sample::select(&PROTS), history, any::<bool>()).prop_map(
        move |(prot, (young, dirty, hardware, uffd), special)| {
            let leaf = Leaf::<G>::user(level, PFN, prot);
            let leaf = if young { leaf } else { leaf.made_old() };
            let leaf = if dirty { leaf.made_dirty() } else { leaf };
            // What a store does where hardware manages dirty state.
            let written = hardware && leaf.is_valid() && leaf.is_writable();
            let leaf = if written { leaf.clear(RDONLY) } else { leaf };
            let leaf = if uffd { leaf.uffd_protected() } else { leaf };
            if special { leaf.special() } else { leaf }
        },
    )
}

fn history<G: Granule>(leaf: Leaf<G>) -> (bool, bool) {
    (leaf.is_young(), leaf.is_dirty())
}

#[test]
fn steps_by_hand() {
    assert_eq!(Leaf::<K4>::step(Level::Pte), 0x1000);
    assert_eq!(Leaf::<K4>::step(Level::Pmd), 0x20_0000);
    assert_eq!(Leaf::<K64>::step(Level::Pte), 0x1_0000);
    let leaf = Leaf::<K4>::user(Level::Pte, PFN, Prot::Read);
    assert_eq!(leaf.next().word(), leaf.word() + 0x1000);
    assert_eq!(leaf.nth(511).pfn(), PFN + 511);
    assert_eq!(leaf.nth(0), leaf);
    let block = Leaf::<K4>::user(Level::Pmd, PFN, Prot::Read);
    assert_eq!(block.next().pfn(), PFN + 512);
}

#[test]
fn pieces_by_hand() {
    let block = Leaf::<K4>::user(Level::Pmd, Pfn(0x4_8000), Prot::ReadWrite);
    assert_eq!(block.piece(0).word(), 0x0068_0000_4800_0fc3);
    assert_eq!(block.piece(5).word(), 0x0068_0000_4800_5fc3);
    assert_eq!(block.piece(511).word(), 0x0068_0000_481f_ffc3);
    let gigantic = Leaf::<K4>::user(Level::Pud, Pfn(0x4_0000), Prot::ReadWrite);
    assert_eq!(gigantic.piece(3).word(), 0x0068_0000_4060_0fc1);
    let page = block.piece(7);
    assert_eq!(page.piece(0), page, "a page is its own only part");
}

#[test]
fn a_piece_takes_no_mark_of_size_along() {
    let block = Leaf::<K4>::user(Level::Pmd, PFN, Prot::Read);
    let marked = block.contiguous(true).set(NT);
    assert_eq!(decode_in::<K4>(Level::Pmd, marked.word()).leaf(), Some(marked));
    assert_eq!(marked.piece(9), block.piece(9));
    assert_eq!(marked.piece(9).pfn(), PFN + 9, "nT would be an address bit");
}

#[test]
fn a_mapping_is_the_same_whatever_its_history_and_nothing_else() {
    for prot in PROTS {
        let leaf = Leaf::<K4>::user(Level::Pte, PFN, prot);
        for other in [leaf.made_old(), leaf.made_dirty(), leaf.made_dirty().made_clean()] {
            assert!(leaf.same_mapping(other) && other.same_mapping(leaf), "{prot}");
        }
        for bit in [VALID, USER, NG, GP, PXN, UXN, WRITE, CONT, SPECIAL, UFFD_WP, 1 << 12, 1 << 8] {
            let other = Leaf::from_raw(Level::Pte, leaf.word() ^ bit);
            assert!(!leaf.same_mapping(other), "{prot} {bit:#x}");
        }
    }
    let (read, write) = (Leaf::<K4>::user(Level::Pte, PFN, Prot::Read), Prot::ReadWrite);
    assert!(!read.same_mapping(read.with_prot(write)));
    assert!(!read.same_mapping(read.clear(RDONLY)), "writable by hardware alone is no history");
    assert!(!read.same_mapping(Leaf::from_raw(Level::Pmd, read.word())), "another level");
}

fn pieces_are_what_the_block_was<G: Granule>(
    block: Leaf<G>,
    index: u64,
) -> Result<(), TestCaseError> {
    let Some(down) = block.level().down() else { return Ok(()) };
    let index = index % G::ENTRIES as u64;
    let piece = block.piece(index);
    prop_assert_eq!(piece.level(), down);
    prop_assert_eq!(piece.pfn(), Pfn(PFN.0 + index * order::<G>(down).pages()));
    prop_assert_eq!((piece.prot(), history(piece)), (block.prot(), history(block)));
    prop_assert_eq!(piece.is_writable(), block.is_writable());
    prop_assert_eq!(piece.is_uffd_wp(), block.is_uffd_wp());
    prop_assert_eq!(piece.is_special(), block.is_special());
    prop_assert!(!piece.is_contiguous());
    // A piece is of the kind that the block was, and a table of them is filled by steps.
    let (whole, part) = (decode_in(block.level(), block.word()), decode_in(down, piece.word()));
    prop_assert_eq!(part.leaf(), Some(piece));
    prop_assert_eq!(core::mem::discriminant(&part), core::mem::discriminant(&whole));
    let filled = block.piece(0).word() + index * Leaf::<G>::step(down);
    prop_assert_eq!(piece.word(), filled);
    prop_assert!(index == 0 || block.piece(index - 1).is_run(piece));
    Ok(())
}

proptest! {
    #[test]
    fn pieces_4k(
        pud in any_leaf::<K4>(Level::Pud), pmd in any_leaf::<K4>(Level::Pmd), index in any::<u64>(),
    ) {
        pieces_are_what_the_block_was(pud, index)?;
        pieces_are_what_the_block_was(pmd, index)?;
    }

    #[test]
    fn pieces_16k(block in any_leaf::<K16>(Level::Pmd), index in any::<u64>()) {
        pieces_are_what_the_block_was(block, index)?;
    }

    #[test]
    fn pieces_64k(block in any_leaf::<K64>(Level::Pmd), index in any::<u64>()) {
        pieces_are_what_the_block_was(block, index)?;
    }

    #[test]
    fn absorbing_adds_history_and_changes_nothing_else(
        one in any_leaf::<K4>(Level::Pte), other in any_leaf::<K4>(Level::Pte),
    ) {
        let both = one.absorb(other);
        prop_assert!(both.same_mapping(one));
        prop_assert_eq!(both.is_young(), one.is_young() || other.is_young());
        prop_assert_eq!(both.is_dirty(), one.is_dirty() || other.is_dirty());
        prop_assert_eq!(both.is_writable(), one.is_writable());
        if both.is_writable() && other.is_dirty() {
            prop_assert!(!both.has(RDONLY), "what is dirty and writable faults no more");
        }
        prop_assert_eq!(both.absorb(other), both);
        prop_assert_eq!(one.absorb(one.made_old().made_clean()), one);
    }

    #[test]
    fn a_run_goes_on_with_the_next_frame_only(
        level in prop::sample::select(&LEVELS), prot in prop::sample::select(&PROTS),
        a in 0..4u64, b in 0..4u64, other in prop::sample::select(&PROTS), old in any::<bool>(),
    ) {
        let at = |n: u64, prot| Leaf::<K4>::user(level, PFN, prot).nth(n);
        let next = if old { at(b, other).made_old().made_dirty() } else { at(b, other) };
        prop_assert_eq!(at(a, prot).is_run(next), b == a + 1 && prot == other);
    }

    // What is taken for a leaf without decoding is the one that decoding gives.
    #[test]
    fn a_sibling_differs_in_memory_and_history_only(
        level in prop::sample::select(&LEVELS), prot in prop::sample::select(&PROTS), bit in 0..64u32,
    ) {
        let leaf = Leaf::<K4>::user(level, PFN, prot);
        let word = leaf.word() ^ 1 << bit;
        let memory = u64::MAX << level.shift() & 0xffff_ffff_ffff;
        let history = AF | DIRTY | if leaf.is_writable() { RDONLY } else { 0 };
        let found = leaf.sibling(word);
        prop_assert_eq!(found.is_some(), 1u64 << bit & (memory | history) != 0);
        if found.is_some() {
            prop_assert_eq!(found, decode_in::<K4>(level, word).leaf());
            prop_assert_eq!(found.map(Leaf::pfn), Some(leaf.kin().pfn(word)));
        }
        prop_assert_eq!(leaf.sibling(leaf.next().word()), Some(leaf.next()));
        let its_own = found.map_or(leaf.pfn(), Leaf::pfn);
        for pfn in [its_own, leaf.pfn(), leaf.next().pfn()] {
            let maps = found.is_some_and(|found| found.pfn() == pfn);
            prop_assert_eq!(leaf.kin().maps(word, pfn), maps, "{:?}", pfn);
        }
    }
}
