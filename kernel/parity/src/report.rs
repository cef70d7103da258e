//! Plays the cases that are wanted, and reports as KTAP.

use crate::stage::{NO_HEAP, Stage};
use crate::suite::{Case, Play};
use crate::suites;
use abi::ktap::{Ktap, Verdict};
use alloc::vec::Vec;
use core::fmt::{self, Write};
use mm::gup::Run;
use stress::{Census, Failure, World};

/// How a set of cases went.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Summary {
    /// Cases that held.
    pub passed: usize,
    /// Cases that did not.
    pub failed: usize,
    /// Cases for which there was no memory, or no time.
    pub skipped: usize,
}

/// A case that did not come to its end.
struct Stopped {
    why: Failure,
    /// Which step it was, from 1 on; 0: none of the row's.
    step: usize,
}

/// Plays the cases in whose names `filter` is, and prints a KTAP report to `out`. Stops where the world is
/// interrupted.
///
/// Context: thread, may sleep; as [`World::run`].
pub fn run<W: World, O: Write>(
    world: &W,
    filter: &str,
    out: &mut O,
) -> Result<Summary, fmt::Error> {
    // What cases look at, nobody else collapses meanwhile.
    let limits = &world.mm().thp.collapse;
    let before = limits.pages_to_scan();
    limits.set_pages_to_scan(0);
    let result = play(world, filter, out);
    limits.set_pages_to_scan(before);
    result
}

fn play<W: World, O: Write>(world: &W, filter: &str, out: &mut O) -> Result<Summary, fmt::Error> {
    let mut planned = 0;
    each(filter, &mut |_, _| {
        planned += 1;
        Ok(())
    })?;
    let mut summary = Summary::default();
    let mut ktap = Ktap::begin(out, planned)?;
    each(filter, &mut |case, name| {
        let verdict = if world.interrupted() {
            Verdict::Skip("interrupted")
        } else {
            match played(world, case) {
                Ok(()) => Verdict::Pass,
                Err(Stopped { why: Failure::Memory(_), .. }) => Verdict::Skip("not enough memory"),
                Err(Stopped { why, step }) => {
                    stress::explain(&mut ktap, format_args!("step {step}"), &why)?;
                    Verdict::Fail
                }
            }
        };
        match verdict {
            Verdict::Pass => summary.passed += 1,
            Verdict::Fail => summary.failed += 1,
            Verdict::Skip(_) => summary.skipped += 1,
        }
        ktap.case(name, verdict)
    })?;
    ktap.finish()?;
    Ok(summary)
}

/// A name in memory of its own. What does not fit is left out.
struct Name {
    text: [u8; 128],
    used: usize,
}

impl Name {
    fn of(case: &Case) -> Self {
        let mut name = Self { text: [0; 128], used: 0 };
        // It always takes what it can.
        let _ = write!(name, "{case}");
        name
    }

    fn as_str(&self) -> &str {
        core::str::from_utf8(&self.text[..self.used]).unwrap_or_default()
    }
}

impl Write for Name {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let free = &mut self.text[self.used..];
        let taken = text.len().min(free.len());
        free[..taken].copy_from_slice(&text.as_bytes()[..taken]);
        self.used += taken;
        Ok(())
    }
}

/// Each case in whose name `filter` is.
fn each(filter: &str, each: &mut dyn FnMut(&Case, &str) -> fmt::Result) -> fmt::Result {
    for suite in &suites::ALL {
        suite.each(|case| {
            let name = Name::of(&case);
            if name.as_str().contains(filter) { each(&case, name.as_str()) } else { Ok(()) }
        })?;
    }
    Ok(())
}

/// Plays one case; everything must be given back.
fn played<W: World>(world: &W, case: &Case) -> Result<(), Stopped> {
    match case.play {
        Play::Law(law, level) if law.holds_at(level) => Ok(()),
        Play::Law(..) => {
            let why = Failure::Count { what: "laws that hold", expected: 1, found: 0 };
            Err(Stopped { why, step: 0 })
        }
        Play::Scene { form, scene, pages, batch } => {
            let before = Census::of(world);
            let mut step = 0;
            let mut result = on_stage(world, batch, |stage| {
                stage.build(form, pages)?;
                for &what in scene.steps {
                    step += 1;
                    stage.act(what)?;
                }
                stage.kept = None;
                world.mm().audit()?;
                Ok(())
            });
            if result.is_ok() {
                step = 0;
                result = before.compare(Census::of(world));
            }
            result.map_err(|why| Stopped { why, step })
        }
    }
}

/// Room for what one case holds: a run for each page.
const MOST_RUNS: usize = 512;

fn on_stage<W: World>(
    world: &W,
    batch: u32,
    body: impl FnOnce(&mut Stage<'_, '_, W>) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut room = Vec::new();
    room.try_reserve_exact(MOST_RUNS).map_err(|_| NO_HEAP)?;
    room.resize(MOST_RUNS, Run::EMPTY);
    body(&mut Stage::new(world, batch, &mut room)?)
}
