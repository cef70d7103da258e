//! From a size to addresses that nobody has, and back.

use super::VmallocError;
use super::tree::SlotId;
use crate::{Hardware, Mm};
use abi::{PAGE_SIZE, VirtRange};
use sync::atomic::Ordering;

/// Addresses of the kernel's that somebody has. Whoever has it gives it back with what made it: only forgetting
/// it loses them.
#[doc(alias("vm_struct", "vmap_area"))]
#[must_use = "an area that is forgotten is lost"]
#[derive(PartialEq, Eq, Debug)]
pub struct Area {
    range: VirtRange,
    pub(super) node: usize,
    pub(super) id: SlotId,
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

impl<H: Hardware> Mm<H> {
    /// Addresses for `pages` pages at a multiple of `align` bytes, in no TLB.
    ///
    /// Context: may purge what is lazy, so the caller may sleep and holds no spin lock.
    #[doc(alias("alloc_vmap_area", "__get_vm_area_node"))]
    #[inline]
    pub(super) fn area_take(&self, pages: u64, align: u64) -> Result<Area, VmallocError> {
        let all = pages + GUARD;
        if align <= PAGE_SIZE && pages > 0 {
            let node = self.hw.id().index();
            let ready = self.vmalloc.nodes[node].lock(&self.hw).reuse(all, 0);
            if let Some((id, start)) = ready {
                return Ok(Area { range: self.vmalloc.range(start, pages), node, id });
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
        if !align.is_power_of_two() || align < PAGE_SIZE {
            return Err(VmallocError::Alignment(align));
        }
        let none = VmallocError::NoRoom { pages: pages.saturating_add(GUARD) };
        let all = pages.checked_add(GUARD).ok_or(none)?;
        let take = || self.vmalloc.gaps.lock(&self.hw).take(all, align / PAGE_SIZE);
        let start = match take()? {
            Some(start) => start,
            // What is lazy, and what is ready in other sizes.
            None => {
                self.purge_all();
                take()?.ok_or(none)?
            }
        };
        let node = self.hw.id().index();
        let mut own = self.vmalloc.nodes[node].lock(&self.hw);
        let made = own.areas.reserve(1).map(|()| own.areas.take(start, all, 0));
        if let Ok(Some(id)) = made {
            own.areas.link(id);
            return Ok(Area { range: self.vmalloc.range(start, pages), node, id });
        }
        drop(own);
        self.vmalloc.gaps.lock(&self.hw).give(start, all);
        Err(made.map_or_else(VmallocError::from, |_| none))
    }

    /// An area whose descriptors are clear is lazy from now on.
    ///
    /// Context: as for [`Mm::area_take`].
    #[doc(alias = "free_vmap_area_noflush")]
    #[inline]
    pub(super) fn area_give(&self, area: Area) {
        // Walkers see the clears before anybody is asked how many flushes were begun: each later one takes
        // the area with it.
        self.publish(pte::Scope::InnerShareable);
        let begun = self.vmalloc.begun.load(Ordering::SeqCst);
        let pages = self.vmalloc.nodes[area.node].lock(&self.hw).give_up(area.id, begun);
        let lazy = self.vmalloc.lazy.fetch_add(pages, Ordering::Relaxed) + pages;
        if lazy > self.lazy_most() {
            self.purge_lazy();
        }
    }

    /// How many pages may be lazy before somebody purges: 32 MiB for each doubling of the CPUs.
    #[doc(alias = "lazy_max_pages")]
    #[inline]
    pub(super) fn lazy_most(&self) -> u64 {
        let doublings = usize::BITS - self.vmalloc.nodes.len().leading_zeros();
        u64::from(doublings) * (32 << 20) / PAGE_SIZE
    }
}
