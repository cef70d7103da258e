//! The background: what it finds worth the work, and what it must wait for.

use super::scene::{
    RW, VA, WHOLE, by_pages, check, config, entry, on, page, parted, stamp, write, written,
};
use crate::common::races::{misses, wrong};
use crate::common::{Untouched, machines};
use abi::{Access, Event, Level, Order, PMD_SIZE};
use granule_machine::{Config, Machine, SimWorld};
use mm::thp::{Policy, Scanned};
use mm::{Advice, Huge, Place, Space};
use std::sync::Mutex;
use stress::World;

/// Looks at all there is, once.
fn scan(world: &SimWorld) -> Scanned {
    let scanned = world.mm().collapse_scan(1 << 20);
    world.mm().audit().expect("nothing is broken");
    scanned
}

fn is_huge(space: &Space<'_, Machine>) -> bool {
    entry(space, VA).0 == Level::Pmd
}

#[test]
fn all_spaces_are_gone_through() {
    for base in machines() {
        on(base, |world| {
            let parent = written(world, 0..512);
            let child = parent.fork().expect("memory");
            by_pages(world, || write(world, &child, 0..512));
            let (stranger, whole) = (written(world, 0..3), parted(world));
            let scanned = scan(world);
            assert_eq!((scanned.collapsed, scanned.round), (4, true));
            assert_eq!(world.mm().stats.total(Event::ThpCollapseInPlace), 1);
            for space in [&parent, &child, &whole] {
                assert!(is_huge(space));
                check(world, space, 0..512);
            }
            check(world, &stranger, 0..3);
            assert_eq!(scan(world).collapsed, 0);
        });
    }
}

/// It goes on where it stopped.
#[test]
fn a_little_at_a_time() {
    on(machines()[0], |world| {
        let space = Space::new(world.mm()).expect("memory");
        space.map(Place::At(VA), 4 * PMD_SIZE, RW, Huge::Default).expect("free");
        by_pages(world, || {
            world.inside(&space, &mut || {
                for n in [0, 2, 3] {
                    world.store(&space, VA + n * PMD_SIZE, n).expect("an area");
                }
            });
        });
        let collapsed: Vec<_> = (0..5).map(|_| world.mm().collapse_scan(1).collapsed).collect();
        assert_eq!(collapsed, [1, 0, 1, 1, 0]);
    });
}

#[test]
fn limits_are_kept_and_programs_ignore_them() {
    let refused = |set: fn(&SimWorld), make: fn(&SimWorld) -> Space<'_, Machine>| {
        on(machines()[0], |world| {
            set(world);
            let space = make(world);
            let child = space.fork().expect("memory");
            drop(child);
            assert_eq!(scan(world).collapsed, 0);
            assert!(space.collapse(VA).is_ok());
        });
    };
    refused(|world| world.mm().thp.collapse.set_max_none(9), |world| written(world, 0..502));
    // Nobody has used it, or the program has given it up.
    refused(
        |_| (),
        |world| {
            let space = written(world, 0..4);
            space.advise(WHOLE, Advice::Free).expect("an area");
            space
        },
    );
    on(machines()[0], |world| {
        let space = written(world, 0..20);
        let child = space.fork().expect("memory");
        world.mm().thp.collapse.set_max_shared(19);
        assert_eq!(scan(world).collapsed, 0);
        assert_eq!(world.mm().stats.total(Event::ThpScanExceedShared), 2);
        world.mm().thp.collapse.set_max_shared(20);
        assert_eq!(scan(world).collapsed, 2);
        check(world, &space, 0..20);
        check(world, &child, 0..20);
        world.mm().thp.set_enabled(Policy::Madvise);
        let quiet = written(world, 0..4);
        assert_eq!(scan(world).collapsed, 0, "nobody has asked for it");
        quiet.advise(WHOLE, Advice::Huge).expect("an area");
        assert_eq!(scan(world).collapsed, 1);
    });
}

#[test]
fn it_stops_when_there_is_no_memory() {
    on(machines()[0], |world| {
        let space = written(world, 0..4);
        let blocks: Vec<_> = std::iter::from_fn(|| world.mm().alloc(Order::PMD).ok()).collect();
        let scanned = scan(world);
        assert!(scanned.out_of_memory && scanned.collapsed == 0);
        blocks.into_iter().for_each(|block| world.mm().free(block));
        // That block has had its turn.
        assert_eq!(scan(world).collapsed, 0);
        assert_eq!(scan(world).collapsed, 1);
        check(world, &space, 0..4);
    });
}

/// A program uses its memory, forks and ends while the background is at work.
fn exit_under_it(seed: u64, mutant: Option<mm::mutant::Mutant>) -> Option<String> {
    let run = || {
        let base = Config { seed, ..machines()[seed as usize % 4] };
        let world = SimWorld::new(config(base, 2));
        let untouched = Untouched::new(&world);
        world.mm().arm(mutant);
        let space = Mutex::new(Some(written(&world, 0..9)));
        let body = |cpu| {
            if cpu == 0 {
                for _ in 0..3 {
                    world.mm().collapse_scan(1 << 12);
                }
                return;
            }
            let space = space.lock().expect("no panic").take().expect("it is there");
            (0..seed * 37 % 900).for_each(|_| world.yield_now());
            world.inside(&space, &mut || {
                assert_eq!(world.load(&space, page(3)), Ok(stamp(3)));
                world.store(&space, page(300), 1).expect("an area");
            });
            let child = seed.is_multiple_of(2).then(|| space.fork().expect("memory"));
            drop(space.gup(page(4), Access::Read));
            drop(space);
            if let Some(child) = child {
                check_few(&world, &child);
            }
        };
        world.run(2, &body, &mut || ());
        if let Some(found) = wrong(&world) {
            return Some(found);
        }
        untouched.check(&world);
        None
    };
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).unwrap_or_else(|panic| {
        Some(panic.downcast_ref::<String>().cloned().unwrap_or_else(|| "a panic".into()))
    })
}

fn check_few(world: &SimWorld, space: &Space<'_, Machine>) {
    world.inside(space, &mut || {
        for n in 0..9 {
            assert_eq!(world.load(space, page(n)), Ok(stamp(n)));
        }
        assert_eq!(world.load(space, page(300)), Ok(1));
    });
}

#[test]
fn an_exit_waits_for_its_guests() {
    let scenario = |mutant: Option<mm::mutant::Mutant>| {
        let seeds = if mutant.is_none() { 60 } else { 400 };
        (1..seeds).find_map(|seed| exit_under_it(seed, mutant))
    };
    misses(scenario, &[mm::mutant::Mutant::ExitForgetsGuests]);
}
