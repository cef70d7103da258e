//! What many runs of a test have shown, in the form that the field's tools read.
//!
//! Source: herdtools7's documentation, "litmus7", the section on its output (the form only).

use crate::layout::Layout;
use crate::spell::{Place, Word};
use crate::test::{Observed, Quantifier, Test, Verdict};
use alloc::{collections::BTreeMap, vec::Vec};
use core::fmt::{self, Write};

/// How often each final state was reached. A state is the values of [`Test::observed`], in the numbers of
/// [`Layout::law`].
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Histogram {
    /// The states.
    pub states: BTreeMap<Vec<u64>, u64>,
}

impl Histogram {
    /// How many runs ended in a state of which the condition is true, and how many did not.
    #[must_use]
    pub fn witnesses(&self, test: &Test, layout: &Layout) -> (u64, u64) {
        let mut counts = (0, 0);
        for (state, count) in &self.states {
            let holds = test.holds(layout, state);
            *(if holds { &mut counts.0 } else { &mut counts.1 }) += count;
        }
        counts
    }

    /// Prints it. `verdict` is what the law says, where it was asked.
    pub fn print(
        &self,
        test: &Test,
        verdict: Option<Verdict>,
        milliseconds: u64,
        out: &mut dyn Write,
    ) -> fmt::Result {
        let layout = Layout::law(test);
        let verdict = verdict.map_or("Allowed", |verdict| match verdict {
            Verdict::Allowed => "Allowed",
            Verdict::Forbidden => "Forbidden",
            Verdict::Required => "Required",
        });
        let name = &test.name;
        writeln!(out, "Test {name} {verdict}\nHistogram ({} states)", self.states.len())?;
        for (state, count) in &self.states {
            let mark = if test.holds(&layout, state) { '*' } else { ':' };
            write!(out, "{count:<8}{mark}>")?;
            let line = StateLine { test, layout: &layout, state };
            writeln!(out, "{line}")?;
        }
        let (positive, negative) = self.witnesses(test, &layout);
        let ok = match test.condition.quantifier {
            Quantifier::Exists => positive > 0,
            Quantifier::NotExists => positive == 0,
            Quantifier::ForAll => negative == 0,
        };
        let seen = match (positive, negative) {
            (0, _) => "Never",
            (_, 0) => "Always",
            _ => "Sometimes",
        };
        let ok = if ok { "Ok" } else { "No" };
        let centis = milliseconds / 10;
        writeln!(out, "{ok}\n\nWitnesses\nPositive: {positive}, Negative: {negative}")?;
        writeln!(out, "Observation {name} {seen} {positive} {negative}")?;
        writeln!(out, "Time {name} {}.{:02}", centis / 100, centis % 100)
    }
}

/// A final state in words.
#[derive(Clone, Copy, Debug)]
pub struct StateLine<'a> {
    /// Of which test.
    pub test: &'a Test,
    /// In whose numbers.
    pub layout: &'a Layout,
    /// The values of what is observed.
    pub state: &'a [u64],
}

impl fmt::Display for StateLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut between = "";
        for (observed, word) in self.test.observed.iter().zip(self.state) {
            let place = Place { test: self.test, observed };
            f.write_str(between)?;
            match observed {
                Observed::Fault(_) if *word == 0 => write!(f, "~{place};")?,
                Observed::Fault(_) => write!(f, "{place};")?,
                _ => {
                    let word = Word { test: self.test, layout: self.layout, word: *word };
                    write!(f, "{place}={word};")?;
                }
            }
            between = " ";
        }
        Ok(())
    }
}
