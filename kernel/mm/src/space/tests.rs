//! The parts of an address space that need no machine. Whole spaces are tested on the simulated
//! machine.

extern crate std;

use super::fault::touched;
use super::{MapError, USER_END, USER_START, UnmapError, check_range};
use abi::{Access, Level, PAGE_SIZE, Pfn, Prot, VirtAddr, VirtRange};
use pte::Leaf;
use std::string::ToString;

/// Addresses around everything that matters, aligned and not.
fn edges() -> impl Iterator<Item = VirtAddr> {
    [0, PAGE_SIZE, USER_START.0, 1 << 40, USER_END.0, 0xffff << 48, u64::MAX - 4095]
        .into_iter()
        .flat_map(|at: u64| [at.saturating_sub(PAGE_SIZE), at.saturating_sub(1), at, at + 1])
        .map(VirtAddr)
}

#[test]
fn a_range_is_good_when_it_is_whole_pages_of_the_lower_half() {
    let mut good = 0;
    for start in edges() {
        for end in edges() {
            let range = VirtRange { start, end };
            let is_good = start.0 % PAGE_SIZE == 0
                && end.0 % PAGE_SIZE == 0
                && (USER_START.0..USER_END.0).contains(&start.0)
                && end.0 > start.0
                && end.0 <= 1 << 48;
            assert_eq!(check_range(range), if is_good { Ok(()) } else { Err(range) }, "{range}");
            good += u32::from(is_good);
        }
    }
    assert!(good > 3, "the edges have good ranges among them");
}

#[test]
fn refusals_name_the_range() {
    let range = VirtRange::new(VirtAddr(0x1234), VirtAddr(0x5000));
    let other = VirtRange::new(VirtAddr(0x2000), VirtAddr(0x3000));
    let occupied = MapError::Occupied { wanted: range, by: other }.to_string();
    assert!(occupied.contains("0x1234..0x5000") && occupied.contains("0x2000..0x3000"));
    let bad = MapError::BadRange(range).to_string();
    assert!(bad.contains("0x1234..0x5000"));
    assert_eq!(UnmapError::BadRange(range).to_string(), bad);
    assert!(MapError::NoRoom { bytes: 3 << 10 }.to_string().contains("3 KiB"));
}

#[test]
fn an_access_leaves_its_mark_and_no_rights() {
    for level in [Level::Pmd, Level::Pte] {
        for prot in [Prot::Read, Prot::ReadWrite, Prot::ReadExec] {
            let fresh = Leaf::user(level, Pfn(512), prot).made_old();
            for access in [Access::Read, Access::Write, Access::Exec] {
                if !prot.allows(access) {
                    continue;
                }
                let leaf = touched(fresh, access);
                assert!(leaf.is_young());
                assert_eq!(leaf.is_dirty(), access == Access::Write);
                assert_eq!((leaf.prot(), leaf.pfn(), leaf.level()), (prot, Pfn(512), level));
                assert_eq!(touched(leaf, access), leaf, "twice is as good as once");
            }
        }
    }
}
