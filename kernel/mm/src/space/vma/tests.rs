//! One area by itself.

extern crate std;

use super::{Huge, Vma};
use abi::{PAGE_SIZE, Prot, VirtAddr, VirtRange};

fn pages(first: u64, n: u64) -> VirtRange {
    VirtRange::from_size(VirtAddr((1 << 30) + first * PAGE_SIZE), n * PAGE_SIZE)
}

fn area(range: VirtRange) -> Vma {
    Vma::anonymous(range, Prot::Read, Huge::Default)
}

#[test]
fn an_area_has_huge_pages_only_where_it_covers_them() {
    let huge_bytes = 512 * PAGE_SIZE;
    let block = VirtRange::from_size(VirtAddr(7 * huge_bytes), huge_bytes);
    let inside = block.start + 5 * PAGE_SIZE;
    let of = |range| area(range).block_around(inside, huge_bytes);
    assert_eq!(of(block), Some(block));
    let short = VirtRange::new(block.start + PAGE_SIZE, block.end);
    assert_eq!(of(short), None);
    let short = VirtRange::new(block.start, VirtAddr(block.end.0 - PAGE_SIZE));
    assert_eq!(of(short), None);
}

#[test]
fn pages_keep_what_they_are_called_where_the_area_is_cut_or_moved() {
    let whole = area(pages(0, 10));
    let moved = whole.cut(pages(3, 4)).moved_to(VirtAddr(5 << 30));
    assert_eq!(moved.index, whole.index_at(pages(3, 1).start));
    assert!(whole.is_at_birthplace() && !moved.is_at_birthplace());
    for page in 0..4 {
        let (old, new) = (pages(3 + page, 1).start, VirtAddr(5 << 30) + page * PAGE_SIZE);
        assert_eq!(moved.index_at(new), whole.index_at(old));
        assert_eq!(
            moved.addresses_of(whole.index_at(old), 1),
            VirtRange::from_size(new, PAGE_SIZE)
        );
    }
}

#[test]
fn addresses_of_pages_are_cut_to_the_area() {
    let area = area(pages(0, 10));
    let of = |first: u64, n| area.addresses_of(area.index - 5 + first, n);
    assert!(of(0, 5).is_empty() && of(15, 3).is_empty());
    assert_eq!(of(0, 6), pages(0, 1));
    assert_eq!(of(0, 99), pages(0, 10));
    assert_eq!(of(7, 2), pages(2, 2));
    assert_eq!(of(14, 7), pages(9, 1));
}

#[test]
fn only_what_differs_in_nothing_continues_an_area() {
    let first = area(pages(0, 4));
    let next = area(pages(4, 4));
    assert!(first.is_continued_by(&next));
    assert!(!next.is_continued_by(&first) && !first.is_continued_by(&area(pages(5, 4))));
    let others = [
        Vma { prot: Prot::ReadWrite, ..next },
        Vma { huge: Huge::Never, ..next },
        Vma { index: next.index + 1, ..next },
        Vma::frames(next.range, next.prot),
    ];
    for other in others {
        assert!(!first.is_continued_by(&other), "{other:?}");
    }
    // Both halves of a moved area know where the other came from.
    let moved = area(pages(0, 4)).moved_to(pages(100, 1).start);
    let (low, high) = (moved.cut(pages(100, 1)), moved.cut(pages(101, 3)));
    assert!(low.is_continued_by(&high));
    let frames = Vma::frames(pages(0, 4), Prot::Read);
    assert!(!frames.is_continued_by(&Vma::frames(pages(4, 4), Prot::Read)));
}
