//! Areas with something behind them: memory of their own, or somebody's frames.

use super::area::Frames;
use super::leaves::Blocked;
use super::{Area, VmallocError};
use crate::frame::{Counts, Effort, Kind, NIL};
use crate::{Hardware, Mm, OutOfMemory};
use abi::{Level, Order, PAGE_SIZE, Pfn, VirtAddr, VirtRange};
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
/// The largest block that is mapped by pages: freed as it was taken, in one piece.
const LARGEST: Order = Order(9);

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
        let pages = bytes.div_ceil(PAGE_SIZE);
        let is_huge = backing == Backing::Huge && bytes >= SET;
        let block = if bytes >= Level::Pmd.span() { Level::Pmd.span() } else { SET };
        let align = if is_huge { align.max(block) } else { align };
        let mut area = self.area_take(pages, align)?;
        area.frames = Frames::Own;
        if is_huge && block > SET {
            let start = area.range().start;
            let blocks = (0..bytes / block).map(|n| start + n * block);
            self.make_way(blocks.map(|va| (va, Level::Pmd)));
        }
        area.is_parted = backing == Backing::Parted;
        let backed = match backing {
            Backing::Parted => self.back_parted(area.range()),
            _ => self.back(area.range(), is_huge),
        };
        match backed {
            Ok(()) => {
                self.show(area.range());
                Ok(area)
            }
            Err(error) => {
                self.vfree(area);
                Err(error)
            }
        }
    }

    /// Puts memory behind a range. What was mapped before an error stays.
    #[inline]
    fn back(&self, range: VirtRange, is_huge: bool) -> Result<(), VmallocError> {
        let mut at = range.start;
        // A block that could not be had is not asked for again.
        let mut largest = LARGEST;
        while at < range.end {
            let left = (range.end - at) / PAGE_SIZE;
            let wanted = Order(left.ilog2() as u8).min(largest);
            let (pfn, order) = self.some_block(wanted)?;
            largest = largest.min(order.max(Order::PAGE));
            if let Err(blocked) = self.map_backing(at, pfn, order, is_huge) {
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

    /// As [`Mm::back`], with pages that the linear map has as pages.
    #[cold]
    fn back_parted(&self, range: VirtRange) -> Result<(), VmallocError> {
        for at in (0..range.pages()).map(|n| range.start + n * PAGE_SIZE) {
            let pfn = self.parted_take()?;
            let mapped = self.map_pages(at, pfn, 1, KernelProt::Data, MemType::Normal);
            mapped.inspect_err(|_| self.parted_give(pfn))?;
        }
        Ok(())
    }

    #[inline]
    fn map_backing(
        &self,
        at: VirtAddr,
        pfn: Pfn,
        order: Order,
        is_huge: bool,
    ) -> Result<(), Blocked> {
        let (prot, mem) = (KernelProt::Data, MemType::Normal);
        if is_huge && order == LARGEST && at.is_aligned(order.bytes()) {
            match self.map_block(at, pfn, Level::Pmd, prot, mem) {
                // A table is in the way that is not empty: pages serve as well.
                Err(Blocked::Occupied(_)) => {}
                result => return result,
            }
        }
        match is_huge {
            true => self.map_sets(at, pfn, order.pages(), prot, mem),
            false => self.map_pages(at, pfn, order.pages(), prot, mem),
        }
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
    pub fn vmap(
        &self,
        frames: &[Pfn],
        prot: KernelProt,
        mem: MemType,
    ) -> Result<Area, VmallocError> {
        let area = self.area_take(frames.len() as u64, PAGE_SIZE)?;
        if let Err(blocked) = self.map_scattered(area.range().start, frames, prot, mem) {
            self.vunmap(area);
            return Err(blocked.into());
        }
        self.show(area.range());
        Ok(area)
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
        let early = self.too_early();
        let (mut at, mut blocks) = (area.range().start, NIL);
        while at < area.range().end {
            // A block's pages follow each other, as they were mapped; so only its first is looked at.
            let order = |pfn| if area.is_parted { Order::PAGE } else { self.desc(pfn).order() };
            let Some((pfn, order)) = self.take_off(at, order) else {
                // An attempt to map got no further.
                break;
            };
            self.desc(pfn).next.store(blocks, Relaxed);
            blocks = self.frames.map().index(pfn);
            at = at + order.bytes();
        }
        let is_parted = area.is_parted;
        // First the area is lazy, then its memory is somebody else's: he may want no alias of it.
        self.area_give(area, early);
        while blocks != NIL {
            let pfn = self.frames.map().pfn(blocks);
            blocks = self.desc(pfn).next.load(Relaxed);
            match is_parted {
                true => self.parted_give(pfn),
                false => self.free(pfn),
            }
        }
    }
}

impl From<Blocked> for VmallocError {
    fn from(blocked: Blocked) -> Self {
        match blocked {
            Blocked::OutOfMemory(error) => Self::OutOfMemory(error),
            Blocked::Occupied(_) => Self::OutOfMemory(OutOfMemory { order: Order::PAGE }),
        }
    }
}
