//! Runs workloads one after the other and reports as KTAP.

use crate::run::{Failure, Limit, Options, Run};
use crate::workloads::{self, Workload};
use crate::world::World;
use abi::ktap::{Ktap, Verdict};
use abi::{Event, PMD_SIZE};
use core::fmt::{self, Write};
use mm::audit::Audit;
use mm::frame::{Flag, Kind};

/// How a set of workloads went.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Summary {
    /// Workloads that held.
    pub passed: usize,
    /// Workloads that did not.
    pub failed: usize,
    /// Pages verified and operations done, all together.
    pub operations: u64,
}

/// Pages in use by kind: what must be the same afterwards. Zeros that everybody shares are made once and
/// kept.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Census {
    folios: u64,
    tables: u64,
    mapped: u64,
}

impl Census {
    /// Those in use now.
    pub fn of<W: World>(world: &W) -> Self {
        let mut census = Self { folios: 0, tables: 0, mapped: world.mm().vmalloc_in_use().1 };
        for (_, desc) in world.mm().frames.map().blocks() {
            match desc.kind() {
                Kind::Folio if !desc.has(Flag::Zero) => census.folios += desc.order().pages(),
                Kind::Table => census.tables += 1,
                _ => {}
            }
        }
        census
    }

    /// A failure, if what is in use `after` is not the same.
    pub fn compare(self, after: Self) -> Result<(), Failure> {
        let pairs = [
            ("folios", self.folios, after.folios),
            ("tables", self.tables, after.tables),
            ("kernel mappings", self.mapped, after.mapped),
        ];
        for (what, before, after) in pairs {
            if before != after {
                return Err(Failure::Leak { what, before, after });
            }
        }
        Ok(())
    }
}

const NS_PER_SEC: u64 = 1_000_000_000;

/// What was counted.
struct Counts([u64; Event::COUNT]);

impl Counts {
    fn of<W: World>(world: &W) -> Self {
        Self(core::array::from_fn(|event| world.mm().stats.total(Event::ALL[event])))
    }

    fn since(self, before: &Self) -> Self {
        Self(core::array::from_fn(|event| self.0[event] - before.0[event]))
    }
}

/// After so long and so many operations, on so much memory, what a workload is for has happened.
const ENOUGH_NS: u64 = 10 * NS_PER_SEC;
const ENOUGH: u64 = 2_000;
const LEAST_BYTES: u64 = 4 * PMD_SIZE;

/// Runs the workloads whose names `wanted` accepts and prints a KTAP report to `out`.
///
/// `watch` is called now and then while CPUs work, with the name, the elapsed nanoseconds and the
/// operations so far: for a progress line. Stops after the first workload that was interrupted.
pub fn run_all<W: World, O: Write>(
    world: &W,
    options: Options,
    wanted: &dyn Fn(&str) -> bool,
    out: &mut O,
    watch: &mut dyn FnMut(&'static str, u64, u64),
) -> Result<Summary, fmt::Error> {
    // Made by the compiler, and not by code.
    let all = const { workloads::all::<W>() };
    let chosen = || all.iter().filter(|workload| wanted(workload.name));
    let mut summary = Summary { passed: 0, failed: 0, operations: 0 };
    let mut ktap = Ktap::begin(out, chosen().count())?;
    ktap.meta("seed", format_args!("{}", options.seed))?;
    ktap.meta("cpus", format_args!("{}", options.cpus))?;
    let name = match (chosen().count(), chosen().next()) {
        (1, Some(workload)) => workload.name,
        _ => "all",
    };
    replay(&mut ktap, name, options)?;
    for workload in chosen() {
        if world.interrupted() {
            ktap.case(workload.name, Verdict::Skip("interrupted"))?;
            continue;
        }
        let held = one(world, workload, options, &mut ktap, watch, &mut summary.operations)?;
        if held { summary.passed += 1 } else { summary.failed += 1 }
    }
    ktap.finish()?;
    Ok(summary)
}

fn one<W: World, O: Write>(
    world: &W,
    workload: &Workload<W>,
    options: Options,
    ktap: &mut Ktap<'_, O>,
    watch: &mut dyn FnMut(&'static str, u64, u64),
    operations: &mut u64,
) -> Result<bool, fmt::Error> {
    let before = Census::of(world);
    let counters = Counts::of(world);

    let run = Run::new(world, workload.name, options);
    let result = (workload.run)(&run, &mut || {
        watch(workload.name, run.elapsed_ns(), run.operations());
        if world.interrupted() {
            run.stop();
        }
    });
    let counted = Counts::of(world).since(&counters);
    let result = result.and_then(|()| settle(world, before));
    let missed = workload.shows.iter().find(|event| counted.0[**event as usize] == 0);

    let (ns, done) = (run.elapsed_ns().max(1), run.operations());
    *operations += done;
    let rate = u128::from(done) * u128::from(NS_PER_SEC) / u128::from(ns);
    ktap.note(format_args!(
        "{}: {done} operations in {}.{:03} s, {rate} a second",
        workload.name,
        ns / NS_PER_SEC,
        ns / 1_000_000 % 1000
    ))?;
    for (event, count) in Event::ALL.iter().zip(counted.0).filter(|(_, count)| *count > 0) {
        ktap.note(format_args!("  {} {count}", event.name()))?;
    }
    let result = match missed {
        Some(&event) if ns >= ENOUGH_NS && done >= ENOUGH && options.bytes >= LEAST_BYTES => {
            result.and(Err(Failure::Idle { event, operations: done }))
        }
        Some(event) => {
            ktap.note(format_args!("  {} did not happen in this time", event.name()))?;
            result
        }
        None => result,
    };
    if let Some(audit) = run.audited() {
        ktap.note(format_args!("  audited: {audit}"))?;
    }
    match &result {
        Ok(Audit { spaces, folios, .. }) => ktap.note(format_args!(
            "  audited with everything given back: {spaces} spaces, {folios} folios"
        ))?,
        Err(failure) => report_failure(ktap, workload.name, options, failure)?,
    }
    let verdict = if result.is_ok() { Verdict::Pass } else { Verdict::Fail };
    ktap.case(workload.name, verdict)?;
    Ok(result.is_ok())
}

/// Everything was given back, and every rule holds.
fn settle<W: World>(world: &W, before: Census) -> Result<Audit, Failure> {
    before.compare(Census::of(world))?;
    Ok(world.mm().audit()?)
}

fn report_failure<O: Write>(
    ktap: &mut Ktap<'_, O>,
    name: &str,
    options: Options,
    failure: &Failure,
) -> fmt::Result {
    explain(ktap, format_args!("{name}"), failure)?;
    replay(ktap, name, options)
}

/// Prints that `what` failed and why, with the walk that was kept.
pub fn explain<O: Write>(
    ktap: &mut Ktap<'_, O>,
    what: fmt::Arguments<'_>,
    failure: &Failure,
) -> fmt::Result {
    ktap.note(format_args!("{what} failed: {failure}"))?;
    for (level, index, word) in failure.walk() {
        let entry = pte::decode(level, word);
        ktap.note(format_args!("  {level}[{index}] {word:#018x} {entry}"))?;
    }
    Ok(())
}

/// The command line that does the same again. With time as the limit, how far each CPU gets depends
/// on the machine; what it chooses on the way does not.
fn replay<O: Write>(ktap: &mut Ktap<'_, O>, name: &str, options: Options) -> fmt::Result {
    let Options { cpus, seed, bytes, limit } = options;
    let limit = match limit {
        Limit::Time(ns) if ns % NS_PER_SEC == 0 => ("secs", ns / NS_PER_SEC, ""),
        Limit::Time(ns) => ("secs", ns.div_ceil(1_000_000), "ms"),
        Limit::Rounds(rounds) => ("rounds", rounds, ""),
    };
    ktap.meta(
        "replay",
        format_args!(
            "run=\"stress {name} cpus={cpus} {}={}{} seed={seed} mem={}K\"",
            limit.0,
            limit.1,
            limit.2,
            bytes >> 10
        ),
    )
}
