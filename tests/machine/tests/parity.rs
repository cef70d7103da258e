//! Linux's own tests as tables, on the machine that keeps every stale translation that it may.

use granule_machine::{Config, SimWorld};
use pte::Caps;

/// Plays the cases in whose names `filter` is, on either machine; all hold.
fn hold(filter: &str) {
    for caps in [Caps::CORTEX_A72, Caps::MAX] {
        let config = Config { caps, pages: 4 * 8192, ..Config::default() };
        let world = SimWorld::new(config);
        let mut report = String::new();
        let summary = parity::run(&world, filter, &mut report).expect("writing to a string works");
        let bad: String = report
            .lines()
            .filter(|line| !line.starts_with("ok") || line.contains("SKIP"))
            .map(|line| format!("{line}\n"))
            .collect();
        assert_eq!((summary.failed, summary.skipped), (0, 0), "on {config:?}:\n{bad}");
        assert!(summary.passed > 0, "no case is called {filter}");
        assert_eq!(world.verdict(), None, "on {config:?}");
    }
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
