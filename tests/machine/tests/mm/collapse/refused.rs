//! What cannot be collapsed: the error has the evidence, and everything is as it was.

use super::scene::{
    NEXT, RW, VA, WHOLE, bare, by_pages, check, collapsed, entry, frame, on, page, parted, write,
    written,
};
use crate::common::machines;
use abi::{Access, Level, Order, PAGE_SIZE, PMD_SIZE, VirtRange};
use granule_machine::{Machine, SimWorld};
use mm::frame::PIN_BIAS;
use mm::{CollapseError, Collapsed, FaultOutcome, Place, Space};
use stress::World;

/// Nothing that a program or an audit can see has changed by being refused.
fn refused(world: &SimWorld, space: &Space<'_, Machine>) -> CollapseError {
    let before: Vec<_> = (0..512).map(|n| entry(space, page(n))).collect();
    let free = world.mm().frames.free_pages(&world.mm().hw);
    let error = space.collapse(VA).expect_err("it cannot be");
    let after: Vec<_> = (0..512).map(|n| entry(space, page(n))).collect();
    assert!(before == after, "{error}: entries have changed");
    assert_eq!(world.mm().frames.free_pages(&world.mm().hw), free, "{error}: memory is lost");
    error
}

#[test]
fn what_is_no_area_or_has_nothing() {
    on(machines()[0], |world| {
        let space = bare(world);
        assert_eq!(refused(world, &space), CollapseError::Empty(WHOLE));
        // There is a table now, for the block behind it.
        assert_eq!(by_pages(world, || space.fault(NEXT, Access::Write)), FaultOutcome::Mapped);
        assert_eq!(refused(world, &space), CollapseError::Empty(WHOLE));
        space.unmap(VirtRange::from_size(page(5), PAGE_SIZE)).expect("memory");
        assert_eq!(refused(world, &space), CollapseError::NoArea(WHOLE));
        let top = abi::VirtAddr(u64::MAX - PMD_SIZE + 1);
        assert!(matches!(space.collapse(top), Err(CollapseError::NoArea(_))));
    });
}

#[test]
fn given_frames() {
    on(machines()[0], |world| {
        let space = Space::new(world.mm()).expect("memory");
        let frames = world.mm().alloc(Order::PMD).expect("memory");
        space.map_frames(Place::At(VA), frames, PMD_SIZE, RW).expect("free");
        assert!(matches!(refused(world, &space), CollapseError::Unwanted(_)));
        drop(space);
        world.mm().free(frames);
    });
}

#[test]
fn pages_that_somebody_holds() {
    on(machines()[0], |world| {
        let space = written(world, 0..512);
        let pin = space.pin(page(511), Access::Write).expect("mapped");
        let pfn = frame(&space, 511);
        let busy = |extra| CollapseError::Busy { page: pfn, refs: 1 + extra, expected: 1 };
        assert_eq!(refused(world, &space), busy(PIN_BIAS));
        drop(pin);
        let held = space.gup(page(511), Access::Read).expect("mapped");
        assert_eq!(refused(world, &space), busy(1));
        drop(held);
        collapsed(&space, Collapsed::Copied);
        check(world, &space, 0..512);
    });
}

/// Nothing moves when a huge folio gets its one entry back, so whoever pinned it keeps what he has.
#[test]
fn a_pinned_huge_folio_is_no_hindrance() {
    on(machines()[0], |world| {
        let space = parted(world);
        let pin = space.pin(page(9), Access::Write).expect("mapped");
        assert_eq!(space.collapse(VA), Ok(Collapsed::InPlace));
        assert_eq!(frame(&space, 9), pin.pfn());
        world.inside(&space, &mut || world.store(&space, page(9), 1).expect("mapped"));
        assert_eq!(frame(&space, 9), pin.pfn(), "a write has parted it from the pin");
        drop(pin);
    });
}

/// A fork that met a pin: some pages are the parent's alone and must stay so, the others are not.
#[test]
fn a_huge_folio_that_is_exclusive_in_part_and_pinned() {
    on(machines()[0], |world| {
        let space = parted(world);
        let pin = space.pin(page(9), Access::Write).expect("mapped");
        let child = space.fork().expect("memory");
        drop(child);
        // What the parent has shared in vain it may find out to be its own: here nobody has asked.
        let result = space.collapse(VA);
        world.inside(&space, &mut || world.store(&space, page(9), 1).expect("mapped"));
        assert_eq!(frame(&space, 9), pin.pfn(), "{result:?}: a write has parted it from the pin");
        drop(pin);
        world.inside(&space, &mut || {
            world.store(&space, page(9), super::scene::stamp(9)).expect("mapped");
        });
        check(world, &space, 0..512);
    });
}

#[test]
fn folios_that_are_being_moved() {
    on(machines()[0], |world| {
        let space = written(world, 0..4);
        let frozen = space.freeze_folio_at(page(2)).expect("nobody holds it");
        assert!(matches!(refused(world, &space), CollapseError::NoMemory(va, _) if va == page(2)));
        drop(frozen);
        let child = space.fork().expect("memory");
        // Taken out of the child too, and locked.
        let frozen = child.freeze_folio_at(page(2)).expect("nobody holds it");
        assert!(matches!(refused(world, &space), CollapseError::NoMemory(..)));
        drop((frozen, child));
        collapsed(&space, Collapsed::Copied);
        let frozen = space.freeze_folio_at(page(2)).expect("nobody holds it");
        assert_eq!(space.collapse(VA), Ok(Collapsed::Already));
        drop(frozen);
    });
}

/// No memory: for the folio, or for the table that is put aside with it.
#[test]
fn no_memory() {
    on(machines()[0], |world| {
        let space = written(world, 0..4);
        let mm = world.mm();
        let mut hoard: Vec<_> = std::iter::from_fn(|| mm.alloc(Order::PMD).ok()).collect();
        let oom = CollapseError::OutOfMemory(mm::OutOfMemory { order: Order::PMD });
        assert_eq!(refused(world, &space), oom);
        // One block, and nothing else.
        let pages: Vec<_> = std::iter::from_fn(|| mm.alloc(Order::PAGE).ok()).collect();
        mm.free(hoard.pop().expect("there was memory"));
        let oom = CollapseError::OutOfMemory(mm::OutOfMemory { order: Order::PAGE });
        assert_eq!(refused(world, &space), oom);
        hoard.into_iter().chain(pages).for_each(|block| mm.free(block));
        check(world, &space, 0..4);
    });
}

/// A part of the block is another area's.
#[test]
fn two_areas() {
    on(machines()[0], |world| {
        let space = written(world, 0..8);
        let part = VirtRange::new(page(256), page(512));
        space.advise(part, mm::Advice::Huge).expect("an area");
        assert_eq!(refused(world, &space), CollapseError::NoArea(WHOLE));
        assert_eq!(entry(&space, VA).0, Level::Pte);
        write(world, &space, 8..9);
    });
}
