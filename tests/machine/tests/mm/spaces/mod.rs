//! Whole address spaces against a model: three spaces that use the same addresses on one CPU, are forked
//! from each other and end in any order, and a model that knows areas, contents and rights, page by
//! page, and nothing of tables, huge pages or TLBs.
//!
//! The adversary is the machine's TLB, which caches whatever it may; memory that runs out now and then;
//! and who holds pages while the spaces go on. Each sequence is audited on the way and ends with
//! everything given back. A failure is shown as the shortest sequence of calls that still fails.

mod held;
mod model;
mod play;
mod shrink;
mod steps;
mod watched;

use crate::common::{Untouched, machines};
use abi::Event;
use granule_machine::{Config, SimWorld};
use mm::mutant::Mutant;
use play::Play;
use proptest::prelude::*;
use proptest::test_runner::{RngSeed, TestError, TestRunner};
use shrink::{Sequence, Steps};
use std::cell::Cell;
use stress::World;

/// Events that a long sequence must have come to, or it has tested less than it says.
const EXPECTED: [Event; 26] = [
    Event::ThpFaultAlloc,
    Event::Anon64kAlloc,
    Event::ZeroMap,
    Event::ThpSplitPmd,
    Event::ThpSplitPage,
    Event::ThpSplitPageFailed,
    Event::ThpDeferredSplit,
    Event::ThpCollapse,
    Event::ThpCollapseFailed,
    Event::PgMigrated,
    Event::CompactBlock,
    Event::CowCopy,
    Event::CowReuse,
    Event::PgFaultDenied,
    Event::PgFaultSpurious,
    Event::AllocFail,
    Event::GupFast,
    Event::GupSlow,
    Event::PinAcquired,
    Event::PinReleased,
    Event::PgLazyFreed,
    Event::ContUnfold,
    Event::AsidRollover,
    Event::TlbGather,
    Event::TlbiAsid,
    Event::TlbiVaLast,
];

/// Plays a sequence to its end, with a known bug or none, and says how often each event occurred.
fn play(config: Config, mutant: Option<Mutant>, sequence: &Sequence) -> impl Fn(Event) -> u64 {
    // Some of it is kept for what moves.
    let world = SimWorld::new(Config { pages: 16_384, movable: 4, ..config });
    world.mm().arm(mutant);
    let untouched = Untouched::new(&world);
    let mut play = Play::new(&world);
    for step in &sequence.0 {
        play.step(step);
    }
    play.end();
    untouched.check(&world);
    move |event| world.mm().stats.total(event)
}

/// The same sequences each time; a failing one is made shorter for a minute.
fn sequences(cases: u32) -> ProptestConfig {
    ProptestConfig {
        cases,
        rng_seed: RngSeed::Fixed(1),
        failure_persistence: None,
        max_shrink_time: 60_000,
        max_shrink_iters: 100_000,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(sequences(32))]

    #[test]
    fn short_sequences_agree_with_the_model(
        machine in 0..4usize,
        seed in any::<u64>(),
        sequence in Steps::new(400),
    ) {
        let _ = play(Config { seed, ..machines()[machine] }, None, &sequence);
    }
}

fn long_sequence(machine: usize) {
    let result = TestRunner::new(sequences(1)).run(&Steps::new(10_000), |sequence| {
        let count = play(machines()[machine], None, &sequence);
        // What was shortened need not come to all of these.
        if sequence.0.len() == 10_000 {
            let rare: Vec<_> = EXPECTED.iter().filter(|event| count(**event) < 10).collect();
            assert!(rare.is_empty(), "tested too little: {rare:?}");
            assert!(count(Event::ThpCollapseInPlace) > 1, "no huge folio got its entry back");
            assert_eq!(count(Event::TlbiRange) > 20, machines()[machine].caps.tlb_range);
        }
        Ok(())
    });
    if let Err(failure) = result {
        panic!("{failure}");
    }
}

#[test]
fn ten_thousand_steps_agree_with_the_model_on_plain_armv8() {
    long_sequence(0);
}

#[test]
fn ten_thousand_steps_agree_with_the_model_on_all_features() {
    long_sequence(1);
}

#[test]
fn ten_thousand_steps_agree_with_the_model_on_few_asids() {
    long_sequence(2);
}

#[test]
fn ten_thousand_steps_agree_with_the_model_on_a_hardware_access_flag() {
    long_sequence(3);
}

/// Bugs that a few hundred steps on one CPU are enough for. What the others need, their own suites have.
const KNOWN: [Mutant; 22] = [
    Mutant::UnmapNoTlbi,
    Mutant::NoPublish,
    Mutant::TablesLastLevel,
    Mutant::RolloverNoFlush,
    Mutant::SplitNoBreak,
    Mutant::ProtectWritableShared,
    Mutant::ForkKeepsWritable,
    Mutant::ForkIgnoresPins,
    Mutant::PinUnnoted,
    Mutant::ReplaceNoFlush,
    Mutant::HugeZeroNotSpecial,
    Mutant::ContNoBreak,
    Mutant::TakeOutNoFlush,
    Mutant::OwedFirstOnly,
    Mutant::MigrateHeld,
    Mutant::PutBackShared,
    Mutant::SplitForgetsOwner,
    Mutant::DeferredForgotten,
    Mutant::DeferredUnheld,
    Mutant::LongtermStays,
    Mutant::CompactKeepsRest,
    Mutant::CompactLeavesIsolated,
];

#[test]
fn known_bugs_disagree_with_the_model() {
    for mutant in KNOWN {
        let look = || {
            let seeds = Cell::new(0);
            let config = ProptestConfig { max_shrink_iters: 0, ..sequences(32) };
            let result = TestRunner::new(config).run(&Steps::new(400), |sequence| {
                let seed = seeds.replace(seeds.get() + 1);
                let config = Config { seed, ..machines()[seed as usize % 4] };
                let _ = play(config, Some(mutant), &sequence);
                Ok(())
            });
            result.err().map(|what| match what {
                TestError::Fail(reason, _) => reason.to_string(),
                TestError::Abort(reason) => reason.to_string(),
            })
        };
        assert!(evidence::model(mutant.name(), look).is_some(), "{} is not caught", mutant.name());
    }
}
