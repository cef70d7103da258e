//! Many pages at once are the pages that one call for each would have found; and each step that a batch
//! takes for safety's sake, taken away and missed.

use crate::common::races::{at_each_step, misses, touch, translation, world, wrong};
use crate::common::{Untouched, machines};
use abi::{Access, Event, PAGE_SIZE, PMD_SIZE, Pfn, Prot, VirtAddr, VirtRange};
use granule_machine::{Machine, SimWorld};
use mm::gup::{Held, Run};
use mm::mutant::Mutant;
use mm::{FaultOutcome, Huge, Place, Space};
use std::sync::Mutex;
use stress::{Rng, World};

const VA: VirtAddr = VirtAddr(1 << 40);
const PAGES: u64 = PMD_SIZE / PAGE_SIZE;

/// Three blocks: small pages with holes and read-only parts; folios of several sizes; one huge page.
fn space(world: &SimWorld) -> Space<'_, Machine> {
    let space = Space::new(world.mm()).expect("memory");
    let map = |at, huge| {
        space.map(Place::At(VA + at * PMD_SIZE), PMD_SIZE, Prot::ReadWrite, huge).expect("free");
    };
    map(0, Huge::Never);
    map(1, Huge::Default);
    map(2, Huge::Advised);
    let touch = |space: &Space<'_, Machine>, va| {
        let outcome = space.fault(va, Access::Write);
        assert!(matches!(outcome, FaultOutcome::Mapped | FaultOutcome::Spurious), "{outcome:?}");
    };
    let mut rng = Rng::new(1, "gup", 0);
    let holes = [3, 127, 128, 300, 511];
    (0..PAGES).filter(|n| !holes.contains(n)).for_each(|n| touch(&space, VA + n * PAGE_SIZE));
    (0..PAGES)
        .filter(|_| rng.below(4) > 0)
        .for_each(|n| touch(&space, VA + PMD_SIZE + n * PAGE_SIZE));
    touch(&space, VA + 2 * PMD_SIZE);
    for first in [40, 200, 512 + 17, 512 + 64] {
        let part = VirtRange::from_size(VA + first * PAGE_SIZE, 9 * PAGE_SIZE);
        space.protect(part, Prot::Read).expect("memory");
    }
    space
}

/// What one call for each page finds, up to the first that finds nothing.
fn one_by_one(find: impl Fn(VirtAddr) -> Option<Pfn>, va: VirtAddr, pages: u64) -> Vec<Pfn> {
    (0..pages).map_while(|n| find(va + n * PAGE_SIZE)).collect()
}

fn references(held: &Held<'_, '_, Machine>) -> Vec<Pfn> {
    assert_eq!(held.iter().count() as u64, held.pages());
    assert!(held.runs().iter().all(|run| run.pages > 0));
    held.iter().collect()
}

#[test]
fn a_batch_finds_what_single_calls_find() {
    for config in machines() {
        let world = SimWorld::new(config);
        let before = Untouched::new(&world);
        let space = space(&world);
        // The child shares everything, so that nothing can be pinned in place but what is copied.
        let child = space.fork().expect("memory");
        touch(&space, VA + 5 * PAGE_SIZE);
        touch(&space, VA + 6 * PAGE_SIZE);
        let mut rng = Rng::new(2, "gup", 0);
        for round in 0..300 {
            let va = VA + rng.below(3 * PAGES) * PAGE_SIZE + rng.below(2) * 0x123;
            let pages = 1 + rng.below(if round % 2 == 0 { 40 } else { 2 * PAGES });
            let access = if rng.below(2) == 0 { Access::Read } else { Access::Write };
            let mut runs = [Run::EMPTY; 700];
            let single = |va| space.gup_fast(va, access).map(|page| page.pfn());
            let expected = one_by_one(single, va, pages);
            let found = references(&space.gup_fast_many(va, pages, access, &mut runs));
            assert_eq!(found, expected, "{access} of {pages} pages from {va}");
            let single = |va| space.pin_fast(va, access).map(|page| page.pfn());
            let expected = one_by_one(single, va, pages);
            let found = references(&space.pin_fast_many(va, pages, access, &mut runs));
            assert_eq!(found, expected, "{access} of {pages} pages from {va}, pinned");
            let few = &mut [Run::EMPTY; 3];
            let found = references(&space.gup_fast_many(va, pages, Access::Read, few));
            let all =
                one_by_one(|va| space.gup_fast(va, Access::Read).map(|page| page.pfn()), va, pages);
            assert!(all.starts_with(&found) && (found.len() == all.len() || few[2].pages > 0));
        }
        drop(child);
        drop(space);
        before.check(&world);
    }
}

#[test]
fn a_batch_keeps_its_pages_by_runs() {
    let world = SimWorld::new(machines()[0]);
    let before = Untouched::new(&world);
    let space = space(&world);
    let huge = VA + 2 * PMD_SIZE;
    let mut runs = [Run::EMPTY; 4];
    let held = space.pin_many(huge + 7 * PAGE_SIZE, 100, Access::Write, &mut runs).expect("mapped");
    let head = world.mm().frames.map().head(held.runs()[0].first).expect("a folio");
    assert_eq!(held.runs(), [Run { first: head + 7, pages: 100 }]);
    assert_eq!(world.mm().pins(head), 100);
    let map = world.mm().frames.map();
    assert_eq!(map.desc(head).refs(), 101);
    // What is held outlives its mapping.
    space.unmap(VirtRange::from_size(huge, PMD_SIZE)).expect("memory");
    assert_eq!(map.desc(head).refs(), 100);
    drop(held);
    drop(space);
    before.check(&world);
}

#[test]
fn what_is_missing_is_faulted_in_and_what_is_denied_ends_the_batch() {
    for config in machines() {
        let world = SimWorld::new(config);
        let before = Untouched::new(&world);
        let space = space(&world);
        let mut runs = [Run::EMPTY; 600];
        // Over holes, as far as a part that is read-only.
        let held = space.gup_many(VA, PAGES, Access::Write, &mut runs).expect("memory");
        assert_eq!(held.pages(), 40);
        drop(held);
        let denied = space.gup_many(VA + 40 * PAGE_SIZE, 1, Access::Write, &mut runs);
        assert!(denied.is_err());
        drop(denied);
        let held = space.gup_many(VA, u64::MAX, Access::Read, &mut runs).expect("memory");
        assert!(held.pages() >= 600 && held.runs().len() == 600 || held.pages() == 3 * PAGES);
        drop(held);
        let behind = VA + 3 * PMD_SIZE;
        let last = VA + (3 * PAGES - 1) * PAGE_SIZE;
        let held = space.gup_many(last, 9, Access::Read, &mut runs);
        assert_eq!(held.map(|held| held.pages()).ok(), Some(1));
        assert!(space.gup_many(behind, 1, Access::Read, &mut runs).is_err());
        assert_eq!(
            space.gup_many(behind, 0, Access::Read, &mut runs).map(|held| held.pages()).ok(),
            Some(0)
        );
        drop(space);
        before.check(&world);
    }
}

/// What is counted as pinned is counted as given back, however it was pinned; the shared zeros are not.
#[test]
fn pins_given_back_are_the_pins_taken() {
    let world = SimWorld::new(machines()[0]);
    let space = space(&world);
    let hole = VA + 3 * PAGE_SIZE;
    assert_eq!(space.fault(hole, Access::Read), FaultOutcome::Mapped);
    let pinned = || {
        let count = |event| world.mm().stats.total(event);
        (count(Event::PinAcquired), count(Event::PinReleased))
    };
    let mut runs = [Run::EMPTY; 600];
    for (at, zeros) in [(0, 1), (3, 1), (4, 0), (2 * PAGES, 0)] {
        let (acquired, released) = pinned();
        let va = VA + at * PAGE_SIZE;
        let held = space.pin_many(va, 8, Access::Read, &mut runs).expect("memory");
        assert_eq!(pinned(), (acquired + held.pages() - zeros, released), "from page {at}");
        drop(held);
        let (acquired, released) = pinned();
        assert_eq!(acquired, released, "from page {at}");
        drop(space.pin(va, Access::Read).expect("mapped"));
        let (acquired, released) = pinned();
        assert_eq!(acquired, released, "page {at}");
    }
}

/// Half way through a batch, pages of it are freed and others get their memory; or the table goes.
#[test]
fn pages_that_are_freed_meanwhile() {
    const FEW: u64 = 4;
    for whole in [false, true] {
        let scenario = |mutant| {
            at_each_step(1, |steps| {
                let world = world(mutant);
                let space = Space::new(world.mm()).expect("memory");
                for at in [0, 1] {
                    let place = Place::At(VA + at * PMD_SIZE);
                    space.map(place, PMD_SIZE, Prot::ReadWrite, Huge::Never).expect("free");
                }
                (0..FEW).for_each(|n| touch(&space, VA + n * PAGE_SIZE));
                let other = VA + PMD_SIZE;
                touch(&space, other);
                let got = Mutex::new(None);
                let reached = world.intrude(
                    steps,
                    &|| {
                        let runs = Box::leak(Box::new([Run::EMPTY; FEW as usize]));
                        let held = space.gup_fast_many(VA, FEW, Access::Read, runs);
                        *got.lock().expect("alone") = Some(held);
                    },
                    &|| {
                        let gone = if whole { PMD_SIZE } else { 2 * PAGE_SIZE };
                        let from = if whole { VA } else { VA + PAGE_SIZE };
                        space.unmap(VirtRange::from_size(from, gone)).expect("memory");
                        (1..=FEW).for_each(|n| touch(&space, other + n * PAGE_SIZE));
                    },
                );
                let held = got.into_inner().expect("alone").expect("an answer");
                let got: Vec<_> = held.iter().collect();
                drop(held);
                let theirs = (1..=FEW).filter_map(|n| translation(&space, other + n * PAGE_SIZE));
                let theirs: Vec<_> = theirs.collect();
                let verdict = match got.iter().find(|pfn| theirs.contains(pfn)) {
                    Some(pfn) => Err(format!("frame {pfn} of another address")),
                    None => wrong(&world).map_or(Ok(()), Err),
                };
                reached.then_some(verdict)
            })
        };
        // That a table was unlinked is asked as for one page: `races`.
        let bug = if whole { Mutant::GupNoEpoch } else { Mutant::GupNoRecheck };
        misses(scenario, &[bug]);
    }
}
