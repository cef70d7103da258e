//! What is told of a run.

use super::law::{Law, column_of};
use crate::litmus::{self as lab, Ground, GroundError, Seen, Trouble, Wanted};
use crate::world::Kernel;
use ::litmus::histogram::{Histogram, StateLine};
use ::litmus::test::{Test, Verdict};
use ::litmus::{Layout, parse};
use abi::ktap::{self, Ktap};
use core::fmt::{self, Write};
use mm::Hardware;
use stress::World;

/// Instances that run side by side.
pub(super) const INSTANCES: usize = 64;

/// Where results go.
pub(super) type Out<'a, 'b> = Ktap<'a, &'b mut dyn Write>;

/// What all tests together have shown.
#[derive(Default)]
pub(super) struct Report {
    tests: usize,
    runs: u64,
    ns: u64,
    failed: usize,
    skipped: usize,
    /// Tests with allowed final states that were never seen.
    partly: usize,
}

impl Report {
    /// Runs one test and says what became of it.
    pub(super) fn run(
        &mut self,
        kernel: &Kernel,
        test: &Test,
        wanted: Wanted,
        ktap: &mut Out<'_, '_>,
    ) -> fmt::Result {
        let caps = *kernel.mm().hw.caps();
        if let Some(why) = lab::lacking(test, &caps, kernel.cpus()) {
            return self.skip(test, why, ktap);
        }
        let ground = match Ground::new(crate::memory::mm(), test, INSTANCES) {
            Ok(ground) => ground,
            Err(GroundError::Block) => {
                return self.skip(
                    test,
                    "a block of 1 GiB, or a contiguous set of blocks, is more than is given out",
                    ktap,
                );
            }
            Err(GroundError::OutOfMemory) => {
                return self.fail(test, format_args!("no memory"), ktap);
            }
            Err(GroundError::Code(thread, place, why)) => {
                let why = format_args!("P{thread}, instruction {place}: {why}");
                return self.fail(test, why, ktap);
            }
        };
        let law = Law::of(test, column_of(&caps));
        let Seen { states, runs, ns, trouble } = lab::run(kernel, test, &ground, wanted);
        self.runs += runs;
        self.ns += ns;
        let histogram = Histogram { states };
        histogram.print(test, law.here(), ns / 1_000_000, ktap.out())?;
        match trouble {
            None => self.judge(test, &law, &histogram, ktap),
            Some(Trouble::Exception(thread, place, esr)) => {
                let what = arch::exception::Syndrome(esr);
                self.fail(test, format_args!("P{thread}, instruction {place}: {what}"), ktap)
            }
            Some(Trouble::Endless(thread)) => {
                self.fail(test, format_args!("P{thread} does not end"), ktap)
            }
            Some(Trouble::Countless) => {
                self.fail(test, format_args!("too many final states to count"), ktap)
            }
            Some(Trouble::Interrupted) => self.fail(test, format_args!("interrupted"), ktap),
            Some(Trouble::NoThreads) => {
                self.fail(test, format_args!("no memory for its threads"), ktap)
            }
        }
    }

    /// Holds what was seen against the law.
    fn judge(
        &mut self,
        test: &Test,
        law: &Law,
        histogram: &Histogram,
        ktap: &mut Out<'_, '_>,
    ) -> fmt::Result {
        ktap.note(format_args!("{law}"))?;
        let layout = Layout::law(test);
        let mut broken = false;
        if let Some(allowed) = law.allowed() {
            let seen = allowed.states.keys().filter(|state| histogram.states.contains_key(*state));
            let (seen, all) = (seen.count(), allowed.states.len());
            ktap.note(format_args!("{seen} of {all} allowed states seen"))?;
            self.partly += usize::from(seen < all);
            for state in histogram.states.keys().filter(|s| !allowed.states.contains_key(*s)) {
                let line = StateLine { test, layout: &layout, state };
                if allowed.is_broken() {
                    ktap.note(format_args!("beyond break-before-make: {line}"))?;
                } else {
                    broken = true;
                    ktap.note(format_args!("not allowed: {line}"))?;
                }
            }
        } else {
            let (positive, negative) = histogram.witnesses(test, &layout);
            broken = match law.here() {
                Some(Verdict::Forbidden) => positive > 0,
                Some(Verdict::Required) => negative > 0,
                Some(Verdict::Allowed) | None => false,
            };
        }
        if broken {
            return self.fail(test, format_args!("the CPUs did what the law forbids"), ktap);
        }
        self.tests += 1;
        ktap.case(&test.name, ktap::Verdict::Pass)
    }

    fn skip(&mut self, test: &Test, why: &'static str, ktap: &mut Out<'_, '_>) -> fmt::Result {
        self.tests += 1;
        self.skipped += 1;
        ktap.case(&test.name, ktap::Verdict::Skip(why))
    }

    fn fail(
        &mut self,
        test: &Test,
        why: fmt::Arguments<'_>,
        ktap: &mut Out<'_, '_>,
    ) -> fmt::Result {
        self.tests += 1;
        self.failed += 1;
        ktap.note(format_args!("{}: {why}", test.name))?;
        ktap.case(&test.name, ktap::Verdict::Fail)
    }

    /// A text that is no test for granule.
    pub(super) fn unreadable(
        &mut self,
        name: &str,
        why: &parse::Error,
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
            "litmus: {} tests, {} runs, {rate} a second: {} failed, {} not for this machine, {} with \
             allowed states that were never seen",
            self.tests, self.runs, self.failed, self.skipped, self.partly
        ))?;
        ktap.note(format_args!("{}", super::law::strength()))
    }
}
