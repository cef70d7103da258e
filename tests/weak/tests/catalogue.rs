//! The machine on the catalogue: it reaches every final state that the law allows, and no other.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use litmus::catalogue::{self, Entry};
use litmus::{Column, law};
use std::collections::BTreeSet;

/// More states than any of these needs.
const MOST: usize = 500_000;

fn agrees(entry: &Entry, column: Column) {
    let test = entry.test().unwrap();
    let reached =
        weak::explore(&test, column, MOST).unwrap_or_else(|no| panic!("{}: {no}", test.name));
    assert!(!reached.cut, "{}: loops are not for the catalogue", test.name);
    let allowed: BTreeSet<_> = law::outcomes(&test, column).unwrap().states.into_keys().collect();
    assert_eq!(reached.ends, allowed, "{} in {column:?}: the machine's, the law's", test.name);
}

#[test]
fn the_machine_reaches_what_is_allowed_and_nothing_else() {
    for entry in catalogue::all() {
        agrees(&entry, Column::Base);
        agrees(&entry, Column::Ets2);
    }
}
