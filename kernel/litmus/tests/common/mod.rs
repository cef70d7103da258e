//! Tests as they are written in these files: an initial state, a column a thread, a question.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]
#![allow(dead_code, reason = "each test file uses its own part")]

use litmus::{Column, Test, Verdict, law, parse};

/// A test's text. Instructions of a column are separated by `;`.
pub(crate) fn text(initial: &str, columns: &[&str], condition: &str) -> String {
    let columns: Vec<Vec<&str>> = columns.iter().map(|c| c.split(';').collect()).collect();
    let mut text = format!("AArch64 here\n{{\n{initial}\n}}\n");
    let heads: Vec<String> = (0..columns.len()).map(|thread| format!("P{thread}")).collect();
    text += &format!("{} ;\n", heads.join(" | "));
    for row in 0..columns.iter().map(Vec::len).max().unwrap_or(0) {
        let cells: Vec<&str> = columns.iter().map(|c| c.get(row).copied().unwrap_or("")).collect();
        text += &format!("{} ;\n", cells.join(" | "));
    }
    text + condition
}

/// A test.
pub(crate) fn test(initial: &str, columns: &[&str], condition: &str) -> Test {
    let text = text(initial, columns, condition);
    parse(&text).map_err(|error| format!("{error}\n{text}")).unwrap()
}

/// What the law says to `test` in the columns of base and ETS2.
pub(crate) fn verdicts(test: &Test) -> (Verdict, Verdict) {
    let verdict = |column| law::verdict(test, column).unwrap();
    let answers = [Column::Base, Column::Ets2, Column::Ets3].map(verdict);
    let promised =
        |pair: &[Verdict]| pair[0] != Verdict::Forbidden || pair[1] == Verdict::Forbidden;
    assert!(answers.windows(2).all(promised), "a promise more allows nothing more: {answers:?}");
    (answers[0], answers[1])
}
