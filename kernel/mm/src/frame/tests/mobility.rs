//! What moves and what does not keep apart, so that huge blocks can be made.

extern crate std;

use super::super::{Kind, Mobility, PAGE_BLOCK};
use super::{BASE, Beside, CPUS, PAGES, cases};
use abi::{Order, Pfn};
use proptest::prelude::*;
use proptest::sample::Index;
use std::collections::BTreeSet;
use std::vec::Vec;

/// The page blocks in which something of `kind` is.
fn page_blocks(beside: &Beside, kind: Kind) -> BTreeSet<Pfn> {
    let of_kind = beside.owned.iter().filter(|(_, (owned, _))| *owned == kind);
    of_kind.map(|(pfn, _)| pfn.align_down(PAGE_BLOCK)).collect()
}

/// At most this much of it, and at most half of memory in all, so that there is no need.
const UNMOVABLE: usize = 700;
const MOVABLE: u64 = PAGES / 2;

proptest! {
    #![proptest_config(cases(if cfg!(miri) { 1 } else { 48 }))]

    #[test]
    #[cfg_attr(miri, ignore = "thousands of pages")]
    fn what_does_not_move_stays_together(
        steps in proptest::collection::vec((0..CPUS, any::<Index>(), 0..100u8), 4000),
    ) {
        let mut beside = Beside::new(&[(0, PAGES)]);
        let (mut movable, mut unmovable) = (Vec::new(), Vec::new());
        let mut most = 0;
        for (cpu, which, dice) in steps {
            let (kind, mine) = match dice % 3 {
                0 => (Kind::Kernel, &mut unmovable),
                _ => (Kind::Folio, &mut movable),
            };
            let room = match kind {
                Kind::Kernel => mine.len() < UNMOVABLE,
                _ => (mine.len() as u64) < MOVABLE,
            };
            if room && dice < 75 {
                mine.push(beside.take_for(kind, cpu, Order::PAGE).expect("half is free"));
            } else if !mine.is_empty() {
                beside.give(cpu, mine.swap_remove(which.index(mine.len())));
            }
            most = most.max(unmovable.len());
        }
        // With what lies in stock: at most a full shelf of each CPU.
        let needed = (most + CPUS * 256).div_ceil(512) + 1;
        let used = page_blocks(&beside, Kind::Kernel).len();
        prop_assert!(used <= needed, "{used} page blocks for {most} pages");
        let both = page_blocks(&beside, Kind::Kernel);
        prop_assert!(both.is_disjoint(&page_blocks(&beside, Kind::Folio)));
    }
}

/// When a kind has used up its own, it is given the others'.
#[test]
#[cfg_attr(miri, ignore = "thousands of pages")]
fn in_need_each_takes_from_the_other() {
    for (first, then) in [(Kind::Folio, Kind::Kernel), (Kind::Kernel, Kind::Folio)] {
        let mut beside = Beside::new(&[(0, PAGES)]);
        let most: Vec<_> = (0..PAGES - 600)
            .map(|_| beside.take_for(first, 0, Order::PAGE).expect("room"))
            .collect();
        let rest: Vec<_> = core::iter::from_fn(|| beside.take_for(then, 1, Order::PAGE)).collect();
        assert_eq!(rest.len(), 600);
        for pfn in most.into_iter().chain(rest) {
            beside.give(2, pfn);
        }
        beside.frames.drain(&beside.cpu);
        beside.check_blocks();
        // All of it is for whatever moves again.
        for block in 0..PAGES >> PAGE_BLOCK.0 {
            let is = beside.frames.map().page_block(BASE + (block << PAGE_BLOCK.0));
            assert_eq!(is.group() as u8, 0, "page block {block}");
        }
    }
}

/// Once no page block is free as a whole, what does not move uses one up before it spoils the next.
#[test]
#[cfg_attr(miri, ignore = "thousands of pages")]
fn a_spoilt_page_block_is_used_up() {
    let mut beside = Beside::new(&[(0, 2048)]);
    let pages: Vec<_> =
        core::iter::from_fn(|| beside.take_for(Kind::Folio, 0, Order::PAGE)).collect();
    // Of each four pages one is free, nowhere two side by side.
    for pfn in pages.into_iter().filter(|pfn| pfn.0 % 4 == 0) {
        beside.give(0, pfn);
    }
    beside.frames.drain(&beside.cpu);
    for _ in 0..100 {
        assert!(beside.take(0, Order::PAGE).is_some());
    }
    // A refill fetches 128, as many as are free in one page block.
    assert_eq!(page_blocks(&beside, Kind::Kernel).len(), 1);
    let survey = beside.frames.survey(*page_blocks(&beside, Kind::Kernel).first().expect("one"));
    assert_eq!((survey.unmovable, survey.movable, survey.free), (100, 384, 0));
}

#[test]
fn only_users_pages_move() {
    for kind in [Kind::Tail, Kind::Free, Kind::Stocked, Kind::Kernel, Kind::Table] {
        assert_eq!(Mobility::of(kind), Mobility::Unmovable);
    }
    assert_eq!(Mobility::of(Kind::Folio), Mobility::Movable);
}
