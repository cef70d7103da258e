//! What a program says of its memory: madvise.

use super::scene::*;
use crate::common::heap::refusing;
use crate::common::{Untouched, machines};
use abi::{Access, Event, Level, PAGE_SIZE, Prot, VirtRange};
use granule_machine::{Config, Machine, SimWorld};
use mm::mutant::Mutant;
use mm::{Advice, AdviseError, FaultOutcome, Huge, OutOfMemory, Place, Space};
use std::sync::Mutex;
use stress::World;

/// The next access finds zeros, in what was named and nowhere else; the areas stay.
#[test]
fn what_is_not_needed_reads_as_zeros() {
    for config in machines() {
        for kind in KINDS {
            let world = world(config, kind);
            let untouched = Untouched::new(&world);
            let all = pages(0, 3 * BLOCK);
            let space = stamped(&world, all);
            let mut gone = Vec::new();
            for part in [
                pages(3, 1),
                pages(SET, SET),
                pages(3 * SET - 5, 10),
                pages(BLOCK, BLOCK),
                pages(BLOCK - 9, 18),
                pages(2 * BLOCK + 100, 50),
            ] {
                assert_eq!(space.advise(part, Advice::DontNeed), Ok(()));
                sound(&world);
                gone.push(part);
            }
            let value = |va| match gone.iter().any(|part| part.contains(va)) {
                true => 0,
                false => stamp(va),
            };
            check(&world, &space, all, value);
            write(&world, &space, all, stamp);
            check(&world, &space, all, stamp);
            assert_eq!(space.advise(all, Advice::DontNeed), Ok(()));
            let audit = world.mm().audit().expect("sound");
            assert_eq!((audit.rss, audit.deposits), (0, 0));
            assert_eq!(areas(&space).len(), 1);
            drop(space);
            untouched.check(&world);
        }
    }
}

/// One flush for each table, by which time its lock is still held; none where nothing is mapped.
#[test]
fn each_table_is_flushed_once() {
    for config in machines() {
        for (kind, operations) in [(Kind::Small, SET), (Kind::Sets, SET), (Kind::Huge, 1)] {
            let world = world(config, kind);
            let space = stamped(&world, pages(0, 2 * BLOCK));
            let drop_it =
                |range| flushes(&world, || space.advise(range, Advice::DontNeed).expect("mapped"));
            if kind != Kind::Huge {
                let some = drop_it(pages(SET, SET));
                assert!(some.1 == 1 && (1..=operations).contains(&some.0), "{some:?}");
            }
            assert_eq!(drop_it(pages(0, 2 * BLOCK)).1, 2);
            assert_eq!(drop_it(pages(0, 2 * BLOCK)), (0, 0));
        }
    }
}

/// A second thread that finds nothing to drop may rely on that: the first one's flush is complete by then.
#[test]
fn whoever_finds_nothing_owes_nothing() {
    for kind in KINDS {
        catches(Mutant::DontneedFlushLate, |mutant| {
            (1..80).find_map(|seed| {
                let world = racy(Config { seed, ..machines()[seed as usize % 2] }, kind, mutant);
                let range = match kind {
                    Kind::Small => pages(0, 1),
                    Kind::Sets => pages(0, SET),
                    Kind::Huge => pages(0, BLOCK),
                };
                let space = stamped(&world, range);
                let found = Mutex::new(None);
                let body = |cpu| {
                    if cpu == 0 {
                        for _ in 0..30 {
                            space.advise(range, Advice::DontNeed).expect("mapped");
                        }
                        return;
                    }
                    world.inside(&space, &mut || {
                        for n in 1..15 {
                            world.store(&space, VA, n).expect("mapped");
                            space.advise(range, Advice::DontNeed).expect("mapped");
                            // Nobody else writes.
                            let seen = world.load(&space, VA);
                            if seen != Ok(0) {
                                *found.lock().expect("alone") =
                                    Some(format!("{kind:?} {seed} {seen:?} after {n}"));
                            }
                        }
                    });
                };
                world.run(2, &body, &mut || {});
                found.into_inner().expect("alone").or_else(|| wrong(&world))
            })
        });
    }
}

/// Two threads drop the same pages while each writes them: each reads its own zeros and its own values.
#[test]
fn dropping_races_with_writing() {
    for kind in KINDS {
        for seed in 1..10 {
            let world = racy(Config { seed, ..machines()[seed as usize % 2] }, kind, None);
            let untouched = Untouched::new(&world);
            let range = pages(0, BLOCK);
            let space = stamped(&world, range);
            let body = |cpu: usize| {
                world.inside(&space, &mut || {
                    for n in 0..30 {
                        let mine = page(n % 4 * SET + cpu as u64);
                        world.store(&space, mine, n + 1).expect("mapped");
                        let found = world.load(&space, mine).expect("mapped");
                        assert!(found == n + 1 || found == 0, "{found} at {mine}");
                        let part =
                            if n % 3 == 0 { range } else { VirtRange::from_size(mine, PAGE_SIZE) };
                        space.advise(part, Advice::DontNeed).expect("mapped");
                        assert_eq!(world.load(&space, mine), Ok(0));
                    }
                });
            };
            world.run(2, &body, &mut || {});
            sound(&world);
            drop(space);
            untouched.check(&world);
        }
    }
}

/// Advice about huge pages holds for faults to come, cuts areas, and joins what is alike again.
#[test]
fn huge_pages_come_as_advised() {
    let world = world(machines()[0], Kind::Huge);
    world.mm().thp.set_enabled(mm::thp::Policy::Madvise);
    let space = Space::new(world.mm()).expect("memory");
    space.map(Place::At(VA), 4 * BLOCK * PAGE_SIZE, RW, Huge::Default).expect("free");
    assert_eq!(space.advise(pages(BLOCK, BLOCK), Advice::Huge), Ok(()));
    assert_eq!(space.advise(pages(2 * BLOCK, BLOCK), Advice::NoHuge), Ok(()));
    let said = areas(&space).iter().map(|area| (area.range.pages(), area.huge)).collect::<Vec<_>>();
    let default = Huge::Default;
    assert_eq!(
        said,
        [(BLOCK, default), (BLOCK, Huge::Advised), (BLOCK, Huge::Never), (BLOCK, default)]
    );
    write(&world, &space, pages(0, 4 * BLOCK), stamp);
    let levels = [0, 1, 2, 3].map(|n| entry(&space, page(n * BLOCK)).0);
    assert_eq!(levels, [Level::Pte, Level::Pmd, Level::Pte, Level::Pte]);
    assert_eq!(space.advise(pages(0, 4 * BLOCK), Advice::NoHuge), Ok(()));
    assert_eq!(areas(&space).len(), 1);
    assert_eq!(entry(&space, page(BLOCK)).0, Level::Pmd, "what is there stays");
    check(&world, &space, pages(0, 4 * BLOCK), stamp);
    sound(&world);
}

#[test]
fn everything_is_ready_at_once() {
    for config in machines() {
        for kind in KINDS {
            let world = world(config, kind);
            let space = Space::new(world.mm()).expect("memory");
            let all = pages(0, 2 * BLOCK);
            space.map(Place::At(VA), all.bytes(), RW, Huge::Default).expect("free");
            assert_eq!(space.advise(pages(0, BLOCK), Advice::PopulateRead), Ok(()));
            assert_eq!(space.advise(pages(BLOCK, BLOCK), Advice::PopulateWrite), Ok(()));
            let faults = counted(&world, [Event::PgFault], || {
                check(&world, &space, all, |_| 0);
                write(&world, &space, pages(BLOCK, BLOCK), stamp);
            });
            assert_eq!(faults, [0], "{kind:?}");
            sound(&world);
        }
    }
}

/// A hole is told, and everything else is done; other obstacles end it where they are.
#[test]
fn obstacles_are_told() {
    let world = world(machines()[0], Kind::Small);
    let untouched = Untouched::new(&world);
    let space = stamped(&world, pages(0, 4));
    space.map(Place::At(page(6)), 2 * PAGE_SIZE, RW, Huge::Default).expect("free");
    write(&world, &space, pages(6, 2), stamp);
    let hole = Err(AdviseError::Hole(pages(4, 2)));
    assert_eq!(space.advise(pages(0, 9), Advice::Huge), hole);
    assert!(areas(&space).iter().all(|area| area.huge == Huge::Advised));
    assert_eq!(space.advise(pages(2, 5), Advice::DontNeed), hole);
    let kept = |va| if pages(2, 5).contains(va) { 0 } else { stamp(va) };
    check(&world, &space, pages(0, 4), kept);
    check(&world, &space, pages(6, 2), kept);
    assert_eq!(space.advise(pages(0, 8), Advice::Free), hole);
    for advice in [Advice::DontNeed, Advice::Free, Advice::NoHuge, Advice::PopulateRead] {
        let nothing = space.advise(pages(100, 700), advice);
        assert!(matches!(nothing, Err(AdviseError::Hole(_))), "{advice:?}: {nothing:?}");
        let odd = VirtRange::new(page(0), page(0) + 5);
        assert_eq!(space.advise(odd, advice), Err(AdviseError::BadRange(odd)));
    }
    assert_eq!(
        space.advise(pages(100, 700), Advice::DontNeed),
        Err(AdviseError::Hole(pages(100, 700)))
    );

    space.protect(pages(1, 1), Prot::Read).expect("mapped");
    let denied = space.advise(pages(0, 4), Advice::PopulateWrite);
    assert_eq!(denied, Err(AdviseError::Denied(page(1))));

    let given = world.mm().alloc(abi::Order::PAGE).expect("memory");
    let window = pages(20, 1);
    space.map_frames(Place::At(window.start), given, PAGE_SIZE, RW).expect("free");
    for advice in [Advice::DontNeed, Advice::Free] {
        assert_eq!(space.advise(window, advice), Err(AdviseError::Frames(window)));
    }
    assert_eq!(access(&world, &space, window.start, Access::Write), Ok(()));

    let request = crowded(&space);
    let refused = refusing(request, || space.advise(pages(6, 1), Advice::NoHuge));
    assert_eq!(refused, Err(AdviseError::NoRoom));
    drop(space);
    world.mm().free(given);
    untouched.check(&world);
}

/// Without memory populating says where it came to, and goes on from there.
#[test]
fn populating_goes_on_where_memory_ended() {
    let world = world(machines()[0], Kind::Small);
    let space = Space::new(world.mm()).expect("memory");
    let all = pages(0, 30);
    space.map(Place::At(VA), all.bytes(), RW, Huge::Never).expect("free");
    // Three tables, and ten pages.
    let famine = Famine::but(&world, 13);
    let ended = space.advise(all, Advice::PopulateWrite);
    drop(famine);
    let oom = OutOfMemory { order: abi::Order::PAGE };
    assert_eq!(ended, Err(AdviseError::OutOfMemory(page(10), oom)));
    sound(&world);
    assert_eq!(space.advise(VirtRange::new(page(10), all.end), Advice::PopulateWrite), Ok(()));
    check_ready(&world, &space, all);
}

fn check_ready(world: &SimWorld, space: &Space<'_, Machine>, range: VirtRange) {
    for va in each_page(range) {
        assert_eq!(space.fault(va, Access::Write), FaultOutcome::Spurious);
    }
    sound(world);
}
