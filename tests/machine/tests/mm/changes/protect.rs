//! Other rights: mprotect.

use super::scene::*;
use crate::common::heap::refusing;
use crate::common::{Untouched, machines};
use abi::{Access, Event, Level, PAGE_SIZE, Prot, VirtAddr, VirtRange};
use granule_machine::{Config, Machine, SimWorld};
use mm::mutant::Mutant;
use mm::{Denial, FaultOutcome, Huge, Place, ProtectError, Space, UnmapError};
use pte::{Entry, MigrationKind, Soft};
use stress::World;

const PROTS: [Prot; 5] = [Prot::None, Prot::Read, Prot::ReadWrite, Prot::ReadExec, Prot::Exec];

/// Each change from one to another is in it.
const TOUR: [Prot; 21] = {
    let [a, b, c, d, e] = PROTS;
    [a, b, a, c, a, d, a, e, b, c, b, d, b, e, c, d, c, e, d, e, a]
};

/// Whatever rights came before: memory permits what it was told last and nothing else, and its content
/// is what it was.
#[test]
fn memory_permits_what_it_was_told_last() {
    for config in machines() {
        for kind in KINDS {
            let world = world(config, kind);
            let untouched = Untouched::new(&world);
            let space = stamped(&world, pages(0, 2 * BLOCK));
            for part in [pages(0, 2 * BLOCK), pages(BLOCK, BLOCK), pages(7, 600), pages(33, 14)] {
                // A tour on which every change from one to another occurs.
                for prot in TOUR {
                    space.protect(part, prot).expect("mapped");
                    for va in [part.start, part.end - PAGE_SIZE] {
                        check_rights(&world, &space, va, prot);
                    }
                }
                sound(&world);
                space.protect(pages(0, 2 * BLOCK), RW).expect("mapped");
                assert_eq!(areas(&space).len(), 1, "all alike again");
                check(&world, &space, pages(0, 2 * BLOCK), stamp);
            }
            drop(space);
            untouched.check(&world);
        }
    }
}

#[track_caller]
fn check_rights(world: &SimWorld, space: &Space<'_, Machine>, va: VirtAddr, prot: Prot) {
    for wanted in [Access::Read, Access::Write] {
        let expected = match prot.allows(wanted) {
            true => Ok(()),
            false => Err(FaultOutcome::Denied(Denial::Rights(prot))),
        };
        assert_eq!(access(world, space, va, wanted), expected, "{wanted} of {va} ({prot})");
    }
    let runs = space.fault(va, Access::Exec);
    let denied = FaultOutcome::Denied(Denial::Rights(prot));
    assert_eq!(runs == denied, !prot.allows(Access::Exec), "{va} ({prot}): {runs:?}");
}

/// Of a huge page only a part is told: the block is split, and the rest stays what it was; a set is taken
/// apart where it is cut and nowhere else.
#[test]
fn what_is_cut_is_split_and_nothing_else() {
    for config in machines() {
        let world = world(config, Kind::Huge);
        let space = stamped(&world, pages(0, 3 * BLOCK));
        space.protect(pages(100, 2 * BLOCK), Prot::Read).expect("mapped");
        let level = |n| entry(&space, page(n)).0;
        assert_eq!(
            [level(0), level(BLOCK), level(2 * BLOCK)],
            [Level::Pte, Level::Pmd, Level::Pte]
        );
        assert_eq!(world.mm().stats.total(Event::ThpSplitPmd), 2);
        check(&world, &space, pages(0, 3 * BLOCK), stamp);

        let world = self::world(config, Kind::Sets);
        let space = stamped(&world, pages(0, 4 * SET));
        space.protect(pages(5, 2 * SET), Prot::Read).expect("mapped");
        let in_set = |set: u64| leaf(&space, page(set * SET)).expect("mapped").is_contiguous();
        assert_eq!([0, 1, 2, 3].map(in_set), [false, true, false, true]);
        sound(&world);
    }
}

/// What was written and what was used is known after every change of rights.
#[test]
fn history_outlives_rights() {
    for config in machines() {
        for kind in KINDS {
            let world = world(config, kind);
            let space = stamped(&world, pages(0, BLOCK));
            for prot in PROTS.into_iter().chain([RW]) {
                space.protect(pages(0, BLOCK), prot).expect("mapped");
                let leaf = leaf(&space, page(3)).expect("mapped");
                assert!(leaf.is_dirty() && leaf.is_young(), "{kind:?} {prot}: {leaf:?}");
                assert_eq!(leaf.prot(), prot);
            }
        }
    }
}

#[test]
fn forgotten_dirt_is_noticed() {
    catches(Mutant::ProtectDropsDirty, |mutant| {
        let world = racy(machines()[1], Kind::Small, mutant);
        let space = stamped(&world, pages(0, 1));
        space.protect(pages(0, 1), Prot::Read).expect("mapped");
        let dirty = leaf(&space, page(0)).expect("mapped").is_dirty();
        (!dirty).then(|| "a page that was written is clean".into())
    });
}

/// Taking rights away costs one flush, of what a TLB may have; giving some, or nothing, costs none.
#[test]
fn only_what_was_taken_away_is_flushed() {
    for config in machines() {
        for (kind, strides) in [(Kind::Small, BLOCK), (Kind::Sets, BLOCK), (Kind::Huge, 1)] {
            let world = world(config, kind);
            let space = stamped(&world, pages(0, BLOCK));
            let all = pages(0, BLOCK);
            let protect = |prot| flushes(&world, || space.protect(all, prot).expect("mapped"));
            let (operations, waits) = protect(Prot::Read);
            assert_eq!(waits, 1);
            assert!((1..=strides).contains(&operations), "{operations}");
            assert_eq!(protect(Prot::Read), (0, 0), "nothing changes");
            assert_eq!(protect(Prot::ReadExec), (0, 0), "more than before");
            assert_eq!(protect(Prot::Exec).1, 1, "reading went");
            assert_eq!(protect(Prot::None).1, 1, "all rights went");
            assert_eq!(protect(RW), (0, 0), "nothing can be cached of what permits nothing");
            assert_eq!(protect(Prot::Read).1, 1);
            assert_eq!(protect(RW), (0, 0), "more than before");
            let untouched = pages(0, 8);
            let cold = Space::new(world.mm()).expect("memory");
            cold.map(Place::At(VA), 8 * PAGE_SIZE, RW, Huge::Never).expect("free");
            assert_eq!(cold.fault(VA, Access::Write), FaultOutcome::Mapped);
            let never_ran = || cold.protect(untouched, Prot::Read).expect("mapped");
            assert_eq!(flushes(&world, never_ran), (0, 0), "no CPU ever ran it");
        }
    }
}

/// What nobody shares may be written at once when the right comes back: no fault is needed for that.
#[test]
fn what_is_nobody_elses_becomes_writable_at_once() {
    for config in machines() {
        for kind in KINDS {
            let world = world(config, kind);
            let space = stamped(&world, pages(0, BLOCK));
            for prot in [Prot::Read, Prot::None] {
                space.protect(pages(0, BLOCK), prot).expect("mapped");
                space.protect(pages(0, BLOCK), RW).expect("mapped");
                let faults = counted(&world, [Event::PgFault], || {
                    let writable = leaf(&space, page(5)).expect("mapped").permits(Access::Write);
                    assert!(writable, "{kind:?} after {prot}");
                });
                assert_eq!(faults, [0]);
            }
        }
    }
}

/// I-20: a writable leaf is of a page that is nobody else's, also where rights come back to a page that
/// a child has too.
#[test]
fn what_is_shared_stays_read_only() {
    let scenario = |kind, mutant| {
        let world = racy(machines()[0], kind, mutant);
        let space = stamped(&world, pages(0, BLOCK));
        let child = space.fork().expect("memory");
        for prot in [Prot::None, Prot::Read, RW] {
            space.protect(pages(0, BLOCK), prot).expect("mapped");
        }
        wrong(&world).or_else(|| {
            write(&world, &space, pages(0, 3), |_| 77);
            let kept = (0..3).all(|n| {
                frame(&child, page(n)).is_some_and(|pfn| peek(&world, pfn) == stamp(page(n)))
            });
            (!kept).then(|| "the child sees what the parent writes".into())
        })
    };
    for kind in KINDS {
        catches(Mutant::ProtectWritableShared, |mutant| scenario(kind, mutant));
    }
}

/// What was only read shows everybody's zeros, and must never be written.
#[test]
fn zeros_stay_read_only() {
    for config in machines() {
        for kind in KINDS {
            let world = world(config, kind);
            let untouched = Untouched::new(&world);
            let space = Space::new(world.mm()).expect("memory");
            let all = pages(0, BLOCK);
            space.map(Place::At(VA), all.bytes(), RW, Huge::Default).expect("free");
            check(&world, &space, all, |_| 0);
            for prot in [Prot::Read, Prot::None, RW] {
                space.protect(all, prot).expect("mapped");
                let leaf = leaf(&space, page(3)).expect("zeros");
                assert!(leaf.is_special() && !leaf.is_writable(), "{leaf:?}");
                sound(&world);
            }
            write(&world, &space, pages(0, 3), stamp);
            check(&world, &space, pages(3, BLOCK - 3), |_| 0);
            drop(space);
            untouched.check(&world);
        }
    }
}

/// A folio on its way elsewhere comes back with no more rights than the area has by then.
#[test]
fn migration_entries_lose_the_right_to_write() {
    let scenario = |mutant| {
        let world = racy(machines()[1], Kind::Huge, mutant);
        let space = stamped(&world, pages(0, BLOCK));
        let frozen = space.freeze_folio_at(VA).expect("nobody holds it");
        let kind = |space| match entry(space, VA).2 {
            Entry::Soft(Soft::Migration { kind, .. }) => kind,
            other => panic!("{other:?}"),
        };
        assert_eq!(kind(&space), MigrationKind::Write);
        space.protect(pages(0, BLOCK), Prot::Read).expect("mapped");
        let weakened = kind(&space);
        space.protect(pages(0, BLOCK), Prot::None).expect("mapped");
        frozen.thaw();
        space.protect(pages(0, BLOCK), RW).expect("mapped");
        check(&world, &space, pages(0, BLOCK), stamp);
        if weakened != MigrationKind::ReadExclusive {
            return Some(format!("{weakened:?} in an area that permits no writing"));
        }
        wrong(&world)
    };
    catches(Mutant::ProtectKeepsMigrationWrite, scenario);
}

/// When mprotect has returned, no CPU writes any more.
#[test]
fn nobody_writes_afterwards() {
    for config in [machines()[0], machines()[1]] {
        for kind in [Kind::Small, Kind::Huge] {
            catches(Mutant::ProtectNoFlush, |mutant| writer_against_protect(config, kind, mutant));
        }
    }
}

fn writer_against_protect(config: Config, kind: Kind, mutant: Option<Mutant>) -> Option<String> {
    (1..24).find_map(|seed| {
        let world = racy(Config { seed, ..config }, kind, mutant);
        let range = pages(0, if kind == Kind::Huge { BLOCK } else { 4 });
        let space = stamped(&world, range);
        let changed = std::sync::Mutex::new(None);
        let body = |cpu| {
            if cpu == 1 {
                world.inside(&space, &mut || {
                    let mut value = 2;
                    while world.store(&space, VA, value).is_ok() {
                        value += 1;
                    }
                });
                return;
            }
            (0..seed * 3).for_each(|_| world.yield_now());
            space.protect(range, Prot::Read).expect("mapped");
            let pfn = frame(&space, VA).expect("mapped");
            let before = peek(&world, pfn);
            (0..60).for_each(|_| world.yield_now());
            let after = peek(&world, pfn);
            if before != after {
                *changed.lock().expect("alone") = Some(format!("{before} became {after}"));
            }
            // Whoever still writes, by a translation that was never flushed, is let go.
            space.unmap(range).expect("memory");
        };
        world.run(2, &body, &mut || {});
        changed.into_inner().expect("alone").or_else(|| wrong(&world))
    })
}

/// I-51b: who looks without a lock never finds nothing where a huge page is mapped.
#[test]
fn a_huge_page_never_seems_gone() {
    catches(Mutant::ProtectThroughNone, |mutant| {
        at_each_step(|steps| {
            let world = racy(machines()[1], Kind::Huge, mutant);
            let space = stamped(&world, pages(0, BLOCK));
            let seen = std::sync::Mutex::new(None);
            let reached = world.intrude(
                steps,
                &|| space.protect(pages(0, BLOCK), Prot::Read).expect("mapped"),
                &|| *seen.lock().expect("alone") = Some(entry(&space, VA).2),
            );
            let seen = seen.into_inner().expect("alone").expect("it looked");
            let verdict = match seen {
                Entry::None => Err("nothing where a huge page is".to_string()),
                _ => wrong(&world).map_or(Ok(()), Err),
            };
            reached.then_some(verdict)
        })
    });
}

#[test]
fn a_refusal_says_why_and_changes_nothing() {
    let world = world(machines()[0], Kind::Small);
    let untouched = Untouched::new(&world);
    let space = stamped(&world, pages(0, 4));
    space.map(Place::At(page(6)), 2 * PAGE_SIZE, RW, Huge::Never).expect("free");
    let before = areas(&space);
    for (range, hole) in [
        (pages(0, 8), pages(4, 2)),
        (pages(0, 5), pages(4, 1)),
        (pages(5, 2), pages(5, 1)),
        (pages(7, 9), pages(8, 8)),
        (pages(100, 3), pages(100, 3)),
    ] {
        assert_eq!(space.protect(range, Prot::None), Err(ProtectError::Hole(hole)), "{range}");
        assert_eq!(areas(&space), before);
    }
    let odd = VirtRange::new(page(0), page(1) + 8);
    assert_eq!(space.protect(odd, Prot::Read), Err(ProtectError::BadRange(odd)));
    let request = crowded(&space);
    let before = areas(&space);
    let refused = refusing(request, || space.protect(pages(1, 1), Prot::Read));
    assert_eq!(refused, Err(ProtectError::OutOfMemory));
    assert_eq!(refusing(request, || space.unmap(pages(1, 1))), Err(UnmapError::OutOfMemory));
    assert_eq!(areas(&space), before);
    check(&world, &space, pages(0, 4), stamp);
    space.protect(pages(1, 1), Prot::Read).expect("with memory it goes");
    let text = ProtectError::Hole(pages(4, 2)).to_string();
    assert!(text.contains("0x10000004000..0x10000006000"), "{text}");
    drop(space);
    untouched.check(&world);
}
