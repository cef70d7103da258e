//! Semihosting: how a run tells its exit status to the emulator that started it.
//!
//! HLT #0xF000 is a call where an emulator or debugger listens, and an undefined instruction
//! everywhere else, on a real board in particular. The instruction sits in one routine whose
//! address the exception path knows, so that asking is safe: [`is_present`] asks once.
//!
//! Context: the vectors are in place ([`crate::init::init_cpu`] was called). Any CPU, any masks.
//! Source: Arm, "Semihosting for AArch32 and AArch64".

use core::arch::global_asm;
use core::sync::atomic::{AtomicU8, Ordering};

global_asm!(
    // x0 = operation, x1 = parameter. Result: x0 = answer, x1 = 0; or x1 = 1 where nobody listens.
    ".pushsection .text.semihosting, \"ax\"",
    ".balign 16",
    "semihosting_call:",
    "hlt #0xf000",
    "mov x1, xzr",
    "ret",
    ".popsection",
);

#[repr(C)]
struct Answer {
    value: u64,
    absent: u64,
}

unsafe extern "C" {
    fn semihosting_call(operation: u64, parameter: *mut u64) -> Answer;
}

const SYS_ERRNO: u64 = 0x13;
const SYS_GET_CMDLINE: u64 = 0x15;
const SYS_EXIT_EXTENDED: u64 = 0x20;
/// ADP_Stopped_ApplicationExit: the program ended of its own accord, with a status.
const APPLICATION_EXIT: u64 = 0x2_0026;

/// The exit status where not even a report was possible.
pub(crate) const STATUS_DEAD: u32 = 1;

const UNKNOWN: u8 = 0;
const ABSENT: u8 = 1;
const PRESENT: u8 = 2;

static STATE: AtomicU8 = AtomicU8::new(UNKNOWN);

/// Whether `pc` is the instruction that asks.
pub(crate) fn is_call(pc: u64) -> bool {
    pc == semihosting_call as *const () as u64
}

fn call(operation: u64, parameters: &mut [u64]) -> Option<u64> {
    // SAFETY: the operations used here write at most the parameter block and the buffer it names,
    // both of which the callers lend.
    let answer = unsafe { semihosting_call(operation, parameters.as_mut_ptr()) };
    (answer.absent == 0).then_some(answer.value)
}

/// Whether somebody listens. The first call asks, with an operation that does nothing.
pub fn is_present() -> bool {
    if STATE.load(Ordering::Relaxed) == UNKNOWN {
        let state = if call(SYS_ERRNO, &mut [0]).is_some() { PRESENT } else { ABSENT };
        STATE.store(state, Ordering::Relaxed);
    }
    known_present()
}

/// Whether [`is_present`] has found somebody; does not ask.
pub(crate) fn known_present() -> bool {
    STATE.load(Ordering::Relaxed) == PRESENT
}

/// Ends the run with `status`. Returns only where nobody listens.
pub fn exit(status: u32) {
    if is_present() {
        let _ = call(SYS_EXIT_EXTENDED, &mut [APPLICATION_EXIT, status.into()]);
    }
}

/// The command line that the emulator was given for us, in `buffer`; `None` where there is none, it
/// does not fit, or it is not text.
///
/// With plain `-semihosting` QEMU answers with the image's file name and then the `-append` text.
pub fn command_line(buffer: &mut [u8]) -> Option<&str> {
    if !is_present() {
        return None;
    }
    let mut block = [buffer.as_mut_ptr() as u64, buffer.len() as u64];
    if call(SYS_GET_CMDLINE, &mut block)? != 0 {
        return None;
    }
    let text = buffer.get(..usize::try_from(block[1]).ok()?)?;
    // Whether the length counts the terminating zero is left open by the specification.
    let text = text.split(|&byte| byte == 0).next()?;
    core::str::from_utf8(text).ok()
}
