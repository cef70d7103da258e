//! The sanitizer of this kernel: shadow memory for an oracle, set aside at boot, and what becomes of its
//! report.
//!
//! Compiled in by the `sanitize` feature (`make run SANITIZE=1`), and then wanted by `sanitize=on` on the
//! command line. About two and a half percent of memory are its shadows.

use crate::console::println;
use crate::memory;
use crate::platform::{self, Nature};
use crate::threads::{Bare, Hw};
use abi::{PAGE_SIZE, Pfn, PhysRange};
use arch::layout;
use board::Board;
use core::ptr;
use mm::frame::{EarlyError, EarlyMemory};
use mm::{Hardware, Sanitized};
use oracle::{
    AsidShadow, Blind, By, Debt, FrameShadow, Oracle, Platform, Report, Setup, Shadow, TableShadow,
};
use sync::Cpu;

/// Tables that are watched at the same time, at most; and one for so many frames.
const TABLES: usize = 4096;
const FRAMES_A_TABLE: usize = 16;
/// Debts that may be outstanding at the same time.
const DEBTS: usize = 32768;

/// What the oracle is told of the board.
pub(crate) fn platform(board: &Board) -> Platform {
    match platform::nature(board) {
        Nature::Real => Platform::Hardware,
        Nature::Emulated => Platform::Emulator,
        Nature::Unknown => Platform::Unknown,
    }
}

/// `hardware`, watched if there is a `platform` to tell the oracle of; `span` is all memory that is managed,
/// and `root` the kernel's own root table.
///
/// Context: boot, before [`EarlyMemory`] is handed on; the linear map is in place.
pub(crate) fn watch(
    hardware: Bare,
    platform: Option<Platform>,
    span: PhysRange,
    root: Pfn,
    free: &mut EarlyMemory,
) -> Result<Hw, EarlyError> {
    let Some(platform) = platform else {
        return Ok(Sanitized::new(hardware, None, die));
    };
    let frames = span.pages() as usize;
    let setup = Setup {
        caps: *hardware.caps(),
        cpus: hardware.nr_cpus(),
        platform,
        first: span.start.pfn(),
        frames: lend(free, FrameShadow::BLANK, frames)?,
        tables: lend(free, TableShadow::BLANK, (frames / FRAMES_A_TABLE).min(TABLES))?,
        debts: lend(free, Debt::BLANK, DEBTS)?,
        asids: lend(free, AsidShadow::BLANK, 1 << hardware.caps().asid_bits)?,
    };
    let mut oracle = Oracle::new(setup);
    let boot = By::caller(hardware.id());
    oracle.take_over_kernel(boot, root, &mut |slot| hardware.peek(slot));
    Ok(Sanitized::new(hardware, Some(oracle), die))
}

/// `n` shadows like `blank`, in memory that is theirs for good.
fn lend<T: Copy>(free: &mut EarlyMemory, blank: T, n: usize) -> Result<Shadow<T>, EarlyError> {
    let bytes = ((n * size_of::<T>()) as u64).next_multiple_of(PAGE_SIZE);
    let memory = free.take(bytes, PAGE_SIZE)?;
    let start = layout::LINEAR_BASE.0 + memory.start.0;
    let first: *mut T = ptr::with_exposed_provenance_mut(start as usize);
    for at in 0..n {
        // SAFETY: the memory was taken for so many of them and is mapped linearly.
        let place = unsafe { first.add(at) };
        // SAFETY: within it, aligned since pages are, and nobody else knows of it.
        unsafe { place.write(blank) };
    }
    // SAFETY: all of them were written just now, and the memory is never given back.
    Ok(Shadow::Lent(unsafe { core::slice::from_raw_parts_mut(first, n) }))
}

/// Says how much was watched, if anything is.
pub(crate) fn summarize() {
    let Some(mm) = memory::mm() else { return };
    let seen = mm.hw.ask(|oracle| (oracle.steps(), oracle.outstanding(), oracle.blind()));
    let Some((steps, outstanding, Blind { tables, debts })) = seen else { return };
    println!("# sanitizer: {steps} steps, no rule broken; {outstanding} debts on the books");
    if tables + debts > 0 {
        println!("# sanitizer: blind to {tables} tables and {debts} debts");
    }
}

/// The first broken rule ends the run, on the CPU that broke it: the backtrace is the second call site's.
/// Where the rule was to be broken, it ends well.
fn die(report: &Report) {
    #[cfg(feature = "mutants")]
    crate::commands::zoo::caught(report);
    panic!("{report}");
}
