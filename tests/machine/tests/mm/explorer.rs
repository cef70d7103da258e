//! The explorer: each strategy finds what is there to be found, a schedule can be had again, and what is
//! left of it after shrinking is what the bug needs.

use crate::common::races::{touch, translation};
use abi::{Access, PAGE_SIZE, PMD_SIZE, Prot, VirtAddr, VirtRange};
use granule_machine::explore::{Explorer, Failure, Found, Run, Schedule, Search, Taken};
use granule_machine::{Config, SimWorld};
use mm::mutant::Mutant;
use mm::{Hardware, Huge, Place, Space};
use std::mem::ManuallyDrop;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use stress::World;

const VA: VirtAddr = VirtAddr(1 << 40);
const NEXT: VirtAddr = VirtAddr((1 << 40) + PMD_SIZE);

fn two(pages: u64) -> Config {
    Config { cpus: 2, pages, ..Config::default() }
}

/// A space that stays: what a bug has left of it is better not taken apart.
fn space(world: &SimWorld, huge: Huge) -> ManuallyDrop<Space<'_, granule_machine::Machine>> {
    let space = Space::new(world.mm()).expect("memory");
    space.map(Place::At(VA), PMD_SIZE, Prot::ReadWrite, huge).expect("free");
    space.map(Place::At(NEXT), PMD_SIZE, Prot::ReadWrite, Huge::Never).expect("free");
    touch(&space, VA);
    touch(&space, NEXT);
    ManuallyDrop::new(space)
}

/// One CPU takes a page away while the other runs the space and reads it.
fn unmap_under_a_reader(world: &SimWorld, huge: Huge) -> Option<String> {
    let space = space(world, huge);
    let page = VirtRange::from_size(VA + PAGE_SIZE * u64::from(huge == Huge::Default), PAGE_SIZE);
    let body = |cpu| match cpu {
        0 => space.unmap(page).expect("memory"),
        _ => world.inside(&space, &mut || {
            let _ = world.load(&space, NEXT);
            let _ = world.mm().hw.user_load(page.start);
        }),
    };
    world.run(2, &body, &mut || ());
    None
}

/// One CPU takes a reference to a page while the other unmaps it and gives it to somebody else.
fn gup_and_unmap(world: &SimWorld) -> Option<String> {
    let space = space(world, Huge::Never);
    touch(&space, VA + PAGE_SIZE);
    let got = Mutex::new(None);
    let body = |cpu| match cpu {
        0 => *got.lock().expect("alone") = space.gup_fast(VA, Access::Read),
        _ => {
            space.unmap(VirtRange::from_size(VA, PAGE_SIZE)).expect("memory");
            touch(&space, NEXT + PAGE_SIZE);
        }
    };
    world.run(2, &body, &mut || ());
    let got = ManuallyDrop::new(got.into_inner().expect("alone"));
    let pfn = got.as_ref().map(|folio| folio.pfn());
    let other = translation(&space, NEXT + PAGE_SIZE);
    (pfn.is_some() && pfn == other).then(|| "the page of another address".into())
}

/// The scenario in which a bug shows.
struct Stage {
    name: &'static str,
    config: Config,
    play: fn(&SimWorld) -> Option<String>,
    /// What is said of it.
    says: &'static str,
}

fn stage(mutant: Mutant) -> Stage {
    let (name, small, large) = (mutant.name(), two(256), two(2048));
    match mutant {
        Mutant::FreeBeforeFlush => {
            let play = |world: &SimWorld| unmap_under_a_reader(world, Huge::Never);
            Stage { name, config: small, play, says: "freed" }
        }
        Mutant::SplitNoBreak => {
            let play = |world: &SimWorld| unmap_under_a_reader(world, Huge::Default);
            Stage { name, config: large, play, says: "break-before-make" }
        }
        _ => Stage { name, config: small, play: gup_and_unmap, says: "another address" },
    }
}

const MUTANTS: [Mutant; 3] = [Mutant::FreeBeforeFlush, Mutant::SplitNoBreak, Mutant::GupNoRecheck];

/// Explores a mutant's scenario, with the mutant or without.
fn explore(mutant: Mutant, armed: bool, search: &Search) -> Result<u64, Box<Failure>> {
    let Stage { name, config, play, .. } = stage(mutant);
    let scenario = |world: &SimWorld| {
        world.mm().arm(armed.then_some(mutant));
        play(world)
    };
    Explorer { name, config, scenario: &scenario }.explore(search)
}

/// What is silent without the bug fails with it, for the reason expected.
fn finds(mutant: Mutant, search: &Search) {
    let silent = explore(mutant, false, search).unwrap_or_else(|failure| panic!("{failure}"));
    let Err(failure) = explore(mutant, true, search) else {
        panic!("{} is not found by {search:?}, in {silent} runs", mutant.name());
    };
    let what = failure.shortest.verdict.as_ref().expect("it failed").what();
    assert!(what.contains(stage(mutant).says), "{failure}");
    println!("{search:?}, silent for {silent} runs without the bug; with it:\n{failure}\n");
}

#[test]
fn dice_find_each_bug() {
    MUTANTS.iter().for_each(|mutant| finds(*mutant, &Search::Random(1..120)));
}

#[test]
fn priorities_find_each_bug() {
    let search = Search::Pct { seeds: 1..120, depth: 3 };
    MUTANTS.iter().for_each(|mutant| finds(*mutant, &search));
}

/// With as few interruptions as it takes.
#[test]
fn trying_all_finds_each_bug() {
    for (mutant, interruptions) in
        [(Mutant::FreeBeforeFlush, 2), (Mutant::SplitNoBreak, 1), (Mutant::GupNoRecheck, 1)]
    {
        let all = |preemptions| Search::Exhaustive { preemptions, outcomes: 0 };
        for few in 0..interruptions {
            explore(mutant, true, &all(few)).expect("it takes more interruptions");
        }
        finds(mutant, &all(interruptions));
    }
}

/// Two CPUs add to a counter: in two steps, or in one.
fn adding(in_two: bool, search: &Search) -> Result<u64, Box<Failure>> {
    let scenario = |world: &SimWorld| {
        let counter = AtomicU64::new(0);
        let body = |_| {
            let hw = &world.mm().hw;
            hw.synchronize_context();
            if in_two {
                let old = counter.load(SeqCst);
                hw.synchronize_context();
                counter.store(old + 1, SeqCst);
            } else {
                counter.fetch_add(1, SeqCst);
            }
            hw.synchronize_context();
        };
        world.run(world.cpus(), &body, &mut || ());
        let sum = counter.into_inner();
        (sum != world.cpus() as u64).then(|| format!("an addition is lost: {sum}"))
    };
    let config = Config { cpus: 3, pages: 64, ..Config::default() };
    Explorer { name: "adding", config, scenario: &scenario }.explore(search)
}

/// A race of two steps is found for certain, with as many interruptions as it needs; and where there is
/// none, the search ends.
#[test]
fn all_is_all() {
    let all = |preemptions| Search::Exhaustive { preemptions, outcomes: 0 };
    // Who goes first of three is free to choose twice, when somebody is done.
    let orders = adding(true, &all(0)).expect("nobody is interrupted");
    assert_eq!(orders, 2, "the first is given, the others in either order");
    let failure = adding(true, &all(1)).expect_err("one interruption loses an addition");
    assert_eq!(failure.shortest.record.decisions().len(), 1, "{failure}");
    let runs: Vec<_> = (0..4).map(|n| adding(false, &all(n)).expect("nothing is lost")).collect();
    assert!(runs.is_sorted_by(|few, more| few < more), "{runs:?}");
}

/// A schedule, however it is given, is the same run again, event by event.
#[test]
fn a_schedule_is_a_run() {
    for mutant in MUTANTS {
        let Stage { name, config, play, .. } = stage(mutant);
        let scenario = |world: &SimWorld| {
            world.mm().arm(Some(mutant));
            play(world)
        };
        let explorer = Explorer { name, config, scenario: &scenario };
        let mut records = Vec::new();
        for seed in 1..6 {
            let pct = Schedule::Pct { seed, depth: 3, length: 300 };
            for schedule in [Schedule::Random { seed }, pct] {
                let first = explorer.run(&schedule);
                let text = schedule.to_string();
                assert_eq!(text.parse(), Ok(schedule.clone()));
                let exact = Schedule::Exact(first.record.clone()).to_string();
                let exact: Schedule = exact.parse().expect("it was printed");
                for again in [&schedule, &exact].map(|schedule| explorer.run(schedule)) {
                    assert_eq!(again.verdict, first.verdict, "{name} {text}");
                    assert_eq!(again.record, first.record, "{name} {text}");
                    assert_eq!(again.history, first.history, "{name} {text}");
                    assert_eq!(again.steps, first.steps, "{name} {text}");
                }
                records.push(first.record);
            }
        }
        records.dedup();
        assert!(records.len() > 8, "{name}: seeds differ");
    }
}

/// Three CPUs busy with one space: two run it; the third maps a few pages, and takes one away in the end.
fn busy(world: &SimWorld) -> Option<String> {
    world.mm().arm(Some(Mutant::FreeBeforeFlush));
    let space = space(world, Huge::Never);
    let body = |cpu: usize| {
        if cpu == 0 {
            (1..10).for_each(|n| touch(&space, VA + n * PAGE_SIZE));
            return space.unmap(VirtRange::from_size(VA, PAGE_SIZE)).expect("memory");
        }
        world.inside(&space, &mut || {
            for n in 0..40 {
                let _ = world.store(&space, NEXT + n % 8 * PAGE_SIZE, cpu as u64);
            }
        });
    };
    world.run(3, &body, &mut || ());
    None
}

/// Of a hundred decisions and more, what is left are those that the bug needs; and each of them is needed.
#[test]
fn what_is_left_is_needed() {
    let config = Config { cpus: 3, pages: 256, ..Config::default() };
    let explorer = Explorer { name: "busy", config, scenario: &busy };
    let rule = |run: &Run| run.verdict.as_ref().map(Found::rule);
    for first in [1, 100, 200] {
        let failure = explorer.explore(&Search::Random(first..first + 99)).expect_err("a bug");
        let (found, short) = (&failure.found.record, &failure.shortest.record);
        let (many, few) = (found.decisions().len(), short.decisions().len());
        assert!(few <= 4 && few * 30 < many, "{few} of {many}: {failure}");
        assert!(short.decisions().iter().any(|one| matches!(one.taken, Taken::Cpu(_))));
        assert_eq!(rule(&failure.shortest), rule(&failure.found));
        let texts: Vec<_> = short.decisions().iter().map(ToString::to_string).collect();
        for left_out in 0..few {
            let mut rest = texts.clone();
            rest.remove(left_out);
            let record = rest.join(",").parse().expect("it was printed");
            let run = explorer.run(&Schedule::Exact(record));
            assert_ne!(rule(&run), rule(&failure.found), "{} is not needed", texts[left_out]);
        }
    }
}

/// The report has a column for each CPU, marks the cause, and names the step that is missing; the picture
/// shows the same and needs nothing else.
#[test]
fn a_failure_says_what_is_missing() {
    let all = Search::Exhaustive { preemptions: 2, outcomes: 0 };
    for (mutant, missing) in
        [(Mutant::FreeBeforeFlush, "TLBI"), (Mutant::SplitNoBreak, "stores an invalid entry")]
    {
        let failure = explore(mutant, true, &all).expect_err("a bug");
        let text = failure.to_string();
        let line = text.lines().find(|line| line.starts_with("missing: "));
        assert!(line.is_some_and(|line| line.contains(missing)), "{text}");
        assert!(text.contains("| cpu 0") && text.contains("| cpu 1"), "{text}");
        let replay = format!("GRANULE_REPLAY='{}'", failure.replay());
        assert!(text.ends_with(&replay), "{text}");
        let path = failure.draw().expect("a place to write to");
        assert!(text.contains(&path.display().to_string()));
        let svg = std::fs::read_to_string(path).expect("it was written");
        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"));
        assert_eq!(svg.matches("http").count(), 1, "the name of the format and nothing else");
        assert!(!svg.contains("<script") && svg.contains("class=\"arrow\""), "{svg}");
        assert!(svg.contains("class=\"cause\"") && svg.contains("class=\"end\""), "{svg}");
    }
}

/// What [`a_line_plays_it_again`] runs with a schedule in its environment: by itself it finds nothing.
#[test]
fn one_run_by_dice() {
    let one = Search::Random(1..2);
    match explore(Mutant::FreeBeforeFlush, true, &one) {
        Ok(runs) => assert_eq!(runs, 1),
        Err(failure) => println!("{failure}"),
    }
}

/// The line that a failure ends with, in the environment of a search, makes it run that and nothing else.
#[test]
fn a_line_plays_it_again() {
    let all = Search::Exhaustive { preemptions: 2, outcomes: 0 };
    let failure = explore(Mutant::FreeBeforeFlush, true, &all).expect_err("a bug");
    let run = |replay: &str| {
        let mut again = Command::new(std::env::current_exe().expect("this test"));
        again
            .args(["--exact", "explorer::one_run_by_dice", "--nocapture"])
            .env("GRANULE_REPLAY", replay);
        String::from_utf8(again.output().expect("it runs").stdout).expect("text")
    };
    let again = run(&failure.replay());
    let what = failure.shortest.verdict.as_ref().expect("it failed").what();
    assert!(again.contains(&format!("broken:  {what}")), "{again}");
    assert!(again.contains("fails after 0 silent runs"), "{again}");
    assert!(!run("somebody-else=random@3").contains("fails"), "the line is another's");
}

#[test]
fn what_is_no_schedule_is_refused() {
    for text in ["", "random", "random@x", "pct@1/2", "exact@0>1", "exact@0:1", "dull@1"] {
        assert!(text.parse::<Schedule>().is_err(), "{text:?}");
    }
    assert_eq!("exact@".parse(), Ok(Schedule::Exact(Default::default())));
}
