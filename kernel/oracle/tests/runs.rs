//! Stores that are told together against the same stores told one by one: two oracles see the same steps, right and
//! wrong ones at random, of which one sees no runs and judges each store anew. They must agree after each: on
//! every slot's state, and on the report, to the letter.

mod common;

use abi::{Level, Pfn, Prot};
use common::twins::{Dice, Told, Twins};
use common::{ALL, Paper, RAM, block, by, leaf, of_walk};
use granule_oracle::Rule;
use pte::Caps;
use std::collections::BTreeMap;

/// Plays histories of `seeds`; says how many steps these were, and how often which rule was broken.
fn histories(seeds: std::ops::Range<u64>) -> (u64, BTreeMap<&'static str, u64>) {
    let (mut rules, mut steps) = (BTreeMap::new(), 0);
    for seed in seeds {
        let caps = if seed % 2 == 0 { Caps::CORTEX_A72 } else { Caps::MAX };
        let (mut dice, mut twins) = (Dice(seed), Twins::new(caps, Told::Together, seed));
        for _ in 0..200 {
            steps += 1;
            match dice.below(4) {
                0 => twins.clear(&mut dice),
                1 | 2 => twins.run(&mut dice),
                _ => twins.other(&mut dice),
            }
            if !twins.agree() {
                break;
            }
        }
        if let Some(report) = twins.quick.oracle.report() {
            *rules.entry(report.rule.name()).or_default() += 1;
        }
    }
    (steps, rules)
}

#[test]
fn runs_are_what_their_stores_are() {
    let (steps, rules) = histories(0..600);
    println!("{steps} steps, {rules:?}");
    assert!(rules.len() >= 8 && steps > 5000, "{steps} steps see too little: {rules:?}");
}

/// What a run leaves in its slots is kept when the slots go: its table is freed, or written anew.
#[test]
fn a_run_outlives_its_table() {
    let (table, frames) = (Pfn(RAM.0 + 8), Pfn(RAM.0 + 1024));
    for is_freed in [true, false] {
        let mut paper = Paper::a72();
        (0..8).for_each(|n| paper.alloc(frames + n, abi::Order::PAGE));
        paper.new_table(table, Level::Pte);
        paper.publish(0, ALL);
        paper.exchange(0, block(1), pte::Table::new(table).word());
        let slot = |n: u64| table.base() + 8 * n;
        paper.run(0, (0..8).map(|n| (slot(n), leaf(frames + n, Prot::ReadWrite))));
        paper.run(0, (0..8).map(|n| (slot(n), 0)));
        paper.exchange(0, block(1), 0);
        // The walks to the table, and the first page: not the others.
        paper.flush(0, of_walk(512, ALL));
        match is_freed {
            true => {
                paper.free_table(table, Level::Pte);
                paper.new_table(table, Level::Pte);
            }
            false => paper.oracle.fill(by(0), table.base(), 512, 0, 0),
        }
        paper.free(frames);
        paper.is_silent();
        paper.free(frames + 3);
        paper.breaks(Rule::FrameFreed);
        assert!(paper.to_string().contains("pfn=0x40403"), "{paper}");
    }
}
