//! KTAP, version 1: the result format of the kernel's test tools, which existing parsers read.
//!
//! A line that starts with `#` is a diagnostic; `#:` lines carry metadata (seed, CPUs, replay) in
//! the form that version 2 drafts and version 1 tolerates.
//!
//! Source: Linux, `Documentation/dev-tools/ktap.rst` (the format only).

use core::fmt::{self, Write};

/// How one case ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It held.
    Pass,
    /// It did not.
    Fail,
    /// It does not apply here; the reason follows.
    Skip(&'static str),
}

/// Writes one level of KTAP results to `out`, counting as it goes.
///
/// Invariant: the plan is printed before the first case, and the numbering is dense.
pub struct Ktap<'a, W: Write> {
    out: &'a mut W,
    planned: usize,
    done: usize,
    failed: usize,
    skipped: usize,
}

impl<'a, W: Write> Ktap<'a, W> {
    /// Prints the version line and the plan.
    pub fn begin(out: &'a mut W, planned: usize) -> Result<Self, fmt::Error> {
        writeln!(out, "KTAP version 1\n1..{planned}")?;
        Ok(Self { out, planned, done: 0, failed: 0, skipped: 0 })
    }

    /// A diagnostic line, prefixed as one.
    pub fn note(&mut self, text: fmt::Arguments<'_>) -> fmt::Result {
        writeln!(self.out, "# {text}")
    }

    /// Where it writes: for what is neither a result nor a diagnostic. Unknown lines are legal.
    pub const fn out(&mut self) -> &mut W {
        self.out
    }

    /// A metadata line, `#: key: value`.
    pub fn meta(&mut self, key: &str, value: fmt::Arguments<'_>) -> fmt::Result {
        writeln!(self.out, "#: {key}: {value}")
    }

    /// The result of the next case.
    pub fn case(&mut self, name: &str, verdict: Verdict) -> fmt::Result {
        self.done += 1;
        let number = self.done;
        match verdict {
            Verdict::Pass => writeln!(self.out, "ok {number} {name}"),
            Verdict::Fail => {
                self.failed += 1;
                writeln!(self.out, "not ok {number} {name}")
            }
            Verdict::Skip(why) => {
                self.skipped += 1;
                writeln!(self.out, "ok {number} {name} # SKIP {why}")
            }
        }
    }

    /// Prints the totals; says whether every planned case ran and none failed.
    pub fn finish(self) -> Result<bool, fmt::Error> {
        let passed = self.done - self.failed - self.skipped;
        writeln!(
            self.out,
            "# Totals: pass:{passed} fail:{} skip:{} missing:{}",
            self.failed,
            self.skipped,
            self.planned.saturating_sub(self.done)
        )?;
        Ok(self.failed == 0 && self.done == self.planned)
    }
}
