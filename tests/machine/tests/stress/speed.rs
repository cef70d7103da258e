//! How fast the simulated machine is: steps a second of one core, on each workload. A step is an access, a
//! barrier, a TLBI, a descriptor read or written, with all that the adversary may do between two of them.
//!
//! Prints; what it demands is that there was something to measure. The aim is a million steps a second in a
//! release build.

use crate::common::rounds;
use granule_machine::{Config, SimWorld};
use pte::Caps;
use std::sync::OnceLock;
use std::time::{Duration, Instant};
use stress::{Limit, Options, workloads};

/// A clock that runs while this thread does, where the host tells: else any.
fn clock() -> Duration {
    static START: OnceLock<Instant> = OnceLock::new();
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let nanos = told.and_then(|text| text.split_whitespace().next()?.parse().ok());
    nanos.map_or_else(|| START.get_or_init(Instant::now).elapsed(), Duration::from_nanos)
}

/// Steps that a workload took, and how long.
fn measure(caps: Caps, name: &str, rounds: u64) -> (u64, Duration) {
    let config = Config { caps, cpus: 3, seed: 1, ..Config::default() };
    let world = SimWorld::new(config).with_kernel();
    let limit = Limit::Rounds(rounds);
    let options = Options { cpus: config.cpus, limit, seed: config.seed, bytes: 64 << 10 };
    let begin = clock();
    let mut report = String::new();
    stress::run_all(&world, options, &|n| n == name, &mut report, &mut |_, _, _| {})
        .expect("writing to a string works");
    let taken = clock() - begin;
    assert_eq!(world.violation(), None, "{name}");
    (stress::World::now_ns(&world), taken)
}

#[test]
fn steps_a_second() {
    for (what, caps) in [("Cortex-A72", Caps::CORTEX_A72), ("all features", Caps::MAX)] {
        let (mut steps, mut taken) = (0, Duration::ZERO);
        for name in workloads::all::<SimWorld>().map(|workload| workload.name) {
            let (here, time) = measure(caps, name, rounds(name));
            let a_second = here as f64 / time.as_secs_f64();
            println!("{what:12} {name:24} {here:9} steps  {:6.2} million a second", a_second / 1e6);
            (steps, taken) = (steps + here, taken + time);
        }
        let a_second = steps as f64 / taken.as_secs_f64();
        println!("{what:12} {:24} {steps:9} steps  {:6.2} million a second", "all", a_second / 1e6);
        assert!(steps > 100_000, "{steps} steps say nothing");
    }
}
