//! From a size to addresses that nobody has, and back.

use super::node::{Piece, anywhere, natural, padded};
use super::slots::SlotId;
use super::{Vmalloc, VmallocError};
use crate::mutant::Mutant;
use crate::{Hardware, Mm};
use abi::{PAGE_SIZE, VirtRange};
use pte::Scope;
use sync::atomic::Ordering;

/// Addresses of the kernel's that somebody has. Whoever has it gives it back by the counterpart of the call that made
/// it, [`Mm::vfree`], [`Mm::vunmap`] or [`Mm::iounmap`]: only forgetting it loses them.
#[doc(alias("vm_struct", "vmap_area"))]
#[must_use = "an area that is forgotten is lost"]
#[derive(PartialEq, Eq, Debug)]
pub struct Area {
    range: VirtRange,
    id: SlotId,
    node: u16,
    pub(super) frames: Frames,
}

// Three words: what is handed from function to function as often as this is moved in registers.
const _: () = assert!(size_of::<Area>() == 24 && size_of::<Option<Area>>() == 24);

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
        if pages > 0
            && align.is_power_of_two()
            && let Some(area) = self.area_reuse(pages, all, align / PAGE_SIZE)
        {
            return Ok(area);
        }
        self.area_take_new(pages, align)
    }

    /// Addresses of so many pages, at a multiple of `align` of them, that this CPU has ready; `pages` are to be mapped.
    #[inline]
    fn area_reuse(&self, pages: u64, all: u64, align: u64) -> Option<Area> {
        let (node, all) = (self.hw.id().index(), padded(all, align));
        let (id, start) = self.vmalloc.nodes[node].lock(&self.hw).reuse(all, align, pages)?;
        let range = Vmalloc::range(start, pages);
        Some(Area { range, id, node: node as u16, frames: Frames::Foreign })
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
        let align = align / PAGE_SIZE;
        let all = pages.saturating_add(GUARD);
        let none = VmallocError::NoRoom { pages: all };
        // Where not even an empty space has a place, no purge makes one.
        let space = self.vmalloc.space;
        let first = (space.start.0 / PAGE_SIZE).checked_next_multiple_of(align).ok_or(none)?;
        if all > Piece::MOST || first >= space.end.0 / PAGE_SIZE {
            return Err(none);
        }
        self.area_find(pages, all, align)
    }

    /// Addresses for a block of `pages` pages, a power of two, aligned to its size. Pieces of blocks have no guards between
    /// them, and no block has one behind it.
    pub(super) fn area_take_block(&self, pages: u64) -> Result<Area, VmallocError> {
        match self.area_reuse(pages, pages, pages) {
            Some(area) => Ok(area),
            None => self.area_find(pages, pages, pages),
        }
    }

    /// An area of at least `all` pages at a multiple of `align` pages, of which `pages` are in use.
    fn area_find(&self, pages: u64, all: u64, align: u64) -> Result<Area, VmallocError> {
        let (size, any) = ((pages, padded(all, align)), (pages, anywhere(all)));
        let natural = align.max(natural(size.1));
        // Of a small size, who needs one will need more.
        let many = if size.1 <= SMALL { MANY } else { 1 };
        if let Some(area) = self.area_carve(size, natural, many)? {
            return Ok(area);
        }
        // Where there is no room for as many there may be for one, and nothing has to be flushed.
        if many > 1
            && let Some(area) = self.area_carve(size, natural, 1)?
        {
            return Ok(area);
        }
        // What is lazy, and what is ready in other sizes. Meanwhile nobody has more made ready than he needs.
        let _one = self.vmalloc.purge.lock(&self.hw);
        self.purge_all();
        if let Some(area) = self.area_carve(size, natural, 1)? {
            return Ok(area);
        }
        // Without what is natural there may be a place.
        self.area_carve(any, align, 1)?.ok_or(VmallocError::NoRoom { pages: all })
    }

    /// Cuts `many` areas of `all` pages out of a gap, the first at a multiple of `align` pages: that one is in use from now
    /// on, for `pages` pages; the others are ready.
    fn area_carve(
        &self,
        (pages, all): (u64, u64),
        align: u64,
        many: usize,
    ) -> Result<Option<Area>, VmallocError> {
        let index = self.hw.id().index();
        let mut node = self.vmalloc.nodes[index].lock(&self.hw);
        // Who looks for room under the purge's lock finds it in the gaps or ready here, and not on its way.
        let many = if self.vmalloc.purge.is_locked() { 1 } else { many };
        node.reserve(many)?;
        let taken = self.vmalloc.gaps.lock(&self.hw).take(all * many as u64, align, many)?;
        let Some(first) = taken else { return Ok(None) };
        for n in (1..many as u64).rev() {
            node.add(first + n * all, all);
        }
        let id = node.use_new(first, all, pages);
        debug_assert!(id.is_some(), "a slot was reserved for each");
        let range = Vmalloc::range(first, pages);
        Ok(id.map(|id| Area { range, id, node: index as u16, frames: Frames::Foreign }))
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
        let mut node = self.vmalloc.nodes[usize::from(area.node)].lock(&self.hw);
        let pages = node.give_up(area.id, begun);
        if self.commits(Mutant::VmallocReuseUnflushed) {
            node.hasten();
            return;
        }
        // Counted with the lock: a purge takes it off the list only behind this, and counts it off then.
        let lazy = self.vmalloc.lazy.fetch_add(pages, Ordering::Relaxed) + pages;
        drop(node);
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
        let mut node = self.vmalloc.nodes[usize::from(area.node)].lock(&self.hw);
        let piece = node.lose(area.id);
        self.vmalloc.gaps.lock(&self.hw).give(piece.start, piece.pages());
    }

    /// How many pages may be lazy before somebody purges: 32 MiB for one CPU, and as many again for each doubling.
    #[doc(alias = "lazy_max_pages")]
    #[inline]
    pub(super) fn lazy_most(&self) -> u64 {
        let doublings = usize::BITS - self.vmalloc.nodes.len().leading_zeros();
        u64::from(doublings) * (32 << 20) / PAGE_SIZE
    }
}
