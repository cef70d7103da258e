//! The short way of a store against the long one: two oracles see the same steps, right and wrong ones at random,
//! of which one judges each store anew. They must agree after each.

mod common;

use common::Paper;
use common::twins::{Dice, Told, Twins};
use pte::Caps;
use std::collections::BTreeSet;

#[test]
fn both_ways_lead_to_the_same_verdict() {
    let (mut rules, mut steps) = (BTreeSet::new(), 0);
    for seed in 0..300 {
        let caps = if seed % 2 == 0 { Caps::CORTEX_A72 } else { Caps::MAX };
        let (mut dice, mut twins) = (Dice(seed), Twins::new(caps, Told::Singly, seed));
        for _ in 0..200 {
            steps += 1;
            match dice.one_in(2) {
                true => twins.run(&mut dice),
                false => twins.other(&mut dice),
            }
            if !twins.agree() {
                break;
            }
        }
        rules.extend(twins.quick.oracle.report().map(|report| report.rule.name()));
    }
    println!("{steps} steps, {rules:?}");
    assert!(rules.len() >= 8 && steps > 2000, "{steps} steps see too little: {rules:?}");
}

/// What leaves a table that nobody can reach is to be seen before somebody can, whichever way it went.
#[test]
fn a_table_is_emptied_the_short_way() {
    let mut paper = Paper::for_traces(Caps::CORTEX_A72);
    paper.play("table T; put T 0 A; put T 1 B; drop T 0; dsb.st; drop T 1; link 1 T");
    assert_eq!(paper.verdict(), "link-unpublished");
}
