//! Descriptors of the kernel's half: tables on the way, leaves in, leaves out.
//!
//! Whoever has an area is the only one to store to the slots of its pages, so these need no lock; the slots above
//! are shared with neighbours, and linking a table there takes the lock of the page it is linked in. What is stored
//! is shown by the scope that it is stored through.
//!
//! Corresponds to Linux's `vmap_pages_range_noflush` and `vunmap_range_noflush`.

use super::VmallocError;
use super::barriers::DeferredBarriers;
use crate::mutant::Mutant;
use crate::{Hardware, Mm, Note, OutOfMemory, Slot};
use abi::{ENTRIES, Level, Order, PAGE_SIZE, Pfn, PhysAddr, VirtAddr, VirtRange};
use pte::bits::ADDRESS;
use pte::{CONT_PTES, Entry, KernelProt, Leaf, MemType, Scope, Table};
use sync::atomic::Ordering;

/// What descriptors can name.
pub(super) const REACH: PhysAddr = PhysAddr(1 << 48);

/// Refuses frames that descriptors cannot name: what is beyond would end in their attributes.
#[inline]
pub(super) fn nameable(frames: &[Pfn]) -> Result<(), VmallocError> {
    let any = |some: &[Pfn]| some.iter().fold(0, |all, pfn| all | pfn.0);
    // Four at a time: it is asked of each page that anybody maps.
    let (fours, rest) = frames.as_chunks::<4>();
    if fours.iter().fold(any(rest), |all, four| all | any(four)) < REACH.pfn().0 {
        return Ok(());
    }
    let beyond = frames.iter().find(|pfn| pfn.0 >= REACH.pfn().0);
    beyond.map_or(Ok(()), |pfn| Err(VmallocError::Unmappable(pfn.base())))
}

/// Why a leaf cannot be where it is to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Blocked {
    /// No page for a table on the way.
    OutOfMemory(OutOfMemory),
    /// The entry of this level that translates the address is no table, or no place for a leaf.
    Occupied(Level),
}

impl<H: Hardware> DeferredBarriers<'_, H> {
    /// The slot of `level` that translates `va` in the kernel's half, with tables made on the way.
    #[inline]
    pub(super) fn kernel_slot(&mut self, va: VirtAddr, level: Level) -> Result<Slot, Blocked> {
        let mm = self.mm;
        self.stores(va, level);
        let mut table = mm.vmalloc.root;
        for &at in level.above() {
            let slot = Slot::new(table, at.index(va));
            table = match pte::decode(at, mm.hw.load(slot)) {
                Entry::Table(next) => next.pfn(),
                Entry::None => self.link_kernel_table(slot, at)?,
                _ => return Err(Blocked::Occupied(at)),
            };
        }
        Ok(Slot::new(table, level.index(va)))
    }

    /// Makes and links a table of nothing below a slot that was empty a moment ago.
    #[cold]
    #[inline(never)]
    fn link_kernel_table(&mut self, slot: Slot, level: Level) -> Result<Pfn, Blocked> {
        let mm = self.mm;
        self.modifies(level);
        let table = mm.alloc_zeroed(Order::PAGE).map_err(Blocked::OutOfMemory)?;
        let below = level.down().unwrap_or(Level::Pte);
        mm.hw.note(Note::TableAlloc(table, below));
        if !mm.commits(Mutant::LinkBeforeZero) {
            mm.publish(Scope::InnerShareable);
        }
        let lock = mm.lock_table(slot.table(), level);
        let word = mm.hw.load(slot);
        if pte::decode(level, word) == Entry::None {
            mm.hw.store(slot, Table::kernel(table).word());
            mm.vmalloc.tables.fetch_add(1, Ordering::Relaxed);
            return Ok(table);
        }
        drop(lock);
        mm.hw.note(Note::TableFree(table, below));
        mm.free(table);
        match pte::decode(level, word) {
            Entry::Table(other) => Ok(other.pfn()),
            _ => Err(Blocked::Occupied(level)),
        }
    }

    /// Maps `pages` pages from `pfn` on at `va`, by pages. What was mapped before an error stays.
    #[inline]
    pub(super) fn map_pages(
        &mut self,
        va: VirtAddr,
        pfn: Pfn,
        pages: u64,
        prot: KernelProt,
        mem: MemType,
    ) -> Result<(), Blocked> {
        self.map_like(va, Leaf::kernel(Level::Pte, pfn, prot, mem), pages)
    }

    /// Maps `pages` pages at `va`, of which `first` is the first.
    #[inline]
    fn map_like(&mut self, va: VirtAddr, first: Leaf, pages: u64) -> Result<(), Blocked> {
        let mut done = 0;
        while done < pages {
            let slot = self.kernel_slot(va + done * PAGE_SIZE, Level::Pte)?;
            let run = (pages - done).min((ENTRIES - slot.index()) as u64);
            let leaf = first.word() + done * PAGE_SIZE;
            for n in 0..run {
                self.mm.hw.store(slot.ahead(n as usize), leaf + n * PAGE_SIZE);
            }
            done += run;
        }
        Ok(())
    }

    /// As [`DeferredBarriers::map_pages`], and where sixteen of them are aligned in both spaces they are one
    /// contiguous set. They come and go together, one by one: nobody uses their addresses meanwhile, and what a
    /// walker takes for all from one of them is what all of them say, or said.
    #[doc(alias("arch_vmap_pte_range_map_size", "PTE_CONT"))]
    #[inline(never)]
    pub(super) fn map_sets(
        &mut self,
        va: VirtAddr,
        pfn: Pfn,
        pages: u64,
        prot: KernelProt,
        mem: MemType,
    ) -> Result<(), Blocked> {
        let (set, end) = (CONT_PTES as u64, va.page() + pages);
        let (from, to) = (va.page().next_multiple_of(set), end - end % set);
        if !(va.page() ^ pfn.0).is_multiple_of(set) || from >= to {
            return self.map_pages(va, pfn, pages, prot, mem);
        }
        let before = from - va.page();
        let behind = before + (to - from);
        self.map_pages(va, pfn, before, prot, mem)?;
        // A table has room for whole sets.
        let member = Leaf::kernel(Level::Pte, pfn + before, prot, mem).contiguous(true);
        self.map_like(va + before * PAGE_SIZE, member, to - from)?;
        if behind == pages {
            // There may be no frame behind.
            return Ok(());
        }
        self.map_pages(va + behind * PAGE_SIZE, pfn + behind, pages - behind, prot, mem)
    }

    /// As [`DeferredBarriers::map_pages`], of pages from wherever they are.
    pub(super) fn map_scattered(
        &mut self,
        va: VirtAddr,
        frames: &[Pfn],
        prot: KernelProt,
        mem: MemType,
    ) -> Result<(), Blocked> {
        // All but the address is the same in each.
        let leaf = Leaf::kernel(Level::Pte, Pfn(0), prot, mem).word();
        let mut rest = frames;
        let mut at = va;
        while !rest.is_empty() {
            let slot = self.kernel_slot(at, Level::Pte)?;
            let (run, behind) = rest.split_at(rest.len().min(ENTRIES - slot.index()));
            self.mm.store_leaves(slot, run, leaf);
            at = at + run.len() as u64 * PAGE_SIZE;
            rest = behind;
        }
        Ok(())
    }

    /// Maps the block that begins at `pfn` by one leaf of `level`.
    pub(super) fn map_block(
        &mut self,
        va: VirtAddr,
        pfn: Pfn,
        level: Level,
        prot: KernelProt,
        mem: MemType,
    ) -> Result<(), Blocked> {
        let slot = self.kernel_slot(va, level)?;
        // A table, which blocks do not replace: see `promote`.
        if self.mm.hw.load(slot) != 0 {
            return Err(Blocked::Occupied(level));
        }
        self.mm.hw.store(slot, Leaf::kernel(level, pfn, prot, mem).word());
        Ok(())
    }
}

impl<H: Hardware> Mm<H> {
    /// Stores `leaf`, which has no address, for each of `frames`: they fit into the table.
    #[inline]
    pub(super) fn store_leaves(&self, first: Slot, frames: &[Pfn], leaf: u64) {
        for (n, pfn) in frames.iter().enumerate() {
            self.hw.store(first.ahead(n), leaf | pfn.base().0);
        }
    }

    /// What was stored by this CPU can be used: by walkers, and by this CPU's next instructions.
    #[doc(alias = "flush_cache_vmap")]
    #[inline]
    pub(super) fn show(&self, range: VirtRange) {
        self.make_usable();
        self.hw.note(Note::Done(self.vmalloc.root, range));
    }

    /// As [`Mm::show`], wherever it was stored.
    #[inline]
    pub(super) fn make_usable(&self) {
        self.publish(Scope::InnerShareable);
        if !self.commits(Mutant::VmallocUnsynchronized) {
            self.hw.synchronize_context();
        }
    }

    /// Clears the leaves of a range. What is not mapped is passed by.
    pub(super) fn clear(&self, range: VirtRange) {
        let mut at = range.start;
        while at < range.end {
            at = match self.leaf_slot(at) {
                Ok((slot, Level::Pte)) => {
                    let pages = (range.end - at) / PAGE_SIZE;
                    let run = pages.min((ENTRIES - slot.index()) as u64);
                    self.clear_slots(slot, run);
                    at + run * PAGE_SIZE
                }
                Ok((slot, level)) => {
                    self.hw.store(slot, 0);
                    at + level.span()
                }
                Err(level) => at.align_down(level.span()) + level.span(),
            };
        }
    }

    /// Clears the leaves of the block of memory that begins at `va`, whose size `order` tells: which block that was.
    /// `None`: nothing is mapped at `va`.
    #[inline]
    pub(super) fn take_off(
        &self,
        va: VirtAddr,
        order: impl Fn(Pfn) -> Order,
    ) -> Option<(Pfn, Order)> {
        let (slot, level) = self.leaf_slot(va).ok()?;
        let word = self.hw.load(slot);
        if word == 0 {
            return None;
        }
        // Nothing but leaves is there.
        let pfn = PhysAddr(word & ADDRESS).pfn();
        let order = order(pfn);
        if level != Level::Pte {
            self.hw.store(slot, 0);
            return Some((pfn, order));
        }
        let run = order.pages().min((ENTRIES - slot.index()) as u64);
        self.clear_slots(slot, run);
        if run < order.pages() {
            // It goes on in the next table.
            let behind = va + run * PAGE_SIZE;
            self.clear(VirtRange::from_size(behind, order.bytes() - run * PAGE_SIZE));
        }
        Some((pfn, order))
    }

    /// Whether a leaf is there for `va`.
    #[cold]
    pub(super) fn is_mapped(&self, va: VirtAddr) -> bool {
        self.leaf_slot(va).is_ok_and(|(slot, _)| self.hw.load(slot) != 0)
    }

    /// Clears `n` slots of a table.
    #[inline]
    pub(super) fn clear_slots(&self, first: Slot, n: u64) {
        for n in 0..n as usize {
            self.hw.store(first.ahead(n), 0);
        }
    }

    /// The slot that translates `va` in the kernel's half: of a block, or of a page that may be mapped or not.
    /// Or the level at which there is nothing.
    pub(super) fn leaf_slot(&self, va: VirtAddr) -> Result<(Slot, Level), Level> {
        let mut table = self.vmalloc.root;
        for &at in Level::Pte.above() {
            let slot = Slot::new(table, at.index(va));
            table = match pte::decode(at, self.hw.load(slot)) {
                Entry::Table(next) => next.pfn(),
                Entry::None => return Err(at),
                _ => return Ok((slot, at)),
            };
        }
        Ok((Slot::new(table, Level::Pte.index(va)), Level::Pte))
    }
}
