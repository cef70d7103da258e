//! What the background thinks worth the work, and how often it looks.
//!
//! Corresponds to Linux's `/sys/kernel/mm/transparent_hugepage/khugepaged`.

use abi::ENTRIES;
use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// The settings of the background. May be changed at any time; they hold for the next look.
#[doc(alias = "khugepaged_attr_group")]
#[derive(Debug)]
pub struct Limits {
    max_none: AtomicU32,
    max_shared: AtomicU32,
    pages_to_scan: AtomicU32,
    scan_sleep_ms: AtomicU32,
    alloc_sleep_ms: AtomicU32,
    defrag: AtomicU32,
}

macro_rules! settings {
    ($($(#[$doc:meta])* $name:ident, $set:ident, $most:expr;)*) => {
        impl Limits {
            $(
                $(#[$doc])*
                pub fn $name(&self) -> u32 {
                    self.$name.load(Relaxed)
                }

                /// Sets it, as far as that makes sense.
                pub fn $set(&self, value: u32) {
                    self.$name.store(value.min($most), Relaxed);
                }
            )*
        }
    };
}

/// Entries of a block that are not all of them.
const ALL_BUT_ONE: u32 = ENTRIES as u32 - 1;

settings! {
    /// How many entries of a block may map nothing, or zeros, and become memory.
    #[doc(alias = "max_ptes_none")]
    max_none, set_max_none, ALL_BUT_ONE;
    /// How many pages of a block may be other spaces' too, and are copied.
    #[doc(alias = "max_ptes_shared")]
    max_shared, set_max_shared, ALL_BUT_ONE;
    /// Entries that are looked at between two sleeps.
    #[doc(alias = "khugepaged_pages_to_scan")]
    pages_to_scan, set_pages_to_scan, u32::MAX;
    /// How long the background sleeps between two looks, in milliseconds.
    #[doc(alias = "scan_sleep_millisecs")]
    scan_sleep_ms, set_scan_sleep_ms, u32::MAX;
    /// How long it sleeps when there was no memory for a huge page, in milliseconds.
    #[doc(alias = "alloc_sleep_millisecs")]
    alloc_sleep_ms, set_alloc_sleep_ms, u32::MAX;
    /// Whether it moves memory together where no block of 2 MiB is free: 1 or 0.
    #[doc(alias("khugepaged_defrag", "khugepaged/defrag"))]
    defrag, set_defrag, 1;
}

impl Limits {
    pub(crate) const fn new() -> Self {
        Self {
            max_none: AtomicU32::new(ALL_BUT_ONE),
            max_shared: AtomicU32::new(ENTRIES as u32 / 2),
            pages_to_scan: AtomicU32::new(8 * ENTRIES as u32),
            scan_sleep_ms: AtomicU32::new(10_000),
            alloc_sleep_ms: AtomicU32::new(60_000),
            defrag: AtomicU32::new(1),
        }
    }
}
