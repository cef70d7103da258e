//! Taking blocks and giving them back: counted, and told to whoever watches the machine.
//!
//! Every block changes hands here, whether the kernel, a table or a folio is its owner; only single pages
//! that are taken or freed by the batch are counted where the batch is made
//! ([`Mm::tables_alloc_blank`], [`super::Freed`]).
//!
//! Corresponds to Linux's `alloc_pages` and `free_pages`.

use super::{Counts, Effort, Kind, Mobility, Near, OutOfMemory, PageDesc};
use crate::{Hardware, Mm, Note};
use abi::{Event, Order, Pfn};

impl<H: Hardware> Mm<H> {
    /// Takes a block of `order` for the kernel itself. Its content is whatever the last owner left.
    ///
    /// Context: any in which spin locks of class `PageList` may be taken. Never sleeps.
    #[doc(alias("alloc_pages", "__alloc_pages", "get_page_from_freelist"))]
    #[inline]
    pub fn alloc(&self, order: Order) -> Result<Pfn, OutOfMemory> {
        self.take(Effort::Full, order, Kind::Kernel, 0, Counts::NONE)
    }

    /// As [`Mm::alloc`], filled with zeros.
    #[doc(alias("get_zeroed_page", "__GFP_ZERO"))]
    #[inline]
    pub fn alloc_zeroed(&self, order: Order) -> Result<Pfn, OutOfMemory> {
        let pfn = self.alloc(order)?;
        self.zero(pfn, order);
        Ok(pfn)
    }

    /// Gives back a block that [`Mm::alloc`] gave. User memory cannot be freed by number: it goes back
    /// with its last reference, and an entry's reference only with the proof of a flush.
    ///
    /// Context: as for [`Mm::alloc`].
    ///
    /// # Panics
    /// When the block at `pfn` is not the kernel's: a double free, or the wrong page.
    #[doc(alias("free_pages", "__free_pages"))]
    #[inline]
    #[cfg_attr(feature = "sanitize", track_caller)]
    pub fn free(&self, pfn: Pfn) {
        self.give_back(pfn, Kind::Kernel);
    }

    /// Fills a block that nobody else can reach with zeros, and counts it.
    #[doc(alias("clear_page", "clear_highpage"))]
    #[inline]
    pub(crate) fn zero(&self, pfn: Pfn, order: Order) {
        self.hw.zero(pfn, order);
        self.count(Event::PgClear, order.pages());
    }

    /// Copies a block to one that nobody else can reach, and counts it.
    #[doc(alias("copy_page", "copy_highpage"))]
    #[inline]
    pub(crate) fn copy(&self, from: Pfn, to: Pfn, order: Order) {
        self.hw.copy(from, to, order);
        self.count(Event::PgCopy, order.pages());
    }

    /// Takes a block for `kind`, with what it counts from the beginning.
    #[inline]
    #[cfg_attr(feature = "sanitize", track_caller)]
    pub(crate) fn take(
        &self,
        effort: Effort,
        order: Order,
        kind: Kind,
        flags: u32,
        counts: Counts,
    ) -> Result<Pfn, OutOfMemory> {
        if order > Order::MAX {
            return Err(OutOfMemory { order });
        }
        let taken = self.frames.take(&self.hw, effort, Mobility::of(kind), order);
        self.owned(taken, order, kind, flags, counts)
    }

    /// As [`Mm::alloc`], from where it is wanted; past all CPUs' stocks.
    #[doc(alias = "alloc_pages_node")]
    pub fn alloc_near(&self, near: Near, order: Order) -> Result<Pfn, OutOfMemory> {
        self.take_near(near, Mobility::Unmovable, order, Kind::Kernel, Counts::NONE)
    }

    /// As [`Mm::folio_alloc`], from where it is wanted; past all CPUs' stocks.
    #[doc(alias("folio_alloc_mpol", "alloc_migration_target"))]
    pub(crate) fn folio_alloc_near(&self, near: Near, order: Order) -> Result<Pfn, OutOfMemory> {
        self.take_near(near, Mobility::Movable, order, Kind::Folio, Counts::held(1))
    }

    fn take_near(
        &self,
        near: Near,
        mobility: Mobility,
        order: Order,
        kind: Kind,
        counts: Counts,
    ) -> Result<Pfn, OutOfMemory> {
        if order > Order::MAX {
            return Err(OutOfMemory { order });
        }
        let take = || self.frames.take_near(&self.hw, near, mobility, order);
        let taken = take().or_else(|| {
            self.frames.drain(&self.hw);
            take()
        });
        self.owned(taken, order, kind, 0, counts)
    }

    /// A block that was taken, or not, becomes `kind`'s.
    #[inline(always)]
    #[cfg_attr(feature = "sanitize", track_caller)]
    pub(crate) fn owned(
        &self,
        taken: Option<Pfn>,
        order: Order,
        kind: Kind,
        flags: u32,
        counts: Counts,
    ) -> Result<Pfn, OutOfMemory> {
        let Some(pfn) = taken else {
            self.count(Event::AllocFail, 1);
            return Err(OutOfMemory { order });
        };
        self.desc(pfn).own(kind, order, flags, counts);
        self.count(Event::PgAlloc, order.pages());
        self.hw.note(Note::FrameAlloc(pfn, order));
        Ok(pfn)
    }

    /// Gives a block back. No translation may reach it any more.
    ///
    /// # Panics
    /// When the block at `pfn` is not `kind`'s: a double free, or the wrong page.
    #[inline(always)]
    #[cfg_attr(feature = "sanitize", track_caller)]
    pub(crate) fn give_back(&self, pfn: Pfn, kind: Kind) {
        let desc = self.desc(pfn);
        if !desc.is_page_of(kind) {
            return self.give_back_block(pfn, desc, kind);
        }
        let at = self.hw.id();
        self.stats.add(at, Event::PgFree, 1);
        self.hw.note(Note::FrameFree(pfn, Order::PAGE));
        self.frames.give_page(&self.hw, at, pfn, desc, Mobility::of(kind));
    }

    /// As [`Mm::give_back`], of more than a page: out of the way of the pages.
    #[inline(never)]
    #[cfg_attr(feature = "sanitize", track_caller)]
    fn give_back_block(&self, pfn: Pfn, desc: &PageDesc, kind: Kind) {
        let order = desc.disown(pfn, kind);
        let at = self.hw.id();
        self.stats.add(at, Event::PgFree, order.pages());
        self.hw.note(Note::FrameFree(pfn, order));
        self.frames.give(&self.hw, at, pfn, desc, Mobility::of(kind), order);
    }
}
