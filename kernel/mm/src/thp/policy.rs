//! Who gets huge pages, and how hard a fault tries to get one.
//!
//! # The ladder
//! A fault in an area that wants huge pages takes the largest folio that fits: 2 MiB where the block lies
//! in the area and has no table yet, else 64 KiB where the sixteen entries are empty, else a page. An
//! order that there is no memory for is passed over. A refusal, by the space, by the area or by the
//! settings, means pages.
//!
//! Each order has its switch. That of 64 KiB follows that of 2 MiB until it is set: who wants the whole
//! wants the part.
//!
//! Corresponds to Linux's `/sys/kernel/mm/transparent_hugepage` and `thp_vma_allowable_orders`.

use super::collapse::Limits;
use crate::frame::Effort;
use crate::space::{Backing, Core, Huge, Vma};
use core::sync::atomic::{AtomicBool, AtomicU8, Ordering::Relaxed};

/// Whether the area does not rule out all but pages. Asked first: the settings are elsewhere.
#[inline]
fn may_be_large(vma: &Vma) -> bool {
    vma.huge != Huge::Never && vma.backing == Backing::Anonymous
}

/// Where folios of one size are given without being asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Policy {
    /// Wherever they fit, unless an area refuses them.
    Always = 0,
    /// In areas that were advised to have them.
    Madvise = 1,
    /// Nowhere.
    Never = 2,
}

impl Policy {
    const ALL: [Self; 3] = [Self::Always, Self::Madvise, Self::Never];

    /// Whether an area with this advice gets them.
    const fn gives(self, advice: Huge) -> bool {
        match (self, advice) {
            (Self::Never, _) | (_, Huge::Never) => false,
            (Self::Always, _) | (Self::Madvise, Huge::Advised) => true,
            (Self::Madvise, Huge::Default) => false,
        }
    }
}

/// A policy that may be left to somebody else's, in one byte.
#[derive(Debug)]
pub(crate) struct Override(AtomicU8);

impl Override {
    const NONE: u8 = u8::MAX;

    pub(crate) const fn none() -> Self {
        Self(AtomicU8::new(Self::NONE))
    }

    pub(crate) fn get(&self) -> Option<Policy> {
        Policy::ALL.get(usize::from(self.0.load(Relaxed))).copied()
    }

    pub(crate) fn set(&self, policy: Option<Policy>) {
        self.0.store(policy.map_or(Self::NONE, |policy| policy as u8), Relaxed);
    }
}

/// Who goes to the end of the means for a huge page when no block is free: fetches what other CPUs keep
/// in stock and splits what waits to be split, before it falls back to a smaller one.
#[doc(alias = "transparent_hugepage/defrag")]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Defrag {
    /// Every fault.
    Always = 0,
    /// No fault: it takes a smaller one, and whoever works in the background makes blocks.
    Defer = 1,
    /// Faults in areas that were advised to have huge pages.
    Madvise = 2,
    /// Nobody, now or later.
    Never = 3,
}

/// The settings of one memory manager. May be changed at any time; they hold for the next fault.
#[doc(alias = "transparent_hugepage_flags")]
#[derive(Debug)]
pub struct Thp {
    enabled: Override,
    enabled_64k: Override,
    defrag: AtomicU8,
    use_zero_page: AtomicBool,
    /// What the background collapses, and how often it looks.
    #[doc(alias = "khugepaged")]
    pub collapse: Limits,
}

impl Thp {
    pub(crate) const fn new() -> Self {
        Self {
            // None of its own means the default: always.
            enabled: Override::none(),
            enabled_64k: Override::none(),
            defrag: AtomicU8::new(Defrag::Madvise as u8),
            use_zero_page: AtomicBool::new(true),
            collapse: Limits::new(),
        }
    }

    /// Where 2 MiB pages are given.
    pub fn enabled(&self) -> Policy {
        self.enabled.get().unwrap_or(Policy::Always)
    }

    /// Says where 2 MiB pages are given from now on.
    pub fn set_enabled(&self, policy: Policy) {
        self.enabled.set(Some(policy));
    }

    /// Where 64 KiB folios are given; `None`: where 2 MiB pages are.
    #[doc(alias = "hugepages-64kB/enabled")]
    pub fn enabled_64k(&self) -> Option<Policy> {
        self.enabled_64k.get()
    }

    /// Says where 64 KiB folios are given from now on; `None`: where 2 MiB pages are.
    pub fn set_enabled_64k(&self, policy: Option<Policy>) {
        self.enabled_64k.set(policy);
    }

    /// Who tries hard for a huge page.
    pub fn defrag(&self) -> Defrag {
        match self.defrag.load(Relaxed) {
            0 => Defrag::Always,
            1 => Defrag::Defer,
            2 => Defrag::Madvise,
            _ => Defrag::Never,
        }
    }

    /// Says who tries hard for a huge page from now on.
    pub fn set_defrag(&self, defrag: Defrag) {
        self.defrag.store(defrag as u8, Relaxed);
    }

    /// Whether reading 2 MiB that were never written shows the one huge page of zeros.
    pub fn use_zero_page(&self) -> bool {
        self.use_zero_page.load(Relaxed)
    }

    /// Says whether reading 2 MiB that were never written shows the one huge page of zeros from now on.
    pub fn set_use_zero_page(&self, on: bool) {
        self.use_zero_page.store(on, Relaxed);
    }

    /// Whether a fault in the area may be given 2 MiB.
    #[doc(alias = "thp_vma_allowable_order")]
    #[inline]
    pub(crate) fn wants(&self, core: &Core, vma: &Vma) -> bool {
        may_be_large(vma) && {
            let policy = core.thp.get().unwrap_or_else(|| self.enabled());
            policy.gives(vma.huge)
        }
    }

    /// Whether a fault in the area may be given 64 KiB.
    #[inline]
    pub(crate) fn wants_64k(&self, core: &Core, vma: &Vma) -> bool {
        may_be_large(vma) && {
            let own = core.thp.get().or_else(|| self.enabled_64k());
            own.unwrap_or_else(|| self.enabled()).gives(vma.huge)
        }
    }

    /// How hard a fault in the area tries for more than a page.
    #[doc(alias = "vma_thp_gfp_mask")]
    pub(crate) fn effort(&self, vma: &Vma) -> Effort {
        match self.defrag() {
            Defrag::Always => Effort::Full,
            Defrag::Madvise if vma.huge == Huge::Advised => Effort::Full,
            Defrag::Defer | Defrag::Madvise | Defrag::Never => Effort::Light,
        }
    }
}
