//! Faults to their space, deaths to a report.

use crate::console::LastWords;
use crate::{interrupts, power, threads};
use arch::backtrace;
use arch::exception::{Death, Fault, FaultVerdict, Handlers, TrapFrame};
use core::fmt::Write;
use core::panic::PanicInfo;
use core::sync::atomic::{AtomicUsize, Ordering};
use mm::FaultOutcome;

/// The hooks that the vectors call.
pub(crate) static HANDLERS: Handlers =
    Handlers { fault: on_fault, irq: interrupts::on_interrupt, dead: on_death };

/// A fault of the user half: the current thread's space resolves it, or the access fails and whoever
/// made it is told (`Fixup`).
fn on_fault(fault: &Fault, frame: &mut TrapFrame) -> FaultVerdict {
    // Resolving may sleep; whoever masked interrupts may not.
    if frame.irqs_masked() {
        return FaultVerdict::Fixup;
    }
    let Some(space) = threads::current_space() else { return FaultVerdict::Fixup };
    match space.fault(fault.va, fault.access) {
        FaultOutcome::Mapped | FaultOutcome::Spurious => FaultVerdict::Resolved,
        FaultOutcome::Denied(_) | FaultOutcome::OutOfMemory(_) => FaultVerdict::Fixup,
    }
}

/// "Nobody" in [`DYING`].
const NOBODY: usize = usize::MAX;
/// The first CPU that died: the one that reports.
static DYING: AtomicUsize = AtomicUsize::new(NOBODY);

/// How long the others may take to fall silent before the report goes over their words.
const SILENCE_NS: u64 = 100_000_000;

/// Makes this CPU the one that reports, and silences the others. Where another one was faster, it
/// stops here. A CPU that dies while it reports may report again.
fn claim_report() -> LastWords {
    let me = arch::percpu::this().id().index();
    let claimed = DYING.compare_exchange(NOBODY, me, Ordering::AcqRel, Ordering::Acquire);
    if claimed.is_err_and(|first| first != me) {
        sched::on_stop();
    }
    sched::stop_others(SILENCE_NS);
    LastWords
}

/// Stops everybody else for good; what this CPU says now is the last. Interrupts stay masked.
#[cfg(all(feature = "sanitize", feature = "mutants"))]
pub(crate) fn stop_the_world() -> LastWords {
    arch::irq::mask();
    claim_report()
}

/// An exception that nothing can resolve.
fn on_death(death: &Death<'_>) -> ! {
    let mut out = claim_report();
    let _ = writeln!(out, "\n# dead: {death}");
    report_backtrace(&mut out, backtrace::of_death(death));
    power::end_failed()
}

#[panic_handler]
fn on_panic(info: &PanicInfo<'_>) -> ! {
    arch::irq::mask();
    let mut out = claim_report();
    let cpu = arch::percpu::this().id();
    let _ = writeln!(out, "\n# panic on cpu {cpu}: {}", info.message());
    if let Some(place) = info.location() {
        let _ = writeln!(out, "#   at {place}");
    }
    report_backtrace(&mut out, backtrace::here());
    power::end_failed()
}

/// One line a frame, which the host's runner completes with function, file and line.
fn report_backtrace(out: &mut dyn Write, frames: impl Iterator<Item = u64>) {
    for (n, pc) in frames.enumerate() {
        let _ = writeln!(out, "  #{n} {pc:#018x}");
    }
}
