//! What a person sees of a test run: one short line a step, the evidence of failures last.

use std::{
    fmt::Write as _,
    time::{Duration, Instant},
};

/// How one step ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Verdict {
    /// So many tests passed.
    Pass(usize),
    /// It could not be tried here, and why.
    Skip(String),
    /// What went wrong; how many tests passed and failed.
    Fail { passed: usize, failed: usize, evidence: String },
}

impl Verdict {
    /// One test that failed.
    pub(crate) fn fail(evidence: impl Into<String>) -> Self {
        Self::Fail { passed: 0, failed: 1, evidence: evidence.into() }
    }
}

/// The run so far.
pub(crate) struct Report {
    started: Instant,
    passed: usize,
    failed: usize,
    skipped: Vec<String>,
    failures: Vec<(String, String)>,
}

impl Report {
    /// An empty one; the clock runs.
    pub(crate) fn new() -> Self {
        let started = Instant::now();
        Self { started, passed: 0, failed: 0, skipped: Vec::new(), failures: Vec::new() }
    }

    /// Prints a heading.
    pub(crate) fn heading(&self, text: &str) {
        println!("\n{text}");
    }

    /// Notes a step and prints its line.
    pub(crate) fn step(&mut self, name: &str, verdict: Verdict, took: Duration) {
        let mut line = String::new();
        let word = match &verdict {
            Verdict::Pass(_) => "ok  ",
            Verdict::Skip(_) => "skip",
            Verdict::Fail { .. } => "FAIL",
        };
        // A String takes every write.
        let _ = write!(line, "  {word}  {name:<68} {:>6.1} s", took.as_secs_f64());
        match verdict {
            Verdict::Pass(tests) => {
                self.passed += tests;
                if tests != 1 {
                    let _ = write!(line, "  {tests} tests");
                }
            }
            Verdict::Skip(why) => self.skipped.push(format!("{name}: {why}")),
            Verdict::Fail { passed, failed, evidence } => {
                self.passed += passed;
                self.failed += failed.max(1);
                self.failures.push((name.into(), evidence));
            }
        }
        println!("{line}");
    }

    /// Prints what failed and the totals; whether nothing failed and something passed.
    pub(crate) fn finish(self) -> bool {
        for (name, evidence) in &self.failures {
            println!("\n--- FAIL {name}\n{}", evidence.trim_end());
        }
        if !self.skipped.is_empty() {
            println!("\nNot tried here:");
            for skipped in &self.skipped {
                println!("  {skipped}");
            }
        }
        println!("\nin {:.0} s:", self.started.elapsed().as_secs_f64());
        println!("{} passed, {} failed", self.passed, self.failed);
        self.failed == 0 && self.passed > 0
    }
}
