//! One descriptor for each page of memory, and which block a page belongs to.
//!
//! # The one invariant
//! Every page belongs to exactly one block, an aligned power of two of pages. The descriptor of the
//! block's first page (the *head*) says whose it is and how large; the descriptors of the others say
//! [`Kind::Tail`]. Splitting and merging keep this with one store each, so nobody ever writes 511
//! tails, and the head of any page is found by clearing low bits of its number until a descriptor is
//! not a tail.
//!
//! Corresponds to Linux's `mem_map`, `pfn_to_page` and `compound_head`.

use super::page::{Kind, PageDesc};
use abi::{Order, Pfn, PhysRange};

/// "No page" in a descriptor's links.
pub(crate) const NIL: u32 = u32::MAX;

/// The descriptors of all pages from the first to the last byte of memory, holes included.
#[doc(alias("mem_map", "vmemmap"))]
#[derive(Clone, Copy)]
pub struct MemMap {
    base: Pfn,
    descs: &'static [PageDesc],
}

impl MemMap {
    /// A memmap whose first descriptor is `base`'s. `base` is aligned to the largest order, so that
    /// a block's buddy has the same offset from it as from zero.
    ///
    /// # Panics
    /// When `base` is not so aligned, or there are 2^32 pages or more: both are the boot's mistake.
    pub fn new(base: Pfn, descs: &'static [PageDesc]) -> Self {
        assert!(base.is_aligned(Order::MAX) && descs.len() < NIL as usize);
        Self { base, descs }
    }

    /// The memory it spans.
    pub fn range(&self) -> PhysRange {
        PhysRange::new(self.base.base(), (self.base + self.descs.len() as u64).base())
    }

    /// The descriptor of a page that is known to be memory.
    #[doc(alias = "pfn_to_page")]
    ///
    /// # Panics
    /// When `pfn` is outside: the number came from nowhere.
    #[inline]
    pub fn desc(&self, pfn: Pfn) -> &'static PageDesc {
        &self.descs[self.index(pfn) as usize]
    }

    /// The descriptors of a block's pages.
    ///
    /// # Panics
    /// As [`MemMap::desc`].
    #[inline]
    pub(crate) fn block(&self, first: Pfn, order: Order) -> &'static [PageDesc] {
        let at = self.index(first) as usize;
        &self.descs[at..at + order.pages() as usize]
    }

    /// The descriptor of a page that may be anything, such as one read from a table.
    #[inline]
    #[doc(alias = "pfn_to_online_page")]
    pub fn find(&self, pfn: Pfn) -> Option<&'static PageDesc> {
        // What is below the base wraps, far beyond the end.
        self.descs.get(pfn.0.wrapping_sub(self.base.0) as usize)
    }

    /// The head of the block that contains `pfn`; `None` for a page of no block. Right at some moment of the
    /// call, also while the block is cut into parts.
    #[doc(alias = "compound_head")]
    #[inline]
    pub fn head(&self, pfn: Pfn) -> Option<Pfn> {
        if self.find(pfn)?.kind() != Kind::Tail { Some(pfn) } else { self.head_of_tail(pfn) }
    }

    fn head_of_tail(&self, pfn: Pfn) -> Option<Pfn> {
        let mut refused = None;
        loop {
            let (head, order) = self.nearest(pfn)?;
            if pfn - head < order.pages() {
                return Some(head);
            }
            // Behind the block's end: it belongs to none; or the block was cut after its tails were looked
            // at, and then another look, which comes after that, finds the part.
            if refused == Some((head, order)) {
                return None;
            }
            refused = Some((head, order));
        }
    }

    /// The nearest head at or below `pfn` of a block that could contain it, and the block's size.
    fn nearest(&self, pfn: Pfn) -> Option<(Pfn, Order)> {
        let mut at = pfn.0;
        // Blocks are aligned to their size and at most of the largest order.
        let floor = pfn.align_down(Order::MAX).0;
        loop {
            let (kind, order) = self.find(Pfn(at))?.kind_and_order();
            if kind != Kind::Tail {
                return Some((Pfn(at), order));
            }
            if at == floor {
                return None;
            }
            at &= at - 1;
        }
    }

    #[inline]
    pub(crate) fn index(&self, pfn: Pfn) -> u32 {
        (pfn.0.wrapping_sub(self.base.0)) as u32
    }

    #[inline]
    pub(crate) fn pfn(&self, index: u32) -> Pfn {
        self.base + u64::from(index)
    }

    /// Every block head with its descriptor, in address order. A walk over a machine at work sees
    /// each block as it was at some moment.
    pub fn blocks(&self) -> impl Iterator<Item = (Pfn, &'static PageDesc)> + '_ {
        let mut at = 0;
        core::iter::from_fn(move || {
            let desc = self.descs.get(at)?;
            let pfn = self.base + at as u64;
            at += match desc.kind() {
                Kind::Tail => 1,
                _ => desc.order().pages() as usize,
            };
            Some((pfn, desc))
        })
        .filter(|(_, desc)| desc.kind() != Kind::Tail)
    }
}
