//! The machine's schedule: the same for the same seed, no CPU left behind, deadlocks found at once; and
//! how fast it is.

use abi::{PAGE_SIZE, Prot, VirtAddr};
use granule_machine::{Config, SimWorld};
use mm::{Hardware, Huge, Place, Space};
use pte::Caps;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::Instant;
use stress::{Limit, Options, World, workloads};
use sync::{Cpu, Wait, WaitKey};

const VA: VirtAddr = VirtAddr(1 << 40);

fn world(cpus: usize, seed: u64) -> SimWorld {
    SimWorld::new(Config { cpus, seed, pages: 4096, ..Config::default() })
}

fn run(world: &SimWorld, body: &(dyn Fn(usize) + Sync)) {
    assert_eq!(world.run(world.cpus(), body, &mut || ()), world.cpus());
}

#[test]
fn a_seed_is_a_schedule() {
    let order = |seed| {
        let (world, order) = (world(3, seed), Mutex::new(Vec::new()));
        run(&world, &|cpu| {
            for _ in 0..50 {
                order.lock().expect("nobody panics").push(cpu);
                world.mm().hw.synchronize_context();
            }
        });
        assert_eq!(world.violation(), None);
        order.into_inner().expect("nobody panicked")
    };
    assert_eq!(order(1), order(1));
    assert_ne!(order(1), order(2));
    for cpu in 0..3 {
        assert_eq!(order(3).iter().filter(|who| **who == cpu).count(), 50);
    }
}

#[test]
fn a_sleeper_is_woken_by_its_key() {
    for seed in 1..20 {
        let (world, flag, asked) = (world(2, seed), AtomicBool::new(false), AtomicU64::new(0));
        let key = WaitKey::of(&flag);
        run(&world, &|cpu| {
            let hw = &world.mm().hw;
            if cpu == 0 {
                hw.wait(key, &mut || {
                    asked.fetch_add(1, SeqCst);
                    flag.load(SeqCst)
                });
                return;
            }
            for _ in 0..200 {
                hw.synchronize_context();
            }
            flag.store(true, SeqCst);
            hw.wake(key);
        });
        assert_eq!(world.violation(), None);
        assert!(asked.load(SeqCst) <= 2, "asked once before the sleep, and once after the wake");
    }
}

/// The flag is set, and nobody is told; or told under another name.
#[test]
fn a_lost_wake_is_a_deadlock() {
    for wake in [false, true] {
        let (world, flag) = (world(3, 1), AtomicBool::new(false));
        run(&world, &|cpu| {
            let hw = &world.mm().hw;
            if cpu < 2 {
                hw.wait(WaitKey::of(&flag), &mut || flag.load(SeqCst));
                return;
            }
            for _ in 0..200 {
                hw.synchronize_context();
            }
            flag.store(true, SeqCst);
            if wake {
                hw.wake(WaitKey::of(&world));
            }
        });
        let what = world.violation().expect("two CPUs sleep for ever").what;
        assert!(what.contains("deadlock") && what.contains("nobody is left to wake it"), "{what}");
        assert!(world.mm().hw.steps() < 10_000, "found at once");
    }
}

#[test]
fn spinning_for_nothing_is_a_deadlock() {
    let world = world(2, 1);
    run(&world, &|_| loop {
        world.mm().hw.relax();
    });
    let what = world.violation().expect("both spin for ever").what;
    assert!(what.contains("deadlock") && what.contains("spins"), "{what}");
}

/// A body that panics inside a space is reported as such, and leaves the space.
#[test]
fn a_panic_leaves_the_space() {
    let world = world(2, 1);
    let space = Space::new(world.mm()).expect("memory");
    space.map(Place::At(VA), PAGE_SIZE, Prot::ReadWrite, Huge::Never).expect("free");
    run(&world, &|cpu| {
        world.inside(&space, &mut || {
            world.store(&space, VA, 1).expect("mapped");
            assert!(cpu == 0, "as planned");
        });
    });
    let violation = world.violation().expect("a panic");
    assert_eq!(violation.cpu, 1);
    assert!(violation.what.contains("panic: as planned"), "{violation}");
    // It would panic if a CPU still ran it.
    drop(space);
}

/// Not a law, but a figure to look at: `cargo test --release steps_per_second -- --nocapture`.
#[test]
fn steps_per_second() {
    for (name, config) in [
        ("one CPU", Config { cpus: 1, ..Config::default() }),
        ("three CPUs", Config::default()),
        ("three CPUs, all features", Config { caps: Caps::MAX, ..Config::default() }),
    ] {
        for workload in workloads::all::<SimWorld>().map(|workload| workload.name) {
            let world = SimWorld::new(config).with_kernel();
            let (limit, bytes) = (Limit::Rounds(10), 64 << 10);
            let options = Options { cpus: config.cpus, limit, seed: 1, bytes };
            let begun = Instant::now();
            let chosen = |name: &str| name == workload;
            stress::run_all(&world, options, &chosen, &mut String::new(), &mut |_, _, _| {})
                .expect("writing to a string works");
            let (steps, took) = (world.mm().hw.steps(), begun.elapsed().as_secs_f64());
            let speed = steps as f64 / took / 1e6;
            println!("{name}, {workload}: {steps} steps, {speed:.2} M/s");
            assert_eq!(world.violation(), None);
        }
    }
}

/// An exchange that can never succeed, tried for ever.
#[test]
fn exchanging_for_nothing_is_a_deadlock() {
    let rig = crate::common::Rig::new(Caps::CORTEX_A72);
    let slot = rig.slot(crate::common::VA, abi::Level::Pte);
    for _ in 0..1000 {
        assert_eq!(rig.machine.compare_exchange(slot, 1, 2), Err(0));
    }
    let world = world(1, 1);
    let space = Space::new(world.mm()).expect("memory");
    let slot = mm::Slot::new(space.root(), 0);
    run(&world, &|_| while world.mm().hw.compare_exchange(slot, 1, 2).is_err() {});
    let what = world.violation().expect("it is never there").what;
    assert!(what.contains("which is not there"), "{what}");
}
