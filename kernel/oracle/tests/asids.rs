//! ASIDs: one space each, and nothing of others left under it when it is taken up.

mod common;

use abi::{Asid, Level, Pfn};
use common::{ALL, ASID, LOCAL, Paper, TABLES, by, everything};
use granule_oracle::Rule;
use pte::{Scope, Target, Tlbi};

const OTHER: Pfn = Pfn(common::RAM.0 + 60);

/// A second space, with nothing in it; CPU 0 runs none.
fn two() -> Paper {
    let mut paper = Paper::a72();
    paper.new_table(OTHER, Level::Pgd);
    paper.publish(0, ALL);
    paper.oracle.leave(by(0));
    paper
}

fn of_asid(scope: Scope) -> Tlbi {
    Tlbi { target: Target::Asid(ASID), scope }
}

#[test]
fn a_number_changes_hands_after_a_flush() {
    let flushes: [(&[(u8, Tlbi)], bool); 5] = [
        (&[(0, everything(LOCAL))], true),
        (&[(0, of_asid(LOCAL))], true),
        (&[(1, of_asid(ALL))], true),
        (&[(1, everything(LOCAL))], false),
        (&[], false),
    ];
    for (ops, silent) in flushes {
        let mut paper = two();
        for (cpu, op) in ops {
            paper.flush(*cpu, *op);
        }
        paper.oracle.enter(by(0), OTHER, ASID);
        match silent {
            true => paper.is_silent(),
            false => paper.breaks(Rule::AsidStale),
        }
    }
}

/// Only the CPU that has something must drop it.
#[test]
fn a_cpu_that_never_ran_it_has_nothing() {
    let mut paper = two();
    paper.oracle.enter(by(1), OTHER, ASID);
    paper.is_silent();
    paper.oracle.enter(by(0), OTHER, ASID);
    paper.breaks(Rule::AsidStale);
}

#[test]
fn the_flush_is_waited_for() {
    let mut paper = two();
    paper.tlbi(0, everything(ALL));
    paper.oracle.enter(by(0), OTHER, ASID);
    paper.breaks(Rule::AsidStale);
}

/// What is left by a CPU after the operation was issued, the operation need not have removed.
#[test]
fn the_flush_comes_after() {
    let mut paper = two();
    paper.enter(0, ASID);
    paper.tlbi(1, everything(ALL));
    paper.oracle.leave(by(0));
    paper.complete(1, ALL);
    paper.oracle.enter(by(0), OTHER, ASID);
    paper.breaks(Rule::AsidStale);
}

#[test]
fn two_spaces_at_once() {
    let mut paper = two();
    paper.enter(0, ASID);
    paper.oracle.enter(by(1), OTHER, ASID);
    paper.breaks(Rule::AsidShared);
}

/// A space that has another number now is a stranger under its old one.
#[test]
fn a_space_comes_back_to_a_number() {
    for flushed in [true, false] {
        let mut paper = two();
        paper.enter(0, Asid(6));
        if flushed {
            paper.flush(0, everything(LOCAL));
        }
        paper.enter(0, ASID);
        match flushed {
            true => paper.is_silent(),
            false => paper.breaks(Rule::AsidStale),
        }
    }
}

#[test]
fn what_is_run_is_a_root() {
    let mut paper = two();
    paper.oracle.enter(by(0), TABLES[1], Asid(9));
    paper.breaks(Rule::RootNoTable);
    let mut paper = two();
    paper.oracle.enter(by(0), common::DATA, Asid(9));
    paper.breaks(Rule::RootNoTable);
}
