//! The oracle over the model machine: silent on every workload as it is, and by itself, without the
//! machine's own judge, on the trail of known bugs.

use crate::common::{cpus_for, rounds, sweep};
use evidence::Judge;
use granule_machine::{Config, Machine, SimWorld};
use mm::Sanitized;
use mm::mutant::Mutant;
use pte::Caps;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;
use stress::{Limit, Options, World, workloads, zoo};

type Watched = SimWorld<Sanitized<Machine>>;

/// What the oracle saw of a run.
fn outcome(
    config: Config,
    name: &str,
    mutant: Option<Mutant>,
    rounds: u64,
) -> Option<oracle::Report> {
    outcome_on(&SimWorld::sanitized(config).with_kernel(), config, name, mutant, rounds)
}

fn outcome_on(
    world: &Watched,
    config: Config,
    name: &str,
    mutant: Option<Mutant>,
    rounds: u64,
) -> Option<oracle::Report> {
    world.mm().arm(mutant);
    let options = Options {
        cpus: config.cpus,
        limit: Limit::Rounds(rounds),
        seed: config.seed,
        bytes: 64 << 10,
    };
    let mut text = String::new();
    let run = stress::run_all(world, options, &|n| n == name, &mut text, &mut |_, _, _| {});
    run.expect("writing to a string works");
    world.report()
}

fn is_silent(caps: Caps) {
    for (cpus, seeds) in [(1, 3..5), (3, 1..5)] {
        for name in workloads::all::<Watched>().map(|workload| workload.name) {
            for seed in seeds.clone() {
                // The last on CPUs whose barriers end early.
                let caps = Caps { repeat_tlbi: seed == 4, ..caps };
                let config = Config { caps, cpus, seed, ..Config::default() };
                if let Some(report) = outcome(config, name, None, rounds(name)) {
                    panic!("{name} seed {seed} on {cpus} CPUs\n{report}");
                }
            }
        }
    }
}

#[test]
fn workloads_are_silent_without_a_bug() {
    is_silent(Caps::CORTEX_A72);
}

#[test]
fn workloads_are_silent_without_a_bug_with_all_features() {
    is_silent(Caps::MAX);
}

/// Known bugs that the oracle catches by itself: the workload that commits them, and the rule they break,
/// or the two of which another schedule shows the other first.
/// What is not here breaks no rule of translation (counts, history, copies), or needs a schedule of its
/// own.
const CAUGHT: &[(Mutant, &str, &str)] = &[
    (Mutant::UnmapNoTlbi, "fault-4k", "frame-freed"),
    (Mutant::UnmapLocalTlbi, "fault-4k", "frame-freed"),
    (Mutant::FreeBeforeFlush, "fault-4k", "frame-freed"),
    (Mutant::NoPublish, "fault-4k", "frame-freed"),
    (Mutant::NoComplete, "fault-4k", "frame-freed"),
    (Mutant::TablesLastLevel, "fault-4k", "table-freed"),
    (Mutant::WrongAsid, "fault-4k", "frame-freed"),
    (Mutant::RolloverNoFlush, "asid-rollover", "asid-stale"),
    (Mutant::RolloverForgetsActive, "asid-rollover", "asid-shared"),
    (Mutant::SplitNoBreak, "thp-split", "break-before-make"),
    (Mutant::LinkBeforeZero, "fault-4k", "link-unpublished"),
    (Mutant::FirstCpuOnly, "fault-4k", "frame-freed"),
    (Mutant::UnmapReleasesEarly, "chaos", "break-incomplete or done-early"),
    (Mutant::ProtectNoFlush, "contpte", "done-early"),
    (Mutant::RemapNoFlush, "mremap", "done-early"),
    (Mutant::RemapClaimable, "mremap", "break-before-make"),
    (Mutant::DontneedFlushLate, "dontneed-race", "done-early"),
    (Mutant::FreeNoFlush, "chaos", "done-early"),
    (Mutant::ForkNoFlush, "contpte", "done-early"),
    (Mutant::SplitMigrationMkinvalid, "split-migration", "transition"),
    (Mutant::TakeOutNoFlush, "folio-split", "done-early"),
    (Mutant::TakeOutFlushLate, "folio-split", "done-early"),
    (Mutant::TakeOutRestoresUnflushed, "gup-vs-migrate", "break-incomplete"),
    (Mutant::UpdateNotAtomic, "chaos", "plain-store"),
    (Mutant::ContNoBreak, "contpte", "break-before-make"),
    (Mutant::ReplaceNoFlush, "cow", "break-incomplete"),
    (Mutant::ReplaceSetBeforeFlush, "cow", "break-before-make"),
    (Mutant::RolloverFlushLate, "asid-rollover", "asid-stale"),
    (Mutant::ReplaceFlushFirst, "cow", "break-incomplete"),
    (Mutant::LeafFlushLocal, "fault-4k", "break-incomplete"),
    (Mutant::FullFlushLocal, "chaos", "done-early"),
    (Mutant::RangeOneShort, "unmap-shootdown", "frame-freed"),
    (Mutant::RangeUnitSmall, "chaos", "done-early or frame-freed"),
    (Mutant::TablesBeforeFlush, "unmap-shootdown", "frame-freed"),
    (Mutant::SubtreeInPart, "unmap-shootdown", "frame-freed"),
    (Mutant::ForkFlushLate, "contpte", "done-early"),
    (Mutant::ContFlushOne, "contpte", "break-incomplete"),
    (Mutant::TlbiNotRepeated, "fault-4k", "frame-freed"),
    (Mutant::FlushNoIsb, "fault-4k", "frame-freed"),
    (Mutant::CpuJoinsStale, "asid-rollover", "asid-trap"),
];

/// The first report on a bug, with few tries.
fn find(mutant: Mutant, name: &str) -> Option<(u64, oracle::Report)> {
    (1..20).find_map(|seed| {
        cpus_for(mutant.name()).into_iter().find_map(|caps| {
            let config = Config { seed, caps, ..Config::default() };
            Some((seed, outcome(config, name, Some(mutant), rounds(name))?))
        })
    })
}

#[test]
fn known_bugs_are_caught_without_another_judge() {
    let mut missed = Vec::new();
    for &(mutant, name, rule) in CAUGHT {
        match find(mutant, name) {
            Some((seed, report)) => {
                println!("{} in {name}, seed {seed}:\n{report}\n", mutant.name());
                if rule.split(" or ").all(|rule| report.rule.name() != rule) {
                    missed.push(format!(
                        "{}: {} and not {rule}",
                        mutant.name(),
                        report.rule.name()
                    ));
                }
            }
            None => missed.push(format!("{}: nothing", mutant.name())),
        }
    }
    assert!(missed.is_empty(), "{missed:#?}");
}

/// The oracle's share of each known bug, those included that are not its business.
#[test]
#[ignore = "every known bug in every workload takes minutes: for `make mutants`"]
fn known_bugs_in_every_workload() {
    let look = |bug: &str| {
        let mutant = Mutant::ALL.iter().copied().find(|mutant| mutant.name() == bug);
        let started = Instant::now();
        // Where it is at home first: what catches it there is what a reader wants to see.
        let home = CAUGHT.iter().find(|(known, ..)| known.name() == bug);
        let mut caught = home.and_then(|(known, name, _)| Some((*name, find(*known, name)?.1)));
        // The memory manager's own assertions are another judge's.
        caught = caught.or_else(|| {
            sweep(bug, |name, caps| {
                let config = Config { caps, ..Config::default() };
                let world = SimWorld::sanitized(config).with_kernel();
                let run = || outcome_on(&world, config, name, mutant, rounds(name));
                let found = catch_unwind(AssertUnwindSafe(run)).ok().flatten();
                (world.now_ns(), found)
            })
        });
        let (name, report) = caught.unzip();
        let test = name.map_or("all workloads".into(), |name| format!("stress {name}"));
        let said = report.map(|report| report.rule.name());
        evidence::note(Judge::Sanitizer, bug, &test, said, started.elapsed());
    };
    // The memory manager ended the process, and the oracle had said nothing before.
    evidence::each_alone(zoo::homes(), look, |bug, _, took| {
        evidence::note(Judge::Sanitizer, bug, "all workloads", None, took);
    });
}
