//! A page block: 2 MiB of memory, and what it is for.
//!
//! A huge page needs 2 MiB in one piece, and one page that cannot move spoils them. So pages that can move
//! and pages that cannot are taken from different page blocks, and where one must be spoiled it is used up
//! before the next. A page block all of which is free is for whatever moves: nothing holds it down.
//!
//! What a page block is for stands in its first page's descriptor, zero for the usual: a memmap is still
//! made by clearing memory. It changes under the lock of its node's zone. Node, and whether it is kept for what
//! moves, never change after the boot.
//!
//! Corresponds to Linux's `enum migratetype`, `pageblock_flags`, and `ZONE_MOVABLE` for what is kept.

use super::memmap::MemMap;
use super::page::{Kind, PageDesc};
use abi::{Node, Order, Pfn};
use core::sync::atomic::Ordering::Relaxed;

/// The size of a page block: that of a huge page.
#[doc(alias = "pageblock_order")]
pub const PAGE_BLOCK: Order = Order::PMD;

/// Whether a page's content may be moved to another page.
#[doc(alias("migratetype", "__GFP_MOVABLE"))]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Mobility {
    /// User memory: who maps it is found, and told of its new place.
    Movable,
    /// Tables, the kernel's own: somebody has its address.
    Unmovable,
}

impl Mobility {
    /// That of memory of `kind`.
    #[inline(always)]
    pub(crate) const fn of(kind: Kind) -> Self {
        match kind {
            Kind::Folio => Self::Movable,
            _ => Self::Unmovable,
        }
    }
}

/// Free blocks that are given to the same requests.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(super) enum Group {
    /// For what moves; page blocks are taken from here for what does not.
    #[doc(alias = "MIGRATE_MOVABLE")]
    Movable = 0,
    /// For what does not move.
    #[doc(alias = "MIGRATE_UNMOVABLE")]
    Unmovable = 1,
    /// For what moves, and never for anything else.
    #[doc(alias = "ZONE_MOVABLE")]
    Kept = 2,
    /// For nobody: somebody empties these page blocks.
    #[doc(alias = "MIGRATE_ISOLATE")]
    Isolated = 3,
}

impl Group {
    pub(super) const COUNT: usize = 4;
}

/// What one page block is for, and where it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct PageBlock(u16);

impl PageBlock {
    /// Above the groups it may belong to otherwise.
    const ISOLATED: u16 = 4;
    const GROUP: u16 = 7;

    /// The group that its free blocks are in.
    #[inline]
    pub(super) const fn group(self) -> Group {
        match self.0 & Self::GROUP {
            0 => Group::Movable,
            1 => Group::Unmovable,
            2 => Group::Kept,
            _ => Group::Isolated,
        }
    }

    pub(super) const fn node(self) -> Node {
        Node((self.0 >> 8) as u8)
    }

    pub(super) const fn on(self, node: Node) -> Self {
        Self(self.0 & 0xff | (node.0 as u16) << 8)
    }

    /// For `group` from now on, isolated no more.
    pub(super) const fn of(self, group: Group) -> Self {
        Self(self.0 & !Self::GROUP | group as u16)
    }

    pub(super) const fn is_isolated(self) -> bool {
        self.0 & Self::ISOLATED != 0
    }

    pub(super) const fn isolated(self) -> Self {
        Self(self.0 | Self::ISOLATED)
    }

    /// What it was before.
    pub(super) const fn integrated(self) -> Self {
        Self(self.0 & !Self::ISOLATED)
    }

    /// Whether it is kept for what moves, isolated now or not.
    pub(super) const fn is_kept(self) -> bool {
        self.0 & 3 == Group::Kept as u16
    }
}

impl PageDesc {
    /// What the page block is for that this page begins.
    #[inline]
    pub(super) fn page_block(&self) -> PageBlock {
        PageBlock(self.page_block.load(Relaxed))
    }

    /// Says what it is for. Under the zone's lock, or at boot.
    #[inline]
    pub(super) fn set_page_block(&self, to: PageBlock) {
        self.page_block.store(to.0, Relaxed);
    }
}

impl MemMap {
    /// What the page block of `pfn` is for.
    ///
    /// # Panics
    /// As [`MemMap::desc`].
    #[inline]
    pub(super) fn page_block(&self, pfn: Pfn) -> PageBlock {
        self.desc(pfn.align_down(PAGE_BLOCK)).page_block()
    }

    /// Says what the page block of `pfn` is for, likewise.
    pub(super) fn set_page_block(&self, pfn: Pfn, to: PageBlock) {
        self.desc(pfn.align_down(PAGE_BLOCK)).set_page_block(to);
    }
}
