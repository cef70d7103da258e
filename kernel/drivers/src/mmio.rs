//! A typed register block at an address, the barriers that devices need, and waits that end.
//!
//! Source for the barriers: Arm ARM, "Memory Barriers" and "Ordering of memory accesses" for Device
//! memory. Accesses of one CPU to one peripheral stay in order by themselves; what needs a barrier
//! is a device access against Normal memory, against a system register, or against another device.

use core::ops::Deref;

use abi::VirtAddr;

/// A block of registers, mapped for good. A copyable handle: having one says that `T` describes
/// what is mapped there.
pub(crate) struct Mmio<T> {
    base: *const T,
}

impl<T> Mmio<T> {
    /// The block at `base`.
    ///
    /// # Safety
    /// From `base`, aligned for `T`, the registers that `T` describes are mapped as device memory
    /// (or the MMU is off) and stay so; nothing else uses that memory as memory. Every `T` holds a
    /// register with interior mutability, so a reference to it lets the compiler read nothing ahead.
    pub(crate) unsafe fn new(base: VirtAddr) -> Self {
        Self { base: core::ptr::with_exposed_provenance(base.0 as usize) }
    }
}

impl<T> Clone for Mmio<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Mmio<T> {}

impl<T> Deref for Mmio<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: the maker of this handle promised a mapped block of this type for ever.
        unsafe { &*self.base }
    }
}

// SAFETY: the handle is an address. Registers have no thread; what must not be interleaved between
// CPUs is stated by each driver's methods, and is wrong but not undefined if it happens.
unsafe impl<T> Send for Mmio<T> {}
// SAFETY: as for Send; every access is one volatile load or store.
unsafe impl<T> Sync for Mmio<T> {}

/// Asks `ready` at most `polls` times; whether it ever said yes.
#[inline]
pub(crate) fn poll(polls: u32, mut ready: impl FnMut() -> bool) -> bool {
    (0..polls).any(|_| ready())
}

macro_rules! barrier {
    ($(#[$doc:meta])* $name:ident, $instruction:literal) => {
        $(#[$doc])*
        #[inline]
        pub(crate) fn $name() {
            #[cfg(target_arch = "aarch64")]
            // SAFETY: a barrier changes no register and no memory.
            unsafe {
                core::arch::asm!($instruction, options(nostack, preserves_flags));
            }
            #[cfg(not(target_arch = "aarch64"))]
            core::sync::atomic::fence(core::sync::atomic::Ordering::SeqCst);
        }
    };
}

barrier! {
    /// What this CPU stored is visible to the other CPUs before anything that follows: owed before
    /// an interrupt that tells them to look.
    publish_stores, "dsb ishst"
}
barrier! {
    /// Everything earlier is finished, device accesses included.
    complete_accesses, "dsb sy"
}
barrier! {
    /// Loads that follow come after the loads before, device registers included.
    order_loads, "dmb ld"
}
barrier! {
    /// System register writes before take effect before anything that follows.
    synchronize_context, "isb"
}
