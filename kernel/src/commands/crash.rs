//! `crash`: the ways to die, to see that each is reported.

use super::{Context, Outcome};
use core::fmt::Write;
use shell::Args;

/// The ways, as the user names them.
pub(super) const WAYS: [&str; 6] = ["panic", "null", "overflow", "undef", "text", "other-cpu"];

pub(super) fn crash(_: &mut Context, args: &Args<'_>, out: &mut dyn Write) -> Outcome {
    let how = args.word("how")?;
    writeln!(out, "dying by {how}")?;
    match how {
        "null" => write_to(0),
        "overflow" => drop(recurse(u64::MAX)),
        "undef" => arch::exception::undefined(),
        "text" => write_to(arch::boot::sections().text.start.0),
        "other-cpu" => die_elsewhere(),
        _ => panic!("asked for"),
    }
    Ok(())
}

fn write_to(address: u64) {
    let target: *mut u64 = core::ptr::with_exposed_provenance_mut(address as usize);
    // SAFETY: none; this is how a stray store dies. Both addresses are never writable.
    unsafe { target.write_volatile(0) };
}

/// Uses stack until there is none.
#[inline(never)]
fn recurse(depth: u64) -> u64 {
    let frame = [depth; 64];
    if core::hint::black_box(&frame)[0] == 0 {
        return 0;
    }
    recurse(depth - 1) + core::hint::black_box(&frame)[63]
}

/// Dies on the last CPU that runs, by a wild load.
fn die_elsewhere() {
    if let Some(last) = sched::online().iter().last() {
        let death = |_| write_to(0x10);
        let _ = sched::run_on(sched::CpuSet::only(last), "crash", &death);
    }
}
