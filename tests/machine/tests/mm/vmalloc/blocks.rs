//! Blocks of kernel addresses, on the model machine: small mappings of somebody's frames, and the promise that after an
//! alias flush nobody has a translation of what was given up before it, whatever state its block is in.
//!
//! Each known bug of theirs is committed in the schedule that it needs.

use crate::common::machines;
use abi::{Event, Order, Pfn};
use granule_machine::{Config, Known, SimWorld, Simulated};
use mm::mutant::Mutant;
use mm::vmalloc::RamArea;
use mm::{Hardware, Mm, Note, VmallocError};
use pte::{KernelProt, MemType};
use std::sync::Mutex;
use stress::{Limit, Options, Rng, World};

/// Pages of a block, and the most that a piece of one has.
const BLOCK: u64 = 1024;
const MOST: u64 = 64;

fn opened(config: Config, bug: Option<Mutant>) -> SimWorld {
    let mut world = SimWorld::new(config);
    world.open_vmalloc();
    world.mm().arm(bug);
    world
}

/// As [`opened`], judged by the oracle.
fn watched(
    config: Config,
    bug: Option<Mutant>,
) -> SimWorld<mm::Sanitized<granule_machine::Machine>> {
    let mut world = SimWorld::sanitized(config);
    world.open_vmalloc();
    world.mm().arm(bug);
    world
}

fn frames<H: Hardware>(mm: &Mm<H>, n: u64) -> Vec<Pfn> {
    (0..n).map(|_| mm.alloc(Order::PAGE).expect("memory")).collect()
}

fn map<H: Hardware>(mm: &Mm<H>, frames: &[Pfn]) -> RamArea {
    mm.vm_map_ram(frames, KernelProt::Data, MemType::Normal).expect("memory and addresses")
}

/// Somebody relies on the promise for these frames.
fn rely<H: Hardware>(mm: &Mm<H>, frames: &[Pfn]) {
    frames.iter().for_each(|pfn| mm.hw.note(Note::Unaliased(*pfn, Order::PAGE)));
}

/// What is wrong, by the judges or by the audit.
fn wrong<H: Simulated>(world: &SimWorld<H>) -> Option<String> {
    world.verdict().or_else(|| world.mm().audit().err().map(|broken| broken.to_string()))
}

/// Pieces of 64 pages of the same frames, until so many pages of a block are used.
fn fill<H: Hardware>(mm: &Mm<H>, frames: &[Pfn], pages: u64) -> Vec<RamArea> {
    (0..pages / MOST).map(|_| map(mm, frames)).collect()
}

/// `look` after each number of steps, until it says that there are no more: what it finds.
fn at_each_step(look: impl Fn(u64) -> (bool, Option<String>)) -> Option<String> {
    for steps in 0..100_000 {
        let (reached, found) = look(steps);
        if found.is_some() {
            return found;
        }
        if !reached {
            return None;
        }
    }
    panic!("it does not end");
}

/// Nothing is found without the bug, and something with it.
fn only_with(bug: Mutant, look: impl Fn(Option<Mutant>) -> Option<String>) {
    assert_eq!(look(None), None);
    let said = evidence::model(bug.name(), || look(Some(bug)));
    println!("{}: {}", bug.name(), said.expect("not caught"));
}

fn come_and_go<H: Simulated>(world: &SimWorld<H>, seed: u64) {
    let mm = world.mm();
    let machine = mm.hw.machine();
    let mut rng = Rng::new(seed, "vmap blocks", 0);
    let mut held: Vec<(RamArea, Vec<Pfn>)> = Vec::new();
    let mut given = Vec::new();
    for round in 0..300u64 {
        if rng.below(3) > 0 {
            let frames = frames(mm, 1 + rng.below(MOST + 8));
            let area = map(mm, &frames);
            for (n, pfn) in (0..).zip(&frames) {
                let va = area.range().start + n * abi::PAGE_SIZE;
                assert!(machine.kernel_store(va, Known::ByPointer, round << 32 | n));
                let value = machine.kernel_load(va, Known::ByPointer);
                assert_eq!(value, Some(round << 32 | n), "{:?}", world.verdict());
                assert_eq!(mm.hw.peek(pfn.base()), round << 32 | n);
            }
            assert!(held.iter().all(|(other, _)| !other.range().overlaps(&area.range())));
            held.push((area, frames));
        } else if !held.is_empty() {
            let (area, frames) = held.swap_remove(rng.below(held.len() as u64) as usize);
            mm.vm_unmap_ram(area);
            given.extend(frames);
        }
        if rng.below(20) == 0 {
            mm.unmap_aliases();
            rely(mm, &given);
            given.drain(..).for_each(|pfn| mm.free(pfn));
            assert_eq!(wrong(world), None, "seed {seed} round {round}");
        }
    }
    held.into_iter().for_each(|(area, frames)| {
        mm.vm_unmap_ram(area);
        given.extend(frames);
    });
    mm.unmap_aliases();
    rely(mm, &given);
    given.into_iter().for_each(|pfn| mm.free(pfn));
    assert_eq!(wrong(world), None);
    assert_eq!(mm.vmalloc_in_use(), (0, 0));
}

#[test]
fn small_mappings_come_and_go() {
    for (config, seed) in machines().into_iter().zip(1..) {
        come_and_go(&opened(Config { pages: 8192, ..config }, None), seed);
        come_and_go(&watched(Config { pages: 8192, ..config }, None), seed);
    }
}

/// Giving back and flushing need no memory; mapping without any is refused, and nothing of it stays.
#[test]
fn without_memory() {
    let world = opened(Config::default(), None);
    let mm = world.mm();
    let some = frames(mm, 4);
    assert!(matches!(
        mm.vm_map_ram(&[], KernelProt::Data, MemType::Normal),
        Err(VmallocError::Empty)
    ));
    let areas = fill(mm, &some.repeat(16), BLOCK - MOST);
    let mut rest = Vec::new();
    while let Ok(pfn) = mm.alloc(Order::PAGE) {
        rest.push(pfn);
    }
    // The last piece of the block is there; a new block has no tables.
    let last = map(mm, &some.repeat(16));
    let more = mm.vm_map_ram(&some, KernelProt::Data, MemType::Normal);
    assert!(matches!(more, Err(VmallocError::OutOfMemory(_))), "{more:?}");
    areas.into_iter().chain([last]).for_each(|area| mm.vm_unmap_ram(area));
    mm.unmap_aliases();
    rely(mm, &some);
    assert_eq!(mm.vmap_blocks(), (0, 1));
    rest.into_iter().chain(some).for_each(|pfn| mm.free(pfn));
    assert_eq!(wrong(&world), None);
}

/// Blocks that nobody uses, and of which nearly all is free, stay; where addresses run out they do not.
#[test]
fn addresses_run_out() {
    let world = opened(Config { cpus: 1, ..Config::default() }, None);
    let mm = world.mm();
    let frames = frames(mm, 1);
    let kept = map(mm, &frames);
    mm.vm_unmap_ram(kept);
    mm.unmap_aliases();
    assert_eq!(mm.vmap_blocks(), (1, 1));
    // All that is left but a GiB's tables.
    let block = BLOCK * abi::PAGE_SIZE;
    let mut areas = Vec::new();
    let pages = frames.repeat(255);
    while let Ok(area) = mm.vmap(&pages, KernelProt::Data, MemType::Normal) {
        areas.push(area);
        if mm.vmap_blocks().0 == 0 {
            break;
        }
    }
    assert_eq!(mm.vmap_blocks(), (0, 1), "after {} areas of {block}", areas.len());
    areas.into_iter().for_each(|area| mm.vunmap(area));
    assert_eq!(wrong(&world), None);
}

/// A block is used up, and a piece of it comes back.
#[test]
fn the_flush_reaches_blocks_that_are_used_up() {
    only_with(Mutant::VmapFullBlockForgotten, |bug| {
        let world = opened(Config { cpus: 2, ..Config::default() }, bug);
        let mm = world.mm();
        let (some, other) = (frames(mm, MOST), frames(mm, MOST));
        let kept = fill(mm, &some, BLOCK - MOST);
        let last = map(mm, &other);
        assert!(world.kernel_store(last.range().start, 1));
        mm.vm_unmap_ram(last);
        mm.unmap_aliases();
        rely(mm, &other);
        kept.into_iter().for_each(|area| mm.vm_unmap_ram(area));
        wrong(&world)
    });
}

/// The second block's address falls to another slot than its owner's.
#[test]
fn a_purged_block_leaves_its_owners_queue() {
    only_with(Mutant::VmapOwnerBySlot, |bug| {
        at_each_step(|steps| {
            let world = opened(Config { cpus: 2, ..Config::default() }, bug);
            let mm = world.mm();
            let some = frames(mm, MOST);
            let mut areas = fill(mm, &some, BLOCK);
            let scraps = fill(mm, &some, BLOCK - 3 * MOST);
            scraps.into_iter().for_each(|area| mm.vm_unmap_ram(area));
            let more = Mutex::new(None);
            let maps = || *more.lock().expect("alone") = Some(map(mm, &some));
            let reached = world.intrude(steps, &maps, &|| mm.unmap_aliases());
            areas.extend(more.into_inner().expect("alone"));
            (reached, wrong(&world))
        })
    });
}

#[test]
fn a_block_is_whole_when_it_is_found() {
    only_with(Mutant::VmapOwnerLate, |bug| {
        at_each_step(|steps| {
            let world = opened(Config { cpus: 2, ..Config::default() }, bug);
            let mm = world.mm();
            let some = frames(mm, MOST);
            let maps = || mm.vm_unmap_ram(map(mm, &some));
            let reached = world.intrude(steps, &maps, &|| mm.unmap_aliases());
            (reached, wrong(&world))
        })
    });
}

/// Two flush at once; the second one finds nothing to do, and relies on what the first one does.
#[test]
fn who_finds_nothing_to_flush_waits_for_who_has_it() {
    only_with(Mutant::VmapFlushOvertaken, |bug| {
        at_each_step(|steps| {
            let world = opened(Config { cpus: 2, ..Config::default() }, bug);
            let mm = world.mm();
            let some = frames(mm, 2);
            mm.vm_unmap_ram(map(mm, &some));
            let reached = world.intrude(steps, &|| mm.unmap_aliases(), &|| {
                mm.unmap_aliases();
                rely(mm, &some);
            });
            (reached, wrong(&world))
        })
    });
}

fn invalidations<H: Hardware>(mm: &Mm<H>) -> u64 {
    let events =
        [Event::TlbiVa, Event::TlbiVaLast, Event::TlbiRange, Event::TlbiAsid, Event::TlbiAll];
    events.map(|event| mm.stats.total(event)).iter().sum()
}

#[test]
fn what_is_flushed_is_forgotten() {
    only_with(Mutant::VmapRangeKept, |bug| {
        let world = opened(Config { cpus: 2, ..Config::default() }, bug);
        let mm = world.mm();
        let some = frames(mm, 1);
        mm.vm_unmap_ram(map(mm, &some));
        let counts = [(); 3].map(|()| {
            let before = invalidations(mm);
            mm.unmap_aliases();
            invalidations(mm) - before
        });
        assert!(counts[0] > 0, "nothing flushed at all");
        let again = counts[1] + counts[2];
        wrong(&world).or((again > 0).then(|| format!("{again} invalidations of what was flushed")))
    });
}

/// All of a block came back, some of it after the last flush. Its addresses are wanted again.
#[test]
fn a_block_that_is_all_dirty_is_flushed_first() {
    fn look<H: Simulated>(world: &SimWorld<H>) -> Option<String> {
        let mm = world.mm();
        let some = frames(mm, MOST);
        let mut areas = fill(mm, &some, BLOCK);
        let (last, first) = (areas.pop().expect("a piece"), areas[0].range().start);
        areas.into_iter().for_each(|area| mm.vm_unmap_ram(area));
        mm.unmap_aliases();
        assert!(world.kernel_store(last.range().start, 1));
        mm.vm_unmap_ram(last);
        assert_eq!(mm.vmap_blocks(), (0, 1));
        // Where there is room for nothing else the lazy ones are purged first.
        let other = frames(mm, 1).repeat(BLOCK as usize);
        let again = mm.vmap(&other, KernelProt::Data, MemType::Normal).expect("addresses");
        let met = again.range().start == first;
        let found = wrong(world);
        assert!(found.is_none() || met, "it found something else");
        mm.vunmap(again);
        found
    }
    let config = Config { cpus: 2, ..Config::default() };
    only_with(Mutant::VmapReuseUnflushed, |bug| look(&opened(config, bug)));
    assert_eq!(look(&watched(config, None)), None);
    assert!(look(&watched(config, Some(Mutant::VmapReuseUnflushed))).is_some());
}

/// A page is mapped, unmapped and flushed, a hundred times: all of them fit into one block.
#[test]
fn few_blocks_do_for_many_flushes() {
    only_with(Mutant::VmapPurgesAll, |bug| {
        let world = opened(Config { cpus: 2, ..Config::default() }, bug);
        let mm = world.mm();
        let some = frames(mm, 1);
        for _ in 0..100 {
            mm.vm_unmap_ram(map(mm, &some));
            mm.unmap_aliases();
        }
        let (_, made) = mm.vmap_blocks();
        let most = 1 + 100 / (BLOCK * 3 / 4);
        wrong(&world).or((made > most).then(|| format!("{made} blocks made where {most} do")))
    });
}

/// The last piece of a block comes back; others gave theirs up before, and flush now.
#[test]
fn a_block_is_found_until_it_is_lazy() {
    only_with(Mutant::VmapBlockInLimbo, |bug| {
        at_each_step(|steps| {
            let world = opened(Config { cpus: 2, ..Config::default() }, bug);
            let mm = world.mm();
            let (some, other) = (frames(mm, MOST), frames(mm, MOST));
            let mut areas = fill(mm, &some, BLOCK - MOST);
            let last = Mutex::new(areas.pop());
            mm.vm_unmap_ram(map(mm, &other));
            areas.into_iter().for_each(|area| mm.vm_unmap_ram(area));
            let unmaps = || mm.vm_unmap_ram(last.lock().expect("alone").take().expect("a piece"));
            let reached = world.intrude(steps, &unmaps, &|| {
                mm.unmap_aliases();
                rely(mm, &other);
            });
            (reached, wrong(&world))
        })
    });
}

/// The workload of all this, with both judges.
#[test]
fn aliases_are_silent() {
    fn ran<H: Simulated>(world: SimWorld<H>, config: Config) {
        let mut world = world;
        world.open_vmalloc();
        let (limit, bytes) = (Limit::Rounds(60), 64 << 10);
        let options = Options { cpus: config.cpus, limit, seed: config.seed, bytes };
        let mut report = String::new();
        let wanted = |name: &str| name == "alias";
        let ran = stress::run_all(&world, options, &wanted, &mut report, &mut |_, _, _| {});
        assert_eq!(world.verdict(), None, "seed {}", config.seed);
        assert_eq!(ran.expect("writing to a string works").failed, 0, "{report}");
    }
    for seed in 1..5 {
        let config = Config { cpus: 3, seed, ..Config::default() };
        ran(SimWorld::new(config), config);
        ran(SimWorld::sanitized(config), config);
    }
}
