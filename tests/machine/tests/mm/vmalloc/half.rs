//! What tests of the kernel's half share: machines, frames, functions on pages.

use abi::{Order, PAGE_SIZE, Pfn, VirtAddr};
use granule_machine::{Config, Known, Machine, SimWorld, Simulated};
use mm::vmalloc::PageChange;
use mm::{Hardware, Mm, Note, Sanitized};
use pte::{KernelProt, Leaf, MemType};
use std::convert::Infallible;
use stress::World;

/// How frames are mapped here.
pub(crate) const DATA: KernelProt = KernelProt::Data;
/// As what.
pub(crate) const RAM: MemType = MemType::Normal;
/// Frames that no allocator has, on machines that have any.
pub(crate) const BARE: u64 = 24;

/// A machine whose kernel has addresses for what comes and goes.
pub(crate) fn opened(config: Config) -> SimWorld {
    let mut world = SimWorld::new(config);
    world.open_vmalloc();
    world
}

/// The same, with an oracle that judges.
pub(crate) fn watched(config: Config) -> SimWorld<Sanitized<Machine>> {
    let mut world = SimWorld::sanitized(config);
    world.open_vmalloc();
    world
}

/// So many pages of the allocator's.
pub(crate) fn frames<H: Hardware>(mm: &Mm<H>, n: u64) -> Vec<Pfn> {
    (0..n).map(|_| mm.alloc(Order::PAGE).expect("memory")).collect()
}

/// The frames that no allocator has.
pub(crate) fn bare<H: Simulated>(world: &SimWorld<H>) -> Vec<Pfn> {
    let range = world.bare_frames();
    (0..range.bytes() / PAGE_SIZE).map(|n| range.start.pfn() + n).collect()
}

/// Frames go back when no translation of them is left.
pub(crate) fn give_back<H: Hardware>(mm: &Mm<H>, frames: Vec<Pfn>) {
    mm.unmap_aliases();
    for pfn in frames {
        mm.hw.note(Note::Unaliased(pfn, Order::PAGE));
        mm.free(pfn);
    }
}

/// Maps `frames` in their order where a function is asked.
pub(crate) fn mapping(
    start: VirtAddr,
    frames: &[Pfn],
) -> impl FnMut(VirtAddr, Option<Leaf>) -> Asked + use<> {
    let frames = frames.to_vec();
    move |va, _| Ok(PageChange::Map(frames[((va - start) / PAGE_SIZE) as usize], DATA, RAM))
}

/// What such a function says.
pub(crate) type Asked = Result<PageChange, Infallible>;

/// The CPU stores to an address that it has just learnt of, and loads it again.
pub(crate) fn store_and_load<H: Simulated>(world: &SimWorld<H>, va: VirtAddr, value: u64) {
    let machine = world.mm().hw.machine();
    assert!(machine.kernel_store(va, Known::ByPointer, value), "{:?}", world.verdict());
    assert_eq!(machine.kernel_load(va, Known::ByPointer), Some(value));
}
