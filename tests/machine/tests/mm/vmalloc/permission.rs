//! Rights of the kernel's own memory, on the model machine: what is taken away is gone everywhere, by either address of
//! a frame, and what goes back is as it was.

use crate::common::machines;
use abi::{Event, Level, Order, PAGE_SIZE, Pfn, VirtAddr, VirtRange};
use evidence::Judge;
use granule_machine::{Config, Known, SimWorld, Simulated};
use mm::Sanitized;
use mm::mutant::Mutant;
use mm::vmalloc::permission::{PermissionError, Rights};
use mm::vmalloc::{Area, Backing, VmallocError};
use pte::{BbmLevel, Caps, Entry, KernelProt, MemType};
use stress::World;
use sync::atomic::{AtomicBool, Ordering};

/// All of RAM by pages, or none of it.
const BY_PAGES: u64 = u64::MAX;
const BY_BLOCKS: u64 = 0;
/// A CPU that stands two sizes of one mapping.
const RESIZES: Caps = Caps { bbm: BbmLevel::L2NoAbort, ..Caps::CORTEX_A72 };

fn plain(config: Config, pages: u64) -> SimWorld {
    let mut world = SimWorld::new(config);
    world.open_linear(pages);
    world
}

fn watched(config: Config, pages: u64) -> SimWorld<Sanitized<granule_machine::Machine>> {
    let mut world = SimWorld::sanitized(config);
    world.open_linear(pages);
    world
}

fn config(caps: Caps) -> Config {
    Config { caps, cpus: 2, ..Config::default() }
}

/// A page's address in the linear map.
fn alias<H: Simulated>(world: &SimWorld<H>, va: VirtAddr) -> VirtAddr {
    let pfn = world.mm().vmalloc_frame(va).expect("a page of the area");
    world.mm().linear_address(pfn).expect("a linear map")
}

fn pages(area: &Area) -> impl Iterator<Item = VirtAddr> {
    let range = area.range();
    (0..range.pages()).map(move |n| range.start + n * PAGE_SIZE)
}

/// What the calling CPU can do at an address: load, store, fetch.
fn can<H: Simulated>(world: &SimWorld<H>, va: VirtAddr) -> [bool; 3] {
    let machine = world.mm().hw.machine();
    let value = machine.kernel_load(va, Known::Perhaps);
    let again = value.unwrap_or(0);
    let stores = machine.kernel_store(va, Known::Perhaps, again);
    // A store makes what is fetched stale.
    let fetches = !stores && machine.kernel_fetch(va, Known::Perhaps).is_some();
    [value.is_some(), stores, fetches]
}

/// Each CPU can do just that in a part, and what follows by the aliases.
fn check<H: Simulated>(world: &SimWorld<H>, part: VirtRange, rights: Rights) {
    let (here, there) = match rights {
        Rights::None => ([false; 3], [false; 3]),
        Rights::Read => ([true, false, false], [true, false, false]),
        Rights::ReadWrite => ([true, true, false], [true, true, false]),
        Rights::ReadExec => ([true, false, true], [true, false, false]),
    };
    for at in (0..part.pages()).map(|n| part.start + n * PAGE_SIZE) {
        let alias = alias(world, at);
        for cpu in 0..world.cpus() {
            world.mm().hw.machine().on(cpu, || {
                assert_eq!(can(world, at), here, "{rights:?}: cpu {cpu} at {at}");
                assert_eq!(can(world, alias), there, "{rights:?}: cpu {cpu} by the alias of {at}");
            });
        }
    }
}

/// From each right to each other, and what is beside stays.
fn goes_round<H: Simulated>(world: &SimWorld<H>, backing: Backing) {
    let all = [Rights::Read, Rights::ReadWrite, Rights::ReadExec, Rights::None];
    let mm = world.mm();
    let free = || mm.frames.free_pages(&mm.hw) + mm.vmalloc_tables();
    let before = free();
    let mut area = mm.vmalloc(7 * PAGE_SIZE, backing).expect("memory");
    let machine = mm.hw.machine();
    for (n, at) in (0..).zip(pages(&area)) {
        assert!(machine.kernel_store(at, Known::ByPointer, n));
    }
    let start = area.range().start;
    let part = VirtRange::from_size(start + PAGE_SIZE, 5 * PAGE_SIZE);
    for from in all {
        for to in all {
            mm.set_memory(&mut area, part, from).expect("as it should be");
            check(world, part, from);
            mm.set_memory(&mut area, part, to).expect("as it should be");
            check(world, part, to);
            check(world, VirtRange::from_size(start, PAGE_SIZE), Rights::ReadWrite);
        }
    }
    mm.unseal(&mut area).expect("as it should be");
    for (n, at) in (0..).zip(pages(&area)) {
        assert_eq!(machine.kernel_load(at, Known::ByPointer), Some(n));
    }
    for last in all {
        let part = VirtRange::from_size(area.range().start + PAGE_SIZE, 5 * PAGE_SIZE);
        mm.set_memory(&mut area, part, last).expect("as it should be");
        let aliases: Vec<_> = pages(&area).map(|at| alias(world, at)).collect();
        mm.vfree(area);
        for alias in aliases {
            // Its frame's next owner reads and writes there.
            assert!(machine.kernel_store(alias, Known::ByPointer, 0));
        }
        area = mm.vmalloc(7 * PAGE_SIZE, backing).expect("memory");
    }
    mm.vfree(area);
    mm.unmap_aliases();
    assert_eq!(machine.stale(), []);
    assert_eq!(world.verdict(), None);
    assert_eq!(free(), before);
}

#[test]
fn rights_hold_on_each_cpu_by_each_address() {
    for config in machines().map(|config| Config { cpus: 2, ..config }) {
        goes_round(&plain(config, BY_PAGES), Backing::Pages);
        goes_round(&watched(config, BY_PAGES), Backing::Pages);
        // Whatever the linear map is made of, and whatever the CPUs stand.
        for pages in [BY_PAGES, BY_BLOCKS, config.pages / 2] {
            goes_round(&plain(config, pages), Backing::Parted);
            goes_round(&watched(config, pages), Backing::Parted);
        }
    }
    // And where blocks can become pages while they are in use.
    goes_round(&plain(config(RESIZES), BY_BLOCKS), Backing::Pages);
    goes_round(&watched(config(RESIZES), BY_BLOCKS), Backing::Pages);
}

/// What is refused, and that nothing changes then.
#[test]
fn what_cannot_be_is_refused() {
    let world = plain(config(Caps::CORTEX_A72), BY_PAGES);
    let mm = world.mm();
    let mut area = mm.vmalloc(3 * PAGE_SIZE, Backing::Pages).expect("memory");
    let range = area.range();
    let empty = VirtRange::new(range.start, range.start);
    let behind = VirtRange::new(range.start, range.end + PAGE_SIZE);
    let half = VirtRange::from_size(range.start, PAGE_SIZE / 2);
    for part in [empty, behind, half] {
        let result = mm.set_memory(&mut area, part, Rights::Read);
        assert_eq!(result, Err(PermissionError::Outside(part)));
    }
    check(&world, range, Rights::ReadWrite);
    mm.vfree(area);

    let frames = [mm.alloc(Order::PAGE).expect("as it should be")];
    let mut area = mm.vmap(&frames, KernelProt::Data, MemType::Normal).expect("as it should be");
    assert_eq!(mm.seal(&mut area), Err(PermissionError::Foreign));
    mm.vunmap(area);
    mm.free(frames[0]);

    let mut area = mm.vmalloc(Level::Pmd.span(), Backing::Huge).expect("memory");
    let huge = PermissionError::Huge(area.range().start, Level::Pmd);
    assert_eq!(mm.seal(&mut area), Err(huge));
    mm.vfree(area);
    assert_eq!(world.verdict(), None);
}

/// Addresses of the other half and of the linear map have no frame there, nor have frames that are no memory an
/// address in the linear map.
#[test]
fn what_is_elsewhere_is_not_found() {
    let world = plain(config(Caps::CORTEX_A72), BY_PAGES);
    let mm = world.mm();
    let area = mm.vmalloc(PAGE_SIZE, Backing::Pages).expect("memory");
    let at = area.range().start;
    let pfn = mm.vmalloc_frame(at).expect("a page of the area");
    let linear = mm.linear_address(pfn).expect("a linear map");
    for elsewhere in [VirtAddr(0), VirtAddr(at.0 & ((1 << 48) - 1)), linear, VirtAddr(u64::MAX)] {
        assert_eq!(mm.vmalloc_frame(elsewhere), None, "{elsewhere}");
    }
    for beyond in [1 << 35, 1 << 36, 1 << 52, u64::MAX] {
        assert_eq!(mm.linear_address(Pfn(beyond)), None, "{beyond:#x}");
    }
    mm.vfree(area);
}

/// The linear map has no page for one frame in the middle: nobody's rights change.
fn refuses_as_a_whole<H: Simulated>(world: &SimWorld<H>) {
    let mm = world.mm();
    let half = mm.frames.map().range().pages() / 2;
    let mut area = mm.vmalloc((half + 512) * PAGE_SIZE, Backing::Pages).expect("memory");
    let result = mm.seal(&mut area);
    assert!(matches!(result, Err(PermissionError::Linear(_, Level::Pmd))), "{result:?}");
    let range = area.range();
    check(world, VirtRange::from_size(range.start, 4 * PAGE_SIZE), Rights::ReadWrite);
    check(world, VirtRange::new(range.end - 4 * PAGE_SIZE, range.end), Rights::ReadWrite);
    mm.vfree(area);
    assert_eq!(world.verdict(), None);
}

#[test]
fn a_block_in_the_way_changes_nothing() {
    let config = config(Caps::CORTEX_A72);
    refuses_as_a_whole(&plain(config, config.pages / 2));
    refuses_as_a_whole(&watched(config, config.pages / 2));
}

/// Without memory for a table in a block's place nothing changes either; and giving back needs none.
#[test]
fn without_memory_nothing_changes() {
    let world = plain(config(RESIZES), BY_BLOCKS);
    let mm = world.mm();
    let mut area = mm.vmalloc(2 * PAGE_SIZE, Backing::Pages).expect("memory");
    let mut sealed = mm.vmalloc(2 * PAGE_SIZE, Backing::Pages).expect("memory");
    mm.seal(&mut sealed).expect("as it should be");
    let hoard: Vec<_> = std::iter::from_fn(|| mm.alloc(Order::PAGE).ok()).collect();
    // The area's frames may be in the block that the other one has split.
    if let Err(error) = mm.seal(&mut area) {
        assert!(matches!(error, PermissionError::OutOfMemory(_)), "{error}");
        check(&world, area.range(), Rights::ReadWrite);
    }
    mm.vfree(sealed);
    hoard.into_iter().for_each(|pfn| mm.free(pfn));
    mm.vfree(area);
    assert_eq!(world.verdict(), None);
}

/// When the change has returned, no store of another CPU gets through: wherever it was meanwhile.
#[test]
fn no_store_gets_through_afterwards() {
    for caps in [Caps::CORTEX_A72, Caps::MAX] {
        for steps in 0.. {
            let world = plain(config(caps), BY_PAGES);
            let mm = world.mm();
            let machine = mm.hw.machine();
            let area = mm.vmalloc(2 * PAGE_SIZE, Backing::Pages).expect("memory");
            let at = area.range().start + PAGE_SIZE;
            assert!(machine.kernel_store(at, Known::ByPointer, 1));
            let area = std::sync::Mutex::new(area);
            let over = AtomicBool::new(false);
            let work = || {
                let mut area = area.lock().expect("no panic");
                mm.seal(&mut area).expect("as it should be");
                over.store(true, Ordering::Release);
            };
            let intrusion = || {
                let mut was_code = false;
                for n in 0..6 {
                    let is_over = over.load(Ordering::Acquire);
                    let stored = world.kernel_try(at, Some(n)).is_some();
                    assert!(!(is_over && stored), "a store after the seal");
                    assert!(!(was_code && stored), "written after it could be executed");
                    was_code |= machine.kernel_fetch(at, Known::Perhaps).is_some();
                }
            };
            let more = world.intrude(steps, &work, &intrusion);
            assert_eq!(world.verdict(), None, "{steps} steps");
            if !more {
                break;
            }
        }
    }
}

/// What one flush reaches are ranges, and no hull around the linear map and the area.
#[test]
fn a_reset_flushes_its_pages_and_not_everything() {
    let world = plain(config(Caps::CORTEX_A72), BY_PAGES);
    let mm = world.mm();
    let mut area = mm.vmalloc(8 * PAGE_SIZE, Backing::Pages).expect("memory");
    mm.seal(&mut area).expect("as it should be");
    let count = || [Event::TlbiVaLast, Event::TlbiAll].map(|event| mm.stats.total(event));
    let before = count();
    mm.vfree(area);
    let [pages, all] = [0, 1].map(|n| count()[n] - before[n]);
    assert_eq!([pages, all], [16, 0], "eight pages, each by two addresses");
}

/// What the workload says of a world, or the world itself.
fn flips<H: Simulated>(world: &SimWorld<H>, seed: u64, mutant: Option<Mutant>) -> Option<String> {
    world.mm().arm(mutant);
    let limit = stress::Limit::Rounds(12);
    let options = stress::Options { cpus: 2, limit, seed, bytes: 64 << 10 };
    let mut report = String::new();
    let only = |name: &str| name == "perm-flip";
    let ran = stress::run_all(world, options, &only, &mut report, &mut |_, _, _| {});
    let failed = ran.expect("writing to a string works").failed > 0;
    world.verdict().or_else(|| failed.then_some(report))
}

#[test]
fn the_workload_is_silent() {
    for seed in 1..6 {
        for caps in [Caps::CORTEX_A72, Caps::MAX, RESIZES] {
            let config = Config { seed, ..config(caps) };
            for pages in [BY_PAGES, BY_BLOCKS] {
                assert_eq!(flips(&plain(config, pages), seed, None), None, "{seed} {caps:?}");
                assert_eq!(flips(&watched(config, pages), seed, None), None, "{seed} {caps:?}");
            }
        }
    }
}

/// A bug, and how much of RAM is mapped by pages where it shows.
const AT_HOME: [(Mutant, u64); 4] = [
    (Mutant::VmapHullShort, BY_PAGES),
    (Mutant::LinearSplitInUse, BY_BLOCKS),
    (Mutant::ExecStaleIcache, BY_PAGES),
    (Mutant::AliasErrorDropped, BY_BLOCKS),
];

#[test]
fn the_workload_sees_what_goes_wrong() {
    for (bug, pages) in AT_HOME {
        let look = || {
            (1..10).find_map(|seed| {
                let config = Config { seed, ..config(Caps::CORTEX_A72) };
                flips(&plain(config, pages), seed, Some(bug))
            })
        };
        assert!(evidence::model(bug.name(), look).is_some(), "{}", bug.name());
    }
}

// --- known bugs ----------------------------------------------------------------------------------

/// A sealed area goes back, whose last page's alias a CPU has as it was; then that CPU writes there.
fn gives_back<H: Simulated>(world: &SimWorld<H>, mutant: Option<Mutant>) -> Option<String> {
    let mm = world.mm();
    mm.arm(mutant);
    let mut area = mm.vmalloc(4 * PAGE_SIZE, Backing::Pages).expect("memory");
    mm.seal(&mut area).expect("as it should be");
    let last = alias(world, area.range().end - PAGE_SIZE);
    let machine = mm.hw.machine();
    machine.on(1, || machine.prefetch(last));
    mm.vfree(area);
    machine.on(1, || machine.kernel_store(last, Known::ByPointer, 0));
    world.verdict()
}

#[test]
fn the_last_alias_is_flushed_with_the_others() {
    let (config, bug) = (config(Caps::CORTEX_A72), Mutant::VmapHullShort);
    assert_eq!(gives_back(&plain(config, BY_PAGES), None), None);
    assert_eq!(gives_back(&watched(config, BY_PAGES), None), None);
    let look = || gives_back(&plain(config, BY_PAGES), Some(bug));
    assert!(evidence::model(bug.name(), look).is_some());
    let look = || gives_back(&watched(config, BY_PAGES), Some(bug));
    assert!(evidence::tried(Judge::Sanitizer, bug.name(), look, String::clone).is_some());
}

/// Where the linear map has the second of two frames in a block: whether memory that is read-only can be written.
fn writes_by_alias(mutant: Option<Mutant>) -> bool {
    let config = config(Caps::CORTEX_A72);
    let world = plain(config, BY_BLOCKS);
    let mm = world.mm();
    mm.arm(mutant);
    let mut area = mm.vmalloc(2 * PAGE_SIZE, Backing::Pages).expect("memory");
    let all = area.range();
    let is_read_only = mm.set_memory(&mut area, all, Rights::Read).is_ok();
    is_read_only && pages(&area).any(|at| can(&world, alias(&world, at))[1])
}

#[test]
fn an_alias_that_stays_is_an_error() {
    let bug = Mutant::AliasErrorDropped;
    assert!(!writes_by_alias(None));
    assert!(evidence::model_notices(bug.name(), || writes_by_alias(Some(bug))));
}

/// A block of the linear map that both CPUs have, and a page of it is to change.
fn splits<H: Simulated>(world: &SimWorld<H>, mutant: Option<Mutant>) -> Option<String> {
    let mm = world.mm();
    mm.arm(mutant);
    let mut area = mm.vmalloc(PAGE_SIZE, Backing::Pages).expect("memory");
    let at = alias(world, area.range().start);
    let machine = mm.hw.machine();
    for cpu in 0..2 {
        machine.on(cpu, || machine.prefetch(at));
    }
    let _ = mm.seal(&mut area);
    mm.vfree(area);
    world.verdict()
}

#[test]
fn a_block_in_use_is_split_only_where_cpus_stand_it() {
    let bug = Mutant::LinearSplitInUse;
    for caps in [Caps::CORTEX_A72, Caps::MAX, RESIZES] {
        assert_eq!(splits(&plain(config(caps), BY_BLOCKS), None), None);
        assert_eq!(splits(&watched(config(caps), BY_BLOCKS), None), None);
    }
    for caps in [Caps::CORTEX_A72, Caps::MAX] {
        let look = || splits(&plain(config(caps), BY_BLOCKS), Some(bug));
        assert!(evidence::model(bug.name(), look).is_some());
        let look = || splits(&watched(config(caps), BY_BLOCKS), Some(bug));
        assert!(evidence::tried(Judge::Sanitizer, bug.name(), look, String::clone).is_some());
    }
}

/// While a block of the linear map is split, others give back memory that lies in it: who still has the block finds all of
/// that where the pages say it is.
fn splits_among_others<H: Simulated>(open: impl Fn(Config, u64) -> SimWorld<H>) {
    for steps in 0.. {
        let world = open(config(RESIZES), BY_BLOCKS);
        let mm = world.mm();
        let held = mm.alloc(Order::PAGE).expect("memory");
        let seal = || {
            let mut area = mm.vmalloc(PAGE_SIZE, Backing::Pages).expect("memory");
            mm.seal(&mut area).expect("CPUs that stand it");
            mm.vfree(area);
        };
        let went_on = world.intrude(steps, &seal, &|| mm.free(held));
        assert_eq!(world.verdict(), None, "after step {steps}");
        if !went_on {
            assert!(steps > 20, "{steps} steps show nothing");
            break;
        }
    }
}

#[test]
fn memory_in_a_block_that_is_split_goes_back_meanwhile() {
    splits_among_others(plain);
    splits_among_others(watched);
}

/// Code is written, sealed and run, on another CPU too; again after it was changed; and given back.
fn lives(mutant: Option<Mutant>) -> Option<String> {
    let world = plain(config(Caps::CORTEX_A72), BY_PAGES);
    let mm = world.mm();
    mm.arm(mutant);
    let machine = mm.hw.machine();
    let mut area = mm.vmalloc(2 * PAGE_SIZE, Backing::Pages).expect("memory");
    for code in 1..3 {
        for at in pages(&area) {
            assert!(machine.kernel_store(at, Known::ByPointer, code));
        }
        mm.seal(&mut area).expect("as it should be");
        for cpu in 0..2 {
            machine.on(cpu, || {
                mm.meet_code();
                for at in pages(&area) {
                    assert_eq!(machine.kernel_fetch(at, Known::ByPointer), Some(code));
                }
            });
        }
        mm.unseal(&mut area).expect("as it should be");
    }
    mm.vfree(area);
    world.verdict()
}

#[test]
fn code_is_what_was_written() {
    let bug = Mutant::ExecStaleIcache;
    assert_eq!(lives(None), None);
    assert!(evidence::model(bug.name(), || lives(Some(bug))).is_some());
}

/// The linear map's descriptor of the block around an address.
fn linear_entry<H: Simulated>(world: &SimWorld<H>, alias: VirtAddr) -> u64 {
    let mut at = world.mm().vmalloc_root();
    for level in [Level::Pgd, Level::Pud] {
        let slot = mm::Slot::new(at, level.index(alias));
        let Entry::Table(next) = pte::decode(level, world.mm().hw.load(slot)) else { return 0 };
        at = next.pfn();
    }
    world.mm().hw.load(mm::Slot::new(at, Level::Pmd.index(alias)))
}

/// Code in a parted block, which a CPU has had as a block before, and has as pages afterwards; then it is a block again, and
/// the CPU reads and writes there.
fn parts_and_joins<H: Simulated>(world: &SimWorld<H>, mutant: Option<Mutant>) -> Option<String> {
    let mm = world.mm();
    mm.arm(mutant);
    let machine = mm.hw.machine();
    let everywhere = |at| {
        for cpu in 0..2 {
            machine.on(cpu, || machine.prefetch(at));
        }
    };
    for _ in 0..2 {
        let head = mm.alloc(Order::PMD).ok()?;
        everywhere(mm.linear_address(head)?);
        mm.free(head);
        let mut area = mm.vmalloc(3 * PAGE_SIZE, Backing::Parted).expect("memory");
        let at = alias(world, area.range().start);
        everywhere(at);
        mm.seal(&mut area).expect("pages of its own");
        everywhere(at);
        mm.vfree(area);
        machine.on(1, || machine.kernel_store(at, Known::ByPointer, 0));
    }
    world.verdict()
}

#[test]
fn a_block_that_nobody_uses_becomes_pages_and_a_block_again() {
    for caps in [Caps::CORTEX_A72, Caps::MAX] {
        let world = plain(config(caps), BY_BLOCKS);
        let mm = world.mm();
        let free = || mm.frames.free_pages(&mm.hw);
        let before = free();
        let one = mm.vmalloc(PAGE_SIZE, Backing::Parted).expect("memory");
        let at = alias(&world, one.range().start);
        assert!(matches!(pte::decode(Level::Pmd, linear_entry(&world, at)), Entry::Table(_)));
        let another = mm.vmalloc(600 * PAGE_SIZE, Backing::Parted).expect("memory");
        mm.vfree(one);
        assert!(matches!(pte::decode(Level::Pmd, linear_entry(&world, at)), Entry::Table(_)));
        mm.vfree(another);
        assert!(matches!(pte::decode(Level::Pmd, linear_entry(&world, at)), Entry::Leaf(_)));
        // But for the tables of the areas' own addresses.
        assert_eq!(free() + mm.vmalloc_tables(), before);
        assert_eq!(parts_and_joins(&world, None), None);
        assert_eq!(parts_and_joins(&watched(config(caps), BY_BLOCKS), None), None);
    }
    // Without operations by range, so many pages are flushed with everything, and the walk with them.
    let bugs = [(Mutant::PartUnflushed, Caps::CORTEX_A72), (Mutant::JoinKeepsWalk, Caps::MAX)];
    for (bug, caps) in bugs {
        let config = config(caps);
        let look = || parts_and_joins(&plain(config, BY_BLOCKS), Some(bug));
        assert!(evidence::model(bug.name(), look).is_some(), "{}", bug.name());
        let look = || parts_and_joins(&watched(config, BY_BLOCKS), Some(bug));
        let caught = evidence::tried(Judge::Sanitizer, bug.name(), look, String::clone);
        assert!(caught.is_some(), "{}", bug.name());
    }
}

/// Every allocation of the way there refused once: then the whole is refused, and nothing is lost.
#[test]
fn without_memory_no_block_is_parted() {
    let world = plain(config(Caps::CORTEX_A72), BY_BLOCKS);
    let mm = world.mm();
    // Its tables stay.
    let area = mm.vmalloc(2 * PAGE_SIZE, Backing::Parted).expect("memory");
    mm.vfree(area);
    let free = || mm.frames.free_pages(&mm.hw) + mm.vmalloc_tables();
    let before = free();
    let hoard: Vec<_> = std::iter::from_fn(|| mm.alloc(Order::PMD).ok()).collect();
    let refused = mm.vmalloc(2 * PAGE_SIZE, Backing::Parted);
    assert!(matches!(refused, Err(VmallocError::OutOfMemory(_))), "{refused:?}");
    let small: Vec<_> = std::iter::from_fn(|| mm.alloc(Order::PAGE).ok()).collect();
    let mut hoard = hoard.into_iter();
    hoard.next().into_iter().for_each(|head| mm.free(head));
    // A block, and no page for its table.
    let refused = mm.vmalloc(2 * PAGE_SIZE, Backing::Parted);
    assert!(matches!(refused, Err(VmallocError::OutOfMemory(_))), "{refused:?}");
    hoard.for_each(|head| mm.free(head));
    small.into_iter().for_each(|pfn| mm.free(pfn));
    assert_eq!(free(), before);
    assert_eq!(world.verdict(), None);
}

/// In an area that has sets of sixteen and pages the rights of the pages change, and it goes back.
fn changes_beside_sets<H: Simulated>(world: &SimWorld<H>) {
    let mm = world.mm();
    let mut area = mm.vmalloc(20 * PAGE_SIZE, Backing::Huge).expect("memory");
    let machine = mm.hw.machine();
    for at in pages(&area) {
        assert!(machine.kernel_store(at, Known::ByPointer, 1));
    }
    let range = area.range();
    let set = VirtRange::from_size(range.start, PAGE_SIZE);
    let refused = mm.set_memory(&mut area, set, Rights::Read);
    assert_eq!(refused, Err(PermissionError::Huge(range.start, Level::Pte)));
    let rest = VirtRange::new(range.start + 16 * PAGE_SIZE, range.end);
    mm.set_memory(&mut area, rest, Rights::Read).expect("pages");
    check(world, rest, Rights::Read);
    mm.vfree(area);
    mm.unmap_aliases();
    assert_eq!(world.verdict(), None);
}

#[test]
fn sets_go_back_as_they_came() {
    for caps in [Caps::CORTEX_A72, Caps::MAX] {
        changes_beside_sets(&plain(config(caps), BY_PAGES));
        changes_beside_sets(&watched(config(caps), BY_PAGES));
    }
}
