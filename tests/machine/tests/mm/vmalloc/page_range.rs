//! Functions on the pages of a range of kernel addresses, and bare frames there: what they do, and what they refuse.

use super::half::{
    BARE, DATA, RAM, bare, frames, give_back, mapping, opened, store_and_load, watched,
};
use crate::common::machines;
use crate::common::races::misses;
use abi::{Level, Order, PAGE_SIZE, PMD_SIZE, Pfn, PhysAddr, PhysRange, VirtRange};
use granule_machine::{Config, Known, SimWorld, Simulated};
use mm::mutant::Mutant;
use mm::vmalloc::{ApplyError, Area, Backing, Io, PageChange};
use mm::{Hardware, VmallocError};
use std::convert::Infallible;
use stress::World;

// --- functions on ranges -------------------------------------------------------------------------

fn asks_for_each_page<H: Simulated>(world: &SimWorld<H>) {
    let mm = world.mm();
    // Across the end of a table.
    let area = mm.reserve_area(3 * PMD_SIZE, PMD_SIZE).expect("room");
    let part = VirtRange::from_size(area.range().start + PMD_SIZE - 4 * PAGE_SIZE, 8 * PAGE_SIZE);
    let held = frames(mm, 8);
    mm.apply_to_page_range(&area, part, &mut mapping(part.start, &held)).expect("memory");
    for (n, pfn) in (0..).zip(&held) {
        store_and_load(world, part.start + n * PAGE_SIZE, 77 + n);
        assert_eq!(mm.hw.peek(pfn.base()), 77 + n);
    }
    // Every second page goes, and comes again with another frame.
    let (mut asked, mut odd) = (Vec::new(), false);
    let cleared: Result<(), ApplyError<Infallible>> =
        mm.apply_to_existing_page_range(&area, area.range(), &mut |va, old| {
            if let Some(leaf) = old {
                asked.push((va, leaf.pfn()));
                odd = !odd;
            }
            Ok(if odd { PageChange::Clear } else { PageChange::Keep })
        });
    cleared.expect("a function that cannot fail");
    let expected = (0..).zip(&held).map(|(n, pfn)| (part.start + n * PAGE_SIZE, *pfn));
    assert_eq!(asked, expected.collect::<Vec<_>>());
    let mut others = held.iter().rev();
    let again: Result<(), ApplyError<Infallible>> =
        mm.apply_to_page_range(&area, part, &mut |_, old| {
            let other = *others.next().expect("as many");
            Ok(old.map_or(PageChange::Map(other, DATA, RAM), |_| PageChange::Keep))
        });
    again.expect("memory");
    for n in (0..8).step_by(2) {
        let frame = held[7 - n as usize];
        mm.hw.poke(frame.base(), 300 + n);
        let va = part.start + n * PAGE_SIZE;
        assert_eq!(mm.hw.machine().kernel_load(va, Known::ByPointer), Some(300 + n));
    }
    mm.vunmap(area);
    give_back(mm, held);
    assert_eq!(world.verdict(), None);
}

#[test]
fn a_function_is_asked_for_each_page() {
    for config in machines() {
        asks_for_each_page(&opened(config));
        asks_for_each_page(&watched(config));
    }
    asks_for_each_page(&opened(Config { copied: true, ..Config::default() }));
}

#[test]
fn what_a_function_may_not_do_is_refused() {
    let world = opened(Config { pages: 2048, ..Config::default() });
    let mm = world.mm();
    let area = mm.reserve_area(4 * PAGE_SIZE, PAGE_SIZE).expect("room");
    let all = area.range();
    let apply = |area: &Area, part, change: PageChange| {
        mm.apply_to_page_range(area, part, &mut |_, _| Ok::<_, Infallible>(change))
    };
    let keep = PageChange::Keep;
    let beyond = VirtRange::new(all.start, all.end + PAGE_SIZE);
    for part in [VirtRange::new(all.end, all.end), beyond, VirtRange::new(all.start + 8, all.end)] {
        assert_eq!(apply(&area, part, keep), Err(ApplyError::Outside(part)));
    }
    let own = mm.vmalloc(PAGE_SIZE, Backing::Pages).expect("memory");
    assert_eq!(apply(&own, own.range(), PageChange::Clear), Err(ApplyError::Owned));
    mm.vfree(own);
    let device = PhysRange::from_size(PhysAddr(1 << 40), PMD_SIZE);
    let block = mm.ioremap(device, Io::DEVICE).expect("room");
    let at = block.range();
    assert_eq!(apply(&block, at, keep), Err(ApplyError::Block(at.start, Level::Pmd)));
    mm.iounmap(block);
    let beyond = Pfn(1 << 36);
    let unnamed = apply(&area, all, PageChange::Map(beyond, DATA, RAM));
    assert_eq!(unnamed, Err(ApplyError::Unmappable(beyond.base())));
    // What came before an error stays; what a leaf is to go over does, too.
    let held = frames(mm, 2);
    let map = PageChange::Map(held[0], DATA, RAM);
    let third = all.start + 2 * PAGE_SIZE;
    let result = mm.apply_to_page_range(&area, all, &mut |va, _| {
        if va == third { Err("no more") } else { Ok(map) }
    });
    assert_eq!(result, Err(ApplyError::Refused(third, "no more")));
    assert_eq!(apply(&area, all, map), Err(ApplyError::Occupied(all.start)));
    store_and_load(&world, all.start + PAGE_SIZE, 5);
    assert_eq!(mm.hw.peek(held[0].base()), 5);
    assert_eq!(mm.vmalloc_frame(third), None);
    // No memory for a table.
    let far = mm.reserve_area(PAGE_SIZE, 1 << 30).expect("room");
    let mut hoard = Vec::new();
    while let Ok(pfn) = mm.alloc(Order::PAGE) {
        hoard.push(pfn);
    }
    assert!(matches!(apply(&far, far.range(), map), Err(ApplyError::OutOfMemory(_))));
    hoard.into_iter().for_each(|pfn| mm.free(pfn));
    assert_eq!(apply(&far, far.range(), map), Ok(()));
    mm.vunmap(far);
    mm.vunmap(area);
    give_back(mm, held);
    assert_eq!(mm.vmalloc_in_use(), (0, 0));
    assert_eq!(world.verdict(), None);
}

// --- bare frames ---------------------------------------------------------------------------------

/// Bare frames are mapped; one of the allocator's among them is named, and nothing stays.
fn bare_frames<H: Simulated>(world: &SimWorld<H>) -> Option<String> {
    let mm = world.mm();
    let bare = bare(world);
    let area = mm.vmap_pfn(&bare, Io::MEMORY).expect("room");
    for (n, pfn) in (0..).zip(&bare) {
        store_and_load(world, area.range().start + n * PAGE_SIZE, 9 + n);
        assert_eq!(mm.hw.peek(pfn.base()), 9 + n);
    }
    mm.vunmap(area);
    let managed = mm.alloc(Order::PAGE).expect("memory");
    let mixed = [bare[0], bare[1], managed, bare[2]];
    let result = mm.vmap_pfn(&mixed, Io::MEMORY);
    let is_refused = result == Err(VmallocError::Managed(managed));
    result.into_iter().for_each(|area| mm.vunmap(area));
    let beyond = Pfn(1 << 36);
    let result = mm.vmap_pfn(&[bare[0], beyond], Io::DEVICE);
    assert_eq!(result, Err(VmallocError::Unmappable(beyond.base())));
    assert_eq!(mm.vmap_pfn(&[], Io::DEVICE), Err(VmallocError::Empty));
    assert_eq!(mm.vmalloc_in_use(), (0, 0));
    give_back(mm, vec![managed]);
    let accepted = || format!("{managed} is the allocator's, and was mapped as a bare frame");
    world.verdict().or_else(|| (!is_refused).then(accepted))
}

#[test]
fn bare_frames_are_mapped_and_no_others() {
    for config in machines() {
        let config = Config { bare: BARE, ..config };
        assert_eq!(bare_frames(&opened(config)), None);
        assert_eq!(bare_frames(&watched(config)), None);
    }
    let scenario = |mutant| {
        let world = opened(Config { bare: BARE, ..Config::default() });
        world.mm().arm(mutant);
        bare_frames(&world)
    };
    misses(scenario, &[Mutant::VmapPfnManaged]);
}
