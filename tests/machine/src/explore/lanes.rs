//! A run's end as text: a column for each CPU, a line for each step, the cause and the end marked, the
//! missing step named.

use super::{Found, Run};
use crate::Told;
use std::fmt;

/// Characters of a column.
const WIDTH: usize = 44;

/// A step on a CPU's lane.
pub(super) struct Row<'a> {
    pub(super) told: &'a Told,
    /// The store that took away what somebody still has.
    pub(super) is_cause: bool,
    /// The step that showed it.
    pub(super) is_end: bool,
}

/// What a picture of a run shows.
pub(super) struct Shown<'a> {
    pub(super) cpus: usize,
    pub(super) rows: Vec<Row<'a>>,
    pub(super) broken: &'a str,
    pub(super) missing: Option<&'a str>,
}

impl<'a> Shown<'a> {
    /// The machine's story with its end, `end`; or, where the machine saw nothing, the last events.
    pub(super) fn of(run: &'a Run, end: &'a Option<Told>) -> Self {
        let broken = run.verdict.as_ref().map_or("nothing is wrong", Found::what);
        let story = match &run.verdict {
            Some(Found::Broken(violation)) => Some(&violation.story),
            _ => None,
        };
        let told = story.map(|story| &story.before).filter(|before| !before.is_empty());
        let told = told.unwrap_or(&run.history);
        let told = &told[told.len().saturating_sub(32)..];
        let cause = story.and_then(|story| story.cause);
        let row = |(n, told)| Row { told, is_cause: cause == Some(n), is_end: false };
        let mut rows: Vec<_> = told.iter().enumerate().map(row).collect();
        rows.extend(end.as_ref().map(|told| Row { told, is_cause: false, is_end: true }));
        let cpus = rows.iter().map(|row| row.told.cpu + 1).max().unwrap_or(1);
        let missing = story.and_then(|story| story.missing.as_deref());
        Self { cpus, rows, broken, missing }
    }
}

/// The step that showed it, as the last row.
pub(super) fn end(run: &Run) -> Option<Told> {
    match &run.verdict {
        Some(Found::Broken(violation)) => {
            let text = format!("BROKEN: {}", violation.what);
            Some(Told { step: violation.step, cpu: violation.cpu, text })
        }
        _ => None,
    }
}

/// Words in lines of at most `width` characters; longer words stick out.
pub(super) fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let line =
            lines.last_mut().filter(|line| line.is_empty() || line.len() + word.len() < width);
        match line {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) => {
                line.push(' ');
                line.push_str(word);
            }
            None => lines.push(word.into()),
        }
    }
    lines
}

/// A run, to be printed.
pub(super) struct Lanes<'a>(pub(super) &'a Run);

impl fmt::Display for Lanes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = end(self.0);
        let Shown { cpus, rows, broken, missing } = Shown::of(self.0, &end);
        write!(f, "{:>8} ", "step")?;
        (0..cpus).try_for_each(|cpu| write!(f, "| {:<WIDTH$} ", format!("cpu {cpu}")))?;
        writeln!(f)?;
        for Row { told, is_cause, is_end } in rows {
            let mark = if is_cause || is_end { '>' } else { ' ' };
            for (n, line) in wrap(&told.text, WIDTH).into_iter().enumerate() {
                let step = if n == 0 { told.step.to_string() } else { String::new() };
                write!(f, "{step:>8}{mark}")?;
                for cpu in 0..cpus {
                    let cell = if cpu == told.cpu { line.as_str() } else { "" };
                    write!(f, "| {cell:<WIDTH$} ")?;
                }
                writeln!(f)?;
            }
        }
        writeln!(f, "broken:  {broken}")?;
        missing.map_or(Ok(()), |step| writeln!(f, "missing: {step}"))
    }
}
