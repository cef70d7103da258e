//! Who gets huge pages.
//!
//! Corresponds to Linux's `/sys/kernel/mm/transparent_hugepage` and `thp_vma_allowable_order`.

use crate::space::{Backing, Huge, Vma};
use core::sync::atomic::{AtomicU8, Ordering::Relaxed};

/// Where huge pages are given without being asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Policy {
    /// Wherever they fit, unless an area refuses them.
    Always,
    /// In areas that were advised to have them.
    Madvise,
    /// Nowhere.
    Never,
}

impl Policy {
    const fn from_bits(bits: u8) -> Self {
        match bits {
            0 => Self::Always,
            1 => Self::Madvise,
            _ => Self::Never,
        }
    }
}

/// The settings of one memory manager. May be changed at any time; holds for the next fault.
#[doc(alias = "transparent_hugepage_flags")]
#[derive(Debug)]
pub struct Thp {
    enabled: AtomicU8,
}

impl Thp {
    pub(crate) const fn new() -> Self {
        Self { enabled: AtomicU8::new(Policy::Always as u8) }
    }

    /// Where 2 MiB pages are given.
    pub fn enabled(&self) -> Policy {
        Policy::from_bits(self.enabled.load(Relaxed))
    }

    /// Says where 2 MiB pages are given from now on.
    pub fn set_enabled(&self, policy: Policy) {
        self.enabled.store(policy as u8, Relaxed);
    }

    /// Whether an area may be given a huge page by a fault.
    #[doc(alias = "thp_vma_allowable_order")]
    #[inline]
    pub(crate) fn wants(&self, vma: &Vma) -> bool {
        vma.backing == Backing::Anonymous
            && match (self.enabled(), vma.huge) {
                (_, Huge::Never) | (Policy::Never, _) => false,
                (Policy::Madvise, huge) => huge == Huge::Advised,
                (Policy::Always, _) => true,
            }
    }
}
