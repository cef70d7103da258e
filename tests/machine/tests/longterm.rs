//! Pins for long, and moves to a node of choice: where memory is afterwards.

mod common;

use abi::{Access, Event, Node, PAGE_SIZE, PMD_SIZE, Pfn, Prot, VirtAddr};
use common::Untouched;
use granule_machine::{Config, Machine, SimWorld};
use mm::gup::{GupError, Run};
use mm::mutant::Mutant;
use mm::thp::Policy;
use mm::{Destination, Huge, MigrateError, Place, Space};
use stress::World;

const VA: VirtAddr = VirtAddr(1 << 40);
const PAGES: u64 = 1024;

fn page(n: u64) -> VirtAddr {
    VA + n * PAGE_SIZE
}

/// A machine of two nodes, all but four page blocks of which are kept for what moves.
fn world(mutant: Option<Mutant>) -> SimWorld {
    let world =
        SimWorld::new(Config { cpus: 2, pages: 8192, nodes: 2, movable: 12, ..Config::default() });
    world.mm().arm(mutant);
    world
}

/// Two blocks of memory, huge or small, each page with its number in it.
fn stamped(world: &SimWorld, huge: bool) -> Space<'_, Machine> {
    world.mm().thp.set_enabled(if huge { Policy::Always } else { Policy::Never });
    world.mm().thp.set_enabled_64k(Some(Policy::Never));
    let space = Space::new(world.mm()).expect("memory");
    space.map(Place::At(VA), 2 * PMD_SIZE, Prot::ReadWrite, Huge::Default).expect("free");
    world.inside(&space, &mut || {
        (0..PAGES).for_each(|n| world.store(&space, page(n), n).expect("mapped"));
    });
    space
}

fn check_stamps(world: &SimWorld, space: &Space<'_, Machine>) {
    world.inside(space, &mut || {
        (0..PAGES).for_each(|n| assert_eq!(world.load(space, page(n)), Ok(n)));
    });
}

fn frame(space: &Space<'_, Machine>, va: VirtAddr) -> Pfn {
    let mut found = None;
    space.mm().walk(space.root(), va, |level, _, entry, _| {
        found = entry.leaf().map(|leaf| leaf.pfn() + va.0 % level.span() / PAGE_SIZE);
    });
    found.expect("mapped")
}

/// Brings all of it into the memory that is kept for what moves, where it is not yet.
fn kept(space: &Space<'_, Machine>) -> u64 {
    let frames = &space.mm().frames;
    let mut moved = [Err(MigrateError::NotMapped)];
    for _ in 0..8 {
        for n in 0..PAGES {
            if !frames.is_movable_only(frame(space, page(n))) {
                let _ = space.move_pages(&[page(n)], Destination::Anywhere, &mut moved);
            }
        }
    }
    (0..PAGES).filter(|n| frames.is_movable_only(frame(space, page(*n)))).count() as u64
}

#[test]
fn a_long_pin_is_where_it_may_stay() {
    for huge in [false, true] {
        let world = world(None);
        let untouched = Untouched::new(&world);
        let space = stamped(&world, huge);
        let frames = &world.mm().frames;
        assert!(kept(&space) > 0, "nothing lies in what is kept");
        let n = (0..PAGES).find(|n| frames.is_movable_only(frame(&space, page(*n)))).expect("some");
        let before = world.mm().stats.total(Event::PgMigrated);
        let pin = space.pin_longterm(page(n), Access::Write).expect("memory");
        assert!(!frames.is_movable_only(pin.pfn()));
        assert_eq!(pin.pfn(), frame(&space, page(n)));
        assert!(world.mm().stats.total(Event::PgMigrated) > before);
        check_stamps(&world, &space);
        // Once more moves nothing: it is pinned, and may stay.
        let moved = world.mm().stats.total(Event::PgMigrated);
        drop(space.pin_longterm(page(n), Access::Write).expect("mapped"));
        assert_eq!(world.mm().stats.total(Event::PgMigrated), moved);
        drop(pin);
        world.mm().audit().expect("nothing is broken");
        drop(space);
        untouched.check(&world);
    }
}

#[test]
fn many_long_pins_move_what_they_must_in_one_batch() {
    for huge in [false, true] {
        let world = world(None);
        let untouched = Untouched::new(&world);
        let space = stamped(&world, huge);
        let frames = &world.mm().frames;
        assert!(kept(&space) > 0);
        let mut runs = [Run::EMPTY; 256];
        let held = space.pin_longterm_many(VA, 200, Access::Write, &mut runs).expect("memory");
        assert_eq!(held.pages(), 200);
        for (n, pfn) in (0..).zip(held.iter()) {
            assert!(!frames.is_movable_only(pfn));
            assert_eq!(pfn, frame(&space, page(n)));
        }
        check_stamps(&world, &space);
        drop(held);
        let counts = |event| world.mm().stats.total(event);
        assert_eq!(counts(Event::PinAcquired), counts(Event::PinReleased));
        world.mm().audit().expect("nothing is broken");
        drop(space);
        untouched.check(&world);
    }
}

/// What somebody else holds cannot be moved out: that is told, after some tries, and nothing is held.
#[test]
fn what_others_hold_is_refused() {
    let world = world(None);
    let untouched = Untouched::new(&world);
    let space = stamped(&world, false);
    let frames = &world.mm().frames;
    assert!(kept(&space) > 0);
    let n = (0..PAGES).find(|n| frames.is_movable_only(frame(&space, page(*n)))).expect("some");
    let held = space.gup(page(n), Access::Read).expect("mapped");
    let refused = space.pin_longterm(page(n), Access::Write).err();
    assert_eq!(refused, Some(GupError::Unmovable(held.pfn())));
    drop(held);
    assert!(space.pin_longterm(page(n), Access::Write).is_ok());
    check_stamps(&world, &space);
    drop(space);
    untouched.check(&world);
}

#[test]
fn a_long_pin_that_stays_is_caught() {
    let stays = |mutant| {
        let world = world(mutant);
        let space = stamped(&world, false);
        kept(&space);
        let frames = &world.mm().frames;
        let n = (0..PAGES).find(|n| frames.is_movable_only(frame(&space, page(*n)))).expect("some");
        let pin = space.pin_longterm(page(n), Access::Write).expect("memory");
        frames.is_movable_only(pin.pfn())
    };
    assert!(!stays(None));
    let bug = Mutant::LongtermStays;
    assert!(evidence::model_notices(bug.name(), || stays(Some(bug))));
}

/// A move to a node brings all of it there, and leaves what is there already.
#[test]
fn pages_move_to_the_node_that_is_asked_for() {
    for huge in [false, true] {
        let world = world(None);
        let untouched = Untouched::new(&world);
        let space = stamped(&world, huge);
        let frames = &world.mm().frames;
        for node in [Node(1), Node(0), Node(0)] {
            let pages: Vec<_> = (0..PAGES).map(page).collect();
            let mut moved = vec![Err(MigrateError::NotMapped); pages.len()];
            let elsewhere = pages.iter().filter(|va| frames.node_of(frame(&space, **va)) != node);
            let (elsewhere, before) =
                (elsewhere.count(), world.mm().stats.total(Event::PgMigrated));
            space.move_pages(&pages, Destination::Node(node), &mut moved).expect("memory");
            for (va, moved) in pages.iter().zip(&moved) {
                assert_eq!(*moved, Ok(frame(&space, *va)));
                assert_eq!(frames.node_of(frame(&space, *va)), node);
            }
            let moved = world.mm().stats.total(Event::PgMigrated) - before;
            assert_eq!(moved, elsewhere as u64);
        }
        let mut moved = [Ok(Pfn(0))];
        space.move_pages(&[VA], Destination::Node(Node(7)), &mut moved).expect("memory");
        assert!(matches!(moved[0], Err(MigrateError::OutOfMemory(_))), "there is no such node");
        check_stamps(&world, &space);
        world.mm().audit().expect("nothing is broken");
        drop(space);
        untouched.check(&world);
    }
}
