//! A CPU's stock of free blocks of the common orders: single pages, 64 KiB and 2 MiB.
//!
//! Plain arrays of page numbers: a take or a give touches the CPU's own lines and the block's own
//! descriptor, never another block's. Refills and spills move half a stock at a time under one hold
//! of the zone's lock, and where the blocks are neighbours, as one larger block.
//!
//! Corresponds to Linux's per-CPU page lists (`struct per_cpu_pages`).

use super::buddy::Buddy;
use super::memmap::MemMap;
use super::page::Kind;
use abi::{Order, Pfn};

/// How many blocks of each stocked order a CPU keeps at most. 256 + 8 x 16 + 2 x 512 pages: below
/// 6 MiB a CPU. Who finds none anywhere else takes them back.
const PAGES: usize = 256;
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

    /// Keeps a block, if there is room.
    #[inline]
    fn push(&mut self, pfn: Pfn) -> bool {
        let len = self.len;
        match self.pages.get_mut(len) {
            Some(place) => {
                *place = pfn;
                self.len = len + 1;
                true
            }
            None => false,
        }
    }

    /// Fetches half a shelf, and cuts it up here: as one large block, which goes back as one; or, where so
    /// much is lying about in smaller ones, those, the smallest first and each of them whole.
    fn refill(&mut self, map: &MemMap, zone: &mut Buddy, order: Order) {
        let mut left = N.div_ceil(2).min(N - self.len);
        while left > 0 {
            let most = Order((order.0 + left.ilog2() as u8).min(Order::MAX.0));
            let lying_about = zone.pages_between(order, most) >= most.pages();
            let mut block = if lying_about { zone.smallest(order).min(most) } else { most };
            let first = zone.take(map, block).or_else(|| {
                // Nothing so large is left.
                block = order;
                zone.take(map, block)
            });
            let Some(first) = first else { break };
            let n = 1 << (block.0 - order.0);
            // The lowest comes out first.
            for pfn in (0..n as u64).rev().map(|i| first + i * order.pages()) {
                map.desc(pfn).set(Kind::Stocked, order);
                self.push(pfn);
            }
            left -= n;
        }
    }

    /// Gives back all but the `keep` blocks that came last.
    fn spill(&mut self, map: &MemMap, zone: &mut Buddy, order: Order, keep: usize) {
        let gone = self.len.saturating_sub(keep);
        give_runs(map, zone, order, &self.pages[..gone]);
        self.pages.copy_within(gone..self.len, 0);
        self.len -= gone;
    }
}

/// Gives blocks of `order` back to the zone; what lies next to each other, one way or the other, goes as few
/// large blocks.
pub(super) fn give_runs(map: &MemMap, zone: &mut Buddy, order: Order, blocks: &[Pfn]) {
    let follows = |one: Pfn, other: Pfn| one.0 + order.pages() == other.0;
    let mut rest = blocks;
    while let Some(&first) = rest.first() {
        let up = 1 + rest.windows(2).take_while(|pair| follows(pair[0], pair[1])).count();
        let n = match up {
            1 => 1 + rest.windows(2).take_while(|pair| follows(pair[1], pair[0])).count(),
            n => n,
        };
        give_run(map, zone, order, first.min(rest[n - 1]), n as u64);
        rest = &rest[n..];
    }
}

/// Gives back `n` blocks of `order` from `first` on, as the largest blocks that they make.
fn give_run(map: &MemMap, zone: &mut Buddy, order: Order, first: Pfn, n: u64) {
    let (mut at, mut left) = (first, n);
    while left > 0 {
        let aligned = at.0.trailing_zeros().min(Order::MAX.0.into()) as u8;
        let joint = Order(aligned.min(order.0 + left.ilog2() as u8));
        // All but the first are no heads any more.
        let heads = map.block(at, joint).iter().step_by(order.pages() as usize);
        heads.skip(1).for_each(|desc| desc.set(Kind::Tail, Order::PAGE));
        zone.give(map, at, joint);
        at = at + joint.pages();
        left -= joint.pages() >> order.0;
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

    /// Keeps a block, if there is room.
    #[inline]
    pub(super) fn push(&mut self, pfn: Pfn, order: Order) -> bool {
        on_shelf!(self, order, |shelf| shelf.push(pfn))
    }

    /// Fetches up to half a shelf from the zone.
    #[doc(alias = "rmqueue_bulk")]
    #[cold]
    pub(super) fn refill(&mut self, map: &MemMap, zone: &mut Buddy, order: Order) {
        on_shelf!(self, order, |shelf| shelf.refill(map, zone, order));
    }

    /// Takes as many single pages as there are and fit; says how many.
    pub(super) fn pop_pages(&mut self, pages: &mut [Pfn]) -> usize {
        let n = pages.len().min(self.pages.len);
        self.pages.len -= n;
        pages[..n].copy_from_slice(&self.pages.pages[self.pages.len..self.pages.len + n]);
        n
    }

    /// Keeps as many of `pages` as there is room for; says how many.
    #[inline]
    pub(super) fn push_pages(&mut self, pages: &[Pfn]) -> usize {
        let n = pages.len().min(PAGES - self.pages.len);
        self.pages.pages[self.pages.len..self.pages.len + n].copy_from_slice(&pages[..n]);
        self.pages.len += n;
        n
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
