//! The progress line: seldom enough, one row, and gone at the end.

use super::vt100::Vt100;
use crate::{Progress, Report, Show, Terminal};
use core::fmt::Display;
use core::time::Duration;
use proptest::prelude::*;
use std::string::String;

fn report<'a>(done: u64, total: u64, note: &'a dyn Display) -> Report<'a> {
    Report { label: "fault-4k", done, total, note }
}

const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

#[test]
fn an_ansi_terminal_sees_one_row_redrawn() {
    let mut screen = Vt100::new(80);
    let mut progress = Progress::new(&Terminal::new(Show::Ansi), millis(1000));
    progress.update(millis(1000), &report(0, 10, &"a long first note"), &mut screen).unwrap();
    assert_eq!(screen.row(), "fault-4k  [....................]   0%  0:00  a long first note");
    progress.update(millis(6500), &report(5, 10, &"1.25M faults/s"), &mut screen).unwrap();
    assert_eq!(screen.row(), "fault-4k  [##########..........]  50%  0:05  1.25M faults/s");
    progress.finish(&mut screen).unwrap();
    assert_eq!((screen.row().as_str(), screen.rows.len(), screen.column), ("", 1, 0));
}

#[test]
fn a_log_sees_a_diagnostic_line_now_and_then() {
    let mut out = String::new();
    let mut progress = Progress::new(&Terminal::new(Show::Plain), Duration::ZERO);
    for second in 0..12 {
        let now = Duration::from_secs(second);
        progress.update(now, &report(second, 12, &""), &mut out).unwrap();
    }
    progress.finish(&mut out).unwrap();
    assert_eq!(
        out,
        "# fault-4k  [########............]  41%  0:05\n\
         # fault-4k  [################....]  83%  0:10\n"
    );
}

#[test]
fn nobody_is_told_nothing() {
    let mut out = String::new();
    let mut progress = Progress::new(&Terminal::new(Show::Nothing), Duration::ZERO);
    progress.update(Duration::MAX, &report(1, 2, &""), &mut out).unwrap();
    progress.finish(&mut out).unwrap();
    assert_eq!(out, "");
}

#[test]
fn without_a_total_there_is_no_percentage() {
    let mut screen = Vt100::new(80);
    let mut progress = Progress::new(&Terminal::new(Show::Ansi), Duration::ZERO);
    progress.update(millis(61_000), &report(7, 0, &"7 spaces"), &mut screen).unwrap();
    assert_eq!(screen.row(), "fault-4k  1:01  7 spaces");
}

#[test]
fn finishing_what_was_never_drawn_writes_nothing() {
    let mut out = String::new();
    Progress::new(&Terminal::new(Show::Ansi), Duration::ZERO).finish(&mut out).unwrap();
    assert_eq!(out, "");
}

proptest! {
    #[test]
    fn lines_come_no_closer_than_the_gap(steps in prop::collection::vec(0..500_u64, 0..200)) {
        let mut progress = Progress::new(&Terminal::new(Show::Ansi), Duration::ZERO);
        let (mut now, mut last) = (Duration::ZERO, None);
        for step in steps {
            now += millis(step);
            let mut out = String::new();
            progress.update(now, &report(1, 2, &""), &mut out).unwrap();
            if !out.is_empty() {
                prop_assert!(last.is_none_or(|last| now - last >= millis(200)));
                last = Some(now);
            } else {
                prop_assert!(last.is_some_and(|last| now - last < millis(200)));
            }
        }
    }

    /// Any numbers, any note and any clock, also one that runs backwards: one row, never wrapped.
    #[test]
    fn the_row_never_wraps(
        reports in prop::collection::vec((any::<u64>(), any::<u64>(), any::<u64>(), ".{0,90}"), 0..20),
        columns in 0..100_usize,
    ) {
        let terminal = Terminal::new(Show::Ansi).with_columns(columns);
        let mut screen = Vt100::new(terminal.columns());
        let mut progress = Progress::new(&terminal, Duration::ZERO).with_gap(Duration::ZERO);
        for (now, done, total, note) in reports {
            let ascii: String = note.chars().map(|c| if c > '~' { '?' } else { c }).collect();
            progress.update(millis(now), &report(done, total, &ascii), &mut screen).unwrap();
            prop_assert_eq!(screen.rows.len(), 1);
        }
        progress.finish(&mut screen).unwrap();
        prop_assert_eq!(screen.row(), "");
    }
}
