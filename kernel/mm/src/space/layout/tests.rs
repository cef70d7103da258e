//! The areas against a map from page to attributes, which knows nothing of intervals.

extern crate std;

use super::super::{Huge, USER_END, USER_START, Vma};
use super::Layout;
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

/// Rights, advice, and what the page is called.
type Attributes = (Prot, Huge, u64);
/// What each mapped page of the playground is.
type Model = BTreeMap<VirtAddr, Attributes>;

fn prots() -> impl Strategy<Value = Prot> {
    select(&[Prot::None, Prot::Read, Prot::ReadWrite, Prot::ReadExec][..])
}

fn playground() -> impl Iterator<Item = VirtAddr> {
    (0..2 * PAGES).map(page)
}

fn in_range(range: VirtRange) -> impl Iterator<Item = VirtAddr> {
    playground().filter(move |va| range.contains(*va))
}

/// Whether `range` is narrow enough for the model to have all its pages.
fn is_modelled(range: &VirtRange) -> bool {
    range.pages() <= PAGES
}

/// The layout says of each page what the model says, in as few areas as can be.
fn check(layout: &Layout, model: &Model) {
    let areas: Vec<_> = layout.iter().copied().collect();
    assert!(areas.iter().all(|area| !area.range.is_empty()));
    for two in areas.windows(2) {
        assert!(two[0].range.end <= two[1].range.start, "out of order: {two:?}");
        assert!(!two[0].is_continued_by(&two[1]), "could be one: {two:?}");
    }
    for va in playground() {
        let found = layout.find(va).map(|area| (area.prot, area.huge, area.index_at(va)));
        assert_eq!(found, model.get(&va).copied(), "at {va}");
        // The last byte of a page belongs to the same area as its first.
        assert_eq!(layout.find(va), layout.find(va + (PAGE_SIZE - 1)));
    }
}

#[derive(Clone, Debug)]
enum Step {
    /// Maps, and then has moved here by so many pages.
    Insert(VirtRange, Prot, u64),
    Remove(VirtRange),
    Protect(VirtRange, Prot),
    Advise(VirtRange, Huge),
    Gap {
        pages: u64,
        align: u64,
        offset: u64,
        keep: bool,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let moved = || prop_oneof![3 => Just(0), 1 => 1..4u64];
    prop_oneof![
        4 => (range(), prots(), moved()).prop_map(|(range, prot, by)| Step::Insert(range, prot, by)),
        3 => range().prop_map(Step::Remove),
        2 => (range(), prots()).prop_map(|(range, prot)| Step::Protect(range, prot)),
        1 => (range(), select(&[Huge::Default, Huge::Never][..]))
            .prop_map(|(range, huge)| Step::Advise(range, huge)),
        3 => (1..12u64, select(&[1, 2, 4, 16, 512][..]), 0..512u64, any::<bool>())
            .prop_map(|(pages, align, offset, keep)| {
                Step::Gap { pages, align, offset: offset % align, keep }
            }),
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

fn add(layout: &mut Layout, area: Vma) {
    let mut room = layout.room().expect("memory");
    layout.insert(area, None, &mut room);
}

fn edit(layout: &mut Layout, range: VirtRange, change: impl Fn(Vma) -> Option<Vma>) {
    let mut room = layout.room().expect("memory");
    layout.edit(range, &mut room, change);
}

fn remove(layout: &mut Layout, range: VirtRange) {
    edit(layout, range, |_| None);
}

fn find_gap(layout: &Layout, bytes: u64, align: u64) -> Option<VirtAddr> {
    layout.find_gap(bytes, align, 0).map(|gap| gap.start)
}

/// An area whose pages were born `by` pages further down.
fn area_moved_by(range: VirtRange, prot: Prot, by: u64) -> Vma {
    let area = Vma::anonymous(range, prot, Huge::Default);
    Vma { index: area.index - by, ..area }
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn areas_are_what_each_page_says(steps in proptest::collection::vec(step(), 1..STEPS)) {
        let (mut layout, mut model) = (Layout::new(), Model::new());
        for step in steps {
            match step {
                Step::Insert(range, prot, by) => {
                    let first = in_range(range).find(|va| model.contains_key(va));
                    let in_the_way = layout.first_overlap(range).copied();
                    prop_assert_eq!(in_the_way.is_some(), first.is_some());
                    if let (Some(area), Some(va)) = (in_the_way, first) {
                        prop_assert!(area.range.contains(va));
                    } else if is_modelled(&range) {
                        let area = area_moved_by(range, prot, by);
                        add(&mut layout, area);
                        model.extend(in_range(range).map(|va| {
                            (va, (prot, area.huge, area.index_at(va)))
                        }));
                    }
                }
                Step::Remove(range) => {
                    remove(&mut layout, range);
                    model.retain(|va, _| !range.contains(*va));
                    prop_assert_eq!(layout.gap_around(range), gap_around(&model, range));
                }
                Step::Protect(range, prot) => {
                    edit(&mut layout, range, |area| Some(Vma { prot, ..area }));
                    model.range_mut(range.start..range.end).for_each(|(_, page)| page.0 = prot);
                }
                Step::Advise(range, huge) => {
                    edit(&mut layout, range, |area| Some(Vma { huge, ..area }));
                    model.range_mut(range.start..range.end).for_each(|(_, page)| page.1 = huge);
                }
                Step::Gap { pages, align, offset, keep } => {
                    let sizes = [pages, align, offset].map(|pages| pages * PAGE_SIZE);
                    let [bytes, align, offset] = sizes;
                    let found = layout.find_gap(bytes, align, offset);
                    // The middle is always free, so some place fits; the lowest is low.
                    let fits = |start: &VirtAddr| {
                        let wanted = VirtRange::from_size(*start, bytes);
                        model.range(..wanted.end).next_back().is_none_or(|(va, _)| *va < wanted.start)
                    };
                    let lowest = (0..)
                        .map(|n| VirtAddr(USER_START.0 / align * align + offset + n * align))
                        .filter(|start| *start >= USER_START)
                        .find(fits);
                    prop_assert_eq!(found.map(|gap| gap.start), lowest);
                    let range = found.map(|gap| VirtRange::from_size(gap.start, bytes));
                    if let (true, Some(gap), Some(range)) = (keep, found, range)
                        && range.end <= USER_START + PAGES * PAGE_SIZE
                    {
                        let area = Vma::anonymous(range, Prot::Read, Huge::Default);
                        let mut room = layout.room().expect("memory");
                        layout.insert(area, Some(gap), &mut room);
                        model.extend(in_range(range).map(|va| {
                            (va, (area.prot, area.huge, area.index_at(va)))
                        }));
                    }
                }
            }
            let hole = layout.first_hole(VirtRange::new(page(0), page(PAGES - 1)));
            let free = in_range(VirtRange::new(page(0), page(PAGES - 1)))
                .find(|va| !model.contains_key(va));
            prop_assert_eq!(hole.map(|hole| hole.start), free);
            let strange = layout.iter().any(|area| !area.is_at_birthplace());
            prop_assert!(layout.is_moved() || !strange);
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
        add(&mut layout, area(range));
    }
    assert_eq!(find_gap(&layout, 3 * PAGE_SIZE, PAGE_SIZE), Some(hole.start));
    assert_eq!(find_gap(&layout, 4 * PAGE_SIZE, PAGE_SIZE), None);
    assert_eq!(find_gap(&layout, 2 * PAGE_SIZE, 2 * PAGE_SIZE), Some(hole.start));
    // Room enough, but none that is so aligned.
    remove(&mut layout, VirtRange::from_size(hole.end, PAGE_SIZE));
    add(&mut layout, area(VirtRange::from_size(hole.start, PAGE_SIZE)));
    assert_eq!(find_gap(&layout, 2 * PAGE_SIZE, 4 * PAGE_SIZE), None);
    assert_eq!(find_gap(&layout, u64::MAX, PAGE_SIZE), None);
}

/// A search begins where the last one has shown that there is nothing below; what is freed below is
/// found all the same.
#[test]
fn a_search_remembers_where_there_is_nothing() {
    let mut layout = Layout::new();
    let place = |n: u64| VirtRange::from_size(USER_START + 2 * n * PAGE_SIZE, PAGE_SIZE);
    (0..200).for_each(|n| add(&mut layout, area(place(n))));
    let fresh = |layout: &mut Layout| {
        let gap = layout.find_gap(2 * PAGE_SIZE, PAGE_SIZE, 0).expect("room");
        let mut room = layout.room().expect("memory");
        let range = VirtRange::from_size(gap.start, 2 * PAGE_SIZE);
        layout.insert(area(range), Some(gap), &mut room);
        (gap.start, gap.searched.to)
    };
    let (first, to) = fresh(&mut layout);
    assert_eq!((first, to), (place(199).end, place(199).end));
    let (second, next) = fresh(&mut layout);
    assert_eq!(second, first + 2 * PAGE_SIZE);
    assert!(next >= to, "the next search begins there");
    remove(&mut layout, place(50));
    let (found, _) = fresh(&mut layout);
    assert_eq!(found, place(49).end, "three pages are free between two");
    // A smaller one fits between the first two, of which the searches so far have passed many.
    assert_eq!(find_gap(&layout, PAGE_SIZE, PAGE_SIZE), Some(place(0).end));
}

#[test]
fn removing_the_middle_keeps_both_ends_with_their_rights() {
    let mut layout = Layout::new();
    let whole = VirtRange::from_size(VirtAddr(1 << 30), 10 * PAGE_SIZE);
    let middle = VirtRange::from_size(whole.start + 3 * PAGE_SIZE, 4 * PAGE_SIZE);
    add(&mut layout, Vma::anonymous(whole, Prot::ReadExec, Huge::Never));
    remove(&mut layout, middle);
    assert_eq!(layout.gap_around(middle), middle);
    let rest = |range| Vma::anonymous(range, Prot::ReadExec, Huge::Never);
    let left: Vec<_> = layout.iter().copied().collect();
    let (before, after) =
        (VirtRange::new(whole.start, middle.start), VirtRange::new(middle.end, whole.end));
    assert_eq!(left, [rest(before), rest(after)]);
    // What comes between them again, and is no different, makes them one.
    add(&mut layout, rest(middle));
    assert_eq!(layout.iter().copied().collect::<Vec<_>>(), [rest(whole)]);
}

#[test]
fn a_change_allocates_nothing() {
    let mut layout = Layout::new();
    let range = |n: u64| VirtRange::from_size(VirtAddr(1 << 30) + 9 * n * PAGE_SIZE, 8 * PAGE_SIZE);
    for n in 0..40 {
        let mut room = layout.room().expect("memory");
        let before = (layout.areas.capacity(), room.0.capacity());
        layout.insert(area(range(n)), None, &mut room);
        let after = (layout.areas.capacity(), room.0.capacity());
        assert!(after == before || after == (before.1, before.0), "exchanged, not grown");

        let mut room = layout.room().expect("memory");
        let before = (layout.areas.capacity(), room.0.capacity());
        let inner = VirtRange::from_size(range(n).start + PAGE_SIZE, PAGE_SIZE);
        layout.edit(inner, &mut room, |area| Some(Vma { prot: Prot::None, ..area }));
        let after = (layout.areas.capacity(), room.0.capacity());
        assert!(after == before || after == (before.1, before.0), "exchanged, not grown");
    }
    assert_eq!(layout.iter().count(), 120);
}
