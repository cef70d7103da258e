//! What maps an address, as an onlooker finds it.

use abi::{Event, Level, Pfn, VirtAddr, VirtRange};
use granule_machine::{Machine, SimWorld};
use mm::frame::Flag;
use mm::{Mm, Slot, Space};
use pte::{Entry, Leaf};
use stress::World;

/// The entry that decides about an address: where it is, and what it says.
pub(crate) fn entry(space: &Space<'_, Machine>, va: VirtAddr) -> (Level, Slot, Entry) {
    let mut found = None;
    space.mm().walk(space.root(), va, |level, slot, entry, _| found = Some((level, slot, entry)));
    found.expect("a space has a root")
}

/// The mapping of an address, if there is one.
pub(crate) fn leaf(space: &Space<'_, Machine>, va: VirtAddr) -> Option<Leaf> {
    entry(space, va).2.leaf()
}

/// The page that an address is mapped to.
pub(crate) fn page(space: &Space<'_, Machine>, va: VirtAddr) -> Option<Pfn> {
    let leaf = leaf(space, va)?;
    Some(leaf.pfn() + va.0 % leaf.level().span() / abi::PAGE_SIZE)
}

/// How an address is mapped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Size {
    Nothing,
    Page,
    /// One of sixteen that are a contiguous set.
    Set,
    Huge,
}

impl Size {
    /// What one fault of this size maps.
    pub(crate) fn bytes(self) -> u64 {
        match self {
            Self::Nothing => 0,
            Self::Page => Level::Pte.span(),
            Self::Set => 16 * Level::Pte.span(),
            Self::Huge => Level::Pmd.span(),
        }
    }
}

pub(crate) fn size(space: &Space<'_, Machine>, va: VirtAddr) -> Size {
    match leaf(space, va) {
        None => Size::Nothing,
        Some(leaf) if leaf.level() == Level::Pmd => Size::Huge,
        Some(leaf) if leaf.is_contiguous() => Size::Set,
        Some(_) => Size::Page,
    }
}

/// Whether an address shows everybody's zeros.
pub(crate) fn is_zeros(space: &Space<'_, Machine>, va: VirtAddr) -> bool {
    let map = space.mm().frames.map();
    leaf(space, va).is_some_and(|leaf| {
        let head = map.head(leaf.pfn());
        leaf.is_special() && head.is_some_and(|head| map.desc(head).has(Flag::Zero))
    })
}

/// A page that a program has written and nobody knows of: its first address in `range`.
pub(crate) fn lost_write(space: &Space<'_, Machine>, range: VirtRange) -> Option<VirtAddr> {
    let mm: &Mm<Machine> = space.mm();
    let map = mm.frames.map();
    let pages = (0..range.pages()).map(|n| range.start + n * abi::PAGE_SIZE);
    pages.into_iter().find(|&va| {
        let (Some(leaf), Some(pfn)) = (leaf(space, va), page(space, va)) else { return false };
        let head = map.head(pfn).expect("a folio");
        mm.hw.wrote(pfn) && !leaf.is_dirty() && !map.desc(head).has(Flag::Dirty)
    })
}

/// How often something has happened.
pub(crate) fn count(world: &SimWorld, event: Event) -> u64 {
    world.mm().stats.total(event)
}
