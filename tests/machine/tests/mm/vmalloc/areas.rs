//! Kernel mappings that come and go, on the model machine: addresses and frames are somebody's, or nobody's and in no
//! TLB, whatever comes in between.

use crate::common::machines;
use crate::common::races::{at_each_step, misses};
use abi::{Event, Order, PAGE_SIZE, Pfn, PhysAddr, PhysRange, VirtAddr};
use granule_machine::{Config, Known, SimWorld, Simulated};
use mm::dump::Half;
use mm::mutant::Mutant;
use mm::vmalloc::{Area, Backing, Io};
use mm::{Hardware, Note, VmallocError};
use pte::{KernelProt, MemType};
use std::sync::Mutex;
use stress::{Rng, World};

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
            .map(|pages| mm.vmalloc(pages * PAGE_SIZE, Backing::Pages).expect("memory"))
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

/// The leaves that are members of contiguous sets, and the others, of what the kernel maps where mappings come and go.
fn members<H: Simulated>(world: &SimWorld<H>, area: &Area) -> (u64, u64) {
    let mm = world.mm();
    let (mut sets, mut pages) = (0, 0);
    mm.dump(mm.vmalloc_root(), Half::Kernel, &mut |region| {
        if area.range().contains(region.start) {
            let count = if region.first.is_contiguous() { &mut sets } else { &mut pages };
            *count += region.bytes / PAGE_SIZE;
        }
    });
    (sets, pages)
}

fn goes_by_sets<H: Simulated>(world: &SimWorld<H>) {
    let mm = world.mm();
    let free = || mm.frames.free_pages(&mm.hw) + mm.vmalloc_tables();
    let before = free();
    for round in 0..3 {
        for (pages, wanted) in [(15, (0, 15)), (16, (16, 0)), (100, (96, 4)), (511, (496, 15))] {
            let area = mm.vmalloc(pages * PAGE_SIZE, Backing::Huge).expect("memory");
            assert_eq!(members(world, &area), wanted, "of {pages} pages");
            use_all(world, &area, round << 32);
            world.mm().hw.machine().on(1, || use_all(world, &area, round << 33));
            mm.vfree(area);
        }
        // The same addresses by pages, in between.
        let area = mm.vmalloc_aligned(16 * PAGE_SIZE, 16 * PAGE_SIZE, Backing::Pages);
        let area = area.expect("memory");
        assert_eq!(members(world, &area), (0, 16));
        use_all(world, &area, 7);
        mm.vfree(area);
        mm.unmap_aliases();
    }
    assert_eq!(free(), before);
    assert_eq!(world.verdict(), None);
}

#[test]
fn sixteen_pages_are_a_contiguous_set_where_they_can_be() {
    for config in machines().map(|config| Config { cpus: 2, ..config }) {
        goes_by_sets(&opened(config));
        goes_by_sets(&watched(config));
    }
}

/// One CPU maps sets, another takes them back, and at each of its steps the first releases a lock that has nothing to do
/// with them.
fn sets_go_elsewhere<H: Simulated>(open: impl Fn(Config) -> SimWorld<H>) {
    for steps in 0.. {
        let world = open(Config { cpus: 2, pages: 2048, ..Config::default() });
        let mm = world.mm();
        let area = Mutex::new(None);
        let take = || mm.vmalloc(32 * PAGE_SIZE, Backing::Huge).expect("memory");
        mm.hw.machine().on(1, || *area.lock().expect("alone") = Some(take()));
        let give = || {
            let area = area.lock().expect("alone").take();
            area.into_iter().for_each(|area| mm.vfree(area));
        };
        // It needs a table.
        let links = || mm.vfree(mm.vmalloc(513 * PAGE_SIZE, Backing::Pages).expect("memory"));
        let went_on = world.intrude(steps, &give, &links);
        assert_eq!(world.verdict(), None, "after step {steps}");
        if !went_on {
            assert!(steps > 32, "{steps} steps show nothing");
            break;
        }
    }
}

#[test]
fn a_set_is_taken_back_on_whatever_cpu() {
    sets_go_elsewhere(opened);
    sets_go_elsewhere(watched);
}

/// A set of which one member is not like the others, told of.
fn tells_of_half_a_set<H: Simulated>(world: &SimWorld<H>, member: Option<u64>) -> Option<String> {
    let mm = world.mm();
    let area = mm.vmalloc(32 * PAGE_SIZE, Backing::Huge).expect("memory");
    let mut slot = None;
    let at = area.range().start + member.unwrap_or(0) * PAGE_SIZE;
    mm.walk(mm.vmalloc_root(), at, |_, at, _, _| slot = Some(at));
    if let (Some(_), Some(slot)) = (member, slot) {
        mm.hw.store(slot, 0);
    }
    mm.hw.note(Note::Done(mm.vmalloc_root(), area.range()));
    world.verdict()
}

#[test]
fn a_set_that_is_not_whole_is_found_when_it_is_told_of() {
    let config = Config { cpus: 1, ..Config::default() };
    assert_eq!(tells_of_half_a_set(&opened(config), None), None);
    assert_eq!(tells_of_half_a_set(&watched(config), None), None);
    for member in [0, 9, 15, 31] {
        let found = tells_of_half_a_set(&opened(config), Some(member)).expect("a judge");
        assert!(found.contains("is mixed"), "{found}");
        let found = tells_of_half_a_set(&watched(config), Some(member)).expect("a judge");
        assert!(found.contains("mixed-run"), "{found}");
    }
}

#[test]
fn frames_of_others_are_mapped_in_their_order() {
    for config in machines() {
        let world = opened(config);
        let mm = world.mm();
        let frames: Vec<Pfn> =
            (0..600).map(|_| mm.alloc(Order::PAGE).expect("memory")).rev().collect();
        let area = mm.vmap(&frames, KernelProt::Data, MemType::Normal).expect("memory");
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
    // No such thing either where a block's alignment would do for it, or a page's.
    for (align, backing) in [(3, Backing::Pages), (0, Backing::Pages), (24 << 10, Backing::Huge)] {
        let refused = mm.vmalloc_aligned(4 << 20, align, backing);
        assert_eq!(refused, Err(VmallocError::Alignment(align)));
    }
    let all = mm.vmalloc(u64::MAX, Backing::Pages);
    assert!(matches!(all, Err(VmallocError::NoRoom { .. })), "{all:?}");
    // Frames that no descriptor can name, among others.
    let page = mm.alloc(Order::PAGE).expect("there is room");
    for beyond in [1 << 36, 1 << 40, 1 << 52, u64::MAX].map(Pfn) {
        for nr in [1, 3, 65] {
            let mut frames = vec![page; nr];
            frames[nr / 2] = beyond;
            let unmappable = Some(VmallocError::Unmappable(beyond.base()));
            let map = mm.vmap(&frames, KernelProt::Data, MemType::Normal);
            assert_eq!(map.err(), unmappable, "{nr} pages");
            let map = mm.vm_map_ram(&frames, KernelProt::Data, MemType::Normal);
            assert_eq!(map.err(), unmappable, "{nr} pages");
        }
    }
    mm.free(page);
    // The space has some GiB; the machine's memory less.
    let free = mm.frames.free_pages(&mm.hw) + mm.vmalloc_tables();
    let more = mm.vmalloc((free + 1) * PAGE_SIZE, Backing::Pages);
    assert!(matches!(more, Err(VmallocError::OutOfMemory(_))), "{more:?}");
    assert_eq!(mm.frames.free_pages(&mm.hw) + mm.vmalloc_tables(), free);
    assert_eq!(world.verdict(), None);
}

/// Two ask for addresses where there are just enough for both: neither is refused, whatever the other one has at that
/// moment to keep ready.
#[test]
fn the_last_addresses_are_found() {
    for sizes in [(1, 3), (3, 1)] {
        for steps in 0.. {
            let world = opened(Config { cpus: 2, pages: 1024, ..Config::default() });
            let mm = world.mm();
            let page = mm.alloc(Order::PAGE).expect("there is room");
            let map = |pages: usize| mm.vmap(&vec![page; pages], KernelProt::Data, MemType::Normal);
            // Sixteen areas of the smaller size would leave too little for one of the other.
            let most = (mm.vmalloc_space().pages() - 1 - 34) * PAGE_SIZE;
            let most = mm.ioremap(PhysRange::from_size(PhysAddr(1 << 40), most), Io::DEVICE);
            let found = [Mutex::new(None), Mutex::new(None)];
            let take = |n: usize, pages| *found[n].lock().expect("alone") = Some(map(pages));
            let went_on = world.intrude(steps, &|| take(0, sizes.0), &|| take(1, sizes.1));
            for area in found {
                let area = area.into_inner().expect("nobody panics").expect("it returned");
                mm.vunmap(area.unwrap_or_else(|error| panic!("{sizes:?} after {steps}: {error}")));
            }
            mm.iounmap(most.expect("there is room"));
            assert_eq!(world.verdict(), None, "{sizes:?} after {steps}");
            if !went_on {
                break;
            }
        }
    }
}

/// Who asks for more than there is takes it from nobody meanwhile.
#[test]
fn what_is_too_much_is_taken_from_nobody() {
    for backing in [Backing::Pages, Backing::Huge, Backing::Parted] {
        for steps in (0..).step_by(19) {
            let world = opened(Config { cpus: 2, pages: 2048, ..Config::default() });
            let mm = world.mm();
            let bytes = (mm.frames.free_pages(&mm.hw) + 1) * PAGE_SIZE;
            let work = || {
                let area = mm.vmalloc(bytes, backing);
                assert!(matches!(area, Err(VmallocError::OutOfMemory(_))), "{area:?}");
            };
            let others = || mm.free(mm.alloc(Order::PMD).expect("nobody has it"));
            let went_on = world.intrude(steps, &work, &others);
            assert_eq!(world.verdict(), None, "{backing:?} after step {steps}");
            if !went_on {
                break;
            }
        }
    }
}

/// What is wrong with either world after `story`.
fn judged(
    mutant: Option<Mutant>,
    plain: impl Fn(&SimWorld),
    watched_by: impl Fn(&SimWorld<mm::Sanitized<granule_machine::Machine>>),
) -> Option<String> {
    let config = Config { cpus: 2, pages: 3072, ..Config::default() };
    let world = opened(config);
    world.mm().arm(mutant);
    plain(&world);
    let world_watched = watched(config);
    world_watched.mm().arm(mutant);
    watched_by(&world_watched);
    world.verdict().or_else(|| world_watched.verdict())
}

/// Areas are given back and taken again, with and without a purge in between.
fn again<H: Simulated>(world: &SimWorld<H>) {
    let mm = world.mm();
    let mut held = Vec::new();
    for round in 0..24 {
        let pages = 1 + round % 3;
        let area = mm.vmalloc(pages * PAGE_SIZE, Backing::Pages).expect("there is room");
        let machine = mm.hw.machine();
        let last = area.range().end.0 - 8;
        // No look at the answer: whoever is wrong is told by a judge.
        machine.kernel_store(VirtAddr(last), Known::ByPointer, round);
        mm.vfree(area);
        // What comes to the same addresses next is other memory.
        held.push(mm.alloc(Order::PAGE).expect("there is room"));
        if round % 4 == 3 {
            mm.unmap_aliases();
        }
    }
    held.into_iter().for_each(|pfn| mm.free(pfn));
}

#[test]
fn addresses_come_back_flushed() {
    let scenario = |mutant| judged(mutant, again, again);
    misses(
        scenario,
        &[Mutant::VmallocReuseUnflushed, Mutant::PurgeOneShort, Mutant::LinkBeforeZero],
    );
}

/// A CPU that has walked for an address before it was mapped uses it as soon as it has it.
#[test]
fn what_is_handed_out_can_be_used() {
    let scenario = |mutant| {
        (1..40).find_map(|seed| {
            let world = opened(Config { seed, cpus: 1, pages: 1024, ..Config::default() });
            let mm = world.mm();
            mm.arm(mutant);
            let machine = mm.hw.machine();
            let before = mm.vmalloc(PAGE_SIZE, Backing::Pages).expect("there is room");
            // The areas behind it are ready by now.
            let next = before.range().end + PAGE_SIZE;
            machine.prefetch(next);
            let area = mm.vmalloc(PAGE_SIZE, Backing::Pages).expect("there is room");
            machine.kernel_load(area.range().start, Known::Before);
            mm.vfree(area);
            mm.vfree(before);
            world.verdict()
        })
    };
    misses(scenario, &[Mutant::VmallocUnsynchronized]);
}

/// A flush of everything comes while an area is given back: it may count for the area only if it began after the
/// descriptors were clear.
#[test]
fn a_flush_in_between_does_not_count() {
    let scenario = |mutant| {
        at_each_step(1, |steps| {
            let world = opened(Config { cpus: 2, pages: 3072, ..Config::default() });
            let mm = world.mm();
            mm.arm(mutant);
            // So large that everything is flushed.
            let take =
                |pages: u64| mm.vmalloc(pages * PAGE_SIZE, Backing::Pages).expect("there is room");
            let area = Mutex::new(Some(take(3)));
            let place =
                area.lock().expect("nobody panics with it").as_ref().map(|area| area.range().start);
            let all = || {
                let area = take(200);
                mm.vfree(area);
                mm.unmap_aliases();
            };
            all();
            let went = world.intrude(
                steps,
                &|| {
                    let area = area.lock().expect("nobody panics with it").take();
                    area.into_iter().for_each(|area| mm.vfree(area));
                },
                &all,
            );
            mm.unmap_aliases();
            let held: Vec<_> =
                (0..3).map(|_| mm.alloc(Order::PAGE).expect("there is room")).collect();
            // Until the same addresses come back.
            let more: Vec<_> = (0..64).map(|_| take(3)).collect();
            let back = more.iter().any(|area| Some(area.range().start) == place);
            more.into_iter().for_each(|area| mm.vfree(area));
            held.into_iter().for_each(|pfn| mm.free(pfn));
            match world.verdict() {
                Some(what) => Some(Err(what)),
                None => went.then_some(if back { Ok(()) } else { Err("they are lost".into()) }),
            }
        })
    };
    misses(scenario, &[Mutant::VmallocTaggedEarly]);
}

/// What it costs, in operations and barriers: the issue of a mapping is one publication, whatever its size, and a
/// purge is one flush, whatever it collects.
#[test]
fn flushes_are_few() {
    for config in machines() {
        let world = opened(config);
        let mm = world.mm();
        let counts = || {
            let tlbi = [Event::TlbiVa, Event::TlbiVaLast, Event::TlbiRange, Event::TlbiAll];
            let tlbi: u64 = tlbi.iter().map(|event| mm.stats.total(*event)).sum();
            [tlbi, mm.stats.total(Event::DsbComplete), mm.stats.total(Event::DsbPublish)]
        };
        let cost = |work: &dyn Fn()| {
            let before = counts();
            work();
            let after = counts();
            [0, 1, 2].map(|n| after[n] - before[n])
        };
        let pair = || mm.vfree(mm.vmalloc(PAGE_SIZE, Backing::Pages).expect("there is room"));
        pair();
        // 32 MiB of addresses on one CPU: 20 000 pages are purged twice.
        let [tlbi, complete, publish] = cost(&|| (0..10_000).for_each(|_| pair()));
        assert!(complete <= 3 && tlbi <= 3 * 5, "{tlbi} operations, {complete} barriers");
        assert!(publish <= 20_000 + complete + mm.vmalloc_tables(), "{publish}");

        mm.unmap_aliases();
        let areas: Vec<_> = (0..2000)
            .map(|_| mm.vmalloc(PAGE_SIZE, Backing::Pages).expect("there is room"))
            .collect();
        let (some, rest): (Vec<_>, Vec<_>) =
            areas.into_iter().enumerate().partition(|(n, _)| n % 2 == 0);
        some.into_iter().for_each(|(_, area)| mm.vfree(area));
        let [tlbi, complete, _] = cost(&|| mm.unmap_aliases());
        assert!(complete == 1 && tlbi <= 5, "{tlbi} operations for 1000 areas");
        rest.into_iter().for_each(|(_, area)| mm.vfree(area));

        let frames: Vec<Pfn> =
            (0..512).map(|_| mm.alloc(Order::PAGE).expect("there is room")).rev().collect();
        let first = mm.vmap(&frames, KernelProt::Data, MemType::Normal).expect("there is room");
        let [tlbi, complete, publish] = cost(&|| {
            let area = mm.vmap(&frames, KernelProt::Data, MemType::Normal);
            assert!(area.is_ok());
            area.into_iter().for_each(|area| mm.vunmap(area));
        });
        assert_eq!([tlbi, complete], [0, 0]);
        // One to show it, one to hide it, and tables.
        assert!(publish <= 4, "{publish}");
        mm.vunmap(first);
        frames.into_iter().for_each(|pfn| mm.free(pfn));
        assert_eq!(world.verdict(), None);
    }
}

/// With one page of memory more each time, until it is enough: what is refused leaves nothing behind.
#[test]
fn memory_that_runs_out_in_between_comes_back() {
    let world = opened(Config { cpus: 1, pages: 1024, ..Config::default() });
    let mm = world.mm();
    let mut hoard = Vec::new();
    while let Ok(pfn) = mm.alloc(Order::PAGE) {
        hoard.push(pfn);
    }
    let mut refused = 0;
    for pages in [1, 20, 40] {
        // Another table each time.
        let align = pages * (2 << 20);
        for left in 0..pages + 4 {
            (0..left).for_each(|_| mm.free(hoard.pop().expect("there is room")));
            let linked = mm.vmalloc_tables();
            match mm.vmalloc_aligned(pages * PAGE_SIZE, align.next_power_of_two(), Backing::Pages) {
                Ok(area) => {
                    use_all(&world, &area, left << 40);
                    mm.vfree(area);
                }
                Err(VmallocError::OutOfMemory(_)) => refused += 1,
                Err(error) => panic!("{error}"),
            }
            assert_eq!(mm.vmalloc_in_use(), (0, 0));
            let tables = mm.vmalloc_tables() - linked;
            for _ in 0..left - tables {
                hoard.push(mm.alloc(Order::PAGE).expect("all came back"));
            }
            assert!(mm.alloc(Order::PAGE).is_err());
        }
    }
    assert!(refused > 40, "{refused}");
    assert_eq!(world.verdict(), None);
    hoard.into_iter().for_each(|pfn| mm.free(pfn));
}

/// One CPU gives an area back, and another does something after each of its steps. Both have translations of
/// the area, and but for its pages there is no free memory.
fn given_up_while(intrusion: impl Fn(&SimWorld) + Sync) {
    for steps in 1.. {
        let world = opened(Config { cpus: 2, pages: 1024, ..Config::default() });
        let mm = world.mm();
        let area = mm.vmalloc(3 * PAGE_SIZE, Backing::Pages).expect("memory");
        use_all(&world, &area, 1);
        let start = area.range().start;
        world.run(2, &|_| assert_eq!(world.kernel_load(start), Some(1)), &mut || {});
        (0..=Order::MAX.0).rev().for_each(|order| while mm.alloc(Order(order)).is_ok() {});
        let area = Mutex::new(Some(area));
        let give =
            || area.lock().expect("alone").take().into_iter().for_each(|area| mm.vfree(area));
        let more = world.intrude(steps, &give, &|| intrusion(&world));
        assert_eq!(world.verdict(), None, "after step {steps}");
        if !more {
            assert!(steps > 8, "{steps} steps show nothing");
            break;
        }
    }
}

/// Whoever gets a page has no alias of it left where he has asked for that, however lately another mapped it.
#[test]
fn pages_that_come_back_have_no_alias_after_a_purge() {
    given_up_while(|world| {
        let mm = world.mm();
        let mut pages = Vec::new();
        while let Ok(pfn) = mm.alloc(Order::PAGE) {
            pages.push(pfn);
        }
        mm.unmap_aliases();
        for pfn in pages {
            mm.hw.note(Note::Unaliased(pfn, Order::PAGE));
            mm.free(pfn);
        }
    });
}

/// With a huge page free and a few pages besides, which do not suffice for the tables and the rest: all of that
/// comes back, also what was mapped across the end of a table of which the next could not be had.
#[test]
fn what_is_mapped_in_part_comes_back() {
    for few in 0..8 {
        let world = opened(Config { cpus: 1, pages: 2048, ..Config::default() });
        let mm = world.mm();
        let before = mm.vmalloc(100 * PAGE_SIZE, Backing::Pages).expect("there is room");
        let block = mm.alloc(Order::PMD).expect("there is room");
        let pages: Vec<_> =
            (0..few).map(|_| mm.alloc(Order::PAGE).expect("there is room")).collect();
        (0..=Order::MAX.0).rev().for_each(|order| while mm.alloc(Order(order)).is_ok() {});
        mm.free(block);
        pages.into_iter().for_each(|pfn| mm.free(pfn));
        let free = mm.frames.free_pages(&mm.hw) + mm.vmalloc_tables();
        // A table, and three pages behind the block.
        match mm.vmalloc(515 * PAGE_SIZE, Backing::Pages) {
            Ok(area) if few >= 4 => {
                use_all(&world, &area, 1);
                mm.vfree(area);
            }
            result => assert!(few < 4 && result.is_err(), "{few}: {result:?}"),
        }
        assert_eq!(mm.frames.free_pages(&mm.hw) + mm.vmalloc_tables(), free, "{few}");
        mm.vfree(before);
        assert_eq!(mm.vmalloc_in_use(), (0, 0));
        assert_eq!(world.verdict(), None);
    }
}

/// CPUs map and unmap so much that each of them purges, by itself and because it was asked to, while others take
/// addresses and give them up.
fn purges_among_others<H: Simulated>(world: &SimWorld<H>, seed: u64) {
    let mm = world.mm();
    let free = mm.frames.free_pages(&mm.hw) + mm.vmalloc_tables();
    let body = |cpu: usize| {
        let mut rng = Rng::new(seed, "purge", cpu);
        let page = mm.alloc(Order::PAGE).expect("memory");
        let mut kept = Vec::new();
        for round in 0..40 {
            let frames = vec![page; 1 + rng.below(600) as usize];
            let area = mm.vmap(&frames, KernelProt::Data, MemType::Normal).expect("memory");
            for va in [area.range().start, area.range().end - PAGE_SIZE] {
                assert!(world.kernel_store(va, round));
                assert_eq!(world.kernel_load(va), Some(round));
            }
            kept.push(area);
            while kept.len() > rng.below(4) as usize {
                mm.vunmap(kept.swap_remove(rng.below(kept.len() as u64) as usize));
            }
            if rng.below(16) == 0 {
                mm.unmap_aliases();
            }
        }
        kept.into_iter().for_each(|area| mm.vunmap(area));
        mm.unmap_aliases();
        mm.hw.note(Note::Unaliased(page, Order::PAGE));
        mm.free(page);
    };
    world.run(world.cpus(), &body, &mut || {});
    assert_eq!(world.verdict(), None, "seed {seed}");
    assert_eq!(mm.vmalloc_in_use(), (0, 0));
    assert_eq!(mm.frames.free_pages(&mm.hw) + mm.vmalloc_tables(), free);
}

#[test]
fn purges_come_between_anything() {
    for (seed, config) in (1..).zip(machines()) {
        let config = Config { cpus: 3, seed, ..config };
        purges_among_others(&opened(config), seed);
        purges_among_others(&watched(config), seed);
    }
}

/// What fits is not flushed for, however little more would fit.
#[test]
fn the_last_pages_of_the_space_need_no_purge() {
    let world = opened(Config { cpus: 1, ..Config::default() });
    let mm = world.mm();
    let page = mm.alloc(Order::PAGE).expect("there is room");
    let map = |pages: u64| mm.vmap(&vec![page; pages as usize], KernelProt::Data, MemType::Normal);
    // Something is lazy; and four areas of a page with their guards are left.
    mm.vunmap(map(40).expect("there is room"));
    let most = map(mm.vmalloc_space().pages() - 41 - 9).expect("there is room");
    let before = mm.stats.total(Event::DsbComplete);
    let last: Vec<_> = (0..4).map(|_| map(1).expect("there is room")).collect();
    assert_eq!(mm.stats.total(Event::DsbComplete), before);
    // The next one is out of what was lazy.
    let next = map(1).expect("there is room");
    assert!(mm.stats.total(Event::DsbComplete) > before);
    last.into_iter().chain([most, next]).for_each(|area| mm.vunmap(area));
    mm.free(page);
    assert_eq!(world.verdict(), None);
}
