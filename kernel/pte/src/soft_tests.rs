use super::*;
use crate::bits::{AF, PRESENT_INVALID, VALID};
use crate::{Entry, Pmd, Pte, decode};
use proptest::prelude::*;

fn any_pfn() -> impl Strategy<Value = Pfn> {
    (0..1u64 << 36).prop_map(Pfn)
}

fn any_soft() -> impl Strategy<Value = Soft> {
    let kinds = [MigrationKind::Read, MigrationKind::ReadExclusive, MigrationKind::Write];
    let flags = (any::<bool>(), any::<bool>(), any::<bool>());
    let migration = (any_pfn(), prop::sample::select(kinds.to_vec()), flags).prop_map(
        |(pfn, kind, (young, dirty, uffd_wp))| Soft::Migration { pfn, kind, young, dirty, uffd_wp },
    );
    let swap = (0..Soft::SWAP_DEVICES, 0..1u64 << 50, any::<bool>(), any::<bool>()).prop_map(
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

// Bit 10 of a soft entry belongs to its type, where a leaf has the access flag: reading one as the
// other is silently plausible, which is why the accessors live on different types.
#[test]
fn leaf_bits_of_a_soft_entry_mean_nothing() {
    let pfn = Pfn(0x12_3400);
    let kind = MigrationKind::Write;
    let old = Soft::Migration { pfn, kind, young: false, dirty: false, uffd_wp: false };
    assert!(old.encode(Level::Pmd) & AF != 0);
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

proptest! {
    #[test]
    fn soft_entries_decode_to_themselves(soft in any_soft()) {
        let word = soft.encode(Level::Pte);
        prop_assert_eq!(word & (VALID | PRESENT_INVALID | 0b10), 0);
        prop_assert_eq!(word >> 62, 0);
        // A swap entry of device 0, offset 0 and no flags is the empty word; swap areas begin
        // with a header, so that offset is never given out.
        if word != 0 {
            prop_assert_eq!(decode(Level::Pte, word), Entry::Soft(soft));
        }
        prop_assert_eq!(Soft::decode(Level::Pte, word), Some(soft));
    }

    #[test]
    fn only_migration_and_device_private_replace_a_huge_leaf(soft in any_soft()) {
        let word = soft.encode(Level::Pte);
        let legal = matches!(soft, Soft::Migration { .. } | Soft::DevicePrivate { .. });
        prop_assert_eq!(soft.is_legal_at(Level::Pmd), legal);
        prop_assert_eq!(Soft::decode(Level::Pmd, word), legal.then_some(soft));
        prop_assert_eq!(Soft::decode(Level::Pud, word), None);
    }

    #[test]
    fn every_word_that_decodes_is_the_one_that_encodes(word in any::<u64>(), narrow in any::<bool>()) {
        let word = if narrow { word & 0x0003_ffff_ffff_f7cc } else { word };
        if let Some(soft) = Soft::decode(Level::Pte, word) {
            prop_assert_eq!(soft.encode(Level::Pte), word);
        }
    }
}
