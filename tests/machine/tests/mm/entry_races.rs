//! A space that a CPU enters while another CPU unmaps: which number the flush names is read after
//! the entries are cleared, or a CPU that came in between keeps what it walked.

use abi::{Access, PAGE_SIZE, PMD_SIZE, Prot, VirtAddr, VirtRange};
use granule_machine::{Config, SimWorld};
use mm::mutant::Mutant;
use mm::{Huge, Place, Space};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use stress::{Rng, World};

const AT: VirtAddr = VirtAddr(1 << 30);

fn world(seed: u64, mutant: Option<Mutant>) -> SimWorld {
    let world = SimWorld::new(Config { cpus: 2, seed, pages: 4096, ..Config::default() });
    world.mm().arm(mutant);
    world
}

fn told(world: &SimWorld) -> Option<String> {
    world.violation().map(|found| format!("step {}: {}", found.step, found.what))
}

/// What is unmapped, and how it was mapped.
#[derive(Clone, Copy, Debug)]
enum Shape {
    SmallAll,
    SmallPart,
    HugeAll,
    HugePart,
}

/// CPU 0 unmaps what faults alone have populated, in a space that it has run or that nobody has;
/// CPU 1 enters the space for the first time.
fn first_entry(seed: u64, shape: Shape, ran: bool, mutant: Option<Mutant>) -> Option<String> {
    let world = world(seed, mutant);
    let (bytes, touched, huge) = match shape {
        Shape::SmallAll | Shape::SmallPart => (4 * PAGE_SIZE, 4, Huge::Never),
        Shape::HugeAll | Shape::HugePart => (PMD_SIZE, 1, Huge::Default),
    };
    let gone = match shape {
        Shape::SmallAll | Shape::HugeAll => bytes,
        Shape::SmallPart | Shape::HugePart => bytes / 2,
    };
    {
        let space = Space::new(world.mm()).expect("memory for a root");
        space.map(Place::At(AT), bytes, Prot::ReadWrite, huge).expect("a range of our own");
        for page in 0..touched {
            let _ = space.fault(AT + page * PAGE_SIZE, Access::Write);
        }
        if ran {
            world.inside(&space, &mut || {});
        }
        let body = |cpu| {
            if cpu == 0 {
                (0..seed % 7).for_each(|_| world.yield_now());
                space.unmap(VirtRange::from_size(AT, gone)).expect("a range of our own");
                return;
            }
            world.inside(&space, &mut || {
                for n in 0..20 {
                    let _ = world.load(&space, AT + n % touched * PAGE_SIZE);
                }
            });
        };
        world.run(2, &body, &mut || {});
    }
    told(&world)
}

/// CPU 0 maps and unmaps from outside; CPU 1 comes and goes, and rolls the ASIDs over meanwhile.
fn rollover(seed: u64, mutant: Option<Mutant>) -> Option<String> {
    const PAGES: u64 = 32;
    let world = world(seed, mutant);
    let mm = world.mm();
    mm.limit_asids(Some(3));
    {
        let space = Space::new(mm).expect("memory for a root");
        // A neighbour keeps the table, so that only leaves go.
        let next_door = Place::At(AT + 64 * PAGE_SIZE);
        space.map(next_door, PAGE_SIZE, Prot::ReadWrite, Huge::Never).expect("a range of our own");
        let done = AtomicBool::new(false);
        let body = |cpu| {
            if cpu == 0 {
                for _ in 0..12 {
                    let bytes = PAGES * PAGE_SIZE;
                    space
                        .map(Place::At(AT), bytes, Prot::ReadWrite, Huge::Never)
                        .expect("a range of our own");
                    for page in 0..PAGES {
                        let _ = space.fault(AT + page * PAGE_SIZE, Access::Write);
                    }
                    space.unmap(VirtRange::from_size(AT, bytes)).expect("a range of our own");
                }
                done.store(true, SeqCst);
                return;
            }
            let others: Vec<_> =
                (0..9).map(|_| Space::new(mm).expect("memory for a root")).collect();
            let mut rng = Rng::new(seed, "visitor", cpu);
            while !done.load(SeqCst) && world.violation().is_none() {
                let pick = rng.below(12) as usize;
                if let Some(other) = others.get(pick) {
                    world.inside(other, &mut || {});
                    continue;
                }
                world.inside(&space, &mut || {
                    // A look without a fault: a fault would wait for the unmapping to end.
                    for _ in 0..4 {
                        let va = AT + rng.below(PAGES) * PAGE_SIZE;
                        drop(space.gup_fast(va, Access::Read));
                    }
                });
            }
        };
        world.run(2, &body, &mut || {});
    }
    told(&world)
}

#[test]
fn a_first_entry_during_unmap_keeps_nothing() {
    for shape in [Shape::SmallAll, Shape::SmallPart, Shape::HugeAll, Shape::HugePart] {
        for seed in 1..100 {
            let found = first_entry(seed, shape, seed % 2 == 0, None);
            assert_eq!(found, None, "{shape:?} seed {seed}");
        }
    }
}

#[test]
fn a_rollover_during_unmap_keeps_nothing() {
    for seed in 1..40 {
        assert_eq!(rollover(seed, None), None, "seed {seed}");
    }
}

#[test]
fn an_asid_read_before_the_clear_is_caught_both_ways() {
    let (name, bug) = (Mutant::AsidBeforeClear.name(), Some(Mutant::AsidBeforeClear));
    let look = || (1..200).find_map(|seed| first_entry(seed, Shape::SmallAll, false, bug));
    let first = evidence::model(name, look);
    assert!(first.is_some(), "not caught at a first entry");
    let second = evidence::model(name, || (1..100).find_map(|seed| rollover(seed, bug)));
    assert!(second.is_some(), "not caught at a roll-over");
}

/// A space that one CPU has run is flushed on that CPU alone: a second one must be noted before it walks.
#[test]
fn a_cpu_noted_after_it_walks_is_caught() {
    let (name, bug) = (Mutant::CpuNotedLate.name(), Some(Mutant::CpuNotedLate));
    let look = || (1..400).find_map(|seed| first_entry(seed, Shape::SmallPart, true, bug));
    let caught = evidence::model(name, look);
    assert!(caught.is_some(), "not caught");
    println!("{}", caught.unwrap_or_default());
}
