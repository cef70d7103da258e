//! The orders that this crate's protocols rest on, by name, each as the bug it would be without it.
//!
//! A step that must be ordered says so with `fence` or `order` and the bug's name. In the kernel
//! both vanish into the plain fence or ordering. Under `--cfg loom` one bug at a time can be armed,
//! and `tests/loom` shows of each that the explorer finds what it breaks: an order that no test
//! misses is an order that nobody knows to be needed.

use crate::atomic::{self, Ordering};

macro_rules! mutants {
    ($($(#[$doc:meta])* $variant:ident,)*) => {
        /// A known bug: an order taken away.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[repr(u8)]
        pub enum Mutant { $($(#[$doc])* $variant,)* }

        #[cfg(loom)]
        impl Mutant {
            /// Every one.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];
        }
    };
}

mutants! {
    /// A reader looks at a range lock's gate while its claim may still be on the way to memory.
    ClaimUnfenced,
    /// A reader notes its line after it has looked at the gate.
    LineNotedLate,
    /// An admitted reader does not see what earlier writers did to the value.
    GateLoadRelaxed,
    /// A reader sees half of a later writer's ranges and misses what the earlier one did.
    SpanLoadRelaxed,
    /// A writer's ranges are seen without what the writers before it did.
    SpanStoreRelaxed,
    /// A writer changes the value under a lookup whose end it has seen.
    LookupEndRelaxed,
    /// A writer enters pages whose reader's work it has seen the end of, and not the work.
    ClaimEndRelaxed,
    /// A writer that finds a slot empty is not ordered after what its owner did.
    ScanRelaxed,
    /// A writer looks for claims while its exclusion may still be on the way to memory.
    ExcludeUnfenced,
    /// A reader admitted beside an exclusion does not see what earlier writers did.
    AnnounceRelaxed,
    /// A writer looks for lookups while its mark may still be on the way to memory.
    MutateUnfenced,
    /// A reader admitted after a change does not see it.
    UnmarkRelaxed,
    /// A reader admitted after an exclusion does not see what was done in it.
    ReopenRelaxed,
    /// A reader asks the gate while its being asleep may still be on the way to memory.
    SleepUnfenced,
    /// A writer looks for sleepers while the open gate may still be on the way to memory.
    WakeUnfenced,

    /// A walker loads tables while its odd counter may still be on the way to memory.
    WalkUnfenced,
    /// A reclaimer looks for walkers while the unlinking may still be on the way to memory.
    SynchronizeUnfenced,
    /// A walk's last loads sink below its end.
    WalkEndRelaxed,
    /// A reclaimer that saw a walk's end is not ordered after the walk.
    SynchronizeRelaxed,

    /// A fork looks for pins while its odd count may still be on the way to memory.
    SeqBeginUnfenced,
    /// A pin's second look at the count does not come after the pin.
    SeqUnchangedUnfenced,
    /// An even count is seen without what was written before it.
    SeqEndRelaxed,
    /// A sample does not order what is read after it.
    SeqReadRelaxed,

    /// A clone's use of the value sinks below its giving up.
    ArcDropRelaxed,
    /// The last owner drops the value before the others' uses are over.
    ArcLastUnfenced,

    /// A mutex's new holder does not see what the last one did.
    MutexLockRelaxed,
    /// The same for one who was handed the mutex.
    MutexTicketRelaxed,
    /// A mutex's holder lets what it did sink below its release.
    MutexUnlockRelaxed,

}

/// A full fence: of two threads that each store, fence and load what the other stores, at least one
/// sees the other's store.
#[inline(always)]
pub(crate) fn fence(without: Mutant) {
    if !without.is_armed() {
        atomic::fence(Ordering::SeqCst);
    }
}

/// `needed`.
#[inline(always)]
pub(crate) fn order(needed: Ordering, without: Mutant) -> Ordering {
    if without.is_armed() { Ordering::Relaxed } else { needed }
}

impl Mutant {
    #[cfg(not(loom))]
    #[inline(always)]
    pub(crate) const fn is_armed(self) -> bool {
        false
    }

    #[cfg(loom)]
    pub(crate) fn is_armed(self) -> bool {
        ARMED.with(|armed| armed.get() == Some(self))
    }

    /// Arms one bug, or none, for the models explored by this thread from here on.
    #[cfg(loom)]
    pub fn arm(mutant: Option<Self>) {
        ARMED.with(|armed| armed.set(mutant));
    }
}

#[cfg(loom)]
std::thread_local! {
    /// Loom runs a model's threads as coroutines of the thread that explores it.
    static ARMED: core::cell::Cell<Option<Mutant>> = const { core::cell::Cell::new(None) };
}
