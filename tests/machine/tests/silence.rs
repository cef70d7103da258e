//! The workloads without a bug, for long: neither the machine nor the oracle over it has anything to say.
//!
//! Each begins anew, on another machine and with another seed, until it has taken the steps that were asked
//! for. `make silent` runs it.

use granule_machine::{Config, Machine, SimWorld, Simulated};
use mm::Sanitized;
use pte::Caps;
use std::env;
use std::num::NonZero;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;
use stress::{Limit, Options, World, workloads};

type Watched = SimWorld<Sanitized<Machine>>;

/// Rounds of a workload on one machine: some ten thousand steps, or hundreds.
const ROUNDS: u64 = 100;

/// A number from the environment.
fn number(name: &str, default: u64) -> u64 {
    env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// One run: how many steps it took, and what somebody said.
fn run(name: &str, seed: u64) -> (u64, Option<String>) {
    let caps = if seed.is_multiple_of(2) { Caps::MAX } else { Caps::CORTEX_A72 };
    let caps = Caps { repeat_tlbi: seed.is_multiple_of(3), ..caps };
    let config = Config { caps, cpus: 1 + seed as usize % 4, seed, ..Config::default() };
    let world = SimWorld::sanitized(config);
    let (limit, bytes) = (Limit::Rounds(ROUNDS), 64 << 10);
    let options = Options { cpus: config.cpus, limit, seed, bytes };
    let mut text = String::new();
    let ran = stress::run_all(&world, options, &|n| n == name, &mut text, &mut |_, _, _| {});
    let failed = ran.expect("writing to a string works").failed > 0;
    let said = [world.mm().hw.machine().verdict(), world.verdict(), failed.then_some(text)];
    (world.now_ns(), said.into_iter().flatten().next())
}

/// Runs a workload for so many steps; whether all was silent.
fn is_silent(name: &str, wanted: u64, first: u64) -> bool {
    let (started, mut steps, mut runs) = (Instant::now(), 0, 0);
    let mut said = None;
    while steps < wanted && said.is_none() {
        let seed = first + runs;
        let (taken, words) = run(name, seed);
        steps += taken;
        runs += 1;
        said = words.map(|words| format!("seed {seed}: {words}"));
    }
    let (took, verdict) = (started.elapsed().as_secs_f64(), said.as_deref().unwrap_or("silent"));
    println!("{name:20} {steps:>12} steps {runs:>5} runs {took:>7.1} s  {verdict}");
    said.is_none()
}

#[test]
#[ignore = "ten million steps a workload take minutes: for `make silent`"]
fn workloads_are_silent_for_long() {
    let (wanted, first) = (number("STEPS", 10_000_000), number("SEED", 1));
    let names = workloads::all::<Watched>().map(|workload| workload.name);
    let (next, silent) = (AtomicUsize::new(0), AtomicBool::new(true));
    let work = || {
        while let Some(name) = names.get(next.fetch_add(1, Ordering::Relaxed)) {
            silent.fetch_and(is_silent(name, wanted, first), Ordering::Relaxed);
        }
    };
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, NonZero::get) {
            scope.spawn(work);
        }
    });
    assert!(silent.into_inner(), "somebody was alarmed, and there is no bug");
}
