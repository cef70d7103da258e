//! The workloads, one file each.

mod alias;
mod asid_rollover;
mod budget;
mod chaos;
mod compact;
mod contpte;
mod cow;
mod deferred_split;
mod device;
mod dontneed_race;
mod fault;
mod field;
mod folio_split;
mod gup_vs_collapse;
mod gup_vs_fork;
mod gup_vs_migrate;
mod gup_vs_split;
mod gup_vs_unmap;
mod hoard;
mod ioremap_huge;
mod ledger;
mod migrate_pmd;
mod migrate_pte;
mod migrate_vs_fork;
mod move_pages;
mod mprotect_shootdown;
mod mremap;
mod mremap_vs_migrate;
mod notice;
mod oom;
mod parcel;
mod perm_flip;
mod pin_longterm;
mod ptdump_race;
mod shared;
mod snapshot;
mod split_migration;
mod split_vs_migrate;
mod test_vmalloc;
mod thp_collapse;
mod thp_split;
mod unmap_shootdown;
mod vmap_sync;

use crate::run::{Failure, Run};
use crate::world::World;
use abi::{Event, Event::*, Order};
use alloc::vec::Vec;
use mm::OutOfMemory;

/// What a workload does; it has the second argument called now and then while CPUs work.
pub type Work<W> = fn(&Run<'_, W>, &mut dyn FnMut()) -> Result<(), Failure>;

/// A workload by name.
pub struct Workload<W: World> {
    /// What the user types.
    pub name: &'static str,
    /// What it does, in a line.
    pub about: &'static str,
    /// What must happen on the way: without, it has shown nothing.
    pub shows: &'static [Event],
    /// Does it.
    pub run: Work<W>,
}

/// `n` of something, by number, if there is room for them.
fn list_of<T>(n: u64, make: impl FnMut(u64) -> Result<T, Failure>) -> Result<Vec<T>, Failure> {
    let mut list = Vec::new();
    let failed = OutOfMemory { order: Order::PAGE };
    list.try_reserve_exact(n as usize).map_err(|_| Failure::Memory(failed))?;
    for made in (0..n).map(make) {
        list.push(made?);
    }
    Ok(list)
}

/// How many there are.
pub const COUNT: usize = 43;

/// Every workload, in the order in which `stress all` runs them.
pub const fn all<W: World>() -> [Workload<W>; COUNT] {
    [
        Workload {
            name: "fault-4k",
            about: "touch, verify and unmap 4 KiB pages in one space on all CPUs",
            shows: &[ZeroMap, CowCopy, PgFaultDenied, PgTableFree],
            run: fault::small,
        },
        Workload {
            name: "thp-fault",
            about: "touch huge pages, unmap parts of them, verify the rest",
            shows: &[ThpFaultAlloc, ThpSplitPmd],
            run: fault::huge,
        },
        Workload {
            name: "thp-split",
            about: "split huge entries under writers, readers and walkers",
            shows: &[ThpFaultAlloc, ThpSplitPmd],
            run: thp_split::run,
        },
        Workload {
            name: "folio-split",
            about: "split huge folios into smaller ones under writers and readers",
            shows: &[ThpSplitPage],
            run: folio_split::run,
        },
        Workload {
            name: "split-migration",
            about: "split migration entries while lockless readers look at them",
            shows: &[ThpSplitPmd],
            run: split_migration::run,
        },
        Workload {
            name: "deferred-split",
            about: "get back what partly unmapped huge pages hold, while others unmap more",
            shows: &[ThpDeferredSplit, ThpSplitPage],
            run: deferred_split::run,
        },
        Workload {
            name: "compact",
            about: "make huge blocks out of fragmented memory while all CPUs use it",
            shows: &[CompactBlock, PgMigrated],
            run: compact::run,
        },
        Workload {
            name: "thp-collapse",
            about: "make huge pages of small ones under writers and readers",
            shows: &[ThpCollapse, ThpCollapseInPlace],
            run: thp_collapse::run,
        },
        Workload {
            name: "contpte",
            about: "change single pages of contiguous sets that others use",
            shows: &[Anon64kAlloc, ContUnfold, CowReuse, CowCopy],
            run: contpte::run,
        },
        Workload {
            name: "unmap-shootdown",
            about: "one CPU unmaps and reuses frames while others read through the same space",
            shows: &[TlbGather, PgTableFree],
            run: unmap_shootdown::run,
        },
        Workload {
            name: "dontneed-race",
            about: "all CPUs throw the same memory away, and none may see it afterwards",
            shows: &[ThpFaultAlloc, TlbGather],
            run: dontneed_race::run,
        },
        Workload {
            name: "mprotect-shootdown",
            about: "take rights away while all CPUs write",
            shows: &[PgFaultDenied, ThpFaultAlloc, ThpSplitPmd],
            run: mprotect_shootdown::run,
        },
        Workload {
            name: "mremap",
            about: "move memory about while others read it, and where it was",
            shows: &[PgFaultDenied, ThpFaultAlloc, ThpSplitPmd],
            run: mremap::run,
        },
        Workload {
            name: "cow",
            about: "fork one space on all CPUs, and write to it and to the copies",
            shows: &[ThpSplitPmd, CowCopy, CowReuse],
            run: cow::run,
        },
        Workload {
            name: "gup-vs-unmap",
            about: "lockless references to pages that another CPU unmaps",
            shows: &[GupFast],
            run: gup_vs_unmap::run,
        },
        Workload {
            name: "gup-vs-split",
            about: "references and pins, of huge pages that are split meanwhile",
            shows: &[GupFast, PinAcquired, ThpSplitPmd, ThpSplitPage],
            run: gup_vs_split::run,
        },
        Workload {
            name: "gup-vs-collapse",
            about: "references and pins, of pages that are made huge pages meanwhile",
            shows: &[GupFast, PinAcquired, ThpCollapse, ThpCollapseInPlace],
            run: gup_vs_collapse::run,
        },
        Workload {
            name: "gup-vs-fork",
            about: "pins of pages that are being shared by forks",
            shows: &[GupFast, PinAcquired, CowReuse, PgCopy],
            run: gup_vs_fork::run,
        },
        Workload {
            name: "migrate-pte",
            about: "move small pages and contiguous sets to other frames under writers and readers",
            shows: &[Anon64kAlloc, PgMigrated, MigrationWait],
            run: migrate_pte::run,
        },
        Workload {
            name: "migrate-pmd",
            about: "move huge pages to other frames, whole, under writers and readers",
            shows: &[ThpFaultAlloc, PgMigrated, MigrationWait],
            run: migrate_pmd::run,
        },
        Workload {
            name: "move-pages",
            about: "move batches of addresses, with holes, zeros and twins, and check each answer",
            shows: &[ThpFaultAlloc, ZeroMap, ThpSplitPage, PgMigrated],
            run: move_pages::run,
        },
        Workload {
            name: "split-vs-migrate",
            about: "split huge pages that are being moved, while lockless readers walk there",
            shows: &[ThpFaultAlloc, ThpSplitPmd, PgMigrated, GupFast],
            run: split_vs_migrate::run,
        },
        Workload {
            name: "gup-vs-migrate",
            about: "references and pins keep pages in place that everybody tries to move",
            shows: &[GupFast, PinAcquired, PgMigrated],
            run: gup_vs_migrate::run,
        },
        Workload {
            name: "pin-longterm",
            about: "pins that outlast everything that moves, shares or throws away what is pinned",
            shows: &[PinAcquired, PgMigrated, CowCopy],
            run: pin_longterm::run,
        },
        Workload {
            name: "migrate-vs-fork",
            about: "move pages that forks are sharing, and the families that share them",
            shows: &[PgMigrated, CowCopy, CowReuse],
            run: migrate_vs_fork::run,
        },
        Workload {
            name: "mremap-vs-migrate",
            about: "move memory from address to address and from frame to frame at once",
            shows: &[ThpFaultAlloc, ThpSplitPmd, PgMigrated],
            run: mremap_vs_migrate::run,
        },
        Workload {
            name: "asid-rollover",
            about: "more spaces than ASIDs, each must see its own memory",
            shows: &[AsidRollover],
            run: asid_rollover::run,
        },
        Workload {
            name: "alias",
            about: "map frames at kernel addresses, flush, and give them to others who must not see it",
            shows: &[PgAlloc, PgFree],
            run: alias::run,
        },
        Workload {
            name: "fix_size_alloc",
            about: "kernel mappings of a page come and go",
            shows: &[PgAlloc, PgFree],
            run: test_vmalloc::fix_size,
        },
        Workload {
            name: "full_fit_alloc",
            about: "kernel mappings of a page, where each gap has just their size",
            shows: &[PgAlloc, PgFree],
            run: test_vmalloc::full_fit,
        },
        Workload {
            name: "long_busy_list_alloc",
            about: "kernel mappings beside thousands of others",
            shows: &[PgAlloc, PgFree],
            run: test_vmalloc::long_busy_list,
        },
        Workload {
            name: "random_size_alloc",
            about: "kernel mappings of 1 to 100 pages",
            shows: &[PgAlloc, PgFree],
            run: test_vmalloc::random_size,
        },
        Workload {
            name: "fix_align_alloc",
            about: "kernel mappings at multiples of 32 KiB",
            shows: &[PgAlloc, PgFree],
            run: test_vmalloc::fix_align,
        },
        Workload {
            name: "random_size_align_alloc",
            about: "kernel mappings of any small size at any alignment",
            shows: &[PgAlloc, PgFree],
            run: test_vmalloc::random_size_align,
        },
        Workload {
            name: "align_shift_alloc",
            about: "a kernel mapping at every power of two; beyond the space there is none",
            shows: &[PgAlloc, PgFree],
            run: test_vmalloc::align_shift,
        },
        Workload {
            name: "pcpu_alloc",
            about: "kernel mappings with a share for each CPU",
            shows: &[PgAlloc, PgFree],
            run: test_vmalloc::pcpu,
        },
        Workload {
            name: "vm_map_ram",
            about: "a page at a kernel address for a moment, again and again",
            shows: &[PgAlloc, PgFree],
            run: test_vmalloc::map_ram,
        },
        Workload {
            name: "ioremap-huge",
            about: "map devices by blocks where they were mapped by pages",
            shows: &[VmapTableFree],
            run: ioremap_huge::run,
        },
        Workload {
            name: "vmap-sync",
            about: "kernel mappings that are stored one by one and shown together, used here and elsewhere",
            shows: &[PgAlloc, PgFree],
            run: vmap_sync::run,
        },
        Workload {
            name: "ptdump-race",
            about: "dump trees that others take tables out of",
            shows: &[VmapTableFree, PgTableFree],
            run: ptdump_race::run,
        },
        Workload {
            name: "perm-flip",
            about: "kernel memory becomes read-only, code, nothing, while others try what they can do",
            shows: &[PgAlloc, PgFree],
            run: perm_flip::run,
        },
        Workload {
            name: "oom",
            about: "use up all memory, be refused cleanly, give it back, again",
            shows: &[AllocFail],
            run: oom::run,
        },
        Workload {
            name: "chaos",
            about: "all of it at once on shared spaces, with memory running short",
            shows: &[
                AllocFail,
                ThpFaultAlloc,
                ThpSplitPmd,
                ThpSplitPage,
                CowCopy,
                CowReuse,
                GupFast,
                PinAcquired,
                PgLazyFreed,
                PgMigrated,
            ],
            run: chaos::run,
        },
    ]
}
