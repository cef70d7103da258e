//! A function on the descriptor of each page of a range: `apply_to_page_range`.
//!
//! # Rules
//! * The range is part of an area that has no memory of its own: who has the area is alone with its pages' entries, so
//!   no lock is held while the function runs, which may sleep where the walk may.
//! * Only pages: a block in the range is an error, and nothing is split for it.
//! * The function says what an entry is to be, and does not store it. A leaf goes only where there is none: between two
//!   lies a flush. What is taken away is flushed before the walk returns, by one flush, whatever comes of it.
//! * After an error, what was done before it stays and holds: it is published, in all copies of the kernel's upper
//!   tables, and flushed as if that had been all.
//!
//! Corresponds to Linux's `apply_to_page_range` and `apply_to_existing_page_range`.

use super::area::Frames;
use super::barriers::DeferredBarriers;
use super::leaves::{Blocked, nameable};
use super::ranges::Ranges;
use super::{Area, VmallocError};
use crate::{Hardware, Mm, OutOfMemory, Slot};
use abi::{ENTRIES, Level, PAGE_SIZE, Pfn, PhysAddr, VirtAddr, VirtRange};
use core::fmt;
use pte::{KernelProt, Leaf, MemType};

/// What becomes of a page's entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PageChange {
    /// It stays as it is.
    Keep,
    /// Nothing was there, and this frame is from now on. It stays its owner's.
    Map(Pfn, KernelProt, MemType),
    /// Nothing is there any more, and in no TLB when the walk has returned.
    Clear,
}

/// What is asked for each page: its address, and the leaf that is there.
#[doc(alias = "pte_fn_t")]
pub type PageFunction<'f, E> = &'f mut dyn FnMut(VirtAddr, Option<Leaf>) -> Result<PageChange, E>;

/// Why a function was not applied to all of a range. What it did before, in the order of addresses, it did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ApplyError<E> {
    /// No whole pages of the area, or none; nothing was done.
    Outside(VirtRange),
    /// The area has memory of its own, which nobody else takes out; nothing was done.
    Owned,
    /// A block of this level maps the address; at the last level, a contiguous set of which one page was to go.
    Block(VirtAddr, Level),
    /// A leaf was to go where there is one: it is cleared first, by another walk.
    Occupied(VirtAddr),
    /// A frame that descriptors cannot name, by its address.
    Unmappable(PhysAddr),
    /// The function's own error, at this address.
    Refused(VirtAddr, E),
    /// No page for a table.
    OutOfMemory(OutOfMemory),
}

impl<E: fmt::Display> fmt::Display for ApplyError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Outside(range) => {
                write!(f, "{} to {} is no part of the area by pages", range.start, range.end)
            }
            Self::Owned => f.write_str("the area has memory of its own"),
            Self::Block(va, level) => write!(f, "a {level} block maps {va}"),
            Self::Occupied(va) => write!(f, "a page is mapped at {va} already"),
            Self::Unmappable(at) => write!(f, "no descriptor can name the frame at {at}"),
            Self::Refused(va, error) => write!(f, "at {va}: {error}"),
            Self::OutOfMemory(error) => write!(f, "{error}"),
        }
    }
}

impl<E: fmt::Debug + fmt::Display> core::error::Error for ApplyError<E> {}

/// What becomes of addresses without a table.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Missing {
    Made,
    PassedBy,
}

impl<H: Hardware> Mm<H> {
    /// Addresses for at least `bytes`, in whole pages, at a multiple of `align` bytes, with nothing there. They go back
    /// to [`Mm::vunmap`], with whatever is mapped there by then.
    ///
    /// Context: as for [`Mm::vmalloc`].
    #[doc(alias("get_vm_area", "alloc_vm_area"))]
    pub fn reserve_area(&self, bytes: u64, align: u64) -> Result<Area, VmallocError> {
        self.area_take(bytes.div_ceil(PAGE_SIZE), align)
    }

    /// Asks `function` for each page of a part of an area, in the order of addresses, what becomes of it; tables are
    /// made on the way. When it returns, all that was done can be used, after an error too.
    ///
    /// Context: may sleep if `function` may; no spin lock is held.
    pub fn apply_to_page_range<E>(
        &self,
        area: &Area,
        part: VirtRange,
        function: PageFunction<'_, E>,
    ) -> Result<(), ApplyError<E>> {
        self.defer_barriers().apply_to_page_range(area, part, function)
    }

    /// As [`Mm::apply_to_page_range`], where tables are: what has none is passed by.
    ///
    /// Context: any that `function` may be called in, interrupts too.
    pub fn apply_to_existing_page_range<E>(
        &self,
        area: &Area,
        part: VirtRange,
        function: PageFunction<'_, E>,
    ) -> Result<(), ApplyError<E>> {
        self.defer_barriers().apply_to_existing_page_range(area, part, function)
    }
}

impl<H: Hardware> DeferredBarriers<'_, H> {
    /// As [`Mm::apply_to_page_range`]; what it maps can be used once the scope is left. What it takes away is gone when
    /// it returns.
    pub fn apply_to_page_range<E>(
        &mut self,
        area: &Area,
        part: VirtRange,
        function: PageFunction<'_, E>,
    ) -> Result<(), ApplyError<E>> {
        self.apply_and_owe(area, part, Missing::Made, function)
    }

    /// As [`Mm::apply_to_existing_page_range`]; what it maps can be used once the scope is left.
    pub fn apply_to_existing_page_range<E>(
        &mut self,
        area: &Area,
        part: VirtRange,
        function: PageFunction<'_, E>,
    ) -> Result<(), ApplyError<E>> {
        self.apply_and_owe(area, part, Missing::PassedBy, function)
    }

    fn apply_and_owe<E>(
        &mut self,
        area: &Area,
        part: VirtRange,
        missing: Missing,
        function: PageFunction<'_, E>,
    ) -> Result<(), ApplyError<E>> {
        let all = area.range();
        let is_inside = all.start <= part.start && part.end <= all.end;
        let is_aligned = part.start.is_aligned(PAGE_SIZE) && part.end.is_aligned(PAGE_SIZE);
        if part.is_empty() || !is_inside || !is_aligned {
            return Err(ApplyError::Outside(part));
        }
        if area.frames != Frames::Foreign {
            return Err(ApplyError::Owned);
        }
        let (done, result) = self.apply(part, missing, function);
        if !done.is_empty() {
            self.owe(done);
        }
        result
    }

    /// Makes tables, and asks `function` for each page of a range that the caller is alone with. Which part of it was
    /// done; what was mapped there is still to be owed.
    pub(super) fn apply_making_tables<E>(
        &mut self,
        range: VirtRange,
        function: PageFunction<'_, E>,
    ) -> Result<(), ApplyError<E>> {
        self.apply(range, Missing::Made, function).1
    }

    fn apply<E>(
        &mut self,
        part: VirtRange,
        missing: Missing,
        function: PageFunction<'_, E>,
    ) -> (VirtRange, Result<(), ApplyError<E>>) {
        let mut walk = Walk { at: part.start, end: part.end, cleared: None };
        let result = self.walk(&mut walk, missing, function);
        if let Some(cleared) = walk.cleared {
            self.flush(cleared);
        }
        if result.is_err() {
            self.failed();
        }
        (VirtRange::new(part.start, walk.at), result)
    }

    fn walk<E>(
        &mut self,
        walk: &mut Walk,
        missing: Missing,
        function: PageFunction<'_, E>,
    ) -> Result<(), ApplyError<E>> {
        while walk.at < walk.end {
            let Some(first) = self.page_slot(walk.at, missing)? else {
                let behind = walk.at.align_down(Level::Pmd.span()) + Level::Pmd.span();
                walk.at = behind.min(walk.end);
                continue;
            };
            let run = ((walk.end - walk.at) / PAGE_SIZE).min((ENTRIES - first.index()) as u64);
            for n in 0..run {
                self.change(walk, first.ahead(n as usize), function)?;
                walk.at = walk.at + PAGE_SIZE;
            }
        }
        Ok(())
    }

    /// The slot of the page at `va`; `None` where there is no table and none is to be made.
    fn page_slot<E>(
        &mut self,
        va: VirtAddr,
        missing: Missing,
    ) -> Result<Option<Slot>, ApplyError<E>> {
        let blocked = match missing {
            Missing::Made => match self.kernel_slot(va, Level::Pte) {
                Ok(slot) => return Ok(Some(slot)),
                Err(blocked) => blocked,
            },
            Missing::PassedBy => match self.mm.leaf_slot(va) {
                Ok((slot, Level::Pte)) => return Ok(Some(slot)),
                Ok((_, level)) => Blocked::Occupied(level),
                Err(_) => return Ok(None),
            },
        };
        Err(match blocked {
            Blocked::OutOfMemory(error) => ApplyError::OutOfMemory(error),
            Blocked::Occupied(level) => ApplyError::Block(va, level),
        })
    }

    fn change<E>(
        &mut self,
        walk: &mut Walk,
        slot: Slot,
        function: PageFunction<'_, E>,
    ) -> Result<(), ApplyError<E>> {
        let (hw, va) = (&self.mm.hw, walk.at);
        let old = pte::decode(Level::Pte, hw.load(slot)).mapping();
        let change = function(va, old).map_err(|error| ApplyError::Refused(va, error))?;
        match (change, old) {
            (PageChange::Map(..), Some(_)) => return Err(ApplyError::Occupied(va)),
            (PageChange::Map(pfn, prot, mem), None) => {
                nameable(&[pfn]).map_err(|_| ApplyError::Unmappable(pfn.base()))?;
                hw.store(slot, Leaf::kernel(Level::Pte, pfn, prot, mem).word());
                self.stores(va, Level::Pte);
            }
            (PageChange::Clear, Some(leaf)) if leaf.is_contiguous() => {
                return Err(ApplyError::Block(va, Level::Pte));
            }
            (PageChange::Clear, Some(_)) => {
                hw.store(slot, 0);
                let start = walk.cleared.map_or(va, |cleared| cleared.start);
                walk.cleared = Some(VirtRange::new(start, va + PAGE_SIZE));
            }
            (PageChange::Clear, None) | (PageChange::Keep, _) => {}
        }
        Ok(())
    }

    /// What lies between what was cleared is flushed as well: all of it is the caller's.
    #[cold]
    #[inline(never)]
    fn flush(&self, cleared: VirtRange) {
        let mut ranges = Ranges::new();
        ranges.add(cleared);
        self.mm.flush_kernel(&ranges);
    }
}

/// How far a walk has come.
struct Walk {
    at: VirtAddr,
    end: VirtAddr,
    /// From the first entry that was cleared to the last.
    cleared: Option<VirtRange>,
}
