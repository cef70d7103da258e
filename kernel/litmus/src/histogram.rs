//! What many runs of a test have shown, in the form that the field's tools read.
//!
//! Source: herdtools7's documentation, "litmus7", the section on its output (the form only).

use crate::layout::Layout;
use crate::spell::{Place, Question, Word};
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
    #[inline(never)]
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
        let (ok, not) = if ok { ("Ok", "") } else { ("No", "NOT ") };
        let question = Question { test, layout: &layout };
        let centis = milliseconds / 10;
        writeln!(out, "{ok}\n\nWitnesses\nPositive: {positive}, Negative: {negative}")?;
        writeln!(out, "Condition {question} is {not}validated")?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::law;
    use crate::parse;
    use crate::test::Column;
    use std::string::String;

    const TEXT: &str = "AArch64 T
{
 int x=1; int y=2; int flag;
 0:X1=PTE(x); 0:X2=(oa:PA(y), db:0); 0:X4=flag;
 1:X3=x; 1:X4=flag;
}
 P0          | P1          ;
 STR X2,[X1] | LDR W5,[X4] ;
 STR X1,[X4] | L0:         ;
             | LDR W6,[X3] ;
locations [[PTE(x)]; 0:X1;]
exists (1:X5=0 /\\ (1:X6=2 \\/ ~fault(P1:L0,x)))
";

    #[test]
    fn it_reads_as_the_fields_tools_want_it() {
        let test = parse(TEXT).unwrap();
        let allowed = law::outcomes(&test, Column::Base).unwrap();
        let states = allowed.states.keys().map(|state| (state.clone(), 7)).collect();
        let mut text = String::new();
        let histogram = Histogram { states };
        histogram.print(&test, Some(Verdict::Allowed), 1230, &mut text).unwrap();
        for line in [
            "Test T Allowed",
            "Histogram (",
            "7       *>",
            "0:X1=PTE(x);",
            "[PTE(x)]=(oa:PA(y), db:0);",
            "~fault(P1:L0,x);",
            "Ok\n",
            "Witnesses\nPositive: ",
            "Condition exists (1:X5=0 /\\ (1:X6=2 \\/ ~fault(P1:L0,x))) is validated\n",
            "Observation T Sometimes ",
            "Time T 1.23\n",
        ] {
            assert!(text.contains(line), "{line} in\n{text}");
        }
    }
}
