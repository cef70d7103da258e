//! The kernel's addresses that come and go.

use crate::common::machines;
use crate::common::races::{misses, wrong};
use abi::{Order, PAGE_SIZE, Pfn, VirtRange};
use granule_machine::{Config, Known, SimWorld};
use mm::mutant::Mutant;
use mm::vmalloc::permission::{PermissionError, Rights};
use mm::vmalloc::{Backing, RamArea};
use mm::{Hardware, Note};
use pte::{Caps, KernelProt, MemType};
use stress::World;

/// Two CPUs, and kernel addresses.
fn opened(config: Config, mutant: Option<Mutant>) -> SimWorld {
    let world = SimWorld::new(Config { cpus: 2, ..config }).with_kernel();
    world.mm().arm(mutant);
    world
}

/// A story on each kind of machine.
fn on_all(mutant: Option<Mutant>, story: impl Fn(&SimWorld)) -> Option<String> {
    machines().into_iter().find_map(|config| {
        let world = opened(config, mutant);
        story(&world);
        wrong(&world)
    })
}

/// Always: addresses that are handed out are in no TLB.
#[test]
fn t23_addresses_that_are_handed_out_are_in_no_tlb() {
    let story = |world: &SimWorld| {
        let mm = world.mm();
        for pages in [1, 3, 64, 300, 1] {
            let area = mm.vmalloc(pages * PAGE_SIZE, Backing::Pages).expect("memory");
            let range = area.range();
            mm.hw.on(1, || {
                for page in 0..pages {
                    mm.hw.prefetch(range.start + page * PAGE_SIZE);
                }
            });
            mm.vfree(area);
        }
    };
    let scenario = |mutant| on_all(mutant, story);
    misses(scenario, &[Mutant::VmallocReuseUnflushed]);
}

/// When an alias flush returns, nobody has a translation of what was given up before it was called, whatever
/// the state of the block that it was in.
#[test]
fn t24_after_an_alias_flush_nobody_has_what_was_given_up() {
    let story = |world: &SimWorld| {
        let mm = world.mm();
        let frames: Vec<Pfn> = (0..64).map(|_| mm.alloc(Order::PAGE).expect("memory")).collect();
        let kept = mm.alloc(Order::PAGE).expect("memory");
        let map = |frames: &[Pfn]| -> RamArea {
            mm.vm_map_ram(frames, KernelProt::Data, MemType::Normal).expect("memory")
        };
        // One piece keeps the block, whose pages are all used.
        let one = map(&[kept; 64]);
        let pieces: Vec<_> = (0..15).map(|_| map(&frames)).collect();
        let area = mm.vmap(&frames, KernelProt::Data, MemType::Normal).expect("memory");
        for range in pieces.iter().map(RamArea::range).chain([area.range()]) {
            mm.hw.on(1, || mm.hw.prefetch(range.start));
        }
        pieces.into_iter().for_each(|piece| mm.vm_unmap_ram(piece));
        mm.vunmap(area);
        mm.unmap_aliases();
        for pfn in frames {
            mm.hw.note(Note::Unaliased(pfn, Order::PAGE));
            mm.free(pfn);
        }
        mm.vm_unmap_ram(one);
        mm.free(kept);
    };
    let scenario = |mutant| on_all(mutant, story);
    misses(scenario, &[Mutant::VmapFullBlockForgotten]);
}

/// Always: behind an area lies a page that nobody can touch, and the area ends before it.
#[test]
fn t28_behind_an_area_lies_a_page_that_is_not_mapped() {
    for config in machines() {
        let world = opened(config, None);
        let mm = world.mm();
        // Of each size several side by side: what is behind one is the next.
        let areas: Vec<_> = [1, 1, 1, 2, 2, 3, 3, 16, 16, 256, 256, 600, 600]
            .into_iter()
            .map(|pages| mm.vmalloc(pages * PAGE_SIZE, Backing::Pages).expect("memory"))
            .collect();
        for area in &areas {
            let VirtRange { start, end } = area.range();
            for (at, is_mapped) in [(start, true), (end - PAGE_SIZE, true), (end, false)] {
                let loaded = mm.hw.kernel_load(at, Known::Perhaps);
                assert_eq!(loaded.is_some(), is_mapped, "{at}");
            }
        }
        areas.into_iter().for_each(|area| mm.vfree(area));
        assert_eq!(wrong(&world), None);
    }
}

/// A change of rights that is refused leaves each page and each alias as it was; one that is not changes them all.
#[test]
fn t37_a_refused_change_of_rights_changes_nothing() {
    let scenario = |mutant: Option<Mutant>| {
        let mut world = SimWorld::new(Config { caps: Caps::CORTEX_A72, ..Config::default() });
        // The second half of RAM by blocks, which these CPUs cannot part in use.
        let half = world.mm().frames.map().range().pages() / 2;
        world.open_linear(half);
        let mm = world.mm();
        mm.arm(mutant);
        let mut area = mm.vmalloc((half + 64) * PAGE_SIZE, Backing::Pages).expect("memory");
        let range = area.range();
        let ends = [range.start, range.end - PAGE_SIZE];
        let refused = mm.set_memory(&mut area, range, Rights::Read);
        let stores = |at| mm.hw.kernel_store(at, Known::Perhaps, 1);
        let found = match refused {
            Err(PermissionError::Linear(..)) => {
                let aliases =
                    ends.map(|at| mm.vmalloc_frame(at).and_then(|pfn| mm.linear_address(pfn)));
                let all = ends.into_iter().chain(aliases.into_iter().flatten());
                all.into_iter().find(|at| !stores(*at)).map(|at| format!("{at} has changed"))
            }
            Ok(()) => {
                let alias = |at| mm.vmalloc_frame(at).and_then(|pfn| mm.linear_address(pfn));
                let open = ends.into_iter().filter_map(alias).find(|at| stores(*at));
                open.map(|at| format!("{at} can be written"))
            }
            Err(error) => Some(error.to_string()),
        };
        mm.vfree(area);
        found.or_else(|| wrong(&world))
    };
    misses(scenario, &[Mutant::AliasErrorDropped]);
}
