//! The areas of an address space: a sorted list of disjoint intervals.
//!
//! A plain vector, searched by bisection: compact, and growing it can fail without harm, which is
//! what an out-of-memory that stays an error value needs. Insertion moves what lies behind; spaces
//! with many thousands of areas would want a tree behind the same face.

use super::{USER_END, USER_START};
use crate::rmap::index_of;
use abi::{PAGE_SHIFT, Prot, VirtAddr, VirtRange};
use alloc::collections::TryReserveError;
use alloc::vec::Vec;

/// What a program has said about huge pages in an area.
#[doc(alias("MADV_HUGEPAGE", "MADV_NOHUGEPAGE", "VM_HUGEPAGE", "VM_NOHUGEPAGE"))]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Huge {
    /// Nothing: the policy decides.
    Default,
    /// It wants them.
    Advised,
    /// It wants none.
    Never,
}

/// What is behind an area.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Backing {
    /// Memory of its own, zero at first.
    #[doc(alias = "vma_is_anonymous")]
    Anonymous,
    /// Given frames that nobody counts, mapped when the area was made.
    #[doc(alias = "VM_PFNMAP")]
    Frames,
}

/// One area: addresses that share their rights and advice.
#[doc(alias = "vm_area_struct")]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Vma {
    /// Its addresses, whole pages.
    pub range: VirtRange,
    /// What may be done there.
    pub prot: Prot,
    /// What was said about huge pages.
    pub huge: Huge,
    /// What is behind it.
    pub backing: Backing,
    /// What its first page is called by the folios that are mapped here: the number of the virtual
    /// page that it was when the area was made, wherever it has moved since.
    #[doc(alias = "vm_pgoff")]
    pub index: u64,
}

impl Vma {
    /// A new area of anonymous memory.
    pub const fn anonymous(range: VirtRange, prot: Prot, huge: Huge) -> Self {
        Self { range, prot, huge, backing: Backing::Anonymous, index: index_of(range.start) }
    }

    /// The same area, cut down to `range`, which it covers.
    #[must_use]
    pub const fn cut(&self, range: VirtRange) -> Self {
        Self { range, index: self.index_at(range.start), ..*self }
    }

    /// What the page at `va` is called; see [`Vma::index`].
    #[doc(alias = "linear_page_index")]
    pub const fn index_at(&self, va: VirtAddr) -> u64 {
        self.index + ((va.0 - self.range.start.0) >> PAGE_SHIFT)
    }

    /// Where in the area the pages called `index` and the `pages` from there on are; empty where none
    /// of them is.
    #[doc(alias = "vma_address")]
    pub const fn addresses_of(&self, index: u64, pages: u64) -> VirtRange {
        let end = self.index + self.range.pages();
        let first = if index > self.index { index } else { self.index };
        let last = if index + pages < end { index + pages } else { end };
        if first >= last {
            return VirtRange::new(self.range.start, self.range.start);
        }
        let start = VirtAddr(self.range.start.0 + ((first - self.index) << PAGE_SHIFT));
        VirtRange::from_size(start, (last - first) << PAGE_SHIFT)
    }

    /// The 2 MiB around `va`, if all of it lies in the area.
    #[doc(alias = "thp_vma_suitable_order")]
    #[inline]
    pub(crate) const fn block_around(&self, va: VirtAddr, bytes: u64) -> Option<VirtRange> {
        let range = VirtRange::from_size(va.align_down(bytes), bytes);
        if self.range.covers(&range) { Some(range) } else { None }
    }
}

/// All areas of a space.
#[doc(alias = "maple_tree")]
pub(crate) struct Layout {
    areas: Vec<Vma>,
    /// Some area is, or was, elsewhere than its index says.
    moved: bool,
}

impl Layout {
    pub(super) const fn new() -> Self {
        Self { areas: Vec::new(), moved: false }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Vma> {
        self.areas.iter()
    }

    /// The areas that end behind `va`, in address order.
    #[doc(alias = "for_each_vma")]
    pub(crate) fn iter_from(&self, va: VirtAddr) -> impl Iterator<Item = &Vma> {
        self.areas[self.position(va)..].iter()
    }

    /// Whether some area is, or was, elsewhere than its index says. While none is, page `index` is at
    /// the address that the index is the number of, or nowhere.
    pub(crate) const fn is_moved(&self) -> bool {
        self.moved
    }

    /// Index of the first area that ends behind `va`.
    #[inline]
    fn position(&self, va: VirtAddr) -> usize {
        self.areas.partition_point(|area| area.range.end <= va)
    }

    /// The area that contains `va`.
    #[doc(alias = "find_vma")]
    #[inline]
    pub(crate) fn find(&self, va: VirtAddr) -> Option<&Vma> {
        self.areas.get(self.position(va)).filter(|area| area.range.contains(va))
    }

    /// The first area that shares a byte with `range`.
    #[doc(alias = "find_vma_intersection")]
    pub(super) fn first_overlap(&self, range: VirtRange) -> Option<&Vma> {
        self.areas.get(self.position(range.start)).filter(|area| area.range.overlaps(&range))
    }

    /// The lowest free start of `bytes`, aligned to `align`, a power of two.
    #[doc(alias("get_unmapped_area", "vm_unmapped_area"))]
    pub(super) fn find_gap(&self, bytes: u64, align: u64) -> Option<VirtAddr> {
        let fits = |from: VirtAddr, end: VirtAddr| {
            let start = from.align_up(align);
            (start >= from && end.0.checked_sub(start.0)? >= bytes).then_some(start)
        };
        let mut from = USER_START;
        for area in &self.areas {
            if let Some(start) = fits(from, area.range.start) {
                return Some(start);
            }
            from = area.range.end;
        }
        fits(from, USER_END)
    }

    /// Adds an area to free space.
    pub(super) fn insert(&mut self, area: Vma) -> Result<(), TryReserveError> {
        self.areas.try_reserve(1)?;
        self.moved |= area.index != index_of(area.range.start);
        self.areas.insert(self.position(area.range.start), area);
        Ok(())
    }

    /// Takes `range` out of every area; an area that spans it becomes two. Returns the free space
    /// around `range` afterwards, or `None` if there was nothing in it.
    pub(super) fn remove(
        &mut self,
        range: VirtRange,
    ) -> Result<Option<VirtRange>, TryReserveError> {
        let first = self.position(range.start);
        let behind = first
            + self.areas[first..].iter().take_while(|area| area.range.start < range.end).count();
        if first == behind {
            return Ok(None);
        }
        // The only step that can fail comes before the first change.
        self.areas.try_reserve(2)?;
        let (head, tail) = (self.areas[first], self.areas[behind - 1]);
        let before = VirtRange::new(head.range.start, range.start);
        let after = VirtRange::new(range.end, tail.range.end);
        self.areas.drain(first..behind);
        // Not `splice`: it allocates where the length of its source is not exact.
        for (range, area) in [(after, tail), (before, head)] {
            if !range.is_empty() {
                self.areas.insert(first, area.cut(range));
            }
        }
        let floor =
            self.areas[..self.position(range.start)].last().map_or(VirtAddr(0), |a| a.range.end);
        let ceiling =
            self.areas.get(self.position(range.start)).map_or(USER_END, |a| a.range.start);
        Ok(Some(VirtRange::new(floor, ceiling)))
    }
}

#[cfg(test)]
mod tests;
