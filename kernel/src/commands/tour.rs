//! `tour`: what a newcomer sees first.

use super::{Context, Outcome, fail, selftest, stress};
use crate::world::Kernel;
use ::stress::{Limit, Options, World};
use core::fmt::Write;
use shell::Args;

/// How long each of the tour's workloads runs.
const EACH_NS: u64 = 500_000_000;

pub(super) fn tour(context: &mut Context, _: &Args<'_>, out: &mut dyn Write) -> Outcome {
    let Some(kernel) = Kernel::new() else {
        return Err(fail(out, format_args!("memory is not managed yet")));
    };
    let cpus = kernel.cpus();
    writeln!(out, "\n# First, quick checks of every part.")?;
    selftest::parts(&kernel, out)?;
    writeln!(
        out,
        "\n# Now {cpus} CPUs fault, unmap and shoot down translations of shared memory. Each page\n\
         # says whose it is, so a stale translation would be seen as wrong data."
    )?;
    let options = Options { cpus, limit: Limit::Time(EACH_NS), seed: 1, bytes: 32 << 20 };
    stress::run(context, &kernel, options, "all", out)?;
    writeln!(
        out,
        "\nAll of it held. Try `stress unmap-shootdown secs=10 seed=7`, `vmstat tlb`,\n\
         `pt kernel 0xffff800000000000`, or `help`."
    )?;
    Ok(())
}
