//! Physical ranges at kernel addresses: by the largest leaves, over tables that pages left behind, which are
//! taken out, flushed once, and only then freed.

use crate::common::machines;
use abi::{Event, Level, Order, PAGE_SIZE, PMD_SIZE, PUD_SIZE, Pfn, PhysAddr, PhysRange, VirtAddr};
use evidence::Judge;
use granule_machine::{Config, Known, Machine, SimWorld, Simulated};
use mm::dump::{Half, Region};
use mm::mutant::Mutant;
use mm::vmalloc::{Backing, Io};
use mm::{FaultOutcome, Hardware, Huge, Mm, Note, Place, Sanitized, Slot, Space, VmallocError};
use pte::{Caps, Entry, MemType, Scope};
use stress::{Limit, Options, World};
use sync::{Class, SpinLock};

/// A device behind all memory, at a multiple of the largest block.
const DEVICE: PhysAddr = PhysAddr(1 << 40);

/// More than CPUs keep ready: whoever asks next has the addresses.
const BYTES: u64 = 2 * PMD_SIZE;

fn device(from: u64, bytes: u64) -> PhysRange {
    PhysRange::from_size(DEVICE + from, bytes)
}

fn opened(config: Config) -> SimWorld {
    let mut world = SimWorld::new(config);
    world.open_vmalloc();
    world
}

fn watched(config: Config) -> SimWorld<Sanitized<Machine>> {
    let mut world = SimWorld::sanitized(config);
    world.open_vmalloc();
    world
}

/// What is wrong, if the world's judge or the machine has seen anything.
fn wrong<H: Simulated>(world: &SimWorld<H>) -> Option<String> {
    let machine = || world.mm().hw.machine().violation().map(|seen| seen.what);
    world.verdict().or_else(machine)
}

fn root<H: Simulated>(world: &SimWorld<H>) -> Pfn {
    world.mm().vmalloc_root()
}

/// All that the kernel's half maps.
fn regions<H: Simulated>(world: &SimWorld<H>) -> Vec<Region> {
    let mut all = Vec::new();
    let totals = world.mm().dump(root(world), Half::Kernel, &mut |region| all.push(*region));
    assert_eq!(totals.regions, all.len() as u64);
    assert_eq!(totals.bytes(), all.iter().map(|region| region.bytes).sum::<u64>());
    all
}

/// The leaf that maps `va`, and where that leads.
fn translation<H: Simulated>(world: &SimWorld<H>, va: VirtAddr) -> Option<(Level, PhysAddr)> {
    let mut found = None;
    world.mm().walk(root(world), va, |level, _, entry, _| {
        if let Entry::Leaf(leaf) = entry {
            found = Some((level, leaf.pfn().base() + va.0 % level.span()));
        }
    });
    found
}

/// The slot of `level` for `va`, and what is in it.
fn slot<H: Hardware>(mm: &Mm<H>, va: VirtAddr, level: Level) -> (Slot, Entry) {
    let mut found = None;
    mm.walk(mm.vmalloc_root(), va, |at, slot, entry, _| {
        if at == level {
            found = Some((slot, entry));
        }
    });
    found.expect("a table")
}

/// Maps so much by pages, uses each table, and takes it back: nobody has a leaf of it any more.
fn worn<H: Simulated>(world: &SimWorld<H>, bytes: u64) -> VirtAddr {
    let mm = world.mm();
    let area = mm.ioremap(device(PAGE_SIZE, bytes), Io::DEVICE).expect("room");
    let at = area.range().start;
    for va in (0..bytes).step_by(PMD_SIZE as usize).map(|n| at + n) {
        assert_eq!(translation(world, va), Some((Level::Pte, DEVICE + PAGE_SIZE + (va - at))));
        world.kernel_load(va);
    }
    mm.iounmap(area);
    mm.unmap_aliases();
    at
}

#[test]
fn leaves_are_as_large_as_both_sides_allow() {
    use Level::{Pmd, Pte, Pud};
    const M: u64 = PMD_SIZE;
    /// Leaves of one size, and how many.
    type Leaves = (Level, u64);
    let cases: [(u64, u64, &[Leaves]); 7] = [
        (0, PAGE_SIZE, &[(Pte, 1)]),
        (0, M, &[(Pmd, 1)]),
        (PAGE_SIZE, M, &[(Pte, 512)]),
        (M, 4 * M, &[(Pmd, 4)]),
        (M, 3 * M + 7 * PAGE_SIZE, &[(Pmd, 3), (Pte, 7)]),
        (0, PUD_SIZE, &[(Pud, 1)]),
        (0, PUD_SIZE + 2 * M + PAGE_SIZE, &[(Pud, 1), (Pmd, 2), (Pte, 1)]),
    ];
    for config in machines() {
        let world = opened(config);
        for (from, bytes, leaves) in cases {
            let area = world.mm().ioremap(device(from, bytes), Io::DEVICE).expect("room");
            let at = area.range().start;
            assert_eq!(area.range().bytes(), bytes);
            for page in (0..bytes).step_by((bytes / 64).max(PAGE_SIZE) as usize) {
                let to = translation(&world, at + page).expect("mapped").1;
                assert_eq!(to, DEVICE + from + page);
            }
            let found: Vec<_> = regions(&world)
                .iter()
                .map(|region| (region.first.level(), region.bytes >> region.first.level().shift()))
                .collect();
            assert_eq!(found, leaves, "{from:#x} {bytes:#x}");
            assert!(regions(&world).iter().all(|region| !region.breaks_wx()));
            world.mm().iounmap(area);
            world.mm().unmap_aliases();
            assert_eq!(regions(&world), []);
        }
        assert_eq!(world.verdict(), None);
    }
}

#[test]
fn chunks_lie_one_behind_the_other_and_say_what_they_permit() {
    let world = opened(Config::default());
    let chunks =
        [device(5 * PMD_SIZE, PMD_SIZE), device(0, 3 * PAGE_SIZE), device(9 << 30, PMD_SIZE)];
    let kinds = [
        (Io::DEVICE, MemType::Device, true),
        (Io::NON_CACHED, MemType::NormalNc, true),
        (Io::WRITE_COMBINING.read_only(), MemType::NormalNc, false),
        (Io::MEMORY, MemType::Normal, true),
        (Io::DEVICE.read_only(), MemType::Device, false),
    ];
    for (io, mem, writable) in kinds {
        let area = world.mm().ioremap_chunks(&chunks, io).expect("room");
        let mut at = area.range().start;
        for chunk in chunks {
            for page in (0..chunk.bytes()).step_by(PAGE_SIZE as usize) {
                let to = translation(&world, at + page).expect("mapped").1;
                assert_eq!(to, chunk.start + page);
            }
            at = at + chunk.bytes();
        }
        for region in regions(&world) {
            assert_eq!(
                (region.first.mem_type(), region.first.is_writable()),
                (Some(mem), writable)
            );
            assert!(!region.first.is_exec());
        }
        world.mm().iounmap(area);
    }
    assert_eq!(world.verdict(), None);
}

#[test]
fn what_is_no_physical_range_is_refused() {
    let world = opened(Config::default());
    let mm = world.mm();
    let map =
        |from: u64, to: u64| mm.ioremap(PhysRange::new(PhysAddr(from), PhysAddr(to)), Io::DEVICE);
    assert_eq!(map(0, 0), Err(VmallocError::Empty));
    assert_eq!(mm.ioremap_chunks(&[], Io::DEVICE), Err(VmallocError::Empty));
    for (from, to) in [(1, PAGE_SIZE), (0, 0xfff), (1 << 48, (1 << 48) + PAGE_SIZE)] {
        assert_eq!(map(from, to), Err(VmallocError::Unmappable(PhysAddr(from))));
    }
    assert!(matches!(map(0, 1 << 40), Err(VmallocError::NoRoom { .. })));
    assert_eq!(mm.vmalloc_in_use(), (0, 0));
}

/// Behind the last frame that a descriptor can name there is none to be asked about.
#[test]
fn the_last_frames_are_mapped() {
    for pages in [1, 16, 17, 512] {
        let world = opened(Config::default());
        let mm = world.mm();
        let end = 1 << 48;
        let range = PhysRange::new(PhysAddr(end - pages * PAGE_SIZE), PhysAddr(end));
        let area = mm.ioremap(range, Io::DEVICE).expect("room");
        let last = area.range().end - PAGE_SIZE;
        assert_eq!(mm.vmalloc_frame(last), Some(Pfn(end / PAGE_SIZE - 1)), "{pages} pages");
        mm.iounmap(area);
    }
}

/// What a promotion costs: one flush for all tables together, whatever their number, and one barrier that shows
/// the blocks.
#[test]
fn all_tables_go_by_one_flush() {
    const ALL: u64 = 64 << 20;
    for config in machines() {
        let world = opened(config);
        let (mm, free) = (world.mm(), || world.mm().frames.free_pages(&world.mm().hw));
        let at = worn(&world, ALL);
        let (tables, before) = (mm.vmalloc_tables(), free());
        let events = [
            Event::TlbiVa,
            Event::TlbiVaLast,
            Event::TlbiRange,
            Event::TlbiAll,
            Event::DsbComplete,
            Event::DsbPublish,
        ];
        let count = || events.map(|event| mm.stats.total(event));
        let counted = count();
        let area = mm.ioremap(device(0, ALL), Io::DEVICE).expect("room");
        assert_eq!(area.range().start, at, "other addresses");
        let [by_va, last, range, all, complete, publish] =
            core::array::from_fn(|n| count()[n] - counted[n]);
        assert_eq!((complete, publish, last), (1, 2, 0), "barriers");
        match config.caps.tlb_range {
            true => assert!(range + by_va <= 4 && all == 0, "{range} by range, {by_va} by address"),
            false => assert_eq!((by_va, range, all), (ALL / PMD_SIZE, 0, 0)),
        }
        assert_eq!(mm.vmalloc_tables(), tables - ALL / PMD_SIZE);
        assert_eq!(free(), before + ALL / PMD_SIZE, "a table was not freed");
        let leaves: Vec<_> =
            regions(&world).iter().map(|region| (region.first.level(), region.bytes)).collect();
        assert_eq!(leaves, [(Level::Pmd, ALL)]);
        assert_eq!(world.verdict(), None);
    }
}

/// A block of 1 GiB over a table of tables: those below go too.
#[test]
fn a_table_of_tables_goes_with_those_below() {
    for config in machines() {
        let world = opened(config);
        let mm = world.mm();
        for n in [1, 3, 40] {
            let at = scattered(&world, n);
            let tables = mm.vmalloc_tables();
            let area = mm.ioremap(device(0, PUD_SIZE), Io::DEVICE).expect("room");
            assert_eq!(area.range().start, at);
            assert_eq!(translation(&world, at).expect("mapped").0, Level::Pud);
            assert_eq!(mm.vmalloc_tables(), tables - n - 1, "with {n} tables of pages");
            mm.iounmap(area);
            mm.unmap_aliases();
            assert_eq!(world.verdict(), None);
        }
    }
}

/// A GiB in which `n` tables of pages are, here and there, with nothing in them.
fn scattered<H: Simulated>(world: &SimWorld<H>, n: u64) -> VirtAddr {
    let mm = world.mm();
    // Every other 2 MiB of it is mapped by a page behind a block's hole.
    let mut chunks = Vec::new();
    for at in 0..512 {
        match at % 12 == 0 && at / 12 < n {
            true => chunks.push(device(at * PMD_SIZE + PAGE_SIZE, PMD_SIZE)),
            false => chunks.push(device(at * PMD_SIZE, PMD_SIZE)),
        }
    }
    let area = mm.ioremap_chunks(&chunks, Io::DEVICE).expect("room");
    let at = area.range().start;
    assert_eq!(at.0 % PUD_SIZE, 0);
    for block in 0..512 {
        world.kernel_load(at + block * PMD_SIZE);
    }
    mm.iounmap(area);
    mm.unmap_aliases();
    at
}

/// A table in which something is stays, and pages do; others go.
#[test]
fn a_table_that_is_not_empty_stays() {
    let world = opened(Config::default());
    let mm = world.mm();
    let at = worn(&world, 4 * PMD_SIZE);
    let (left, _) = slot(mm, at + PMD_SIZE + 7 * PAGE_SIZE, Level::Pte);
    // Nothing that hardware would use: but somebody's.
    mm.hw.store(left, 1 << 40);
    let tables = mm.vmalloc_tables();
    let area = mm.ioremap(device(0, 4 * PMD_SIZE), Io::DEVICE).expect("room");
    assert_eq!(area.range().start, at);
    let leaves: Vec<_> = regions(&world).iter().map(|region| region.first.level()).collect();
    assert_eq!(leaves, [Level::Pmd, Level::Pte, Level::Pmd]);
    assert_eq!(mm.vmalloc_tables(), tables - 3);
    assert_eq!(world.verdict(), None);
}

/// Tables are shared by neighbours: none goes that serves anybody else.
#[test]
fn neighbours_keep_their_tables() {
    for config in machines() {
        let world = opened(config);
        let mm = world.mm();
        let at = worn(&world, 2 * PMD_SIZE);
        let memory = |pages| mm.vmalloc(pages * PAGE_SIZE, Backing::Pages).expect("memory");
        // Behind the two blocks, in the next table, and this side of it.
        let area = mm.ioremap(device(0, 2 * PMD_SIZE), Io::DEVICE).expect("room");
        let neighbours = [memory(3), memory(600)];
        assert_eq!(area.range().start, at);
        for (n, other) in neighbours.iter().enumerate() {
            assert!(world.kernel_store(other.range().start, n as u64));
        }
        mm.iounmap(area);
        mm.unmap_aliases();
        worn(&world, 2 * PMD_SIZE);
        let area = mm.ioremap(device(0, 2 * PMD_SIZE), Io::DEVICE).expect("room");
        for (n, other) in neighbours.into_iter().enumerate() {
            assert_eq!(world.kernel_load(other.range().start), Some(n as u64));
            mm.vfree(other);
        }
        mm.iounmap(area);
        assert_eq!(world.verdict(), None);
    }
}

/// While tables go, neighbours link theirs in the same pages, and take theirs out.
#[test]
fn neighbours_change_the_same_tables_meanwhile() {
    fn raced<H: Simulated>(
        open: impl Fn(Config) -> SimWorld<H>,
        beside: fn(&SimWorld<H>),
        stride: usize,
    ) {
        let mut tried = 0;
        for steps in (1..).step_by(stride) {
            let world = open(Config { cpus: 2, ..Config::default() });
            // Two that were worn, one behind the other.
            let first = world.mm().ioremap(device(PAGE_SIZE, BYTES), Io::DEVICE).expect("room");
            worn(&world, BYTES);
            world.mm().iounmap(first);
            world.mm().unmap_aliases();
            let work = || {
                let area = world.mm().ioremap(device(0, BYTES), Io::DEVICE).expect("room");
                for page in [0, 1023] {
                    let va = area.range().start + page * PAGE_SIZE;
                    let to = translation(&world, va).expect("mapped");
                    assert_eq!(to, (Level::Pmd, DEVICE + page * PAGE_SIZE));
                }
            };
            let went_on = world.intrude(steps, &work, &|| beside(&world));
            assert_eq!(wrong(&world), None, "after step {steps}");
            if !went_on {
                break;
            }
            tried += 1;
        }
        assert!(tried > 10, "{tried} places");
    }
    fn links<H: Simulated>(world: &SimWorld<H>) {
        let area = world.mm().vmalloc(600 * PAGE_SIZE, Backing::Pages).expect("memory");
        assert!(world.kernel_store(area.range().start, 7));
        world.mm().vfree(area);
    }
    fn promotes<H: Simulated>(world: &SimWorld<H>) {
        let area = world.mm().ioremap(device(PUD_SIZE, BYTES), Io::DEVICE).expect("room");
        assert_eq!(translation(world, area.range().start), Some((Level::Pmd, DEVICE + PUD_SIZE)));
    }
    raced(opened, links, 29);
    raced(opened, promotes, 29);
    raced(watched, links, 53);
    raced(watched, promotes, 53);
}

// --- known bugs ----------------------------------------------------------------------------------

/// Walks to tables are cached by a CPU that runs a space, and the tables go while it does.
fn promotes<H: Simulated>(world: &SimWorld<H>, bytes: u64) -> Option<String> {
    let space = Space::new(world.mm()).expect("memory");
    world.inside(&space, &mut || {
        let at = match bytes {
            PUD_SIZE => scattered(world, 3),
            bytes => worn(world, bytes),
        };
        let area = world.mm().ioremap(device(0, bytes), Io::DEVICE).expect("room");
        assert_eq!(area.range().start, at);
        // The tables' pages are somebody's at once, with what looks like descriptors.
        for _ in 0..bytes / PMD_SIZE % 64 {
            let Ok(page) = world.mm().alloc(Order::PAGE) else { break };
            (0..512).for_each(|n| world.mm().hw.poke(page.base() + 8 * n, 0x40_0000_0703));
        }
        for block in 0..(bytes / PMD_SIZE).min(48) {
            world.kernel_load(at + block * PMD_SIZE + PAGE_SIZE);
        }
    });
    world.verdict()
}

/// Both judges are silent without the bug, and both see it.
fn both_see(mutant: Mutant, bytes: u64) {
    let config = Config { cpus: 2, ..Config::default() };
    let plain = |mutant| {
        let world = opened(config);
        world.mm().arm(mutant);
        promotes(&world, bytes)
    };
    let oracle = |mutant| {
        let world = watched(config);
        world.mm().arm(mutant);
        promotes(&world, bytes)
    };
    assert_eq!((plain(None), oracle(None)), (None, None));
    let said = evidence::model(mutant.name(), || plain(Some(mutant)));
    println!("{}", said.expect("the machine sees it"));
    let look = || oracle(Some(mutant));
    let said = evidence::tried(Judge::Sanitizer, mutant.name(), look, String::clone);
    println!("{}", said.expect("the oracle sees it"));
}

#[test]
fn a_table_that_is_freed_before_the_flush_is_missed() {
    both_see(Mutant::IoremapFreeFirst, PMD_SIZE);
    both_see(Mutant::IoremapFreeFirst, 4 * PMD_SIZE);
}

#[test]
fn a_walk_under_another_asid_is_missed() {
    both_see(Mutant::IoremapOneAsid, PMD_SIZE);
}

#[test]
fn a_table_that_one_operation_does_not_reach_is_missed() {
    both_see(Mutant::IoremapOneOperation, 4 * PMD_SIZE);
    both_see(Mutant::IoremapOneOperation, PUD_SIZE);
}

/// A mapping is used as soon as it is there, by a CPU that has walked for the address before.
#[test]
fn a_context_that_is_not_synchronised_is_missed() {
    let used = |mutant, seed| {
        let world = opened(Config { cpus: 1, seed, ..Config::default() });
        world.mm().arm(mutant);
        let at = worn(&world, PMD_SIZE);
        let area = world.mm().ioremap(device(0, PMD_SIZE), Io::DEVICE).expect("room");
        assert_eq!(area.range().start, at);
        let machine = world.mm().hw.machine();
        for page in [0, 1, 2, 511] {
            machine.kernel_load(at + page * PAGE_SIZE, Known::Before);
        }
        world.verdict()
    };
    let tried = |mutant| (1..40).find_map(|seed| used(mutant, seed));
    assert_eq!(tried(None), None);
    let mutant = Mutant::IoremapNoIsb;
    println!("{}", evidence::model(mutant.name(), || tried(Some(mutant))).expect("is seen"));
}

/// A dump is stopped at any step, and meanwhile the table it looks at is taken out, if that is possible.
fn dumped<H: Simulated>(
    open: impl Fn(Config) -> SimWorld<H>,
    mutant: Option<Mutant>,
) -> Option<String> {
    let mut tried = 0;
    for steps in (1..).step_by(83) {
        let world = open(Config { cpus: 2, ..Config::default() });
        let at = worn(&world, BYTES);
        world.mm().arm(mutant);
        let work = || {
            world.mm().dump(root(&world), Half::Kernel, &mut |region| {
                assert_eq!((region.start, region.bytes), (at, BYTES));
            });
        };
        let intrusion = || {
            let area = world.mm().ioremap(device(0, BYTES), Io::DEVICE).expect("room");
            assert_eq!(area.range().start, at);
        };
        let went_on = world.intrude(steps, &work, &intrusion);
        if let Some(what) = wrong(&world) {
            return Some(what);
        }
        if !went_on {
            break;
        }
        tried += 1;
    }
    assert!(tried > 10, "{tried} places");
    None
}

#[test]
fn a_dump_in_a_table_that_goes_is_missed() {
    assert_eq!(dumped(opened, None), None);
    assert_eq!(dumped(watched, None), None);
    for mutant in [Mutant::DumpUnprotected, Mutant::IoremapNoGrace] {
        let said = evidence::model(mutant.name(), || dumped(opened, Some(mutant)));
        println!("{}", said.expect("is seen"));
        assert!(dumped(watched, Some(mutant)).is_some(), "{mutant:?}");
    }
}

// --- judges --------------------------------------------------------------------------------------

/// What each judge says of a kernel's table that is freed at a wrong moment: linked; unlinked and not flushed;
/// flushed for one ASID, or leaves only; and at the right one.
#[test]
fn a_kernel_table_is_freed_by_the_rules() {
    use pte::{AsidMatch, Depth, Target, Tlbi};
    fn freed<H: Simulated>(
        world: &SimWorld<H>,
        steps: u32,
        op: Option<(AsidMatch, Depth)>,
    ) -> bool {
        let mm = world.mm();
        let space = Space::new(mm).expect("memory");
        world.inside(&space, &mut || {
            let at = worn(world, PMD_SIZE);
            let (slot, entry) = slot(mm, at, Level::Pmd);
            let Entry::Table(table) = entry else { panic!("{entry}") };
            if steps >= 1 {
                let lock = SpinLock::new(Class::PmdTable, ());
                let _locked = lock.lock(&mm.hw);
                mm.hw.store(slot, 0);
                mm.hw.publish(Scope::InnerShareable);
            }
            if let Some((asid, depth)) = op {
                let target = Target::Va { va: at, asid, depth, hint: None };
                mm.hw.tlbi(Tlbi { target, scope: Scope::InnerShareable });
            }
            if steps >= 2 {
                mm.hw.complete(Scope::InnerShareable);
                mm.hw.synchronize_context();
            }
            mm.hw.note(Note::TableFree(table.pfn(), Level::Pte));
        });
        let verdict = world.verdict();
        let is_said = |what: &String| what.contains("freed");
        assert!(verdict.iter().all(is_said), "another rule: {verdict:?}");
        verdict.is_none()
    }
    let own = AsidMatch::Only(abi::Asid(1));
    let cases = [
        (0, None, false),
        (1, None, false),
        (2, None, false),
        (1, Some((AsidMatch::Any, Depth::AllLevels)), false),
        (2, Some((AsidMatch::Any, Depth::LastLevel)), false),
        (2, Some((own, Depth::AllLevels)), false),
        (2, Some((AsidMatch::Any, Depth::AllLevels)), true),
    ];
    for (steps, op, right) in cases {
        let config = Config { cpus: 2, caps: Caps::CORTEX_A72, ..Config::default() };
        assert_eq!(freed(&opened(config), steps, op), right, "machine: {steps} {op:?}");
        assert_eq!(freed(&watched(config), steps, op), right, "oracle: {steps} {op:?}");
    }
}

#[test]
fn a_user_tree_is_dumped_by_regions() {
    let world = opened(Config::default());
    let space = Space::new(world.mm()).expect("memory");
    let base = VirtAddr(1 << 40);
    let areas = [(0, PMD_SIZE, Huge::Default), (2 * PMD_SIZE, 3 * PAGE_SIZE, Huge::Never)];
    for (at, bytes, huge) in areas {
        space.map(Place::At(base + at), bytes, abi::Prot::ReadWrite, huge).expect("free");
        for page in (0..bytes).step_by(PAGE_SIZE as usize) {
            let outcome = space.fault(base + at + page, abi::Access::Write);
            assert!(matches!(outcome, FaultOutcome::Mapped | FaultOutcome::Spurious));
        }
    }
    let mut all = Vec::new();
    let totals = world.mm().dump(space.root(), Half::User, &mut |region| all.push(*region));
    let found: Vec<_> =
        all.iter().map(|region| (region.start, region.bytes, region.first.level())).collect();
    let expected = [(base, PMD_SIZE, Level::Pmd), (base + 2 * PMD_SIZE, 3 * PAGE_SIZE, Level::Pte)];
    assert_eq!(found, expected);
    assert_eq!((totals.broken, totals.first_broken), (0, None));
    assert_eq!(all[1].to_string(), "0x10000400000-0x10000402fff   12K by 4K rw- user");
}

/// A leaf that is both written and executed is found, whoever may do which.
#[test]
fn what_is_written_and_executed_is_found() {
    use pte::bits::{PXN, RDONLY, UXN, WRITE};
    let world = SimWorld::new(Config::default());
    let mm = world.mm();
    let mut table = mm.alloc_zeroed(Order::PAGE).expect("memory");
    let root = table;
    mm.hw.note(Note::TableAlloc(root, Level::Pgd));
    for (level, down) in
        [(Level::Pgd, Level::Pud), (Level::Pud, Level::Pmd), (Level::Pmd, Level::Pte)]
    {
        let below = mm.alloc_zeroed(Order::PAGE).expect("memory");
        mm.hw.note(Note::TableAlloc(below, down));
        mm.hw.store(Slot::new(table, level.index(VirtAddr(0))), pte::Table::new(below).word());
        table = below;
    }
    let page = pte::Leaf::kernel(Level::Pte, Pfn(7), pte::KernelProt::Data, MemType::Normal);
    let cases = [
        (page.word(), false),
        (page.word() & !PXN, true),
        (page.word() & !UXN, true),
        (page.word() & !(PXN | WRITE) | RDONLY, false),
        // Not "writable" for software, and still written by hardware.
        (page.word() & !(PXN | WRITE), true),
    ];
    for (n, (word, _)) in cases.iter().enumerate() {
        mm.hw.store(Slot::new(table, 2 * n), *word);
    }
    let mut broken = Vec::new();
    let totals = mm.dump(root, Half::User, &mut |region| broken.push(region.breaks_wx()));
    assert_eq!(broken, cases.map(|(_, is_broken)| is_broken));
    assert_eq!(totals.broken, 3);
    assert_eq!(totals.first_broken.map(|region| region.start), Some(VirtAddr(2 * PAGE_SIZE)));
}

/// Memory by blocks takes the place of pages likewise.
#[test]
fn huge_memory_takes_the_place_of_pages() {
    for config in machines() {
        let world = opened(config);
        let mm = world.mm();
        let at = worn(&world, 2 * PMD_SIZE);
        let tables = mm.vmalloc_tables();
        let area = mm.vmalloc(2 * PMD_SIZE, Backing::Huge).expect("memory");
        assert_eq!(area.range().start, at);
        let levels = [0, PMD_SIZE].map(|n| translation(&world, at + n).expect("mapped").0);
        assert_eq!(levels, [Level::Pmd; 2]);
        assert_eq!(mm.vmalloc_tables(), tables - 2);
        mm.vfree(area);
        assert_eq!(world.verdict(), None);
    }
}

/// A workload, on an opened machine: what it or its judge says.
fn played<H: Simulated>(world: &SimWorld<H>, name: &str, seed: u64) -> Option<String> {
    let limit = Limit::Rounds(12);
    let options = Options { cpus: world.cpus(), limit, seed, bytes: 64 << 10 };
    let mut report = String::new();
    let summary = stress::run_all(world, options, &|n| n == name, &mut report, &mut |_, _, _| {});
    let failed = summary.expect("writing to a string works").failed > 0;
    wrong(world).or_else(|| failed.then_some(report))
}

#[test]
fn workloads_are_silent_and_find_the_bugs() {
    let homes = [
        ("ioremap-huge", Mutant::IoremapFreeFirst),
        ("ioremap-huge", Mutant::IoremapOneAsid),
        ("ioremap-huge", Mutant::IoremapOneOperation),
        ("ptdump-race", Mutant::IoremapNoGrace),
        ("ptdump-race", Mutant::DumpUnprotected),
    ];
    let config = |caps, seed| Config { cpus: 3, caps, seed, ..Config::default() };
    for name in ["ioremap-huge", "ptdump-race"] {
        for (caps, seed) in [(Caps::CORTEX_A72, 1), (Caps::MAX, 2), (Caps::CORTEX_A72, 3)] {
            let world = opened(config(caps, seed));
            assert_eq!(played(&world, name, seed), None, "{name} {seed}");
            assert!(world.mm().stats.total(Event::VmapTableFree) > 0, "{name} shows nothing");
            assert_eq!(played(&watched(config(caps, seed)), name, seed), None, "{name} {seed}");
        }
    }
    for (name, mutant) in homes {
        let found = (1..12).find_map(|seed| {
            let world = opened(config(Caps::CORTEX_A72, seed));
            world.mm().arm(Some(mutant));
            played(&world, name, seed)
        });
        println!("{}: {}", mutant.name(), found.unwrap_or_else(|| panic!("{mutant:?}")));
    }
}
