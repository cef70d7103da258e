//! One huge page, as the tests of splits begin with it.

use abi::{Event, Level, PAGE_SIZE, PMD_SIZE, Prot, VirtAddr};
use granule_machine::{Machine, SimWorld};
use mm::{Huge, Place, Space};
use pte::Entry;
use stress::World;

/// Where it is.
pub(crate) const VA: VirtAddr = VirtAddr(1 << 40);
pub(crate) const RW: Prot = Prot::ReadWrite;

/// Where small page `n` of it is.
pub(crate) fn page(n: u64) -> VirtAddr {
    VA + n * PAGE_SIZE
}

/// A space with one huge page, in each small page of which stands its number.
pub(crate) fn stamped(world: &SimWorld) -> Space<'_, Machine> {
    let space = Space::new(world.mm()).expect("memory");
    space.map(Place::At(VA), PMD_SIZE, RW, Huge::Default).expect("free");
    world.inside(&space, &mut || {
        for n in 0..512 {
            world.store(&space, page(n), n).expect("mapped");
        }
    });
    assert_eq!(world.mm().stats.total(Event::ThpFaultAlloc), 1);
    space
}

/// The entry that maps `va`.
pub(crate) fn entry(space: &Space<'_, Machine>, va: VirtAddr) -> (Level, Entry) {
    let mut found = (Level::Pgd, Entry::None);
    space.mm().walk(space.root(), va, |level, _, entry, _| found = (level, entry));
    found
}
