//! Traps of the formats: what looks right and is not. Each is a fact about words, and a reason why
//! some question can be asked of some types only.

use super::*;
use crate::bits::{DIRTY, PRESENT_INVALID, RDONLY, USER, UXN, VALID};
use crate::granule::{Granule, K4, K16, K64};
use crate::leaf::Leaf;
use crate::word::Pmd;
use crate::{DeviceAccess, MigrationKind};
use abi::Prot;
use std::vec::Vec;

const PFN: Pfn = Pfn(0x14_0000);
const LEVELS: [Level; 2] = [Level::Pmd, Level::Pte];

/// What can stand for a huge leaf, with every history.
fn soft_entries() -> Vec<Soft> {
    let mut all = Vec::new();
    let pfn = PFN;
    for (young, dirty, uffd_wp) in (0..8).map(|n| (n & 1 != 0, n & 2 != 0, n & 4 != 0)) {
        for kind in [MigrationKind::Read, MigrationKind::ReadExclusive, MigrationKind::Write] {
            all.push(Soft::Migration { pfn, kind, young, dirty, uffd_wp });
        }
        for access in [DeviceAccess::Read, DeviceAccess::Write] {
            all.push(Soft::DevicePrivate { pfn, access, uffd_wp });
        }
    }
    all
}

fn raw<G: Granule>(level: Level, soft: Soft) -> Leaf<G> {
    Leaf::from_raw(level, soft.encode_in::<G>(level))
}

#[test]
fn trap_1_the_frame_of_a_soft_entry_reads_as_an_output_address_on_4k_and_without_history_only() {
    for level in LEVELS {
        for soft in soft_entries() {
            let (young, dirty) = match soft {
                Soft::Migration { young, dirty, .. } => (young, dirty),
                _ => (false, false),
            };
            let history = u64::from(young) << 36 | u64::from(dirty) << 37;
            assert_eq!(raw::<K4>(level, soft).pfn(), Pfn(PFN.0 + history), "{soft:?}");
            assert_ne!(raw::<K16>(level, soft).pfn(), PFN, "{soft:?}");
            assert_ne!(raw::<K64>(level, soft).pfn(), PFN, "{soft:?}");
            assert_eq!(Soft::decode_in::<K16>(level, soft.encode_in::<K16>(level)), Some(soft));
        }
    }
}

#[test]
fn trap_2_a_soft_entry_looks_used_and_read_only() {
    for level in LEVELS {
        for soft in soft_entries() {
            let looks = [raw::<K4>(level, soft).word(), raw::<K64>(level, soft).word()];
            for word in looks {
                let leaf = Leaf::<K4>::from_raw(level, word);
                assert!(leaf.is_young(), "a bit of the kind: {soft:?}");
                assert!(!leaf.is_writable() && !leaf.is_dirty(), "bits of the payload: {soft:?}");
            }
        }
    }
}

#[test]
fn trap_3_leaf_and_huge_disagree_for_an_invalid_table_alone() {
    // Every setting of the low twelve bits, over some frames.
    for word in (0..1u64 << 12).flat_map(|low| [low, PFN.0 << 12 | low, 1 << 55 | low]) {
        let pmd = Pmd::<K4>::from_word(word);
        let invalid_table = word & (VALID | PRESENT_INVALID | TYPE) == PRESENT_INVALID | TYPE;
        assert_eq!(pmd.is_leaf() != pmd.is_trans_huge(), invalid_table, "{word:#x}");
        if invalid_table {
            assert_eq!(pmd.decode(), Entry::Corrupt(word));
        }
    }
}

#[test]
fn trap_4_no_rights_and_a_split_under_way_differ_in_two_bits() {
    fn check<G: Granule>() {
        for level in LEVELS {
            let user = |prot| Leaf::<G>::user(level, PFN, prot);
            let none = user(Prot::None);
            for prot in [Prot::Read, Prot::ReadExec, Prot::Exec] {
                let broken = user(prot).invalidated();
                assert_eq!((broken.word() ^ none.word()) & !(USER | UXN), 0);
                assert_eq!(decode_in(level, broken.word()), Entry::PresentInvalid(broken));
            }
            assert_eq!(decode_in(level, none.word()), Entry::ProtNone(none));
            // The one that has neither bit: told apart by UXN alone.
            let exec_only = user(Prot::Exec).invalidated();
            assert_eq!(exec_only.word() ^ none.word(), UXN);
        }
    }
    check::<K4>();
    check::<K16>();
    check::<K64>();
}

#[test]
fn trap_5_pointers_to_one_table_need_not_be_one_word() {
    let table = Table::<K4>::new(PFN);
    assert_eq!(table.word() & (1 << 10 | 1 << 59), 1 << 10 | 1 << 59, "AF and PXNTable");
    let Entry::Table(aged) = decode_in::<K4>(Level::Pmd, table.word() & !AF) else { panic!() };
    assert!(aged != table && aged.same_table(table));
    assert!(!Table::new(Pfn(PFN.0 + 1)).same_table(table));
    assert!(!Table::kernel(PFN).same_table(table), "other limits");
}

#[test]
fn trap_6_a_leaf_masked_into_a_soft_entry_is_none() {
    for level in LEVELS {
        for prot in [Prot::None, Prot::Read, Prot::ReadWrite, Prot::ReadExec, Prot::Exec] {
            let leaf = Leaf::<K4>::user(level, PFN, prot).made_dirty();
            for word in [leaf.word(), leaf.word() & !(RDONLY | DIRTY), leaf.made_old().word()] {
                let masked = word & !(VALID | TYPE);
                assert_ne!(masked & PRESENT_INVALID, 0, "a user leaf is not global");
                assert_eq!(Soft::decode(level, masked), None);
                assert!(!matches!(decode(level, masked), Entry::Soft(_)));
            }
        }
        for soft in soft_entries() {
            assert_eq!(soft.encode(level) & (VALID | TYPE | PRESENT_INVALID), 0);
        }
    }
}
