use super::*;
use crate::granule::{K4, K16, K64};
use crate::soft::tests::any_soft;
use crate::{DeviceAccess, MigrationKind};
use abi::Pfn;
use proptest::prelude::*;

#[test]
fn kinds_are_at_the_top_and_history_above_the_frame() {
    let soft = Soft::Migration {
        pfn: Pfn(0x1234),
        kind: MigrationKind::Read,
        young: true,
        dirty: false,
        uffd_wp: true,
    };
    let (generic, beside) = GenericSoft::<K4>::of(soft);
    assert_eq!(generic.raw(), 25 << 58 | 1 << 36 | 0x1234);
    assert_eq!(beside, Beside { exclusive: false, uffd_wp: true });
    assert_eq!(GenericSoft::<K64>::of(soft).0.raw(), 25 << 58 | 1 << 32 | 0x1234);
    assert_eq!(generic.soft(beside), Some(soft));
    let bare = Soft::Migration {
        pfn: Pfn(0x1234),
        kind: MigrationKind::Read,
        young: true,
        dirty: false,
        uffd_wp: false,
    };
    assert_eq!(generic.soft(Beside::default()), Some(bare));
}

#[test]
fn the_two_words_of_one_entry_differ() {
    let soft = Soft::DevicePrivate { pfn: Pfn(0x200), access: DeviceAccess::Read, uffd_wp: false };
    let (generic, _) = GenericSoft::<K4>::of(soft);
    let word = soft.encode(Level::Pte);
    assert_ne!(generic.raw(), word);
    assert_eq!(
        Soft::decode(Level::Pte, generic.raw()),
        None,
        "a slot's word has bits 63, 62 clear"
    );
    assert_ne!(GenericSoft::<K4>::from_raw(word).soft(Beside::default()), Some(soft));
}

#[test]
fn what_no_entry_has_is_none() {
    let soft = |raw, exclusive| {
        GenericSoft::<K4>::from_raw(raw).soft(Beside { exclusive, uffd_wp: false })
    };
    assert_eq!(soft(0, false), None, "the header of a swap device");
    assert!(soft(1, true).is_some());
    assert_eq!(soft(24 << 58 | 1, true), None, "only swap entries are exclusive beside");
    assert_eq!(soft(24 << 58 | 1 << 36, false), None, "no such frame");
    assert_eq!(soft(31 << 58 | 8, false), None, "no such remark");
    assert_eq!(soft(1 << 50, false), None, "more than a slot has room for");
    assert_eq!(soft(1 << 63 | 1, false), None, "64 bits are no XArray value");
}

fn round_trip<G: Granule>(soft: Soft) -> Result<(), TestCaseError> {
    let (generic, beside) = GenericSoft::<G>::of(soft);
    prop_assert_eq!(generic.soft(beside), Some(soft));
    prop_assert_eq!(GenericSoft::from_raw(generic.raw()), generic);
    prop_assert_eq!(generic.raw() >> 63, 0);
    // Through both forms to the same word.
    let word = soft.encode_in::<G>(Level::Pte);
    let again = Soft::decode_in::<G>(Level::Pte, word).map(GenericSoft::<G>::of);
    prop_assert_eq!(again, Some((generic, beside)));
    Ok(())
}

proptest! {
    #[test]
    fn forms_convert_without_loss_4k(soft in any_soft::<K4>()) {
        round_trip::<K4>(soft)?;
    }

    #[test]
    fn forms_convert_without_loss_16k(soft in any_soft::<K16>()) {
        round_trip::<K16>(soft)?;
    }

    #[test]
    fn forms_convert_without_loss_64k(soft in any_soft::<K64>()) {
        round_trip::<K64>(soft)?;
    }

    #[test]
    fn any_word_of_this_form_is_one_entry_or_none(
        raw in any::<u64>(), exclusive in any::<bool>(), uffd_wp in any::<bool>(), small: bool,
    ) {
        let raw = if small { raw & !(OFFSET & !0xf_ffff_ffff) } else { raw };
        let beside = Beside { exclusive, uffd_wp };
        if let Some(soft) = GenericSoft::<K4>::from_raw(raw).soft(beside) {
            prop_assert_eq!(GenericSoft::of(soft), (GenericSoft::<K4>::from_raw(raw), beside));
        }
    }
}
