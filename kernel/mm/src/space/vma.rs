//! One area of an address space: addresses that share their rights, their advice and what is behind
//! them.
//!
//! Corresponds to Linux's `struct vm_area_struct`.

use crate::rmap::index_of;
use abi::{PAGE_SHIFT, Prot, VirtAddr, VirtRange};

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

    /// A new area of given frames.
    pub const fn frames(range: VirtRange, prot: Prot) -> Self {
        let index = index_of(range.start);
        Self { range, prot, huge: Huge::Never, backing: Backing::Frames, index }
    }

    /// The same area, cut down to `range`, which it covers.
    #[must_use]
    pub const fn cut(&self, range: VirtRange) -> Self {
        Self { range, index: self.index_at(range.start), ..*self }
    }

    /// The same area at other addresses. It takes its index along: that is how the folios in it are
    /// found where they are now.
    #[must_use]
    pub const fn moved_to(&self, start: VirtAddr) -> Self {
        Self { range: VirtRange::from_size(start, self.range.bytes()), ..*self }
    }

    /// Whether its pages are called what areas at these addresses call them when they are made.
    pub const fn is_at_birthplace(&self) -> bool {
        self.index == index_of(self.range.start)
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

    /// Whether `next` begins where this area ends and differs in nothing, so that the two may as well
    /// be one. Areas of given frames stay apart: each has an owner of its own.
    #[doc(alias("can_vma_merge_after", "is_mergeable_vma"))]
    #[inline]
    pub(crate) fn is_continued_by(&self, next: &Self) -> bool {
        self.range.end == next.range.start
            && self.prot == next.prot
            && self.huge == next.huge
            && self.backing == Backing::Anonymous
            && next.backing == Backing::Anonymous
            && self.index + self.range.pages() == next.index
    }
}

#[cfg(test)]
mod tests;
