//! `docs/mutants.md` and `docs/catalogue.md` name known bugs: those of the source, all of them, and no others.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use granule_tests::house;
use mm::mutant::Mutant;
use std::collections::BTreeSet;
use std::fs;

fn text(path: &str) -> String {
    fs::read_to_string(house::root().join(path)).unwrap()
}

/// Every known bug: the memory manager's, and the orders of the small protocols, which only a build for
/// loom can list.
fn known() -> BTreeSet<String> {
    let orders = text("kernel/sync/src/mutant.rs");
    let (_, orders) = orders.split_once("\nmutants! {\n").unwrap();
    let (orders, _) = orders.split_once("\n}\n").unwrap();
    let variant = |line: &str| line.trim().strip_suffix(',').map(evidence::spelled);
    let orders = orders.lines().filter(|line| !line.contains("///")).filter_map(variant);
    Mutant::ALL.iter().map(|mutant| mutant.name().to_owned()).chain(orders).collect()
}

/// What is quoted as code in a piece of text.
fn quoted(text: &str) -> BTreeSet<String> {
    text.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

#[test]
fn the_matrix_has_a_row_for_each_known_bug_and_no_other() {
    let page = text("docs/mutants.md");
    let (_, made) = page.split_once("| known bug | model |").unwrap();
    let rows = made.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
    let rows: BTreeSet<_> = rows.map(|(bug, _)| bug.to_owned()).collect();
    let known = known();
    let lacks: Vec<_> = known.difference(&rows).collect();
    let more: Vec<_> = rows.difference(&known).collect();
    assert!(lacks.is_empty() && more.is_empty(), "make mutants DOCS=1: lacks {lacks:?}, {more:?}");
    assert!(!made.contains("NOBODY"), "somebody must catch each");
}

#[test]
fn the_catalogue_names_known_bugs_and_what_waits_is_none_yet() {
    let page = text("docs/catalogue.md");
    let known = known();
    let mut waiting = BTreeSet::new();
    for row in page.lines().filter(|line| line.starts_with("| ") && !line.contains("---")) {
        let here = row.trim_end_matches(" |").rsplit_once(" | ").unwrap().1;
        let (present, waits) = here.split_once("waiting: ").unwrap_or((here, ""));
        let bugs = quoted(present).into_iter().filter(|name| !name.starts_with("make "));
        let strange: Vec<_> = bugs.filter(|name| !known.contains(name)).collect();
        assert!(strange.is_empty(), "no known bugs: {strange:?}\n{row}");
        assert!(
            !quoted(here).is_empty() || here.starts_with("none: ") || here.contains("here"),
            "{row}"
        );
        waiting.extend(quoted(waits));
    }
    let here: Vec<_> = waiting.intersection(&known).collect();
    assert!(here.is_empty(), "these wait no more: {here:?}");
    assert!(waiting.len() > 20, "{waiting:?}");
}
