//! `stress`: the workloads, with a progress line.

use super::{Context, Outcome, fail};
use crate::console;
use crate::world::Kernel;
use arch::LocalCpu;
use core::fmt::Write;
use core::time::Duration;
use shell::{Arg, Args, Column, Failure, Kind, Progress, Report, columns};
use stress::{Limit, Options, World, workloads};

/// The workloads.
static WORKLOADS: [workloads::Workload<Kernel>; workloads::COUNT] = workloads::all();

/// The names that `stress` takes, for completion and errors: two of its own, and every workload's.
const NAMES: [&str; 2 + workloads::COUNT] = {
    let workloads = workloads::all::<Kernel>();
    let mut names = ["all"; 2 + workloads::COUNT];
    names[1] = "list";
    let mut n = 0;
    while n < workloads.len() {
        names[2 + n] = workloads[n].name;
        n += 1;
    }
    names
};

pub(super) static ARGS: [Arg; 6] = [
    Arg::place("name", Kind::OneOf(&NAMES), "the workload").or("all"),
    Arg::key("cpus", Kind::Number { min: 1, max: 64 }, "CPUs to use; all by default").optional(),
    Arg::key("secs", Kind::Time, "how long each workload runs").or("3"),
    Arg::key("rounds", Kind::Number { min: 1, max: u64::MAX }, "rounds a CPU, instead of a time")
        .optional(),
    Arg::key("seed", Kind::NUMBER, "decides every random choice").or("1"),
    Arg::key(
        "mem",
        Kind::Size { min: 64 << 10, max: 1 << 40 },
        "memory to work on; 64M by default",
    )
    .optional(),
];

/// The memory to work on where nobody says how much, and there is so much.
const MOST_BYTES: u64 = 64 << 20;

/// Memory to work on where nobody says how much. Half of what is free at most: the other half is for
/// whoever else needs some.
#[cfg(all(feature = "sanitize", feature = "mutants"))]
pub(super) fn some_memory(kernel: &Kernel) -> u64 {
    MOST_BYTES.min(kernel.mm().frames.free_pages(&LocalCpu) * abi::PAGE_SIZE / 2)
}

pub(super) fn stress(context: &mut Context, args: &Args<'_>, out: &mut dyn Write) -> Outcome {
    let name = args.word("name")?;
    if name == "list" {
        return Ok(columns(out, &[Column::Left(""), Column::Left("")], |row| {
            for workload in &WORKLOADS {
                row([&workload.name, &workload.about]);
            }
        })?);
    }
    let Some(kernel) = Kernel::new() else {
        return Err(fail(out, format_args!("memory is not managed yet")));
    };
    let options = options(&kernel, args, out)?;
    run(context, &kernel, options, name, out)
}

/// What the arguments ask for, within what the machine has.
fn options(kernel: &Kernel, args: &Args<'_>, out: &mut dyn Write) -> Result<Options, Failure> {
    let online = kernel.cpus();
    let cpus = args.maybe_number("cpus").map_or(online, |cpus| cpus as usize);
    if cpus > online {
        writeln!(out, "stress: cpus={cpus} is too many; {online} run")?;
        return Err(Failure::Usage);
    }
    let limit = match args.maybe_number("rounds") {
        Some(rounds) => Limit::Rounds(rounds),
        None => Limit::Time(u64::try_from(args.time("secs")?.as_nanos()).unwrap_or(u64::MAX)),
    };
    // Half of what is free at most: the other half is for whoever else needs some.
    let free = kernel.mm().frames.free_pages(&LocalCpu) * abi::PAGE_SIZE;
    let bytes = args.maybe_number("mem").unwrap_or(free.min(MOST_BYTES));
    if bytes > free {
        let (wanted, free) = (shell::Bytes(bytes), shell::Bytes(free));
        writeln!(out, "stress: mem={wanted} is too much; {free} are free")?;
        return Err(Failure::Usage);
    }
    Ok(Options { cpus, limit, seed: args.number("seed")?, bytes: bytes.min(free / 2) })
}

/// Runs the workload that is called `name`, or all.
#[inline(never)]
pub(super) fn run(
    context: &Context,
    kernel: &Kernel,
    options: Options,
    name: &str,
    mut out: &mut dyn Write,
) -> Outcome {
    let now = || Duration::from_nanos(kernel.now_ns());
    let mut progress = Progress::new(&context.terminal, now());
    let mut line = console::Console;
    let wanted = |candidate: &str| name == "all" || candidate == name;
    let summary = stress::run_all(kernel, options, &wanted, &mut out, &mut |name, ns, done| {
        let (spent, total) = match options.limit {
            Limit::Time(total) => (ns.min(total), total),
            Limit::Rounds(_) => (0, 0),
        };
        let rate = done.saturating_mul(1000) / (ns / 1_000_000).max(1);
        let note = format_args!("{rate}/s");
        let report = Report { label: name, done: spent, total, note: &note };
        // A progress line that does not print is no reason to stop.
        let _ = progress.update(now(), &report, &mut line);
        if ns >= total || console::interrupted() {
            let _ = progress.hide(&mut line);
        }
    })?;
    let _ = progress.finish(&mut line);
    if console::interrupted() {
        return Err(Failure::Interrupted);
    }
    if summary.failed > 0 { Err(Failure::Failed) } else { Ok(()) }
}
