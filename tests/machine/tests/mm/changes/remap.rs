//! Other places and sizes: mremap.

use super::scene::*;
use crate::common::heap::refusing;
use crate::common::{Untouched, machines};
use abi::{Access, Event, Level, Order, PAGE_SIZE, Prot, VirtAddr, VirtRange};
use granule_machine::{Config, Machine, SimWorld};
use mm::mutant::Mutant;
use mm::{FaultOutcome, Huge, Move, Place, RemapError, Space};
use pte::{Entry, Soft};
use std::sync::Mutex;
use stress::World;

/// Far away, and at the same place in a block.
const FAR: VirtAddr = VirtAddr(7 << 39);

fn far(first: u64, n: u64) -> VirtRange {
    VirtRange::from_size(FAR + first * PAGE_SIZE, n * PAGE_SIZE)
}

/// What a page says that was born in `old` and is at `va` of `new` now.
fn moved(old: VirtRange, new: VirtRange) -> impl Fn(VirtAddr) -> u64 {
    move |va| stamp(VirtAddr(va.0 - new.start.0 + old.start.0))
}

fn remap(space: &Space<'_, Machine>, old: VirtRange, new: VirtRange) {
    assert_eq!(space.remap(old, new.bytes(), Move::To(new.start)), Ok(new));
}

/// Content goes along, whatever maps it and wherever in a block the two places are; the old place is
/// free, and everything can be written and unmapped as before.
#[test]
fn content_goes_along() {
    let moves = [
        (pages(0, 2 * BLOCK), far(0, 2 * BLOCK)),
        (pages(0, 2 * BLOCK), far(1, 2 * BLOCK)),
        (pages(0, BLOCK), far(SET, BLOCK)),
        (pages(5, 600), far(5, 600)),
        (pages(SET, 3 * SET), far(4 * SET, 3 * SET)),
        (pages(500, 100), far(77, 100)),
        (pages(100, 1), far(0, 1)),
        // Within one table, and into the neighbouring one.
        (pages(0, 40), pages(3 * BLOCK + 8, 40)),
        (pages(BLOCK - 3, 6), pages(3 * BLOCK + 100, 6)),
    ];
    for config in [machines()[0], machines()[1]] {
        for kind in KINDS {
            for (old, new) in moves {
                let world = world(config, kind);
                let untouched = Untouched::new(&world);
                let all = pages(0, 3 * BLOCK);
                let space = stamped(&world, all);
                // Tables that are there already, with and without neighbours.
                space
                    .map(Place::At(new.end + PAGE_SIZE), PAGE_SIZE, RW, Huge::Never)
                    .expect("free");
                write(&world, &space, VirtRange::from_size(new.end + PAGE_SIZE, PAGE_SIZE), |_| 9);
                remap(&space, old, new);
                sound(&world);
                check(&world, &space, new, moved(old, new));
                for va in each_page(all) {
                    match old.contains(va) {
                        true => assert_eq!(frame(&space, va), None),
                        false => assert!(frame(&space, va).is_some()),
                    }
                }
                write(&world, &space, new, |va| va.0);
                check(&world, &space, new, |va| va.0);
                let back = space.remap(new, new.bytes(), Move::To(old.start));
                assert_eq!(back, Ok(old));
                sound(&world);
                check(&world, &space, old, |va| va.0 - old.start.0 + new.start.0);
                assert_eq!(areas(&space).len(), 2, "what was cut is one again");
                drop(space);
                untouched.check(&world);
            }
        }
    }
}

/// Where the places in a block agree, tables and huge pages move whole: nothing is split, allocated only
/// what leads there, and flushed once.
#[test]
fn whole_blocks_move_whole() {
    for config in machines() {
        for kind in KINDS {
            let world = world(config, kind);
            let space = stamped(&world, pages(0, 4 * BLOCK));
            let before = (0..4).map(|n| frame(&space, page(n * BLOCK))).collect::<Vec<_>>();
            let events = [Event::ThpSplitPmd, Event::PgTableAlloc, Event::ContUnfold];
            let mut flushed = (0, 0);
            let counts = counted(&world, events, || {
                flushed = flushes(&world, || remap(&space, pages(0, 4 * BLOCK), far(0, 4 * BLOCK)));
            });
            assert_eq!(counts, [0, 2, 0], "a PUD and a PMD table for the new place");
            assert_eq!(flushed.1, 1);
            let after = (0..4).map(|n| frame(&space, FAR + n * BLOCK * PAGE_SIZE));
            assert_eq!(after.collect::<Vec<_>>(), before);
            // Without being told a place it finds one that agrees.
            let more = 4 * BLOCK + 1;
            space
                .map(Place::At(far(4 * BLOCK, 1).start), PAGE_SIZE, Prot::Read, Huge::Never)
                .expect("free");
            let new =
                space.remap(far(0, 4 * BLOCK), more * PAGE_SIZE, Move::IfNeeded).expect("room");
            assert_eq!(new.start.0 % Level::Pmd.span(), 0);
            assert_eq!(world.mm().stats.total(Event::ThpSplitPmd), 0);
            sound(&world);
        }
    }
}

#[test]
fn a_mapping_grows_shrinks_and_moves_only_if_it_must() {
    for kind in KINDS {
        let world = world(machines()[1], kind);
        let untouched = Untouched::new(&world);
        let space = stamped(&world, pages(0, BLOCK));
        let bytes = |pages: u64| pages * PAGE_SIZE;
        // In place, and as one with what was there.
        assert_eq!(
            space.remap(pages(0, BLOCK), bytes(BLOCK + 9), Move::No),
            Ok(pages(0, BLOCK + 9))
        );
        assert_eq!(areas(&space).len(), 1);
        check(&world, &space, pages(0, BLOCK), stamp);
        check(&world, &space, pages(BLOCK, 9), |_| 0);
        write(&world, &space, pages(BLOCK, 9), stamp);
        // Smaller, and gone is what was cut off.
        assert_eq!(space.remap(pages(0, BLOCK + 9), bytes(100), Move::No), Ok(pages(0, 100)));
        assert_eq!(frame(&space, page(100)), None);
        sound(&world);
        assert_eq!(space.remap(pages(0, 100), bytes(100), Move::IfNeeded), Ok(pages(0, 100)));
        // Somebody is in the way.
        space.map(Place::At(page(102)), PAGE_SIZE, Prot::Read, Huge::Never).expect("free");
        let wanted = pages(100, 3);
        let refused = Err(RemapError::Occupied { wanted, by: pages(102, 1) });
        assert_eq!(space.remap(pages(0, 100), bytes(103), Move::No), refused);
        let new = space.remap(pages(0, 100), bytes(103), Move::IfNeeded).expect("room");
        assert!(!new.overlaps(&pages(0, 103)));
        let old_part = VirtRange::from_size(new.start, bytes(100));
        check(&world, &space, old_part, moved(pages(0, 100), old_part));
        check(&world, &space, VirtRange::new(old_part.end, new.end), |_| 0);
        // Moved and cut at once; the middle of an area, which is in its own way.
        let cut = far(0, 30);
        assert_eq!(space.remap(new, cut.bytes(), Move::To(FAR)), Ok(cut));
        check(&world, &space, cut, moved(pages(0, 30), cut));
        let middle = far(10, 5);
        let by = areas(&space).last().expect("it").range;
        let refused = space.remap(middle, bytes(6), Move::No);
        assert_eq!(refused, Err(RemapError::Occupied { wanted: far(15, 1), by }));
        sound(&world);
        drop(space);
        untouched.check(&world);
    }
}

#[test]
fn a_refusal_says_why_and_changes_nothing() {
    let world = world(machines()[0], Kind::Small);
    let untouched = Untouched::new(&world);
    let space = stamped(&world, pages(0, 8));
    space.protect(pages(4, 4), Prot::Read).expect("mapped");
    let given = space.map_frames(Place::At(page(100)), abi::Pfn(5), 4 * PAGE_SIZE, Prot::Read);
    let given = given.expect("free");
    let before = areas(&space);
    let whole = pages(0, 8);
    let to = |n| Move::To(page(n));
    for (old, n, place, why) in [
        (pages(0, 0), 1, Move::No, RemapError::BadRange(pages(0, 0))),
        (pages(0, 1), 0, to(40), RemapError::BadRange(pages(40, 0))),
        (
            pages(0, 1),
            1,
            Move::To(page(9) + 8),
            RemapError::BadRange(VirtRange::from_size(page(9) + 8, PAGE_SIZE)),
        ),
        (pages(20, 2), 2, to(40), RemapError::Hole(pages(20, 2))),
        (pages(6, 4), 4, to(40), RemapError::Hole(pages(8, 2))),
        (whole, 8, to(40), RemapError::Border { at: page(4) }),
        (pages(0, 4), 4, to(3), RemapError::Overlap { old: pages(0, 4), new: pages(3, 4) }),
        (pages(0, 2), 2, to(5), RemapError::Occupied { wanted: pages(5, 2), by: pages(4, 4) }),
        (given, 5, Move::IfNeeded, RemapError::Frames(given)),
    ] {
        assert_eq!(space.remap(old, n * PAGE_SIZE, place), Err(why), "{why}");
        assert_eq!(areas(&space), before);
    }
    let huge = (1 << 48) - (1 << 30);
    assert_eq!(
        space.remap(pages(0, 4), huge, Move::IfNeeded),
        Err(RemapError::NoRoom { bytes: huge })
    );
    let request = crowded(&space);
    let before = areas(&space);
    for place in [Move::To(FAR), Move::IfNeeded, Move::No] {
        let n = if place == Move::No { 1 } else { 5 };
        let refused = refusing(request, || space.remap(pages(1, 2), n * PAGE_SIZE, place));
        assert_eq!(refused, Err(RemapError::OutOfMemory), "{place:?}");
        assert_eq!(areas(&space), before);
    }
    check(&world, &space, whole, stamp);
    drop(space);
    untouched.check(&world);
}

/// With no frame for the tables of the new place, then with one, and so on: either all of it moves, or
/// nothing has changed and nothing is kept.
#[test]
fn without_memory_nothing_moves() {
    for kind in KINDS {
        for (old, new) in [
            (pages(0, BLOCK), far(0, BLOCK)),
            (pages(0, BLOCK), far(1, BLOCK)),
            (
                pages(3, 2 * BLOCK),
                VirtRange::from_size(VirtAddr((9 << 39) - 77 * PAGE_SIZE), 2 * BLOCK * PAGE_SIZE),
            ),
        ] {
            let world = world(machines()[0], kind);
            let untouched = Untouched::new(&world);
            let space = stamped(&world, pages(0, 3 * BLOCK));
            let before = areas(&space);
            let tables = world.mm().audit().expect("sound").tables;
            let change = || space.remap(old, new.bytes(), Move::To(new.start));
            let done = starving(&world, change, |error| {
                assert_eq!(error, RemapError::OutOfMemory);
                assert_eq!(areas(&space), before);
                let audit = world.mm().audit().expect("sound");
                assert_eq!(audit.tables, tables, "tables were kept");
                check(&world, &space, pages(0, 3 * BLOCK), stamp);
            });
            assert_eq!(done, new);
            sound(&world);
            check(&world, &space, new, moved(old, new));
            drop(space);
            untouched.check(&world);
        }
    }
}

/// I-50: the table put aside for a huge page goes along. Left behind, it is found there by nobody, and a
/// later split of the page finds none.
#[test]
fn the_table_put_aside_goes_along() {
    catches(Mutant::RemapLeavesDeposit, |mutant| {
        let world = racy(machines()[0], Kind::Huge, mutant);
        let space = stamped(&world, pages(0, 2 * BLOCK));
        remap(&space, pages(0, BLOCK), far(0, BLOCK));
        let found = wrong(&world);
        if found.is_some() {
            std::mem::forget(space);
            return found;
        }
        space.unmap(far(3, 5)).expect("memory");
        check(&world, &space, far(8, BLOCK - 8), moved(pages(0, BLOCK), far(0, BLOCK)));
        wrong(&world)
    });
}

/// A folio on its way elsewhere is found again where its migration entry has moved to.
#[test]
fn migration_entries_go_along() {
    for config in machines() {
        for new in [far(0, BLOCK), far(SET, BLOCK)] {
            let world = world(config, Kind::Huge);
            let untouched = Untouched::new(&world);
            let space = stamped(&world, pages(0, BLOCK));
            let frozen = space.freeze_folio_at(VA).expect("nobody holds it");
            remap(&space, pages(0, BLOCK), new);
            assert!(matches!(entry(&space, new.start).2, Entry::Soft(Soft::Migration { .. })));
            frozen.thaw();
            sound(&world);
            check(&world, &space, new, moved(pages(0, BLOCK), new));
            drop(space);
            untouched.check(&world);
        }
    }
}

/// The walk from a folio to its entries finds them where they are now.
#[test]
fn folios_are_found_where_they_are_now() {
    for new in [far(0, BLOCK), far(SET, BLOCK)] {
        let world = world(machines()[0], Kind::Huge);
        let space = stamped(&world, pages(0, BLOCK));
        let child = space.fork().expect("memory");
        remap(&space, pages(0, BLOCK), new);
        space.split_folio_at(new.start, Order::PAGE).expect("nobody holds it");
        sound(&world);
        check(&world, &space, new, moved(pages(0, BLOCK), new));
        check(&world, &child, pages(0, BLOCK), stamp);
    }
}

/// A space with `old` and neighbours of it, and neighbours of `new`. They keep the tables of both places,
/// which would take a flush of their own, and many steps, to free.
fn among_neighbours(world: &SimWorld, old: VirtRange, new: VirtRange) -> Space<'_, Machine> {
    let space = stamped(world, old);
    for behind in [old.end, new.end] {
        let beside = VirtRange::from_size(behind + PAGE_SIZE, PAGE_SIZE);
        space.map(Place::At(beside.start), PAGE_SIZE, Prot::ReadExec, Huge::Never).expect("free");
        assert_eq!(space.fault(beside.start, Access::Read), FaultOutcome::Mapped);
    }
    space
}

/// When mremap has returned, nothing is reached by the old addresses: what is unmapped at the new ones
/// is free, and no CPU has it.
#[test]
fn old_addresses_lead_nowhere() {
    for (kind, old, new) in [
        (Kind::Small, pages(3, 2), far(3, 2)),
        (Kind::Sets, pages(SET, SET), far(SET, SET)),
        (Kind::Huge, pages(0, BLOCK), far(0, BLOCK)),
    ] {
        catches(Mutant::RemapNoFlush, |mutant| {
            let world = racy(machines()[1], kind, mutant);
            let space = among_neighbours(&world, old, new);
            world.inside(&space, &mut || {
                assert_eq!(world.load(&space, old.start), Ok(stamp(old.start)));
                remap(&space, old, new);
                space.unmap(new).expect("memory");
            });
            wrong(&world)
        });
    }
}

/// Another CPU unmaps the new range as soon as it can. By then the old one is flushed, or its memory is
/// freed under somebody's translation.
#[test]
fn whoever_unmaps_the_new_range_comes_after_the_flush() {
    for (kind, old, new) in
        [(Kind::Small, pages(3, 1), far(3, 1)), (Kind::Huge, pages(0, BLOCK), far(0, BLOCK))]
    {
        catches(Mutant::RemapFlushLate, |mutant| {
            at_each_step(|steps| {
                let world = racy(machines()[1], kind, mutant);
                let space = among_neighbours(&world, old, new);
                let reached = world.intrude(
                    steps,
                    &|| {
                        world.inside(&space, &mut || {
                            assert_eq!(world.load(&space, old.start), Ok(stamp(old.start)));
                            remap(&space, old, new);
                        });
                    },
                    &|| {
                        if areas(&space).iter().any(|area| area.range == new) {
                            space.unmap(new).expect("memory");
                        }
                    },
                );
                reached.then(|| wrong(&world).map_or(Ok(()), Err))
            })
        });
    }
}

/// Another CPU faults at the new place while the mapping is on its way there.
#[test]
fn nobody_faults_where_a_mapping_is_on_its_way_to() {
    catches(Mutant::RemapClaimable, |mutant| {
        at_each_step(|steps| {
            let world = racy(machines()[0], Kind::Small, mutant);
            let space = stamped(&world, pages(0, 2));
            space
                .map(Place::At(far(8, 1).start), PAGE_SIZE, Prot::Read, Huge::Never)
                .expect("free");
            let stranger = Mutex::new(None);
            let reached = world.intrude(steps, &|| remap(&space, pages(0, 2), far(0, 2)), &|| {
                let outcome = space.fault(FAR, Access::Write);
                if outcome == FaultOutcome::Mapped && frame(&space, FAR).is_some() {
                    *stranger.lock().expect("alone") = Some(outcome);
                }
            });
            let mut content = None;
            world.inside(&space, &mut || content = world.load(&space, FAR).ok());
            let verdict = match wrong(&world) {
                Some(what) => Err(what),
                None if content != Some(stamp(VA)) => Err(format!("{content:?} at the new place")),
                None => Ok(()),
            };
            reached.then_some(verdict)
        })
    });
}

/// A program that reads and writes while its memory moves finds it at one of the two places, and what it
/// wrote is there in the end.
#[test]
fn nothing_is_lost_on_the_way() {
    for config in [machines()[0], machines()[1]] {
        for kind in KINDS {
            for seed in 1..8 {
                let world = racy(Config { seed, ..config }, kind, None);
                let range = pages(0, BLOCK);
                let space = stamped(&world, range);
                let last = Mutex::new(0);
                let body = |cpu| {
                    if cpu == 0 {
                        for n in 0..4 {
                            let (old, new) = if n % 2 == 0 {
                                (range, far(n, BLOCK))
                            } else {
                                (far(n - 1, BLOCK), range)
                            };
                            remap(&space, old, new);
                        }
                        return;
                    }
                    world.inside(&space, &mut || {
                        for value in 1..60 {
                            for va in [VA, FAR, FAR + 2 * PAGE_SIZE] {
                                if world.store(&space, va, value).is_ok() {
                                    *last.lock().expect("alone") = value;
                                    break;
                                }
                            }
                        }
                    });
                };
                world.run(2, &body, &mut || {});
                sound(&world);
                let last = last.into_inner().expect("alone");
                check(
                    &world,
                    &space,
                    range,
                    |va| if va == VA && last > 0 { last } else { stamp(va) },
                );
            }
        }
    }
}
