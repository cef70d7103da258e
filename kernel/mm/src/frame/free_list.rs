//! The free blocks of one group, by order. The lists run through the memmap by 32-bit index: nothing is
//! allocated to free memory.
//!
//! Context: under the zone's lock. Corresponds to Linux's `struct free_area`.

use super::memmap::{MemMap, NIL};
use super::page::Kind;
use abi::{Order, Pfn};
use core::sync::atomic::Ordering::Relaxed;

/// For each order, the first block and how many there are; and which orders have any.
#[doc(alias = "free_area")]
pub(super) struct FreeList {
    /// A bit for each order.
    orders: u16,
    heads: [u32; Order::COUNT],
    blocks: [u32; Order::COUNT],
}

impl FreeList {
    pub(super) const fn new() -> Self {
        Self { orders: 0, heads: [NIL; Order::COUNT], blocks: [0; Order::COUNT] }
    }

    /// Free blocks of each order.
    pub(super) fn blocks(&self) -> [u32; Order::COUNT] {
        self.blocks
    }

    /// Free pages in blocks of orders from `least` to just below `above`.
    pub(super) fn pages_between(&self, least: Order, above: Order) -> u64 {
        (least.index()..above.index()).map(|order| u64::from(self.blocks[order]) << order).sum()
    }

    /// The smallest order, no less than `least`, that there is a block of.
    #[inline]
    pub(super) fn smallest(&self, least: Order) -> Option<Order> {
        let enough = self.orders >> least.0;
        (enough != 0).then(|| Order(least.0 + enough.trailing_zeros() as u8))
    }

    /// The largest order that there is a block of.
    pub(super) fn largest(&self) -> Option<Order> {
        self.orders.checked_ilog2().map(|order| Order(order as u8))
    }

    /// The block of `order` that was linked last.
    #[inline]
    pub(super) fn first(&self, map: &MemMap, order: Order) -> Option<Pfn> {
        match self.heads[order.index()] {
            NIL => None,
            index => Some(map.pfn(index)),
        }
    }

    /// Puts a block on its list, and says that it is free.
    #[inline]
    pub(super) fn link(&mut self, map: &MemMap, pfn: Pfn, order: Order) {
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
        self.orders |= 1 << order.0;
    }

    /// Takes the block of `order` that was linked last off its list. Its head still says that it is free.
    #[inline]
    pub(super) fn pop(&mut self, map: &MemMap, order: Order) -> Option<Pfn> {
        let pfn = self.first(map, order)?;
        let next = map.desc(pfn).next.load(Relaxed);
        self.heads[order.index()] = next;
        if next != NIL {
            map.desc(map.pfn(next)).prev.store(NIL, Relaxed);
        }
        self.count_less(order);
        Some(pfn)
    }

    /// Takes a block off its list. Its head still says that it is free.
    #[inline]
    pub(super) fn unlink(&mut self, map: &MemMap, pfn: Pfn, order: Order) {
        let desc = map.desc(pfn);
        let (prev, next) = (desc.prev.load(Relaxed), desc.next.load(Relaxed));
        match prev {
            NIL => self.heads[order.index()] = next,
            prev => map.desc(map.pfn(prev)).next.store(next, Relaxed),
        }
        if next != NIL {
            map.desc(map.pfn(next)).prev.store(prev, Relaxed);
        }
        self.count_less(order);
    }

    #[inline]
    fn count_less(&mut self, order: Order) {
        let left = &mut self.blocks[order.index()];
        *left -= 1;
        if *left == 0 {
            self.orders &= !(1 << order.0);
        }
    }
}
