//! What these tests play with: memory of each size, with content that says where it is.

use crate::common::heap;
pub(crate) use crate::common::look::{entry, leaf, page as frame};
use abi::{Access, Event, Order, PAGE_SIZE, PMD_SIZE, Pfn, Prot, VirtAddr, VirtRange};
use granule_machine::{Config, Machine, SimWorld};
use mm::mutant::Mutant;
use mm::thp::Policy;
use mm::{FaultOutcome, Hardware, Huge, Place, Space, Vma};
use stress::World;

/// Where the memory is: a boundary of every level.
pub(crate) const VA: VirtAddr = VirtAddr(1 << 40);
pub(crate) const RW: Prot = Prot::ReadWrite;
pub(crate) const BLOCK: u64 = PMD_SIZE / PAGE_SIZE;
/// Pages of a contiguous set.
pub(crate) const SET: u64 = 16;

pub(crate) fn page(n: u64) -> VirtAddr {
    VA + n * PAGE_SIZE
}

pub(crate) fn pages(first: u64, n: u64) -> VirtRange {
    VirtRange::from_size(page(first), n * PAGE_SIZE)
}

/// Each page of a range.
pub(crate) fn each_page(range: VirtRange) -> impl Iterator<Item = VirtAddr> + Clone {
    (0..range.pages()).map(move |n| range.start + n * PAGE_SIZE)
}

/// By what entries memory is mapped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// Single pages.
    Small,
    /// Contiguous sets.
    Sets,
    /// Huge pages.
    Huge,
}

pub(crate) const KINDS: [Kind; 3] = [Kind::Small, Kind::Sets, Kind::Huge];

/// A machine on which memory comes in this kind.
pub(crate) fn world(config: Config, kind: Kind) -> SimWorld {
    let world = SimWorld::new(config);
    let thp = &world.mm().thp;
    match kind {
        Kind::Small => {
            thp.set_enabled(Policy::Never);
            thp.set_enabled_64k(Some(Policy::Never));
        }
        Kind::Sets => {
            thp.set_enabled(Policy::Never);
            thp.set_enabled_64k(Some(Policy::Always));
        }
        Kind::Huge => {}
    }
    world
}

/// Such a machine with two CPUs, on which this bug is armed.
pub(crate) fn racy(config: Config, kind: Kind, mutant: Option<Mutant>) -> SimWorld {
    let pages = if kind == Kind::Huge { 3072 } else { 2048 };
    let world = world(Config { cpus: 2, pages, ..config }, kind);
    world.mm().arm(mutant);
    world
}

/// What the page at `va` says when it was written where it was born.
pub(crate) fn stamp(va: VirtAddr) -> u64 {
    va.page() << 8 | 1
}

/// A space with `range` mapped and each page of it written.
pub(crate) fn stamped(world: &SimWorld, range: VirtRange) -> Space<'_, Machine> {
    let space = Space::new(world.mm()).expect("memory");
    space.map(Place::At(range.start), range.bytes(), RW, Huge::Default).expect("free");
    write(world, &space, range, stamp);
    space
}

/// Writes `value` of each page of a range into it.
pub(crate) fn write(
    world: &SimWorld,
    space: &Space<'_, Machine>,
    range: VirtRange,
    value: impl Fn(VirtAddr) -> u64,
) {
    world.inside(space, &mut || {
        for va in each_page(range) {
            world.store(space, va, value(va)).expect("writable");
        }
    });
}

/// Each page of a range reads as `value` says.
#[track_caller]
pub(crate) fn check(
    world: &SimWorld,
    space: &Space<'_, Machine>,
    range: VirtRange,
    value: impl Fn(VirtAddr) -> u64,
) {
    let mut wrong = Vec::new();
    world.inside(space, &mut || {
        for va in each_page(range) {
            let found = world.load(space, va);
            if found != Ok(value(va)) {
                wrong.push((va, found));
            }
        }
    });
    assert!(wrong.is_empty(), "{wrong:?}");
}

/// What a program's access ends with.
pub(crate) fn access(
    world: &SimWorld,
    space: &Space<'_, Machine>,
    va: VirtAddr,
    access: Access,
) -> Result<(), FaultOutcome> {
    let mut result = Ok(());
    world.inside(space, &mut || {
        result = match access {
            Access::Write => world.load(space, va).and_then(|old| world.store(space, va, old)),
            _ => world.load(space, va).map(drop),
        };
    });
    result
}

pub(crate) fn areas(space: &Space<'_, Machine>) -> Vec<Vma> {
    let mut areas = Vec::new();
    space.each_area(|area| areas.push(*area));
    areas
}

/// What is wrong with `world`, with nothing in flight: a rule that was broken on the way, a translation
/// that was taken away and that some CPU may have, or what an audit finds.
pub(crate) fn wrong(world: &SimWorld) -> Option<String> {
    if let Some(found) = world.violation() {
        return Some(found.what);
    }
    if let Some(stale) = world.mm().hw.stale().first() {
        return Some(format!("a CPU may still use {stale:?}"));
    }
    world.mm().audit().err().map(|broken| broken.to_string())
}

#[track_caller]
pub(crate) fn sound(world: &SimWorld) {
    assert_eq!(wrong(world), None);
}

/// How often each of these happened during `change`.
pub(crate) fn counted<const N: usize>(
    world: &SimWorld,
    events: [Event; N],
    change: impl FnOnce(),
) -> [u64; N] {
    let now = || events.map(|event| world.mm().stats.total(event));
    let before = now();
    change();
    let after = now();
    core::array::from_fn(|n| after[n] - before[n])
}

/// TLBIs of every kind, and waits for them, during `change`.
pub(crate) fn flushes(world: &SimWorld, change: impl FnOnce()) -> (u64, u64) {
    use Event::{DsbComplete, TlbiAll, TlbiAsid, TlbiRange, TlbiVa, TlbiVaLast};
    let events = [TlbiAll, TlbiAsid, TlbiRange, TlbiVa, TlbiVaLast, DsbComplete];
    let [all, asid, range, va, last, waits] = counted(world, events, change);
    (all + asid + range + va + last, waits)
}

/// Takes all memory but `left` pages, until it is dropped.
pub(crate) struct Famine<'w> {
    world: &'w SimWorld,
    taken: Vec<Pfn>,
}

impl<'w> Famine<'w> {
    pub(crate) fn but(world: &'w SimWorld, left: usize) -> Self {
        let mm = world.mm();
        // Single pages first, and enough of them to give back as many as are to be left.
        let singles: Vec<_> = (0..left).map(|_| mm.alloc(Order::PAGE).expect("memory")).collect();
        let mut taken = Vec::new();
        for order in (0..=Order::MAX.0).rev().map(Order) {
            while let Ok(block) = mm.alloc(order) {
                taken.push(block);
            }
        }
        singles.into_iter().for_each(|page| mm.free(page));
        Self { world, taken }
    }
}

impl Drop for Famine<'_> {
    fn drop(&mut self) {
        self.taken.drain(..).for_each(|block| self.world.mm().free(block));
    }
}

/// Runs `change` with ever more memory until it succeeds, and `refused` after each time that it did not.
pub(crate) fn starving<T, E>(
    world: &SimWorld,
    change: impl Fn() -> Result<T, E>,
    refused: impl Fn(E),
) -> T {
    for left in 0..600 {
        let famine = Famine::but(world, left);
        let result = change();
        drop(famine);
        match result {
            Ok(done) => {
                assert!(left > 0, "it needed no memory");
                return done;
            }
            Err(error) => refused(error),
        }
    }
    panic!("more memory does not help");
}

/// Areas that cannot be joined, so many that one more makes their list longer; and a request of the
/// heap by which the list then grows.
pub(crate) fn crowded(space: &Space<'_, Machine>) -> heap::Refused {
    const MANY: usize = 1024;
    let far = VirtAddr(1 << 46);
    for n in areas(space).len()..MANY - 1 {
        let start = far + 2 * n as u64 * PAGE_SIZE;
        space.map(Place::At(start), PAGE_SIZE, RW, Huge::Never).expect("free");
    }
    heap::Refused::Size(2 * MANY * size_of::<Vma>())
}

/// Tries `scenario` with an intrusion after one step, after two, and so on, until there are no more
/// steps to intrude after (it answers `None`) or something is wrong.
pub(crate) fn at_each_step(scenario: impl Fn(u64) -> Option<Result<(), String>>) -> Option<String> {
    let mut tried = 0;
    for steps in 1.. {
        match scenario(steps) {
            None => break,
            Some(Ok(())) => tried += 1,
            Some(Err(what)) => return Some(format!("after step {steps}: {what}")),
        }
    }
    assert!(tried > 3, "a scenario of {tried} steps shows nothing");
    None
}

/// Nothing is wrong without a bug, and something is with this one.
#[track_caller]
pub(crate) fn catches(mutant: Mutant, scenario: impl Fn(Option<Mutant>) -> Option<String>) {
    assert_eq!(scenario(None), None);
    let what = evidence::model(mutant.name(), || scenario(Some(mutant)));
    let what = what.unwrap_or_else(|| panic!("{mutant:?} is not noticed"));
    println!("{}: {what}", mutant.name());
}

/// The machine's memory, past all translation.
pub(crate) fn peek(world: &SimWorld, pfn: Pfn) -> u64 {
    world.mm().hw.peek(pfn.base())
}
