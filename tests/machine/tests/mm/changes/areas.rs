//! Areas: joined where nothing tells them apart, cut where something does, and found quickly where there
//! is room.

use super::scene::*;
use crate::common::heap::{Refused, refusing};
use crate::common::{Untouched, machines};
use abi::{Access, PAGE_SIZE, Prot, VirtAddr, VirtRange};
use granule_machine::Config;
use mm::mutant::Mutant;
use mm::{Advice, FaultOutcome, Huge, MapError, Move, Place, Space};
use stress::World;

#[test]
fn what_is_mapped_beside_its_like_is_one_area() {
    let world = world(machines()[0], Kind::Huge);
    let space = Space::new(world.mm()).expect("memory");
    let map = |first, n, prot, huge| {
        space.map(Place::At(page(first)), n * PAGE_SIZE, prot, huge).expect("free");
        areas(&space).len()
    };
    assert_eq!(map(0, 4, RW, Huge::Default), 1);
    assert_eq!(map(8, 4, RW, Huge::Default), 2);
    assert_eq!(map(4, 4, RW, Huge::Default), 1, "the gap is closed");
    assert_eq!(map(12, 4, Prot::Read, Huge::Default), 2);
    assert_eq!(map(16, 4, RW, Huge::Never), 3);
    // Moved away and back it is what it was; moved beside another it is not.
    let elsewhere = space.remap(pages(4, 2), 2 * PAGE_SIZE, Move::To(page(100))).expect("free");
    assert_eq!(areas(&space).len(), 5);
    assert_eq!(map(102, 2, RW, Huge::Default), 6);
    space.remap(elsewhere, 2 * PAGE_SIZE, Move::To(page(4))).expect("free");
    assert_eq!(areas(&space).len(), 4);
    // Told the same, they are the same.
    space.advise(pages(0, 20), Advice::Huge).expect("mapped");
    assert_eq!(areas(&space).len(), 4);
    space.protect(pages(12, 4), RW).expect("mapped");
    assert_eq!(areas(&space).first().map(|area| area.range), Some(pages(0, 20)));
    sound(&world);
}

/// A huge page that was mapped where two areas met goes across both once they are one.
#[test]
fn a_joined_area_has_huge_pages_across_the_seam() {
    let world = world(machines()[0], Kind::Huge);
    let space = Space::new(world.mm()).expect("memory");
    for half in [pages(0, BLOCK / 2), pages(BLOCK / 2, BLOCK / 2)] {
        space.map(Place::At(half.start), half.bytes(), RW, Huge::Default).expect("free");
    }
    write(&world, &space, pages(7, 1), stamp);
    assert_eq!(entry(&space, VA).0, abi::Level::Pmd);
}

/// A thousand small mappings that come and go take the lowest places, and finding those does not look at
/// all that lies below.
#[test]
fn the_lowest_place_is_found_again_and_again() {
    let world = world(machines()[0], Kind::Small);
    let space = Space::new(world.mm()).expect("memory");
    let map = |n: u64| {
        let prot = if n.is_multiple_of(2) { Prot::Read } else { RW };
        space.map(Place::Anywhere, PAGE_SIZE, prot, Huge::Never).expect("room").start
    };
    let lowest = VirtAddr(0x1_0000);
    for n in 0..1000 {
        assert_eq!(map(n), lowest + n * PAGE_SIZE);
    }
    for n in [500, 3, 999, 0] {
        let hole = VirtRange::from_size(lowest + n * PAGE_SIZE, PAGE_SIZE);
        space.unmap(hole).expect("memory");
        assert_eq!(map(n), hole.start);
    }
    assert_eq!(areas(&space).len(), 1000);
}

#[test]
fn without_a_heap_areas_stay_as_they_are() {
    let world = world(machines()[0], Kind::Small);
    let space = Space::new(world.mm()).expect("memory");
    let request = crowded(&space);
    let before = areas(&space);
    let refused = refusing(request, || space.map(Place::At(VA), PAGE_SIZE, RW, Huge::Never));
    assert_eq!(refused, Err(MapError::OutOfMemory));
    let frames = refusing(request, || space.map_frames(Place::At(VA), abi::Pfn(9), PAGE_SIZE, RW));
    assert_eq!(frames, Err(MapError::OutOfMemory));
    assert_eq!(areas(&space), before);
    // And the space itself.
    assert!(refusing(Refused::Align(128), || Space::new(world.mm())).is_err());
}

/// A fault that was let in too early maps new memory where the old is still in somebody's TLB.
#[test]
fn nothing_is_mapped_before_the_old_is_flushed() {
    catches(Mutant::UnmapReleasesEarly, |mutant| {
        at_each_step(|steps| {
            let world = racy(machines()[1], Kind::Small, mutant);
            let space = stamped(&world, pages(0, 3));
            let reached = world.intrude(
                steps,
                &|| {
                    world.inside(&space, &mut || {
                        world.load(&space, page(1)).expect("mapped");
                        space.unmap(pages(1, 1)).expect("memory");
                        let _ = world.load(&space, page(1));
                    });
                },
                &|| {
                    if space.map(Place::At(page(1)), PAGE_SIZE, RW, Huge::Never).is_ok() {
                        assert_eq!(space.fault(page(1), Access::Write), FaultOutcome::Mapped);
                        // Time for the first CPU's walker to find it.
                        (0..100).for_each(|_| drop(space.gup_fast(page(1), Access::Read)));
                    }
                },
            );
            reached.then(|| wrong(&world).map_or(Ok(()), Err))
        })
    });
}

/// A huge page's spare table goes with it.
#[test]
fn a_huge_page_leaves_no_table_behind() {
    catches(Mutant::ZapKeepsDeposit, |mutant| {
        let world = racy(machines()[0], Kind::Huge, mutant);
        let space = stamped(&world, pages(0, 2 * BLOCK));
        space.unmap(pages(0, BLOCK)).expect("memory");
        wrong(&world)
    });
}

/// Of folios that others map too, or have mapped, a gather keeps so many, or very few without memory for its
/// list; then it flushes in between, and gives nothing back that it was not told of.
#[test]
fn a_full_gather_flushes_all_that_it_gives_back() {
    let all = pages(0, 2 * BLOCK);
    for starved in [false, true] {
        catches(Mutant::ZapFillsUntold, |mutant| {
            machines().into_iter().find_map(|config| {
                let world = world(Config { pages: 3072, ..config }, Kind::Small);
                world.mm().arm(mutant);
                let untouched = Untouched::new(&world);
                let parent = stamped(&world, all);
                let child = parent.fork().expect("memory");
                drop(parent);
                let famine = starved.then(|| Famine::but(&world, 0));
                // The ends stay, and with them both tables.
                world.inside(&child, &mut || {
                    child.unmap(pages(1, 2 * BLOCK - 2)).expect("memory");
                });
                drop(famine);
                let found = wrong(&world);
                drop(child);
                if found.is_none() {
                    untouched.check(&world);
                }
                found
            })
        });
    }
}

/// Small pages and a huge one go at once, and the hint of a level would be wrong for either.
#[test]
fn what_is_flushed_together_may_be_of_two_levels() {
    catches(Mutant::GatherOneLevel, |mutant| {
        machines().into_iter().find_map(|config| {
            let world = world(config, Kind::Huge);
            world.mm().arm(mutant);
            let space = stamped(&world, pages(0, 2 * BLOCK));
            space.split_block(VA);
            check(&world, &space, pages(0, 2 * BLOCK), stamp);
            // The table of small ones stays, for its first pages.
            world.inside(&space, &mut || {
                space.unmap(pages(BLOCK - 5, BLOCK + 5)).expect("memory");
            });
            wrong(&world)
        })
    });
}
