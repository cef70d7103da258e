//! Pins for long, and moves to a node of choice: where memory is afterwards.

use crate::common::Untouched;
use crate::common::races::{self, at_each_step, misses, touch, translation, wrong};
use abi::{Access, Event, Node, PAGE_SIZE, PMD_SIZE, Pfn, Prot, VirtAddr};
use granule_machine::{Config, Machine, SimWorld};
use mm::gup::{GupError, Run};
use mm::mutant::Mutant;
use mm::thp::Policy;
use mm::{Destination, Hardware, Huge, MigrateError, Place, Space};
use std::sync::Mutex;
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
    translation(space, va).expect("mapped")
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

/// Somebody brings a page back to where no long pin may be, after each step of one: between its move and the
/// second pin, too.
#[test]
fn a_page_that_is_brought_back_meanwhile() {
    let scenario = |mutant, many| {
        at_each_step(1, |steps| {
            let config = Config { cpus: 2, pages: 3072, movable: 4, ..Config::default() };
            let world = SimWorld::new(config);
            world.mm().arm(mutant);
            let frames = &world.mm().frames;
            let space = Space::new(world.mm()).expect("memory");
            space.map(Place::At(VA), PAGE_SIZE, Prot::ReadWrite, Huge::Never).expect("free");
            touch(&space, VA);
            let bring_back = || {
                let mut moved = [Err(MigrateError::NotMapped)];
                let there =
                    || translation(&space, VA).is_none_or(|pfn| frames.is_movable_only(pfn));
                for _ in 0..8 {
                    if !there() {
                        let _ = space.move_pages(&[VA], Destination::Anywhere, &mut moved);
                    }
                }
            };
            bring_back();
            let mut runs = [Run::EMPTY; 1];
            let (runs, pinned) = (Mutex::new(&mut runs[..]), Mutex::new(None));
            let pin = || {
                let pfn = match many {
                    false => space.pin_longterm(VA, Access::Write).map(|pin| pin.pfn()),
                    true => {
                        let mut runs = runs.lock().expect("alone");
                        let held = space.pin_longterm_many(VA, 1, Access::Write, &mut runs);
                        held.map(|held| held.runs()[0].first)
                    }
                };
                *pinned.lock().expect("alone") = Some(pfn);
            };
            let reached = world.intrude(steps, &pin, &bring_back);
            let pinned = pinned.into_inner().expect("alone").expect("over");
            let verdict = match pinned {
                Ok(pfn) if frames.is_movable_only(pfn) => {
                    Err(format!("{pfn} is kept for what moves, and was pinned for long"))
                }
                Ok(_) => wrong(&world).map_or(Ok(()), Err),
                Err(error) => Err(error.to_string()),
            };
            reached.then_some(verdict)
        })
    };
    misses(|mutant| scenario(mutant, false), &[Mutant::LongtermOnce]);
    misses(|mutant| scenario(mutant, true), &[Mutant::LongtermOnce]);
}

/// What everybody has is not what a program will see once it writes: a long pin to read gets the program a page
/// of its own first, whatever showed the zeros, and leaves other programs theirs.
#[test]
fn zeros_become_a_page_before_they_are_pinned_for_long() {
    let scenario = |mutant: Option<Mutant>| {
        for (huge, fast) in [(false, false), (false, true), (true, false), (true, true)] {
            let world = races::world(None);
            let untouched = Untouched::new(&world);
            world.mm().arm(mutant);
            world.mm().thp.set_enabled(if huge { Policy::Always } else { Policy::Never });
            let space = Space::new(world.mm()).expect("memory");
            space.map(Place::At(VA), PMD_SIZE, Prot::ReadWrite, Huge::Default).expect("free");
            if fast {
                // Otherwise the pin is what shows them first.
                world.inside(&space, &mut || assert_eq!(world.load(&space, page(9)), Ok(0)));
            }
            let child = space.fork().expect("memory");
            let pin = space.pin_longterm(page(9), Access::Read).expect("memory");
            let mut runs = [Run::EMPTY; 64];
            let held = space.pin_longterm_many(page(8), 20, Access::Read, &mut runs);
            let held = held.expect("memory");
            assert_eq!(held.pages(), 20);
            world.inside(&space, &mut || {
                (8..28).for_each(|n| world.store(&space, page(n), n).expect("mapped"));
            });
            for (n, pfn) in (8..).zip(held.iter()).chain([(9, pin.pfn())]) {
                if world.mm().hw.peek(pfn.base()) != n {
                    return Some(format!(
                        "page {n} was written, and {pfn}, pinned, does not show it"
                    ));
                }
            }
            world.inside(&child, &mut || {
                (8..28).for_each(|n| assert_eq!(world.load(&child, page(n)), Ok(0)));
            });
            drop((pin, held));
            world.mm().audit().expect("nothing is broken");
            drop((child, space));
            untouched.check(&world);
        }
        None
    };
    misses(scenario, &[Mutant::LongtermZeros]);
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
