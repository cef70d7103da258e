//! Laws of address-space identifiers: who has which, in which generation, and that nothing is
//! invalidated under a number that its space has no more.

use crate::common::{Untouched, machines};
use abi::{Access, Event, PAGE_SIZE, PMD_SIZE, Prot, VirtAddr, VirtRange};
use evidence::Judge;
use granule_machine::{Config, Machine, SimWorld, Violation};
use mm::mutant::Mutant;
use mm::{Huge, Place, Space};
use pte::Caps;
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Mutex, PoisonError};
use stress::{Rng, World};

const VA: VirtAddr = VirtAddr(1 << 40);
const FEW: Caps = Caps { asid_bits: 8, ..Caps::CORTEX_A72 };

fn on(caps: Caps, cpus: usize, seed: u64) -> SimWorld {
    SimWorld::new(Config { caps, cpus, seed, ..Config::default() })
}

fn spaces(world: &SimWorld, n: usize) -> Vec<Space<'_, Machine>> {
    (0..n).map(|_| Space::new(world.mm()).expect("memory")).collect()
}

#[test]
fn a_space_that_never_ran_has_no_number() {
    let world = on(FEW, 1, 1);
    let space = Space::new(world.mm()).expect("memory");
    assert_eq!(space.asid(), None);
    space.map(Place::At(VA), PAGE_SIZE, Prot::ReadWrite, Huge::Never).expect("free");
    drop(space.gup(VA, Access::Write).expect("memory"));
    assert_eq!(space.asid(), None, "a fault is no run");
    world.inside(&space, &mut || ());
    assert_eq!(space.asid().map(|asid| asid.0), Some(1));
}

/// One CPU: in one generation a number belongs to one space, and 0 to none. Spaces beyond the number
/// of numbers begin a generation, not one earlier.
#[test]
fn a_number_has_one_owner_in_a_generation() {
    let world = on(FEW, 1, 1);
    let all = spaces(&world, 300);
    let mut owners = HashMap::new();
    let mut rng = Rng::new(1, "asids", 0);
    let first = world.mm().asids.generation();
    for turn in 0..2_000 {
        // First one after the other, then any.
        let which = if turn < all.len() { turn } else { rng.below(300) as usize };
        world.inside(&all[which], &mut || {
            let generation = world.mm().asids.generation();
            let asid = all[which].asid().expect("it runs").0;
            assert!((1..256).contains(&asid));
            let owner = *owners.entry((generation, asid)).or_insert(which);
            assert_eq!(owner, which, "{asid} in generation {generation}");
            if turn < 255 {
                assert_eq!(generation, first, "there were numbers left");
            }
            if turn == 255 {
                assert_eq!(generation, first + 1, "all 255 numbers were given");
            }
        });
    }
    assert_eq!(world.violation(), None);
}

#[test]
fn without_new_spaces_there_is_no_new_generation() {
    let world = on(FEW, 1, 1);
    let all = spaces(&world, 255);
    for _ in 0..3 {
        for (n, space) in all.iter().enumerate() {
            world.inside(space, &mut || ());
            assert_eq!(space.asid().map(|asid| usize::from(asid.0)), Some(n + 1));
        }
    }
    assert_eq!(world.mm().stats.total(Event::AsidRollover), 0);
    assert_eq!(world.mm().stats.total(Event::AsidAlloc), 255);
}

#[test]
fn limits_are_kept_within_what_the_machine_needs_and_has() {
    for (caps, all) in [(FEW, 255), (Caps::CORTEX_A72, 65_535)] {
        for cpus in [1u32, 3, 8] {
            let world = on(caps, cpus as usize, 1);
            let mm = world.mm();
            // Each CPU may hold on to one, and one must be left to give.
            let least = cpus + 1;
            for (asked, given) in [
                (Some(0), least),
                (Some(least - 1), least),
                (Some(least), least),
                (Some(least + 1), least + 1),
                (Some(200), 200),
                (Some(all - 1), all - 1),
                (Some(all), all),
                (Some(all + 1), all),
                (Some(u32::MAX), all),
                (None, all),
            ] {
                let before = mm.asids.generation();
                assert_eq!(mm.limit_asids(asked), given, "{asked:?} on {cpus} CPUs");
                assert_eq!(mm.asids.generation(), before + 1);
            }
        }
    }
}

#[test]
fn a_limit_holds_for_all_that_are_given_after_it() {
    let world = on(Caps::CORTEX_A72, 1, 1);
    let all = spaces(&world, 40);
    let run = |space: &Space<'_, Machine>| {
        world.inside(space, &mut || ());
        space.asid().map_or(0, |asid| asid.0)
    };
    assert!(all.iter().map(run).max() == Some(40));
    assert_eq!(world.mm().limit_asids(Some(5)), 5);
    // The space that the CPU ran last keeps its number; nobody else has one above the limit.
    let above = |space: &&Space<'_, Machine>| run(space) > 5;
    assert!(all[..39].iter().find(above).is_none());
    world.mm().limit_asids(None);
    let mut numbers: Vec<_> = all.iter().map(run).collect();
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(numbers.len(), 40, "without the limit everybody has a number again");
}

/// After a roll-over each CPU drops its TLB once, before its first use of a new number: also one that finds its
/// spaces' numbers given anew by another.
#[test]
fn each_cpu_flushes_once_for_a_generation() {
    for cpus in 1..4 {
        let world = on(FEW, cpus, 1);
        let all = spaces(&world, 3);
        let total = |event| world.mm().stats.total(event);
        let run = |cpu: usize| world.inside(&all[cpu], &mut || ());
        world.run(cpus, &run, &mut || ());
        assert_eq!(total(Event::TlbiLocal), 0, "nothing was cached before");
        for generation in 1..4 {
            world.mm().limit_asids(None);
            for space in &all {
                let run = |_| world.inside(space, &mut || ());
                world.run(cpus, &run, &mut || ());
                let once = generation * cpus as u64;
                assert_eq!((total(Event::TlbiLocal), total(Event::TlbiAll)), (once, once));
            }
        }
    }
}

/// What runs keeps its number, also where another CPU ran it when one generation began and not at the next.
#[test]
fn a_number_outlives_generations_while_it_runs() {
    let world = on(FEW, 2, 1);
    let all = spaces(&world, 2);
    let (space, other) = (&all[0], &all[1]);
    let runs = AtomicUsize::new(0);
    let wait = |until| {
        while runs.load(SeqCst) < until && !world.interrupted() {
            world.yield_now();
        }
    };
    let run = |cpu| {
        if cpu == 1 {
            world.inside(space, &mut || {
                runs.store(1, SeqCst);
                wait(2);
            });
            return;
        }
        wait(1);
        let number = space.asid();
        for _ in 0..3 {
            for ran in [&[space][..], &[space, other], &[space]] {
                ran.iter().for_each(|space| world.inside(space, &mut || ()));
                assert_eq!(space.asid(), number);
                world.mm().limit_asids(None);
            }
        }
        runs.store(2, SeqCst);
    };
    world.run(2, &run, &mut || ());
    assert_eq!(world.violation(), None);
}

/// Several CPUs, few numbers: spaces that run at the same moment have different numbers, and one that
/// runs on two CPUs has the same on both.
#[test]
fn running_spaces_never_share_a_number() {
    for seed in 1..9 {
        let world = on(FEW, 3, seed);
        let untouched = Untouched::new(&world);
        world.mm().limit_asids(Some(5));
        let all = spaces(&world, 9);
        // By number: which space runs under it, on how many CPUs.
        let running = Mutex::new(HashMap::<u16, (usize, usize)>::new());
        let lock = || running.lock().unwrap_or_else(PoisonError::into_inner);
        world.run(
            3,
            &|cpu| {
                let mut rng = Rng::new(seed, "running", cpu);
                for _ in 0..60 {
                    let which = rng.below(all.len() as u64) as usize;
                    let space = &all[which];
                    world.inside(space, &mut || {
                        let asid = space.asid().expect("it runs").0;
                        assert_ne!(asid, 0);
                        {
                            let mut running = lock();
                            let entry = running.entry(asid).or_insert((which, 0));
                            assert_eq!(entry.0, which, "{asid} has two owners");
                            entry.1 += 1;
                        }
                        for _ in 0..rng.below(4) {
                            world.yield_now();
                        }
                        let still = space.asid().expect("it runs").0;
                        let mut running = lock();
                        assert_eq!(still, asid, "the number changed under a running space");
                        let (_, count) = running.get_mut(&asid).expect("entered above");
                        *count -= 1;
                        if *count == 0 {
                            running.remove(&asid);
                        }
                    });
                }
            },
            &mut || (),
        );
        assert!(world.mm().stats.total(Event::AsidRollover) > 5);
        drop(all);
        untouched.check(&world);
    }
}

/// One CPU unmaps a space's memory while another runs the space for the first time, or for the first
/// time in a generation: whichever comes first, no translation outlives the memory. Says which rule
/// was broken.
fn unmap_against_first_run(
    seed: u64,
    again: bool,
    huge: Huge,
    mutant: Option<Mutant>,
) -> Option<Violation> {
    const ROUNDS: usize = 24;
    let world = on(FEW, 2, seed);
    let untouched = Untouched::new(&world);
    world.mm().arm(mutant);
    let all = spaces(&world, ROUNDS);
    for space in &all {
        space.map(Place::At(VA), 2 * PMD_SIZE, Prot::ReadWrite, huge).expect("free");
        drop(space.gup(VA, Access::Write).expect("memory"));
        if again {
            world.inside(space, &mut || ());
        }
    }
    if again {
        // Strangers take the numbers first: a space keeps its own where nobody has it.
        world.mm().limit_asids(None);
        for stranger in spaces(&world, ROUNDS) {
            world.inside(&stranger, &mut || ());
        }
    }
    let arrived = [const { AtomicUsize::new(0) }; 2];
    let meet = |cpu: usize, round: usize| {
        arrived[cpu].store(round + 1, SeqCst);
        while arrived[1 - cpu].load(SeqCst) <= round && !world.interrupted() {
            world.yield_now();
        }
    };
    world.run(
        2,
        &|cpu| {
            for (round, space) in all.iter().rev().enumerate() {
                meet(cpu, round);
                if cpu == 0 {
                    // A page, so that a huge one is split first.
                    space.unmap(VirtRange::from_size(VA, PAGE_SIZE)).expect("memory");
                } else {
                    world.inside(space, &mut || {
                        for page in [0, 1, 0] {
                            // Denied where the other was faster.
                            let _ = world.load(space, VA + page * PAGE_SIZE);
                        }
                    });
                }
            }
            arrived[cpu].store(usize::MAX, SeqCst);
        },
        &mut || (),
    );
    let violation = world.violation();
    drop(all);
    if violation.is_none() {
        untouched.check(&world);
    }
    violation
}

#[test]
fn an_unmap_sees_the_number_of_whoever_walked_before_it() {
    for seed in 1..9 {
        for again in [false, true] {
            for huge in [Huge::Never, Huge::Default] {
                let broken = unmap_against_first_run(seed, again, huge, None);
                assert_eq!(broken, None, "seed {seed}, again {again}, {huge:?}");
            }
        }
    }
}

/// The law above is no accident of the schedules: with the number read too early it is broken, for
/// spaces that never ran and for those whose number changes.
#[test]
fn an_unmap_that_reads_the_number_too_early_is_caught() {
    for again in [false, true] {
        let bug = Mutant::AsidBeforeClear;
        let run = |seed| unmap_against_first_run(seed, again, Huge::Never, Some(bug));
        let (judge, words) = (Judge::Model, |found: &Violation| found.what.clone());
        let look = || (1..30).find_map(run);
        let caught = evidence::tried(judge, bug.name(), look, words);
        let what = caught.unwrap_or_else(|| panic!("again {again}: not caught")).what;
        assert!(what.contains("freed while cpu 1 has"), "{what}");
    }
}

#[test]
fn every_machine_runs_more_spaces_than_numbers() {
    for config in machines() {
        let world = SimWorld::new(config);
        let untouched = Untouched::new(&world);
        world.mm().limit_asids(Some(3));
        let all = spaces(&world, 8);
        for (n, space) in all.iter().enumerate() {
            space.map(Place::At(VA), PAGE_SIZE, Prot::ReadWrite, Huge::Never).expect("free");
            world.inside(space, &mut || {
                world.store(space, VA, n as u64).expect("mapped");
            });
        }
        for turn in 0..64u64 {
            let n = (turn * 5 % 8) as usize;
            world.inside(&all[n], &mut || {
                assert_eq!(world.load(&all[n], VA), Ok(n as u64));
            });
        }
        drop(all);
        untouched.check(&world);
    }
}

/// A CPU that heard nothing of what was unmapped meanwhile has nothing of it when it comes back.
#[test]
fn a_cpu_that_comes_back_has_lost_what_it_knew() {
    let scenario = |bug: Option<Mutant>| {
        let world = on(FEW, 2, 1);
        let mm = world.mm();
        mm.arm(bug);
        let space = std::mem::ManuallyDrop::new(Space::new(mm).expect("memory"));
        space.map(Place::At(VA), PMD_SIZE, Prot::ReadWrite, Huge::Never).expect("free");
        let visit = || world.inside(&space, &mut || _ = world.mm().hw.user_load(VA));
        let away = |cpu: usize, body: &dyn Fn()| {
            mm.hw.on(cpu, || mm.cpu_leaves());
            body();
            mm.hw.on(cpu, || mm.cpu_joins());
            mm.hw.on(cpu, visit);
        };
        for _ in 0..2 {
            drop(space.gup(VA, Access::Write).expect("memory"));
            mm.hw.on(1, visit);
            away(1, &|| space.unmap(VirtRange::from_size(VA, PAGE_SIZE)).expect("memory"));
            space.map(Place::At(VA), PAGE_SIZE, Prot::ReadWrite, Huge::Never).expect("free");
        }
        world.violation().map(|found| found.what)
    };
    assert_eq!(scenario(None), None);
    let bug = Mutant::CpuJoinsStale;
    let what = evidence::model(bug.name(), || scenario(Some(bug))).expect("caught");
    assert!(what.starts_with("asid 1 taken up with leaf"), "{what}");
}
