//! Each operation on the kernel's addresses at each step of each other, on machines whose linear map is made of blocks:
//! with both judges nothing is wrong, and afterwards every address and every frame is where it was.

use abi::{Order, PAGE_SIZE, PMD_SIZE, Pfn, PhysAddr, PhysRange};
use granule_machine::{Config, Machine, SimWorld, Simulated};
use mm::dump::Half;
use mm::vmalloc::permission::PermissionError;
use mm::vmalloc::{Area, Backing, Io};
use mm::{Note, Sanitized, VmallocError};
use pte::{BbmLevel, Caps, KernelProt, MemType};
use stress::{Rng, World};

/// A CPU that stands two sizes of one mapping.
const RESIZES: Caps = Caps { bbm: BbmLevel::L2NoAbort, ..Caps::CORTEX_A72 };
const CAPS: [Caps; 3] = [Caps::CORTEX_A72, Caps::MAX, RESIZES];

/// A device behind all memory.
fn device(bytes: u64) -> PhysRange {
    PhysRange::from_size(PhysAddr(1 << 40), bytes)
}

fn uses<H: Simulated>(world: &SimWorld<H>, area: &Area) {
    for at in [area.range().start, area.range().end - PAGE_SIZE] {
        assert!(world.kernel_store(at, at.0));
        assert_eq!(world.kernel_load(at), Some(at.0));
    }
}

fn frames<H: Simulated>(world: &SimWorld<H>, n: u64) -> Vec<Pfn> {
    (0..n).map(|_| world.mm().alloc(Order::PAGE).expect("memory")).collect()
}

/// Their owner relies on it that nobody has an alias of them.
fn rely<H: Simulated>(world: &SimWorld<H>, frames: Vec<Pfn>) {
    for pfn in frames {
        world.mm().hw.note(Note::Unaliased(pfn, Order::PAGE));
        world.mm().free(pfn);
    }
}

fn memory<H: Simulated>(world: &SimWorld<H>, bytes: u64, backing: Backing) {
    let area = world.mm().vmalloc(bytes, backing).expect("memory");
    uses(world, &area);
    world.mm().vfree(area);
}

fn pages<H: Simulated>(world: &SimWorld<H>) {
    memory(world, 3 * PAGE_SIZE, Backing::Pages);
}

fn huge<H: Simulated>(world: &SimWorld<H>) {
    memory(world, PMD_SIZE, Backing::Huge);
}

fn sets<H: Simulated>(world: &SimWorld<H>) {
    memory(world, 37 * PAGE_SIZE, Backing::Huge);
}

fn code<H: Simulated>(world: &SimWorld<H>, backing: Backing) {
    let mm = world.mm();
    let mut area = mm.vmalloc(2 * PAGE_SIZE, backing).expect("memory");
    uses(world, &area);
    match mm.seal(&mut area) {
        Ok(()) => {
            assert_eq!(world.kernel_try(area.range().start, Some(0)), None);
            mm.unseal(&mut area).expect("as before");
            uses(world, &area);
            mm.seal(&mut area).expect("as before");
        }
        Err(error) => assert!(matches!(error, PermissionError::Linear(..)), "{error}"),
    }
    mm.vfree(area);
}

fn flips<H: Simulated>(world: &SimWorld<H>) {
    code(world, Backing::Pages);
}

fn parts<H: Simulated>(world: &SimWorld<H>) {
    code(world, Backing::Parted);
}

fn ram<H: Simulated>(world: &SimWorld<H>) {
    let mm = world.mm();
    let frames = frames(world, 3);
    let area = mm.vm_map_ram(&frames, KernelProt::Data, MemType::Normal).expect("memory");
    assert!(world.kernel_store(area.range().start, 1));
    mm.vm_unmap_ram(area);
    mm.unmap_aliases();
    rely(world, frames);
}

fn maps<H: Simulated>(world: &SimWorld<H>) {
    let mm = world.mm();
    let frames = frames(world, 2);
    let area = mm.vmap(&frames, KernelProt::Data, MemType::Normal).expect("memory");
    uses(world, &area);
    mm.vunmap(area);
    mm.unmap_aliases();
    rely(world, frames);
}

/// By pages, and then by blocks where their tables were.
fn promotes<H: Simulated>(world: &SimWorld<H>) {
    let mm = world.mm();
    for from in [PAGE_SIZE, 0] {
        let range = PhysRange::from_size(device(0).start + from, 2 * PMD_SIZE);
        let area = mm.ioremap(range, Io::DEVICE).expect("room");
        let start = area.range().start;
        let frame = mm.vmalloc_frame(start + PMD_SIZE).expect("mapped");
        assert_eq!(frame.base(), range.start + PMD_SIZE);
        mm.iounmap(area);
        mm.unmap_aliases();
    }
}

fn purges<H: Simulated>(world: &SimWorld<H>) {
    world.mm().unmap_aliases();
}

/// There is no room for it, whatever is given up.
fn exhausts<H: Simulated>(world: &SimWorld<H>) {
    let all = device(world.mm().vmalloc_space().bytes());
    assert!(matches!(world.mm().ioremap(all, Io::DEVICE), Err(VmallocError::NoRoom { .. })));
}

fn dumps<H: Simulated>(world: &SimWorld<H>) {
    let mm = world.mm();
    assert_eq!(mm.dump(mm.vmalloc_root(), Half::Kernel, &mut |_| {}).broken, 0);
}

/// What is done, and its name.
type Operation<H> = (&'static str, fn(&SimWorld<H>));

fn operations<H: Simulated>() -> [Operation<H>; 11] {
    [
        ("pages", pages),
        ("huge", huge),
        ("sets", sets),
        ("flips", flips),
        ("parts", parts),
        ("ram", ram),
        ("maps", maps),
        ("promotes", promotes),
        ("purges", purges),
        ("exhausts", exhausts),
        ("dumps", dumps),
    ]
}

fn plain(config: Config) -> SimWorld {
    let mut world = SimWorld::new(config);
    world.open_linear(0);
    world
}

fn watched(config: Config) -> SimWorld<Sanitized<Machine>> {
    let mut world = SimWorld::sanitized(config);
    world.open_linear(0);
    world
}

/// What is wrong at rest, where `before` pages were free or tables.
fn wrong<H: Simulated>(world: &SimWorld<H>, before: u64) -> Option<String> {
    let mm = world.mm();
    let machine = || mm.hw.machine().violation().map(|seen| seen.to_string());
    let audit = || mm.audit().err().map(|broken| broken.to_string());
    let now = all(world);
    let lost = || (now != before).then(|| format!("{before} pages were there, {now} are"));
    world.verdict().or_else(machine).or_else(audit).or_else(lost)
}

fn all<H: Simulated>(world: &SimWorld<H>) -> u64 {
    world.mm().frames.free_pages(&world.mm().hw) + world.mm().vmalloc_tables()
}

/// Each operation after every so many steps of each, on CPUs that have done both before or on such as have not.
fn pairs<H: Simulated>(open: impl Fn(Config) -> SimWorld<H>, stride: usize) {
    for (n, (name, work)) in operations().into_iter().enumerate() {
        for (m, (other, intrusion)) in operations().into_iter().enumerate() {
            let caps = CAPS[(n + m) % CAPS.len()];
            for (turn, steps) in (0..).step_by(stride).enumerate() {
                let world = open(Config { cpus: 2, pages: 4096, caps, ..Config::default() });
                let before = all(&world);
                if turn % 2 == 1 {
                    work(&world);
                    intrusion(&world);
                }
                let went_on = world.intrude(steps, &|| work(&world), &|| intrusion(&world));
                let scene = format!("{other} after step {steps} of {name}, {caps:?}");
                assert_eq!(wrong(&world, before), None, "{scene}");
                if !went_on {
                    break;
                }
            }
        }
    }
}

#[test]
fn each_in_the_midst_of_each() {
    pairs(plain, 151);
}

#[test]
fn each_in_the_midst_of_each_watched() {
    pairs(watched, 307);
}

/// A few CPUs do whatever comes to them.
fn storms<H: Simulated>(open: impl Fn(Config) -> SimWorld<H>) {
    for seed in 1..=12 {
        let (caps, cpus) = (CAPS[seed as usize % CAPS.len()], 2 + seed as usize % 3);
        let world = open(Config { cpus, pages: 16384, caps, seed, ..Config::default() });
        let before = all(&world);
        let body = |cpu: usize| {
            let mut rng = Rng::new(seed, "vmalloc pairs", cpu);
            let operations = operations();
            for _ in 0..25 {
                operations[rng.below(operations.len() as u64) as usize].1(&world);
            }
        };
        world.run(cpus, &body, &mut || {});
        assert_eq!(wrong(&world, before), None, "seed {seed}");
        assert_eq!(world.mm().vmalloc_in_use(), (0, 0), "seed {seed}");
    }
}

#[test]
fn all_at_once() {
    storms(plain);
    storms(watched);
}
