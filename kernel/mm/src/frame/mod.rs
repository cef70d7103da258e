//! Who owns a physical page.
//!
//! | file | concern |
//! | --- | --- |
//! | `memmap` | one descriptor for each page, and what its fields mean for each owner |
//! | `buddy` | free blocks of orders 0 to 10, split and merged |
//! | `pcp` | each CPU's stock of the common orders, so that CPUs rarely meet at the zone |
//! | `early` | memory before there is a memmap: the boot's list of ranges |
//! | `counts` | what a folio counts, in one word |
//! | `folio` | references, mappings and pins of a folio, and its lock |
//! | `exclusive` | which pages of a folio are nobody else's |
//!
//! Corresponds to Linux's `mm/page_alloc.c` and `include/linux/mm_types.h`.

mod buddy;
pub(crate) mod counts;
mod early;
mod exclusive;
mod folio;
mod memmap;
mod pcp;

pub use counts::Counts;
pub use early::{EarlyError, EarlyMemory};
pub(crate) use folio::Freed;
pub use folio::{FolioLock, FolioPin, FolioRef, PIN_BIAS};
pub(crate) use memmap::NIL;
pub use memmap::{Flag, Kind, MemMap, PageDesc};

use crate::{Hardware, Mm};
use abi::{Event, Order, Pfn, PhysRange};
use alloc::boxed::Box;
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
    fn give_pages<C: Cpu>(&self, cpu: &C, pages: &mut [Pfn]) {
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
}

#[cfg(test)]
mod tests;
