//! Who owns a physical page.
//!
//! | file | concern |
//! | --- | --- |
//! | `page` | what is known of one page, and what the fields mean for each owner |
//! | `memmap` | one descriptor for each page; the block that a page belongs to |
//! | `page_block` | 2 MiB of memory: for what moves, or for what does not |
//! | `free_list` | the free blocks that are for the same |
//! | `buddy` | free blocks of orders 0 to 10, split and merged |
//! | `zones` | memory nodes, and which CPU lives where |
//! | `pcp` | each CPU's stock of the common orders, so that CPUs rarely meet at the zone |
//! | `early` | memory before there is a memmap: the boot's list of ranges |
//! | `alloc` | taking blocks and giving them back |
//! | `isolate` | a page block that somebody empties |
//! | `counts` | what a folio counts, in one word |
//! | `folio` | references to a folio |
//! | `mapping` | entries that map a folio |
//! | `pin` | devices that use a folio |
//! | `lock` | who may split or move a folio |
//! | `exclusive` | which pages of a folio are nobody else's |
//!
//! Corresponds to Linux's `mm/page_alloc.c` and `include/linux/mm_types.h`.

mod alloc;
mod buddy;
pub(crate) mod counts;
mod early;
mod exclusive;
mod folio;
mod free_list;
mod isolate;
mod lock;
mod mapping;
mod memmap;
mod page;
mod page_block;
mod pcp;
mod pin;
mod zones;

pub use counts::Counts;
pub use early::{EarlyError, EarlyMemory};
pub use folio::FolioRef;
pub use isolate::{IsolateError, Isolated, Survey};
pub use lock::FolioLock;
pub(crate) use mapping::Freed;
pub use memmap::MemMap;
pub(crate) use memmap::NIL;
pub use page::{Flag, Kind, PageDesc};
pub(crate) use page_block::Mobility;
pub use page_block::PAGE_BLOCK;
pub use pin::{FolioPin, PIN_BIAS};
pub use zones::Near;

use ::alloc::boxed::Box;
use abi::{CpuId, Node, Order, Pfn, PhysRange};
use buddy::Buddy;
use core::fmt;
use pcp::Stock;
use sync::{Class, Cpu, SpinLock};
use zones::Zones;

/// No block of this order could be found, also not by splitting larger ones or by taking what other
/// CPUs keep in stock. Nothing was changed. Free something, ask for less, or give up cleanly.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OutOfMemory {
    /// What was asked for.
    pub order: Order,
}

impl fmt::Display for OutOfMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "out of memory: no free block of {} KiB", self.order.bytes() >> 10)
    }
}

impl core::error::Error for OutOfMemory {}

/// How hard an allocation tries.
#[doc(alias("gfp_mask", "GFP_TRANSHUGE_LIGHT"))]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Effort {
    /// Takes what is free.
    Light,
    /// Fetches what other CPUs keep in stock, if need be.
    Full,
}

/// The page allocator of one machine.
pub struct Frames {
    map: MemMap,
    zones: Zones,
    stocks: Box<[SpinLock<Stock>]>,
}

/// The boot's part, in this order: where CPUs live and memory is, what is kept for what moves, what is
/// free. Without the first two all is one node and kept for nobody.
impl Frames {
    /// An allocator over `map` with nothing to give yet.
    pub(crate) fn new(map: MemMap, nr_cpus: usize) -> Self {
        let stock = |_| SpinLock::new(Class::PageList, Stock::new());
        let stocks = (0..nr_cpus).map(stock).collect();
        Self { map, zones: Zones::new(nr_cpus), stocks }
    }

    /// CPU number `cpu` takes from `node` first.
    #[doc(alias = "set_cpu_numa_node")]
    pub fn settle(&mut self, cpu: usize, node: Node) {
        self.zones.settle(cpu, node);
    }

    /// `range` is memory of `node`. A page block that two nodes share belongs to the one placed last.
    #[doc(alias = "memblock_set_node")]
    pub fn place(&mut self, range: PhysRange, node: Node) {
        self.zones.place(&self.map, range.start.pfn(), range.end.pfn(), node);
    }

    /// The whole page blocks of `range` are never given to what does not move.
    #[doc(alias("ZONE_MOVABLE", "movablecore"))]
    pub fn keep_movable(&mut self, range: PhysRange) {
        self.zones.keep(&self.map, range.start.pfn(), range.end.pfn());
    }

    /// Gives the allocator the whole pages of `range`, which lies inside the memmap and belongs to
    /// nobody. Context: any; used by the boot, once for each range.
    #[doc(alias = "memblock_free_all")]
    pub fn add<C: Cpu>(&self, cpu: &C, range: PhysRange) {
        let first = range.start.align_up(abi::PAGE_SIZE).pfn();
        let end = range.end.align_down(abi::PAGE_SIZE).pfn();
        self.zones.add(cpu, &self.map, first, end);
    }
}

impl Frames {
    /// The descriptors.
    pub const fn map(&self) -> &MemMap {
        &self.map
    }

    /// How many nodes there are; they count from 0.
    #[doc(alias = "nr_node_ids")]
    pub const fn nodes(&self) -> usize {
        self.zones.len()
    }

    /// The node that a page of memory belongs to.
    ///
    /// # Panics
    /// As [`MemMap::desc`].
    #[doc(alias("page_to_nid", "pfn_to_nid"))]
    #[inline]
    pub fn node_of(&self, pfn: Pfn) -> Node {
        self.map.page_block(pfn).node()
    }

    /// Whether the page's memory is kept for what moves: no long pin may stay there.
    ///
    /// # Panics
    /// As [`MemMap::desc`].
    #[doc(alias("is_zone_movable_page", "folio_is_longterm_pinnable"))]
    #[inline]
    pub fn is_movable_only(&self, pfn: Pfn) -> bool {
        self.zones.keeps() && self.map.page_block(pfn).is_kept()
    }

    /// Pages that are free, those in the CPUs' stocks and in isolated page blocks included. A snapshot.
    pub fn free_pages<C: Cpu>(&self, cpu: &C) -> u64 {
        let zones = self.zones.each().map(|zone| zone.lock(cpu).free_pages());
        self.stocked_pages(cpu) + zones.sum::<u64>()
    }

    /// Pages in the CPUs' stocks.
    pub fn stocked_pages<C: Cpu>(&self, cpu: &C) -> u64 {
        self.stocks.iter().map(|stock| stock.lock(cpu).pages()).sum()
    }

    /// Free pages that are in no zone and in no stock: somebody took them and never gave them back. At rest
    /// there are none; meanwhile, those that are on their way.
    pub fn lost_pages<C: Cpu>(&self, cpu: &C) -> u64 {
        let marked = self.map.blocks().filter(|(_, desc)| desc.kind() == Kind::Stocked);
        let marked: u64 = marked.map(|(_, desc)| desc.order().pages()).sum();
        marked.saturating_sub(self.stocked_pages(cpu))
    }

    /// Pages that were ever given to the allocator.
    pub fn managed_pages<C: Cpu>(&self, cpu: &C) -> u64 {
        self.zones.each().map(|zone| zone.lock(cpu).managed_pages()).sum()
    }

    /// Pages of one node that were ever given to the allocator, and those of them that are free, those in
    /// the CPUs' stocks not included.
    ///
    /// # Panics
    /// When there is no such node.
    #[doc(alias = "node_page_state")]
    pub fn node_pages<C: Cpu>(&self, cpu: &C, node: Node) -> (u64, u64) {
        let zone = self.zones.on(node).lock(cpu);
        (zone.managed_pages(), zone.free_pages())
    }

    /// Free blocks in one node, by order: what Linux prints as `/proc/buddyinfo`.
    ///
    /// # Panics
    /// When there is no such node.
    #[doc(alias = "buddyinfo")]
    pub fn node_blocks<C: Cpu>(&self, cpu: &C, node: Node) -> [u64; Order::COUNT] {
        self.zones.on(node).lock(cpu).free_blocks()
    }

    /// Free blocks in all nodes, by order.
    pub fn free_blocks<C: Cpu>(&self, cpu: &C) -> [u64; Order::COUNT] {
        let mut sum = [0; Order::COUNT];
        for zone in self.zones.each() {
            let blocks = zone.lock(cpu).free_blocks();
            sum.iter_mut().zip(blocks).for_each(|(sum, n)| *sum += n);
        }
        sum
    }

    /// Gives every CPU's stock back to the zones, where blocks can merge.
    #[doc(alias = "drain_all_pages")]
    pub fn drain<C: Cpu>(&self, cpu: &C) {
        for stock in &self.stocks {
            stock.lock(cpu).drain(cpu, &self.map, &self.zones);
        }
    }

    /// Takes a block. Its content is whatever the last owner left.
    #[inline]
    fn take<C: Cpu>(
        &self,
        cpu: &C,
        effort: Effort,
        mobility: Mobility,
        order: Order,
    ) -> Option<Pfn> {
        if self.is_stocked(mobility, order)
            && let Some(pfn) = self.stock(cpu).lock(cpu).pop(mobility, order)
        {
            return Some(pfn);
        }
        self.take_from_zone(cpu, effort, mobility, order)
    }

    /// This CPU has none in stock, or its stock is watched.
    #[cold]
    #[inline(never)]
    fn take_from_zone<C: Cpu>(
        &self,
        cpu: &C,
        effort: Effort,
        mobility: Mobility,
        order: Order,
    ) -> Option<Pfn> {
        // A page block is no smaller than what a refill would fetch.
        let found = if self.is_stocked(mobility, order) && order < PAGE_BLOCK {
            self.stock(cpu).lock(cpu).open(|stock| {
                let stocked = stock.pop(mobility, order);
                stocked.or_else(|| {
                    self.zones.find(self.zones.home(cpu), |zone| {
                        stock.refill(&self.map, &mut zone.lock(cpu), mobility, order);
                        stock.pop(mobility, order)
                    })
                })
            })
        } else {
            self.zones.take(cpu, &self.map, mobility, order)
        };
        match effort {
            Effort::Full if found.is_none() => self.take_hard(cpu, mobility, order),
            _ => found,
        }
    }

    /// The last resort: what other CPUs keep may do, or merge into what is wanted.
    #[cold]
    fn take_hard<C: Cpu>(&self, cpu: &C, mobility: Mobility, order: Order) -> Option<Pfn> {
        self.drain(cpu);
        self.zones.take(cpu, &self.map, mobility, order)
    }

    /// Takes a block from where it is wanted, past all stocks.
    fn take_near<C: Cpu>(
        &self,
        cpu: &C,
        near: Near,
        mobility: Mobility,
        order: Order,
    ) -> Option<Pfn> {
        let take = |zone: &SpinLock<Buddy>| zone.lock(cpu).take(&self.map, mobility, order);
        match near {
            Near::Exactly(node) if node.index() >= self.nodes() => None,
            Near::Exactly(node) => take(self.zones.on(node)),
            Near::Prefer(node) => self.zones.find(node, take),
        }
    }

    /// Takes single pages for tables out of this CPU's stock, as many as there are and fit; says how many.
    #[doc(alias = "alloc_pages_bulk")]
    pub(crate) fn take_stocked<C: Cpu>(&self, cpu: &C, pages: &mut [Pfn]) -> usize {
        self.stock(cpu).lock(cpu).pop_pages(pages)
    }

    /// Takes back a page whose descriptor is `desc` and says its owner's name for the last time. `at` is where
    /// the caller was a moment ago.
    #[inline]
    fn give_page<C: Cpu>(&self, cpu: &C, at: CpuId, pfn: Pfn, desc: &PageDesc, mobility: Mobility) {
        desc.set(Kind::Stocked, Order::PAGE);
        if !self.stocks[at.index()].lock(cpu).push(mobility, pfn, Order::PAGE) {
            self.spill(cpu, pfn, mobility, Order::PAGE);
        }
    }

    /// Takes back a block, likewise.
    fn give<C: Cpu>(
        &self,
        cpu: &C,
        at: CpuId,
        pfn: Pfn,
        desc: &PageDesc,
        mobility: Mobility,
        order: Order,
    ) {
        if !self.is_stocked(mobility, order) {
            return self.zones.on(self.node_of(pfn)).lock(cpu).give(&self.map, pfn, order);
        }
        desc.set(Kind::Stocked, order);
        if !self.stocks[at.index()].lock(cpu).push(mobility, pfn, order) {
            self.spill(cpu, pfn, mobility, order);
        }
    }

    /// This CPU's stock of such blocks is full, or watched.
    #[cold]
    #[inline(never)]
    fn spill<C: Cpu>(&self, cpu: &C, pfn: Pfn, mobility: Mobility, order: Order) {
        if order >= PAGE_BLOCK {
            return self.zones.on(self.node_of(pfn)).lock(cpu).give(&self.map, pfn, order);
        }
        let mut stock = self.stock(cpu).lock(cpu);
        // Under the stock's lock: who isolates says so first, and comes for what is in stock then.
        if self.map.page_block(pfn).is_isolated() {
            return self.zones.on(self.node_of(pfn)).lock(cpu).give(&self.map, pfn, order);
        }
        stock.open(|stock| {
            if !stock.push(mobility, pfn, order) {
                stock.spill(cpu, &self.map, &self.zones, mobility, order);
                stock.push(mobility, pfn, order);
            }
        });
    }

    /// Gives back single pages of users, all under one hold of the stock's lock.
    fn give_pages<C: Cpu>(&self, cpu: &C, pages: &[Pfn]) {
        let mut stock = self.stock(cpu).lock(cpu);
        let kept = stock.push_pages(pages);
        self.zones.give_runs(cpu, &self.map, Order::PAGE, &pages[kept..]);
    }

    #[inline(always)]
    fn is_stocked(&self, mobility: Mobility, order: Order) -> bool {
        pcp::is_stocked(mobility, order, self.zones.keeps())
    }

    /// This CPU's stock. A thread that moves between here and the lock uses another CPU's, which is
    /// as good.
    #[inline]
    fn stock<C: Cpu>(&self, cpu: &C) -> &SpinLock<Stock> {
        &self.stocks[cpu.id().index()]
    }
}

#[cfg(test)]
mod tests;
