//! The areas against a map from page to rights, which knows nothing of intervals.

extern crate std;

use super::super::{USER_END, USER_START};
use super::{Huge, Layout, Vma};
use abi::{PAGE_SIZE, Prot, VirtAddr, VirtRange};
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::RngSeed;
use std::collections::BTreeMap;
use std::vec::Vec;

/// Pages at each end of the lower half that the tests play with.
const PAGES: u64 = if cfg!(miri) { 9 } else { 48 };
const CASES: u32 = if cfg!(miri) { 2 } else { 512 };
const STEPS: usize = if cfg!(miri) { 8 } else { 60 };

fn cases() -> ProptestConfig {
    ProptestConfig {
        cases: CASES,
        rng_seed: RngSeed::Fixed(1),
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

/// Page `n` of the playground: the first half of the numbers lies at the start of the lower half,
/// the other at its end.
fn page(n: u64) -> VirtAddr {
    if n < PAGES {
        USER_START + n * PAGE_SIZE
    } else {
        VirtAddr(USER_END.0 - (2 * PAGES - n) * PAGE_SIZE)
    }
}

/// A range whose ends are pages of the playground; it may span the great middle.
fn range() -> impl Strategy<Value = VirtRange> {
    (0..2 * PAGES, 1..=8u64, any::<bool>()).prop_map(|(first, pages, far)| {
        let end = if far { 2 * PAGES - 1 } else { (first + pages).min(2 * PAGES) };
        let end =
            if end <= PAGES { USER_START + end * PAGE_SIZE } else { page(end - 1) + PAGE_SIZE };
        VirtRange::new(page(first), end.max(page(first) + PAGE_SIZE))
    })
}

type Attributes = (Prot, Huge);
/// What each mapped page of the playground permits.
type Model = BTreeMap<VirtAddr, Attributes>;

fn attributes() -> impl Strategy<Value = Attributes> {
    let prots = select(&[Prot::None, Prot::Read, Prot::ReadWrite, Prot::ReadExec][..]);
    (prots, select(&[Huge::Default, Huge::Never][..]))
}

fn playground() -> impl Iterator<Item = VirtAddr> {
    (0..2 * PAGES).map(page)
}

fn in_range(range: VirtRange) -> impl Iterator<Item = VirtAddr> {
    playground().filter(move |va| range.contains(*va))
}

/// Whether the middle, which the model has no pages of, is free in the areas.
fn check(layout: &Layout, model: &Model) {
    let areas: Vec<_> = layout.iter().copied().collect();
    assert!(areas.iter().all(|area| !area.range.is_empty()));
    assert!(areas.windows(2).all(|two| two[0].range.end <= two[1].range.start), "{areas:?}");
    for va in playground() {
        let found = layout.find(va).map(|area| (area.prot, area.huge));
        assert_eq!(found, model.get(&va).copied(), "at {va}");
        // The last byte of a page belongs to the same area as its first.
        assert_eq!(layout.find(va), layout.find(va + (PAGE_SIZE - 1)));
    }
}

#[derive(Clone, Debug)]
enum Step {
    Insert(VirtRange, Attributes),
    Remove(VirtRange),
    Gap { pages: u64, align: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (range(), attributes()).prop_map(|(range, attributes)| Step::Insert(range, attributes)),
        3 => range().prop_map(Step::Remove),
        2 => (1..12u64, select(&[1, 2, 4, 16, 512][..]))
            .prop_map(|(pages, align)| Step::Gap { pages, align }),
    ]
}

/// The free space around `range`, page by page from the model.
fn gap_around(model: &Model, range: VirtRange) -> VirtRange {
    let before = model.range(..range.start).next_back();
    let behind = model.range(range.end..).next();
    VirtRange::new(
        before.map_or(VirtAddr(0), |(va, _)| *va + PAGE_SIZE),
        behind.map_or(USER_END, |(va, _)| *va),
    )
}

/// Whether `range` is narrow enough for the model to have all its pages.
fn is_modelled(range: &VirtRange) -> bool {
    range.pages() <= PAGES
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn areas_are_what_each_page_says(steps in proptest::collection::vec(step(), 1..STEPS)) {
        let (mut layout, mut model) = (Layout::new(), Model::new());
        for step in steps {
            match step {
                Step::Insert(range, (prot, huge)) => {
                    let first = in_range(range).find(|va| model.contains_key(va));
                    let in_the_way = layout.first_overlap(range).copied();
                    prop_assert_eq!(in_the_way.is_some(), first.is_some());
                    if let (Some(area), Some(va)) = (in_the_way, first) {
                        prop_assert!(area.range.contains(va));
                    } else if is_modelled(&range) {
                        layout.insert(Vma::anonymous(range, prot, huge)).expect("memory");
                        model.extend(in_range(range).map(|va| (va, (prot, huge))));
                    }
                }
                Step::Remove(range) => {
                    let gap = layout.remove(range).expect("memory");
                    let held = in_range(range).any(|va| model.contains_key(&va));
                    model.retain(|va, _| !range.contains(*va));
                    prop_assert_eq!(gap, held.then(|| gap_around(&model, range)));
                }
                Step::Gap { pages, align } => {
                    let (bytes, align) = (pages * PAGE_SIZE, align * PAGE_SIZE);
                    let found = layout.find_gap(bytes, align);
                    // The middle is always free, so some place fits; the lowest is low.
                    let fits = |start: &VirtAddr| {
                        let wanted = VirtRange::from_size(*start, bytes);
                        model.range(..wanted.end).next_back().is_none_or(|(va, _)| *va < wanted.start)
                    };
                    let lowest = (0..)
                        .map(|n| USER_START.align_up(align) + n * align)
                        .find(fits);
                    prop_assert_eq!(found, lowest);
                }
            }
            check(&layout, &model);
        }
    }
}

fn area(range: VirtRange) -> Vma {
    Vma::anonymous(range, Prot::Read, Huge::Default)
}

#[test]
fn a_full_space_has_no_gap() {
    let mut layout = Layout::new();
    let hole = VirtRange::from_size(VirtAddr(1 << 40), 3 * PAGE_SIZE);
    for range in [VirtRange::new(USER_START, hole.start), VirtRange::new(hole.end, USER_END)] {
        layout.insert(area(range)).expect("memory");
    }
    assert_eq!(layout.find_gap(3 * PAGE_SIZE, PAGE_SIZE), Some(hole.start));
    assert_eq!(layout.find_gap(4 * PAGE_SIZE, PAGE_SIZE), None);
    assert_eq!(layout.find_gap(2 * PAGE_SIZE, 2 * PAGE_SIZE), Some(hole.start));
    // Room enough, but none that is so aligned.
    layout.remove(VirtRange::from_size(hole.end, PAGE_SIZE)).expect("memory");
    layout.insert(area(VirtRange::from_size(hole.start, PAGE_SIZE))).expect("memory");
    assert_eq!(layout.find_gap(2 * PAGE_SIZE, 4 * PAGE_SIZE), None);
    assert_eq!(layout.find_gap(u64::MAX, PAGE_SIZE), None);
}

#[test]
fn removing_the_middle_keeps_both_ends_with_their_rights() {
    let mut layout = Layout::new();
    let whole = VirtRange::from_size(VirtAddr(1 << 30), 10 * PAGE_SIZE);
    let middle = VirtRange::from_size(whole.start + 3 * PAGE_SIZE, 4 * PAGE_SIZE);
    layout.insert(Vma::anonymous(whole, Prot::ReadExec, Huge::Never)).expect("memory");
    assert_eq!(layout.remove(middle), Ok(Some(middle)));
    let rest = |range| Vma::anonymous(range, Prot::ReadExec, Huge::Never);
    let left: Vec<_> = layout.iter().copied().collect();
    let (before, after) =
        (VirtRange::new(whole.start, middle.start), VirtRange::new(middle.end, whole.end));
    assert_eq!(left, [rest(before), rest(after)]);
    // Nothing there any more: nothing to do, and no gap to report.
    assert_eq!(layout.remove(middle), Ok(None));
}

#[test]
fn an_area_has_huge_pages_only_where_it_covers_them() {
    let huge_bytes = 512 * PAGE_SIZE;
    let block = VirtRange::from_size(VirtAddr(7 * huge_bytes), huge_bytes);
    let inside = block.start + 5 * PAGE_SIZE;
    let of = |range| Vma::anonymous(range, Prot::Read, Huge::Default).block_around(inside, huge_bytes);
    assert_eq!(of(block), Some(block));
    let short = VirtRange::new(block.start + PAGE_SIZE, block.end);
    assert_eq!(of(short), None);
    let short = VirtRange::new(block.start, VirtAddr(block.end.0 - PAGE_SIZE));
    assert_eq!(of(short), None);
}
