//! A bug let out on the live machine.
//!
//! First its workload runs as it is, and must be silent; then with the bug, until the sanitizer or the workload
//! itself notices. That is the end of the machine: whoever broke the rule is stopped in the midst of it,
//! and no memory, not even the kernel's, is to be trusted after it. So all CPUs stop
//! there, the report is printed, and what remains is to boot again.

use super::super::{Context, Outcome, fail, stress as workloads};
use crate::console::LastWords;
use crate::world::Kernel;
use crate::{exceptions, power};
use arch::LocalCpu;
use core::fmt::Write;
use core::sync::atomic::{AtomicU8, Ordering};
use mm::mutant::Mutant;
use oracle::Report;
use shell::{Args, Failure};
use stress::{Limit, Options, World};
use sync::Cpu;

/// How long the workload must be silent first.
const SILENT_NS: u64 = 1_000_000_000;

/// Nobody is let out.
const NONE: u8 = 0;
/// One is, by a script.
const SCRIPT: u8 = 1;
/// One is, by somebody at the prompt.
const PROMPT: u8 = 2;
static OUT: AtomicU8 = AtomicU8::new(NONE);

/// Lets `mutant` out. Returns only if nobody caught it.
pub(super) fn run(
    context: &Context,
    mutant: Mutant,
    args: &Args<'_>,
    out: &mut dyn Write,
) -> Outcome {
    let Some(kernel) = Kernel::new() else {
        return Err(fail(out, format_args!("memory is not managed yet")));
    };
    if kernel.mm().hw.ask(|_| ()).is_none() {
        return Err(fail(out, format_args!("zoo: nobody watches; boot with sanitize=on")));
    }
    let (name, habitat) = (mutant.name(), stress::zoo::habitat(mutant));
    let options = Options {
        cpus: kernel.cpus(),
        limit: Limit::Time(SILENT_NS),
        seed: args.number("seed")?,
        bytes: workloads::some_memory(&kernel),
    };
    writeln!(out, "# zoo: {habitat} without {name}")?;
    workloads::run(context, &kernel, options, habitat, out)?;
    writeln!(out, "# zoo: silent without it. {habitat} with {name}: {}", mutant.about())?;
    let time = u64::try_from(args.time("secs")?.as_nanos()).unwrap_or(u64::MAX);
    let options = Options { limit: Limit::Time(time), ..options };
    let how = if context.scripted { SCRIPT } else { PROMPT };
    OUT.store(how, Ordering::SeqCst);
    kernel.mm().arm(Some(mutant));
    let result = workloads::run(context, &kernel, options, habitat, out);
    kernel.mm().arm(None);
    OUT.store(NONE, Ordering::SeqCst);
    match result {
        Err(Failure::Failed) => end(how, "the workload", exceptions::stop_the_world()),
        Err(other) => Err(other),
        Ok(()) => Err(fail(
            out,
            format_args!(
                "# zoo: {name} was not caught. What it did in silence nobody knows: `reboot`"
            ),
        )),
    }
}

/// The sanitizer's first report: if a bug is out, it is caught, and this does not return.
///
/// Context: any; the CPU that broke the rule.
pub(crate) fn caught(report: &Report) {
    let how = OUT.load(Ordering::SeqCst);
    if how == NONE {
        return;
    }
    let mut out = exceptions::stop_the_world();
    let _ = writeln!(out, "\n{report}");
    end(how, "the sanitizer", out)
}

/// A script's status says that the bug was caught: 0. At the prompt, a key boots again.
fn end(how: u8, who: &str, mut out: LastWords) -> ! {
    let _ =
        writeln!(out, "# zoo: caught by {who}. All CPUs have stopped: no memory is to be trusted");
    if how == SCRIPT {
        power::off(0)
    }
    let _ = writeln!(out, "# zoo: a key boots again");
    if let Some(uart) = crate::console::uart() {
        while uart.read().is_none() {
            LocalCpu.relax();
        }
    }
    power::reset()
}
