//! Which workload each known bug lives in.

use mm::mutant::Mutant;

/// The workload that commits `mutant` and gives it the best chance to be seen. What only another order of
/// memory accesses shows is hidden from every workload; for those there is the explorer.
#[rustfmt::skip]
pub const fn habitat(mutant: Mutant) -> &'static str {
    use Mutant::*;
    match mutant {
        UnmapNoTlbi | UnmapLocalTlbi | FreeBeforeFlush | NoPublish | NoComplete | TablesLastLevel |
        WrongAsid | AsidBeforeClear | LinkBeforeZero | CpuNotedLate |
        TlbiNotRepeated | FlushNoIsb | FirstCpuOnly | RangeOneShort | TablesBeforeFlush | SubtreeInPart => "unmap-shootdown",
        NoGrace | GupNoRecheck | GupNoEpoch | GupProtNone | GupSpecial | GupNoTableRecheck |
        RefsUnlimited | GupUnfenced | UnfreezeRelaxed | FreezeRelaxed |
        GupKeepsFailed => "gup-vs-unmap",
        RolloverNoFlush | RolloverForgetsActive | RolloverFirstReserved |
        RolloverFlushLate | CpuJoinsStale => "asid-rollover",
        SplitNoBreak | SplitPreread => "thp-split",
        ZapKeepsDeposit | DontneedFlushLate => "dontneed-race",
        ProtectNoFlush | ProtectThroughNone | ProtectDropsDirty | ProtectWritableShared |
        ProtectKeepsMigrationWrite => "mprotect-shootdown",
        RemapNoFlush | RemapFlushLate | RemapClaimable | RemapLeavesDeposit |
        RemapUnexcluded | DepositsShared => "mremap",
        ForkNoFlush | ForkKeepsWritable | ForkDropsDirty | ForkKeepsMigrationWrite |
        WriteAroundShared | HoldForgetsWrite | ReplaceNoFlush | ReplaceSetBeforeFlush |
        CowReuseShared | ForkKeepsExclusive | ReplaceFlushFirst | CowCountsMaps => "cow",
        LeafFlushLocal => "fault-4k",
        ForkIgnoresPins | ForkIgnoresHugePins | ForkNoSequence | PinShared | PinDuringFork |
        PinForgetsFork | PinUnnoted | ShareUnfenced | WindowFencedFirst => "gup-vs-fork",
        GupTrustsPresent | GupNoHeadRecheck => "gup-vs-split",
        SplitMigrationMkinvalid | SplitCountsMigration |
        SplitMisreadsMigration => "split-migration",
        TakeOutFlushLate | MigrationNotCached | MigrateForgetsDirt | RowFencedFirst => "migrate-pte",
        SplitMigrationUnflushed => "split-vs-migrate",
        MigrateHeld | TakeOutRestoresUnflushed => "gup-vs-migrate",
        LongtermStays | LongtermOnce | LongtermZeros => "pin-longterm",
        OwedFirstOnly => "migrate-vs-fork",
        RemapWithOwed => "mremap-vs-migrate",
        SplitKeepsMapping | TakeOutNoFlush | TakeOutPreread | TakeOutRestoresPreread |
        TakeOutPinned | TakeOutForgetsDirt | PutBackShared | SplitHeld |
        SplitForgetsOwner | SplitOwnerLate | SplitFlagsLate | SplitHeadFirst => "folio-split",
        WalkStopsEarly | WalkPeeks | WalkUnclaimed | WalkChildrenFirst | DeferredForgotten |
        DeferredUnheld => "deferred-split",
        CompactKeepsRest | CompactLeavesIsolated => "compact",
        ContNoBreak | ContOwnHistory | ContGatheredNoop | ContCutWhole |
        ContMarkTrusted | ContFlushOne | ForkFlushLate => "contpte",
        CollapseNoGrace | CollapseLevelHint | CollapseHolesLeft | CollapseUnexcluded |
        CollapseOverlooksPages | CollapseFirstHistory | CollapseKeepsMappings |
        CollapseForgetsTable | CollapseCopiesLate | ExitForgetsGuests => "thp-collapse",
        CollapsePinsFirst | CollapseHeld | CollapseDepositEarly => "gup-vs-collapse",
        VmapHullShort | AliasErrorDropped | LinearSplitInUse | ExecStaleIcache |
        PartUnflushed | JoinKeepsWalk => "perm-flip",
        VmallocReuseUnflushed | VmallocUnsynchronized | VmallocTaggedEarly | PurgeOneShort |
        VmapFullBlockForgotten | VmapOwnerBySlot | VmapOwnerLate | VmapFlushOvertaken | VmapReuseUnflushed |
        VmapRangeKept | VmapPurgesAll | VmapBlockInLimbo => "alias",
        KernelMapUnsynced | BarriersLeftToInterrupted | KernelSyncSkipsError | KernelSyncUntracked |
        KernelSyncOvertaken | VmapPfnManaged => "vmap-sync",
        DirtyOnRead | HugeZeroNotSpecial => "thp-fault",
        IoremapFreeFirst | IoremapOneAsid | IoremapOneOperation | IoremapNoIsb => "ioremap-huge",
        IoremapNoGrace | DumpUnprotected => "ptdump-race",
        // Every change of user memory that there is, at once.
        _ => "chaos",
    }
}
