//! `bench`: what the memory manager's operations cost, beside what Linux takes.

use super::{Context, Outcome, fail};
use crate::console;
use crate::world::Kernel;
use abi::CpuId;
use alloc::vec::Vec;
use arch::{LocalCpu, pmu};
use core::fmt::Write;
use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use sched::CpuSet;
use shell::{Arg, Args, Failure, Kind, Progress, Report, Show, Terminal};
use stress::World;
use stress::bench::{self, Meter, Options, State};
use sync::{Cpu, WaitKey};

pub(super) static ARGS: [Arg; 6] = [
    Arg::place(
        "filter",
        Kind::Word,
        "an operation, a part of some names, or `vmalloc` for all kernel mappings",
    )
    .optional(),
    Arg::key("cpus", Kind::Number { min: 1, max: 64 }, "CPUs that do it at the same time").or("1"),
    Arg::key(
        "runs",
        Kind::Number { min: 1, max: 1 << 20 },
        "rounds of each; by default its own number",
    )
    .optional(),
    Arg::key(
        "mem",
        Kind::Size { min: 64 << 10, max: 1 << 40 },
        "memory to work on; by default 3/4 of what is free",
    )
    .optional(),
    Arg::flag("json", "print one JSON object a line too, for tools"),
    Arg::flag(
        "profile",
        "mark what is measured for an emulator's plugin; `make bench PROFILE=1` uses it",
    ),
];

/// The operations.
static ROWS: [bench::Row<Kernel>; bench::COUNT] = bench::all();

/// The performance monitors of each CPU, and the scheduler's counters.
struct Pmu {
    /// All CPUs' monitors count the same, and a nanosecond passes with each instruction.
    together: bool,
}

/// Turns of a loop that a CPU cannot overlook if it counts them.
const WORK: u64 = 1 << 20;

impl Pmu {
    /// The monitors as they are; with more than one of `cpus`, finds out what they count.
    fn new(cpus: usize) -> Self {
        Self { together: cpus > 1 && counts_others() }
    }
}

/// Whether a CPU's monitors count while it sleeps and another works: so does an emulator's exact
/// count, and its clock with it.
fn counts_others() -> bool {
    let (ready, done) = (AtomicBool::new(false), AtomicBool::new(false));
    let counted = AtomicBool::new(false);
    let key = WaitKey::of(&done);
    let two: CpuSet = sched::online().iter().take(2).collect();
    let first = two.iter().next();
    let run = sched::run_on(two, "bench", &|cpu| {
        if Some(cpu) == first {
            let (start, began_ns) = (pmu::instructions(), arch::timer::now_ns());
            ready.store(true, Ordering::Release);
            sched::wait(key, &mut || done.load(Ordering::Acquire));
            let took = start.and_then(pmu::instructions_since).unwrap_or(0);
            let ns = arch::timer::now_ns() - began_ns;
            counted.store(took >= WORK && took.abs_diff(ns) < WORK / 16, Ordering::Relaxed);
        } else {
            while !ready.load(Ordering::Acquire) {
                sched::yield_now();
                LocalCpu.relax();
            }
            for turn in 0..WORK {
                core::hint::black_box(turn);
            }
            done.store(true, Ordering::Release);
            sched::wake(key);
        }
    });
    run.is_ok() && counted.load(Ordering::Relaxed)
}

impl Meter for Pmu {
    fn instructions(&self) -> Option<u64> {
        pmu::instructions()
    }

    fn instructions_since(&self, start: u64) -> Option<u64> {
        pmu::instructions_since(start)
    }

    fn instructions_together(&self) -> Option<u64> {
        self.together.then(arch::timer::now_ns)
    }

    fn interrupts_sent(&self, cpu: CpuId) -> u64 {
        sched::interrupts_sent(cpu)
    }

    fn mark(&self, begin: bool) {
        pmu::mark(begin);
    }

    fn run(&self, cpus: usize, body: &(dyn Fn(usize) + Sync)) -> usize {
        let set: CpuSet = sched::online().iter().take(cpus).collect();
        let number_of = |cpu: CpuId| set.iter().take_while(|other| *other != cpu).count();
        let run = sched::run_on(set, "bench", &|cpu| body(number_of(cpu)));
        if run.is_ok() { set.iter().count() } else { 0 }
    }
}

pub(super) fn bench(context: &mut Context, args: &Args<'_>, out: &mut dyn Write) -> Outcome {
    let filter = args.maybe_word("filter").unwrap_or("");
    if filter == "list" {
        return list(out);
    }
    let Some(kernel) = Kernel::new() else {
        return Err(fail(out, format_args!("memory is not managed yet")));
    };
    let options = options(&kernel, args, out)?;
    let is_name = ROWS.iter().any(|row| row.name == filter);
    let is_kind = ROWS.iter().any(|row| row.kind == filter);
    let wanted = |name: &str| match (is_name, is_kind) {
        (true, _) => name == filter,
        (_, true) => ROWS.iter().any(|row| row.name == name && row.kind.contains(filter)),
        _ => name.contains(filter),
    };
    let rows = ROWS.iter().filter(|row| wanted(row.name)).count();
    if rows == 0 {
        return Err(fail(
            out,
            format_args!("no operation matches `{filter}`; `bench list` prints them all"),
        ));
    }
    let mut outcomes = Vec::new();
    // Each row once more in one space, or by as many numbers of CPUs as a series has, at most.
    if outcomes.try_reserve_exact(bench::SERIES.len() * rows).is_err() {
        return Err(fail(out, format_args!("no memory for the outcomes")));
    }
    let now = || Duration::from_nanos(kernel.now_ns());
    // A line of progress would run into the objects, which tools read line by line.
    let terminal = if args.flag("json") { Terminal::new(Show::Plain) } else { context.terminal };
    let mut progress = Progress::new(&terminal, now());
    let (mut line, mut done) = (console::Console, 0);
    let mut begin = |name| {
        let report = Report { label: name, done, total: rows as u64, note: &"" };
        // A progress line that does not print is no reason to stop.
        let _ = progress.update(now(), &report, &mut line);
        done += 1;
        !kernel.interrupted()
    };
    let mut lines = Ok(());
    let mut each = |outcome| {
        if args.flag("json") {
            lines = lines.and_then(|()| bench::json(out, &outcome));
        }
        outcomes.push(outcome);
    };
    let pmu = Pmu::new(kernel.cpus());
    let end = bench::run(&kernel, &pmu, options, &wanted, &mut begin, &mut each);
    let _ = progress.finish(&mut line);
    lines?;
    bench::table(out, &outcomes)?;
    if let Err(failure) = end {
        return Err(fail(out, format_args!("{failure}")));
    }
    conclude(&outcomes, out)
}

/// The operations, and which of them can be done.
fn list(out: &mut dyn Write) -> Outcome {
    for row in &ROWS {
        let built = if row.op.is_some() { "" } else { ", not built yet" };
        writeln!(out, "  {:24} per {}{built}", row.name, row.per)?;
    }
    Ok(())
}

/// What the arguments ask for, within what the machine has.
fn options(kernel: &Kernel, args: &Args<'_>, out: &mut dyn Write) -> Result<Options, Failure> {
    let (cpus, online) = (args.number("cpus")? as usize, kernel.cpus());
    if cpus > online {
        writeln!(out, "bench: cpus={cpus} is too many; {online} run")?;
        return Err(Failure::Usage);
    }
    // The rest is for tables, and for whoever else needs some.
    let most = kernel.mm().frames.free_pages(&LocalCpu) * abi::PAGE_SIZE / 4 * 3;
    let bytes = args.maybe_number("mem").map_or(most, |bytes| bytes.min(most));
    Ok(Options { cpus, rounds: args.maybe_number("runs"), bytes, profile: args.flag("profile") })
}

/// What was taken off, and whether every row could be measured.
fn conclude(outcomes: &[bench::Outcome], out: &mut dyn Write) -> Outcome {
    let measured = || outcomes.iter().filter_map(bench::Outcome::measured);
    let Some(first) = measured().next() else { return Ok(()) };
    if first.whole.is_some() {
        let bench::Overhead { window, turn, .. } = first.overhead;
        writeln!(
            out,
            "\nTaken off: {window} instructions a window, {turn} a turn of a loop in one. No system \
             call is in\nour figures; an empty one of Linux takes 443 of its own."
        )?;
    } else {
        writeln!(
            out,
            "\nNothing counts instructions here; `make bench` runs where they are exact."
        )?;
    }
    let worse = outcomes.iter().filter(|outcome| outcome.breaks_promise()).count();
    if worse > 0 {
        let promise = bench::PROMISE;
        writeln!(out, "{worse} rows are not {promise} times better than Linux.")?;
    }
    let failed = outcomes.iter().any(|outcome| matches!(outcome.state, State::Failed(_)));
    if failed || measured().any(|measured| measured.unsteady.is_some()) {
        return Err(Failure::Failed);
    }
    if console::interrupted() { Err(Failure::Interrupted) } else { Ok(()) }
}
