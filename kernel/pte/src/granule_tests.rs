use super::*;
use crate::bits::{ADDRESS, SOFT_DIRTY, SOFT_PFN, SOFT_YOUNG};

/// Page shift, entries, order of a PMD leaf and of a contiguous set of pages in bytes, of PMDs in bytes.
fn sizes<G: Granule>() -> [u64; 6] {
    [
        span::<G>(Level::Pte),
        G::ENTRIES as u64,
        span::<G>(Level::Pmd),
        order::<G>(Level::Pmd).0.into(),
        span::<G>(Level::Pte) * set_entries::<G>(Level::Pte) as u64,
        span::<G>(Level::Pmd) * set_entries::<G>(Level::Pmd) as u64,
    ]
}

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

#[test]
fn geometry_by_hand() {
    assert_eq!(sizes::<K4>(), [4 * KIB, 512, 2 * MIB, 9, 64 * KIB, 32 * MIB]);
    assert_eq!(sizes::<K16>(), [16 * KIB, 2048, 32 * MIB, 11, 2 * MIB, GIB]);
    assert_eq!(sizes::<K64>(), [64 * KIB, 8192, 512 * MIB, 13, 2 * MIB, 16 * GIB]);
    assert_eq!((span::<K4>(Level::Pud), order::<K4>(Level::Pud).0), (GIB, 18));
    assert_eq!(set_entries::<K4>(Level::Pud), 1);
}

#[test]
fn fields_by_hand() {
    assert_eq!([K4::ADDRESS, K4::OUTPUT], [0x0000_ffff_ffff_f000, 0x0003_ffff_ffff_f000]);
    assert_eq!([K16::ADDRESS, K16::OUTPUT], [0x0000_ffff_ffff_c000, 0x0003_ffff_ffff_c000]);
    assert_eq!([K64::ADDRESS, K64::OUTPUT], [0x0000_ffff_ffff_0000, 0x0003_ffff_ffff_0000]);
    assert_eq!([K4::SOFT_PFN, K4::SOFT_YOUNG, K4::SOFT_DIRTY], [K4::ADDRESS, 1 << 48, 1 << 49]);
    assert_eq!(K16::SOFT_PFN, 0x0000_3fff_ffff_f000);
    assert_eq!([K16::SOFT_YOUNG, K16::SOFT_DIRTY], [1 << 46, 1 << 47]);
    assert_eq!(K64::SOFT_PFN, 0x0000_0fff_ffff_f000);
    assert_eq!([K64::SOFT_YOUNG, K64::SOFT_DIRTY], [1 << 44, 1 << 45]);
    assert_eq!((K4::PFN_BITS, K16::PFN_BITS, K64::PFN_BITS), (36, 34, 32));
    assert_eq!([ADDRESS, SOFT_YOUNG, SOFT_DIRTY], [K4::ADDRESS, 1 << 48, 1 << 49]);
    assert_eq!(SOFT_PFN, 0x0003_ffff_ffff_f000);
}

fn walk<G: Granule>(va: u64) -> [usize; 4] {
    Level::ALL.map(|level| index::<G>(level, VirtAddr(va)))
}

#[test]
fn indices_by_hand() {
    // Entries 1, 2, 3, 4 of the four tables, and some bytes into the page.
    assert_eq!(walk::<K4>(1 << 39 | 2 << 30 | 3 << 21 | 4 << 12 | 0xfff), [1, 2, 3, 4]);
    assert_eq!(walk::<K16>(1 << 47 | 2 << 36 | 3 << 25 | 4 << 14 | 0x3fff), [1, 2, 3, 4]);
    assert_eq!(walk::<K64>(2 << 42 | 3 << 29 | 4 << 16 | 0xffff)[1..], [2, 3, 4]);
    let last = walk::<K4>(u64::MAX >> 16);
    assert_eq!(last, [511; 4]);
    assert_eq!(walk::<K64>(u64::MAX >> 16)[1..], [63, 8191, 8191]);
}

#[test]
fn levels_hold_what_the_architecture_lets_them() {
    fn kinds<G: Granule>() -> [(bool, bool); 4] {
        Level::ALL.map(|level| (has_tables::<G>(level), has_leaves::<G>(level)))
    }
    let (no, table, leaf, both) = ((false, false), (true, false), (false, true), (true, true));
    assert_eq!(kinds::<K4>(), [table, both, both, leaf]);
    assert_eq!(kinds::<K16>(), [table, table, both, leaf]);
    assert_eq!(kinds::<K64>(), [no, table, both, leaf]);
}

#[test]
fn the_address_of_a_leaf_is_aligned_to_what_it_maps() {
    assert_eq!(leaf_address::<K4>(Level::Pmd), 0x0000_ffff_ffe0_0000);
    assert_eq!(leaf_address::<K4>(Level::Pud), 0x0000_ffff_c000_0000);
    assert_eq!(crate::bits::leaf_address(Level::Pud), 0x0000_ffff_c000_0000);
    assert_eq!(leaf_address::<K16>(Level::Pmd), 0x0000_ffff_fe00_0000);
    assert_eq!(leaf_address::<K64>(Level::Pmd), 0x0000_ffff_e000_0000);
    assert_eq!(leaf_address::<K16>(Level::Pte), K16::ADDRESS);
    assert_eq!((base::<K4>(Pfn(3)), base::<K64>(Pfn(3))), (0x3000, 0x3_0000));
}
