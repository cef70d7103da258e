//! Known bugs, by name. Each is one step taken away at a marked place (`mm.commits(Mutant::…)`).
//!
//! Without the `mutants` feature (and outside of loom) the question is answered `false` at compile time and the places
//! vanish. With it, at most one bug is armed at a time, per memory manager, so that the host's tests
//! can run many side by side.

use sync::atomic::AtomicU32;

macro_rules! mutants {
    ($($(#[doc = $doc:literal])* $variant:ident => $name:literal,)*) => {
        /// A known bug.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[repr(u8)]
        pub enum Mutant { $($(#[doc = $doc])* $variant,)* }

        impl Mutant {
            /// Every one that this build's code can commit.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// Its name on a command line.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// What it does wrong: its documentation here.
            pub const fn about(self) -> &'static str {
                match self { $(Self::$variant => concat!($($doc),*).trim_ascii(),)* }
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

    // --- changes of a space ----------------------------------------------------------------------
    /// munmap lets faults and others back in before it has flushed: given frames look free, and a new
    /// mapping meets the old one's translations. Linux once deferred the flush of a driver's frames past
    /// the moment at which the driver could take them back.
    UnmapReleasesEarly => "unmap-releases-early",
    /// A huge entry that goes leaves its deposited table behind.
    ZapKeepsDeposit => "zap-keeps-deposit",
    /// mprotect takes rights away and flushes nothing.
    ProtectNoFlush => "protect-no-flush",
    /// mprotect clears a huge entry before it stores the new one: whoever looks in between finds nothing
    /// where there is memory. In Linux an MADV_DONTNEED passed by huge pages that way.
    ProtectThroughNone => "protect-through-none",
    /// Taking the right to write away forgets that hardware had recorded a write.
    ProtectDropsDirty => "protect-drops-dirty",
    /// mprotect gives the right to write to pages that others have too.
    ProtectWritableShared => "protect-writable-shared",
    /// mprotect leaves the right to write in migration entries, which comes back with them.
    ProtectKeepsMigrationWrite => "protect-keeps-migration-write",
    /// mremap flushes nothing.
    RemapNoFlush => "remap-no-flush",
    /// mremap flushes the old range after others may have unmapped and freed the new one.
    RemapFlushLate => "remap-flush-late",
    /// mremap lets faults into the range that it moves to.
    RemapClaimable => "remap-claimable",
    /// A huge entry that moves to another table leaves its deposited table behind.
    RemapLeavesDeposit => "remap-leaves-deposit",
    /// MADV_DONTNEED flushes after it has released the table's lock: a second thread finds nothing there
    /// and returns, or maps something new, while CPUs still have the old translation.
    DontneedFlushLate => "dontneed-flush-late",
    /// MADV_FREE does not flush: a write through an old translation goes unrecorded, and is lost.
    FreeNoFlush => "free-no-flush",
    /// fork write-protects the parent and flushes nothing.
    ForkNoFlush => "fork-no-flush",
    /// fork leaves the parent's entries writable.
    ForkKeepsWritable => "fork-keeps-writable",
    /// fork forgets that hardware had recorded a write.
    ForkDropsDirty => "fork-drops-dirty",
    /// fork shares pages that are pinned.
    ForkIgnoresPins => "fork-ignores-pins",
    /// fork shares huge pages that are pinned.
    ForkIgnoresHugePins => "fork-ignores-huge-pins",
    /// fork does not tell lockless pins that it is at work.
    ForkNoSequence => "fork-no-sequence",
    /// fork leaves the right to write in migration entries, in both spaces.
    ForkKeepsMigrationWrite => "fork-keeps-migration-write",
    // References and pins.
    /// GUP-fast walks without being in an epoch: tables are freed under it.
    GupNoEpoch => "gup-no-epoch",
    /// GUP-fast takes a leaf for usable that is present and invalid for hardware: one that is being
    /// split. (2024; harmless then, because the test for validity was there.)
    GupTrustsPresent => "gup-trusts-present",
    /// GUP-fast uses leaves that permit nothing (2013: during a migration).
    GupProtNone => "gup-prot-none",
    /// GUP-fast counts on memory that nobody counts.
    GupSpecial => "gup-special",
    /// GUP-fast counts on a head and does not ask whether the page is still its (2021).
    GupNoHeadRecheck => "gup-no-head-recheck",
    /// GUP-fast looks at the PTE again and not at the entry above: the table may be unlinked (2022).
    GupNoTableRecheck => "gup-no-table-recheck",
    /// References are taken without end, until the count begins anew (2019).
    RefsUnlimited => "refs-unlimited",
    /// A page is pinned for reading that is shared: the other one keeps the page, and who pinned it
    /// is left with a page that the program does not see any more (2020).
    PinShared => "pin-shared",
    /// A pin goes on while a fork shares pages.
    PinDuringFork => "pin-during-fork",
    /// A pin does not ask whether a fork has shared its page meanwhile (2020).
    PinForgetsFork => "pin-forgets-fork",
    /// A space is not noted as one whose pages are pinned: fork does not look for pins.
    PinUnnoted => "pin-unnoted",
    /// The neighbours of a page that is nobody else's are taken to be so too.
    WriteAroundShared => "write-around-shared",
    /// Who wrote to a page past all tables does not say so when he lets go of it.
    HoldForgetsWrite => "hold-forgets-write",
    /// GUP-fast looks a second time before its reference is visible.
    GupUnfenced => "gup-unfenced",
    /// GUP-fast of several pages makes the first count visible, and then counts the others and looks a second
    /// time at all of them.
    WindowFencedFirst => "window-fenced-first",
    /// Who takes exclusivity away looks for pins before the cleared entry is visible (2022).
    ShareUnfenced => "share-unfenced",
    /// A folio has references again before it is seen what it has become (2018).
    UnfreezeRelaxed => "unfreeze-relaxed",
    /// A folio is frozen by somebody who does not see what its last holders did.
    FreezeRelaxed => "freeze-relaxed",

    // Splits, and walks from a folio.
    /// A split invalidates before it looks what it has: a migration entry looks like a mapping for a
    /// moment (2024).
    SplitMigrationMkinvalid => "split-migration-mkinvalid",
    /// The leaf that was read before the exchange is split, without what hardware recorded between
    /// (2018).
    SplitPreread => "split-preread",
    /// A split counts 512 mappings for a migration entry, which owns none (2020).
    SplitCountsMigration => "split-counts-migration",
    /// A split asks a migration entry the questions for leaves: no such word looks writable, and each
    /// looks accessed (2018).
    SplitMisreadsMigration => "split-misreads-migration",
    /// A split that unmaps gives the reference back and keeps the mapping's count.
    SplitKeepsMapping => "split-keeps-mapping",
    /// Migration entries go in and nothing is flushed.
    TakeOutNoFlush => "take-out-no-flush",
    /// The flush of what was taken out comes after the frames were used for something else.
    TakeOutFlushLate => "take-out-flush-late",
    /// Of several spaces that were forked from each other, one is flushed.
    OwedFirstOnly => "owed-first-only",
    /// Whoever unmaps, protects or forks a migration entry takes it for not cached, and does not flush what a
    /// migration has not flushed yet (2017, 2022).
    MigrationNotCached => "migration-not-cached",
    /// Migration entries are moved, or a table with them, while the flush of what they were is owed: the old
    /// addresses are still used, and a walker that keeps descriptors by where they are finds an old one at
    /// the new addresses.
    RemapWithOwed => "remap-with-owed",
    /// A folio is moved though somebody holds it.
    MigrateHeld => "migrate-held",
    /// A folio that was moved does not know any more that it was written.
    MigrateForgetsDirt => "migrate-forgets-dirt",
    /// A long pin stays in memory that is kept for what moves.
    LongtermStays => "longterm-stays",
    /// What a long pin has had moved is pinned where it is then: others may have brought it back meanwhile.
    LongtermOnce => "longterm-once",
    /// A long pin to read stays on the zeros that everybody shares: what the program writes goes to another
    /// page (2022).
    LongtermZeros => "longterm-zeros",
    /// A table takes the place of a huge migration entry that may still be cached.
    SplitMigrationUnflushed => "split-migration-unflushed",
    /// Small entries become migration entries as they were read, without what hardware recorded until
    /// they were exchanged.
    TakeOutPreread => "take-out-preread",
    /// Where a pin keeps a mapping it comes back as it was before it was exchanged.
    TakeOutRestoresPreread => "take-out-restores-preread",
    /// What a pin keeps of a contiguous set comes back page by page, and the set may still be cached.
    TakeOutRestoresUnflushed => "take-out-restores-unflushed",
    /// Exclusive pages become shared though they are pinned.
    TakeOutPinned => "take-out-pinned",
    /// A folio is not told that its mappings were written, and they come back clean.
    TakeOutForgetsDirt => "take-out-forgets-dirt",
    /// The walk ends with the first huge entry that it has split (2026).
    WalkStopsEarly => "walk-stops-early",
    /// The walk believes what it sees without the lock: an entry that is just being split is none (2014).
    WalkPeeks => "walk-peeks",
    /// The walk claims nothing: mappings move around it (2011).
    WalkUnclaimed => "walk-unclaimed",
    /// The walk visits children before their parents: a fork copies around it.
    WalkChildrenFirst => "walk-children-first",
    /// Of a row of small entries the first one's change is made visible, and then the others are changed and
    /// pins of all looked for.
    RowFencedFirst => "row-fenced-first",
    /// Mappings come back writable, and their pages are not said to be exclusive.
    PutBackShared => "put-back-shared",
    /// A folio is split though somebody holds it.
    SplitHeld => "split-held",
    /// A new head does not say who maps it.
    SplitForgetsOwner => "split-forgets-owner",
    /// A new head's owner is written after its references (2018).
    SplitOwnerLate => "split-owner-late",
    /// A new head is there before its flags: it seems unlocked (2026).
    SplitFlagsLate => "split-flags-late",
    /// The old head gets its references before its tails have heads of their own.
    SplitHeadFirst => "split-head-first",
    /// A folio is freed, and stays on the list of those that are to be split.
    DeferredForgotten => "deferred-forgotten",
    /// A folio is put on that list by somebody who holds no reference to it.
    DeferredUnheld => "deferred-unheld",

    // Faults and contiguous sets.
    /// A change of the contiguous mark overwrites live entries: not cleared, not flushed.
    ContNoBreak => "cont-no-break",
    /// Unfolding a contiguous set leaves each entry its own history, and forgets what was recorded in its
    /// neighbours.
    ContOwnHistory => "cont-own-history",
    /// Whether an access needs an entry updated is judged by the history of its whole set: on a CPU
    /// that records no history itself, the fault of a member that lacks it comes for ever (2026).
    ContGatheredNoop => "cont-gathered-noop",
    /// An entry that hardware may be writing to is changed by a load and a store: what hardware
    /// recorded in between is lost (2016).
    UpdateNotAtomic => "update-not-atomic",
    /// A mapping is replaced by one of other memory without a flush between them.
    ReplaceNoFlush => "replace-no-flush",
    /// A mapping is overwritten by one of other memory, and flushed afterwards.
    ReplaceSetBeforeFlush => "replace-set-before-flush",
    /// A read marks the page that it touches dirty (2017: dirt was taken for proof of a copy made).
    DirtyOnRead => "dirty-on-read",
    /// The huge page of zeros is mapped like memory that somebody counts (2026).
    HugeZeroNotSpecial => "huge-zero-not-special",
    /// A write to a page that others have too goes to it in place (2020).
    CowReuseShared => "cow-reuse-shared",

    // --- a gather that is full -------------------------------------------------------------------
    /// Clearing entries fills a gather that does not know yet where they were: what it frees when it
    /// flushes in between is still cached.
    ZapFillsUntold => "zap-fills-untold",
    /// Reclaim may read that a page was given up before it reads that nobody holds it: a write through a
    /// hold that ends in between is lost.
    LazyMarkFirst => "lazy-mark-first",
    /// Mappings come back to a folio of which some were unmapped meanwhile, and nobody remembers it.
    ThawForgetsPartial => "thaw-forgets-partial",
    /// Populating takes a page for done that somebody else has mapped meanwhile, for reading perhaps.
    PopulatePassesOver => "populate-passes-over",
    /// A fault that lacks memory leaves alone what programs have given up.
    FaultKeepsLazy => "fault-keeps-lazy",
    /// When a PMD goes, and with it the last that mapped a folio whole, it counts as one for too long: what
    /// the others map in part is not remembered.
    PmdUncountedLate => "pmd-uncounted-late",
    /// A gather of huge entries and small ones hints at one of the two levels.
    GatherOneLevel => "gather-one-level",
    /// Entries that hardware may write to are changed by plain stores, many at a time.
    RewriteNotAtomic => "rewrite-not-atomic",
    /// MADV_FREE takes what is left of a folio that is mapped in part for a whole one.
    LazyPart => "lazy-part",

    // --- collapse --------------------------------------------------------------------------------
    /// The table that a collapse has unlinked is used for something else while lockless walkers are in it.
    CollapseNoGrace => "collapse-no-grace",
    /// A collapse flushes one block and says so: pages and walks stay cached.
    CollapseLevelHint => "collapse-level-hint",
    /// A collapse looks for pins and then takes the table out (2022).
    CollapsePinsFirst => "collapse-pins-first",
    /// A collapse copies pages that somebody holds.
    CollapseHeld => "collapse-held",
    /// The table that a collapse has unlinked is put aside before walkers have left it.
    CollapseDepositEarly => "collapse-deposit-early",
    /// A collapse leaves what it finds in its new memory where there were no pages.
    CollapseHolesLeft => "collapse-holes-left",
    /// Faults go on in the block while a collapse takes its table out.
    CollapseUnexcluded => "collapse-unexcluded",
    /// A huge folio whose pages others have too is mapped writable when its 512 entries become one.
    CollapseOwnsShared => "collapse-owns-shared",
    /// Pages of other folios among those of a huge folio are overlooked when its entries become one.
    CollapseOverlooksPages => "collapse-overlooks-pages",
    /// Of the 512 entries that become one only the first one's history is kept.
    CollapseFirstHistory => "collapse-first-history",
    /// The entries that were replaced by one stay counted.
    CollapseKeepsMappings => "collapse-keeps-mappings",
    /// An exit takes a space apart that the background is at work in.
    ExitForgetsGuests => "exit-forgets-guests",
    /// A collapse that is given up does not put the table back.
    CollapseForgetsTable => "collapse-forgets-table",
    /// A collapse makes the new mapping before it has copied the content.
    CollapseCopiesLate => "collapse-copies-late",

    // Rules that one of the above breaks too late, or not alone.
    /// fork maps a page once more and leaves it exclusive: the first one who writes again writes to both
    /// (2020).
    ForkKeepsExclusive => "fork-keeps-exclusive",
    /// GUP-fast that finds the entry changed keeps the reference that it took.
    GupKeepsFailed => "gup-keeps-failed",
    /// A member of a contiguous set is changed or taken out, and the others keep the mark.
    ContCutWhole => "cont-cut-whole",
    /// The contiguous mark of an entry that is not valid is believed (2025).
    ContMarkTrusted => "cont-mark-trusted",
    /// The flush of a block says that it was a page: a CPU that reads the hint removes nothing (2020).
    HintTooDeep => "hint-too-deep",
    /// Of the CPUs that keep a number across a roll-over only the first is told its new generation.
    RolloverFirstReserved => "rollover-first-reserved",

    // Flushes that say too little, too early or too late.
    /// A CPU drops what it has of the last generation only after it has begun to walk under a number of the
    /// new one.
    RolloverFlushLate => "rollover-flush-late",
    /// Where a mapping is replaced the flush comes first, and then the entry is cleared.
    ReplaceFlushFirst => "replace-flush-first",
    /// The flush of one leaf reaches the CPU that changed it, and no other.
    LeafFlushLocal => "leaf-flush-local",
    /// What is too much to be named page by page is dropped on the own CPU only.
    FullFlushLocal => "full-flush-local",
    /// A flush of several leaves leaves out the last.
    RangeOneShort => "range-one-short",
    /// A flush by ranges names them in units that are one size too small.
    RangeUnitSmall => "range-unit-small",
    /// Unlinked tables are freed, and then invalidated (2018).
    TablesBeforeFlush => "tables-before-flush",
    /// Of what an unlinked table served only the first page is flushed (2018).
    SubtreeInPart => "subtree-in-part",
    /// fork lets faults in before it has flushed: who writes through an old translation writes to a page that
    /// was copied already.
    ForkFlushLate => "fork-flush-late",
    /// When a contiguous set is marked or unmarked one of its entries is flushed.
    ContFlushOne => "cont-flush-one",

    /// On a CPU whose barrier ends before what it waits for nobody repeats it (erratum, 2025).
    TlbiNotRepeated => "tlbi-not-repeated",
    /// A flush does not synchronise its own CPU's context: what the CPU has worked out ahead of its program
    /// goes by what was flushed.
    FlushNoIsb => "flush-no-isb",
    /// A CPU that comes back, after a time in which it heard no TLBI, runs spaces with the TLB of before.
    CpuJoinsStale => "cpu-joins-stale",

    // Who must be held off, and who must be asked.
    /// Whether others have a page is judged by its mappings: of somebody whose mapping is just being moved,
    /// or who holds it without one, nothing is known (2020).
    CowCountsMaps => "cow-counts-maps",
    /// mremap lets faults and walks into the range that it moves from (2022).
    RemapUnexcluded => "remap-unexcluded",
    /// Tables that are put aside for huge entries lie in one place for all: whoever frees one PMD table takes
    /// the others' along.
    DepositsShared => "deposits-shared",

    // Free blocks out of fragmented memory.
    /// Compaction keeps the pages that it took to move to and did not need.
    CompactKeepsRest => "compact-keeps-rest",
    /// Compaction leaves the page blocks that it emptied isolated: free, and given to nobody.
    CompactLeavesIsolated => "compact-leaves-isolated",
    /// Kernel addresses that were given back are handed out again before they are flushed.
    VmallocReuseUnflushed => "vmalloc-reuse-unflushed",
    /// A kernel mapping is handed out before this CPU's context is synchronised.
    VmallocUnsynchronized => "vmalloc-unsynchronized",
    /// Which flushes are to come is asked before a kernel mapping is cleared.
    VmallocTaggedEarly => "vmalloc-tagged-early",
    /// A purge flushes ranges without the last page of each.
    PurgeOneShort => "purge-one-short",

    // --- blocks of kernel addresses --------------------------------------------------------------
    /// The alias flush goes through the blocks that have room: what came back to one that is used up stays
    /// cached (2023).
    VmapFullBlockForgotten => "vmap-full-block-forgotten",
    /// A purged block leaves the queue of the CPU that its address falls to, and stays in its owner's (2024).
    VmapOwnerBySlot => "vmap-owner-by-slot",
    /// A block is found before it is written whose it is (2024).
    VmapOwnerLate => "vmap-owner-late",
    /// The alias flush takes what is dirty and flushes it after others may have found that there is nothing:
    /// they return before it has.
    VmapFlushOvertaken => "vmap-flush-overtaken",
    /// What is dirty in a block is not forgotten when it is flushed, and flushed again by each call (2023).
    VmapRangeKept => "vmap-range-kept",
    /// A block that is all dirty is free at once, with translations of what came back last.
    VmapReuseUnflushed => "vmap-reuse-unflushed",
    /// Each alias flush purges every block that nobody uses, however much of it is free (2023).
    VmapPurgesAll => "vmap-purges-all",
    /// A block that is given up is found no more before it is lazy: an alias flush in between passes it by.
    VmapBlockInLimbo => "vmap-block-in-limbo",

    // --- kernel mappings: device blocks and dumps ------------------------------------------------
    /// Where a huge device mapping takes the place of kernel tables these are freed, and then flushed (2018).
    IoremapFreeFirst => "ioremap-free-first",
    /// Walks of kernel tables are invalidated under one ASID: those that were cached while another ran stay.
    IoremapOneAsid => "ioremap-one-asid",
    /// One operation is to do for all tables that a huge device mapping takes out.
    IoremapOneOperation => "ioremap-one-operation",
    /// A device mapping is used before this CPU's context is synchronised with it.
    IoremapNoIsb => "ioremap-no-isb",
    /// Kernel tables are freed under lockless walkers (2026).
    IoremapNoGrace => "ioremap-no-grace",
    /// A dump of tables holds nobody off from freeing them (2026).
    DumpUnprotected => "dump-unprotected",

    // --- rights of the kernel's own memory --------------------------------------------------------
    /// Memory whose rights were changed goes back, and of its addresses in the linear map the last page is not
    /// flushed (2023).
    VmapHullShort => "vmap-hull-short",
    /// The linear map cannot give a frame other rights, and nobody hears of it: memory that is read-only can be
    /// written by its other address.
    AliasErrorDropped => "alias-error-dropped",
    /// A block of the linear map becomes a table in use, on CPUs that must not have both sizes.
    LinearSplitInUse => "linear-split-in-use",
    /// A block that nobody uses becomes a table of pages, and the block is not flushed before.
    PartUnflushed => "part-unflushed",
    /// A table of the linear map becomes a block again: its pages are flushed, the walk to it is not.
    JoinKeepsWalk => "join-keeps-walk",
    /// What was written is executed without maintenance of the caches: what is fetched is what was there before.
    ExecStaleIcache => "exec-stale-icache",

    // --- kernel entries that are shown together ---------------------------------------------------
    /// A function on a range of kernel pages fails, and the scope of its barriers stays open: neither what it has mapped
    /// nor what its CPU maps later is visible (2025).
    KernelMapUnsynced => "kernel-map-unsynced",
    /// What an interrupt maps is left to the scope of the thread that it came upon, and used before that ends (2025).
    BarriersLeftToInterrupted => "barriers-left-to-interrupted",
    /// A function on a range of kernel pages fails, and the tables that it has linked are not brought to the spaces'
    /// copies of the kernel's upper tables.
    KernelSyncSkipsError => "kernel-sync-skips-error",
    /// Of which levels a walk of the kernel's half has linked an entry is not remembered, and no copy gets it (2020).
    KernelSyncUntracked => "kernel-sync-untracked",
    /// Who finds a kernel table that another has just linked takes it for granted that all copies lead there.
    KernelSyncOvertaken => "kernel-sync-overtaken",
    /// Bare frames are mapped without a look whether the allocator has them.
    VmapPfnManaged => "vmap-pfn-managed",
}

/// Which bug is armed in one memory manager.
pub(crate) struct Armed {
    #[cfg(any(feature = "mutants", loom))]
    which: core::sync::atomic::AtomicU8,
    /// What [`Mutant::DepositsShared`] shares.
    #[cfg(any(feature = "mutants", loom))]
    deposits: AtomicU32,
    /// What [`Mutant::BarriersLeftToInterrupted`] and [`Mutant::KernelMapUnsynced`] go by.
    #[cfg(any(feature = "mutants", loom))]
    scopes: [core::sync::atomic::AtomicI32; abi::MAX_CPUS],
}

impl Armed {
    pub(crate) fn none() -> Self {
        Self {
            #[cfg(any(feature = "mutants", loom))]
            which: core::sync::atomic::AtomicU8::new(u8::MAX),
            #[cfg(any(feature = "mutants", loom))]
            deposits: AtomicU32::new(crate::frame::NIL),
            #[cfg(any(feature = "mutants", loom))]
            scopes: [const { core::sync::atomic::AtomicI32::new(0) }; abi::MAX_CPUS],
        }
    }

    #[cfg(any(feature = "mutants", loom))]
    pub(crate) fn arm(&self, mutant: Option<Mutant>) {
        let which = mutant.map_or(u8::MAX, |m| m as u8);
        self.which.store(which, core::sync::atomic::Ordering::SeqCst);
    }

    #[inline(always)]
    #[cfg(any(feature = "mutants", loom))]
    pub(crate) fn is_armed(&self, mutant: Mutant) -> bool {
        self.which.load(core::sync::atomic::Ordering::Relaxed) == mutant as u8
    }

    /// Where known bugs count the scopes of barriers that are open on `cpu`.
    pub(crate) const fn scopes(&self, cpu: abi::CpuId) -> Option<&core::sync::atomic::AtomicI32> {
        #[cfg(any(feature = "mutants", loom))]
        return Some(&self.scopes[cpu.index()]);
        #[cfg(not(any(feature = "mutants", loom)))]
        {
            let _ = cpu;
            None
        }
    }

    /// Where a known bug keeps all deposited tables.
    pub(crate) const fn deposits(&self) -> Option<&AtomicU32> {
        #[cfg(any(feature = "mutants", loom))]
        return Some(&self.deposits);
        #[cfg(not(any(feature = "mutants", loom)))]
        None
    }

    #[inline(always)]
    #[cfg(not(any(feature = "mutants", loom)))]
    pub(crate) const fn is_armed(&self, mutant: Mutant) -> bool {
        let _ = mutant;
        false
    }
}
