//! One operation in the middle of another, at each of its steps.

use abi::{Access, PAGE_SIZE, Pfn, VirtAddr};
use granule_machine::{Config, Machine, SimWorld};
use mm::mutant::Mutant;
use mm::{FaultOutcome, Space};
use pte::Entry;
use stress::World;

/// Two CPUs, and memory for a few huge pages.
pub(crate) fn world(mutant: Option<Mutant>) -> SimWorld {
    let world = SimWorld::new(Config { cpus: 2, pages: 3072, ..Config::default() });
    world.mm().arm(mutant);
    world
}

/// Writes to a page for the first time.
pub(crate) fn touch(space: &Space<'_, Machine>, va: VirtAddr) {
    assert_eq!(space.fault(va, Access::Write), FaultOutcome::Mapped);
}

/// The page that hardware would let a program read at `va` now.
pub(crate) fn translation(space: &Space<'_, Machine>, va: VirtAddr) -> Option<Pfn> {
    let mut found = None;
    space.mm().walk(space.root(), va, |level, _, entry, _| {
        if let Entry::Leaf(leaf) = entry
            && leaf.permits(Access::Read)
        {
            found = Some(leaf.pfn() + va.0 % level.span() / PAGE_SIZE);
        }
    });
    found
}

/// What is wrong with `world`, if the machine, or an audit with nothing in flight, finds something.
pub(crate) fn wrong(world: &SimWorld) -> Option<String> {
    if let Some(found) = world.violation() {
        return Some(found.what);
    }
    world.mm().audit().err().map(|broken| broken.to_string())
}

/// Tries `scenario` with an intrusion after one step, after `stride` more, and so on, until there are no
/// more steps to intrude after (it answers `None`) or something is wrong.
pub(crate) fn at_each_step(
    stride: usize,
    scenario: impl Fn(u64) -> Option<Result<(), String>>,
) -> Option<String> {
    let mut tried = 0;
    for steps in (1..).step_by(stride) {
        match scenario(steps) {
            None => break,
            Some(Ok(())) => tried += 1,
            Some(Err(what)) => return Some(format!("after step {steps}: {what}")),
        }
    }
    assert!(tried * stride > 3, "a scenario of {tried} steps shows nothing");
    None
}

/// Nothing is wrong without a bug, and something is with each of these.
pub(crate) fn misses(scenario: impl Fn(Option<Mutant>) -> Option<String>, mutants: &[Mutant]) {
    assert_eq!(scenario(None), None);
    for mutant in mutants {
        let what = evidence::model(mutant.name(), || scenario(Some(*mutant)));
        let what = what.unwrap_or_else(|| panic!("{mutant:?} is not missed"));
        println!("{}: {what}", mutant.name());
    }
}
