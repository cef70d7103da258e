//! Mappings that are on their way, as migration entries: who meets one must not take the folio for his own,
//! nor for one that stays.

use crate::common::races::{at_each_step, misses};
use abi::{Access, PAGE_SIZE, PMD_SIZE, Prot, VirtAddr, VirtRange};
use granule_machine::{Config, Machine, SimWorld};
use mm::mutant::Mutant;
use mm::{FaultOutcome, Huge, Move, Place, Space};
use std::mem::ManuallyDrop;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use stress::World;

const VA: VirtAddr = VirtAddr(1 << 40);
const AREA: VirtRange = VirtRange::new(VA, VirtAddr(VA.0 + PAGE_SIZE));
/// What the page says.
const STAMP: u64 = 7;

fn world(seed: u64, mutant: Option<Mutant>) -> SimWorld {
    let world = SimWorld::new(Config { cpus: 2, pages: 2048, seed, ..Config::default() });
    world.mm().arm(mutant);
    world
}

/// A space with one page that says [`STAMP`].
fn stamped(world: &SimWorld) -> Space<'_, Machine> {
    let space = Space::new(world.mm()).expect("memory");
    space.map(Place::At(VA), AREA.bytes(), Prot::ReadWrite, Huge::Never).expect("free");
    assert_eq!(space.fault(VA, Access::Write), FaultOutcome::Mapped);
    world.inside(&space, &mut || world.store(&space, VA, STAMP).expect("mapped"));
    space
}

/// What `space` reads at `va`.
fn load(world: &SimWorld, space: &Space<'_, Machine>, va: VirtAddr) -> Option<u64> {
    let mut found = None;
    world.inside(space, &mut || found = world.load(space, va).ok());
    found
}

/// What is wrong with the world itself.
fn broken(world: &SimWorld) -> Option<String> {
    let violation = world.violation().map(|found| found.what);
    violation.or_else(|| world.mm().audit().err().map(|broken| broken.to_string()))
}

/// What is wrong after `body` has run on both CPUs; a failing assertion of the memory manager is.
fn wrong_after(world: &SimWorld, body: impl Fn(usize) + Sync) -> Option<String> {
    let run = || world.run(2, &body, &mut || ());
    let panicked = catch_unwind(AssertUnwindSafe(run)).is_err();
    broken(world).or_else(|| panicked.then(|| "an assertion fails".into()))
}

/// One CPU takes the mappings of a page away, one space's after the other's, while a child of a fork wants to
/// write to it: the page is not the child's, though nobody else has it mapped for a moment.
fn written_while_frozen(seed: u64, mutant: Option<Mutant>) -> Option<String> {
    let world = world(seed, mutant);
    let parent = ManuallyDrop::new(stamped(&world));
    let child = ManuallyDrop::new(parent.fork().expect("memory"));
    let wrong = wrong_after(&world, |cpu| {
        if cpu == 0 {
            drop(parent.freeze_folio_at(VA));
        } else {
            (0..seed % 64).for_each(|_| world.yield_now());
            let _ = child.fault(VA, Access::Write);
        }
    });
    if wrong.is_none() {
        drop((ManuallyDrop::into_inner(child), ManuallyDrop::into_inner(parent)));
    }
    wrong
}

#[test]
fn a_page_with_one_mapping_left_is_not_its_own() {
    assert_eq!((1..60).find_map(|seed| written_while_frozen(seed, None)), None);
    let bug = Mutant::CowCountsMaps;
    let look = || (1..400).find_map(|seed| written_while_frozen(seed, Some(bug)));
    println!("{}", evidence::model(bug.name(), look).expect("not caught"));
}

/// A mapping that is given back is moved meanwhile, at each step: it comes back, wherever it is.
#[test]
fn what_moves_is_found_on_one_side_or_the_other() {
    // Who excludes a page excludes the block around it; and walks go upwards.
    let away = VA - 3 * PMD_SIZE;
    let scenario = |mutant| {
        at_each_step(1, |steps| {
            let world = world(1, mutant);
            let space = ManuallyDrop::new(stamped(&world));
            let frozen = Mutex::new(Some(space.freeze_folio_at(VA).expect("not pinned")));
            let thaw = || drop(frozen.lock().expect("alone").take());
            let go = || assert!(space.remap(AREA, PAGE_SIZE, Move::To(away)).is_ok());
            let reached = world.intrude(steps, &thaw, &go);
            let found = broken(&world);
            if found.is_none() {
                assert_eq!(load(&world, &space, away), Some(STAMP));
                drop(ManuallyDrop::into_inner(space));
            }
            reached.then(|| found.map_or(Ok(()), Err))
        })
    };
    misses(scenario, &[Mutant::RemapUnexcluded]);
}
