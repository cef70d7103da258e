//! The workloads without a bug: neither the machine nor the oracle over it has anything to say, by whichever
//! strategy schedules are chosen.
//!
//! | `STRATEGY` | schedules | rounds of a run |
//! | --- | --- | --- |
//! | `random` | by dice: long runs, in which everything meets everything in time | 100, or 20 of the longest |
//! | `pct` | by priorities: short ones, each with a few places where somebody is overtaken for long | 2 |
//! | `exhaustive` | one CPU overtakes another at each place in turn, on two CPUs; the machine judges alone | 1 |
//!
//! `ONLY` takes the workloads whose names hold it.
//!
//! Each run begins anew, on another machine and with another seed, until as many steps have been taken as were
//! asked for, or every schedule has been tried. `make silent` runs it for long, the other tests for a moment.

use crate::common::rounds;
use granule_machine::explore::{Explorer, Schedule, Search};
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

/// How schedules are chosen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Strategy {
    Random,
    Pct,
    Exhaustive,
}

impl Strategy {
    /// The one that the environment asks for.
    fn asked_for() -> Self {
        match env::var("STRATEGY").as_deref() {
            Err(_) | Ok("" | "random") => Self::Random,
            Ok("pct") => Self::Pct,
            Ok("exhaustive") => Self::Exhaustive,
            Ok(other) => panic!("STRATEGY={other}: random, pct or exhaustive"),
        }
    }

    /// Rounds of a workload on one machine. Priorities change at a few places of a run: a short one has more
    /// of it between them.
    fn rounds(self, name: &str) -> u64 {
        match self {
            Self::Random => 5 * rounds(name),
            Self::Pct => 2,
            Self::Exhaustive => 1,
        }
    }
}

/// A number from the environment.
fn number(name: &str, default: u64) -> u64 {
    env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// The machine that a seed stands for.
fn machine(seed: u64) -> Config {
    let caps = if seed.is_multiple_of(2) { Caps::MAX } else { Caps::CORTEX_A72 };
    let caps = Caps { repeat_tlbi: seed.is_multiple_of(3), ..caps };
    Config { caps, cpus: 1 + seed as usize % 4, seed, ..Config::default() }
}

/// Runs a workload in a world; what its report says against it.
fn ran<W: World>(world: &W, name: &str, rounds: u64, seed: u64) -> Option<String> {
    let options =
        Options { cpus: world.cpus(), limit: Limit::Rounds(rounds), seed, bytes: 64 << 10 };
    let mut text = String::new();
    let ran = stress::run_all(world, options, &|n| n == name, &mut text, &mut |_, _, _| {});
    (ran.expect("writing to a string works").failed > 0).then_some(text)
}

/// One run under a schedule: its steps and turns, and what somebody said.
fn run(name: &str, rounds: u64, seed: u64, schedule: &Schedule) -> ([u64; 2], Option<String>) {
    let world = Watched::sanitized_under(machine(seed), schedule).with_kernel();
    let failed = ran(&world, name, rounds, seed);
    let machine = world.mm().hw.machine();
    let said = [machine.verdict(), world.verdict(), failed];
    ([world.now_ns(), machine.turns()], said.into_iter().flatten().next())
}

/// Runs a workload for so many steps; whether all was silent.
fn is_silent(name: &str, strategy: Strategy, wanted: u64, first: u64) -> bool {
    let (started, mut steps, mut runs, mut length) = (Instant::now(), 0, 0, 1);
    let mut said = None;
    while steps < wanted && said.is_none() {
        let seed = first + runs;
        let schedule = match strategy {
            Strategy::Random | Strategy::Exhaustive => Schedule::Random { seed },
            // About as many turns as the longest run so far had; its first is the one without any change.
            Strategy::Pct => Schedule::Pct { seed, depth: 1 + (runs % 6) as u32, length },
        };
        let ([taken, turns], words) = run(name, strategy.rounds(name), seed, &schedule);
        length = length.max(turns);
        steps += taken;
        runs += 1;
        said = words.map(|words| format!("seed {seed}, {schedule}: {words}"));
    }
    let (took, verdict) = (started.elapsed().as_secs_f64(), said.as_deref().unwrap_or("silent"));
    println!("{name:20} {steps:>12} steps {runs:>5} runs {took:>7.1} s  {verdict}");
    said.is_none()
}

/// Runs one round of a workload on two CPUs under every schedule with so many interruptions, and no other
/// choice of hardware's but the dull one; whether all was silent.
fn is_silent_always(name: &str, preemptions: u32, seed: u64) -> bool {
    let started = Instant::now();
    let config = Config { cpus: 2, seed, ..Config::default() };
    let scenario = |world: &SimWorld| ran(world, name, Strategy::Exhaustive.rounds(name), seed);
    let explorer = Explorer { name, config, scenario: &scenario };
    let found = explorer.explore(&Search::Exhaustive { preemptions, outcomes: 0 });
    let took = started.elapsed().as_secs_f64();
    match &found {
        Ok(runs) => println!("{name:20} {runs:>5} runs {took:>7.1} s  silent"),
        Err(failure) => println!("{name:20} {took:>7.1} s  {failure}"),
    }
    found.is_ok()
}

/// Asks of each workload, as many at a time as there are cores, whether it is silent.
fn all_are(silent: impl Fn(&str) -> bool + Sync) {
    let only = env::var("ONLY").unwrap_or_default();
    let names = workloads::all::<Watched>().map(|workload| workload.name);
    let names: Vec<_> = names.into_iter().filter(|name| name.contains(&only)).collect();
    let (next, quiet) = (AtomicUsize::new(0), AtomicBool::new(true));
    let work = || {
        while let Some(name) = names.get(next.fetch_add(1, Ordering::Relaxed)) {
            quiet.fetch_and(silent(name), Ordering::Relaxed);
        }
    };
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, NonZero::get) {
            scope.spawn(work);
        }
    });
    assert!(quiet.into_inner(), "somebody was alarmed, and there is no bug");
}

#[test]
#[ignore = "ten million steps a workload take minutes: for `make silent`"]
fn workloads_are_silent_for_long() {
    let (wanted, first) = (number("STEPS", 10_000_000), number("SEED", 1));
    match Strategy::asked_for() {
        Strategy::Exhaustive => all_are(|name| is_silent_always(name, 1, first)),
        strategy => all_are(|name| is_silent(name, strategy, wanted, first)),
    }
}

/// A few schedules of each, in every `make test`.
#[test]
fn workloads_are_silent_by_priorities() {
    all_are(|name| is_silent(name, Strategy::Pct, 200_000, 1));
}

/// And every schedule of those that are short enough.
#[test]
fn short_workloads_are_silent_wherever_they_are_interrupted() {
    for name in ["deferred-split", "split-migration", "folio-split"] {
        assert!(is_silent_always(name, 1, 1), "{name}: somebody was alarmed, and there is no bug");
    }
}
