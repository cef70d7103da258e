//! The tree and the gaps against what they should be: a list of pieces in order.

extern crate std;

use super::super::gaps::Gaps;
use super::{NONE, Tree};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use std::collections::BTreeMap;

const CASES: u32 = if cfg!(miri) { 2 } else { 128 };

/// Each subtree's largest piece is what it says, and pieces come in order.
fn check(tree: &Tree, at: u32, seen: &mut Vec<(u64, u64)>) -> u64 {
    if at == NONE {
        return 0;
    }
    let piece = *tree.at(at);
    let left = check(tree, piece.left, seen);
    seen.push((piece.start, piece.pages));
    let right = check(tree, piece.right, seen);
    let largest = piece.pages.max(left).max(right);
    assert_eq!(piece.largest, largest, "at {}", piece.start);
    largest
}

use std::vec::Vec;

fn linked(tree: &Tree) -> Vec<(u64, u64)> {
    let mut seen = Vec::new();
    check(tree, tree.root, &mut seen);
    seen
}

/// How deep the tree is.
fn depth(tree: &Tree, at: u32) -> usize {
    if at == NONE {
        return 0;
    }
    1 + depth(tree, tree.at(at).left).max(depth(tree, tree.at(at).right))
}

#[test]
fn pieces_in_any_order_make_a_shallow_tree() {
    let count = if cfg!(miri) { 100 } else { 20_000u64 };
    for step in [1, 7919, count - 1] {
        let mut tree = Tree::new();
        tree.reserve(count as usize).unwrap();
        for n in 0..count {
            let start = n * step % count;
            let id = tree.take(2 * start, 1).unwrap();
            tree.link(id);
        }
        assert_eq!(linked(&tree).len() as u64, count);
        let depth = depth(&tree, tree.root);
        assert!(depth < 60, "{depth}");
    }
}

/// Also where of many only every so-manieth is left: a step of the recursion takes room on a thread's stack.
#[test]
fn what_is_left_at_equal_distances_makes_a_shallow_tree() {
    let left = if cfg!(miri) { 10 } else { 200u64 };
    for distance in [2, 16, 89, 144, 200, 233, 256] {
        let mut tree = Tree::new();
        let ids = (0..left * distance).map(|n| {
            tree.reserve(1).unwrap();
            tree.take(2 * n, 1).unwrap()
        });
        let ids: Vec<_> = ids.collect();
        ids.iter().for_each(|id| tree.link(*id));
        let gone = |n: &usize| !(*n as u64).is_multiple_of(distance);
        (0..ids.len()).filter(gone).for_each(|n| tree.unlink(ids[n]));
        assert_eq!(linked(&tree).len() as u64, left);
        let depth = depth(&tree, tree.root);
        assert!(depth < 40, "every {distance}th: {depth}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: CASES,
        rng_seed: RngSeed::Fixed(1),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn linked_pieces_are_found_and_unlinked_are_not(
        steps in vec((0u64..64, any::<bool>()), 1..200),
    ) {
        let (mut tree, mut model) = (Tree::new(), BTreeMap::new());
        for (start, adds) in steps {
            let here = model.get(&start).copied();
            match (adds, here) {
                (true, None) => {
                    tree.reserve(1).unwrap();
                    let id = tree.take(4 * start, 1 + start % 4).unwrap();
                    tree.link(id);
                    model.insert(start, id);
                }
                (false, Some(id)) => {
                    tree.unlink(id);
                    tree.give(id);
                    model.remove(&start);
                }
                _ => {}
            }
            let wanted: Vec<_> = model.keys().map(|start| (4 * start, 1 + start % 4)).collect();
            prop_assert_eq!(linked(&tree), wanted);
            for page in 0..260 {
                let before = model.range(..=page / 4).next_back().map(|(_, id)| *id);
                prop_assert_eq!(tree.at_or_before(page), before);
                let behind = model.range(page.div_ceil(4)..).next().map(|(_, id)| *id);
                prop_assert_eq!(tree.at_or_behind(page), behind);
            }
        }
    }

    /// Pages are each in a gap or taken; a piece is the lowest that fits; gaps never touch.
    #[test]
    fn gaps_are_what_nobody_has(
        steps in vec((1u64..20, 0u32..5, any::<prop::sample::Index>()), 1..120),
    ) {
        const PAGES: usize = 256;
        let mut gaps = Gaps::none();
        gaps.open(0, PAGES as u64).unwrap();
        let (mut free, mut taken) = ([true; PAGES], Vec::new());
        for (pages, align, which) in steps {
            if align == 4 && !taken.is_empty() {
                let (start, pages) = taken.swap_remove(which.index(taken.len()));
                gaps.give(start, pages);
                free[start as usize..][..pages as usize].fill(true);
            } else {
                let align = 1 << align;
                let fits = |at: &usize| {
                    at.is_multiple_of(align)
                        && free.get(*at..at + pages as usize).is_some_and(|run| run.iter().all(|f| *f))
                };
                let lowest = (0..PAGES).find(fits).map(|at| at as u64);
                prop_assert_eq!(gaps.take(pages, align as u64, 1), Ok(lowest));
                if let Some(start) = lowest {
                    free[start as usize..][..pages as usize].fill(false);
                    taken.push((start, pages));
                }
            }
            let mut seen = [false; PAGES];
            let mut last = None;
            gaps.each(|start, pages| {
                assert!(last.is_none_or(|last| last < start), "gaps that touch at {start}");
                seen[start as usize..][..pages as usize].fill(true);
                last = Some(start + pages);
            });
            prop_assert_eq!(seen, free);
        }
    }
}

/// Aligned pieces leave small gaps behind: they are passed by together, not one by one.
#[test]
fn small_gaps_are_passed_by() {
    let count = if cfg!(miri) { 50 } else { 20_000 };
    let mut gaps = Gaps::none();
    gaps.open(0, 1 << 30).unwrap();
    for n in 0..count {
        assert_eq!(gaps.take(6, 8, 1), Ok(Some(8 * n)));
    }
}
