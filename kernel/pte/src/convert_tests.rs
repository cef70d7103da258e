use super::*;
use crate::bits::RDONLY;
use crate::granule::{K4, K16, K64};
use crate::soft::tests::any_soft;
use proptest::prelude::*;
use std::vec::Vec;

const LEVELS: [Level; 2] = [Level::Pmd, Level::Pte];
const PROTS: [Prot; 5] = [Prot::None, Prot::Read, Prot::ReadWrite, Prot::ReadExec, Prot::Exec];
const KINDS: [MigrationKind; 3] =
    [MigrationKind::Read, MigrationKind::ReadExclusive, MigrationKind::Write];
/// Aligned to whatever a leaf maps, in every granule.
const PFN: Pfn = Pfn(0x14_0000);

/// Every migration entry of [`PFN`].
fn migrations() -> Vec<Soft> {
    let flags = (0..8).map(|n| (n & 1 != 0, n & 2 != 0, n & 4 != 0));
    flags
        .flat_map(|(young, dirty, uffd_wp)| {
            KINDS.map(|kind| Soft::Migration { pfn: PFN, kind, young, dirty, uffd_wp })
        })
        .collect()
}

/// Kind, accessed, dirty, userfaultfd.
fn facts(soft: Soft) -> (MigrationKind, [bool; 3]) {
    let Soft::Migration { kind, young, dirty, uffd_wp, .. } = soft else { panic!("{soft:?}") };
    (kind, [young, dirty, uffd_wp])
}

#[test]
fn a_leaf_becomes_the_entry_of_its_rights() {
    let kind = |leaf: Leaf<K4>, exclusive| facts(Soft::migration_of(leaf, exclusive)).0;
    for level in LEVELS {
        let (rw, r) = (Leaf::user(level, PFN, Prot::ReadWrite), Leaf::user(level, PFN, Prot::Read));
        assert_eq!(kind(rw, true), MigrationKind::Write);
        assert_eq!(kind(rw, false), MigrationKind::Write, "of a file");
        assert_eq!(kind(r, true), MigrationKind::ReadExclusive);
        assert_eq!(kind(r, false), MigrationKind::Read);
        assert_eq!(kind(rw.invalidated(), true), MigrationKind::Write, "while broken");
    }
}

#[test]
fn history_that_hardware_recorded_goes_along() {
    let clean = Leaf::<K4>::user(Level::Pmd, PFN, Prot::ReadWrite);
    let written = Leaf::<K4>::from_raw(Level::Pmd, clean.word() & !RDONLY);
    assert_eq!(facts(Soft::migration_of(clean.made_old(), true)).1, [false, false, false]);
    assert_eq!(facts(Soft::migration_of(written, true)).1, [true, true, false]);
    assert_eq!(facts(Soft::migration_of(written.write_protected(), true)).1, [true, true, false]);
    assert_eq!(facts(Soft::migration_of(clean.uffd_protected(), true)).1, [true, false, true]);
}

#[test]
fn a_device_private_entry_keeps_its_right_to_write() {
    for (access, exclusive, kind) in [
        (DeviceAccess::Write, true, MigrationKind::Write),
        (DeviceAccess::Write, false, MigrationKind::Write),
        (DeviceAccess::Read, true, MigrationKind::ReadExclusive),
        (DeviceAccess::Read, false, MigrationKind::Read),
    ] {
        let private = Soft::DevicePrivate { pfn: PFN, access, uffd_wp: true };
        let moving = private.migration_of_private(exclusive).expect("device-private");
        assert_eq!(moving.pfn(), Some(PFN));
        assert_eq!(facts(moving), (kind, [false, false, true]));
        // The wrong question, for comparison: the word asked as if it were a leaf.
        let leaf = Leaf::<K4>::from_raw(Level::Pmd, private.encode(Level::Pmd));
        assert_ne!(facts(Soft::migration_of(leaf, exclusive)), facts(moving));
    }
    for soft in migrations() {
        assert_eq!(soft.migration_of_private(true), None);
    }
}

/// Each entry of each level for each area: what comes back, spelled out.
#[test]
fn restored_by_the_rules() {
    fn check<G: Granule>() {
        for (level, prot, folio_dirty) in
            LEVELS.iter().flat_map(|l| PROTS.map(|p| [(*l, p, false), (*l, p, true)])).flatten()
        {
            for soft in migrations() {
                let (kind, [young, dirty, uffd_wp]) = facts(soft);
                let leaf = Leaf::<G>::restored(level, soft, prot, folio_dirty).expect("migration");
                let may_write = kind == MigrationKind::Write && prot == Prot::ReadWrite && !uffd_wp;
                assert_eq!(leaf.is_writable(), may_write, "{soft:?} {prot}");
                assert_eq!(leaf.is_young(), young);
                assert_eq!(leaf.is_dirty(), dirty && folio_dirty);
                assert_eq!(leaf.is_uffd_wp(), uffd_wp);
                assert_eq!((leaf.pfn(), leaf.level()), (PFN, level));
                assert_eq!(leaf.is_valid(), prot != Prot::None);
                assert!(leaf.has(RDONLY) || may_write && dirty && folio_dirty);
                let reads = if prot == Prot::ReadWrite { Prot::Read } else { prot };
                assert_eq!(leaf.prot(), if may_write { prot } else { reads });
            }
        }
    }
    check::<K4>();
    check::<K16>();
    check::<K64>();
    let poison = Soft::HwPoison { pfn: PFN };
    assert_eq!(Leaf::<K4>::restored(Level::Pte, poison, Prot::Read, true), None);
}

#[test]
fn a_fork_leaves_nothing_writable_or_exclusive_and_keeps_history() {
    for soft in migrations() {
        let shared = soft.shared();
        assert_eq!(facts(shared), (MigrationKind::Read, facts(soft).1));
        assert_eq!(shared.pfn(), Some(PFN));
    }
    let swap = |exclusive| Soft::Swap { device: 2, offset: 7, exclusive, uffd_wp: true };
    assert_eq!(swap(true).shared(), swap(false));
    let private = |access| Soft::DevicePrivate { pfn: PFN, access, uffd_wp: true };
    assert_eq!(private(DeviceAccess::Write).shared(), private(DeviceAccess::Read));
}

#[test]
fn taking_the_right_to_write_keeps_exclusivity_of_anonymous_memory() {
    for soft in migrations() {
        let (kind, rest) = facts(soft);
        let was_writable = kind == MigrationKind::Write;
        let (anonymous, file) =
            (facts(soft.write_protected(true)), facts(soft.write_protected(false)));
        assert_eq!(
            anonymous,
            (if was_writable { MigrationKind::ReadExclusive } else { kind }, rest)
        );
        assert_eq!(file, (if was_writable { MigrationKind::Read } else { kind }, rest));
    }
    let private = |access| Soft::DevicePrivate { pfn: PFN, access, uffd_wp: true };
    let read = private(DeviceAccess::Read);
    assert_eq!(private(DeviceAccess::Write).write_protected(true), read);
}

#[test]
fn kinds_that_say_nobody_else_has_it() {
    assert_eq!(KINDS.map(MigrationKind::is_exclusive), [false, true, true]);
}

proptest! {
    // Out and back into the same area changes nothing but what userfaultfd's mark forbids.
    #[test]
    fn what_moves_and_comes_back_is_what_it_was(
        level in prop::sample::select(&LEVELS), prot in prop::sample::select(&PROTS),
        young: bool, dirty: bool, exclusive: bool, uffd: bool, to in 0..1u64 << 15,
    ) {
        let leaf = Leaf::<K4>::user(level, PFN, prot);
        let leaf = if young { leaf } else { leaf.made_old() };
        let leaf = if dirty { leaf.made_dirty() } else { leaf };
        let leaf = if uffd { leaf.uffd_protected() } else { leaf };
        let soft = Soft::migration_of(leaf, exclusive);
        prop_assert_eq!(Leaf::restored(level, soft, prot, true), Some(leaf));
        // Through the word in the slot, to where the folio went.
        let slot = Soft::decode(level, soft.encode(level)).expect("legal");
        let to = Pfn(to << 9);
        let back = Leaf::<K4>::restored(level, slot.with_pfn(to), prot, true).expect("migration");
        prop_assert_eq!(back.pfn(), to);
        let moved = leaf.word() & !(0xffff_ffff_f000) | to.base().0;
        prop_assert_eq!(back.word(), moved);
    }

    #[test]
    fn a_piece_is_the_same_of_its_own_page(soft in any_soft::<K4>(), index in 0..512u64) {
        let piece = soft.piece(index);
        prop_assert_eq!(piece.pfn(), soft.pfn().map(|pfn| pfn + index));
        match soft.pfn() {
            Some(pfn) => prop_assert_eq!(piece.with_pfn(pfn), soft),
            None => prop_assert_eq!(piece, soft),
        }
        if soft.is_legal_at(Level::Pmd) {
            // A table of them is filled by steps.
            let first = soft.encode(Level::Pte);
            prop_assert_eq!(piece.encode(Level::Pte), first + index * Soft::STEP);
        }
    }

    #[test]
    fn the_rules_take_and_never_give(soft in any_soft::<K4>(), anonymous: bool) {
        prop_assert_eq!(soft.shared().shared(), soft.shared());
        let protected = soft.write_protected(anonymous);
        prop_assert_eq!(protected.write_protected(anonymous), protected);
        prop_assert_eq!(protected.shared(), soft.shared());
        for other in [soft.shared(), protected] {
            prop_assert_eq!(other.pfn(), soft.pfn());
            prop_assert_eq!(other.is_legal_at(Level::Pmd), soft.is_legal_at(Level::Pmd));
        }
    }
}
