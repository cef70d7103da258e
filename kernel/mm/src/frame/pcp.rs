//! A CPU's stock of free blocks of the common orders: single pages, 64 KiB and 2 MiB.
//!
//! Plain arrays of page numbers: a take or a give touches the CPU's own lines and the block's own
//! descriptor, never another block's. Refills and spills move half a stock at a time under one hold
//! of the zone's lock.
//!
//! Corresponds to Linux's per-CPU page lists (`struct per_cpu_pages`).

use super::buddy::Buddy;
use super::memmap::{Kind, MemMap};
use abi::{Order, Pfn};

/// How many blocks of each stocked order a CPU keeps at most. 64 + 8 x 16 + 2 x 512 pages: below
/// 5 MiB a CPU.
const PAGES: usize = 64;
const RUNS: usize = 8;
const HUGE: usize = 2;
/// 64 KiB: one contiguous-PTE set.
const RUN: Order = Order(4);

/// Whether CPUs keep blocks of this order.
#[inline]
pub(super) const fn is_stocked(order: Order) -> bool {
    matches!(order.0, 0 | 4 | 9)
}

/// A fixed stack of page numbers.
struct Shelf<const N: usize> {
    len: usize,
    pages: [Pfn; N],
}

impl<const N: usize> Shelf<N> {
    const fn new() -> Self {
        Self { len: 0, pages: [Pfn(0); N] }
    }

    #[inline]
    fn pop(&mut self) -> Option<Pfn> {
        self.len = self.len.checked_sub(1)?;
        self.pages.get(self.len).copied()
    }

    #[inline]
    fn push(&mut self, pfn: Pfn) {
        if let Some(place) = self.pages.get_mut(self.len) {
            *place = pfn;
            self.len += 1;
        }
    }

    const fn is_full(&self) -> bool {
        self.len == N
    }

    fn refill(&mut self, map: &MemMap, zone: &mut Buddy, order: Order) {
        while self.len < N.div_ceil(2) {
            let Some(pfn) = zone.take(map, order) else { break };
            self.push(pfn);
        }
    }

    fn spill(&mut self, map: &MemMap, zone: &mut Buddy, order: Order, keep: usize) {
        while self.len > keep {
            if let Some(pfn) = self.pop() {
                zone.give(map, pfn, order);
            }
        }
    }
}

/// What one CPU keeps.
#[doc(alias = "per_cpu_pages")]
#[repr(align(128))]
pub(super) struct Stock {
    pages: Shelf<PAGES>,
    runs: Shelf<RUNS>,
    huge: Shelf<HUGE>,
}

/// Runs `$body` with `$shelf` bound to the shelf of `$order`.
macro_rules! on_shelf {
    ($stock:expr, $order:expr, |$shelf:ident| $body:expr) => {
        match $order {
            Order::PAGE => {
                let $shelf = &mut $stock.pages;
                $body
            }
            RUN => {
                let $shelf = &mut $stock.runs;
                $body
            }
            _ => {
                let $shelf = &mut $stock.huge;
                $body
            }
        }
    };
}

impl Stock {
    pub(super) const fn new() -> Self {
        Self { pages: Shelf::new(), runs: Shelf::new(), huge: Shelf::new() }
    }

    /// Pages in stock.
    pub(super) fn pages(&self) -> u64 {
        self.pages.len as u64
            + self.runs.len as u64 * RUN.pages()
            + self.huge.len as u64 * Order::PMD.pages()
    }

    /// The block given last: the one most likely still in this CPU's cache.
    #[inline]
    pub(super) fn pop(&mut self, order: Order) -> Option<Pfn> {
        on_shelf!(self, order, |shelf| shelf.pop())
    }

    /// Keeps a block; there is room.
    #[inline]
    pub(super) fn push(&mut self, map: &MemMap, pfn: Pfn, order: Order) {
        map.desc(pfn).set(Kind::Stocked, order);
        on_shelf!(self, order, |shelf| shelf.push(pfn));
    }

    #[inline]
    pub(super) fn is_full(&mut self, order: Order) -> bool {
        on_shelf!(self, order, |shelf| shelf.is_full())
    }

    /// Fetches up to half a shelf from the zone.
    #[doc(alias = "rmqueue_bulk")]
    #[cold]
    pub(super) fn refill(&mut self, map: &MemMap, zone: &mut Buddy, order: Order) {
        on_shelf!(self, order, |shelf| shelf.refill(map, zone, order));
    }

    /// Gives half a shelf back to the zone.
    #[doc(alias = "free_pcppages_bulk")]
    #[cold]
    pub(super) fn spill(&mut self, map: &MemMap, zone: &mut Buddy, order: Order) {
        on_shelf!(self, order, |shelf| {
            let keep = shelf.pages.len() / 2;
            shelf.spill(map, zone, order, keep);
        });
    }

    /// Gives everything back to the zone.
    pub(super) fn drain(&mut self, map: &MemMap, zone: &mut Buddy) {
        self.pages.spill(map, zone, Order::PAGE, 0);
        self.runs.spill(map, zone, RUN, 0);
        self.huge.spill(map, zone, Order::PMD, 0);
    }
}
