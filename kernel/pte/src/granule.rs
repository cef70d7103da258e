//! The granules of translation: what in a descriptor depends on the size of a page.
//!
//! The kernel runs on 4 KiB pages. The encodings of the other two are here because a whole family of
//! mistakes cannot be seen on 4 KiB: only there the frame number of a soft entry sits where hardware
//! keeps an output address, so that only there the wrong accessor gives the right answer. Every
//! function over descriptors is written once, generic over [`Granule`]; the kernel's own are the
//! same functions with [`K4`] filled in, and all of this is constants when compiled.
//!
//! | | 4 KiB | 16 KiB | 64 KiB |
//! | --- | --- | --- | --- |
//! | entries in a table | 512 | 2048 | 8192 |
//! | root of 48-bit addresses | PGD | PGD | PUD |
//! | PMD leaf | 2 MiB, order 9 | 32 MiB, order 11 | 512 MiB, order 13 |
//! | PUD leaf | 1 GiB, order 18 | none | none |
//! | contiguous PTEs | 16, 64 KiB | 128, 2 MiB | 32, 2 MiB |
//! | contiguous PMDs | 16, 32 MiB | 32, 1 GiB | 32, 16 GiB |
//! | output address of a page | bits 47 to 12 | 47 to 14 | 47 to 16 |
//! | frame number of a soft entry | bits 47 to 12 | 45 to 12 | 43 to 12 |
//! | its accessed and dirty bits | 48, 49 | 46, 47 | 44, 45 |
//!
//! A frame number counts pages of the granule, so [`Pfn::base`] is right for 4 KiB alone. Output
//! addresses have 48 bits everywhere: neither FEAT_LPA nor FEAT_LPA2 is in use.
//!
//! Source: Arm ARM, "Translation granules", "VMSAv8-64 descriptor formats"; Linux `pgtable-hwdef.h`,
//! `CONFIG_ARM64_CONT_PTE_SHIFT`, `SWP_PFN_BITS`.

use crate::bits::{SOFT_OFFSET_SHIFT, field};
use abi::{Level, Order, Pfn, VirtAddr};
use core::fmt::Debug;
use core::hash::Hash;

/// Bits of an output address.
const PA_BITS: u32 = 48;
/// log2 of the bytes of a descriptor.
const DESCRIPTOR_SHIFT: u32 = 3;

mod sealed {
    /// The architecture has three granules, and so has this crate.
    pub trait Sealed {}
}

/// A size of pages and tables. What is not a choice of the architecture follows from `PAGE_SHIFT`.
pub trait Granule: sealed::Sealed + Copy + Default + Eq + Hash + Debug + 'static {
    /// log2 of the bytes of a page, and of a table.
    const PAGE_SHIFT: u32;
    /// The level at which a walk of 48-bit addresses begins.
    const ROOT: Level;
    /// The highest level that has leaves.
    const TOP_LEAF: Level;
    /// Page entries in a contiguous set.
    const CONT_PTES: usize;
    /// PMD leaves in a contiguous set.
    const CONT_PMDS: usize;

    /// Descriptors in a table.
    const ENTRIES: usize = 1 << (Self::PAGE_SHIFT - DESCRIPTOR_SHIFT);
    /// Output address of a page, or next table.
    const ADDRESS: u64 = field(PA_BITS - 1, Self::PAGE_SHIFT);
    /// Where the accessor of a leaf looks for its frame: like Linux, two bits above what a leaf that
    /// decodes can have there.
    #[doc(alias = "PTE_ADDR_MASK")]
    const OUTPUT: u64 = field(PA_BITS + 1, Self::PAGE_SHIFT);

    /// Bits of a frame number.
    #[doc(alias = "SWP_PFN_BITS")]
    const PFN_BITS: u32 = PA_BITS - Self::PAGE_SHIFT;
    /// The frame number of a soft entry: from bit 12 on, whatever the granule.
    const SOFT_PFN: u64 = field(SOFT_OFFSET_SHIFT + Self::PFN_BITS - 1, SOFT_OFFSET_SHIFT);
    /// Soft entry with a frame number: the leaf it replaced was accessed.
    const SOFT_YOUNG: u64 = 1 << (SOFT_OFFSET_SHIFT + Self::PFN_BITS);
    /// Soft entry with a frame number: the leaf it replaced was dirty.
    const SOFT_DIRTY: u64 = 1 << (SOFT_OFFSET_SHIFT + Self::PFN_BITS + 1);
}

macro_rules! granule {
    ($(#[$doc:meta])* $name:ident { $($item:ident: $type:ty = $value:expr,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
        pub struct $name;

        impl sealed::Sealed for $name {}

        impl Granule for $name {
            $(const $item: $type = $value;)*
        }
    };
}

granule! {
    /// 4 KiB pages, the granule that the kernel runs on.
    K4 {
        PAGE_SHIFT: u32 = abi::PAGE_SHIFT,
        ROOT: Level = Level::Pgd,
        TOP_LEAF: Level = Level::Pud,
        CONT_PTES: usize = 16,
        CONT_PMDS: usize = 16,
    }
}
granule! {
    /// 16 KiB pages.
    K16 {
        PAGE_SHIFT: u32 = 14,
        ROOT: Level = Level::Pgd,
        TOP_LEAF: Level = Level::Pmd,
        CONT_PTES: usize = 128,
        CONT_PMDS: usize = 32,
    }
}
granule! {
    /// 64 KiB pages.
    K64 {
        PAGE_SHIFT: u32 = 16,
        ROOT: Level = Level::Pud,
        TOP_LEAF: Level = Level::Pmd,
        CONT_PTES: usize = 32,
        CONT_PMDS: usize = 32,
    }
}

/// log2 of the bytes that one entry of `level` spans.
pub const fn shift<G: Granule>(level: Level) -> u32 {
    G::PAGE_SHIFT + (G::PAGE_SHIFT - DESCRIPTOR_SHIFT) * (Level::Pte as u32 - level as u32)
}

/// Bytes that one entry of `level` spans.
pub const fn span<G: Granule>(level: Level) -> u64 {
    1 << shift::<G>(level)
}

/// How many pages, as a power of two, a leaf of `level` maps.
pub const fn order<G: Granule>(level: Level) -> Order {
    Order((shift::<G>(level) - G::PAGE_SHIFT) as u8)
}

/// Which entry of a table of `level` translates `va`.
pub const fn index<G: Granule>(level: Level, va: VirtAddr) -> usize {
    (va.0 >> shift::<G>(level)) as usize & (G::ENTRIES - 1)
}

/// The first byte of a frame.
pub const fn base<G: Granule>(pfn: Pfn) -> u64 {
    pfn.0 << G::PAGE_SHIFT
}

/// Whether tables of `level` exist, with pointers to further tables in them.
#[inline(always)]
pub const fn has_tables<G: Granule>(level: Level) -> bool {
    G::ROOT as u32 <= level as u32 && (level as u32) < Level::Pte as u32
}

/// Whether an entry of `level` can be a leaf.
#[inline(always)]
pub const fn has_leaves<G: Granule>(level: Level) -> bool {
    G::TOP_LEAF as u32 <= level as u32
}

/// The address bits of a leaf of `level`: those above what it maps.
#[inline(always)]
pub const fn leaf_address<G: Granule>(level: Level) -> u64 {
    G::ADDRESS & !(span::<G>(level) - 1)
}

/// How many entries of `level` make a contiguous set; 1 where there are no such sets.
pub const fn set_entries<G: Granule>(level: Level) -> usize {
    match level {
        Level::Pgd | Level::Pud => 1,
        Level::Pmd => G::CONT_PMDS,
        Level::Pte => G::CONT_PTES,
    }
}

// The kernel's types and its granule are about the same pages.
const _: () = {
    assert!(K4::ENTRIES == abi::ENTRIES);
    assert!(shift::<K4>(Level::Pgd) == Level::Pgd.shift());
    assert!(shift::<K4>(Level::Pud) == Level::Pud.shift());
    assert!(shift::<K4>(Level::Pmd) == Level::Pmd.shift());
    assert!(shift::<K4>(Level::Pte) == Level::Pte.shift());
};

#[cfg(test)]
#[path = "granule_tests.rs"]
mod tests;
