use super::*;
use proptest::prelude::*;
use std::vec;
use std::vec::Vec;

const ASID: Asid = Asid(9);
const ONLY: AsidMatch = AsidMatch::Only(ASID);
const RANGES: Caps = Caps::MAX;
const PAGES: Caps = Caps::CORTEX_A72;

fn pages(first: u64, count: u64) -> VirtRange {
    VirtRange::from_size(VirtAddr(first << PAGE_SHIFT), count << PAGE_SHIFT)
}

fn plan(inv: &Invalidation, caps: &Caps) -> Vec<Tlbi> {
    Plan::new(inv, caps, &CostModel::LINUX).collect()
}

/// The pages that one operation takes off a plan.
fn worth(op: &Tlbi, stride: Level) -> u64 {
    match op.target {
        Target::Va { .. } => stride.span() >> PAGE_SHIFT,
        Target::Range { scale, num, .. } => range_pages(scale, num),
        Target::All | Target::Asid(_) => u64::MAX,
    }
}

/// The fewest operations that cover `n` pages exactly, for each `n` below `limit`, by trying all:
/// single pages, and each range that the format can express.
fn fewest(limit: usize) -> Vec<u32> {
    let mut sizes = vec![1];
    for scale in 0..4 {
        sizes.extend((0..32).map(|num| range_pages(scale, num) as usize));
    }
    sizes.sort_unstable();
    let mut best = vec![0; limit];
    for n in 1..limit {
        let usable = sizes.iter().take_while(|size| **size <= n);
        best[n] = usable.map(|size| best[n - size] + 1).min().unwrap_or(u32::MAX);
    }
    best
}

#[test]
fn every_length_takes_the_fewest_operations_there_are() {
    let best = fewest(5000);
    for (count, best) in best.into_iter().enumerate() {
        let inv = Invalidation::leaves(pages(0x1_0003, count as u64), Level::Pte, ONLY);
        let ops = plan(&inv, &RANGES);
        assert_eq!(ops.len(), best as usize, "{count} pages");
        let covered: u64 = ops.iter().map(|op| worth(op, Level::Pte)).sum();
        assert_eq!(covered, count as u64);
    }
}

#[test]
fn without_ranges_the_threshold_is_linux_s() {
    let leaves = |count| Invalidation::leaves(pages(5, count), Level::Pte, ONLY);
    assert_eq!(plan(&leaves(511), &PAGES).len(), 511);
    assert_eq!(
        plan(&leaves(512), &PAGES),
        [Tlbi { target: Target::Asid(ASID), scope: Scope::InnerShareable }]
    );
    let kernel = Invalidation { asid: AsidMatch::Any, scope: Scope::Local, ..leaves(512) };
    assert_eq!(plan(&kernel, &PAGES), [Tlbi { target: Target::All, scope: Scope::Local }]);
}

/// An odd page beside ranges has its price too.
#[test]
fn the_odd_page_of_a_range_is_paid_for() {
    let cost = CostModel { max_ops: 512, by_va: 3, by_range: 7 };
    let three = Invalidation::leaves(pages(5, 3), Level::Pte, ONLY);
    assert_eq!(Plan::new(&three, &RANGES, &cost).len(), 3);
    let four = Invalidation::leaves(pages(5, 4), Level::Pte, ONLY);
    assert_eq!(Plan::new(&four, &RANGES, &cost).len(), 1);
    // At the same price by address: that is said of single leaves, and no more.
    let even = CostModel { by_va: 1, by_range: 4, ..cost };
    assert_eq!(Plan::new(&four, &RANGES, &even).len(), 4);
    // From the price of everything on, everything goes, by range as by address.
    for (by_range, whole) in [(511, false), (512, true)] {
        let dear = CostModel { max_ops: 512, by_va: 1, by_range };
        let many = Invalidation::leaves(pages(0, 2048), Level::Pte, ONLY);
        assert_eq!(Plan::new(&many, &RANGES, &dear).is_whole(), whole);
    }
}

/// A loop of its own over the leaves issues what the plan would yield; and only where that is all by address,
/// for one space, and walks stay.
#[test]
fn leaves_in_a_row_are_what_the_plan_yields() {
    for (hint, hinted) in [(Some(Level::Pmd), true), (Some(Level::Pte), false), (None, false)] {
        let range = VirtRange::from_size(VirtAddr(6 << 21), 5 << 21);
        let inv = Invalidation { hint, ..Invalidation::leaves(range, Level::Pmd, ONLY) };
        let plan = Plan::new(&inv, &PAGES, &CostModel::LINUX);
        assert!(!plan.is_whole());
        assert_eq!(plan.hint(), hint.filter(|_| hinted));
        let (n, first, bytes, asid) = plan.leaves().expect("five blocks of one space");
        let (asid, depth, hint) = (AsidMatch::Only(asid), Depth::LastLevel, plan.hint());
        let op = |va| Tlbi { target: Target::Va { va, asid, depth, hint }, scope: inv.scope };
        let ops: Vec<_> = (0..n).map(|i| op(first + i * bytes)).collect();
        assert_eq!(ops, plan.collect::<Vec<_>>());
    }
    let few = Invalidation::leaves(pages(5, 7), Level::Pte, ONLY);
    let others = [
        (few, RANGES),
        (Invalidation { asid: AsidMatch::Any, ..few }, PAGES),
        (Invalidation { depth: Depth::AllLevels, ..few }, PAGES),
        (Invalidation { range: pages(5, 7000), ..few }, PAGES),
        (Invalidation { range: pages(5, 0), ..few }, PAGES),
    ];
    for (inv, caps) in others {
        let plan = Plan::new(&inv, &caps, &CostModel::LINUX);
        assert_eq!(plan.leaves(), None, "{inv:?}");
        assert_eq!(plan.is_whole(), inv.range.bytes() == 7000 << PAGE_SHIFT);
    }
}

fn by_va_alone(ops: &[Tlbi]) -> bool {
    matches!(ops, [Tlbi { target: Target::Va { .. }, .. }])
}

/// What needs no plan is what a plan would have said.
#[test]
fn a_single_operation_is_the_plan_for_one_leaf() {
    for caps in [PAGES, RANGES] {
        for (first, count) in
            [(0x400, 1), (0x401, 1), (0x3ff, 2), (0x400, 512), (0x433, 0), (0x433, 9)]
        {
            for level in [Level::Pte, Level::Pmd] {
                for hint in [None, Some(Level::Pte), Some(Level::Pmd)] {
                    let range = pages(first, count);
                    let inv = Invalidation { hint, ..Invalidation::leaves(range, level, ONLY) };
                    match inv.single() {
                        Some(op) => assert_eq!(plan(&inv, &caps), [op]),
                        // One operation may do for more than a leaf, but it is another one.
                        None => assert!(!by_va_alone(&plan(&inv, &caps)), "{range} {level}"),
                    }
                }
            }
        }
    }
}

#[test]
fn one_block_takes_one_operation_with_its_level() {
    for caps in [PAGES, RANGES] {
        let inv = Invalidation::leaves(pages(0x400, 512), Level::Pmd, ONLY);
        let target = Target::Va {
            va: VirtAddr(0x40_0000),
            asid: ONLY,
            depth: Depth::LastLevel,
            hint: Some(Level::Pmd),
        };
        assert_eq!(plan(&inv, &caps), [Tlbi { target, scope: Scope::InnerShareable }]);
    }
}

#[test]
fn tables_go_without_a_hint_and_with_their_walks() {
    let inv = Invalidation::mixed(pages(0, 3), AsidMatch::Any);
    for op in plan(&inv, &PAGES).into_iter().chain(plan(&inv, &RANGES)) {
        match op.target {
            Target::Va { depth, hint, .. } | Target::Range { depth, hint, .. } => {
                assert_eq!((depth, hint), (Depth::AllLevels, None));
            }
            Target::All | Target::Asid(_) => panic!("three pages are no reason to flush all"),
        }
    }
}

#[test]
fn a_hint_that_contradicts_the_stride_is_dropped() {
    let leaves = Invalidation::leaves(pages(0, 1024), Level::Pmd, ONLY);
    let inv = Invalidation { hint: Some(Level::Pte), ..leaves };
    for op in plan(&inv, &PAGES) {
        assert!(matches!(op.target, Target::Va { hint: None, .. }), "{op}");
    }
}

#[test]
fn the_longest_range_is_one_operation_and_one_page_more_is_too_long() {
    let leaves = |count| Invalidation::leaves(pages(1, count), Level::Pte, ONLY);
    let longest = plan(&leaves(MAX_RANGE_PAGES), &RANGES);
    assert!(matches!(longest[..], [Tlbi { target: Target::Range { scale: 3, num: 31, .. }, .. }]));
    assert!(Plan::new(&leaves(MAX_RANGE_PAGES + 1), &RANGES, &CostModel::LINUX).is_whole());
    assert_eq!(plan(&leaves(MAX_RANGE_PAGES - 1), &RANGES).len(), 5);
}

#[test]
fn nothing_is_done_for_an_empty_range() {
    let inv = Invalidation::leaves(pages(7, 0), Level::Pte, ONLY);
    assert_eq!(plan(&inv, &PAGES), []);
    assert_eq!(plan(&inv, &RANGES), []);
}

#[test]
fn the_end_of_the_address_space_is_reached() {
    let range = VirtRange::new(VirtAddr(0xffff_ffff_ffff_a000), VirtAddr(u64::MAX));
    let inv = Invalidation::leaves(range, Level::Pte, AsidMatch::Any);
    for caps in [PAGES, RANGES] {
        let ops = plan(&inv, &caps);
        let total: u64 = ops.iter().map(|op| worth(op, Level::Pte)).sum();
        assert_eq!(total, 6);
        let last = VirtAddr(u64::MAX - 1);
        assert!(ops.iter().any(|op| op.covers(last, ASID, Level::Pte, true, true)));
    }
    let huge = Invalidation { stride: Level::Pud, hint: None, ..inv };
    assert_eq!(plan(&huge, &PAGES).len(), 1);
}

#[test]
fn flushing_one_address_space_is_one_operation() {
    let mut plan = Plan::whole_asid(ASID, Scope::InnerShareable);
    assert!(plan.is_whole());
    let op = Tlbi { target: Target::Asid(ASID), scope: Scope::InnerShareable };
    assert_eq!((plan.next(), plan.next()), (Some(op), None));
}

/// A range that starts and ends anywhere near a multiple of the stride.
fn any_inv() -> impl Strategy<Value = Invalidation> {
    let stride = prop::sample::select(&[Level::Pte, Level::Pmd, Level::Pud][..]);
    let half = prop::sample::select(&[0, 0xffff_8000_0000_0000u64][..]);
    let sizes = prop_oneof![1..600u64, 1..5_000u64, 1..2_200_000u64];
    (stride, half, 2..40u64, 0..512u64, sizes, any::<bool>(), any::<bool>()).prop_map(
        |(stride, half, first, skew, count, hinted, deep)| {
            let start = VirtAddr(half + first * stride.span() + (skew << PAGE_SHIFT));
            Invalidation {
                range: VirtRange::from_size(start, count << PAGE_SHIFT),
                stride,
                asid: ONLY,
                depth: if deep { Depth::AllLevels } else { Depth::LastLevel },
                hint: hinted.then_some(stride),
                scope: Scope::InnerShareable,
            }
        },
    )
}

proptest! {
    // Every leaf of the range goes, its neighbours stay, and no page is named twice.
    #[test]
    fn plans_cover_exactly_what_was_asked(inv in any_inv(), with_ranges in any::<bool>()) {
        let caps = if with_ranges { RANGES } else { PAGES };
        let ops = plan(&inv, &caps);
        prop_assert_eq!(ops.len(), Plan::new(&inv, &caps, &CostModel::LINUX).len());
        let bytes = inv.stride.span();
        let (start, end) = (inv.range.start.align_down(bytes), inv.range.end.align_up(bytes));
        let goes = |va| ops.iter().any(|op| op.covers(va, ASID, inv.stride, true, false));
        // All where there are few; else the edges and a sample.
        let leaves = (end - start) / bytes;
        for n in (0..leaves).step_by(1 + leaves as usize / 300).chain([leaves - 1]) {
            prop_assert!(goes(start + n * bytes), "leaf {} of {}", n, leaves);
        }
        if !Plan::new(&inv, &caps, &CostModel::LINUX).is_whole() {
            prop_assert!(!goes(start - bytes) && !goes(end));
            let named: u64 = ops.iter().map(|op| worth(op, inv.stride)).sum();
            prop_assert_eq!(named, (end - start) >> PAGE_SHIFT);
        }
    }

    #[test]
    fn a_range_feature_that_is_missing_is_not_used(inv in any_inv()) {
        for op in plan(&inv, &PAGES) {
            let ranged = matches!(op.target, Target::Range { .. });
            prop_assert!(!ranged, "{}", op);
        }
    }

    // Whatever operations cost, no other way of doing it would have been cheaper.
    #[test]
    fn the_cheapest_way_is_taken(
        inv in any_inv(), max_ops in 1..2000u32, by_va in 1..20u32, by_range in 1..200u32,
    ) {
        let cost = CostModel { max_ops, by_va, by_range };
        let whole = u64::from(max_ops) * u64::from(by_va);
        let price = |plan: Plan| -> u64 {
            plan.map(|op| match op.target {
                Target::Va { .. } => u64::from(by_va),
                Target::Range { .. } => u64::from(by_range),
                Target::All | Target::Asid(_) => whole,
            }).sum()
        };
        let taken = price(Plan::new(&inv, &RANGES, &cost));
        prop_assert!(taken <= whole);
        prop_assert!(taken <= price(Plan::new(&inv, &PAGES, &cost)));
        let only_ranges = CostModel { by_range: 0, ..cost };
        prop_assert!(taken <= price(Plan::new(&inv, &RANGES, &only_ranges)));
    }

    #[test]
    fn operations_follow_the_request(inv in any_inv(), with_ranges in any::<bool>()) {
        let caps = if with_ranges { RANGES } else { PAGES };
        for op in plan(&inv, &caps) {
            prop_assert_eq!(op.scope, inv.scope);
            match op.target {
                Target::Va { asid, depth, hint, .. } | Target::Range { asid, depth, hint, .. } => {
                    prop_assert_eq!((asid, depth, hint), (inv.asid, inv.depth, inv.hint));
                }
                target => prop_assert_eq!(target, Target::Asid(ASID)),
            }
        }
    }
}
