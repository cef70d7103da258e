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
use super::page_block::{Mobility, PAGE_BLOCK};
use super::zones::Zones;
use abi::{Order, Pfn};
use sync::Cpu;

/// How many blocks of each stocked order a CPU keeps at most. 2 x 256 + 8 x 16 + 2 x 512 pages: below
/// 7 MiB a CPU. Who finds none anywhere else takes them back.
const PAGES: usize = 256;
const RUNS: usize = 8;
const HUGE: usize = 2;
/// 64 KiB: one contiguous-PTE set.
const RUN: Order = Order(4);

/// Whether CPUs keep such blocks. 2 MiB are the same to whoever takes them; but where some are kept for
/// what moves (`keeps`), what does not move stays away from the stock.
#[inline(always)]
pub(super) const fn is_stocked(mobility: Mobility, order: Order, keeps: bool) -> bool {
    match mobility {
        Mobility::Movable => matches!(order.0, 0 | 4 | 9),
        Mobility::Unmovable => order.0 == 0 || order.0 == 9 && !keeps,
    }
}

/// More than any shelf holds.
const WATCHED: usize = 1 << 16;

/// A fixed stack of page numbers.
struct Shelf<const N: usize> {
    /// How many there are; and [`WATCHED`] more while the stock is watched, so that nothing fits, nothing is
    /// there, and the quick ways in and out need not ask.
    len: usize,
    pages: [Pfn; N],
}

impl<const N: usize> Shelf<N> {
    const fn new() -> Self {
        Self { len: 0, pages: [Pfn(0); N] }
    }

    #[inline]
    fn pop(&mut self) -> Option<Pfn> {
        // One comparison for all: what is below nothing is no place, either.
        let len = self.len.wrapping_sub(1);
        let pfn = *self.pages.get(len)?;
        self.len = len;
        Some(pfn)
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

    /// Fetches half a shelf.
    fn refill(&mut self, map: &MemMap, zone: &mut Buddy, mobility: Mobility, order: Order) {
        let end = (self.len + N.div_ceil(2)).min(N);
        // Others' page blocks are for the one who asked, not for the stock.
        let in_need = self.len == 0;
        let room = &mut self.pages[self.len..end];
        self.len += fetch(map, zone, mobility, order, in_need, room);
    }

    /// Gives back about half, those that have been here longest. What lies next to each other stays together:
    /// cut in two, here and in the zone, it would be in pieces from then on.
    fn spill<C: Cpu>(&mut self, cpu: &C, map: &MemMap, zones: &Zones, order: Order) {
        let half = self.len.div_ceil(2);
        let apart = |at: &usize| !adjoin(self.pages[at - 1], self.pages[*at], order);
        let gone = (half.div_ceil(2).max(1)..=half).rev().find(apart).unwrap_or(half);
        self.give(cpu, map, zones, order, gone);
    }

    /// Gives back the `gone` blocks that have been here longest.
    fn give<C: Cpu>(&mut self, cpu: &C, map: &MemMap, zones: &Zones, order: Order, gone: usize) {
        zones.give_runs(cpu, map, order, &self.pages[..gone]);
        self.pages.copy_within(gone..self.len, 0);
        self.len -= gone;
    }
}

/// Fills `room`, and cuts up here what comes: one large block, which goes back as one; or, where so much is
/// lying about in smaller ones, those, the smallest first and each of them whole. Says how many there are.
#[inline(never)]
fn fetch(
    map: &MemMap,
    zone: &mut Buddy,
    mobility: Mobility,
    order: Order,
    in_need: bool,
    room: &mut [Pfn],
) -> usize {
    let wanted = room.len();
    let mut rest = room.iter_mut();
    zone.take_about(map, mobility, order, wanted, in_need, |first, block| {
        let heads = map.block(first, block).iter().step_by(order.pages() as usize);
        // The lowest comes out first.
        let mut pfn = first + block.pages();
        for (desc, place) in heads.zip(rest.by_ref()) {
            desc.set(Kind::Stocked, order);
            pfn = Pfn(pfn.0 - order.pages());
            *place = pfn;
        }
    });
    wanted - rest.len()
}

/// Gives blocks of `order` back to the zone; what lies next to each other, one way or the other, goes as few
/// large blocks.
pub(super) fn give_runs(map: &MemMap, zone: &mut Buddy, order: Order, blocks: &[Pfn]) {
    let mut rest = blocks;
    while let [first, ..] = rest {
        let (run, behind) = rest.split_at(run(rest, order));
        let lowest = run.last().map_or(*first, |last| *last.min(first));
        give_run(map, zone, order, lowest, run.len() as u64);
        rest = behind;
    }
}

/// How many blocks lie next to each other, from the first on: each above the one before, or each below it.
#[inline(always)]
fn run(blocks: &[Pfn], order: Order) -> usize {
    let [first, second, rest @ ..] = blocks else { return blocks.len() };
    if !adjoin(*first, *second, order) {
        return 1;
    }
    let step = second.0.wrapping_sub(first.0);
    let mut next = second.0.wrapping_add(step);
    let mut follows = |block: &Pfn| {
        let follows = block.0 == next;
        next = next.wrapping_add(step);
        follows
    };
    2 + rest.iter().position(|block| !follows(block)).unwrap_or(rest.len())
}

/// Whether one of two blocks lies right above the other.
#[inline(always)]
fn adjoin(one: Pfn, other: Pfn, order: Order) -> bool {
    one.0.abs_diff(other.0) == order.pages()
}

/// Gives back `n` blocks of `order` from `first` on, as the largest blocks that they make within page blocks.
#[inline(always)]
fn give_run(map: &MemMap, zone: &mut Buddy, order: Order, first: Pfn, n: u64) {
    let (mut at, mut left) = (first, n);
    while left > 1 {
        let aligned = at.0.trailing_zeros().min(Order::MAX.0.into()) as u8;
        // Two page blocks may be for different things; they merge by themselves if not.
        let joint = Order(aligned.min(order.0 + left.ilog2() as u8).min(PAGE_BLOCK.0));
        // All but the first are no heads any more.
        let heads = map.block(at, joint).iter().step_by(order.pages() as usize);
        heads.skip(1).for_each(|desc| desc.set(Kind::Tail, Order::PAGE));
        zone.give(map, at, joint);
        at = at + joint.pages();
        left -= joint.pages() >> order.0;
    }
    if left == 1 {
        zone.give(map, at, order);
    }
}

/// What one CPU keeps.
#[doc(alias = "per_cpu_pages")]
#[repr(align(128))]
pub(super) struct Stock {
    pages: Shelf<PAGES>,
    runs: Shelf<RUNS>,
    huge: Shelf<HUGE>,
    /// Single pages for what does not move.
    unmovable: Shelf<PAGES>,
    /// How many have isolated a page block: nothing of it may come in here.
    watchers: u32,
}

/// Runs `$body` with `$shelf` bound to the shelf of such blocks.
macro_rules! on_shelf {
    ($stock:expr, $mobility:expr, $order:expr, |$shelf:ident| $body:expr) => {
        match ($order, $mobility) {
            (Order::PAGE, Mobility::Movable) => {
                let $shelf = &mut $stock.pages;
                $body
            }
            (Order::PAGE, Mobility::Unmovable) => {
                let $shelf = &mut $stock.unmovable;
                $body
            }
            (RUN, _) => {
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
        Self {
            pages: Shelf::new(),
            runs: Shelf::new(),
            huge: Shelf::new(),
            unmovable: Shelf::new(),
            watchers: 0,
        }
    }

    fn lengths(&mut self) -> [&mut usize; 4] {
        let Self { pages, runs, huge, unmovable, .. } = self;
        [&mut pages.len, &mut runs.len, &mut huge.len, &mut unmovable.len]
    }

    /// From now on [`Stock::pop`] and [`Stock::push`] find it empty and full, until this is undone as often.
    #[doc(alias = "zone_pcp_disable")]
    pub(super) fn watch(&mut self) {
        if self.watchers == 0 {
            self.lengths().into_iter().for_each(|len| *len += WATCHED);
        }
        self.watchers += 1;
    }

    /// Undoes [`Stock::watch`].
    #[doc(alias = "zone_pcp_enable")]
    pub(super) fn unwatch(&mut self) {
        self.watchers -= 1;
        if self.watchers == 0 {
            self.lengths().into_iter().for_each(|len| *len -= WATCHED);
        }
    }

    /// The stock as it is, watched or not, for as long as `with` runs.
    pub(super) fn open<R>(&mut self, with: impl FnOnce(&mut Self) -> R) -> R {
        let watchers = core::mem::take(&mut self.watchers);
        if watchers > 0 {
            self.lengths().into_iter().for_each(|len| *len -= WATCHED);
        }
        let result = with(self);
        if watchers > 0 {
            self.watch();
        }
        self.watchers = watchers;
        result
    }

    /// Pages in stock.
    pub(super) fn pages(&self) -> u64 {
        let pages = |len: usize, order: Order| (len % WATCHED) as u64 * order.pages();
        pages(self.pages.len, Order::PAGE)
            + pages(self.unmovable.len, Order::PAGE)
            + pages(self.runs.len, RUN)
            + pages(self.huge.len, Order::PMD)
    }

    /// The block given last: the one most likely still in this CPU's cache.
    #[inline]
    pub(super) fn pop(&mut self, mobility: Mobility, order: Order) -> Option<Pfn> {
        on_shelf!(self, mobility, order, |shelf| shelf.pop())
    }

    /// Keeps a block, if there is room.
    #[inline]
    pub(super) fn push(&mut self, mobility: Mobility, pfn: Pfn, order: Order) -> bool {
        on_shelf!(self, mobility, order, |shelf| shelf.push(pfn))
    }

    /// Fetches up to half a shelf from the zone.
    #[doc(alias = "rmqueue_bulk")]
    #[cold]
    pub(super) fn refill(
        &mut self,
        map: &MemMap,
        zone: &mut Buddy,
        mobility: Mobility,
        order: Order,
    ) {
        on_shelf!(self, mobility, order, |shelf| shelf.refill(map, zone, mobility, order));
    }

    /// Takes as many single pages for what does not move as there are and fit; says how many.
    pub(super) fn pop_pages(&mut self, pages: &mut [Pfn]) -> usize {
        let shelf = &mut self.unmovable;
        // None, while it is watched.
        let Some(there) = shelf.pages.get(..shelf.len) else { return 0 };
        let n = pages.len().min(there.len());
        let left = there.len() - n;
        pages[..n].copy_from_slice(&there[left..]);
        shelf.len = left;
        n
    }

    /// Keeps as many of `pages`, which were movable, as there is room for; says how many.
    #[inline]
    pub(super) fn push_pages(&mut self, pages: &[Pfn]) -> usize {
        let n = pages.len().min(PAGES.saturating_sub(self.pages.len));
        if n > 0 {
            self.pages.pages[self.pages.len..self.pages.len + n].copy_from_slice(&pages[..n]);
            self.pages.len += n;
        }
        n
    }

    /// Gives about half a shelf back to the zone.
    #[doc(alias = "free_pcppages_bulk")]
    #[cold]
    pub(super) fn spill<C: Cpu>(
        &mut self,
        cpu: &C,
        map: &MemMap,
        zones: &Zones,
        mobility: Mobility,
        order: Order,
    ) {
        on_shelf!(self, mobility, order, |shelf| shelf.spill(cpu, map, zones, order));
    }

    /// Gives everything back to the zone.
    pub(super) fn drain<C: Cpu>(&mut self, cpu: &C, map: &MemMap, zones: &Zones) {
        self.open(|Self { pages, unmovable, runs, huge, .. }| {
            pages.give(cpu, map, zones, Order::PAGE, pages.len);
            unmovable.give(cpu, map, zones, Order::PAGE, unmovable.len);
            runs.give(cpu, map, zones, RUN, runs.len);
            huge.give(cpu, map, zones, Order::PMD, huge.len);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By one or by many, in or out: a watched stock has nothing and takes nothing, and loses nothing.
    #[test]
    fn a_watched_stock_is_empty_and_full() {
        let mut stock = Stock::new();
        for n in 0..40 {
            assert!(stock.push(Mobility::Unmovable, Pfn(n), Order::PAGE));
            assert!(stock.push(Mobility::Movable, Pfn(100 + n), Order::PAGE));
        }
        stock.watch();
        let mut pages = [Pfn(0); 8];
        for mobility in [Mobility::Unmovable, Mobility::Movable] {
            assert_eq!(stock.pop(mobility, Order::PAGE), None);
            assert!(!stock.push(mobility, Pfn(7), Order::PAGE));
        }
        assert_eq!(stock.pop_pages(&mut pages), 0);
        assert_eq!(stock.push_pages(&pages), 0);
        assert_eq!(stock.pages(), 80);
        stock.unwatch();
        assert_eq!(stock.pop_pages(&mut pages), 8);
        assert_eq!(pages[0], Pfn(32));
        assert_eq!(stock.push_pages(&[Pfn(7); 3]), 3);
        assert_eq!(stock.pages(), 75);
    }
}
