//! The law: what the architecture allows a test to do.
//!
//! An execution is a set of events, what each read has read, and the order in which writes came to each
//! place. The architecture orders some events before others: by what one CPU keeps in order (`local`), and
//! by what one CPU sees of another (`candidate`, `tlbi`). An execution in which nothing is before itself
//! is allowed. So the law tries them all.
//!
//! | file | concern |
//! | --- | --- |
//! | `set` | sets of events; an order that refuses cycles |
//! | `event` | what instructions do |
//! | `values`, `state`, `walk`, `access`, `run` | every run of one thread, whatever its reads see |
//! | `local`, `part` | what a run keeps in order; a run as others see it |
//! | `candidate`, `tlbi` | runs of all threads put together, and the order between them |
//! | `bbm` | which executions break break-before-make |
//! | `outcome` | final states, and the answer |
//!
//! `docs/litmus.md` has the rules in words, and how those for several levels, ASIDs and sets follow.
//!
//! Source: Arm ARM, "Definition of the Arm memory model" and "VMSAv8-64 memory aborts", as the public formal
//! model has them.

mod access;
mod bbm;
mod candidate;
mod combine;
mod event;
mod local;
mod outcome;
mod part;
mod run;
mod set;
mod state;
mod tlbi;
mod values;
mod walk;

pub use outcome::{Outcome, Outcomes};

use crate::instruction::Instruction;
use crate::layout::Layout;
use crate::test::{Column, Test, Verdict};
use alloc::vec::Vec;
use combine::Combination;
use event::Trace;
use run::Runner;
use values::Values;

/// A test with more values, runs or events than the law looks at: no litmus test that somebody wrote.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TooLarge;

impl core::fmt::Display for TooLarge {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("too large for the law: more values, runs or events than it looks at")
    }
}

impl core::error::Error for TooLarge {}

/// Every final state that `column` allows.
pub fn outcomes(test: &Test, column: Column) -> Result<Outcomes, TooLarge> {
    outcomes_while(test, column, &|| true)
}

/// The same, as long as `goes_on` says so now and then: else the test was too large for whoever waits.
pub fn outcomes_while(
    test: &Test,
    column: Column,
    goes_on: &dyn Fn() -> bool,
) -> Result<Outcomes, TooLarge> {
    let layout = Layout::law(test);
    let mut values = Values::new(test, &layout);
    let traces = traces(test, &layout, &mut values)?;
    Combination::new(test, &layout, &values, column, &traces, goes_on).run()
}

/// The answer to a test's question.
pub fn verdict(test: &Test, column: Column) -> Result<Verdict, TooLarge> {
    outcomes(test, column).map(|outcomes| outcomes.verdict(test))
}

/// The answers in both columns, for a line to print.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Verdicts {
    /// In [`Column::Base`].
    pub base: Verdict,
    /// In [`Column::Ets2`].
    pub ets2: Verdict,
}

/// The answers to a test's question in the columns that CPUs are held to.
pub fn verdicts(test: &Test) -> Result<Verdicts, TooLarge> {
    Ok(Verdicts { base: verdict(test, Column::Base)?, ets2: verdict(test, Column::Ets2)? })
}

impl core::fmt::Display for Verdicts {
    /// `Allowed`, or `Allowed (ETS2: Forbidden)` where the columns differ.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{:?}", self.base)?;
        if self.ets2 == self.base { Ok(()) } else { write!(f, " (ETS2: {:?})", self.ets2) }
    }
}

/// Every run of each thread, once it is known what memory may hold.
fn traces(test: &Test, layout: &Layout, values: &mut Values) -> Result<Vec<Vec<Trace>>, TooLarge> {
    for (location, word) in values.descriptors() {
        if let Some(part) = part::Part::spontaneous(test, values, location, word) {
            values.learn(location, part.events[1].value)?;
        }
    }
    // A value that comes of others is at most as many writes behind them as there are.
    let mut rounds = writes(test);
    loop {
        let mut all = Vec::new();
        for thread in 0..test.threads.len() {
            all.push(Runner { test, layout, values, thread }.traces()?);
        }
        let mut news = false;
        for event in all.iter().flatten().flat_map(|trace| &trace.events) {
            if event.is_write() && event.effect != event::Effect::Context {
                news |= values.learn(event.location, event.value)?;
                let (location, word) = (event.location, event.value);
                if let Some(part) = part::Part::spontaneous(test, values, location, word) {
                    news |= values.learn(location, part.events[1].value)?;
                }
            }
        }
        if !news || rounds == 0 {
            return Ok(all);
        }
        rounds -= 1;
    }
}

/// How many writes an execution may have, loops and hardware's updates of descriptors among them.
fn writes(test: &Test) -> usize {
    let accesses = |thread: &crate::test::Thread| {
        let access = |instruction: &&Instruction| {
            !matches!(instruction, Instruction::Load { .. }) && instruction.is_access()
        };
        thread.code.iter().filter(access).count()
    };
    let stores: usize = test.threads.iter().map(accesses).sum();
    3 * stores + 2
}
