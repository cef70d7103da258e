//! Areas with something behind them: memory of their own, or somebody's frames.

use super::area::Frames;
use super::barriers::DeferredBarriers;
use super::leaves::{Blocked, nameable};
use super::{Area, VmallocError};
use crate::frame::{Counts, Effort, Kind, NIL};
use crate::{Hardware, Mm, OutOfMemory};
use abi::{Level, Order, PAGE_SIZE, PMD_SIZE, Pfn, VirtAddr, VirtRange};
use core::sync::atomic::Ordering::Relaxed;
use pte::{CONT_PTES, KernelProt, MemType};

/// What leaves `vmalloc` uses.
#[doc(alias = "VM_ALLOW_HUGE_VMAP")]
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Backing {
    /// Pages. Their rights may change where CPUs stand it that the linear map's blocks become pages in use.
    #[default]
    Pages,
    /// Pages whose rights may change on whatever CPUs: the linear map has them by pages. Where it has blocks, whole ones are
    /// put aside for such pages, and flushed, so this is for what lives long: code, keys, tables.
    Parted,
    /// Blocks of 2 MiB, or sixteen pages as one contiguous set, wherever there is such memory and room for it; else
    /// pages.
    Huge,
}

/// Bytes of a contiguous set.
const SET: u64 = CONT_PTES as u64 * PAGE_SIZE;
/// The largest block of memory that is asked for. However it is mapped, it is freed in one piece.
const LARGEST: Order = Order::PMD;

impl<H: Hardware> Mm<H> {
    /// Memory at consecutive kernel addresses, wherever its frames are; at least `bytes`, in whole pages, to read and
    /// write. Its content is whatever the last owner left.
    ///
    /// Context: may sleep; no spin lock is held.
    #[doc(alias("__vmalloc_node_range", "vmalloc_huge"))]
    pub fn vmalloc(&self, bytes: u64, backing: Backing) -> Result<Area, VmallocError> {
        self.vmalloc_aligned(bytes, PAGE_SIZE, backing)
    }

    /// As [`Mm::vmalloc`], at a multiple of `align` bytes, a power of two.
    #[doc(alias = "__vmalloc_node")]
    pub fn vmalloc_aligned(
        &self,
        bytes: u64,
        align: u64,
        backing: Backing,
    ) -> Result<Area, VmallocError> {
        if !align.is_power_of_two() {
            return Err(VmallocError::Alignment(align));
        }
        match backing {
            Backing::Pages => self.vmalloc_pages(bytes, align),
            Backing::Huge => self.vmalloc_huge(bytes, align),
            Backing::Parted => self.vmalloc_parted(bytes, align),
        }
    }

    #[inline]
    fn vmalloc_pages(&self, bytes: u64, align: u64) -> Result<Area, VmallocError> {
        let mut scope = self.defer_barriers();
        let mut area = self.area_take(bytes.div_ceil(PAGE_SIZE), align)?;
        area.frames = Frames::Own;
        let (prot, mem) = (KernelProt::Data, MemType::Normal);
        let by_pages = |at, pfn, order: Order| scope.map_pages(at, pfn, order.pages(), prot, mem);
        let backed = self.back(area.range(), by_pages);
        self.shown(scope, area, backed)
    }

    #[inline(never)]
    fn vmalloc_huge(&self, bytes: u64, align: u64) -> Result<Area, VmallocError> {
        let block = if bytes >= PMD_SIZE { PMD_SIZE } else { SET };
        let align = if bytes >= SET { align.max(block) } else { align };
        let mut area = self.area_take(bytes.div_ceil(PAGE_SIZE), align)?;
        area.frames = Frames::Own;
        if block == PMD_SIZE {
            let start = area.range().start;
            let blocks = (0..bytes / block).map(|n| start + n * block);
            self.make_way(blocks.map(|va| (va, Level::Pmd)));
        }
        let mut scope = self.defer_barriers();
        let backed = self.back(area.range(), |at, pfn, order| scope.map_largest(at, pfn, order));
        self.shown(scope, area, backed)
    }

    #[cold]
    #[inline(never)]
    fn vmalloc_parted(&self, bytes: u64, align: u64) -> Result<Area, VmallocError> {
        let mut area = self.area_take(bytes.div_ceil(PAGE_SIZE), align)?;
        area.frames = Frames::Parted;
        let (range, mut scope) = (area.range(), self.defer_barriers());
        let more = range.pages().saturating_sub(self.parted_free());
        let mut pages = (0..range.pages()).map(|n| range.start + n * PAGE_SIZE);
        let mut back = |at| {
            let pfn = self.parted_take()?;
            let mapped = scope.map_pages(at, pfn, 1, KernelProt::Data, MemType::Normal);
            mapped.inspect_err(|_| self.parted_give(pfn)).map_err(VmallocError::from)
        };
        let enough = self.expect_memory(more).map_err(VmallocError::from);
        let backed = enough.and_then(|()| pages.try_for_each(&mut back));
        self.shown(scope, area, backed)
    }

    /// An area can be used if all of it has memory; else it goes back.
    #[inline]
    fn shown(
        &self,
        mut scope: DeferredBarriers<'_, H>,
        area: Area,
        backed: Result<(), VmallocError>,
    ) -> Result<Area, VmallocError> {
        match backed {
            Ok(()) => {
                scope.owe(area.range());
                Ok(area)
            }
            Err(error) => {
                self.vfree(area);
                Err(error)
            }
        }
    }

    /// Puts memory behind a range, which `map` maps block by block. What was mapped before an error stays.
    #[inline]
    fn back(
        &self,
        range: VirtRange,
        mut map: impl FnMut(VirtAddr, Pfn, Order) -> Result<(), Blocked>,
    ) -> Result<(), VmallocError> {
        self.expect_memory(range.pages())?;
        let mut at = range.start;
        // A block that could not be had is not asked for again.
        let mut largest = LARGEST;
        while at < range.end {
            let left = (range.end - at) / PAGE_SIZE;
            let wanted = Order(left.ilog2() as u8).min(largest);
            let (pfn, order) = self.some_block(wanted)?;
            largest = largest.min(order.max(Order::PAGE));
            if let Err(blocked) = map(at, pfn, order) {
                // What is mapped in part goes with the rest.
                if !self.is_mapped(at) {
                    self.free(pfn);
                }
                return Err(blocked.into());
            }
            at = at + order.bytes();
        }
        Ok(())
    }

    /// Refuses what there is no memory for right now. To find that out page by page is to take all there is from
    /// everybody for a while; of few pages it does not matter.
    #[inline]
    fn expect_memory(&self, pages: u64) -> Result<(), OutOfMemory> {
        if pages <= LARGEST.pages() || pages <= self.frames.free_pages(&self.hw) {
            return Ok(());
        }
        Err(OutOfMemory { order: Order::PAGE })
    }

    /// A block of `wanted`, or the largest smaller one that is there without effort.
    #[inline]
    fn some_block(&self, wanted: Order) -> Result<(Pfn, Order), OutOfMemory> {
        let take = |effort, order| self.take(effort, order, Kind::Kernel, 0, Counts::NONE);
        let mut order = wanted;
        while order > Order::PAGE {
            if let Ok(pfn) = take(Effort::Light, order) {
                return Ok((pfn, order));
            }
            order = Order(order.0 - 1);
        }
        Ok((take(Effort::Full, Order::PAGE)?, Order::PAGE))
    }

    /// The frames at consecutive addresses, in their order; they stay their owner's, who keeps them until the
    /// area has been given back.
    ///
    /// Context: as for [`Mm::vmalloc`].
    #[inline]
    pub fn vmap(
        &self,
        frames: &[Pfn],
        prot: KernelProt,
        mem: MemType,
    ) -> Result<Area, VmallocError> {
        self.defer_barriers().vmap(frames, prot, mem)
    }

    /// Takes a mapping of somebody's frames back. Who wants to be sure that no translation of them is left asks
    /// for [`Mm::unmap_aliases`].
    pub fn vunmap(&self, area: Area) {
        let early = self.too_early();
        self.clear(area.range());
        self.area_give(area, early);
    }

    /// Gives memory back that [`Mm::vmalloc`] gave, addresses and frames.
    ///
    /// Context: as for [`Mm::vmalloc`].
    pub fn vfree(&self, area: Area) {
        if area.frames == Frames::Changed {
            self.reset_rights(&area);
        }
        if area.frames == Frames::Parted {
            return self.vfree_parted(area);
        }
        self.free_area(area, |pfn| self.desc(pfn).order(), |pfn| self.free(pfn));
    }

    #[cold]
    #[inline(never)]
    fn vfree_parted(&self, area: Area) {
        self.reset_rights(&area);
        self.free_area(area, |_| Order::PAGE, |pfn| self.parted_give(pfn));
    }

    /// Takes an area's blocks off, of the sizes that `order` tells, makes it lazy, and gives them to `free`.
    #[inline]
    fn free_area(&self, area: Area, order: impl Fn(Pfn) -> Order, free: impl Fn(Pfn)) {
        let early = self.too_early();
        let (mut at, mut blocks) = (area.range().start, NIL);
        while at < area.range().end {
            // A block's pages follow each other, as they were mapped; so only its first is looked at.
            let Some((pfn, order)) = self.take_off(at, &order) else {
                // An attempt to map got no further.
                break;
            };
            self.desc(pfn).next.store(blocks, Relaxed);
            blocks = self.frames.map().index(pfn);
            at = at + order.bytes();
        }
        // First the area is lazy, then its memory is somebody else's: he may want no alias of it.
        self.area_give(area, early);
        while blocks != NIL {
            let pfn = self.frames.map().pfn(blocks);
            blocks = self.desc(pfn).next.load(Relaxed);
            free(pfn);
        }
    }
}

impl<H: Hardware> DeferredBarriers<'_, H> {
    /// As [`Mm::vmap`]; the addresses can be used once the scope is left.
    pub fn vmap(
        &mut self,
        frames: &[Pfn],
        prot: KernelProt,
        mem: MemType,
    ) -> Result<Area, VmallocError> {
        nameable(frames)?;
        let area = self.mm.area_take(frames.len() as u64, PAGE_SIZE)?;
        if let Err(blocked) = self.map_scattered(area.range().start, frames, prot, mem) {
            self.mm.vunmap(area);
            return Err(blocked.into());
        }
        self.owe(area.range());
        Ok(area)
    }

    /// Maps a block by the largest leaves that fit.
    fn map_largest(&mut self, at: VirtAddr, pfn: Pfn, order: Order) -> Result<(), Blocked> {
        let (prot, mem) = (KernelProt::Data, MemType::Normal);
        if order == LARGEST && at.is_aligned(order.bytes()) {
            match self.map_block(at, pfn, Level::Pmd, prot, mem) {
                // A table is in the way that is not empty: smaller leaves serve as well.
                Err(Blocked::Occupied(_)) => {}
                result => return result,
            }
        }
        self.map_sets(at, pfn, order.pages(), prot, mem)
    }
}

impl From<Blocked> for VmallocError {
    fn from(blocked: Blocked) -> Self {
        match blocked {
            Blocked::OutOfMemory(error) => Self::OutOfMemory(error),
            // Nobody else maps at an area's addresses, so this is not met; it is refused like what cannot be had.
            Blocked::Occupied(_) => Self::OutOfMemory(OutOfMemory { order: Order::PAGE }),
        }
    }
}
