//! Stops the wall clock for QEMU, so that `-icount` runs repeat to the byte on a busy host too.
//!
//! With `-icount shift=N,sleep=off` all that the guest sees is counted in instructions, but for one
//! thing: QEMU's software TLB decides by the host's wall clock when to shrink (a window of 100 ms in
//! `tlb_mmu_resize_locked`, `accel/tcg/cputlb.c`). Its size decides which stale translations a CPU
//! still holds between another CPU's store to a descriptor and the TLBI that follows, and that is
//! just what granule's workloads look at. Measured on QEMU 10.0.2: four runs side by side on two
//! cores differ without this library and agree with it.
//!
//! Preloaded into the emulator (`LD_PRELOAD`), it takes the place of the C library's `gettimeofday`.
//! QEMU asks that for three things: the TLB's window, which now never ends, so that a TLB grows but
//! does not shrink; the date, which a guest can read from the board's real-time clock and granule
//! does not; and the time printed in messages and traces. Timers, those of the guest and those that
//! pace QEMU itself, use other clocks.
//!
//! Linux only: elsewhere there is nothing in here.
#![cfg(target_os = "linux")]

use std::ffi::{c_int, c_long, c_void};

/// The C library's `struct timeval`.
#[repr(C)]
pub struct Timeval {
    seconds: c_long,
    microseconds: c_long,
}

/// A moment that never passes. Not the epoch: a zero might be taken for "not known".
///
/// # Safety
/// As the C library's: `now` is null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gettimeofday(now: *mut Timeval, _zone: *mut c_void) -> c_int {
    if !now.is_null() {
        // SAFETY: the caller lends the place, which need not hold anything yet.
        unsafe { now.write(Timeval { seconds: 1, microseconds: 0 }) };
    }
    0
}
