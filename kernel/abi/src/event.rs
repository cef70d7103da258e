//! The counters. Where Linux counts the same thing, the printed name is Linux's, so that graphs
//! and scripts made for `/proc/vmstat` read ours.

macro_rules! events {
    ($($(#[$doc:meta])* $variant:ident => $name:literal,)*) => {
        /// Something worth counting. One slot of a per-CPU array each.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        #[repr(u8)]
        pub enum Event { $($(#[$doc])* $variant,)* }

        impl Event {
            /// Every event, in printing order.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];
            /// How many there are.
            pub const COUNT: usize = Self::ALL.len();

            /// The events that this one is part of: they are counted once, and each of their parts shows
            /// them.
            pub const fn wholes(self) -> &'static [Self] {
                match self {
                    Self::DsbPublish | Self::TlbiVaLast | Self::DsbComplete => {
                        &[Self::FlushPage, Self::FlushPageLocal]
                    }
                    Self::TlbiLocal => &[Self::FlushPageLocal],
                    _ => &[],
                }
            }

            /// The name that `vmstat` prints.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }
        }
    };
}

events! {
    /// Pages handed out by the page allocator, counted in 4 KiB.
    PgAlloc => "pgalloc",
    /// Pages given back to the page allocator, counted in 4 KiB.
    PgFree => "pgfree",
    /// Allocations that found no memory.
    AllocFail => "allocfail",
    /// Pages cleared, counted in 4 KiB.
    PgClear => "pgclear",
    /// Pages copied, counted in 4 KiB.
    PgCopy => "pgcopy",
    /// Page faults of any kind.
    PgFault => "pgfault",
    /// Faults that found the entry already right (a stale walk or a lost race).
    PgFaultSpurious => "pgfault_spurious",
    /// Faults that no mapping permits.
    PgFaultDenied => "pgfault_denied",
    /// THPs given by a fault.
    ThpFaultAlloc => "thp_fault_alloc",
    /// Allocations that compacted memory themselves.
    CompactStall => "compact_stall",
    /// Of those, the ones that made no block.
    CompactFail => "compact_fail",
    /// Of those, the ones that made one.
    CompactSuccess => "compact_success",
    /// Times that the thread in the background compacted memory.
    CompactDaemonWake => "compact_daemon_wake",
    /// Free 2 MiB blocks that compaction has made.
    CompactBlock => "compact_block",
    /// Faults that wanted a THP and got small pages.
    ThpFaultFallback => "thp_fault_fallback",
    /// Huge PMDs split into PTEs.
    ThpSplitPmd => "thp_split_pmd",
    /// Huge PMDs of zeros split into PTEs.
    ThpSplitZeroPmd => "thp_split_zero_page_pmd",
    /// Large folios split into smaller ones.
    ThpSplitPage => "thp_split_page",
    /// Large folios that could not be split.
    ThpSplitPageFailed => "thp_split_page_failed",
    /// Large folios found partly mapped, and remembered for splitting.
    ThpDeferredSplit => "thp_deferred_split_page",
    /// Huge folios made for a collapse.
    ThpCollapseAlloc => "thp_collapse_alloc",
    /// Collapses for which there was no huge folio.
    ThpCollapseAllocFailed => "thp_collapse_alloc_failed",
    /// Blocks whose pages were copied to one huge folio.
    ThpCollapse => "thp_collapse",
    /// Blocks whose pages were those of one huge folio, and got one entry.
    ThpCollapseInPlace => "thp_collapse_in_place",
    /// Blocks that were not collapsed, for whatever reason.
    ThpCollapseFailed => "thp_collapse_failed",
    /// Entries that the background has looked at.
    ThpScanned => "thp_scan_entries",
    /// Blocks that the background left alone for their holes.
    ThpScanExceedNone => "thp_scan_exceed_none_pte",
    /// Blocks that the background left alone for what others have of them.
    ThpScanExceedShared => "thp_scan_exceed_share_pte",
    /// Table pages made, those that lost the race to be linked included.
    PgTableAlloc => "pgtable_alloc",
    /// Table pages freed.
    PgTableFree => "pgtable_free",
    /// Table pages of the kernel's half that blocks have taken the place of.
    VmapTableFree => "vmap_table_free",
    /// Flushes of gathers; one that clears more than it can hold flushes more than once.
    TlbGather => "tlb_gather_flush",
    /// Flushes of one leaf from all CPUs: a barrier, a TLBI and a barrier, which count besides.
    FlushPage => "tlb_flush_page",
    /// Flushes of one leaf from the issuing CPU alone, which had a stale copy or was the only one to run the
    /// space.
    #[doc(alias = "nr_tlb_local_flush_one")]
    FlushPageLocal => "tlb_flush_page_local",
    /// TLBI by VA, all levels.
    TlbiVa => "tlbi_va",
    /// TLBI by VA, last level only.
    TlbiVaLast => "tlbi_va_last",
    /// TLBI by range, either form.
    TlbiRange => "tlbi_range",
    /// TLBI of one ASID.
    TlbiAsid => "tlbi_asid",
    /// TLBI of everything.
    TlbiAll => "tlbi_all",
    /// TLBIs of any kind that stayed on the issuing CPU.
    TlbiLocal => "tlbi_local",
    /// Barriers that waited for the completion of TLBIs.
    DsbComplete => "dsb_complete",
    /// Barriers that made descriptor stores visible to walkers.
    DsbPublish => "dsb_publish",
    /// Waits for lockless walkers to leave tables about to be freed.
    WalkerGrace => "walker_grace",
    /// Switches of the user address space.
    SpaceSwitch => "space_switch",
    /// ASIDs given out.
    AsidAlloc => "asid_alloc",
    /// Pages that programs had given up, taken away.
    PgLazyFreed => "pglazyfreed",
    /// Times that the ASIDs ran out and a new generation began.
    AsidRollover => "asid_rollover",
    /// Pages referenced by the lockless walker.
    GupFast => "gup_fast_pages",
    /// Lockless walks that gave up because the entry changed under them.
    GupFastRetry => "gup_fast_changed",
    /// Faults resolved because the lockless walk found nothing to refer to.
    GupSlow => "gup_slow_pages",
    /// Pins taken, those that were given back at once included.
    PinAcquired => "nr_foll_pin_acquired",
    /// Pins given back.
    PinReleased => "nr_foll_pin_released",
    /// Huge zero pages made.
    ThpZeroPageAlloc => "thp_zero_page_alloc",
    /// Huge zero pages that there was no memory for.
    ThpZeroPageAllocFailed => "thp_zero_page_alloc_failed",
    /// 64 KiB folios given by a fault.
    #[doc(alias = "mTHP")]
    Anon64kAlloc => "anon_fault_alloc_64k",
    /// Faults that wanted 64 KiB and got less.
    Anon64kFallback => "anon_fault_fallback_64k",
    /// Faults answered with the shared page of zeros.
    ZeroMap => "zero_page_mapped",
    /// Writes to shared pages that found them shared no more.
    CowReuse => "cow_reuse",
    /// Writes to shared pages, the page of zeros included, that got a page of their own.
    CowCopy => "cow_copy",
    /// Pages moved to other frames, counted in 4 KiB.
    PgMigrated => "pgmigrate_success",
    /// Pages that were to be moved and could not be, counted in 4 KiB.
    PgMigrateFail => "pgmigrate_fail",
    /// Faults that waited for the end of a migration.
    MigrationWait => "pgmigrate_wait",
    /// Sixteen entries made one contiguous set after they were live.
    ContFold => "contpte_fold",
    /// Contiguous sets taken apart.
    ContUnfold => "contpte_unfold",
}
