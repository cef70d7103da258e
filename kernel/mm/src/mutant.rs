//! Known bugs, by name. Each is one step taken away at a marked place (`mm.commits(Mutant::…)`).
//!
//! Without the `mutants` feature the question is answered `false` at compile time and the places
//! vanish. With it, at most one bug is armed at a time, per memory manager, so that the host's tests
//! can run many side by side.

macro_rules! mutants {
    ($($(#[$doc:meta])* $variant:ident => $name:literal,)*) => {
        /// A known bug.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[repr(u8)]
        pub enum Mutant { $($(#[$doc])* $variant,)* }

        impl Mutant {
            /// Every one that this build's code can commit.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// Its name on a command line.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }
        }
    };
}

mutants! {
    /// munmap clears entries and invalidates nothing.
    UnmapNoTlbi => "unmap-no-tlbi",
    /// munmap invalidates on its own CPU only.
    UnmapLocalTlbi => "unmap-local-tlbi",
    /// munmap frees the frames, then invalidates.
    FreeBeforeFlush => "free-before-flush",
    /// The cleared entries are not made visible to walkers before the TLBI.
    NoPublish => "no-publish",
    /// Nobody waits for the TLBI before the frames are freed.
    NoComplete => "no-complete",
    /// Freed tables are invalidated with last-level operations, which leave walk caches alone.
    TablesLastLevel => "tables-last-level",
    /// Invalidation names another address space's ASID.
    WrongAsid => "wrong-asid",
    /// The ASID to invalidate is read before the entries are cleared.
    AsidBeforeClear => "asid-before-clear",
    /// Freed tables do not wait for lockless walkers.
    NoGrace => "no-grace",
    /// GUP-fast does not look again after it took its reference.
    GupNoRecheck => "gup-no-recheck",
    /// A new ASID generation begins without a flush on each CPU.
    RolloverNoFlush => "rollover-no-flush",
    /// A roll-over forgets the ASIDs that CPUs are running.
    RolloverForgetsActive => "rollover-forgets-active",
    /// Splitting a huge PMD writes the table over the live block.
    SplitNoBreak => "split-no-break",
    /// A new table is linked before its zeros are visible to walkers.
    LinkBeforeZero => "link-before-zero",
    /// A CPU is noted as one that runs the space only after it has begun to walk it.
    CpuNotedLate => "cpu-noted-late",
    /// Of the CPUs that run a space only the first is noted, so flushes reach no other.
    FirstCpuOnly => "first-cpu-only",
}

/// Which bug is armed in one memory manager.
pub(crate) struct Armed {
    #[cfg(feature = "mutants")]
    which: core::sync::atomic::AtomicU8,
}

impl Armed {
    pub(crate) const fn none() -> Self {
        Self {
            #[cfg(feature = "mutants")]
            which: core::sync::atomic::AtomicU8::new(u8::MAX),
        }
    }

    #[cfg(feature = "mutants")]
    pub(crate) fn arm(&self, mutant: Option<Mutant>) {
        let which = mutant.map_or(u8::MAX, |m| m as u8);
        self.which.store(which, core::sync::atomic::Ordering::SeqCst);
    }

    #[inline(always)]
    #[cfg(feature = "mutants")]
    pub(crate) fn is_armed(&self, mutant: Mutant) -> bool {
        self.which.load(core::sync::atomic::Ordering::Relaxed) == mutant as u8
    }

    #[inline(always)]
    #[cfg(not(feature = "mutants"))]
    pub(crate) const fn is_armed(&self, mutant: Mutant) -> bool {
        let _ = mutant;
        false
    }
}
