//! Whether a boot showed what it must: by its exit status, its KTAP and its text.

use crate::{boots::Want, ktap::Tally, session::Outcome};

/// Everything that speaks against a boot; nothing means that it passed.
///
/// `explained` is the serial output with its backtraces resolved.
pub(crate) fn complaints(want: &Want, outcome: &Outcome, explained: &str) -> Vec<String> {
    let mut against = Vec::new();
    if let Some(text) = &outcome.awaited {
        against.push(format!("waited in vain for {text:?}"));
    } else if outcome.hung {
        against.push("did not end in time, and was ended".into());
    } else if !outcome.left {
        against.extend(status(want, outcome.status));
    }
    if want.ktap {
        let tally = Tally::read(explained);
        if tally.passed == 0 && tally.failures.is_empty() {
            against.push("no test result came over the serial line".into());
        }
        against.extend(tally.failures);
    }
    if let Some(place) = &want.backtrace
        && !explained.lines().any(|line| is_frame_in(line, place))
    {
        against.push(format!("no backtrace through {place}"));
    }
    let missing = want.text.iter().filter(|text| !explained.contains(text.as_str()));
    against.extend(missing.map(|text| format!("{text:?} did not appear")));
    let present = want.never.iter().filter(|text| explained.contains(text.as_str()));
    against.extend(present.map(|text| format!("{text:?} appeared")));
    against
}

/// What the exit status says against it.
fn status(want: &Want, status: Option<i32>) -> Option<String> {
    match (want.failure, status) {
        (false, Some(0)) => None,
        (true, Some(code)) if code != 0 => None,
        (false, Some(code)) => Some(format!("ended with status {code}")),
        (true, Some(_)) => Some("ended with status 0 where failure was due".into()),
        (_, None) => Some("QEMU was ended by a signal".into()),
    }
}

/// A resolved line of a backtrace: `  #2 0x… in function at place…`.
fn is_frame_in(line: &str, place: &str) -> bool {
    let line = line.trim_start();
    line.starts_with('#') && line.split_once(" at ").is_some_and(|(_, at)| at.contains(place))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const GOOD: &str = "KTAP version 1\r\n1..1\r\nok 1 a\r\n";

    fn ended(status: i32) -> Outcome {
        Outcome {
            output: Vec::new(),
            complaints: String::new(),
            status: Some(status),
            awaited: None,
            hung: false,
            left: false,
            took: Duration::ZERO,
        }
    }

    fn ktap() -> Want {
        Want { ktap: true, ..Want::default() }
    }

    #[test]
    fn both_the_status_and_the_results_must_be_good() {
        assert_eq!(complaints(&ktap(), &ended(0), GOOD), [""; 0]);
        assert_eq!(complaints(&ktap(), &ended(1), GOOD), ["ended with status 1"]);
        let bad = GOOD.replace("ok 1 a", "not ok 1 a");
        assert_eq!(complaints(&ktap(), &ended(0), &bad), ["not ok: a"]);
        let silent = complaints(&ktap(), &ended(0), "hello\n");
        assert_eq!(silent, ["no test result came over the serial line"]);
    }

    #[test]
    fn a_failure_that_was_asked_for_must_come() {
        let want = Want { failure: true, ..Want::default() };
        assert_eq!(complaints(&want, &ended(1), ""), [""; 0]);
        assert_eq!(complaints(&want, &ended(0), "").len(), 1);
    }

    #[test]
    fn hanging_and_dying_count_against_it() {
        let hung = Outcome { hung: true, status: None, ..ended(0) };
        assert_eq!(complaints(&ktap(), &hung, GOOD), ["did not end in time, and was ended"]);
        let killed = Outcome { status: None, ..ended(0) };
        assert_eq!(complaints(&ktap(), &killed, GOOD), ["QEMU was ended by a signal"]);
        let vain = Outcome { hung: true, awaited: Some("> ".into()), ..ended(0) };
        assert_eq!(complaints(&ktap(), &vain, GOOD), ["waited in vain for \"> \""]);
    }

    #[test]
    fn one_that_was_left_on_purpose_has_no_status() {
        let left = Outcome { left: true, status: None, ..ended(0) };
        assert_eq!(complaints(&Want::default(), &left, ""), [""; 0]);
    }

    #[test]
    fn a_backtrace_must_be_resolved_and_reach_the_place() {
        let want = Want { backtrace: Some("kernel/".into()), ..Want::default() };
        let frame = "  #1 0xffff800000001234 in mm::f at kernel/mm/src/f.rs:7\r\n";
        assert_eq!(complaints(&want, &ended(0), frame), [""; 0]);
        let bare = "at kernel/mm/src/f.rs:7\r\n  #1 0xffff800000001234\r\n";
        assert_eq!(complaints(&want, &ended(0), bare), ["no backtrace through kernel/"]);
    }

    #[test]
    fn text_must_appear_or_must_not() {
        let want = Want { text: vec!["a".into()], never: vec!["b".into()], ..Want::default() };
        let against = complaints(&want, &ended(0), "b");
        assert_eq!(against, ["\"a\" did not appear", "\"b\" appeared"]);
    }
}
