//! The first Rust, and what it tells the image.
//!
//! Invariant: [`Handover`] is written once, by the boot CPU, before `kernel_main` and before any
//! other CPU runs; after that it is only read.

use super::sections::sections;
use super::tables;
use abi::{PhysAddr, PhysRange};
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// What was learnt on the way here.
#[derive(Clone, Copy, Debug)]
pub struct Handover {
    /// The device tree, 8-byte aligned. [`super::dtb`] maps it.
    pub dtb: PhysAddr,
    /// Its size by its header, at most 2 MiB.
    pub dtb_bytes: u64,
    /// Where the image lies, from the header to the end of the boot stack.
    pub image: PhysRange,
    /// The exception level at entry: 1 or 2. PSCI is asked by HVC or SMC accordingly, but the device
    /// tree knows best.
    pub entry_el: u8,
    /// The counter at the first instruction, comparable with CNTVCT_EL0.
    pub entered_at: u64,
    /// The PL011 that got the marks; `None` on a board that the early code does not know.
    pub early_uart: Option<PhysAddr>,
}

/// What `primary_high` in `entry.s` leaves on the stack; the order is its.
#[repr(C)]
pub(super) struct Entry {
    entered_at: u64,
    entry_el: u64,
    dtb: PhysAddr,
    dtb_bytes: u64,
    image: PhysAddr,
    identity_root: PhysAddr,
    kernel_root: PhysAddr,
    tables_next: PhysAddr,
}

static mut HANDOVER: Handover = Handover {
    dtb: PhysAddr(0),
    dtb_bytes: 0,
    image: PhysRange::new(PhysAddr(0), PhysAddr(0)),
    entry_el: 0,
    entered_at: 0,
    early_uart: None,
};
static IMAGE_START: AtomicU64 = AtomicU64::new(0);

unsafe extern "C" {
    #[expect(
        improper_ctypes,
        reason = "both sides are Rust; the boundary is the crate, not the ABI"
    )]
    safe fn kernel_main(handover: &'static Handover) -> !;
    /// Written by `find_early_uart` in `console.s`, in the early code's pages; 0 for none.
    safe static early_uarts: u64;
}

/// The physical address that `KIMAGE_BASE` is loaded at.
pub(super) fn image_start() -> PhysAddr {
    PhysAddr(IMAGE_START.load(Relaxed))
}

/// Called by `primary_high` once, on the boot stack.
pub(super) extern "C" fn boot_main(entry: &Entry) -> ! {
    IMAGE_START.store(entry.image.0, Relaxed);
    tables::adopt(entry.identity_root, entry.kernel_root, entry.tables_next);
    // Read as volatile: the assembly wrote it behind the compiler's back.
    // SAFETY: a valid, aligned, initialised word of the image that nobody writes any more.
    let uart = unsafe { core::ptr::from_ref(&early_uarts).read_volatile() };
    let handover = Handover {
        dtb: entry.dtb,
        dtb_bytes: entry.dtb_bytes,
        image: PhysRange::from_size(entry.image, sections().image.bytes()),
        entry_el: entry.entry_el as u8,
        entered_at: entry.entered_at,
        early_uart: (uart != 0).then_some(PhysAddr(uart)),
    };
    // SAFETY: this function runs once, on the only CPU there is so far; no reference exists yet.
    unsafe { HANDOVER = handover };
    kernel_main(boot_handover())
}

/// The one handover.
pub(super) fn boot_handover() -> &'static Handover {
    let handover = &raw const HANDOVER;
    // SAFETY: the only write came before all reads (see the invariant above).
    unsafe { &*handover }
}
