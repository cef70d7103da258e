//! Linux's own tests as tables, on the machine that keeps every stale translation that it may.

use granule_machine::{Config, SimWorld};
use mm::mutant::Mutant;
use pte::Caps;
use std::panic::{AssertUnwindSafe, catch_unwind};
use stress::World;

/// Plays the cases in whose names `filter` is; what is wrong, if something is.
fn wrong(caps: Caps, filter: &str, mutant: Option<Mutant>) -> Option<String> {
    let config = Config { caps, pages: 4 * 8192, ..Config::default() };
    let world = SimWorld::new(config);
    world.mm().arm(mutant);
    let mut report = String::new();
    let run = || parity::run(&world, filter, &mut report);
    // The memory manager's own assertions may be what catches a bug.
    let Ok(summary) = catch_unwind(AssertUnwindSafe(run)) else {
        return Some("an assertion of the memory manager fails".into());
    };
    let summary = summary.expect("writing to a string works");
    assert!(summary != parity::Summary::default(), "no case is called {filter}");
    if summary.failed + summary.skipped > 0 {
        let bad = |line: &&str| !line.starts_with("ok") || line.contains("SKIP");
        return Some(report.lines().filter(bad).map(|line| format!("{line}\n")).collect());
    }
    world.verdict()
}

/// The cases in whose names `filter` is hold, on either machine.
fn hold(filter: &str) {
    for caps in [Caps::CORTEX_A72, Caps::MAX] {
        assert_eq!(wrong(caps, filter, None), None, "on {caps:?}");
    }
}

/// Known bugs, and a case that is to notice each.
const BUGS: [(Mutant, &str); 29] = [
    (Mutant::ForkNoFlush, "cow: both write after a fork, pages"),
    (Mutant::ForkKeepsWritable, "cow: both write after a fork, pages"),
    (Mutant::ForkKeepsExclusive, "cow: both write after a fork, pages"),
    (Mutant::CowReuseShared, "cow: both write after a fork, pages"),
    (Mutant::CowCountsMaps, "cow: child has a reference and unmaps, pages"),
    (Mutant::CowCountsMaps, "cow: child has a reference and unmaps, 64K by PTEs"),
    (Mutant::CowReuseShared, "cow: child has a reference and unmaps, pages"),
    (Mutant::ProtectWritableShared, "cow: the same, rights taken and given, pages"),
    (Mutant::ProtectWritableShared, "cow: the same, rights taken and given, a huge page"),
    (Mutant::ForkIgnoresPins, "cow: pinned to write, then a fork, pages"),
    (Mutant::ForkIgnoresPins, "cow: pinned to write, then a fork, 64K by PTEs"),
    (Mutant::ForkIgnoresHugePins, "cow: pinned to write, then a fork, a huge page"),
    (Mutant::PinShared, "cow: pinned to read when shared, pages"),
    (Mutant::PinShared, "cow: pinned fast to read when shared, a huge page"),
    (Mutant::PinUnnoted, "cow: pinned to write, then a fork, pages"),
    (Mutant::HugeZeroNotSpecial, "cow of zeros: both write after a fork, huge zeros"),
    (Mutant::LongtermZeros, "cow of zeros: pinned for long to read, zeros"),
    (Mutant::LongtermZeros, "cow of zeros: pinned for long to read, huge zeros"),
    (Mutant::ReplaceNoFlush, "cow of zeros: both write after a fork, zeros"),
    (Mutant::SplitNoBreak, "split: to order 0, a huge page"),
    (Mutant::SplitKeepsMapping, "split: to order 2, a huge page"),
    (Mutant::WalkStopsEarly, "rmap: from the oldest, pages"),
    (Mutant::TakeOutNoFlush, "migration: while it is read, pages"),
    (Mutant::OwedFirstOnly, "migration: while it is read, shared, pages"),
    (Mutant::TakeOutFlushLate, "migration: while it is read, pages"),
    (Mutant::RemapNoFlush, "mremap: 8K, page to page"),
    (Mutant::RemapNoFlush, "mremap: 2M, block to block"),
    (Mutant::UnmapNoTlbi, "mremap: smaller"),
    (Mutant::ProtectNoFlush, "merge: rights, both written"),
];

#[test]
fn known_bugs_are_noticed() {
    let missed: Vec<_> = BUGS
        .iter()
        .filter(|(mutant, case)| {
            let found = wrong(Caps::CORTEX_A72, case, Some(*mutant));
            println!("{}: {case}: {found:?}", mutant.name());
            found.is_none()
        })
        .map(|(mutant, case)| (mutant.name(), case))
        .collect();
    assert!(missed.is_empty(), "not noticed: {missed:#?}");
}

#[test]
fn gup() {
    hold("gup:");
}

#[test]
fn cow() {
    hold("cow:");
}

#[test]
fn cow_of_zeros() {
    hold("cow of zeros:");
}

#[test]
fn split() {
    hold("split:");
}

#[test]
fn rmap() {
    hold("rmap:");
}

#[test]
fn cow_of_collapsed() {
    hold("cow of collapsed:");
}

#[test]
fn khugepaged() {
    hold("khugepaged:");
}

#[test]
fn migration() {
    hold("migration:");
}

#[test]
fn mremap() {
    hold("mremap:");
}

#[test]
fn merge() {
    hold("merge:");
}

#[test]
fn pgtable() {
    hold("pgtable:");
}

/// The tables of `docs/parity.md`, row by row, each cell without its decoration.
fn doc() -> Vec<Vec<String>> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/parity.md");
    let text = std::fs::read_to_string(path).expect("the account is there");
    let cell = |cell: &str| cell.trim().trim_matches('`').to_owned();
    let row = |line: &str| line.trim_matches('|').split('|').map(cell).collect();
    text.lines().filter(|line| line.starts_with("| `")).map(row).collect()
}

#[test]
fn the_account_says_what_is_here() {
    let mut here: Vec<(&str, &str, usize)> = Vec::new();
    for count in parity::counts() {
        match here.iter_mut().find(|(suite, ..)| *suite == count.suite) {
            Some((.., cases)) => *cases += count.cases,
            None => here.push((count.suite, count.upstream, count.cases)),
        }
    }
    let doc = doc();
    let said: Vec<_> = doc
        .iter()
        .filter(|row| row.len() == 4)
        .map(|row| (&*row[0], &*row[1], row[2].parse().expect("a number")))
        .collect();
    assert_eq!(said, here);
}

#[test]
fn the_account_adds_up() {
    let doc = doc();
    let sums: Vec<_> = doc.iter().filter(|row| row.len() == 6).collect();
    assert!(sums.len() >= 10, "an account of {} lines", sums.len());
    for row in sums {
        let numbers: Vec<usize> = row[1..].iter().map(|n| n.parse().expect("a number")).collect();
        assert_eq!(numbers[0], numbers[1..].iter().sum(), "{}", row[0]);
        // Whoever has rows there has them here.
        let rows = parity::counts().filter(|count| count.upstream == row[0]);
        assert!(numbers[1] <= rows.map(|count| count.cases).sum(), "{}", row[0]);
    }
}
