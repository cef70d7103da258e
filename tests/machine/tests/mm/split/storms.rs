//! Splits while several CPUs use what is split; and that each known bug of it is noticed.

use super::huge::{RW, VA, entry, page, stamped};
use crate::common::{Untouched, machines};
use abi::{Access, Order, PAGE_SIZE, PMD_SIZE, VirtRange};
use granule_machine::{Config, Machine, SimWorld};
use mm::mutant::Mutant;
use mm::{Advice, Denial, FaultOutcome, Hardware, Huge, MapError, Place, Space, SplitError};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use stress::{Rng, World};

/// What one CPU of a storm does next.
#[derive(Clone, Copy, Debug)]
enum Do {
    Load,
    Store,
    Look,
    SplitEntry,
    Split(Order),
    Freeze,
    Unmap,
    Shrink,
}

/// What the CPUs of a storm do, each as often as it is listed.
const ALL: &[Do] = &[
    Do::Load,
    Do::Load,
    Do::Store,
    Do::Store,
    Do::Store,
    Do::Look,
    Do::Look,
    Do::Look,
    Do::SplitEntry,
    Do::Split(Order(0)),
    Do::Split(Order(2)),
    Do::Split(Order(4)),
    Do::Split(Order(7)),
    Do::Freeze,
    Do::Freeze,
    Do::Unmap,
    Do::Shrink,
];

/// Several CPUs use one huge page while all of them split, freeze and unmap it. Each has a word of its own
/// in each page, and finds there what it wrote last, unless the page was unmapped meanwhile: then
/// nothing. Says what went wrong.
fn storm(config: Config, mix: &[Do], mutant: Option<Mutant>) -> Option<String> {
    told(|| storm_in(config, mix, mutant))
}

/// What `body` says, or that it panicked.
fn told(body: impl FnOnce() -> Option<String>) -> Option<String> {
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(body));
    result.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        Some(format!("panic: {}", text.unwrap_or_default()))
    })
}

fn storm_in(config: Config, mix: &[Do], mutant: Option<Mutant>) -> Option<String> {
    let world = SimWorld::new(config);
    let mm = world.mm();
    mm.arm(mutant);
    let untouched = Untouched::new(&world);
    let space = Space::new(mm).expect("memory");
    space.map(Place::At(VA), PMD_SIZE, RW, Huge::Default).expect("free");
    let unmaps = mix.iter().any(|what| matches!(what, Do::Unmap));
    let body = |cpu: usize| {
        let mut rng = Rng::new(config.seed, "storm", cpu);
        let mut mine = BTreeMap::new();
        world.inside(&space, &mut || {
            for step in 1..60u64 {
                let n = [0, 1, 15, 16, 17, 100, 511][rng.below(7) as usize];
                let at = page(n) + 8 * cpu as u64;
                let expected = |value: u64| {
                    let last = mine.get(&n).copied().unwrap_or(0);
                    assert!(value == last || unmaps && value == 0, "page {n}: {value} for {last}");
                };
                match mix[rng.below(mix.len() as u64) as usize] {
                    Do::Load => match world.load(&space, at) {
                        Ok(value) => expected(value),
                        Err(outcome) => assert_eq!(outcome, FaultOutcome::Denied(Denial::NoArea)),
                    },
                    Do::Store => match world.store(&space, at, step) {
                        Ok(()) => drop(mine.insert(n, step)),
                        Err(outcome) => assert_eq!(outcome, FaultOutcome::Denied(Denial::NoArea)),
                    },
                    Do::Look => {
                        if let Some(folio) = space.gup_fast(page(n), Access::Read) {
                            expected(mm.hw.peek(folio.pfn().base() + 8 * cpu as u64));
                            let head = folio.head();
                            world.yield_now();
                            assert_eq!(folio.head(), head, "a held folio was split");
                            expected(mm.hw.peek(folio.pfn().base() + 8 * cpu as u64));
                        }
                    }
                    Do::SplitEntry => space.split_block(page(n)),
                    Do::Split(order) => {
                        if let Err(SplitError::NotAnonymous) = space.split_folio_at(page(n), order)
                        {
                            panic!("anonymous memory is not")
                        }
                    }
                    Do::Freeze => {
                        if let Ok(frozen) = space.freeze_folio_at(page(n)) {
                            let word = |page| mm.hw.peek(frozen.head().base() + page * PAGE_SIZE);
                            let words = || (0..frozen.order().pages()).map(word).sum::<u64>();
                            let before = words();
                            (0..rng.below(4)).for_each(|_| world.yield_now());
                            assert_eq!(words(), before, "somebody reaches a frozen folio");
                        }
                    }
                    Do::Unmap => {
                        let range = VirtRange::from_size(page(n), PAGE_SIZE);
                        space.unmap(range).expect("memory");
                        let again = space.map(Place::At(page(n)), PAGE_SIZE, RW, Huge::Default);
                        assert!(matches!(again, Ok(_) | Err(MapError::Occupied { .. })));
                    }
                    Do::Shrink => drop(mm.shrink(1 << rng.below(10))),
                }
            }
        });
    };
    world.run(config.cpus, &body, &mut || ());
    if let Some(found) = world.violation() {
        return Some(format!("step {}: {}", found.step, found.what));
    }
    if let Err(broken) = mm.audit() {
        return Some(broken.to_string());
    }
    if !unmaps && world.violation().is_none() {
        // Nobody is in the way any more.
        for n in [0, 1, 15, 16, 17, 100, 511] {
            match space.split_folio_at(page(n), Order::PAGE) {
                Ok(())
                | Err(SplitError::BadOrder { has: Order::PAGE, .. } | SplitError::NotMapped) => {}
                Err(error) => return Some(format!("at rest, page {n}: {error}")),
            }
        }
    }
    mm.shrink(u64::MAX);
    if mm.deferred_folios() > 0 {
        return Some(format!("{} folios are partly mapped for ever", mm.deferred_folios()));
    }
    drop(space);
    untouched.check(&world);
    None
}

fn config(seed: u64) -> Config {
    let caps = machines()[seed as usize % 4].caps;
    Config { caps, seed, cpus: 3, pages: 4096, ..Config::default() }
}

#[test]
fn storms_leave_nothing_broken() {
    for seed in 1..25 {
        assert_eq!(storm(config(seed), ALL, None), None, "seed {seed}");
    }
}

// --- known bugs ----------------------------------------------------------------------------------

/// A space that stays for ever: what a bug has left of it is better not taken apart.
fn kept(space: Space<'_, Machine>) -> &Space<'_, Machine> {
    Box::leak(Box::new(space))
}

/// What `body` finds on a machine with the bug: something that it says itself, or a rule that the machine
/// or the audit sees broken, or a panic.
fn with_bug(
    mutant: Mutant,
    config: Config,
    body: impl FnOnce(&SimWorld) -> Option<&'static str>,
) -> Option<String> {
    evidence::model(mutant.name(), || {
        let world = SimWorld::new(config);
        world.mm().arm(Some(mutant));
        let said = told(|| body(&world).map(String::from));
        let violation = world.violation().map(|found| found.what);
        let broken = || told(|| world.mm().audit().err().map(|broken| broken.to_string()));
        violation.or(said).or_else(broken)
    })
}

#[test]
fn a_split_of_what_is_held_is_caught() {
    let found = with_bug(Mutant::SplitHeld, machines()[0], |world| {
        let space = kept(stamped(world));
        let held = space.gup(page(9), Access::Read).expect("mapped");
        let split = space.split_folio_at(VA, Order::PAGE);
        std::mem::forget(held);
        split.is_ok().then_some("a folio was split though it is held")
    });
    assert!(found.is_some());
}

#[test]
fn parts_without_a_name_are_caught() {
    let found = with_bug(Mutant::SplitForgetsOwner, machines()[0], |world| {
        let space = kept(stamped(world));
        assert_eq!(space.split_folio_at(VA, Order(2)), Ok(()));
        None
    });
    assert!(found.is_some_and(|found| found.contains("family")));
}

#[test]
fn a_split_that_leaves_the_mapping_counted_is_caught() {
    let found = with_bug(Mutant::SplitKeepsMapping, machines()[0], |world| {
        let space = kept(stamped(world));
        let split = space.split_folio_at(VA, Order::PAGE);
        split.is_err().then_some("nobody holds it, and it cannot be split")
    });
    assert!(found.is_some());
}

/// The first entry of a family's list is split, and the walk goes on.
#[test]
fn a_walk_that_stops_early_is_caught() {
    let split = |world: &SimWorld| {
        let parent = kept(stamped(world));
        let _child = kept(parent.fork().expect("memory"));
        let _grandchild = kept(parent.fork().expect("memory"));
        parent.split_folio_at(VA, Order::PAGE)
    };
    let world = SimWorld::new(machines()[0]);
    assert_eq!(split(&world), Ok(()));
    let bug = with_bug(Mutant::WalkStopsEarly, machines()[0], |world| {
        split(world).is_err().then_some("what others share cannot be split")
    });
    assert!(bug.is_some());
}

#[test]
fn a_mapping_that_comes_back_clean_is_caught() {
    let found = with_bug(Mutant::TakeOutForgetsDirt, machines()[0], |world| {
        let space = kept(stamped(world));
        drop(space.freeze_folio_at(VA).expect("nobody holds it"));
        let leaf = entry(space, page(9)).1.leaf().expect("mapped");
        (!leaf.is_dirty()).then_some("written, and nobody knows")
    });
    assert!(found.is_some());
}

#[test]
fn a_mapping_that_comes_back_shared_is_caught() {
    let found = with_bug(Mutant::PutBackShared, machines()[0], |world| {
        let space = kept(stamped(world));
        drop(space.freeze_folio_at(VA).expect("nobody holds it"));
        None
    });
    assert!(found.is_some_and(|found| found.contains("not exclusive")));
}

/// A pin keeps a mapping of small pages as one of a huge page.
#[test]
fn a_pinned_mapping_that_goes_is_caught() {
    for (mutant, caught) in [(None, false), (Some(Mutant::TakeOutPinned), true)] {
        let world = SimWorld::new(machines()[0]);
        let space = stamped(&world);
        space.split_block(VA);
        let pin = space.pin(page(3), Access::Write).expect("mapped");
        world.mm().arm(mutant);
        let frozen = space.freeze_folio_at(page(77));
        assert_eq!(frozen.is_ok(), caught);
        if let Some(mutant) = mutant {
            evidence::model_notices(mutant.name(), || frozen.is_ok());
        }
        world.mm().arm(None);
        drop((frozen, pin));
        world.mm().audit().expect("nothing is broken");
    }
}

/// One CPU splits the entry at the moment at which another looks for it from the folio: it is neither
/// overlooked nor split twice.
#[test]
fn a_walk_that_overlooks_a_split_is_caught() {
    let split = |seed, mutant| {
        let world = SimWorld::new(Config { seed, cpus: 2, pages: 2048, ..machines()[0] });
        let space = kept(stamped(&world));
        world.mm().arm(mutant);
        let failed = AtomicBool::new(false);
        let body = |cpu| {
            (0..(seed >> cpu) % 4).for_each(|_| world.yield_now());
            if cpu == 0 {
                space.split_block(VA);
            } else if space.split_folio_at(VA, Order::PAGE).is_err() {
                failed.store(true, SeqCst);
            }
        };
        world.run(2, &body, &mut || ());
        failed.load(SeqCst) || world.violation().is_some() || world.mm().audit().is_err()
    };
    assert_eq!((1..60).find(|&seed| split(seed, None)), None);
    let bug = Mutant::WalkPeeks;
    let look = || (1..60).any(|seed| split(seed, Some(bug)));
    assert!(evidence::model_notices(bug.name(), look));
}

#[test]
fn a_freed_folio_on_the_list_is_caught() {
    let found = with_bug(Mutant::DeferredForgotten, machines()[0], |world| {
        let space = kept(stamped(world));
        space.unmap(VirtRange::from_size(page(9), PAGE_SIZE)).expect("memory");
        space.unmap(VirtRange::from_size(VA, PMD_SIZE)).expect("memory");
        (world.mm().deferred_folios() > 0).then_some("what is free waits to be split")
    });
    assert!(found.is_some());
}

/// Two CPUs give up one half each: the last one to leave frees the folio, and nobody puts it on the
/// list afterwards.
#[test]
fn a_folio_that_is_put_on_the_list_unheld_is_caught() {
    let half = |seed, mutant| {
        let world = SimWorld::new(Config { seed, cpus: 2, pages: 2048, ..machines()[0] });
        let space = kept(stamped(&world));
        space.split_block(VA);
        world.mm().arm(mutant);
        let body = |cpu| {
            let half = VirtRange::from_size(VA + cpu as u64 * PMD_SIZE / 2, PMD_SIZE / 2);
            space.advise(half, Advice::DontNeed).expect("an area");
        };
        world.run(2, &body, &mut || ());
        world.mm().deferred_folios() > 0 || world.violation().is_some()
    };
    assert_eq!((1..60).find(|&seed| half(seed, None)), None);
    let bug = Mutant::DeferredUnheld;
    let look = || (1..200).any(|seed| half(seed, Some(bug)));
    assert!(evidence::model_notices(bug.name(), look));
}

/// Without the flush a CPU goes on writing to a page that was split off and freed, or that is frozen.
#[test]
fn mappings_taken_out_without_a_flush_are_caught() {
    let bug = Mutant::TakeOutNoFlush;
    let look = || (1..40).any(|seed| storm(config(seed), ALL, Some(bug)).is_some());
    assert!(evidence::model_notices(bug.name(), look));
}
