//! Who owns a physical page.
//!
//! | file | concern |
//! | --- | --- |
//! | `page` | what is known of one page, and what the fields mean for each owner |
//! | `memmap` | one descriptor for each page; the block that a page belongs to |
//! | `buddy` | free blocks of orders 0 to 10, split and merged |
//! | `pcp` | each CPU's stock of the common orders, so that CPUs rarely meet at the zone |
//! | `early` | memory before there is a memmap: the boot's list of ranges |
//! | `alloc` | taking blocks and giving them back |
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
mod lock;
mod mapping;
mod memmap;
mod page;
mod pcp;
mod pin;

pub use counts::Counts;
pub use early::{EarlyError, EarlyMemory};
pub use folio::FolioRef;
pub use lock::FolioLock;
pub(crate) use mapping::Freed;
pub use memmap::MemMap;
pub(crate) use memmap::NIL;
pub use page::{Flag, Kind, PageDesc};
pub use pin::{FolioPin, PIN_BIAS};

use ::alloc::boxed::Box;
use abi::{Order, Pfn, PhysRange};
use buddy::Buddy;
use core::fmt;
use pcp::Stock;
use sync::{Class, Cpu, SpinLock};

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
#[doc(alias("zone", "pglist_data"))]
pub struct Frames {
    map: MemMap,
    zone: SpinLock<Buddy>,
    stocks: Box<[SpinLock<Stock>]>,
}

impl Frames {
    /// An allocator over `map` with nothing to give yet.
    pub(crate) fn new(map: MemMap, nr_cpus: usize) -> Self {
        let stock = |_| SpinLock::new(Class::PageList, Stock::new());
        Self {
            map,
            zone: SpinLock::new(Class::Zone, Buddy::new()),
            stocks: (0..nr_cpus).map(stock).collect(),
        }
    }

    /// The descriptors.
    pub const fn map(&self) -> &MemMap {
        &self.map
    }

    /// Gives the allocator the whole pages of `range`, which lies inside the memmap and belongs to
    /// nobody. Context: any; used by the boot, once for each range.
    #[doc(alias = "memblock_free_all")]
    pub fn add<C: Cpu>(&self, cpu: &C, range: PhysRange) {
        let first = range.start.align_up(abi::PAGE_SIZE).pfn();
        let end = range.end.align_down(abi::PAGE_SIZE).pfn();
        if first < end {
            self.zone.lock(cpu).add(&self.map, first, end);
        }
    }

    /// Pages that are free, those in the CPUs' stocks included. A snapshot.
    pub fn free_pages<C: Cpu>(&self, cpu: &C) -> u64 {
        let stocked: u64 = self.stocks.iter().map(|stock| stock.lock(cpu).pages()).sum();
        stocked + self.zone.lock(cpu).free_pages()
    }

    /// Pages that were ever given to the allocator.
    pub fn managed_pages<C: Cpu>(&self, cpu: &C) -> u64 {
        self.zone.lock(cpu).managed_pages()
    }

    /// Free blocks in the zone, by order: what Linux prints as `/proc/buddyinfo`.
    #[doc(alias = "buddyinfo")]
    pub fn free_blocks<C: Cpu>(&self, cpu: &C) -> [u64; Order::COUNT] {
        self.zone.lock(cpu).free_blocks()
    }

    /// Gives every CPU's stock back to the zone, where blocks can merge.
    #[doc(alias = "drain_all_pages")]
    pub fn drain<C: Cpu>(&self, cpu: &C) {
        for stock in &self.stocks {
            let mut stock = stock.lock(cpu);
            if stock.pages() > 0 {
                stock.drain(&self.map, &mut self.zone.lock(cpu));
            }
        }
    }

    /// Takes a block. Its content is whatever the last owner left.
    #[inline]
    fn take<C: Cpu>(&self, cpu: &C, effort: Effort, order: Order) -> Option<Pfn> {
        if pcp::is_stocked(order)
            && let Some(pfn) = self.stock(cpu).lock(cpu).pop(order)
        {
            return Some(pfn);
        }
        self.take_from_zone(cpu, effort, order)
    }

    /// This CPU has none in stock.
    #[cold]
    #[inline(never)]
    fn take_from_zone<C: Cpu>(&self, cpu: &C, effort: Effort, order: Order) -> Option<Pfn> {
        if pcp::is_stocked(order) {
            let mut stock = self.stock(cpu).lock(cpu);
            stock.refill(&self.map, &mut self.zone.lock(cpu), order);
            if let Some(pfn) = stock.pop(order) {
                return Some(pfn);
            }
        } else if let Some(pfn) = self.zone.lock(cpu).take(&self.map, order) {
            return Some(pfn);
        }
        if effort == Effort::Full { self.take_hard(cpu, order) } else { None }
    }

    /// The last resort: what other CPUs keep may do, or merge into what is wanted.
    #[cold]
    fn take_hard<C: Cpu>(&self, cpu: &C, order: Order) -> Option<Pfn> {
        self.drain(cpu);
        self.zone.lock(cpu).take(&self.map, order)
    }

    /// Takes single pages of this CPU's stock, as many as there are and fit; says how many.
    #[doc(alias = "alloc_pages_bulk")]
    pub(crate) fn take_stocked<C: Cpu>(&self, cpu: &C, pages: &mut [Pfn]) -> usize {
        self.stock(cpu).lock(cpu).pop_pages(pages)
    }

    /// Takes back a page whose descriptor is `desc` and says its owner's name for the last time.
    #[inline]
    fn give_page<C: Cpu>(&self, cpu: &C, pfn: Pfn, desc: &PageDesc) {
        desc.set(Kind::Stocked, Order::PAGE);
        if !self.stock(cpu).lock(cpu).push(pfn, Order::PAGE) {
            self.give_to_zone(cpu, pfn, Order::PAGE);
        }
    }

    /// Takes back a block, likewise.
    fn give<C: Cpu>(&self, cpu: &C, pfn: Pfn, desc: &PageDesc, order: Order) {
        if pcp::is_stocked(order) {
            desc.set(Kind::Stocked, order);
            if self.stock(cpu).lock(cpu).push(pfn, order) {
                return;
            }
        }
        self.give_to_zone(cpu, pfn, order);
    }

    /// This CPU's stock of such blocks, if it has one, is full.
    #[cold]
    #[inline(never)]
    fn give_to_zone<C: Cpu>(&self, cpu: &C, pfn: Pfn, order: Order) {
        if !pcp::is_stocked(order) {
            return self.zone.lock(cpu).give(&self.map, pfn, order);
        }
        let mut stock = self.stock(cpu).lock(cpu);
        if !stock.push(pfn, order) {
            stock.spill(&self.map, &mut self.zone.lock(cpu), order);
            stock.push(pfn, order);
        }
    }

    /// Gives back single pages, all under one hold of the stock's lock.
    fn give_pages<C: Cpu>(&self, cpu: &C, pages: &[Pfn]) {
        let mut stock = self.stock(cpu).lock(cpu);
        let kept = stock.push_pages(pages);
        if kept < pages.len() {
            pcp::give_runs(&self.map, &mut self.zone.lock(cpu), Order::PAGE, &pages[kept..]);
        }
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
