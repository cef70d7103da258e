//! From a size to addresses that nobody has, and back.

use super::tree::SlotId;
use super::{Vmalloc, VmallocError};
use crate::mutant::Mutant;
use crate::{Hardware, Mm};
use abi::{PAGE_SIZE, VirtRange};
use pte::Scope;
use sync::atomic::Ordering;

/// Addresses of the kernel's that somebody has. Whoever has it gives it back with what made it: only forgetting
/// it loses them.
#[doc(alias("vm_struct", "vmap_area"))]
#[must_use = "an area that is forgotten is lost"]
#[derive(PartialEq, Eq, Debug)]
pub struct Area {
    range: VirtRange,
    pub(super) frames: Frames,
    pub(super) node: usize,
    pub(super) id: SlotId,
    /// A guard lies behind it: behind all but blocks.
    is_guarded: bool,
}

/// Whose frames an area maps: that decides who may change what can be done with them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Frames {
    /// Somebody's.
    Foreign,
    /// The area's own, to read and to write.
    Own,
    /// The area's own, and their rights were changed once.
    #[doc(alias = "VM_FLUSH_RESET_PERMS")]
    Changed,
    /// The area's own, which the linear map has by pages; their rights may have been changed.
    Parted,
}

impl Area {
    /// The addresses, without the guard behind them.
    #[inline]
    pub const fn range(&self) -> VirtRange {
        self.range
    }
}

/// The page behind each area.
const GUARD: u64 = 1;
/// Areas of up to so many pages, their guard included, are cut out of the gaps so many at a time.
const SMALL: u64 = 33;
const MANY: usize = 16;

impl<H: Hardware> Mm<H> {
    /// Addresses for `pages` pages at a multiple of `align` bytes, in no TLB.
    ///
    /// Context: may purge what is lazy, so the caller may sleep and holds no spin lock.
    #[doc(alias("alloc_vmap_area", "__get_vm_area_node"))]
    #[inline]
    pub(super) fn area_take(&self, pages: u64, align: u64) -> Result<Area, VmallocError> {
        let (all, align) = (pages.saturating_add(GUARD), align.max(PAGE_SIZE));
        if pages > 0 && align.is_power_of_two() {
            let node = self.hw.id().index();
            let ready = self.vmalloc.nodes[node].lock(&self.hw).reuse(all, align / PAGE_SIZE, 0);
            if let Some((id, start)) = ready {
                let range = Vmalloc::range(start, pages);
                return Ok(Area { range, frames: Frames::Foreign, node, id, is_guarded: true });
            }
        }
        self.area_take_new(pages, align)
    }

    /// As [`Mm::area_take`], out of the gaps.
    #[cold]
    #[inline(never)]
    fn area_take_new(&self, pages: u64, align: u64) -> Result<Area, VmallocError> {
        if pages == 0 {
            return Err(VmallocError::Empty);
        }
        if !align.is_power_of_two() {
            return Err(VmallocError::Alignment(align));
        }
        let none = VmallocError::NoRoom { pages: pages.saturating_add(GUARD) };
        let all = pages.checked_add(GUARD).ok_or(none)?;
        // Of a small size, who needs one will need more.
        let many = if align == PAGE_SIZE && all <= SMALL { MANY } else { 1 };
        self.area_find((pages, all), align, many)
    }

    /// Addresses for a block of `pages` pages, a power of two, aligned to its size. Pieces of blocks have no guards between
    /// them, and no block has one behind it.
    pub(super) fn area_take_block(&self, pages: u64) -> Result<Area, VmallocError> {
        self.area_find((pages, pages), pages * PAGE_SIZE, 1)
    }

    fn area_find(
        &self,
        (pages, all): (u64, u64),
        align: u64,
        many: usize,
    ) -> Result<Area, VmallocError> {
        if let Some(area) = self.area_carve(pages, all, align, many)? {
            return Ok(area);
        }
        // Where there is no room for as many there may be for one, and nothing has to be flushed.
        if many > 1
            && let Some(area) = self.area_carve(pages, all, align, 1)?
        {
            return Ok(area);
        }
        // What is lazy, and what is ready in other sizes.
        self.purge_all();
        self.area_carve(pages, all, align, 1)?.ok_or(VmallocError::NoRoom { pages: all })
    }

    /// Cuts `many` areas of the same size out of a gap: one is in use from now on, the others are ready.
    fn area_carve(
        &self,
        pages: u64,
        all: u64,
        align: u64,
        many: usize,
    ) -> Result<Option<Area>, VmallocError> {
        // The one lock is not waited for with the other held: all CPUs want it.
        let taken =
            self.vmalloc.gaps.lock(&self.hw).take(all * many as u64, align / PAGE_SIZE, many)?;
        let Some(first) = taken else { return Ok(None) };
        let index = self.hw.id().index();
        let mut node = self.vmalloc.nodes[index].lock(&self.hw);
        if let Err(error) = node.areas.reserve(many) {
            drop(node);
            let mut gaps = self.vmalloc.gaps.lock(&self.hw);
            (0..many as u64).for_each(|n| gaps.give(first + n * all, all));
            return Err(error.into());
        }
        for n in (1..many as u64).rev() {
            node.add(first + n * all, all);
        }
        let id = node.areas.take(first, all, 0);
        debug_assert!(id.is_some(), "a slot was reserved for each");
        Ok(id.map(|id| {
            node.areas.link(id);
            let range = Vmalloc::range(first, pages);
            Area { range, frames: Frames::Foreign, node: index, id, is_guarded: pages < all }
        }))
    }

    /// An area whose descriptors are clear is lazy from now on.
    ///
    /// Context: as for [`Mm::area_take`].
    #[doc(alias = "free_vmap_area_noflush")]
    #[inline]
    pub(super) fn area_give(&self, area: Area, early: Option<u64>) {
        // Walkers see the clears before anybody is asked how many flushes were begun: each later one takes
        // the area with it.
        self.publish(Scope::InnerShareable);
        let begun = early.unwrap_or_else(|| self.flushes_begun());
        if self.commits(Mutant::VmallocReuseUnflushed) {
            let mut node = self.vmalloc.nodes[area.node].lock(&self.hw);
            node.give_up(area.id, begun);
            node.hasten();
            return;
        }
        // Counted first: a purge may take it off the list at once, and counts it off then.
        let pages = area.range.pages() + if area.is_guarded { GUARD } else { 0 };
        let lazy = self.vmalloc.lazy.fetch_add(pages, Ordering::Relaxed) + pages;
        self.vmalloc.nodes[area.node].lock(&self.hw).give_up(area.id, begun);
        if lazy > self.lazy_most() {
            self.purge_lazy();
        }
    }

    /// Full flushes of the kernel's half that were begun so far.
    #[inline]
    fn flushes_begun(&self) -> u64 {
        self.vmalloc.begun.load(Ordering::SeqCst)
    }

    /// Where a known bug asks for [`Mm::flushes_begun`]: before the descriptors are clear.
    #[inline(always)]
    pub(super) fn too_early(&self) -> Option<u64> {
        self.commits(Mutant::VmallocTaggedEarly).then(|| self.flushes_begun())
    }

    /// What a known bug does instead of [`Mm::area_give`]: the addresses are free at once.
    #[cold]
    pub(super) fn area_reuse_unflushed(&self, area: Area) {
        let mut node = self.vmalloc.nodes[area.node].lock(&self.hw);
        let piece = *node.areas.at(area.id);
        node.areas.unlink(area.id);
        node.areas.give(area.id);
        self.vmalloc.gaps.lock(&self.hw).give(piece.start, piece.pages);
    }

    /// How many pages may be lazy before somebody purges: 32 MiB for each doubling of the CPUs.
    #[doc(alias = "lazy_max_pages")]
    #[inline]
    pub(super) fn lazy_most(&self) -> u64 {
        let doublings = usize::BITS - self.vmalloc.nodes.len().leading_zeros();
        u64::from(doublings) * (32 << 20) / PAGE_SIZE
    }
}
