//! Memory that was given up: MADV_FREE, and who takes it away.

use super::scene::*;
use crate::common::{Untouched, machines, owned};
use abi::{Access, PAGE_SIZE, Prot};
use granule_machine::Config;
use mm::frame::Flag;
use mm::mutant::Mutant;
use mm::{Advice, Huge, Place};
use std::sync::Mutex;
use stress::World;

/// Until memory is short, content is there; then zeros. What was written after it was given up stays.
#[test]
fn what_is_given_up_stays_until_it_is_taken() {
    for config in machines() {
        for kind in KINDS {
            let world = world(config, kind);
            let untouched = Untouched::new(&world);
            let all = pages(0, 2 * BLOCK);
            let space = stamped(&world, all);
            assert_eq!(space.advise(pages(0, BLOCK), Advice::Free), Ok(()));
            sound(&world);
            check(&world, &space, all, stamp);
            let rewritten = pages(3 * SET, 1);
            write(&world, &space, rewritten, |_| 5);
            let taken = world.mm().reclaim_lazy(u64::MAX);
            sound(&world);
            let folio = match kind {
                Kind::Small => pages(3 * SET, 1),
                Kind::Sets => pages(3 * SET, SET),
                Kind::Huge => pages(0, BLOCK),
            };
            assert_eq!(taken, BLOCK - folio.pages());
            check(&world, &space, all, |va| match (rewritten.contains(va), folio.contains(va)) {
                (true, _) => 5,
                (_, true) => stamp(va),
                _ if pages(0, BLOCK).contains(va) => 0,
                _ => stamp(va),
            });
            assert_eq!(world.mm().reclaim_lazy(u64::MAX), 0, "nothing is left");
            assert_eq!(space.advise(all, Advice::Free), Ok(()));
            let rest = 2 * BLOCK
                - match kind {
                    // What was read since shows zeros, which are nobody's to take.
                    Kind::Huge => 0,
                    _ => BLOCK - folio.pages(),
                };
            assert_eq!(world.mm().reclaim_lazy(u64::MAX), rest);
            assert_eq!(world.mm().audit().expect("sound").rss, 0);
            drop(space);
            untouched.check(&world);
        }
    }
}

/// No more is taken than is wanted, and the rest another time.
#[test]
fn as_much_is_taken_as_is_wanted() {
    let world = world(machines()[0], Kind::Small);
    let space = stamped(&world, pages(0, 3 * BLOCK));
    space.advise(pages(0, 3 * BLOCK), Advice::Free).expect("mapped");
    // A table's worth at a time.
    assert_eq!(world.mm().reclaim_lazy(1), BLOCK);
    assert_eq!(world.mm().reclaim_lazy(BLOCK + 1), 2 * BLOCK);
    assert_eq!(world.mm().reclaim_lazy(1), 0);
}

/// Of a folio that is mapped in part nothing is given up, whichever part it is.
#[test]
fn what_is_left_of_a_folio_is_kept() {
    catches(Mutant::LazyPart, |mutant| {
        [(Kind::Sets, SET), (Kind::Huge, BLOCK)].into_iter().find_map(|(kind, folio)| {
            [4..folio, 0..folio - 4].into_iter().find_map(|kept| {
                let world = world(machines()[1], kind);
                world.mm().arm(mutant);
                let space = stamped(&world, pages(0, folio));
                let gone = if kept.start == 0 { kept.end } else { 0 };
                space.unmap(pages(gone, 4)).expect("memory");
                let kept = pages(kept.start, folio - 4);
                space.advise(kept, Advice::Free).expect("mapped");
                let marked = |(_, desc): &(_, &mm::PageDesc)| desc.has(Flag::Lazy);
                let found = owned(world.mm()).find(marked);
                found
                    .map(|(head, _)| format!("{kept} of {kind:?}: {head}"))
                    .or_else(|| wrong(&world))
            })
        })
    });
}

/// Memory is short when a fault finds none: it takes what was given up, for its tables as well.
#[test]
fn a_fault_takes_what_was_given_up() {
    catches(Mutant::FaultKeepsLazy, |mutant| {
        KINDS.into_iter().find_map(|kind| {
            let world = world(machines()[1], kind);
            world.mm().arm(mutant);
            let all = pages(0, BLOCK);
            let space = stamped(&world, all);
            // Nothing is mapped for a tebibyte around.
            let far = page(BLOCK * BLOCK * BLOCK * 2);
            space.map(Place::At(far), PAGE_SIZE, RW, Huge::Never).expect("free");
            space.advise(all, Advice::Free).expect("mapped");
            let famine = Famine::but(&world, 0);
            let written = access(&world, &space, far, Access::Write);
            drop(famine);
            written.err().map(|refused| format!("{kind:?}: {refused:?}")).or_else(|| wrong(&world))
        })
    });
}

/// What somebody else holds or has too is not given up: it is kept.
#[test]
fn what_others_have_is_kept() {
    for kind in KINDS {
        let world = world(machines()[1], kind);
        let untouched = Untouched::new(&world);
        let all = pages(0, BLOCK);
        let space = stamped(&world, all);
        // A part of a folio, a folio that somebody refers to, and one that somebody takes hold of later.
        space.advise(pages(5, 3), Advice::Free).expect("mapped");
        if kind != Kind::Small {
            assert_eq!(world.mm().reclaim_lazy(u64::MAX), 0);
            check(&world, &space, all, stamp);
        }
        let held = space.gup(page(SET), Access::Read).expect("mapped");
        space.advise(all, Advice::Free).expect("mapped");
        let later = space.gup(page(3 * SET), Access::Read).expect("mapped");
        world.mm().reclaim_lazy(u64::MAX);
        for n in [SET, 3 * SET] {
            check(&world, &space, pages(n, 1), stamp);
        }
        drop((held, later));
        // What a child has too belongs to both.
        write(&world, &space, all, stamp);
        let child = space.fork().expect("memory");
        space.advise(all, Advice::Free).expect("mapped");
        assert_eq!(world.mm().reclaim_lazy(u64::MAX), 0);
        check(&world, &child, all, stamp);
        sound(&world);
        drop((space, child));
        untouched.check(&world);
    }
}

/// What was given up and then shared by a fork is nobody's to take.
#[test]
fn a_fork_takes_it_back() {
    for kind in KINDS {
        let world = world(machines()[0], kind);
        let space = stamped(&world, pages(0, BLOCK));
        space.advise(pages(0, BLOCK), Advice::Free).expect("mapped");
        let child = space.fork().expect("memory");
        assert_eq!(world.mm().reclaim_lazy(u64::MAX), 0);
        check(&world, &child, pages(0, BLOCK), stamp);
        check(&world, &space, pages(0, BLOCK), stamp);
        sound(&world);
    }
}

/// A write through a translation that the CPU had before is recorded, so the page is kept.
#[test]
fn a_write_keeps_the_page() {
    for config in [machines()[0], machines()[1]] {
        for kind in KINDS {
            catches(Mutant::FreeNoFlush, |mutant| {
                (1..12).find_map(|seed| {
                    let world = racy(Config { seed, ..config }, kind, mutant);
                    let range = pages(0, if kind == Kind::Huge { BLOCK } else { SET });
                    let space = stamped(&world, range);
                    let mut found = None;
                    world.inside(&space, &mut || {
                        world.store(&space, VA, 1).expect("mapped");
                        space.advise(range, Advice::Free).expect("mapped");
                        world.store(&space, VA, 2).expect("mapped");
                        world.mm().reclaim_lazy(u64::MAX);
                        let seen = world.load(&space, VA);
                        found = (seen != Ok(2)).then(|| format!("{seen:?} was written"));
                    });
                    found.or_else(|| wrong(&world))
                })
            });
        }
    }
}

/// Memory is taken away at any step of a write, of a pin and of a change of rights: the write is there
/// afterwards, the pin's page is the one that is mapped.
#[test]
fn taking_away_meets_everything_at_any_step() {
    for kind in [Kind::Small, Kind::Huge] {
        for what in 0..3 {
            let found = at_each_step(|steps| {
                let world = racy(machines()[steps as usize % 2], kind, None);
                let range = pages(0, if kind == Kind::Huge { BLOCK } else { 1 });
                let space = stamped(&world, range);
                space.advise(range, Advice::Free).expect("mapped");
                let pinned = Mutex::new(None);
                let reached = world.intrude(
                    steps,
                    &|| _ = world.mm().reclaim_lazy(u64::MAX),
                    &|| match what {
                        0 => world
                            .inside(&space, &mut || world.store(&space, VA, 2).expect("mapped")),
                        1 => *pinned.lock().expect("alone") = space.pin_fast(VA, Access::Write),
                        _ => space.protect(range, Prot::Read).expect("mapped"),
                    },
                );
                let pin = pinned.into_inner().expect("alone");
                let verdict = match &pin {
                    Some(pin) if frame(&space, VA) != Some(pin.pfn()) => {
                        Err("a pinned page was taken away".to_string())
                    }
                    _ => Ok(()),
                };
                drop(pin);
                let mut seen = None;
                world.inside(&space, &mut || seen = world.load(&space, VA).ok());
                let expected: &[u64] = if what == 0 { &[2] } else { &[0, stamp(VA)] };
                let verdict = verdict.and(match seen {
                    Some(value) if expected.contains(&value) => Ok(()),
                    _ => Err(format!("{seen:?}, and not {expected:?}")),
                });
                let verdict = verdict.and(wrong(&world).map_or(Ok(()), Err));
                // The page is its table's first; the rest is looking at empty entries.
                (reached && steps < 250).then_some(verdict)
            });
            assert_eq!(found, None, "{kind:?} {what}");
        }
    }
}
