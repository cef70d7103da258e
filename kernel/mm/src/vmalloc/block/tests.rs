//! Every rule of the kernel's addresses, broken by hand where all is in order: the audit finds it broken, and says where.

extern crate std;

use super::super::{AddressRule, Area, Backing};
use super::{Block, RamArea};
use crate::Mm;
use crate::audit::{
    Broken,
    tests::plain::{self, Plain},
};
use abi::{Order, PAGE_SIZE, Pfn, VirtAddr, VirtRange};
use pte::{KernelProt, MemType};
use std::vec::Vec;
use sync::Arc;
use sync::atomic::Ordering::Relaxed;

/// RAM, in pages.
const PAGES: u64 = 3072;
/// The kernel's addresses that come and go.
const SPACE: VirtRange = VirtRange::from_size(VirtAddr(0xffff_b000_0000_0000), 1 << 30);

/// One of each: areas in use, lazy and ready, and a block with pieces used, dirty and free.
struct World {
    mm: Mm<Plain>,
    area: Option<Area>,
    piece: Option<RamArea>,
    frames: Vec<Pfn>,
}

fn world() -> World {
    let mut mm = plain::boot(PAGES);
    let root = mm.alloc_zeroed(Order::PAGE).expect("memory");
    mm.open_vmalloc(root, SPACE).expect("memory");
    let take = |pages| mm.vmalloc(pages * PAGE_SIZE, Backing::Pages).expect("memory");
    let (area, lazy) = (take(3), take(5));
    mm.vfree(lazy);
    let frames: Vec<_> = (0..8).map(|_| mm.alloc(Order::PAGE).expect("memory")).collect();
    let map = || mm.vm_map_ram(&frames, KernelProt::Data, MemType::Normal).expect("room");
    let (piece, dirty) = (map(), map());
    mm.vm_unmap_ram(dirty);
    World { mm, area: Some(area), piece: Some(piece), frames }
}

impl World {
    /// What the audit finds.
    fn found(&self) -> Option<(VirtAddr, AddressRule)> {
        match self.mm.audit() {
            Ok(_) => None,
            Err(Broken::Addresses(at, rule)) => Some((at, rule)),
            Err(other) => panic!("{other}"),
        }
    }

    fn area(&self) -> &Area {
        self.area.as_ref().expect("not given back")
    }

    /// The one block.
    fn block(&self) -> Arc<Block> {
        let (_, block) = self.mm.vmalloc.blocks.before(&self.mm.hw, usize::MAX).expect("one");
        block
    }
}

#[test]
fn what_is_in_order_is_found_so() {
    let mut world = world();
    assert_eq!(world.found(), None);
    world.mm.vfree(world.area.take().expect("not given back"));
    world.mm.vm_unmap_ram(world.piece.take().expect("not given back"));
    world.mm.unmap_aliases();
    assert_eq!(world.found(), None);
    world.frames.iter().for_each(|pfn| world.mm.free(*pfn));
    assert_eq!(world.mm.vmalloc_in_use(), (0, 0));
}

/// New addresses and those that are handed out again, of every size around what pools hold.
#[test]
fn areas_begin_where_they_are_asked_to() {
    let mut mm = plain::boot(PAGES);
    let root = mm.alloc_zeroed(Order::PAGE).expect("memory");
    mm.open_vmalloc(root, SPACE).expect("memory");
    for _ in 0..2 {
        for pages in [1, 2, 5, 7, 31, 32, 255, 256, 257, 511, 512, 513] {
            let take = |shift: u32| {
                let align = PAGE_SIZE << shift;
                let area = mm.vmalloc_aligned(pages * PAGE_SIZE, align, Backing::Pages);
                let area = area.expect("memory");
                assert!(area.range().start.is_aligned(align), "{pages} pages at {align:#x}");
                mm.vfree(area);
            };
            (0..13).for_each(take);
            (0..13).rev().for_each(take);
            mm.unmap_aliases();
        }
    }
    assert!(mm.audit().is_ok());
}

#[test]
fn t25_addresses_that_are_nowhere_are_missed() {
    let world = world();
    let lost = world.mm.vmalloc.gaps.lock(&world.mm.hw).take(4, 1, 1).expect("memory");
    let at = VirtAddr(lost.expect("room") * PAGE_SIZE);
    assert_eq!(world.found(), Some((at, AddressRule::NotOnce)));
}

#[test]
fn t25_addresses_in_two_places_are_found() {
    let world = world();
    let start = world.area().range().start;
    let mut node = world.mm.vmalloc.nodes[0].lock(&world.mm.hw);
    node.reserve(1).expect("memory");
    // In use, and ready for the next who asks.
    node.add(start.0 / PAGE_SIZE, 4);
    drop(node);
    assert_eq!(world.found(), Some((start, AddressRule::NotOnce)));
}

#[test]
fn t27_lazy_pages_are_counted() {
    let world = world();
    let lazy = &world.mm.vmalloc.lazy;
    let counted = lazy.fetch_add(1, Relaxed) + 1;
    assert_eq!(world.found(), Some((SPACE.start, AddressRule::Lazy(counted))));
    lazy.fetch_sub(2, Relaxed);
    assert_eq!(world.found(), Some((SPACE.start, AddressRule::Lazy(counted - 2))));
    lazy.fetch_add(1, Relaxed);
    assert_eq!(world.found(), None);
}

/// What the audit says of the block.
fn said(world: &World) -> &'static str {
    match world.found() {
        Some((at, AddressRule::Block(what))) => {
            assert_eq!(at, world.block().start());
            what
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn t26_a_piece_that_comes_back_twice_is_found() {
    let world = world();
    let range = world.piece.as_ref().expect("mapped").range();
    let first = ((range.start.0 - world.block().start().0) / PAGE_SIZE) as u32;
    for _ in 0..2 {
        assert!(world.block().give(&world.mm.hw, first, range.pages() as u32).is_none());
    }
    assert_eq!(said(&world), "its used, free and dirty pages are not all of its pages");
}

#[test]
fn t26_a_block_without_addresses_is_found() {
    let world = world();
    let area = world.block().unsettle(&world.mm.hw);
    assert_eq!(said(&world), "it has given up its addresses, and is still found");
    assert!(area.is_some());
}

#[test]
fn t26_a_block_is_in_its_queue_once_while_it_has_room() {
    let world = world();
    let (mm, block) = (&world.mm, world.block());
    let queue = &mm.vmalloc.blocks.queues[0];
    let out = queue.lock(&mm.hw).remove(&block);
    assert!(out.is_some());
    let fault = "it has room and is not in its queue once, or has none and is there";
    assert_eq!(said(&world), fault);
    let _ = queue.lock(&mm.hw).add(block.clone());
    assert_eq!(world.found(), None);
    let _ = queue.lock(&mm.hw).add(block.clone());
    assert_eq!(said(&world), fault);
    let _ = queue.lock(&mm.hw).remove(&block);
    block.set_owner(7);
    assert_eq!(said(&world), "it is no CPU's");
}

#[test]
fn a_block_that_is_in_a_queue_alone_is_found() {
    let world = world();
    let block = world.block();
    world.mm.vmalloc.blocks.forget(&world.mm.hw, &block);
    let what = "it is in a queue, and in the index it is not";
    assert_eq!(world.found(), Some((block.start(), AddressRule::Block(what))));
}
