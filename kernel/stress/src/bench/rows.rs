//! Every row, in printing order: the operations of the Linux baseline under its names and units, and
//! the bare work that some of the aims contain.
//!
//! To add an operation, write its function in `ops` and name it in its row with [`Row::by`], or with
//! [`Row::by_all`] where several CPUs may do it in one space, or with [`Row::by_series`] where how it grows with the
//! CPUs is what it is for. A row without any is known and not built yet.

use super::ops::{
    advise, bare, collapse, fault, fork, frames, gup, migrate, protect, split, test_vmalloc, unmap,
    vmalloc, vmalloc_counts,
};
use super::row::{Aim, Row};
use crate::world::World;

/// How many rows there are.
pub const COUNT: usize = 68;

/// The table.
#[rustfmt::skip]
pub const fn all<W: World>() -> [Row<W>; COUNT] {
    [
        // Bare work: no promise, but part of other rows' aims.
        Row::new("clear_4k", "page").by(bare::clear_small),
        Row::new("clear_64k", "64 KiB").by(bare::clear_run),
        Row::new("clear_2m", "2 MiB").by(bare::clear_huge),
        Row::new("copy_4k", "page").by(bare::copy_small),
        Row::new("copy_2m", "2 MiB").by(bare::copy_huge),

        // The page allocator, without clearing.
        Row::new("buddy_alloc_o0", "block").linux(616, 622).aim(Aim::of(40)).rounds(128).by(frames::alloc_small),
        Row::new("buddy_free_o0", "block").linux(276, 203).aim(Aim::of(40)).rounds(128).by(frames::free_small),
        Row::new("buddy_alloc_o9", "block").linux(4008, 2327).aim(Aim::of(200)).by(frames::alloc_huge),
        Row::new("buddy_free_o9", "block").linux(14_875, 9828).aim(Aim::of(200)).by(frames::free_huge),

        // Faults: a real exception, but for populate.
        Row::new("fault_4k", "page").linux(3108, 6008).aim(Aim::of(600)).by_all(fault::small),
        Row::new("populate_4k", "page").linux(3219, 4963).aim(Aim::of(350)).by_all(fault::populate),
        Row::new("fault_4k_read_zeropage", "page").linux(1162, 2778).aim(Aim::of(300)).by_all(fault::zeros),
        Row::new("fault_64k_mthp", "64 KiB").linux(8985, 31220).aim(Aim::beside("clear_64k", 1000)).by(fault::run)
            .excused("clearing 64 KiB by 64 bytes an instruction is two thirds of it"),
        Row::new("fault_2m", "THP").linux(162_794, 748_287).aim(Aim::beside("clear_2m", 1500)).by_all(fault::huge)
            .excused("clearing 2 MiB by 64 bytes an instruction is more than a third of Linux's fault"),

        // Taking away.
        Row::new("munmap_4k_1g", "page").linux(1090, 837).aim(Aim::of(100)).rounds(2).by_all(unmap::small_bulk),
        Row::new("munmap_2m_1g", "THP").linux(18_802, 17_306).aim(Aim::of(800)).rounds(2).by_all(unmap::huge_bulk),
        Row::new("munmap_1page", "call").linux(13_654, 22_773).aim(Aim::of(1200)).by_all(unmap::one_page),
        Row::new("mmap_touch_1page", "call").linux(11_912, 20_403).aim(Aim::of(1800)).by_all(unmap::map_and_touch),
        Row::new("dontneed_4k_bulk64m", "page").linux(1028, 786).aim(Aim::of(100)).by_all(advise::small_bulk),
        Row::new("dontneed_4k_single", "call").linux(3460, 6296).aim(Aim::of(500)).by_all(advise::small_single),
        Row::new("dontneed_2m_single", "call").linux(20_540, 23_439).aim(Aim::of(1000)).by_all(advise::huge_single),

        // Rights.
        Row::new("mprotect_4k_rw2ro", "page").linux(125, 64).aim(Aim::of(15)).by_all(protect::small_bulk),
        Row::new("mprotect_2m_rw2ro", "THP").linux(378, 1180).aim(Aim::of(100)).by_all(protect::huge_bulk),
        Row::new("mprotect_1page_vmasplit", "call").linux(12_097, 21_450).aim(Aim::of(1500)).by_all(protect::one_page),

        // Splitting, collapsing, moving.
        Row::new("split_pmd", "THP").linux(25_663, 15_803).aim(Aim::of(2500)).by_all(split::entry),
        Row::new("split_folio", "THP").linux(672_504, 797_661).aim(Aim::of(60_000)).by(split::folio),
        Row::new("collapse_512of512", "THP").linux(1_375_926, 1_451_303).aim(Aim::beside("copy_2m", 25_000)).by(collapse::pages)
            .short_by("512 small folios are looked at, copied and given back one by one"),
        Row::new("collapse_ptemapped_thp", "THP").linux(1_093_050, 1_095_254).aim(Aim::of(20_000)).by(collapse::whole),
        Row::new("migrate_4k", "page").linux(5090, 6772).aim(Aim::beside("copy_4k", 900)).by_all(migrate::small)
            .short_by("besides its copy no part of it is large: found, frozen, copied, named anew, thawed, counted"),
        Row::new("migrate_2m", "THP").linux(384_440, 284_850).aim(Aim::beside("copy_2m", 4000)).by_all(migrate::huge)
            .excused("copying 2 MiB by 64 bytes a turn is more than two thirds of Linux's migration"),
        Row::new("move_pages_4k", "page").linux(6244, 0).aim(Aim::beside("copy_4k", 1000)).by_all(migrate::small)
            .short_by("besides its copy no part of it is large: found, frozen, copied, named anew, thawed, counted"),

        // Copy-on-write and fork; the two large forks are less an empty one.
        Row::new("cow_4k", "page").linux(3708, 6932).aim(Aim::beside("copy_4k", 700)).by(fork::copy),
        Row::new("cow_reuse_4k", "page").linux(1243, 3500).aim(Aim::of(300)).by(fork::reuse),
        Row::new("cow_2m_first_write", "THP").linux(26_294, 34_944).aim(Aim::of(3500)).by(fork::huge_first_write),
        Row::new("fork_64m_4k", "page").linux(299, 253).aim(Aim::of(30)).by(fork::small_bulk),
        Row::new("fork_64m_2m", "THP").linux(1436, 2644).aim(Aim::of(200)).by(fork::huge_bulk),
        Row::new("fork_empty", "fork").linux(54_934, 229_098).aim(Aim::of(6000)).by(fork::empty),

        // References without locks.
        Row::new("gup_4k_b1", "page").linux(526, 550).aim(Aim::of(80)).by_all(gup::small_single)
            .excused("one call a page: the descent, the epoch and the fence are most of it"),
        Row::new("gup_4k_b16", "page").linux(187, 127).aim(Aim::of(20)).by_all(gup::small_few)
            .excused("exclusive loads and stores: a count, two looks and a check of the descriptor for each page"),
        Row::new("gup_4k_b512", "page").linux(165, 94).aim(Aim::of(12)).by_all(gup::small_many)
            .excused("exclusive loads and stores: a count, two looks and a check of the descriptor for each page"),
        Row::new("gup_2m_b1", "page").linux(439, 426).aim(Aim::of(60)).by_all(gup::huge_single)
            .excused("one call a page: the descent, the epoch and the fence are most of it"),
        Row::new("gup_2m_b512", "page").linux(10, 3).aim(Aim::tenths(15)).by_all(gup::huge_many),
        Row::new("pin_4k_b512", "page").linux(258, 156).aim(Aim::of(16)).by_all(gup::pin_small)
            .short_by("exclusive loads and stores: a count, two looks and a check of the descriptor for each page"),
        Row::new("unpin_4k_b512", "page").linux(126, 70).aim(Aim::of(10)).by_all(gup::unpin_small)
            .short_by("an exclusive load and store for each page, and its folio has to be found"),
        Row::new("unpin_2m_b512", "page").linux(11, 5).aim(Aim::tenths(5)).by_all(gup::unpin_huge),

        // The kernel's own mappings. Of what a purge or a table costs now and then, many rounds have the same share.
        Row::new("vmalloc_4k", "area").of("vmalloc").linux(2881, 3533).aim(Aim::of(500)).by_all(vmalloc::alloc_small),
        Row::new("vfree_4k", "area").of("vmalloc").linux(2205, 2848).aim(Aim::of(300)).by_all(vmalloc::free_small)
            .short_by("no part of it is large: an entry cleared, two locks, an area and a page put on lists, and counted"),
        Row::new("vmalloc_1m", "page").of("vmalloc").linux(495, 355).aim(Aim::of(60)).rounds(128).by_all(vmalloc::alloc_large),
        Row::new("vfree_1m", "page").of("vmalloc").linux(666, 561).aim(Aim::of(50)).rounds(128).by_all(vmalloc::free_large),
        Row::new("vmalloc_huge_2m", "area").of("vmalloc").linux(9328, 11_259).aim(Aim::of(900)).rounds(128).by_all(vmalloc::alloc_huge),
        Row::new("vfree_huge_2m", "area").of("vmalloc").linux(322_589, 309_962).aim(Aim::of(900)).rounds(128).by_all(vmalloc::free_huge),
        Row::new("vmap_256p", "page").of("vmalloc").linux(100, 69).aim(Aim::of(10)).rounds(16).by_all(vmalloc::map),
        Row::new("vunmap_256p", "page").of("vmalloc").linux(20, 18).aim(Aim::of(5)).by_all(vmalloc::unmap)
            .short_by("four instructions a page clear it; the rest is its share of a purge"),
        Row::new("vm_map_ram_4p", "area").of("vmalloc").linux(690, 638).aim(Aim::of(250)).by_all(vmalloc::map_ram),
        Row::new("vm_unmap_ram_4p", "area").of("vmalloc").linux(551, 609).aim(Aim::of(150)).by_all(vmalloc::unmap_ram),

        // Many of them at once, for their TLBIs and barriers.
        Row::new("vmalloc_pairs", "10 000 pairs").of("vmalloc").rounds(2).by(vmalloc_counts::pairs),
        Row::new("purge_scattered", "1000 areas").of("vmalloc").rounds(2).by(vmalloc_counts::purge),
        Row::new("ioremap_promote", "64 MiB").of("vmalloc").rounds(2).by(vmalloc_counts::promote),
        Row::new("vmap_scattered", "512 pages").of("vmalloc").rounds(2).by(vmalloc_counts::scattered),

        // The cases of Linux's test_vmalloc.
        Row::new("fix_size_alloc", "turn").of("test_vmalloc").rounds(4).by_series(test_vmalloc::fix_size),
        Row::new("full_fit_alloc", "turn").of("test_vmalloc").rounds(4).by_series(test_vmalloc::full_fit),
        Row::new("long_busy_list_alloc", "turn").of("test_vmalloc").rounds(4).by_series(test_vmalloc::long_busy_list),
        Row::new("random_size_alloc", "turn").of("test_vmalloc").rounds(4).by_series(test_vmalloc::random_size),
        Row::new("fix_align_alloc", "turn").of("test_vmalloc").rounds(4).by_series(test_vmalloc::fix_align),
        Row::new("random_size_align_alloc", "turn").of("test_vmalloc").rounds(4).by_series(test_vmalloc::random_size_align),
        Row::new("align_shift_alloc", "turn").of("test_vmalloc").rounds(4).by_series(test_vmalloc::align_shift),
        Row::new("pcpu_alloc", "turn").of("test_vmalloc").rounds(4).by_series(test_vmalloc::pcpu),
        Row::new("vm_map_ram", "turn").of("test_vmalloc").rounds(4).by_series(test_vmalloc::map_ram),
    ]
}
