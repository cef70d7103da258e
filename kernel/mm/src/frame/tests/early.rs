//! The boot's list of ranges against a set of pages.

extern crate std;

use super::super::{EarlyError, EarlyMemory};
use super::cases;
use abi::{PAGE_SIZE, PhysAddr, PhysRange};
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::string::ToString;
use std::vec::Vec;

/// The pages of the playground.
const PAGES: u64 = 96;
const CASES: u32 = if cfg!(miri) { 4 } else { 512 };

#[derive(Clone, Debug)]
enum Step {
    Add(PhysRange),
    Reserve(PhysRange),
    Take { bytes: u64, align: u64 },
}

/// Ranges that seldom begin or end with a page.
fn range() -> impl Strategy<Value = PhysRange> {
    let edge = || prop_oneof![0..PAGES * PAGE_SIZE, (0..PAGES).prop_map(|page| page * PAGE_SIZE)];
    (edge(), edge()).prop_map(|(a, b)| PhysRange::new(PhysAddr(a.min(b)), PhysAddr(a.max(b))))
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => range().prop_map(Step::Add),
        3 => range().prop_map(Step::Reserve),
        2 => (1..9 * PAGE_SIZE, 0..17u32)
            .prop_map(|(bytes, shift)| Step::Take { bytes, align: 1 << shift }),
    ]
}

/// The numbers of the pages that lie in `range`, wholly or (`touched`) in part.
fn within(range: PhysRange) -> impl Iterator<Item = u64> {
    range.start.0.div_ceil(PAGE_SIZE)..range.end.0 / PAGE_SIZE
}

fn touched(range: PhysRange) -> impl Iterator<Item = u64> {
    let end = if range.is_empty() { 0 } else { range.end.0.div_ceil(PAGE_SIZE) };
    range.start.0 / PAGE_SIZE..end
}

/// The pages of the list, each of which must be there once.
fn pages(memory: &EarlyMemory) -> BTreeSet<u64> {
    let mut pages = BTreeSet::new();
    for range in memory.ranges() {
        assert!(!range.is_empty() && range.start.is_aligned(PAGE_SIZE));
        assert!(range.end.is_aligned(PAGE_SIZE));
        for page in within(*range) {
            assert!(pages.insert(page), "page {page} is in two ranges");
        }
    }
    pages
}

proptest! {
    #![proptest_config(cases(CASES))]

    #[test]
    fn the_list_is_what_was_added_less_what_was_taken(
        steps in proptest::collection::vec(step(), 1..40),
    ) {
        let mut memory = EarlyMemory::new();
        let mut model = BTreeSet::new();
        for step in steps {
            match step {
                Step::Add(range) => {
                    memory.add(range).expect("few ranges");
                    model.extend(within(range));
                }
                Step::Reserve(range) => {
                    memory.reserve(range).expect("few ranges");
                    touched(range).for_each(|page| {
                        model.remove(&page);
                    });
                }
                Step::Take { bytes, align } => {
                    let size = bytes.next_multiple_of(PAGE_SIZE);
                    // The highest place of any range, tried page by page.
                    let highest = memory
                        .ranges()
                        .iter()
                        .flat_map(|free| within(*free).map(move |page| (page * PAGE_SIZE, free)))
                        .filter(|(start, free)| {
                            start.is_multiple_of(align) && start + size <= free.end.0
                        })
                        .map(|(start, _)| PhysRange::from_size(PhysAddr(start), size))
                        .max_by_key(|range| range.start);
                    let taken = memory.take(bytes, align);
                    prop_assert_eq!(taken, highest.ok_or(EarlyError::OutOfMemory { bytes }));
                    taken.into_iter().flat_map(within).for_each(|page| assert!(model.remove(&page)));
                }
            }
            prop_assert_eq!(pages(&memory), model.clone());
        }
    }
}

#[test]
fn a_list_that_is_full_says_so_and_gives_nothing_twice() {
    let mut memory = EarlyMemory::new();
    let all = PhysRange::new(PhysAddr(0), PhysAddr(1024 * PAGE_SIZE));
    memory.add(all).expect("one range");
    // Every other page: each makes one range two.
    let mut taken = Vec::new();
    let error = loop {
        let page =
            PhysRange::from_size(PhysAddr((2 * taken.len() as u64 + 1) * PAGE_SIZE), PAGE_SIZE);
        taken.push(page);
        match memory.reserve(page) {
            Ok(()) => assert!(taken.len() < 1000, "never full"),
            Err(error) => break error,
        }
    };
    let EarlyError::TooManyRanges { range } = error else { panic!("{error}") };
    assert!(all.covers(&range));
    let left = pages(&memory);
    assert!(taken.iter().flat_map(|range| within(*range)).all(|page| !left.contains(&page)));
    // What fits goes on.
    assert!(memory.take(PAGE_SIZE, 1).is_ok());
}

#[test]
fn requests_that_no_machine_has_are_refused() {
    let mut memory = EarlyMemory::new();
    memory.add(PhysRange::new(PhysAddr(0), PhysAddr(64 * PAGE_SIZE))).expect("one range");
    for (bytes, align) in [(65 * PAGE_SIZE, 1), (u64::MAX, 1), (u64::MAX - 4095, 4096)] {
        assert_eq!(memory.take(bytes, align), Err(EarlyError::OutOfMemory { bytes }));
    }
    assert_eq!(pages(&memory).len(), 64);
    assert!(EarlyError::OutOfMemory { bytes: 1 << 20 }.to_string().contains("1024 KiB"));
}

#[test]
fn ranges_at_the_end_of_the_address_space_do_not_wrap() {
    let mut memory = EarlyMemory::new();
    let last = PhysAddr(u64::MAX).align_down(PAGE_SIZE);
    for range in [
        PhysRange::new(PhysAddr(u64::MAX - 10), PhysAddr(u64::MAX)),
        PhysRange::from_size(last + 1, u64::MAX),
        PhysRange::from_size(last, u64::MAX),
    ] {
        memory.add(range).expect("room");
        assert_eq!(memory.ranges(), &[], "the last page is not whole: its end is no address");
    }
    let before = PhysRange::new(PhysAddr(last.0 - PAGE_SIZE), PhysAddr(u64::MAX));
    memory.add(before).expect("room");
    assert_eq!(memory.ranges(), &[PhysRange::new(before.start, last)]);
    memory.reserve(PhysRange::new(PhysAddr(last.0 - 1), PhysAddr(u64::MAX))).expect("room");
    assert_eq!(memory.ranges(), &[]);
}
