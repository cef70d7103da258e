//! Reading KTAP back from a serial line: what passed, what failed, what never came.
//!
//! Unknown lines are legal in KTAP, so logs and progress may come between. A suite is known by its
//! version line and its depth by its indentation; a plan whose cases did not all come is a failure,
//! since that is what a crash in the middle looks like.
//!
//! Source: Linux, `Documentation/dev-tools/ktap.rst`.

/// What a run's output says.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(crate) struct Tally {
    /// Version lines seen: without one, nothing was tested.
    pub(crate) suites: usize,
    /// Cases that held. A suite's own closing line counts as none.
    pub(crate) passed: usize,
    /// Cases that do not apply to the machine.
    pub(crate) skipped: usize,
    /// What did not hold, in words.
    pub(crate) failures: Vec<String>,
}

/// A suite that is still open.
struct Suite {
    indent: usize,
    planned: Option<usize>,
    done: usize,
}

impl Tally {
    /// Reads a whole output.
    pub(crate) fn read(output: &str) -> Self {
        let mut tally = Self::default();
        let mut open: Vec<Suite> = Vec::new();
        for line in output.split('\n') {
            let line = visible(line);
            let text = line.trim_start();
            let indent = line.len() - text.len();
            if text == "KTAP version 1" {
                tally.close(&mut open, indent);
                tally.suites += 1;
                open.push(Suite { indent, planned: None, done: 0 });
            } else if let Some(planned) = plan(text) {
                if let Some(suite) = open.last_mut().filter(|suite| suite.indent == indent) {
                    suite.planned = Some(planned);
                }
            } else if let Some(case) = Case::parse(text) {
                let parent = tally.close(&mut open, indent + 1);
                tally.count(case, open.last_mut().filter(|s| s.indent == indent), parent);
            } else if text.starts_with("Bail out!") {
                tally.failures.push(text.into());
            }
        }
        tally.close(&mut open, 0);
        tally
    }

    /// Ends the suites at `indent` and deeper; says whether there was one.
    fn close(&mut self, open: &mut Vec<Suite>, indent: usize) -> bool {
        let mut closed = false;
        while let Some(suite) = open.pop_if(|suite| suite.indent >= indent) {
            closed = true;
            match suite.planned {
                None => self.failures.push("a suite printed no plan".into()),
                Some(planned) if planned != suite.done => {
                    self.failures.push(format!("{} of {planned} planned cases came", suite.done));
                }
                Some(_) => {}
            }
        }
        closed
    }

    fn count(&mut self, case: Case<'_>, suite: Option<&mut Suite>, closes_suite: bool) {
        let Some(suite) = suite else {
            self.failures.push(format!("a case outside any suite: {}", case.name));
            return;
        };
        suite.done += 1;
        if case.number != suite.done {
            let want = suite.done;
            self.failures
                .push(format!("case {} came as number {want}: {}", case.number, case.name));
        }
        if !case.ok {
            self.failures.push(format!("not ok: {}", case.name));
        } else if case.skipped {
            self.skipped += 1;
        } else if !closes_suite {
            self.passed += 1;
        }
    }
}

/// A result line.
struct Case<'a> {
    ok: bool,
    number: usize,
    name: &'a str,
    skipped: bool,
}

impl<'a> Case<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let (ok, rest) = match text.strip_prefix("not ok ") {
            Some(rest) => (false, rest),
            None => (true, text.strip_prefix("ok ")?),
        };
        let (number, name) = rest.split_once(' ').unwrap_or((rest, ""));
        let skipped = name.contains("# SKIP");
        Some(Self { ok, number: number.parse().ok()?, name, skipped })
    }
}

/// `1..N`.
fn plan(text: &str) -> Option<usize> {
    text.strip_prefix("1..")?.trim_end().parse().ok()
}

/// What a terminal shows of a line: progress that was overwritten is gone, so are escape sequences.
fn visible(line: &str) -> String {
    let line = line.trim_end_matches('\r');
    let line = line.rsplit('\r').next().unwrap_or(line);
    let mut shown = String::with_capacity(line.len());
    let mut chars = line.chars();
    while let Some(char) = chars.next() {
        if char == '\x1b' {
            // Control sequence: up to its final letter.
            chars.by_ref().skip(1).find(char::is_ascii_alphabetic);
        } else {
            shown.push(char);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_complete_run_passes_with_noise_between() {
        let text = "boot\r\nKTAP version 1\r\n1..2\r\n# seed\r\n50%\r\x1b[Kok 1 a\r\nlog\r\n\
                    ok 2 b # SKIP no SMMU\r\n# Totals: pass:1\r\n";
        let tally = Tally::read(text);
        assert_eq!((tally.suites, tally.passed, tally.skipped), (1, 1, 1));
        assert_eq!(tally.failures, [""; 0]);
    }

    #[test]
    fn nested_suites_count_their_leaves_once() {
        let text = "KTAP version 1\n1..1\n  KTAP version 1\n  1..2\n  ok 1 x\n  ok 2 y\nok 1 all\n";
        let tally = Tally::read(text);
        assert_eq!((tally.suites, tally.passed), (2, 2));
        assert_eq!(tally.failures, [""; 0]);
    }

    #[test]
    fn suites_in_a_row_are_each_judged() {
        let text = "KTAP version 1\n1..1\nok 1 x\nKTAP version 1\n1..2\nok 1 y\n";
        assert_eq!(Tally::read(text).failures, ["1 of 2 planned cases came"]);
    }

    #[test]
    fn what_went_wrong_is_named() {
        let failures = |text: &str| Tally::read(text).failures;
        assert_eq!(failures("KTAP version 1\n1..1\nnot ok 1 gup\n"), ["not ok: gup"]);
        assert_eq!(failures("KTAP version 1\nok 1 gup\n"), ["a suite printed no plan"]);
        assert_eq!(failures("ok 1 gup\n"), ["a case outside any suite: gup"]);
        assert_eq!(failures("Bail out! no memory\n"), ["Bail out! no memory"]);
        let skewed = failures("KTAP version 1\n1..1\nok 3 gup\n");
        assert_eq!(skewed, ["case 3 came as number 1: gup"]);
    }

    #[test]
    fn silence_is_no_suite() {
        assert_eq!(Tally::read("ok then\nhello\n"), Tally::default());
    }
}
