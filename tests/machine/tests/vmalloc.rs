//! Kernel mappings that come and go, on the model machine: addresses and frames are somebody's, or nobody's and in no
//! TLB, whatever comes in between.

mod common;

use abi::{Order, PAGE_SIZE, Pfn};
use common::machines;
use granule_machine::{Config, Known, SimWorld, Simulated};
use mm::vmalloc::{Area, Backing};
use mm::{Hardware, Note, VmallocError};
use pte::{KernelProt, MemType};
use stress::World;

fn opened(config: Config) -> SimWorld {
    let mut world = SimWorld::new(config);
    world.open_vmalloc();
    world
}

fn watched(config: Config) -> SimWorld<mm::Sanitized<granule_machine::Machine>> {
    let mut world = SimWorld::sanitized(config);
    world.open_vmalloc();
    world
}

/// Writes to each page of an area and reads it again, by its addresses.
fn use_all<H: Simulated>(world: &SimWorld<H>, area: &Area, salt: u64) {
    let machine = world.mm().hw.machine();
    let pages = || (0..area.range().bytes()).step_by(PAGE_SIZE as usize);
    for at in pages() {
        assert!(machine.kernel_store(area.range().start + at, Known::ByPointer, salt + at));
    }
    for at in pages() {
        let value = machine.kernel_load(area.range().start + at, Known::ByPointer);
        assert_eq!(value, Some(salt + at), "{}", world.verdict().unwrap_or_default());
    }
}

/// Sizes around what pools, tables and blocks hold.
const PAGES: [u64; 9] = [1, 2, 3, 16, 17, 255, 256, 257, 700];

fn comes_and_goes<H: Simulated>(world: &SimWorld<H>) {
    let mm = world.mm();
    let free = mm.frames.free_pages(&mm.hw) + mm.vmalloc_tables();
    for round in 0..4 {
        let areas: Vec<_> = PAGES
            .iter()
            .map(|pages| mm.vmalloc(pages * PAGE_SIZE, Backing::Pages).unwrap())
            .collect();
        for (n, area) in areas.iter().enumerate() {
            use_all(world, area, (round * 16 + n as u64) << 32);
            for other in &areas[..n] {
                assert!(!other.range().overlaps(&area.range()));
                assert_ne!(other.range().end, area.range().start, "no guard");
            }
        }
        areas.into_iter().for_each(|area| mm.vfree(area));
        assert_eq!(mm.frames.free_pages(&mm.hw) + mm.vmalloc_tables(), free);
        if round % 2 == 1 {
            mm.unmap_aliases();
        }
        assert_eq!(world.verdict(), None);
    }
}

#[test]
fn memory_comes_and_goes() {
    for config in machines() {
        comes_and_goes(&opened(config));
        comes_and_goes(&watched(config));
    }
}

#[test]
fn frames_of_others_are_mapped_in_their_order() {
    for config in machines() {
        let world = opened(config);
        let mm = world.mm();
        let frames: Vec<Pfn> = (0..600).map(|_| mm.alloc(Order::PAGE).unwrap()).rev().collect();
        let area = mm.vmap(&frames, KernelProt::Data, MemType::Normal).unwrap();
        use_all(&world, &area, 7);
        for (n, pfn) in frames.iter().enumerate() {
            assert_eq!(mm.hw.peek(pfn.base()), 7 + n as u64 * PAGE_SIZE);
        }
        mm.vunmap(area);
        mm.unmap_aliases();
        for pfn in frames {
            mm.hw.note(Note::Unaliased(pfn, Order::PAGE));
            mm.free(pfn);
        }
        assert_eq!(world.verdict(), None);
    }
}

#[test]
fn what_cannot_be_is_refused() {
    let world = opened(Config::default());
    let mm = world.mm();
    assert_eq!(mm.vmalloc(0, Backing::Pages), Err(VmallocError::Empty));
    let align = mm.vmalloc_aligned(PAGE_SIZE, 3 * PAGE_SIZE, Backing::Pages);
    assert_eq!(align, Err(VmallocError::Alignment(3 * PAGE_SIZE)));
    let all = mm.vmalloc(u64::MAX, Backing::Pages);
    assert!(matches!(all, Err(VmallocError::NoRoom { .. })), "{all:?}");
    // The space has a GiB; the machine's memory less.
    let free = mm.frames.free_pages(&mm.hw) + mm.vmalloc_tables();
    let more = mm.vmalloc((free + 1) * PAGE_SIZE, Backing::Pages);
    assert!(matches!(more, Err(VmallocError::OutOfMemory(_))), "{more:?}");
    assert_eq!(mm.frames.free_pages(&mm.hw) + mm.vmalloc_tables(), free);
    assert_eq!(world.verdict(), None);
}
