//! One CPU's share of the areas: those in use, those given up, those that are ready to be used.
//!
//! A CPU takes areas from its own node, so that CPUs rarely meet; an area goes back to the node that it came from,
//! whichever CPU frees it. A slot stands for the same addresses from when they are taken out of the gaps until
//! they go back there: what is given up and flushed keeps its slot and waits in the pool of its size.
//!
//! Each slot is in one place (T-25): in use, on the list of those given up, with the purge, or
//! in a pool. Areas in use are on no list and in no tree: whoever has one knows its slot, and nobody asks for areas by
//! address. Who wants all of them looks at all slots.
//!
//! Corresponds to Linux's `struct vmap_node`, which keeps those in use in a tree: a search in it when one comes, another
//! when it goes.

use super::audit::Where;
use super::slots::{NONE, SlotId, Slots};
use crate::OutOfMemory;

/// Areas of up to so many pages, their guard included, are kept ready by size.
#[doc(alias = "MAX_VA_SIZE_PAGES")]
const POOLED: u64 = 257;
/// So are those of one huge block, with their guard or without, and blocks of small mappings.
const LARGE: [u64; 3] = [512, 513, 1024];
/// How many pools that makes.
const POOLS: usize = POOLED as usize + LARGE.len();

/// The pool of areas of so many pages.
#[inline]
const fn pool_of(pages: u64) -> Option<usize> {
    match pages {
        1..=POOLED => Some(pages as usize - 1),
        512 => Some(POOLED as usize),
        513 => Some(POOLED as usize + 1),
        1024 => Some(POOLED as usize + 2),
        _ => None,
    }
}

/// What an area of so many pages begins at a multiple of, in pages: the largest power of two that divides its size,
/// if its size is pooled; and of a huge block with its guard, the block. So all areas of a pool are aligned alike, and
/// whoever needs an aligned one asks for a [multiple](padded) of that.
pub(super) const fn natural(pages: u64) -> u64 {
    match pool_of(pages) {
        Some(_) if pages == 513 => 512,
        Some(_) => 1 << pages.trailing_zeros(),
        None => 1,
    }
}

/// How many pages to ask for where `pages` are needed at a multiple of `align`, a power of two: so many that an
/// area of that size is at such a place by nature, if that size is pooled.
#[inline]
pub(super) const fn padded(pages: u64, align: u64) -> u64 {
    if align <= natural(pages) {
        return pages;
    }
    let padded = pages.wrapping_add(align - 1) & !(align - 1);
    if pool_of(padded).is_some() { padded } else { pages }
}

/// As few pages as hold `pages` and begin anywhere by nature.
pub(super) const fn anywhere(pages: u64) -> u64 {
    let odd = pages | 1;
    if natural(odd) == 1 { odd } else { odd + 2 }
}

/// An area's addresses, by page numbers.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Piece {
    /// Its first page.
    pub(super) start: u64,
    /// How many flushes were begun when it was given up; or [`IN_USE`].
    pub(super) tag: u64,
    pages: u32,
    /// Of these so many, the first, may have been mapped by its last owner; the others are guards.
    used: u32,
}

impl Piece {
    /// The most pages that one has.
    pub(super) const MOST: u64 = u32::MAX as u64;

    /// How many pages it has, its guard included.
    pub(super) const fn pages(&self) -> u64 {
        self.pages as u64
    }

    /// How many of them, from the first on, may have been mapped.
    pub(super) const fn used(&self) -> u64 {
        self.used as u64
    }
}

/// The tag of an area in use.
const IN_USE: u64 = u64::MAX;

/// What one CPU has of the space.
#[derive(Debug)]
pub(super) struct Node {
    /// The slots of all its areas.
    areas: Slots<Piece>,
    /// Areas in use, and their pages.
    in_use: (u64, u64),
    /// Given up, in no particular order; tagged with the number of flushes begun by then.
    #[doc(alias = "vn->lazy")]
    pub(super) lazy: SlotId,
    /// Ready, by size. None of their addresses is in a TLB.
    #[doc(alias = "vn->pool")]
    pools: [Pool; POOLS],
}

/// Ready areas of one size.
#[derive(Clone, Copy, Debug)]
struct Pool {
    first: SlotId,
    len: u32,
}

impl Node {
    pub(super) const fn new() -> Self {
        let areas = Slots::new();
        Self { areas, in_use: (0, 0), lazy: NONE, pools: [Pool { first: NONE, len: 0 }; POOLS] }
    }

    /// Areas in use, and their pages.
    pub(super) const fn in_use(&self) -> (u64, u64) {
        self.in_use
    }

    /// Makes sure that `n` more areas can be added.
    pub(super) fn reserve(&mut self, n: usize) -> Result<(), OutOfMemory> {
        self.areas.reserve(n)
    }

    /// An area of just so many pages that is ready, if what is [natural] for them is a multiple of `align` pages; of its
    /// pages `used` are in use from now on.
    #[inline]
    pub(super) fn reuse(&mut self, pages: u64, align: u64, used: u64) -> Option<(SlotId, u64)> {
        if align > 1 && natural(pages) < align {
            return None;
        }
        let pool = &mut self.pools[pool_of(pages)?];
        let id = pool.first;
        if id == NONE {
            return None;
        }
        *pool = Pool { first: self.areas.behind(id), len: pool.len - 1 };
        Some((id, self.use_it(id, used)))
    }

    /// An area on no list is in use from now on: its first page.
    #[inline]
    fn use_it(&mut self, id: SlotId, used: u64) -> u64 {
        let piece = self.areas.at_mut(id);
        (piece.tag, piece.used) = (IN_USE, used as u32);
        self.in_use = (self.in_use.0 + 1, self.in_use.1 + piece.pages());
        piece.start
    }

    /// An area of at most [`Piece::MOST`] pages is new, and `used` of them are in use. A slot for it was reserved.
    pub(super) fn use_new(&mut self, start: u64, pages: u64, used: u64) -> Option<SlotId> {
        let id = self.areas.take(Piece { start, tag: 0, pages: pages as u32, used: 0 })?;
        self.use_it(id, used);
        Some(id)
    }

    /// An area is in use no more, and on no list.
    #[inline]
    fn leave(&mut self, id: SlotId, tag: u64) -> u64 {
        let piece = self.areas.at_mut(id);
        debug_assert_eq!(piece.tag, IN_USE, "given up twice");
        piece.tag = tag;
        self.in_use = (self.in_use.0 - 1, self.in_use.1 - piece.pages());
        piece.pages()
    }

    /// An area in use is given up: what it mapped is cleared, and may be cached until a flush that began
    /// after flush number `begun`. How many pages that are.
    #[inline]
    pub(super) fn give_up(&mut self, id: SlotId, begun: u64) -> u64 {
        let pages = self.leave(id, begun);
        self.lazy = self.areas.chain(id, self.lazy);
        pages
    }

    /// An area in use is nobody's, and not this node's any more.
    #[cold]
    pub(super) fn lose(&mut self, id: SlotId) -> Piece {
        self.leave(id, 0);
        let piece = *self.areas.at(id);
        self.areas.give(id);
        piece
    }

    /// An area on the list of those given up, and the one behind it.
    pub(super) fn given_up(&self, id: SlotId) -> (Piece, SlotId) {
        (*self.areas.at(id), self.areas.behind(id))
    }

    /// An area of these pages is new, and ready. A slot for it was reserved, and its size is pooled; it begins where
    /// that is [natural].
    pub(super) fn add(&mut self, start: u64, pages: u64) {
        if let Some(id) = self.areas.take(Piece { start, tag: 0, pages: pages as u32, used: 0 }) {
            self.make_ready(id);
        }
    }

    /// What a known bug does with the area that was given up last: it is ready.
    #[cold]
    pub(super) fn hasten(&mut self) {
        let id = self.lazy;
        self.lazy = self.areas.behind(id);
        self.make_ready(id);
    }

    /// An area on no list becomes ready, if its size is pooled; else it is to go back to the gaps.
    pub(super) fn make_ready(&mut self, id: SlotId) -> Option<Piece> {
        let piece = *self.areas.at(id);
        let Some(pool) = pool_of(piece.pages()).map(|at| &mut self.pools[at]) else {
            self.areas.give(id);
            return Some(piece);
        };
        debug_assert!(
            piece.start.is_multiple_of(natural(piece.pages())),
            "not where its pool says"
        );
        *pool = Pool { first: self.areas.chain(id, pool.first), len: pool.len + 1 };
        None
    }

    /// Each area: its first page, how many it has with its guard, and where it is.
    pub(super) fn each(&self, mut see: impl FnMut(u64, u64, Where)) {
        let used = self.areas.each().filter(|piece| piece.tag == IN_USE);
        used.for_each(|piece| see(piece.start, piece.pages(), Where::InUse));
        let pools = self.pools.iter().map(|pool| (pool.first, Where::Ready));
        for (head, place) in pools.chain([(self.lazy, Where::Lazy)]) {
            let mut id = head;
            while id != NONE {
                let piece = self.areas.at(id);
                see(piece.start, piece.pages(), place);
                id = self.areas.behind(id);
            }
        }
    }

    /// The first pool from `from` on in which there are areas that nobody will miss, a quarter or all of them, and how
    /// many that are.
    #[doc(alias = "decay_va_pool_node")]
    pub(super) fn surplus(&self, from: usize, all: bool) -> Option<(usize, u32)> {
        let surplus = |len: u32| if all { len } else { len / 4 };
        let mut pools = self.pools.iter().enumerate().skip(from);
        pools.find_map(|(at, pool)| Some((at, surplus(pool.len))).filter(|(_, some)| *some > 0))
    }

    /// Takes an area out of a pool, to go back to the gaps.
    pub(super) fn wither(&mut self, pool: usize) -> Option<Piece> {
        let Pool { first: id, len } = self.pools[pool];
        if id == NONE {
            return None;
        }
        self.pools[pool] = Pool { first: self.areas.behind(id), len: len - 1 };
        let piece = *self.areas.at(id);
        self.areas.give(id);
        Some(piece)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whatever is asked for at whatever alignment, no more is taken than an area at such places by nature has.
    #[test]
    fn what_is_padded_is_aligned_by_nature() {
        for pages in 1..2000 {
            for align in (0..12).map(|shift| 1 << shift) {
                let size = padded(pages, align);
                assert!(size >= pages);
                assert!(size == pages || natural(size) >= align, "{pages} at {align}: for nothing");
            }
            let anywhere = anywhere(pages);
            assert!((pages..pages + 4).contains(&anywhere) && natural(anywhere) == 1, "{pages}");
        }
    }
}
