//! Populating: as good as touching each page, and as careful.

use crate::common::look::{Size, count, leaf, size};
use crate::common::races::{at_each_step, misses, world, wrong};
use crate::common::{Untouched, machines};
use abi::{Access, Event, PAGE_SIZE, PMD_SIZE, Prot, VirtAddr, VirtRange};
use granule_machine::{Config, Machine, SimWorld};
use mm::mutant::Mutant;
use mm::{Advice, AdviseError, FaultOutcome, Huge, Place, Space};
use stress::{Rng, World};

const VA: VirtAddr = VirtAddr(1 << 40);
/// What a contiguous set maps.
const SET: u64 = 16 * PAGE_SIZE;
const ADVICE: [Huge; 3] = [Huge::Default, Huge::Advised, Huge::Never];

fn space(world: &SimWorld, bytes: u64, huge: Huge) -> Space<'_, Machine> {
    let space = Space::new(world.mm()).expect("memory");
    space.map(Place::At(VA), bytes, Prot::ReadWrite, huge).expect("free");
    space
}

/// Populating leaves what an access to each page would, whatever was there before.
#[test]
fn populating_is_as_good_as_touching() {
    let advice = [(Access::Read, Advice::PopulateRead), (Access::Write, Advice::PopulateWrite)];
    for config in machines() {
        for (huge, (access, advice)) in ADVICE.into_iter().flat_map(|h| advice.map(|a| (h, a))) {
            let world = SimWorld::new(config);
            let untouched = Untouched::new(&world);
            let space = space(&world, 2 * PMD_SIZE + 5 * SET + PAGE_SIZE, huge);
            let all = VirtRange::from_size(VA, 2 * PMD_SIZE + 5 * SET + PAGE_SIZE);
            // Something of everything is there already.
            for (access, offset) in [
                (Access::Write, 3 * PAGE_SIZE),
                (Access::Read, PMD_SIZE + 7 * PAGE_SIZE),
                (Access::Write, 2 * PMD_SIZE + SET),
            ] {
                assert_eq!(space.fault(VA + offset, access), FaultOutcome::Mapped);
            }
            let child = space.fork().expect("memory");
            let hole = VirtRange::from_size(VA + 2 * PMD_SIZE + 3 * PAGE_SIZE, 2 * PAGE_SIZE);
            space.unmap(hole).expect("memory");
            let first = VirtRange::from_size(hole.start, PAGE_SIZE);
            assert_eq!(space.advise(all, advice), Err(AdviseError::Hole(first)));
            let before = count(&world, Event::PgFault) - count(&world, Event::PgFaultSpurious);
            world.inside(&space, &mut || {
                let pages = (0..all.pages()).map(|n| VA + n * PAGE_SIZE);
                for va in pages.filter(|va| !hole.contains(*va)) {
                    let done = match access {
                        Access::Write => world.store(&space, va, va.0),
                        _ => world.load(&space, va).map(drop),
                    };
                    assert_eq!(done, Ok(()), "{va}");
                }
            });
            let resolved = count(&world, Event::PgFault) - count(&world, Event::PgFaultSpurious);
            assert_eq!(resolved, before, "{huge:?} {access}");
            world.mm().audit().expect("in order");
            drop((space, child));
            untouched.check(&world);
        }
    }
}

/// Populating on several CPUs at once, with faults between: nothing is mapped twice or lost.
#[test]
fn populating_and_touching_meet() {
    for huge in ADVICE {
        for seed in 0..6 {
            let world = SimWorld::new(Config { cpus: 3, seed, ..Config::default() });
            let untouched = Untouched::new(&world);
            let space = space(&world, 3 * SET, huge);
            let body = |cpu: usize| {
                let mut rng = Rng::new(seed, "populate", cpu);
                world.inside(&space, &mut || {
                    for _ in 0..12 {
                        let page = rng.below(48);
                        let va = VA + page * PAGE_SIZE;
                        let part = VirtRange::from_size(va, (1 + rng.below(48 - page)) * PAGE_SIZE);
                        let advice = [Advice::PopulateRead, Advice::PopulateWrite];
                        assert_eq!(space.advise(part, advice[rng.below(2) as usize]), Ok(()));
                        assert_eq!(world.store(&space, va + 8 * cpu as u64, va.0), Ok(()));
                        assert_eq!(world.load(&space, va + 8 * cpu as u64), Ok(va.0));
                    }
                });
            };
            world.run(3, &body, &mut || {});
            assert_eq!(world.violation(), None, "{huge:?} seed {seed}");
            world.mm().audit().expect("in order");
            drop(space);
            untouched.check(&world);
        }
    }
}

/// What somebody else maps meanwhile, for reading only, is no less ready for writing in the end.
#[test]
fn what_is_read_meanwhile_can_be_written() {
    let scenario = |mutant| {
        at_each_step(1, |steps| {
            let world = world(mutant);
            let space = space(&world, SET, Huge::Never);
            let all = VirtRange::from_size(VA, SET);
            let populates = || assert_eq!(space.advise(all, Advice::PopulateWrite), Ok(()));
            let reads = || {
                let _ = space.fault(VA + 5 * PAGE_SIZE, Access::Read);
            };
            if !world.intrude(steps, &populates, &reads) {
                return None;
            }
            let ready =
                |n| space.fault(VA + n * PAGE_SIZE, Access::Write) == FaultOutcome::Spurious;
            let found = (0..16).find(|n| !ready(*n)).map(|n| format!("page {n} is not ready"));
            Some(found.or_else(|| wrong(&world)).map_or(Ok(()), Err))
        })
    };
    misses(scenario, &[Mutant::PopulatePassesOver]);
}

/// Out of memory half way: what comes before is ready, and the place is told.
#[test]
fn populating_stops_where_memory_ends() {
    for huge in ADVICE {
        let world = SimWorld::new(Config { pages: 100, ..machines()[0] });
        let untouched = Untouched::new(&world);
        let space = space(&world, 128 * PAGE_SIZE, huge);
        let all = VirtRange::from_size(VA, 128 * PAGE_SIZE);
        let Err(AdviseError::OutOfMemory(at, _)) = space.advise(all, Advice::PopulateWrite) else {
            panic!("there is no memory for all of it");
        };
        assert_eq!(at, VA + 96 * PAGE_SIZE, "all but the tables");
        assert!((0..96).all(|n| leaf(&space, VA + n * PAGE_SIZE).is_some()));
        assert_eq!(size(&space, at), Size::Nothing);
        drop(space);
        untouched.check(&world);
    }
}
