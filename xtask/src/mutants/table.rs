//! The matrix itself: from the suites' lines to rows, and from rows to a table and to JSON.

use evidence::{Finding, Judge, Line};
use serde_json::{Value, json};
use std::{fmt, time::Duration};

/// The columns' headings.
const COLUMNS: [&str; 5] = ["model", "sanitizer", "loom", "QEMU a72", "QEMU max"];

/// Where the columns lie that the suites do not fill.
pub(crate) mod column {
    pub(crate) const A72: usize = 3;
    pub(crate) const MAX: usize = 4;
}

/// The first seed that suites, sweeps and boots try.
pub(crate) const SEED: u64 = 1;
/// A bug must be noticed within this, by one core.
const SOON: Duration = Duration::from_secs(10);

/// What one judge found out about one bug.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Cell {
    /// Nobody tried: the judge has no business with it, or its part was left out.
    Untried,
    /// It was committed so often, and nothing was noticed.
    Hidden { tries: usize },
    /// It was noticed.
    Caught { by: String, said: String, took: Duration },
}

impl Cell {
    /// The best of a judge's findings: the quickest that noticed it.
    fn of<'a>(findings: impl Iterator<Item = &'a Finding>) -> Self {
        let findings: Vec<_> = findings.collect();
        let caught = findings.iter().filter(|found| found.caught).min_by_key(|found| found.took);
        match caught {
            Some(Finding { test, said, took, .. }) => {
                Self::Caught { by: test.clone(), said: said.clone(), took: *took }
            }
            None if findings.is_empty() => Self::Untried,
            None => Self::Hidden { tries: findings.len() },
        }
    }

    /// Few letters for people.
    fn brief(&self) -> String {
        match self {
            Self::Untried => "-".into(),
            Self::Hidden { .. } => "hidden".into(),
            Self::Caught { took, .. } => format!("caught {:.2} s", took.as_secs_f64()),
        }
    }

    fn json(&self) -> Value {
        match self {
            Self::Untried => json!({ "verdict": "not applicable" }),
            Self::Hidden { tries } => json!({ "verdict": "hidden", "tries": tries }),
            Self::Caught { by, said, took } => json!({
                "verdict": "caught",
                "by": by,
                "said": said,
                "steps": steps(said),
                "seconds": took.as_secs_f64(),
            }),
        }
    }
}

/// The step at which a judge says that it noticed, if it counts steps.
fn steps(said: &str) -> Option<u64> {
    let (_, behind) = said.split_once("step ")?;
    behind.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// One bug.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Row {
    pub(crate) bug: String,
    cells: [Cell; COLUMNS.len()],
    /// The workload that gives it the best chance to be seen, if a suite knows of one.
    pub(crate) home: String,
}

impl Row {
    /// How long it took whoever noticed it first; `None` if nobody did.
    fn soonest(&self) -> Option<Duration> {
        let took = |cell: &Cell| match cell {
            Cell::Caught { took, .. } => Some(*took),
            _ => None,
        };
        self.cells.iter().filter_map(took).min()
    }

    /// Whether it can be armed in a memory manager. Else it is an order of a protocol, which loom alone
    /// takes away.
    pub(crate) fn is_in_the_manager(&self) -> bool {
        self.cells[..2].iter().any(|cell| *cell != Cell::Untried)
    }

    /// Who says most about it, and what: the sanitizer's rule, else the first that noticed.
    fn words(&self) -> String {
        let order = [1, 0, 2, column::A72, column::MAX];
        let said = order.iter().find_map(|&column| match &self.cells[column] {
            Cell::Caught { by, said, .. } => Some(format!("{by}: {said}")),
            _ => None,
        });
        let said = said.unwrap_or_else(|| "NOBODY".into());
        match said.char_indices().nth(WIDEST) {
            Some((end, _)) => format!("{}…", &said[..end]),
            None => said,
        }
    }
}

/// How many letters of a judge's words a line shows; all of them are in the JSON.
const WIDEST: usize = 90;

/// All bugs, in the order in which they became known.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Matrix {
    pub(crate) rows: Vec<Row>,
}

impl Matrix {
    /// What the suites said of the bugs whose name holds `only`.
    pub(crate) fn new(lines: Vec<Line>, only: &str) -> Self {
        let mut bugs: Vec<(String, String)> = Vec::new();
        let mut found = Vec::new();
        for line in lines {
            let (bug, home) = match line {
                Line::Known { bug, home } => (bug, home),
                Line::Found(finding) => {
                    let bug = finding.bug.clone();
                    found.push(finding);
                    (bug, String::new())
                }
            };
            match bugs.iter_mut().find(|(known, _)| *known == bug) {
                // Not every suite knows of a home.
                Some((_, known)) if known.is_empty() => *known = home,
                Some(_) => {}
                None if evidence::holds(&bug, only) => bugs.push((bug, home)),
                None => {}
            }
        }
        Self { rows: bugs.into_iter().map(|(bug, home)| Self::row(bug, home, &found)).collect() }
    }

    fn row(bug: String, home: String, found: &[Finding]) -> Row {
        let about = || found.iter().filter(|finding| finding.bug == bug);
        let mut cells = [const { Cell::Untried }; COLUMNS.len()];
        for (cell, judge) in cells.iter_mut().zip(Judge::ALL) {
            *cell = Cell::of(about().filter(|finding| finding.judge == judge));
        }
        Row { bug, cells, home }
    }

    /// Whether there are bugs, and each was noticed by somebody, soon.
    pub(crate) fn is_caught_in_time(&self) -> bool {
        let in_time = |row: &Row| row.soonest().is_some_and(|took| took <= SOON);
        !self.rows.is_empty() && self.rows.iter().all(in_time)
    }

    /// The bug that took longest to be noticed by whoever was the first to.
    fn slowest(&self) -> Option<(Duration, &str)> {
        self.rows.iter().filter_map(|row| Some((row.soonest()?, &*row.bug))).max()
    }

    /// Fills a cell.
    pub(crate) fn set(&mut self, bug: &str, column: usize, cell: Cell) {
        if let Some(row) = self.rows.iter_mut().find(|row| row.bug == bug) {
            row.cells[column] = cell;
        }
    }

    /// In how many rows a column caught the bug, and in how many it was tried.
    fn score(&self, column: usize) -> (usize, usize) {
        let cells = self.rows.iter().map(|row| &row.cells[column]);
        let caught = cells.clone().filter(|cell| matches!(cell, Cell::Caught { .. })).count();
        (caught, cells.filter(|cell| **cell != Cell::Untried).count())
    }

    /// For the documents: a table, and the sums.
    pub(crate) fn markdown(&self) -> String {
        let mut text = format!("| known bug | {} | who said what |\n", COLUMNS.join(" | "));
        text += &format!("|{}\n", " --- |".repeat(COLUMNS.len() + 2));
        for row in &self.rows {
            let cells: Vec<_> = row.cells.iter().map(Cell::brief).collect();
            let words = row.words().replace('|', "/");
            text += &format!("| `{}` | {} | {words} |\n", row.bug, cells.join(" | "));
        }
        text + "\n```text\n" + &self.sums() + "```\n"
    }

    /// How many of how many each column caught, and what it came to.
    fn sums(&self) -> String {
        let mut text = String::new();
        for (at, column) in COLUMNS.iter().enumerate() {
            let (caught, tried) = self.score(at);
            text += &format!("{column:10} caught {caught} of {tried}\n");
        }
        let missed: Vec<_> = self.rows.iter().filter(|row| row.soonest().is_none()).collect();
        text +=
            &format!("{} known bugs, of which nobody caught {}\n", self.rows.len(), missed.len());
        for row in missed {
            text += &format!("  {}\n", row.bug);
        }
        if let Some((took, bug)) = self.slowest() {
            let verdict = if took > SOON { ": too long" } else { "" };
            text +=
                &format!("the slowest to be caught: {bug}, {:.2} s{verdict}\n", took.as_secs_f64());
        }
        text
    }

    /// For tools: one object a bug.
    pub(crate) fn json(&self) -> String {
        let row = |row: &Row| {
            let cells = COLUMNS.iter().zip(&row.cells);
            let cells = cells.map(|(column, cell)| (column.to_string(), cell.json())).collect();
            json!({ "bug": row.bug, "columns": Value::Object(cells) })
        };
        let rows: Vec<_> = self.rows.iter().map(|r| row(r).to_string()).collect();
        format!("[\n{}\n]\n", rows.join(",\n"))
    }
}

impl fmt::Display for Matrix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.rows.iter().map(|row| row.bug.len()).max().unwrap_or(0).max(12);
        write!(f, "{:name$}", "known bug")?;
        COLUMNS.iter().try_for_each(|column| write!(f, "  {column:14}"))?;
        writeln!(f, "  who said what")?;
        for row in &self.rows {
            write!(f, "{:name$}", row.bug)?;
            row.cells.iter().try_for_each(|cell| write!(f, "  {:14}", cell.brief()))?;
            writeln!(f, "  {}", row.words())?;
        }
        write!(f, "\n{}", self.sums())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(judge: Judge, bug: &str, test: &str, said: Option<&str>, millis: u64) -> Line {
        Line::Found(Finding {
            judge,
            bug: bug.into(),
            caught: said.is_some(),
            test: test.into(),
            took: Duration::from_millis(millis),
            said: said.unwrap_or_default().into(),
        })
    }

    fn matrix(only: &str) -> Matrix {
        let known = |bug: &str| Line::Known { bug: bug.into(), home: String::new() };
        let lines = vec![
            known("no-publish"),
            Line::Known { bug: "no-publish".into(), home: "cow".into() },
            known("no-grace"),
            found(Judge::Model, "no-publish", "flushes::a", Some("after step 12: freed"), 30),
            found(Judge::Model, "no-publish", "stress cow", Some("step 7: freed"), 20),
            found(Judge::Sanitizer, "no-publish", "stress fault-4k", Some("frame-freed"), 5),
            found(Judge::Model, "no-grace", "stress cow", None, 9),
            found(Judge::Loom, "walk-unfenced", "without::x", Some("Causality violation"), 1),
            known("walk-unfenced"),
        ];
        Matrix::new(lines, only)
    }

    #[test]
    fn a_cell_is_the_quickest_that_noticed() {
        let matrix = matrix("");
        let took = Duration::from_millis(20);
        let (by, said) = ("stress cow".into(), "step 7: freed".into());
        assert_eq!(matrix.rows[0].cells[0], Cell::Caught { by, said, took });
        assert_eq!(matrix.rows[1].cells[0], Cell::Hidden { tries: 1 });
        assert_eq!(matrix.rows[1].cells[1], Cell::Untried);
    }

    #[test]
    fn a_bug_that_nobody_catches_is_counted_and_named() {
        let text = matrix("").to_string();
        assert!(text.contains("3 known bugs, of which nobody caught 1\n  no-grace\n"), "{text}");
        assert!(text.contains("model      caught 1 of 2\n"), "{text}");
        assert!(text.contains("loom       caught 1 of 1\n"), "{text}");
        assert!(text.contains("QEMU max   caught 0 of 0\n"), "{text}");
    }

    #[test]
    fn columns_stand_under_each_other() {
        let text = matrix("").to_string();
        let at = |line: &str, what| line.find(what).unwrap();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(at(lines[0], "who said"), at(lines[1], "stress fault-4k: frame-freed"));
        assert_eq!(at(lines[0], "model"), at(lines[2], "hidden"));
    }

    #[test]
    fn rows_are_chosen_by_part_of_their_name() {
        let bugs: Vec<_> = matrix("no-").rows.into_iter().map(|row| row.bug).collect();
        assert_eq!(bugs, ["no-publish", "no-grace"]);
    }

    #[test]
    fn a_bug_is_at_home_where_the_suite_says_that_knows() {
        let matrix = matrix("");
        assert_eq!((&*matrix.rows[0].home, &*matrix.rows[1].home), ("cow", ""));
        assert!(matrix.rows[1].is_in_the_manager() && !matrix.rows[2].is_in_the_manager());
    }

    #[test]
    fn a_bug_must_be_caught_by_somebody_and_soon() {
        let mut matrix = matrix("no-publish");
        assert!(matrix.is_caught_in_time());
        assert_eq!(matrix.slowest(), Some((Duration::from_millis(5), "no-publish")));
        let late = |millis| Cell::Caught {
            by: "t".into(),
            said: "s".into(),
            took: Duration::from_millis(millis),
        };
        matrix.rows[0].cells = [const { Cell::Untried }; COLUMNS.len()];
        assert!(!matrix.is_caught_in_time());
        matrix.set("no-publish", column::MAX, late(10_001));
        assert!(!matrix.is_caught_in_time() && matrix.to_string().contains("10.00 s: too long"));
        matrix.set("no-publish", 0, late(10_000));
        assert!(matrix.is_caught_in_time());
        assert!(!Matrix { rows: Vec::new() }.is_caught_in_time());
    }

    #[test]
    fn documents_get_a_row_for_each_bug() {
        let text = matrix("").markdown();
        let row = "| `no-grace` | hidden | - | - | - | - | NOBODY |\n";
        assert!(text.starts_with("| known bug | model |") && text.contains(row), "{text}");
    }

    #[test]
    fn tools_get_the_steps_and_all_words() {
        let rows: Vec<Value> = serde_json::from_str(&matrix("").json()).unwrap();
        let model = &rows[0]["columns"]["model"];
        assert_eq!((&model["steps"], &model["said"]), (&json!(7), &json!("step 7: freed")));
        assert_eq!(rows[1]["columns"]["QEMU a72"]["verdict"], "not applicable");
        assert_eq!(steps("frame-freed"), None);
    }
}
