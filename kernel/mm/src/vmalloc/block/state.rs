//! One block: which of its pages nobody had yet, which are in use, which came back.
//!
//! Pages go one way: free, used, dirty. The free ones are the last of the block; between them and its beginning
//! used and dirty ones lie in any order.

use super::super::Area;
use crate::Slot;
use abi::{ENTRIES, PAGE_SIZE, Pfn, VirtAddr, VirtRange};
use core::fmt;
use sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use sync::{Class, Cpu, SpinLock};

/// Pages of a block.
#[doc(alias = "VMAP_BBMAP_BITS")]
pub(in super::super) const PAGES: u32 = 1024;
/// Bits of a word of the bitmap.
const BITS: u32 = u64::BITS;

/// So many pages of kernel addresses, aligned to their size.
#[doc(alias = "vmap_block")]
pub(in super::super) struct Block {
    start: VirtAddr,
    /// The tables of its leaves. They stay: nobody else maps at its addresses.
    tables: [Pfn; PAGES as usize / ENTRIES],
    /// The CPU in whose queue it is while it has room. Written before anybody else knows the block.
    owner: AtomicUsize,
    /// Where it is in the index, whose lock guards this.
    pub(super) at: AtomicUsize,
    /// Pages that nobody had yet, and pages that came back. Written with `state` held, read by anybody.
    free: AtomicU32,
    dirty: AtomicU32,
    state: SpinLock<State>,
}

/// What only the holder of a block's lock may know.
#[derive(Debug)]
struct State {
    used: [u64; (PAGES / BITS) as usize],
    /// The first page that came back and was not flushed since, and the one behind the last; equal: none.
    #[doc(alias("dirty_min", "dirty_max"))]
    unflushed: (u32, u32),
    /// The addresses, until the block gives them up: whoever takes them out of here is the one to do it.
    area: Option<Area>,
}

/// No pages.
const NONE: (u32, u32) = (PAGES, 0);

impl State {
    /// Pages `first..first + pages` change from used to not used or back: at most a word's worth.
    #[inline]
    fn turn(&mut self, first: u32, pages: u32) {
        let (bits, shift) = (u64::MAX >> (BITS - pages), first % BITS);
        let word = (first / BITS) as usize;
        self.used[word] ^= bits << shift;
        if shift + pages > BITS {
            self.used[word + 1] ^= bits >> (BITS - shift);
        }
    }
}

impl fmt::Debug for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (free, dirty) = (self.free(), self.dirty());
        write!(f, "block at {} of CPU {}: {free} free, {dirty} dirty", self.start, self.owner())
    }
}

impl Block {
    /// A block of the addresses from `start` on, whose first `pages` are in use; its area comes with
    /// [`Block::settle`].
    pub(super) fn new(
        start: VirtAddr,
        tables: [Pfn; PAGES as usize / ENTRIES],
        owner: usize,
        pages: u32,
    ) -> Self {
        let used = [0; (PAGES / BITS) as usize];
        let mut state = State { used, unflushed: NONE, area: None };
        state.turn(0, pages);
        Self {
            start,
            tables,
            owner: AtomicUsize::new(owner),
            at: AtomicUsize::new(0),
            free: AtomicU32::new(PAGES - pages),
            dirty: AtomicU32::new(0),
            state: SpinLock::new(Class::VmapBlock, state),
        }
    }

    /// Gives a block that nobody else knows its addresses, which it owns from now on.
    pub(super) fn settle<C: Cpu>(&self, cpu: &C, area: Area) {
        self.state.lock(cpu).area = Some(area);
    }

    /// The block is of no use: its addresses, of which nothing was mapped.
    pub(super) fn unsettle<C: Cpu>(&self, cpu: &C) -> Option<Area> {
        self.state.lock(cpu).area.take()
    }

    /// Whether it was in the index, and is no more.
    pub(super) fn has_left(&self) -> bool {
        self.at.load(Ordering::Relaxed) == usize::MAX
    }

    pub(super) fn owner(&self) -> usize {
        self.owner.load(Ordering::Relaxed)
    }

    /// For the known bug that names the owner too late.
    pub(super) fn set_owner(&self, owner: usize) {
        self.owner.store(owner, Ordering::Relaxed);
    }

    pub(in super::super) const fn start(&self) -> VirtAddr {
        self.start
    }

    /// The addresses of some of its pages.
    #[inline]
    pub(super) const fn range(&self, first: u32, pages: u32) -> VirtRange {
        let start = VirtAddr(self.start.0 + first as u64 * PAGE_SIZE);
        VirtRange::from_size(start, pages as u64 * PAGE_SIZE)
    }

    /// The slot of a page's leaf.
    #[inline]
    pub(super) const fn slot(&self, page: u32) -> Slot {
        let page = page as usize;
        Slot::new(self.tables[page / ENTRIES % 2], page % ENTRIES)
    }

    /// Pages that nobody had yet, by the last word of whoever has the lock.
    #[inline]
    pub(super) fn free(&self) -> u32 {
        self.free.load(Ordering::Relaxed)
    }

    #[inline]
    fn dirty(&self) -> u32 {
        self.dirty.load(Ordering::Relaxed)
    }

    /// Pages that nobody uses.
    pub(super) fn unused(&self) -> u32 {
        self.free() + self.dirty()
    }

    /// Takes `pages` pages, a power of two of at most 64: the first, and how many are left. `None`: there is no room.
    #[doc(alias = "vb_alloc")]
    #[inline]
    pub(super) fn take<C: Cpu>(&self, cpu: &C, pages: u32) -> Option<(u32, u32)> {
        let mut state = self.state.lock(cpu);
        let free = self.free();
        let left = free.checked_sub(pages)?;
        let first = PAGES - free;
        state.turn(first, pages);
        self.free.store(left, Ordering::Relaxed);
        Some((first, left))
    }

    /// Pages come back, their leaves cleared where walkers see it. The block's addresses, if these were the last in use
    /// and no others are free.
    #[doc(alias = "vb_free")]
    #[inline]
    pub(super) fn give<C: Cpu>(&self, cpu: &C, first: u32, pages: u32) -> Option<Area> {
        let mut state = self.state.lock(cpu);
        state.turn(first, pages);
        let (low, high) = state.unflushed;
        state.unflushed = (low.min(first), high.max(first + pages));
        self.gets_dirty(&mut state, pages)
    }

    fn gets_dirty(&self, state: &mut State, pages: u32) -> Option<Area> {
        let dirty = self.dirty() + pages;
        self.dirty.store(dirty, Ordering::Relaxed);
        if dirty == PAGES { state.area.take() } else { None }
    }

    /// Nobody gets what is left of it any more. Its addresses, if nothing of it is in use.
    pub(super) fn close<C: Cpu>(&self, cpu: &C) -> Option<Area> {
        let mut state = self.state.lock(cpu);
        let left = self.free();
        self.free.store(0, Ordering::Relaxed);
        self.gets_dirty(&mut state, left)
    }

    /// Whether none of it is in use, some of it came back, and fewer than `most` pages are free: a guess without the
    /// lock, the truth with it.
    #[inline]
    pub(super) fn is_scrap(&self, most: u32) -> bool {
        let (free, dirty) = (self.free(), self.dirty());
        free + dirty == PAGES && free > 0 && free < most
    }

    /// Takes the addresses of a block that [is scrap](Block::is_scrap): they are flushed as an area is. Its owner's queue
    /// is locked.
    #[doc(alias = "purge_fragmented_block")]
    pub(super) fn scrap<C: Cpu>(&self, cpu: &C, most: u32) -> Option<Area> {
        let mut state = self.state.lock(cpu);
        if !self.is_scrap(most) {
            return None;
        }
        self.free.store(0, Ordering::Relaxed);
        self.dirty.store(PAGES, Ordering::Relaxed);
        state.unflushed = NONE;
        state.area.take()
    }

    /// What came back and was not flushed: the caller flushes it, or, with `keeps`, somebody else too.
    pub(super) fn take_unflushed<C: Cpu>(&self, cpu: &C, keeps: bool) -> Option<VirtRange> {
        let mut state = self.state.lock(cpu);
        let (low, high) = state.unflushed;
        if !keeps {
            state.unflushed = NONE;
        }
        (low < high).then(|| self.range(low, high - low))
    }

    /// What is wrong with a block that nobody is at work on, if anything.
    pub(in super::super) fn fault<C: Cpu>(&self, cpu: &C) -> Option<&'static str> {
        let state = self.state.lock(cpu);
        let used: u32 = state.used.iter().map(|word| word.count_ones()).sum();
        let (free, dirty, (low, high)) = (self.free(), self.dirty(), state.unflushed);
        if used + free + dirty != PAGES {
            return Some("its used, free and dirty pages are not all of its pages");
        }
        if (low, high) != NONE && (low >= high || high > PAGES - free) {
            return Some("it has pages to flush that nobody had");
        }
        state.area.is_none().then_some("it has given up its addresses, and is still found")
    }
}
