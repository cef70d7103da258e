//! Kernel entries that are stored one by one and shown together: by scopes of barriers, also where something fails or an
//! interrupt comes in between; and in spaces that have the kernel's upper tables in copies of their own.

use super::half::{
    BARE, DATA, RAM, bare, frames, give_back, mapping, opened, store_and_load, watched,
};
use crate::common::machines;
use crate::common::races::{at_each_step, misses};
use abi::{Event, Level, PAGE_SIZE, Pfn, VirtAddr};
use granule_machine::{Config, Known, Machine, SimWorld, Simulated};
use mm::mutant::Mutant;
use mm::vmalloc::{ApplyError, Area, Io, PageChange};
use mm::{Space, VmallocError};
use pte::Caps;
use std::convert::Infallible;
use stress::{Limit, Options, World};

// --- scopes --------------------------------------------------------------------------------------

/// One publication for all that a scope maps, few as eight mappings or less; none where nothing was.
#[test]
fn a_scope_publishes_once() {
    for config in machines() {
        let world = opened(Config { bare: BARE, ..config });
        let mm = world.mm();
        let bare = bare(&world);
        let held = frames(mm, 512);
        let reserved = mm.reserve_area(8 * PAGE_SIZE, PAGE_SIZE).expect("room");
        let part = reserved.range();
        let keep = &mut |_, _| Ok::<_, Infallible>(PageChange::Keep);
        mm.apply_to_page_range(&reserved, part, keep).expect("memory");
        let published = || mm.stats.total(Event::DsbPublish);
        let maps = |times: usize| {
            let (before, mut areas) = (published(), Vec::new());
            let mut scope = mm.defer_barriers();
            for _ in 0..times {
                areas.push(scope.vmap(&held[..40], DATA, RAM).expect("room"));
            }
            let (early, tables) = (published() - before, mm.vmalloc_tables());
            drop(scope);
            let cost = published() - before;
            areas.into_iter().for_each(|area| mm.vunmap(area));
            // The same addresses come again, with their tables.
            mm.unmap_aliases();
            [early, cost, tables]
        };
        let [.., tables] = maps(9);
        let costs = [0, 1, 8, 9].map(maps);
        assert_eq!(costs, [[0, 0, tables], [0, 1, tables], [0, 1, tables], [1, 2, tables]]);
        mm.vunmap(mm.vmap(&held, DATA, RAM).expect("memory"));
        mm.vunmap(mm.vmap_pfn(&bare, Io::MEMORY).expect("memory"));
        mm.unmap_aliases();
        let before = published();
        let mut scope = mm.defer_barriers();
        let first = scope.vmap(&held, DATA, RAM).expect("room");
        let second = scope.vmap_pfn(&bare, Io::MEMORY).expect("room");
        let map = &mut mapping(part.start, &held);
        scope.apply_to_existing_page_range(&reserved, part, map).expect("tables");
        drop(scope);
        assert_eq!(published() - before, 1);
        for area in [first, second, reserved] {
            store_and_load(&world, area.range().end - 8, 1);
            mm.vunmap(area);
        }
        give_back(mm, held);
        assert_eq!(world.verdict(), None);
    }
}

/// What `scenario` finds on one of some machines that differ in their dice.
fn with_dice(scenario: impl Fn(u64) -> Option<String>) -> Option<String> {
    (1..60).find_map(scenario)
}

/// A CPU that has walked for a page ahead of its program goes by what it found until its context is synchronised.
fn uses(world: &SimWorld, va: VirtAddr) {
    world.mm().hw.machine().kernel_load(va, Known::Before);
}

/// The third of five pages is there already: the two before it can be used, and so can what is mapped later.
#[test]
fn what_comes_before_an_error_can_be_used() {
    let scenario = |mutant| {
        with_dice(|seed| {
            let world = opened(Config { seed, cpus: 1, pages: 1024, ..Config::default() });
            let (mm, machine) = (world.mm(), world.mm().hw.machine());
            mm.arm(mutant);
            let held = frames(mm, 5);
            let area = mm.reserve_area(5 * PAGE_SIZE, PAGE_SIZE).expect("room");
            let (start, third) = (area.range().start, area.range().start + 2 * PAGE_SIZE);
            let one = abi::VirtRange::from_size(third, PAGE_SIZE);
            mm.apply_to_page_range(&area, one, &mut mapping(start, &held)).expect("memory");
            let later = area.range().end + PAGE_SIZE;
            for va in [start, later] {
                machine.prefetch(va);
            }
            let result = mm.apply_to_page_range(&area, area.range(), &mut mapping(start, &held));
            assert_eq!(result, Err(ApplyError::Occupied(third)));
            uses(&world, start);
            let next = mm.vmap(&held, DATA, RAM).expect("memory");
            assert_eq!(next.range().start, later);
            uses(&world, later);
            [next, area].into_iter().for_each(|area| mm.vunmap(area));
            give_back(mm, held);
            world.verdict()
        })
    };
    misses(scenario, &[Mutant::KernelMapUnsynced]);
}

/// A thread has stored its first entry, and an interrupt comes that maps a page and uses it.
#[test]
fn an_interrupt_pays_for_itself() {
    let scenario = |mutant| {
        with_dice(|seed| {
            let world = opened(Config { seed, cpus: 1, pages: 1024, ..Config::default() });
            let (mm, machine) = (world.mm(), world.mm().hw.machine());
            mm.arm(mutant);
            let held = frames(mm, 5);
            let [debug, area] =
                [1, 4].map(|pages| mm.reserve_area(pages * PAGE_SIZE, PAGE_SIZE).expect("room"));
            let at = debug.range().start;
            let tables = &mut |_, _| Ok::<_, Infallible>(PageChange::Keep);
            mm.apply_to_page_range(&debug, debug.range(), tables).expect("memory");
            machine.prefetch(at);
            let interrupt = || {
                let (range, map) = (debug.range(), &mut mapping(at, &held));
                mm.apply_to_existing_page_range(&debug, range, map).expect("a table");
                uses(&world, at);
            };
            let (start, mut asked) = (area.range().start, 0);
            let result = mm.apply_to_page_range(&area, area.range(), &mut |va, _| {
                asked += 1;
                if asked == 2 {
                    interrupt();
                }
                Ok::<_, Infallible>(PageChange::Map(
                    held[((va - start) / PAGE_SIZE) as usize],
                    DATA,
                    RAM,
                ))
            });
            assert_eq!(result, Ok(()));
            uses(&world, start);
            [debug, area].into_iter().for_each(|area| mm.vunmap(area));
            give_back(mm, held);
            world.verdict()
        })
    };
    misses(scenario, &[Mutant::BarriersLeftToInterrupted]);
}

// --- copies --------------------------------------------------------------------------------------

/// A machine of two CPUs on which each space has its own first level.
fn copied(seed: u64) -> SimWorld {
    opened(Config { cpus: 2, pages: 3072, copied: true, bare: BARE, seed, ..Config::default() })
}

/// What spaces lack of the kernel's first level, or what else is wrong.
fn lacking<H: Simulated>(world: &SimWorld<H>) -> Option<String> {
    let differing = world.mm().hw.machine().differing_copy();
    let what = |va| format!("a space's own table differs from the kernel's at {va}");
    world.verdict().or_else(|| differing.map(what))
}

/// Loads from a kernel address in a space: whoever is wrong is told by the machine.
fn visit(world: &SimWorld, space: &Space<'_, Machine>, va: VirtAddr) {
    world.inside(space, &mut || {
        world.kernel_load(va);
    });
}

/// Where no table leads yet.
fn far(world: &SimWorld, pages: u64) -> Area {
    world.mm().reserve_area(pages * PAGE_SIZE, Level::Pgd.span()).expect("room")
}

/// Each way to map something begins where no first-level entry is: it gets to spaces that were there before, and to
/// those that come after, and when it fails half way too.
#[test]
fn every_space_leads_to_what_was_mapped() {
    let scenario = |mutant| {
        let world = copied(1);
        let mm = world.mm();
        mm.arm(mutant);
        let held = frames(mm, 3);
        let space = Space::new(mm).expect("memory");
        let check = |va: VirtAddr| {
            visit(&world, &space, va);
            lacking(&world)
        };
        let whole = far(&world, 3);
        let at = whole.range();
        mm.apply_to_page_range(&whole, at, &mut mapping(at.start, &held)).expect("memory");
        let mut found = check(at.start);
        let part = far(&world, 3);
        let at = part.range();
        let third = at.start + 2 * PAGE_SIZE;
        let result = mm.apply_to_page_range(&part, at, &mut |va, _| {
            if va == third { Err("no more") } else { Ok(PageChange::Map(held[0], DATA, RAM)) }
        });
        assert_eq!(result, Err(ApplyError::Refused(third, "no more")));
        found = found.or_else(|| check(at.start));
        let memory = mm.vmalloc_aligned(PAGE_SIZE, Level::Pgd.span(), Default::default());
        let memory = memory.expect("memory");
        found = found.or_else(|| check(memory.range().start));
        let late = Space::new(mm).expect("memory");
        visit(&world, &late, memory.range().start);
        mm.vfree(memory);
        [whole, part].into_iter().for_each(|area| mm.vunmap(area));
        give_back(mm, held);
        found.or_else(|| lacking(&world))
    };
    misses(scenario, &[Mutant::KernelSyncSkipsError, Mutant::KernelSyncUntracked]);
}

/// A mapping that fails at its first entry has linked tables all the same, and whoever maps there next links none.
#[test]
fn tables_of_what_failed_are_in_every_space() {
    let scenario = |mutant| {
        let world = copied(2);
        let mm = world.mm();
        mm.arm(mutant);
        let (bare, managed) = (bare(&world), frames(mm, 1));
        let space = Space::new(mm).expect("memory");
        // The first mapping of all.
        let refused = mm.vmap_pfn(&[bare[0], managed[0]], Io::MEMORY);
        assert_eq!(refused, Err(VmallocError::Managed(managed[0])));
        let area = mm.vmap_pfn(&bare, Io::MEMORY).expect("memory");
        visit(&world, &space, area.range().start);
        mm.vunmap(area);
        give_back(mm, managed);
        lacking(&world)
    };
    misses(scenario, &[Mutant::KernelSyncSkipsError, Mutant::KernelSyncUntracked]);
}

/// A CPU finds tables that another has just linked, and its mapping is used before the other's.
#[test]
fn who_finds_a_table_brings_it_along() {
    let scenario = |mutant| {
        at_each_step(1, |steps| {
            let world = copied(steps);
            let mm = world.mm();
            mm.arm(mutant);
            let held = frames(mm, 2);
            let space = Space::new(mm).expect("memory");
            let map = |pfn: Pfn| {
                let area = mm.vmap(&[pfn], DATA, RAM).expect("memory");
                visit(&world, &space, area.range().start);
                mm.vunmap(area);
            };
            let went = world.intrude(steps, &|| map(held[0]), &|| map(held[1]));
            give_back(mm, held);
            match lacking(&world) {
                Some(what) => Some(Err(what)),
                None => went.then_some(Ok(())),
            }
        })
    };
    misses(scenario, &[Mutant::KernelSyncOvertaken]);
}

// --- the workload --------------------------------------------------------------------------------

/// What the workload, its judge or a look at the copies says.
fn played<H: Simulated>(world: &SimWorld<H>, seed: u64) -> Option<String> {
    let options = Options { cpus: world.cpus(), limit: Limit::Rounds(12), seed, bytes: 64 << 10 };
    let (mut report, name) = (String::new(), "vmap-sync");
    let summary = stress::run_all(world, options, &|n| n == name, &mut report, &mut |_, _, _| {});
    let failed = summary.expect("writing to a string works").failed > 0;
    lacking(world).or_else(|| failed.then_some(report))
}

#[test]
fn the_workload_is_silent_and_finds_the_bugs() {
    let config = |caps, copied, seed| {
        let pages = if copied { 3072 } else { 2048 };
        Config { cpus: 3, caps, copied, bare: BARE, pages, seed, ..Config::default() }
    };
    for (caps, seed) in [(Caps::CORTEX_A72, 1), (Caps::MAX, 2), (Caps::CORTEX_A72, 3)] {
        assert_eq!(played(&opened(config(caps, false, seed)), seed), None, "seed {seed}");
        assert_eq!(played(&opened(config(caps, true, seed)), seed), None, "copied, seed {seed}");
        assert_eq!(played(&watched(config(caps, false, seed)), seed), None, "watched, seed {seed}");
    }
    let homes = [
        (Mutant::KernelMapUnsynced, false),
        (Mutant::BarriersLeftToInterrupted, false),
        (Mutant::VmapPfnManaged, false),
        (Mutant::KernelSyncSkipsError, true),
        (Mutant::KernelSyncUntracked, true),
    ];
    for (mutant, copied) in homes {
        let found = (1..40).find_map(|seed| {
            let world = opened(config(Caps::CORTEX_A72, copied, seed));
            world.mm().arm(Some(mutant));
            played(&world, seed)
        });
        println!("{}: {}", mutant.name(), found.unwrap_or_else(|| panic!("{mutant:?}")));
    }
}
