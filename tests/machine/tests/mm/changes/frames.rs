//! Given frames, which nobody counts.

use super::scene::*;
use crate::common::{Untouched, machines};
use abi::{Access, Order, PAGE_SIZE, Pfn, Prot, VirtRange};
use mm::gup::GupError;
use mm::mutant::Mutant;
use mm::{Hardware, Huge, MapError, Place, Space};
use pte::Leaf;
use std::sync::Mutex;
use stress::World;

/// What is written in a window is written in the frames, and back again; nobody counts, nobody refers.
#[test]
fn a_window_shows_the_frames_it_was_given() {
    for config in machines() {
        let world = world(config, Kind::Huge);
        let untouched = Untouched::new(&world);
        let first = world.mm().alloc(Order(3)).expect("memory");
        let space = Space::new(world.mm()).expect("memory");
        let window = pages(BLOCK - 4, 8);
        let bytes = window.bytes();
        assert_eq!(space.map_frames(Place::At(window.start), first, bytes, RW), Ok(window));
        sound(&world);
        for (n, va) in each_page(window).enumerate() {
            let pfn = first + n as u64;
            world.mm().hw.poke(pfn.base(), 70 + n as u64);
            assert_eq!(frame(&space, va), Some(pfn));
            assert!(leaf(&space, va).is_some_and(Leaf::is_special));
            let refused = space.gup(va, Access::Read).err();
            assert_eq!(refused, Some(GupError::Uncounted(pfn)));
        }
        check(&world, &space, window, |va| 70 + (va.0 - window.start.0) / PAGE_SIZE);
        write(&world, &space, window, stamp);
        assert_eq!(world.mm().hw.peek(first.base()), stamp(window.start));
        // Rights come and go; its own memory it is not, so there is no copy.
        for prot in [Prot::Read, Prot::None, RW] {
            space.protect(window, prot).expect("mapped");
        }
        write(&world, &space, window, |_| 3);
        assert_eq!(world.mm().hw.peek((first + 7).base()), 3);
        let moved = pages(3 * BLOCK + 1, 8);
        assert_eq!(space.remap(window, bytes, mm::Move::To(moved.start)), Ok(moved));
        check(&world, &space, moved, |_| 3);
        space.unmap(VirtRange::from_size(moved.start, 3 * PAGE_SIZE)).expect("memory");
        sound(&world);
        drop(space);
        assert_eq!(world.mm().hw.peek((first + 7).base()), 3, "they are the giver's still");
        world.mm().free(first);
        untouched.check(&world);
    }
}

/// M-38: whoever gave the frames takes them back when they are unmapped. By then no CPU has them, also if
/// he learns of it from the areas.
#[test]
fn frames_are_taken_back_after_the_flush() {
    catches(Mutant::UnmapReleasesEarly, |mutant| {
        at_each_step(|steps| {
            let world = racy(machines()[1], Kind::Small, mutant);
            let given = world.mm().alloc(Order::PAGE).expect("memory");
            let space = Space::new(world.mm()).expect("memory");
            space.map_frames(Place::At(VA), given, PAGE_SIZE, RW).expect("free");
            // A neighbour that keeps the tables.
            space.map(Place::At(page(2)), PAGE_SIZE, RW, Huge::Never).expect("free");
            write(&world, &space, pages(2, 1), |_| 1);
            let taken = Mutex::new(false);
            let take_back = || {
                let mut taken = taken.lock().expect("alone");
                if !*taken && areas(&space).len() == 1 {
                    world.mm().free(given);
                    *taken = true;
                }
            };
            let reached = world.intrude(
                steps,
                &|| {
                    world.inside(&space, &mut || {
                        world.load(&space, VA).expect("mapped");
                        space.unmap(pages(0, 1)).expect("memory");
                    });
                },
                &take_back,
            );
            take_back();
            reached.then(|| wrong(&world).map_or(Ok(()), Err))
        })
    });
}

#[test]
fn without_memory_there_is_no_window() {
    let world = world(machines()[0], Kind::Small);
    let untouched = Untouched::new(&world);
    let space = Space::new(world.mm()).expect("memory");
    let window = pages(BLOCK - 2, 4);
    let change = || space.map_frames(Place::At(window.start), Pfn(77), window.bytes(), RW);
    let done = starving(&world, change, |error| {
        assert_eq!(error, MapError::OutOfMemory);
        assert_eq!(areas(&space), []);
        assert_eq!(world.mm().audit().expect("sound").tables, 1, "the root");
    });
    assert_eq!(done, window);
    let first = Pfn(1 << 36);
    let none = space.map_frames(Place::Anywhere, first, PAGE_SIZE, RW);
    assert_eq!(none, Err(MapError::BadFrames { first, pages: 1 }));
    drop(space);
    untouched.check(&world);
}
