//! A page block that somebody empties: what is free in it, and all that becomes free in it, is given to
//! nobody.
//!
//! What CPUs have in stock is drained, and as long as anything is isolated the stocks are watched: what is freed
//! goes the long way, where it is seen whether a stock may have it. Nobody asks while nothing is isolated.
//!
//! Corresponds to Linux's `mm/page_isolation.c`: `set_migratetype_isolate`, `undo_isolate_page_range`,
//! `test_pages_isolated`, `zone_pcp_disable`.

use super::page_block::{Group, PAGE_BLOCK};
use super::{Flag, Frames, Kind};
use crate::{Hardware, Mm};
use abi::{Node, Order, Pfn};
use alloc::vec::Vec;
use core::fmt;
use sync::Cpu;

/// A page block that is not isolated; nothing was changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum IsolateError {
    /// Somebody else empties it.
    Busy,
    /// Not all of it is in the memmap.
    NoMemory,
}

impl fmt::Display for IsolateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Busy => "somebody else isolates this page block",
            Self::NoMemory => "this page block is not all memory",
        })
    }
}

impl core::error::Error for IsolateError {}

/// What is in a page block, in pages: as it was, page by page, at some moment of the look.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Survey {
    /// Free in the zone.
    pub free: u64,
    /// Free in some CPU's stock.
    pub stocked: u64,
    /// Folios' that can be moved.
    pub movable: u64,
    /// Tables', the kernel's, zeros that everybody shares; and what is no memory.
    pub unmovable: u64,
}

impl Frames {
    /// Makes all that is free in the page block of `pfn` unallocatable, and all that is freed there later.
    #[doc(alias = "set_migratetype_isolate")]
    pub(super) fn isolate<C: Cpu>(&self, cpu: &C, pfn: Pfn) -> Result<(), IsolateError> {
        let last = pfn.align_down(PAGE_BLOCK) + (PAGE_BLOCK.pages() - 1);
        let map = self.map();
        if map.find(pfn).is_none() || map.find(last).is_none() {
            return Err(IsolateError::NoMemory);
        }
        let mut zone = self.zones.on(self.node_of(pfn)).lock(cpu);
        if map.page_block(pfn).is_isolated() {
            return Err(IsolateError::Busy);
        }
        zone.regroup(map, pfn, |was| was.isolated());
        drop(zone);
        // Said first: whoever gives a page to a stock that is watched looks, and the rest is drained.
        for stock in &self.stocks {
            let mut stock = stock.lock(cpu);
            stock.watch();
            stock.drain(cpu, map, &self.zones);
        }
        Ok(())
    }

    /// Undoes [`Frames::isolate`].
    #[doc(alias = "unset_migratetype_isolate")]
    pub(super) fn integrate<C: Cpu>(&self, cpu: &C, pfn: Pfn) {
        let zone = self.zones.on(self.node_of(pfn));
        zone.lock(cpu).integrate(self.map(), pfn.align_down(PAGE_BLOCK));
        self.stocks.iter().for_each(|stock| stock.lock(cpu).unwatch());
    }

    /// Whether the page block of `pfn` is for what moves. A hint.
    #[doc(alias = "suitable_migration_target")]
    pub(crate) fn is_for_movable(&self, pfn: Pfn) -> bool {
        matches!(self.map().page_block(pfn).group(), Group::Movable | Group::Kept)
    }

    /// Takes every free page of the page block from `first` on, unless all of it is free. There is room for
    /// them in `pages`.
    pub(crate) fn take_fragments<C: Cpu>(&self, cpu: &C, first: Pfn, pages: &mut Vec<Pfn>) {
        let mut zone = self.zones.on(self.node_of(first)).lock(cpu);
        zone.take_pages(self.map(), first, |page| pages.push(page));
    }

    /// Gives back what [`Frames::take_fragments`] took and nobody used.
    pub(crate) fn give_fragments<C: Cpu>(&self, cpu: &C, pages: &[Pfn]) {
        self.zones.give_runs(cpu, self.map(), Order::PAGE, pages);
    }

    /// Takes a movable block of less than a page block from a node, out of one that is not all free.
    pub(crate) fn take_fragment<C: Cpu>(&self, cpu: &C, node: Node, order: Order) -> Option<Pfn> {
        self.zones.on(node).lock(cpu).take_fragment(self.map(), order)
    }

    /// Free pages of isolated page blocks.
    pub fn isolated_pages<C: Cpu>(&self, cpu: &C) -> u64 {
        self.zones.each().map(|zone| zone.lock(cpu).isolated_pages()).sum()
    }

    /// Looks at each block of the page block of `pfn`. Lockless.
    pub fn survey(&self, pfn: Pfn) -> Survey {
        let first = pfn.align_down(PAGE_BLOCK);
        let end = first + PAGE_BLOCK.pages();
        let mut seen = Survey::default();
        let mut at = first;
        while at < end {
            let Some(head) = self.map().head(at) else {
                seen.unmovable += 1;
                at = at + 1;
                continue;
            };
            let desc = self.map().desc(head);
            let (kind, order) = desc.kind_and_order();
            // The largest block reaches over two page blocks. One that is being cut may be smaller by now.
            let next = (head + order.pages()).min(end).max(at + 1);
            *match kind {
                Kind::Free => &mut seen.free,
                Kind::Stocked => &mut seen.stocked,
                Kind::Folio if !desc.has(Flag::Zero) => &mut seen.movable,
                _ => &mut seen.unmovable,
            } += next - at;
            at = next;
        }
        seen
    }
}

/// Having this means: what is free in one page block is given to nobody.
#[must_use = "the page block is given back at once"]
pub struct Isolated<'m, H: Hardware> {
    mm: &'m Mm<H>,
    first: Pfn,
}

impl<H: Hardware> Isolated<'_, H> {
    /// The page block's first page.
    pub fn first(&self) -> Pfn {
        self.first
    }
}

impl<H: Hardware> Drop for Isolated<'_, H> {
    fn drop(&mut self) {
        self.mm.frames.integrate(&self.mm.hw, self.first);
    }
}

impl<H: Hardware> Mm<H> {
    /// Isolates the page block of `pfn`: nothing of it is taken from now on. Until it is given back, taking and
    /// freeing are a little slower everywhere.
    ///
    /// Context: as for [`Mm::alloc`].
    #[doc(alias = "start_isolate_page_range")]
    pub fn isolate(&self, pfn: Pfn) -> Result<Isolated<'_, H>, IsolateError> {
        self.frames.isolate(&self.hw, pfn)?;
        Ok(Isolated { mm: self, first: pfn.align_down(PAGE_BLOCK) })
    }
}
