//! What is told of a run.

use crate::litmus::{self as lab, Ground, GroundError, Trouble, Wanted};
use crate::world::Kernel;
use ::litmus::histogram::Histogram;
use ::litmus::test::{Column, Test, Verdict};
use abi::ktap::{self, Ktap};
use core::fmt::{self, Write};
use mm::Hardware;
use pte::Caps;
use stress::World;

/// Instances that run side by side.
const INSTANCES: usize = 64;

/// What all tests together have shown.
#[derive(Default)]
pub(super) struct Report {
    runs: u64,
    ns: u64,
    skipped: usize,
    /// Tests whose question is allowed a yes that never came.
    unseen: usize,
    failed: usize,
    tests: usize,
}

/// The rules that a CPU is held to.
pub(super) const fn column_of(caps: &Caps) -> Column {
    if caps.ets2 { Column::Ets2 } else { Column::Base }
}

/// What the law says of a test in a column.
fn verdict(test: &Test, column: Column) -> Option<Verdict> {
    match column {
        Column::Base => test.expected.base,
        _ => test.expected.ets2,
    }
}

const fn word(verdict: Option<Verdict>) -> &'static str {
    match verdict {
        Some(Verdict::Allowed) => "allowed",
        Some(Verdict::Forbidden) => "forbidden",
        Some(Verdict::Required) => "required",
        None => "unknown",
    }
}

/// What the law says of a test.
pub(super) fn verdicts(test: &Test, out: &mut dyn Write) -> fmt::Result {
    let (base, ets2) = (verdict(test, Column::Base), verdict(test, Column::Ets2));
    writeln!(out, "# law: base {}, ETS2 {}", word(base), word(ets2))
}

type Out<'a, 'b> = Ktap<'a, &'b mut dyn Write>;

impl Report {
    /// Runs one test and says what became of it.
    pub(super) fn run(
        &mut self,
        kernel: &Kernel,
        test: &Test,
        wanted: Wanted,
        ktap: &mut Out<'_, '_>,
    ) -> fmt::Result {
        self.tests += 1;
        let caps = *kernel.mm().hw.caps();
        let name = test.name.as_str();
        if let Some(why) = lab::lacking(test, &caps, kernel.cpus()) {
            self.skipped += 1;
            return ktap.case(name, ktap::Verdict::Skip(why));
        }
        let ground = match Ground::new(crate::memory::mm(), test, INSTANCES) {
            Ok(ground) => ground,
            Err(GroundError::Block) => {
                self.skipped += 1;
                let why = "it maps blocks of 1 GiB, and memory is not given out in such";
                return ktap.case(name, ktap::Verdict::Skip(why));
            }
            Err(GroundError::OutOfMemory) => {
                self.failed += 1;
                ktap.note(format_args!("{name}: no memory"))?;
                return ktap.case(name, ktap::Verdict::Fail);
            }
            Err(GroundError::Code(thread, place, why)) => {
                self.failed += 1;
                ktap.note(format_args!("{name}: P{thread}, instruction {place}: {why}"))?;
                return ktap.case(name, ktap::Verdict::Fail);
            }
        };
        let seen = lab::run(kernel, test, &ground, wanted);
        self.runs += seen.runs;
        self.ns += seen.ns;
        let column = column_of(&caps);
        let law = verdict(test, column);
        let histogram = Histogram { states: seen.states };
        histogram.print(test, law, seen.ns / 1_000_000, ktap.out())?;
        let (base, ets2) = (verdict(test, Column::Base), verdict(test, Column::Ets2));
        let here = match column {
            Column::Base => "base",
            _ => "ETS2",
        };
        ktap.note(format_args!("law: base {}, ETS2 {}; here {here}", word(base), word(ets2)))?;
        if let Some(trouble) = seen.trouble {
            self.failed += 1;
            match trouble {
                Trouble::Exception(thread, place, esr) => {
                    let why = arch::exception::Syndrome(esr);
                    ktap.note(format_args!("{name}: P{thread}, instruction {place}: {why}"))?;
                }
                Trouble::Endless(thread) => {
                    ktap.note(format_args!("{name}: P{thread} does not end"))?;
                }
                Trouble::Interrupted => {}
                Trouble::NoThreads => ktap.note(format_args!("{name}: no memory for threads"))?,
            }
            return ktap.case(name, ktap::Verdict::Fail);
        }
        let (positive, negative) = histogram.witnesses(test, &::litmus::Layout::law(test));
        let broken = match law {
            Some(Verdict::Forbidden) => positive > 0,
            Some(Verdict::Required) => negative > 0,
            Some(Verdict::Allowed) => {
                if positive == 0 {
                    self.unseen += 1;
                    ktap.note(format_args!("{name}: allowed, and never seen here"))?;
                }
                false
            }
            None => false,
        };
        if broken {
            self.failed += 1;
            ktap.note(format_args!("{name}: the CPUs did what the law forbids"))?;
        }
        ktap.case(name, if broken { ktap::Verdict::Fail } else { ktap::Verdict::Pass })
    }

    /// A text that is no test for granule.
    pub(super) fn unreadable(
        &mut self,
        name: &str,
        why: &::litmus::parse::Error,
        ktap: &mut Out<'_, '_>,
    ) -> fmt::Result {
        self.tests += 1;
        self.failed += 1;
        ktap.note(format_args!("{name}: {why}"))?;
        ktap.case(name, ktap::Verdict::Fail)
    }

    /// All tests together.
    pub(super) fn summary(&self, ktap: &mut Out<'_, '_>) -> fmt::Result {
        let rate = self.runs.saturating_mul(1_000_000) / (self.ns / 1000).max(1);
        ktap.note(format_args!(
            "litmus: {} tests, {} runs, {rate} a second; {} broke the law or could not run, {} are \
             not for this machine, of {} an allowed outcome was never seen",
            self.tests, self.runs, self.failed, self.skipped, self.unseen
        ))
    }
}
