//! A second space that begins as the first one is: fork.

use super::scene::*;
use crate::common::heap::{Refused, refusing};
use crate::common::{Untouched, machines};
use abi::{Access, Event, Level, Order, PAGE_SIZE, Prot};
use granule_machine::{Config, Machine, SimWorld};
use mm::audit::Allow;
use mm::frame::PIN_BIAS;
use mm::mutant::Mutant;
use mm::{Advice, Denial, FaultOutcome, Huge, Place, Space};
use pte::{Entry, MigrationKind, Soft};
use std::sync::Mutex;
use stress::World;

/// A child sees what its parent saw. What either writes from then on the other does not see, nor does
/// a grandchild; and what all have left is free.
#[test]
fn each_has_its_own_from_then_on() {
    for config in machines() {
        for kind in KINDS {
            let world = world(config, kind);
            let untouched = Untouched::new(&world);
            let all = pages(0, 2 * BLOCK);
            let parent = stamped(&world, all);
            parent
                .map(Place::At(page(3 * BLOCK)), PAGE_SIZE, Prot::None, Huge::Never)
                .expect("free");
            let child = parent.fork().expect("memory");
            sound(&world);
            assert_eq!(areas(&child), areas(&parent));
            write(&world, &parent, pages(0, 40), |_| 1);
            check(&world, &child, all, stamp);
            write(&world, &child, pages(20, 40), |_| 2);
            check(&world, &parent, pages(0, 40), |_| 1);
            check(&world, &parent, pages(40, 2 * BLOCK - 40), stamp);
            let grandchild = child.fork().expect("memory");
            sound(&world);
            write(&world, &grandchild, pages(30, 2), |_| 3);
            check(&world, &child, pages(20, 40), |_| 2);
            drop(child);
            check(&world, &grandchild, pages(30, 2), |_| 3);
            check(&world, &grandchild, pages(32, 28), |_| 2);
            check(&world, &grandchild, pages(60, 2 * BLOCK - 60), stamp);
            drop(parent);
            sound(&world);
            write(&world, &grandchild, all, stamp);
            sound(&world);
            drop(grandchild);
            untouched.check(&world);
        }
    }
}

/// Nothing is copied but areas and tables: what was mapped as a whole is so in both.
#[test]
fn memory_is_shared_and_stays_in_one_piece() {
    for config in machines() {
        for kind in KINDS {
            let world = world(config, kind);
            let parent = stamped(&world, pages(0, 2 * BLOCK));
            let mut child = None;
            let events =
                [Event::PgCopy, Event::ThpSplitPmd, Event::ContUnfold, Event::PgTableAlloc];
            let mut flushed = (0, 0);
            let [copied, split, unfolded, tables] = counted(&world, events, || {
                flushed = flushes(&world, || child = Some(parent.fork().expect("memory")));
            });
            assert_eq!((copied, split, unfolded), (0, 0, 0));
            assert_eq!(tables, 5, "three that lead to two of pages, linked or put aside");
            assert!(flushed.1 == 1 && flushed.0 >= 1, "{flushed:?}");
            let child = child.expect("it was made");
            for va in [VA, page(SET), page(BLOCK + 5)] {
                let (ours, theirs) = (leaf(&parent, va), leaf(&child, va));
                let (ours, theirs) = (ours.expect("mapped"), theirs.expect("mapped"));
                assert_eq!(ours, theirs);
                assert!(!ours.is_writable() && ours.is_dirty() && ours.is_young());
                assert_eq!(ours.level() == Level::Pmd, kind == Kind::Huge);
                assert_eq!(ours.is_contiguous(), kind == Kind::Sets);
            }
            // Nothing is writable any more: a second fork has nothing to flush.
            let again = flushes(&world, || drop(parent.fork().expect("memory")));
            assert_eq!(again, (0, 0));
        }
    }
}

/// Rights, advice and settings go along; so does what permits nothing, what was only read, and frames
/// that were given.
#[test]
fn everything_that_is_not_memory_goes_along() {
    for config in machines() {
        for kind in KINDS {
            let world = world(config, kind);
            let untouched = Untouched::new(&world);
            let parent = stamped(&world, pages(0, 2 * BLOCK));
            parent.protect(pages(0, BLOCK), Prot::None).expect("mapped");
            parent.advise(pages(BLOCK, BLOCK), Advice::NoHuge).expect("mapped");
            let zeros = pages(4 * BLOCK, BLOCK);
            parent.map(Place::At(zeros.start), zeros.bytes(), RW, Huge::Default).expect("free");
            check(&world, &parent, zeros, |_| 0);
            let given = world.mm().alloc(Order::PAGE).expect("memory");
            let window = pages(6 * BLOCK, 1);
            parent.map_frames(Place::At(window.start), given, PAGE_SIZE, RW).expect("free");
            let child = parent.fork().expect("memory");
            sound(&world);
            assert_eq!(areas(&child), areas(&parent));
            let denied = Err(FaultOutcome::Denied(Denial::Rights(Prot::None)));
            assert_eq!(access(&world, &child, page(7), Access::Read), denied);
            child.protect(pages(0, BLOCK), RW).expect("mapped");
            write(&world, &child, pages(0, 2), |_| 5);
            parent.protect(pages(0, BLOCK), Prot::Read).expect("mapped");
            check(&world, &parent, pages(0, BLOCK), stamp);
            write(&world, &parent, pages(4 * BLOCK, 3), |_| 6);
            check(&world, &child, zeros, |_| 0);
            // Both look through the same window.
            write(&world, &child, window, |_| 7);
            check(&world, &parent, window, |_| 7);
            sound(&world);
            drop((parent, child));
            world.mm().free(given);
            untouched.check(&world);
        }
    }
}

/// I-35: when fork has returned, no CPU of the parent writes to what the child has too.
#[test]
fn no_cpu_of_the_parent_writes_to_what_is_shared() {
    for config in [machines()[0], machines()[1]] {
        for kind in KINDS {
            for mutant in [Mutant::ForkNoFlush, Mutant::ForkKeepsWritable] {
                catches(mutant, |mutant| writer_after_fork(config, kind, mutant));
            }
        }
    }
}

fn writer_after_fork(config: Config, kind: Kind, mutant: Option<Mutant>) -> Option<String> {
    (1..12).find_map(|seed| {
        let world = racy(Config { seed, ..config }, kind, mutant);
        let parent = stamped(&world, pages(0, if kind == Kind::Huge { BLOCK } else { SET }));
        let mut found = None;
        world.inside(&parent, &mut || {
            world.store(&parent, VA, 1).expect("mapped");
            let child = parent.fork().expect("memory");
            // Perhaps by the translation that this CPU has.
            world.store(&parent, VA, 2).expect("mapped");
            let seen = frame(&child, VA).map(|pfn| peek(&world, pfn));
            found = (seen != Some(1)).then(|| format!("the child sees {seen:?}"));
        });
        found.or_else(|| wrong(&world))
    })
}

/// What was written is known to be so in both.
#[test]
fn history_is_copied() {
    for kind in KINDS {
        catches(Mutant::ForkDropsDirty, |mutant| {
            let world = racy(machines()[1], kind, mutant);
            let parent = stamped(&world, pages(0, BLOCK));
            let child = parent.fork().expect("memory");
            let dirty = |space| leaf(space, page(3)).is_some_and(|leaf| leaf.is_dirty());
            let kept = dirty(&parent) && dirty(&child);
            (!kept).then(|| "a page that was written is clean".into())
        });
    }
}

/// I-22: a pinned page stays the parent's, writable and unmoved; the child has a copy of what was in it.
/// Of a folio only the pinned part of which is known, all goes to the child as copies.
#[test]
fn pinned_pages_stay_the_parents() {
    for config in machines() {
        for (kind, mutants) in [
            (Kind::Small, &[Mutant::ForkIgnoresPins][..]),
            (Kind::Sets, &[Mutant::ForkIgnoresPins]),
            (Kind::Huge, &[Mutant::ForkIgnoresPins, Mutant::ForkIgnoresHugePins]),
        ] {
            for mutant in mutants {
                catches(*mutant, |mutant| pin_against_fork(config, kind, mutant));
            }
        }
    }
}

fn pin_against_fork(config: Config, kind: Kind, mutant: Option<Mutant>) -> Option<String> {
    let world = racy(config, kind, mutant);
    let untouched = Untouched::new(&world);
    let parent = stamped(&world, pages(0, BLOCK));
    let pin = parent.pin(page(5), Access::Write).expect("memory");
    let child = parent.fork().expect("memory");
    let allowed = Allow::refs(if kind == Kind::Small { PIN_BIAS.into() } else { 1 });
    if let Err(broken) = world.mm().audit_but(allowed) {
        return Some(broken.to_string());
    }
    write(&world, &parent, pages(5, 1), |_| 99);
    let found = match (frame(&parent, page(5)), frame(&child, page(5))) {
        (Some(ours), _) if ours != pin.pfn() => Some("the parent lost the pinned page".to_string()),
        (_, Some(theirs)) if theirs == pin.pfn() => Some("the child has the pinned page".into()),
        _ => None,
    };
    drop(pin);
    if found.is_some() {
        return found;
    }
    assert_eq!(frame(&parent, page(5)).map(|pfn| peek(&world, pfn)), Some(99));
    check(&world, &child, pages(0, BLOCK), stamp);
    write(&world, &child, pages(0, BLOCK), |_| 3);
    check(&world, &parent, pages(6, BLOCK - 6), stamp);
    sound(&world);
    drop((parent, child));
    untouched.check(&world);
    None
}

/// A lockless pin in the middle of a fork is either seen by it or not given.
#[test]
fn a_pin_in_the_middle_of_a_fork_does_not_count() {
    for kind in [Kind::Small, Kind::Huge] {
        catches(Mutant::ForkNoSequence, |mutant| {
            at_each_step(|steps| {
                let world = racy(machines()[0], kind, mutant);
                let parent = stamped(&world, pages(0, if kind == Kind::Huge { BLOCK } else { 1 }));
                let pin = Mutex::new(None);
                let child = Mutex::new(None);
                let reached = world.intrude(
                    steps,
                    &|| *child.lock().expect("alone") = Some(parent.fork().expect("memory")),
                    &|| *pin.lock().expect("alone") = parent.pin_fast(VA, Access::Read),
                );
                let child = child.into_inner().expect("alone");
                let pin = pin.into_inner().expect("alone");
                let shared = child.as_ref().and_then(|child| frame(child, VA));
                let verdict = match &pin {
                    Some(pin) if shared == Some(pin.pfn()) => Err("a shared page is pinned".into()),
                    _ => Ok(()),
                };
                drop(pin);
                reached.then_some(verdict)
            })
        });
    }
}

/// What a migration entry gives back is shared in both, once there are two.
#[test]
fn migration_entries_become_shared() {
    catches(Mutant::ForkKeepsMigrationWrite, |mutant| {
        let world = racy(machines()[0], Kind::Huge, mutant);
        let parent = stamped(&world, pages(0, BLOCK));
        let frozen = parent.freeze_folio_at(VA).expect("nobody holds it");
        let child = parent.fork().expect("memory");
        let kinds = [&parent, &child].map(|space| match entry(space, VA).2 {
            Entry::Soft(Soft::Migration { kind, .. }) => Some(kind),
            _ => None,
        });
        frozen.thaw();
        if let Some(what) = wrong(&world) {
            return Some(what);
        }
        assert_eq!(kinds, [Some(MigrationKind::Read); 2]);
        write(&world, &parent, pages(0, 2), |_| 1);
        check(&world, &child, pages(0, BLOCK), stamp);
        wrong(&world)
    });
}

/// With no frame for the child, then with one, and so on: no child, and the parent has lost nothing.
#[test]
fn without_memory_the_parent_is_as_it_was() {
    for kind in KINDS {
        for pins in [false, true] {
            let world = world(machines()[1], kind);
            let untouched = Untouched::new(&world);
            let all = pages(0, 2 * BLOCK);
            let parent = stamped(&world, all);
            parent.map(Place::At(page(600 * BLOCK)), PAGE_SIZE, RW, Huge::Never).expect("free");
            write(&world, &parent, pages(600 * BLOCK, 1), stamp);
            let pin = pins.then(|| parent.pin(page(7), Access::Write).expect("memory"));
            let refs = if kind == Kind::Small { PIN_BIAS.into() } else { 1 };
            let allow = if pins { Allow::refs(refs) } else { Allow::NOTHING };
            let child = starving(
                &world,
                || parent.fork(),
                |_| {
                    world.mm().audit_but(allow).expect("sound");
                    check(&world, &parent, pages(0, 2), stamp);
                },
            );
            world.mm().audit_but(allow).expect("sound");
            check(&world, &parent, all, stamp);
            check(&world, &child, all, stamp);
            write(&world, &parent, all, |_| 8);
            check(&world, &child, all, stamp);
            drop((pin, child, parent));
            untouched.check(&world);
        }
    }
}

#[test]
fn without_a_heap_there_is_no_child() {
    let world = world(machines()[0], Kind::Small);
    let untouched = Untouched::new(&world);
    let parent = stamped(&world, pages(0, 4));
    // The space itself, and the list of its areas.
    crowded(&parent);
    let areas = areas(&parent).len();
    for request in [Refused::Align(128), Refused::Size(areas * size_of::<mm::Vma>())] {
        assert!(refusing(request, || parent.fork()).is_err());
        sound(&world);
    }
    let child = parent.fork().expect("memory");
    check(&world, &child, pages(0, 4), stamp);
    drop((parent, child));
    untouched.check(&world);
}

/// While a program forks, its other CPUs fault, map and unmap; all that each child sees is of one moment.
#[test]
fn a_child_sees_one_moment() {
    for kind in KINDS {
        for seed in 1..6 {
            let world = racy(Config { seed, ..machines()[seed as usize % 2] }, kind, None);
            let untouched = Untouched::new(&world);
            let range = pages(0, BLOCK);
            let parent = stamped(&world, range);
            write(&world, &parent, pages(0, 1), |_| 0);
            write(&world, &parent, pages(SET, 1), |_| 0);
            let body = |cpu| {
                if cpu == 1 {
                    world.inside(&parent, &mut || {
                        for n in 1..80 {
                            // In this order: no moment has more in the second than in the first.
                            world.store(&parent, VA, n).expect("mapped");
                            world.store(&parent, page(SET), n).expect("mapped");
                        }
                    });
                    return;
                }
                for _ in 0..4 {
                    let child = parent.fork().expect("memory");
                    let value = |n| peek(&world, frame(&child, page(n)).expect("mapped"));
                    let (first, second) = (value(0), value(SET));
                    assert!(first == second || first == second + 1, "{first} {second}");
                    write_alone(&world, &child);
                }
            };
            world.run(2, &body, &mut || {});
            sound(&world);
            drop(parent);
            untouched.check(&world);
        }
    }
}

fn write_alone(world: &SimWorld, child: &Space<'_, Machine>) {
    world.inside(child, &mut || {
        for n in [0, 1, SET, 100] {
            world.store(child, page(n), 1234).expect("mapped");
        }
    });
}

/// A folio is split, by a walk through the whole family, while one of it forks.
#[test]
fn a_walk_meets_a_fork_at_any_step() {
    let found = at_each_step(|steps| {
        let world = racy(machines()[0], Kind::Huge, None);
        let untouched = Untouched::new(&world);
        let parent = stamped(&world, pages(0, BLOCK));
        let child = Mutex::new(None);
        let reached = world.intrude(
            steps,
            &|| *child.lock().expect("alone") = Some(parent.fork().expect("memory")),
            &|| {
                let _ = parent.split_folio_at(VA, Order::PAGE);
            },
        );
        let mut verdict = wrong(&world).map_or(Ok(()), Err);
        if verdict.is_ok() && steps % 16 == 0 {
            let child = child.lock().expect("alone");
            check(&world, child.as_ref().expect("made"), pages(0, BLOCK), stamp);
            check(&world, &parent, pages(0, BLOCK), stamp);
        }
        drop((parent, child));
        if verdict.is_ok() {
            untouched.check(&world);
            verdict = wrong(&world).map_or(Ok(()), Err);
        }
        reached.then_some(verdict)
    });
    assert_eq!(found, None);
}
