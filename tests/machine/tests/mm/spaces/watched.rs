//! The same sequences on a machine that an oracle watches: it agrees with the model too,
//! and says nothing.

use super::play::Play;
use super::shrink::Steps;
use crate::common::{Untouched, machines};
use granule_machine::{Config, SimWorld};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use stress::World;

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 24,
        rng_seed: RngSeed::Fixed(2),
        failure_persistence: None,
        max_shrink_time: 60_000,
        ..ProptestConfig::default()
    })]

    #[test]
    fn sequences_break_no_rule(
        machine in 0..4usize,
        seed in any::<u64>(),
        sequence in Steps::new(600),
    ) {
        let config = Config { seed, pages: 16_384, ..machines()[machine] };
        let world = SimWorld::sanitized(config);
        let untouched = Untouched::new(&world);
        let mut play = Play::new(&world);
        for step in &sequence.0 {
            play.step(step);
        }
        play.end();
        untouched.check(&world);
        let seen = world.mm().hw.ask(|oracle| (oracle.steps(), oracle.blind()));
        let (steps, blind) = seen.expect("it is watched");
        // What was shortened need not come to as many.
        let few = sequence.0.len() == 600 && steps < 1000;
        prop_assert!(!few, "it heard of {} steps", steps);
        prop_assert_eq!(blind, oracle::Blind::default());
    }
}
