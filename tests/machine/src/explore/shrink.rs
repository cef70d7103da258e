//! Leaves out what a failure does not need.
//!
//! Decisions are left out in chunks, half of them first, then a quarter, down to single ones, until none
//! can be spared; each time the rest is played, and counts only if it breaks the same rule. Source:
//! Zeller, Hildebrandt, "Simplifying and Isolating Failure-Inducing Input", 2002.

use super::{Explorer, Record, Run, Schedule};

/// After so many runs what there is must do.
const PATIENCE: u32 = 4_000;

/// The shortest run that breaks the rule that `found` breaks.
pub(super) fn shrink(explorer: &Explorer<'_>, found: &Run) -> Run {
    let rule = |run: &Run| run.verdict.as_ref().map(super::Found::rule);
    let wanted = rule(found);
    let mut left = PATIENCE;
    let mut shorter = |best: &Run, record: Record| {
        left = left.checked_sub(1)?;
        let run = explorer.run(&Schedule::Exact(record));
        // What did not come up is gone from the run's own record.
        let fewer = run.record.decisions().len() < best.record.decisions().len();
        (fewer && rule(&run) == wanted).then_some(run)
    };
    let mut best = found.clone();
    if let Some(dull) = shorter(&best, Record::default()) {
        return dull;
    }
    let mut chunk = best.record.decisions().len().div_ceil(2);
    while chunk > 0 {
        let before = best.record.decisions().len();
        // From the end: what came after the failure's causes goes first.
        let mut end = before;
        while end > 0 {
            let first = end.saturating_sub(chunk);
            if let Some(run) = shorter(&best, best.record.without(first, end)) {
                best = run;
            }
            end = first.min(best.record.decisions().len());
        }
        let settled = best.record.decisions().len() == before;
        chunk = match chunk {
            1 if !settled => 1,
            _ => chunk / 2,
        };
    }
    best
}
