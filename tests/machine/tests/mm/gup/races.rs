//! GUP-fast against everything that may come in between, tried at each step; and each step that it
//! takes for safety's sake, taken away and missed.

use crate::common::Untouched;
use crate::common::races::{at_each_step, misses, touch, translation, world, wrong};
use abi::{Access, Level, Order, PAGE_SIZE, PMD_SIZE, Pfn, Prot, VirtAddr, VirtRange};
use granule_machine::{Config, Machine, SimWorld};
use mm::frame::PIN_BIAS;
use mm::gup::GupError;
use mm::mutant::Mutant;
use mm::{Huge, Place, Space};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use stress::World;

/// A huge page's place, with tables of its own below the PMD.
const VA: VirtAddr = VirtAddr(1 << 40);
/// Its neighbour, which keeps the tables above the PMD's entries alive.
const NEXT: VirtAddr = VirtAddr((1 << 40) + PMD_SIZE);

/// A space with `huge` memory at [`VA`], touched, and a page at [`NEXT`].
fn space(world: &SimWorld, huge: Huge) -> Space<'_, Machine> {
    let space = Space::new(world.mm()).expect("memory");
    space.map(Place::At(VA), PMD_SIZE, Prot::ReadWrite, huge).expect("free");
    space.map(Place::At(NEXT), PMD_SIZE, Prot::ReadWrite, Huge::Never).expect("free");
    touch(&space, VA);
    touch(&space, NEXT);
    space
}

/// The whole table is unlinked, its entries left as they are, and freed when the walk is over. Whoever
/// has not looked for the last time by then gets nothing.
#[test]
fn a_table_that_is_unlinked_meanwhile() {
    let scenario = |mutant| {
        let looks = Mutex::new(Vec::new());
        let found = at_each_step(1, |steps| {
            let world = world(mutant);
            let space = space(&world, Huge::Never);
            let got = Mutex::new(None);
            let reached = world.intrude(
                steps,
                &|| *got.lock().expect("alone") = space.gup_fast(VA, Access::Read),
                &|| space.unmap(VirtRange::from_size(VA, PMD_SIZE)).expect("memory"),
            );
            let got = got.into_inner().expect("alone");
            looks.lock().expect("alone").push(got.is_some());
            drop((got, space));
            reached.then(|| wrong(&world).map_or(Ok(()), Err))
        });
        // The last one was not intruded upon; the one before was when all was said and done.
        let looks = looks.into_inner().expect("alone");
        let early = looks.iter().rev().skip(2).position(|got| *got);
        let words = "steps before the last look its table was unlinked, and the page was had";
        found.or(early.map(|steps| format!("{} {words}", steps + 1)))
    };
    misses(scenario, &[Mutant::GupNoEpoch, Mutant::GupNoTableRecheck]);
}

/// A page is unmapped from a table that stays: its memory is free at once.
#[test]
fn a_page_that_is_freed_meanwhile() {
    let scenario = |mutant| {
        at_each_step(1, |steps| {
            let world = world(mutant);
            let space = space(&world, Huge::Never);
            touch(&space, VA + PAGE_SIZE);
            let got = Mutex::new(None);
            let reached = world.intrude(
                steps,
                &|| *got.lock().expect("alone") = space.gup_fast(VA, Access::Read),
                &|| {
                    space.unmap(VirtRange::from_size(VA, PAGE_SIZE)).expect("memory");
                    // Somebody else gets the page.
                    touch(&space, NEXT + PAGE_SIZE);
                },
            );
            let got = got.into_inner().expect("alone").map(|folio| folio.pfn());
            let verdict = if got.is_some() && got == translation(&space, NEXT + PAGE_SIZE) {
                Err("the page of another address".to_string())
            } else {
                wrong(&world).map_or(Ok(()), Err)
            };
            reached.then_some(verdict)
        })
    };
    misses(scenario, &[Mutant::GupNoRecheck]);
}

/// The other way round: a huge page is split, and at each step of that somebody asks for a page of it.
/// He gets it if hardware would give it to a program, and never while it would not.
#[test]
fn a_huge_page_that_is_being_split() {
    let scenario = |mutant| {
        at_each_step(1, |steps| {
            let world = world(mutant);
            let space = space(&world, Huge::Default);
            let va = VA + 5 * PAGE_SIZE;
            let seen = Mutex::new(Ok(()));
            let reached = world.intrude(
                steps,
                &|| {
                    space
                        .unmap(VirtRange::from_size(VA + 100 * PAGE_SIZE, PAGE_SIZE))
                        .expect("memory");
                },
                &|| {
                    let before = translation(&space, va);
                    let got = space.gup_fast(va, Access::Read).map(|folio| folio.pfn());
                    let after = translation(&space, va);
                    if before == after && got != before {
                        let words = format!("{got:?} where a program would get {before:?}");
                        *seen.lock().expect("alone") = Err(words);
                    }
                },
            );
            let verdict = seen.into_inner().expect("alone");
            reached.then(|| verdict.and_then(|()| wrong(&world).map_or(Ok(()), Err)))
        })
    };
    misses(scenario, &[Mutant::GupTrustsPresent]);
}

/// An area loses all rights, and has them back: at each step of either the same law holds.
#[test]
fn an_area_that_loses_its_rights() {
    let scenario = |mutant| {
        at_each_step(3, |steps| {
            let world = world(mutant);
            let space = space(&world, Huge::Default);
            let va = VA + 5 * PAGE_SIZE;
            let seen = Mutex::new(Ok(()));
            let reached = world.intrude(
                steps,
                &|| {
                    for prot in [Prot::None, Prot::ReadWrite] {
                        space.protect(VirtRange::from_size(VA, PMD_SIZE), prot).expect("memory");
                    }
                },
                &|| {
                    let program = translation(&space, va);
                    let got = space.gup_fast(va, Access::Read).map(|folio| folio.pfn());
                    if got != program {
                        let words = format!("{got:?} where a program would get {program:?}");
                        *seen.lock().expect("alone") = Err(words);
                    }
                },
            );
            let verdict = seen.into_inner().expect("alone");
            reached.then(|| verdict.and_then(|()| wrong(&world).map_or(Ok(()), Err)))
        })
    };
    misses(scenario, &[Mutant::GupProtNone]);
}

/// Between finding a folio's head and counting on it the folio is freed, its memory is cut into pages,
/// and the page comes back to the same address: the entry says the same as before, and the head is
/// somebody else's.
#[test]
fn a_folio_that_is_cut_anew_meanwhile() {
    let scenario = |mutant| {
        at_each_step(1, |steps| {
            let world = world(mutant);
            let mm = world.mm();
            let space = space(&world, Huge::Default);
            // In the last contiguous set, which the next step unfolds.
            let va = VA + 500 * PAGE_SIZE;
            let page = translation(&space, va).expect("touched");
            // The last page's place is somebody else's, so the table stays when the folio goes.
            let last = VirtRange::from_size(VA + 511 * PAGE_SIZE, PAGE_SIZE);
            space.unmap(last).expect("memory");
            space
                .map(Place::At(last.start), PAGE_SIZE, Prot::ReadWrite, Huge::Never)
                .expect("free");
            touch(&space, last.start);
            let reached = world.intrude(steps, &|| drop(space.gup_fast(va, Access::Read)), &|| {
                space.unmap(VirtRange::new(VA, last.start)).expect("memory");
                let mut taken: Vec<_> = std::iter::from_fn(|| mm.alloc(Order::PAGE).ok()).collect();
                space
                    .map(Place::At(VA), 511 * PAGE_SIZE, Prot::ReadWrite, Huge::Never)
                    .expect("free");
                for (pfn, to) in [(Pfn(page.0 - 500), NEXT + PAGE_SIZE), (page, va)] {
                    if let Some(at) = taken.iter().position(|other| *other == pfn) {
                        mm.free(taken.swap_remove(at));
                        touch(&space, to);
                    }
                }
                taken.into_iter().for_each(|pfn| mm.free(pfn));
            });
            let verdict = wrong(&world).map_or(Ok(()), Err);
            if verdict.is_err() {
                // What is broken cannot be given back.
                std::mem::forget(space);
            }
            reached.then_some(verdict)
        })
    };
    misses(scenario, &[Mutant::GupNoHeadRecheck]);
}

/// Whoever pins and never unpins is refused in the end, long before the count begins anew and the page
/// is freed under all of them.
#[test]
fn a_page_with_as_many_pins_as_can_be_counted() {
    let scenario = |mutant| {
        let world = world(mutant);
        let space = std::mem::ManuallyDrop::new(space(&world, Huge::Never));
        let most = (1 << 30) / u64::from(PIN_BIAS);
        let pins = (0..=most)
            .take_while(|_| space.pin_fast(VA, Access::Write).map(std::mem::forget).is_some());
        let pinned = pins.count() as u64;
        let refused = matches!(space.pin(VA, Access::Write), Err(GupError::TooMany(_)))
            && matches!(space.gup(VA, Access::Write), Err(GupError::TooMany(_)));
        (pinned > most || !refused).then(|| format!("{pinned} pins, and no refusal"))
    };
    misses(scenario, &[Mutant::RefsUnlimited]);
}

/// What is on its way elsewhere is not for the lockless, and is waited for by the others.
#[test]
fn a_folio_that_is_taken_out_is_waited_for() {
    for huge in [Huge::Never, Huge::Default] {
        for seed in 1..5 {
            let world = SimWorld::new(Config { cpus: 2, pages: 3072, seed, ..Config::default() });
            let space = space(&world, huge);
            let stage = AtomicU32::new(0);
            world.run(
                2,
                &|cpu| {
                    if cpu == 0 {
                        let frozen = space.freeze_folio_at(VA).expect("nobody holds it");
                        stage.store(1, SeqCst);
                        (0..40).for_each(|_| world.yield_now());
                        stage.store(2, SeqCst);
                        return frozen.thaw();
                    }
                    while stage.load(SeqCst) == 0 {
                        world.yield_now();
                    }
                    let fast = space.gup_fast(VA, Access::Read);
                    assert!(fast.is_none() || stage.load(SeqCst) == 2);
                    drop(fast);
                    let pin = space.pin(VA, Access::Write).expect("it comes back");
                    assert_eq!(stage.load(SeqCst), 2);
                    assert_eq!(translation(&space, VA), Some(pin.pfn()));
                },
                &mut || (),
            );
            drop(space);
            assert_eq!(wrong(&world), None);
        }
    }
}

/// All that is pinned is given back, and then all that was used.
#[test]
fn pins_and_their_release() {
    for (huge, level) in [(Huge::Never, Level::Pte), (Huge::Default, Level::Pmd)] {
        let world = world(None);
        let untouched = Untouched::new(&world);
        let space = space(&world, huge);
        assert!(space.pin_fast(VA + PMD_SIZE / 2, Access::Read).is_some() == (level == Level::Pmd));
        let pins: Vec<_> = (0..3).map(|_| space.pin(VA, Access::Write).expect("memory")).collect();
        let head = world.mm().frames.map().head(pins[0].pfn()).expect("a folio");
        assert_eq!(world.mm().pins(head), 3);
        space.unmap(VirtRange::from_size(VA, PMD_SIZE)).expect("memory");
        assert_eq!(world.mm().pins(head), 3, "pinned memory stays");
        drop(pins);
        drop(space);
        untouched.check(&world);
    }
}
