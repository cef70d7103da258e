//! Memory that nobody else may have for a while.

use super::list_of;
use crate::run::Failure;
use crate::stamp::Stamp;
use abi::{Order, PAGE_SIZE, Pfn, PhysAddr, VirtAddr};
use alloc::vec::Vec;
use mm::Mm;

/// The number in the stamps of hoarded memory.
const HOARDER: u8 = 252;

/// Blocks of one order, given back when this is dropped.
pub(super) struct Hoard<'m, H: mm::Hardware> {
    mm: &'m Mm<H>,
    order: Order,
    blocks: Vec<Pfn>,
}

impl<'m, H: mm::Hardware> Hoard<'m, H> {
    /// Leaves about `pages` free, as far as the rest is in blocks of `order`.
    pub(super) fn all_but(mm: &'m Mm<H>, pages: u64, order: Order) -> Result<Self, Failure> {
        let surplus = mm.frames.free_pages(&mm.hw).saturating_sub(pages);
        let count = surplus / order.pages();
        let mut blocks = list_of(count, |_| Ok(Pfn(0)))?;
        blocks.clear();
        let mut hoard = Self { mm, order, blocks };
        for _ in 0..count {
            // Fragmented: what is left in smaller pieces is for the workload.
            let Ok(block) = mm.alloc(order) else { break };
            hoard.blocks.push(block);
        }
        Ok(hoard)
    }

    /// Marks each page, by which a stale translation of it is seen by whoever has one.
    pub(super) fn mark(&self) {
        self.pages().for_each(|(at, word)| self.mm.hw.poke(at, word));
    }

    /// Where somebody has written who had no right to: the frame, and what is there instead of what.
    pub(super) fn disturbed(&self) -> Option<(PhysAddr, u64, u64)> {
        let found = |(at, word)| (at, word, self.mm.hw.peek(at));
        self.pages().map(found).find(|(_, expected, found)| expected != found)
    }

    fn pages(&self) -> impl Iterator<Item = (PhysAddr, u64)> + '_ {
        let pages = self.order.pages();
        let each = self.blocks.iter().flat_map(move |&block| (0..pages).map(move |n| block + n));
        each.map(|page| {
            // By the frame's number, for it has no other.
            let va = VirtAddr(page.0 * PAGE_SIZE);
            (page.base(), Stamp::new(HOARDER, va, 0).word())
        })
    }
}

impl<H: mm::Hardware> Drop for Hoard<'_, H> {
    fn drop(&mut self) {
        for block in &self.blocks {
            self.mm.free(*block);
        }
    }
}
