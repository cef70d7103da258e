//! Free blocks of orders 0 to 10. A block is split for a smaller request and merged with its buddy
//! when both are free, so 2 MiB blocks come back as soon as their pages do.
//!
//! The lists run through the memmap by 32-bit index: nothing is allocated to free memory.
//!
//! Context: under the zone's lock. Corresponds to `__free_one_page` and `expand` in Linux.

use super::memmap::{MemMap, NIL};
use super::page::Kind;
use abi::{Order, Pfn};
use core::sync::atomic::Ordering::Relaxed;

/// The zone's free lists: for each order, the first block in it and how many there are; and the pages
/// that were ever given.
#[doc(alias("zone", "free_area"))]
pub(super) struct Buddy {
    heads: [u32; Order::COUNT],
    blocks: [u64; Order::COUNT],
    managed: u64,
}

impl Buddy {
    pub(super) const fn new() -> Self {
        Self { heads: [NIL; Order::COUNT], blocks: [0; Order::COUNT], managed: 0 }
    }

    pub(super) fn managed_pages(&self) -> u64 {
        self.managed
    }

    pub(super) fn free_blocks(&self) -> [u64; Order::COUNT] {
        self.blocks
    }

    pub(super) fn free_pages(&self) -> u64 {
        self.blocks.iter().enumerate().map(|(order, n)| n << order).sum()
    }

    /// Takes in pages that were nobody's: cut into the largest aligned blocks.
    pub(super) fn add(&mut self, map: &MemMap, first: Pfn, end: Pfn) {
        let mut at = first;
        while at < end {
            let mut order = Order::MAX;
            while !at.is_aligned(order) || order.pages() > end - at {
                order.0 -= 1;
            }
            self.give(map, at, order);
            self.managed += order.pages();
            at = at + order.pages();
        }
    }

    /// Takes a block out of the lists, splitting a larger one if need be. Its head still says
    /// [`Kind::Stocked`]; the caller names the owner.
    #[doc(alias("__rmqueue_smallest", "expand"))]
    pub(super) fn take(&mut self, map: &MemMap, order: Order) -> Option<Pfn> {
        let mut from = self.smallest(order);
        if self.heads[from.index()] == NIL {
            return None;
        }
        let pfn = map.pfn(self.heads[from.index()]);
        self.unlink(map, pfn, from);
        // Give back the upper half of each split.
        while from > order {
            from.0 -= 1;
            let upper = pfn + from.pages();
            self.link(map, upper, from);
        }
        map.desc(pfn).set(Kind::Stocked, order);
        Some(pfn)
    }

    /// Free pages in blocks of orders from `least` to just below `above`.
    pub(super) fn pages_between(&self, least: Order, above: Order) -> u64 {
        (least.index()..above.index()).map(|order| self.blocks[order] << order).sum()
    }

    /// The order of the smallest free blocks that are no smaller than `least`; the largest order if there
    /// are none.
    pub(super) fn smallest(&self, least: Order) -> Order {
        let mut order = least;
        while order < Order::MAX && self.heads[order.index()] == NIL {
            order.0 += 1;
        }
        order
    }

    /// Puts a block back, merged with as many buddies as are free.
    #[doc(alias = "__free_one_page")]
    pub(super) fn give(&mut self, map: &MemMap, mut pfn: Pfn, mut order: Order) {
        while order < Order::MAX {
            let buddy = Pfn(pfn.0 ^ order.pages());
            let Some(desc) = map.find(buddy) else { break };
            if desc.kind() != Kind::Free || desc.order() != order {
                break;
            }
            self.unlink(map, buddy, order);
            let (lower, upper) = if buddy < pfn { (buddy, pfn) } else { (pfn, buddy) };
            // The upper half is no head any more.
            map.desc(upper).set(Kind::Tail, Order::PAGE);
            pfn = lower;
            order.0 += 1;
        }
        self.link(map, pfn, order);
    }

    fn link(&mut self, map: &MemMap, pfn: Pfn, order: Order) {
        let index = map.index(pfn);
        let old = core::mem::replace(&mut self.heads[order.index()], index);
        let desc = map.desc(pfn);
        desc.prev.store(NIL, Relaxed);
        desc.next.store(old, Relaxed);
        desc.set(Kind::Free, order);
        if old != NIL {
            map.desc(map.pfn(old)).prev.store(index, Relaxed);
        }
        self.blocks[order.index()] += 1;
    }

    fn unlink(&mut self, map: &MemMap, pfn: Pfn, order: Order) {
        let desc = map.desc(pfn);
        let (prev, next) = (desc.prev.load(Relaxed), desc.next.load(Relaxed));
        match prev {
            NIL => self.heads[order.index()] = next,
            prev => map.desc(map.pfn(prev)).next.store(next, Relaxed),
        }
        if next != NIL {
            map.desc(map.pfn(next)).prev.store(prev, Relaxed);
        }
        self.blocks[order.index()] -= 1;
    }
}
