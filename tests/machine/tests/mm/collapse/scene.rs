//! Memory that is mapped by pages, as collapses begin with it.

use crate::common::Untouched;
use abi::{Access, Level, PAGE_SIZE, PMD_SIZE, Pfn, Prot, VirtAddr, VirtRange};
use granule_machine::{Config, Machine, SimWorld};
use mm::thp::Policy;
use mm::{Collapsed, FaultOutcome, Hardware, Huge, Place, Space};
use pte::{Entry, Leaf};
use std::ops::Range;
use stress::World;

/// Where it is.
pub(crate) const VA: VirtAddr = VirtAddr(1 << 40);
/// The block behind it, which keeps the tables above alive.
pub(crate) const NEXT: VirtAddr = VirtAddr((1 << 40) + PMD_SIZE);
/// All of it.
pub(crate) const WHOLE: VirtRange = VirtRange::from_size(VA, PMD_SIZE);
pub(crate) const RW: Prot = Prot::ReadWrite;

/// Where page `n` of it is.
pub(crate) fn page(n: u64) -> VirtAddr {
    VA + n * PAGE_SIZE
}

/// What stands in page `n`.
pub(crate) fn stamp(n: u64) -> u64 {
    0x5747_0000 + n
}

/// Runs `body` with faults that give pages and nothing larger.
pub(crate) fn by_pages<R>(world: &SimWorld, body: impl FnOnce() -> R) -> R {
    let thp = &world.mm().thp;
    let before = thp.enabled();
    thp.set_enabled(Policy::Never);
    let result = body();
    thp.set_enabled(before);
    result
}

/// A space with an area of two blocks.
pub(crate) fn bare(world: &SimWorld) -> Space<'_, Machine> {
    let space = Space::new(world.mm()).expect("memory");
    space.map(Place::At(VA), 2 * PMD_SIZE, RW, Huge::Default).expect("free");
    space
}

/// Writes the stamps of these pages.
pub(crate) fn write(world: &SimWorld, space: &Space<'_, Machine>, pages: Range<u64>) {
    world.inside(space, &mut || {
        pages.clone().for_each(|n| world.store(space, page(n), stamp(n)).expect("an area"));
    });
}

/// A space of which these pages were written, each a folio of its own.
pub(crate) fn written(world: &SimWorld, pages: Range<u64>) -> Space<'_, Machine> {
    let space = bare(world);
    by_pages(world, || write(world, &space, pages));
    space
}

/// A space with a huge folio that is mapped by pages, all of them written.
pub(crate) fn parted(world: &SimWorld) -> Space<'_, Machine> {
    let space = bare(world);
    write(world, &space, 0..512);
    space.split_block(VA);
    assert_eq!(entry(&space, VA).0, Level::Pte);
    space
}

/// These pages have their stamps, and the others are zero.
pub(crate) fn check(world: &SimWorld, space: &Space<'_, Machine>, pages: Range<u64>) {
    world.inside(space, &mut || {
        for n in 0..512 {
            let expected = if pages.contains(&n) { stamp(n) } else { 0 };
            assert_eq!(world.load(space, page(n)), Ok(expected), "page {n}");
        }
    });
}

/// The entry that maps `va`.
pub(crate) fn entry(space: &Space<'_, Machine>, va: VirtAddr) -> (Level, Entry) {
    let mut found = (Level::Pgd, Entry::None);
    space.mm().walk(space.root(), va, |level, _, entry, _| found = (level, entry));
    found
}

/// The huge entry at [`VA`].
pub(crate) fn huge(space: &Space<'_, Machine>) -> Leaf {
    match entry(space, VA) {
        (Level::Pmd, Entry::Leaf(leaf)) => leaf,
        other => panic!("no huge page but {other:?}"),
    }
}

/// The page that is mapped at page `n`.
pub(crate) fn frame(space: &Space<'_, Machine>, n: u64) -> Pfn {
    let (level, entry) = entry(space, page(n));
    let leaf = entry.leaf().expect("a mapping");
    leaf.pfn() + page(n).0 % level.span() / PAGE_SIZE
}

/// Collapses the block, which ends so.
pub(crate) fn collapsed(space: &Space<'_, Machine>, how: Collapsed) {
    assert_eq!(space.collapse(page(77)), Ok(how));
    space.mm().audit().expect("nothing is broken");
    if how != Collapsed::Already {
        huge(space);
    }
}

/// Whether a write to the block goes to where it is mapped, without a fault that copies.
pub(crate) fn is_own(space: &Space<'_, Machine>) -> bool {
    let before = huge(space).pfn();
    assert!(matches!(
        space.fault(VA, Access::Write),
        FaultOutcome::Mapped | FaultOutcome::Spurious
    ));
    matches!(entry(space, VA), (Level::Pmd, Entry::Leaf(leaf)) if leaf.pfn() == before)
}

/// A machine with memory for some huge pages.
pub(crate) fn config(base: Config, cpus: usize) -> Config {
    Config { cpus, pages: 4096, ..base }
}

/// Runs a scenario on a world of its own, at the end of which all is given back.
pub(crate) fn on(base: Config, scenario: impl FnOnce(&SimWorld)) {
    let world = SimWorld::new(config(base, 1));
    let untouched = Untouched::new(&world);
    scenario(&world);
    world.mm().shrink(u64::MAX);
    untouched.check(&world);
}

/// Fills all free blocks with litter, so that what is not written shows.
pub(crate) fn litter(world: &SimWorld) {
    let mm = world.mm();
    let order = abi::Order::PMD;
    let blocks: Vec<_> = std::iter::from_fn(|| mm.alloc(order).ok()).collect();
    for block in blocks {
        for n in 0..order.pages() {
            mm.hw.poke((block + n).base(), 0xdead);
        }
        mm.free(block);
    }
}
