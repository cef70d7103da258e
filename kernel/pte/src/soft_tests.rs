use super::*;
use crate::bits::{PRESENT_INVALID, VALID};
use crate::granule::{K16, K64};
use crate::{Entry, Pmd, Pte, decode, decode_in};
use proptest::prelude::*;

/// Any that fits, often one that a huge leaf can have.
fn any_pfn<G: Granule>() -> impl Strategy<Value = Pfn> {
    let aligned = granule::order::<G>(Level::Pmd);
    (0..1u64 << G::PFN_BITS, any::<bool>())
        .prop_map(move |(n, huge)| if huge { Pfn(n).align_down(aligned) } else { Pfn(n) })
}

/// Any that is legal for a page.
pub(crate) fn any_soft<G: Granule>() -> impl Strategy<Value = Soft> {
    let any_pfn = any_pfn::<G>;
    let kinds = [MigrationKind::Read, MigrationKind::ReadExclusive, MigrationKind::Write];
    let flags = (any::<bool>(), any::<bool>(), any::<bool>());
    let migration = (any_pfn(), prop::sample::select(kinds.to_vec()), flags).prop_map(
        |(pfn, kind, (young, dirty, uffd_wp))| Soft::Migration { pfn, kind, young, dirty, uffd_wp },
    );
    let swap = (0..Soft::SWAP_DEVICES, 1..1u64 << 50, any::<bool>(), any::<bool>()).prop_map(
        |(device, offset, exclusive, uffd_wp)| Soft::Swap { device, offset, exclusive, uffd_wp },
    );
    let accesses = [DeviceAccess::Read, DeviceAccess::Write];
    let private = (any_pfn(), prop::sample::select(accesses.to_vec()), any::<bool>())
        .prop_map(|(pfn, access, uffd_wp)| Soft::DevicePrivate { pfn, access, uffd_wp });
    let exclusive = (any_pfn(), any::<bool>())
        .prop_map(|(pfn, uffd_wp)| Soft::DeviceExclusive { pfn, uffd_wp });
    let marker = (any::<bool>(), any::<bool>(), any::<bool>())
        .prop_map(|(uffd_wp, poisoned, guard)| Soft::Marker(Marker { uffd_wp, poisoned, guard }));
    let poison = any_pfn().prop_map(|pfn| Soft::HwPoison { pfn });
    prop_oneof![migration, swap, private, exclusive, marker, poison]
}

#[test]
fn the_layout_is_frozen() {
    let pfn = Pfn(0x12_3400);
    let entry = |kind, young, dirty| {
        Soft::Migration { pfn, kind, young, dirty, uffd_wp: false }.encode(Level::Pmd)
    };
    assert_eq!(entry(MigrationKind::Read, false, false), 0x1_2340_0640);
    assert_eq!(entry(MigrationKind::ReadExclusive, false, false), 0x1_2340_0680);
    assert_eq!(entry(MigrationKind::Write, true, false), 0x1_0001_2340_06c0);
    assert_eq!(entry(MigrationKind::Write, false, true), 0x2_0001_2340_06c0);
    let swap = Soft::Swap { device: 3, offset: 0x77, exclusive: true, uffd_wp: true };
    assert_eq!(swap.encode(Level::Pte), 0x7_70cc);
    let private = |access| Soft::DevicePrivate { pfn, access, uffd_wp: true }.encode(Level::Pmd);
    assert_eq!(private(DeviceAccess::Write), 0x1_2340_0708);
    assert_eq!(private(DeviceAccess::Read), 0x1_2340_0748);
    assert_eq!(Soft::HwPoison { pfn }.encode(Level::Pte), 0x1_2340_0600);
    let shared = Soft::DeviceExclusive { pfn, uffd_wp: false };
    assert_eq!(shared.encode(Level::Pte), 0x1_2340_0780);
    let guard = Marker { guard: true, ..Marker::default() };
    assert_eq!(Soft::Marker(guard).encode(Level::Pte), 0x47c0);
}

#[test]
fn no_swap_entry_is_the_empty_word() {
    let swap = |device, offset| Soft::Swap { device, offset, exclusive: false, uffd_wp: false };
    assert!(!swap(0, 0).is_legal_at(Level::Pte) && swap(0, 1).is_legal_at(Level::Pte));
    assert!(!swap(Soft::SWAP_DEVICES, 1).is_legal_at(Level::Pte), "another kind's code");
    assert!(swap(0, (1 << 50) - 1).is_legal_at(Level::Pte));
    assert!(!swap(0, 1 << 50).is_legal_at(Level::Pte));
    assert_eq!(Soft::decode(Level::Pte, 0), None);
    // The header of another device, and with a flag.
    for word in [1 << 6, 1 << 2, 23 << 6 | 1 << 3] {
        assert_eq!(decode(Level::Pte, word), Entry::Corrupt(word));
    }
}

#[test]
fn a_huge_entry_names_an_aligned_frame() {
    fn check<G: Granule>() {
        let pages = granule::order::<G>(Level::Pmd).pages();
        for (pfn, huge) in
            [(pages, true), (pages * 7, true), (pages + 1, false), (pages / 2, false)]
        {
            let pfn = Pfn(pfn);
            let soft = Soft::DevicePrivate { pfn, access: DeviceAccess::Read, uffd_wp: false };
            assert_eq!(soft.is_legal_in::<G>(Level::Pmd), huge);
            assert!(soft.is_legal_in::<G>(Level::Pte) && !soft.is_legal_in::<G>(Level::Pud));
        }
        let pfn = Pfn(1 << G::PFN_BITS);
        assert!(!Soft::HwPoison { pfn }.is_legal_in::<G>(Level::Pte), "does not fit");
    }
    check::<K4>();
    check::<K16>();
    check::<K64>();
}

#[test]
fn the_layout_of_the_other_granules() {
    let soft = Soft::Migration {
        pfn: Pfn(0x2000),
        kind: MigrationKind::Write,
        young: true,
        dirty: false,
        uffd_wp: true,
    };
    assert_eq!(soft.encode_in::<K16>(Level::Pmd), 0x4000_0200_06c8);
    assert_eq!(soft.encode_in::<K64>(Level::Pmd), 0x1000_0200_06c8);
}

#[test]
fn the_mark_of_a_present_invalid_leaf_on_a_soft_entry_is_found_out() {
    let pfn = Pfn(0x12_3400);
    let mut entries = std::vec![];
    for kind in [MigrationKind::Read, MigrationKind::ReadExclusive, MigrationKind::Write] {
        for (young, dirty) in [(false, false), (true, false), (false, true), (true, true)] {
            entries.push(Soft::Migration { pfn, kind, young, dirty, uffd_wp: false });
        }
    }
    for access in [DeviceAccess::Read, DeviceAccess::Write] {
        entries.push(Soft::DevicePrivate { pfn, access, uffd_wp: false });
    }
    for soft in entries {
        let pmd = Pmd::from_word(soft.encode(Level::Pmd) | PRESENT_INVALID);
        assert!(pmd.is_present() && pmd.is_trans_huge(), "as a careless walker sees it");
        assert_eq!(pmd.decode(), Entry::Corrupt(pmd.word()), "{soft:?}");
        let pte = Pte::from_word(soft.encode(Level::Pte) | PRESENT_INVALID);
        assert_eq!(pte.decode(), Entry::Corrupt(pte.word()));
    }
}

fn round_trip<G: Granule>(soft: Soft) -> Result<(), TestCaseError> {
    let word = soft.encode_in::<G>(Level::Pte);
    prop_assert_eq!(word & (VALID | PRESENT_INVALID | 0b10), 0);
    prop_assert_eq!(word >> 62, 0);
    prop_assert_eq!(Soft::decode_in::<G>(Level::Pte, word), Some(soft));
    prop_assert_eq!(decode_in::<G>(Level::Pte, word), crate::any::Entry::Soft(soft));
    let huge = soft.is_legal_in::<G>(Level::Pmd);
    prop_assert_eq!(Soft::decode_in::<G>(Level::Pmd, word), huge.then_some(soft));
    prop_assert_eq!(Soft::decode_in::<G>(Level::Pud, word), None);
    Ok(())
}

proptest! {
    #[test]
    fn soft_entries_decode_to_themselves_4k(soft in any_soft::<K4>()) {
        round_trip::<K4>(soft)?;
    }

    #[test]
    fn soft_entries_decode_to_themselves_16k(soft in any_soft::<K16>()) {
        round_trip::<K16>(soft)?;
    }

    #[test]
    fn soft_entries_decode_to_themselves_64k(soft in any_soft::<K64>()) {
        round_trip::<K64>(soft)?;
    }

    #[test]
    fn only_migration_and_device_private_replace_a_huge_leaf(soft in any_soft::<K4>()) {
        let kind = matches!(soft, Soft::Migration { .. } | Soft::DevicePrivate { .. });
        let aligned = soft.pfn().is_some_and(|pfn| pfn.0 % 512 == 0);
        prop_assert_eq!(soft.is_legal_at(Level::Pmd), kind && aligned);
    }

    // Two entries have one word only if they are one.
    #[test]
    fn every_bit_of_a_word_counts(soft in any_soft::<K4>(), bit in 0..64u32) {
        let word = soft.encode(Level::Pte);
        let other = Soft::decode(Level::Pte, word ^ 1 << bit);
        prop_assert_ne!(other, Some(soft));
        if let Some(other) = other {
            prop_assert_eq!(other.encode(Level::Pte), word ^ 1 << bit);
        }
    }

    #[test]
    fn every_word_that_decodes_is_the_one_that_encodes(word in any::<u64>(), narrow in any::<bool>()) {
        let word = if narrow { word & 0x0003_ffff_ffff_f7cc } else { word };
        if let Some(soft) = Soft::decode(Level::Pte, word) {
            prop_assert_eq!(soft.encode(Level::Pte), word);
        }
    }
}
