//! What it costs to make a change visible, as laws: which TLB operations and barriers each change
//! takes, and no more.

use crate::common::{Untouched, machines};
use abi::{Access, Event, PAGE_SIZE, PMD_SIZE, PUD_SIZE, Prot, VirtAddr, VirtRange};
use granule_machine::{Config, Machine, SimWorld};
use mm::thp::Policy;
use mm::{FaultOutcome, Huge, Place, Space};
use std::sync::Mutex;
use stress::World;
use sync::Class;

/// A boundary of every level.
const VA: VirtAddr = VirtAddr(1 << 40);
const RW: Prot = Prot::ReadWrite;

/// All that a flush can be made of.
const PARTS: [Event; 8] = [
    Event::TlbiVa,
    Event::TlbiVaLast,
    Event::TlbiRange,
    Event::TlbiAsid,
    Event::TlbiAll,
    Event::TlbiLocal,
    Event::DsbPublish,
    Event::DsbComplete,
];

/// Which of them a change takes, and how many.
fn cost(world: &SimWorld, change: impl FnOnce()) -> Vec<(Event, u64)> {
    let now = || PARTS.map(|event| world.mm().stats.total(event));
    let before = now();
    change();
    let after = now();
    (0..PARTS.len())
        .map(|n| (PARTS[n], after[n] - before[n]))
        .filter(|(_, count)| *count > 0)
        .collect()
}

/// How many operations a cost has that reach other CPUs.
fn operations(cost: &[(Event, u64)]) -> u64 {
    let barriers = [Event::DsbPublish, Event::DsbComplete, Event::TlbiLocal];
    cost.iter().filter(|(event, _)| !barriers.contains(event)).map(|(_, count)| count).sum()
}

fn at(page: u64, pages: u64) -> VirtRange {
    VirtRange::from_size(VA + page * PAGE_SIZE, pages * PAGE_SIZE)
}

/// A space that has run and in which every page of `touched` was written.
fn populated<'w>(
    world: &'w SimWorld,
    area: VirtRange,
    huge: Huge,
    touched: impl IntoIterator<Item = u64>,
) -> Space<'w, Machine> {
    let space = Space::new(world.mm()).expect("memory");
    space.map(Place::At(area.start), area.bytes(), RW, huge).expect("free");
    world.inside(&space, &mut || ());
    for page in touched {
        let outcome = space.fault(VA + page * PAGE_SIZE, Access::Write);
        assert!(matches!(outcome, FaultOutcome::Mapped | FaultOutcome::Spurious));
    }
    space
}

#[test]
fn one_page_takes_one_operation_and_two_barriers() {
    for config in machines() {
        let world = SimWorld::new(config);
        let space = populated(&world, at(0, 8), Huge::Never, 0..8);
        for page in [3, 0, 5] {
            let cost = cost(&world, || space.unmap(at(page, 1)).expect("memory"));
            let one = |event| (event, 1);
            let parts =
                [Event::TlbiVaLast, Event::TlbiLocal, Event::DsbPublish, Event::DsbComplete];
            assert_eq!(cost, parts.map(one), "page {page} of {config:?}");
        }
    }
}

/// With the last page of a table goes the table: then walk caches have to forget it, which a
/// last-level operation leaves undone.
#[test]
fn the_last_page_of_a_table_takes_its_walks_along() {
    for config in machines() {
        let world = SimWorld::new(config);
        let untouched = Untouched::new(&world);
        let space = populated(&world, at(0, 2), Huge::Never, 0..2);
        let first = cost(&world, || space.unmap(at(0, 1)).expect("memory"));
        assert!(first.contains(&(Event::TlbiVaLast, 1)));
        let last = cost(&world, || space.unmap(at(1, 1)).expect("memory"));
        let parts = [Event::TlbiVa, Event::TlbiLocal, Event::DsbPublish, Event::DsbComplete];
        assert_eq!(last, parts.map(|event| (event, 1)));
        assert_eq!(world.mm().stats.total(Event::WalkerGrace), 0, "nobody was in the way");
        drop(space);
        untouched.check(&world);
    }
}

/// A space that one CPU runs, whichever, is flushed there; one that two have run, on both.
#[test]
fn a_flush_goes_as_far_as_the_space_has_been() {
    for config in machines() {
        for mask in 1..8_usize {
            let world = SimWorld::new(Config { cpus: 3, ..config });
            let space = Space::new(world.mm()).expect("memory");
            space.map(Place::At(VA), PMD_SIZE, RW, Huge::Never).expect("free");
            let ran = |cpu: usize| mask >> cpu & 1 != 0;
            let enter = |cpu| {
                if ran(cpu) {
                    world.inside(&space, &mut || {
                        for page in [0, 299] {
                            world.store(&space, VA + page * PAGE_SIZE, 1).expect("memory");
                        }
                    });
                }
            };
            world.run(3, &enter, &mut || ());
            let found = Mutex::new(Vec::new());
            let unmap = |cpu| {
                if cpu == mask.ilog2() as usize {
                    let cost = cost(&world, || space.unmap(at(0, 300)).expect("memory"));
                    *found.lock().expect("one at a time") = cost;
                }
            };
            world.run(3, &unmap, &mut || ());
            let found = found.into_inner().expect("one at a time");
            let local = found.iter().any(|(event, _)| *event == Event::TlbiLocal);
            assert!(
                operations(&found) > 0 && local == mask.is_power_of_two(),
                "{mask:b}: {found:?}"
            );
            // Nobody finds what was freed.
            let again = |cpu| {
                if ran(cpu) {
                    world.inside(&space, &mut || ());
                }
            };
            world.run(3, &again, &mut || ());
            assert_eq!(world.violation(), None, "{mask:b}");
        }
    }
}

#[test]
fn what_no_cpu_can_have_cached_is_not_flushed() {
    for config in machines() {
        let world = SimWorld::new(config);
        let untouched = Untouched::new(&world);
        // A space that never ran, with small pages and a huge one.
        let space = Space::new(world.mm()).expect("memory");
        space.map(Place::At(VA), 4 * PMD_SIZE, RW, Huge::Default).expect("free");
        assert_eq!(space.fault(VA, Access::Write), FaultOutcome::Mapped);
        for range in [at(7, 1), at(100, 600), at(0, 2048)] {
            let cost = cost(&world, || space.unmap(range).expect("memory"));
            assert_eq!(operations(&cost), 0, "{range}: {cost:?}");
            assert!(!cost.iter().any(|(event, _)| *event == Event::DsbComplete), "{cost:?}");
        }
        assert_eq!(cost(&world, || drop(space)), []);
        // A space that ran, where nothing was touched.
        let space = populated(&world, at(0, 2048), Huge::Default, []);
        for range in [at(7, 1), at(8, 600), at(0, 2048), at(5000, 9)] {
            assert_eq!(cost(&world, || space.unmap(range).expect("memory")), [], "{range}");
        }
        drop(space);
        untouched.check(&world);
    }
}

#[test]
fn faults_take_no_operation_that_others_feel() {
    for config in machines() {
        let world = SimWorld::new(config);
        let space = populated(&world, at(0, 1024), Huge::Default, []);
        let mut found = Vec::new();
        world.inside(&space, &mut || {
            found = cost(&world, || {
                for page in [0, 1, 511, 512, 700] {
                    let va = VA + page * PAGE_SIZE;
                    world.load(&space, va).expect("mapped");
                    world.store(&space, va, 1).expect("mapped");
                }
            });
        });
        let local = found.iter().find(|(event, _)| *event == Event::TlbiLocal);
        let local = local.map_or(0, |(_, count)| *count);
        assert_eq!(operations(&found), local, "all stayed on this CPU: {found:?}");
        // Of its own translations a CPU drops those that deny what the entry permits by now.
        assert!(config.caps.hw_dirty || local >= 2, "{found:?}");
    }
}

/// A flush of much costs no more than one of everything.
#[test]
fn a_gibibyte_takes_a_handful() {
    for config in machines() {
        let world = SimWorld::new(config);
        let untouched = Untouched::new(&world);
        let pages = PUD_SIZE / PAGE_SIZE;
        let space = populated(&world, at(0, pages), Huge::Never, [0, 5, 77_777, pages - 1]);
        let cost = cost(&world, || space.unmap(at(0, pages)).expect("memory"));
        let few = cost.iter().any(|(event, count)| match event {
            Event::TlbiAsid => *count == 1,
            Event::TlbiRange => config.caps.tlb_range && *count <= 5,
            _ => false,
        });
        assert!(few && operations(&cost) <= 5, "{cost:?}");
        assert_eq!(world.mm().stats.total(Event::TlbGather), 1);
        drop(space);
        untouched.check(&world);
    }
}

/// One operation for each page or a few by range; beyond the break-even of a CPU without ranges, one
/// for everything.
#[test]
fn many_pages_take_one_operation_each_or_a_few_ranges() {
    for config in machines() {
        let world = SimWorld::new(config);
        let space = populated(&world, at(0, 512), Huge::Never, 0..512);
        // The CPU has each of them.
        world.inside(&space, &mut || {
            for page in 0..512 {
                world.load(&space, VA + page * PAGE_SIZE).expect("mapped");
            }
        });
        for (first, pages) in [(0, 2), (10, 7), (20, 64), (100, 300), (401, 111)] {
            let cost = cost(&world, || space.unmap(at(first, pages)).expect("memory"));
            let operations = operations(&cost);
            if config.caps.tlb_range {
                assert!(operations <= 4, "{pages} pages: {cost:?}");
            } else if pages < u64::from(world.mm().cost.max_ops) {
                assert_eq!(cost[0], (Event::TlbiVaLast, pages));
                assert_eq!(operations, pages);
            } else {
                assert_eq!(cost[0], (Event::TlbiAsid, 1));
                assert_eq!(operations, 1);
            }
            let parts = [Event::TlbiLocal, Event::DsbPublish, Event::DsbComplete];
            let counts = [operations, 1, 1];
            // One CPU: all of it stays there.
            let rest: Vec<_> = parts.into_iter().zip(counts).collect();
            assert_eq!(cost[cost.len() - 3..], rest, "{cost:?}");
            // Nothing of what was freed is there when the CPU goes on.
            world.inside(&space, &mut || ());
            assert_eq!(world.violation(), None);
        }
    }
}

#[test]
fn a_whole_huge_page_takes_one_operation() {
    for config in machines() {
        let world = SimWorld::new(config);
        let space = populated(&world, at(0, 3 * 512), Huge::Default, [0, 512, 1024]);
        assert_eq!(world.mm().stats.total(Event::ThpFaultAlloc), 3);
        let cost = cost(&world, || space.unmap(at(512, 512)).expect("memory"));
        let parts = [Event::TlbiVaLast, Event::TlbiLocal, Event::DsbPublish, Event::DsbComplete];
        assert_eq!(cost, parts.map(|event| (event, 1)));
        assert_eq!(world.mm().stats.total(Event::ThpSplitPmd), 0);
    }
}

/// A split breaks the block with one operation, and leaves contiguous sets. To cut one costs its break, once:
/// a CPU may have any of its sixteen entries by itself, so that is one operation each, or a range.
#[test]
fn a_split_takes_one_operation_and_a_cut_set_its_own() {
    for config in machines() {
        let world = SimWorld::new(config);
        let untouched = Untouched::new(&world);
        let space = populated(&world, at(0, 2 * 512), Huge::Default, [0, 512]);
        let split = cost(&world, || space.split_block(VA));
        // The break, the new entries and the new table are published, in that order.
        let once = [Event::TlbiVaLast, Event::TlbiLocal].map(|event| (event, 1));
        assert_eq!(split[..2], once);
        assert_eq!(split[2..], [(Event::DsbPublish, 3), (Event::DsbComplete, 1)]);
        assert_eq!(world.mm().stats.total(Event::ThpSplitPmd), 1);
        let set = if config.caps.tlb_range { 1 } else { 16 };
        for (page, expected) in [(100, set + 1), (101, 1), (200, set + 1), (201, 1)] {
            let cut = cost(&world, || space.unmap(at(page, 1)).expect("memory"));
            assert_eq!(operations(&cut), expected, "page {page}: {cut:?}");
        }
        assert_eq!(world.mm().stats.total(Event::ThpSplitPmd), 1);
        // The end of one and the start of the next: only the next is still to be split.
        let across = cost(&world, || space.unmap(at(511, 2)).expect("memory"));
        assert!(operations(&across) <= 2 * set + 3, "{across:?}");
        assert_eq!(world.mm().stats.total(Event::ThpSplitPmd), 2);
        drop(space);
        untouched.check(&world);
    }
}

#[test]
fn a_space_that_ran_goes_with_one_operation() {
    for config in machines() {
        let world = SimWorld::new(config);
        let space = populated(&world, at(0, 2048), Huge::Default, [0, 1, 600, 2047]);
        let cost = cost(&world, || drop(space));
        let parts = [Event::TlbiAsid, Event::DsbPublish, Event::DsbComplete];
        assert_eq!(cost, parts.map(|event| (event, 1)));
    }
}

/// Pages that one space alone maps are gathered without end, in their own descriptors: one flush.
#[test]
fn a_gather_of_exclusive_pages_is_never_full() {
    for config in machines() {
        let world = SimWorld::new(config);
        let untouched = Untouched::new(&world);
        // Two tables, each kept by a page at its far end.
        let space = populated(&world, at(0, 1024), Huge::Never, 0..1024);
        let cost = cost(&world, || space.unmap(at(1, 1022)).expect("memory"));
        assert_eq!(world.mm().stats.total(Event::TlbGather), 1);
        assert!(cost.ends_with(&[(Event::DsbPublish, 1), (Event::DsbComplete, 1)]), "{cost:?}");
        if !config.caps.tlb_range {
            assert_eq!(cost[..1], [(Event::TlbiAsid, 1)]);
        }
        drop(space);
        untouched.check(&world);
    }
}

/// Pages that somebody else maps too are kept in a list: four, and a page full of others. One more, and the gather
/// flushes in between.
#[test]
fn a_gather_of_shared_pages_flushes_when_its_list_is_full() {
    for config in machines() {
        let world = SimWorld::new(Config { pages: 3072, ..config });
        let untouched = Untouched::new(&world);
        // Three tables, each kept by a page that stays.
        let space = populated(&world, at(0, 1536), Huge::Never, 0..1536);
        let child = space.fork().expect("memory");
        let gathers = || world.mm().stats.total(Event::TlbGather);
        for (first, pages, flushes) in [(1, 4 + 512, 1), (518, 4 + 512 + 1, 2), (1100, 4, 1)] {
            let before = gathers();
            space.unmap(at(first, pages)).expect("memory");
            assert_eq!(gathers() - before, flushes, "{pages} pages");
        }
        drop((space, child));
        untouched.check(&world);
    }
}

/// A folio goes back by as many entries as mapped it, whatever its size and whoever goes with it.
#[test]
fn folios_that_go_together_are_counted_one_by_one() {
    for config in machines() {
        let world = SimWorld::new(config);
        world.mm().thp.set_enabled(Policy::Never);
        world.mm().thp.set_enabled_64k(Some(Policy::Always));
        let untouched = Untouched::new(&world);
        let space = populated(&world, at(0, 512), Huge::Default, 0..512);
        let taken = world.mm().stats.total(Event::PgAlloc);
        // What is left of one folio is one page, which goes with all of another; then a part of one with all of
        // another, and eight whole ones. What lacks its first pages goes with the table, beside its neighbour.
        for (first, pages) in [(16, 15), (31, 17), (50, 30), (80, 3), (112, 128), (432, 3)] {
            space.unmap(at(first, pages)).expect("memory");
        }
        assert_eq!(
            world.mm().stats.total(Event::PgAlloc),
            taken,
            "no list, they are nobody else's"
        );
        drop(space);
        untouched.check(&world);
    }
}

/// Whole huge pages of a GiB go like its small ones: a few ranges, or one operation for the space.
#[test]
fn a_gibibyte_of_huge_pages_takes_a_handful() {
    for config in machines() {
        let world = SimWorld::new(config);
        let untouched = Untouched::new(&world);
        let pages = PUD_SIZE / PAGE_SIZE;
        let touched = [0, 512, 77 * 512, pages - 512];
        let space = populated(&world, at(0, pages), Huge::Default, touched);
        assert_eq!(world.mm().stats.total(Event::ThpFaultAlloc), 4);
        let cost = cost(&world, || space.unmap(at(0, pages)).expect("memory"));
        assert!(operations(&cost) <= 5, "{cost:?}");
        assert!(cost.contains(&(Event::DsbComplete, 1)), "{cost:?}");
        drop(space);
        untouched.check(&world);
    }
}

/// Rights that are taken away cost one flush, however many pages there are; rights that are given cost
/// none: who has not noticed faults, and finds it.
#[test]
fn rights_are_taken_with_one_flush_and_given_with_none() {
    for config in machines() {
        for (huge, pages, most) in
            [(Huge::Never, 1, 1), (Huge::Never, 64, 64), (Huge::Default, 512, 1)]
        {
            let world = SimWorld::new(config);
            let all = if huge == Huge::Never { 0..pages } else { 0..1 };
            let space = populated(&world, at(0, 1024), huge, all);
            let taken = cost(&world, || space.protect(at(0, pages), Prot::Read).expect("memory"));
            let most = if config.caps.tlb_range { most.min(4) } else { most };
            assert!((1..=most).contains(&operations(&taken)), "{pages} pages: {taken:?}");
            assert!(taken.contains(&(Event::DsbComplete, 1)), "{taken:?}");
            let given = cost(&world, || space.protect(at(0, pages), RW).expect("memory"));
            assert_eq!(operations(&given), 0, "{given:?}");
        }
    }
}

/// A fork write-protects with one flush. A second one finds nothing writable, and flushes nothing.
#[test]
fn a_fork_takes_one_flush_and_the_next_one_none() {
    for config in machines() {
        let world = SimWorld::new(config);
        let untouched = Untouched::new(&world);
        let space = populated(&world, at(0, 2048), Huge::Default, [0, 600, 1024]);
        let mut children = Vec::new();
        let first = cost(&world, || children.push(space.fork().expect("memory")));
        assert!((1..=5).contains(&operations(&first)), "{first:?}");
        assert!(first.contains(&(Event::DsbComplete, 1)), "{first:?}");
        let second = cost(&world, || children.push(space.fork().expect("memory")));
        assert_eq!(operations(&second), 0, "{second:?}");
        drop((children, space));
        untouched.check(&world);
    }
}

/// A fault that finds its table there, and a page in stock, takes the table's lock and no other that
/// somebody else may want; the zone's once for a whole stock.
#[test]
fn a_fault_takes_no_lock_that_others_want() {
    for config in machines() {
        let world = SimWorld::new(config);
        let space = populated(&world, at(0, 512), Huge::Never, 0..8);
        let taken = |class| world.mm().hw.locks_taken(class);
        let shared =
            [Class::Asid, Class::Family, Class::PmdTable, Class::DeferredSplit, Class::Heap];
        let now = || (shared.map(taken), taken(Class::PteTable), taken(Class::Zone));
        let before = now();
        for page in 8..512 {
            assert_eq!(space.fault(VA + page * PAGE_SIZE, Access::Write), FaultOutcome::Mapped);
        }
        let after = now();
        assert_eq!(after.0, before.0, "{shared:?}");
        assert_eq!(after.1 - before.1, 504, "one for each fault");
        assert!(after.2 - before.2 <= 504 / 16, "{} times the zone's", after.2 - before.2);
    }
}
