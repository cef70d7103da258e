//! One CPU's share of the areas: those in use by address, those given up, those that are ready to be used.
//!
//! A CPU takes areas from its own node, so that CPUs rarely meet; an area goes back to the node that it came from,
//! whichever CPU frees it. A slot stands for the same addresses from when they are taken out of the gaps until
//! they go back there: what is given up and flushed keeps its slot and waits in the pool of its size.
//!
//! Each slot is in one place (I-25 of the rules in [`super`]): linked by address, on the list of those given up, with
//! the purge, or in a pool.
//!
//! Corresponds to Linux's `struct vmap_node`.

use super::audit::Where;
use super::tree::{NONE, Piece, SlotId, Tree};

/// Areas of up to so many pages, their guard included, are kept ready by size.
#[doc(alias = "MAX_VA_SIZE_PAGES")]
const POOLED: u64 = 257;
/// So are those of one huge block.
const HUGE: u64 = 513;
/// How many pools that makes.
pub(super) const POOLS: usize = POOLED as usize + 1;

/// The pool of areas of so many pages.
#[inline]
const fn pool_of(pages: u64) -> Option<usize> {
    match pages {
        1..=POOLED => Some(pages as usize - 1),
        HUGE => Some(POOLED as usize),
        _ => None,
    }
}

/// How many ready areas behind the first are looked at for one that is aligned.
const LOOKED_AT: usize = 8;

/// What one CPU has of the space.
#[derive(Debug)]
pub(super) struct Node {
    /// The slots of all its areas; linked are those in use.
    pub(super) areas: Tree<false>,
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
        Self { areas: Tree::new(), lazy: NONE, pools: [Pool { first: NONE, len: 0 }; POOLS] }
    }

    /// An area of just so many pages that is ready, at a multiple of `align` of them, now in use for `tag`. Only the
    /// first of a pool are looked at.
    #[inline]
    pub(super) fn reuse(&mut self, pages: u64, align: u64, tag: u64) -> Option<(SlotId, u64)> {
        let at = pool_of(pages)?;
        let pool = &mut self.pools[at];
        let id = pool.first;
        if id == NONE {
            return None;
        }
        let behind = self.areas.behind(id);
        if align > 1 && self.areas.at(id).start & (align - 1) != 0 {
            return self.reuse_aligned(at, align, tag);
        }
        *pool = Pool { first: behind, len: pool.len - 1 };
        self.use_for(id, tag)
    }

    #[cold]
    fn reuse_aligned(&mut self, pool: usize, align: u64, tag: u64) -> Option<(SlotId, u64)> {
        let mut before = self.pools[pool].first;
        for _ in 0..LOOKED_AT {
            let id = self.areas.behind(before);
            if id == NONE {
                return None;
            }
            let behind = self.areas.behind(id);
            if self.areas.at(id).start & (align - 1) == 0 {
                self.areas.chain(before, behind);
                self.pools[pool].len -= 1;
                return self.use_for(id, tag);
            }
            before = id;
        }
        None
    }

    #[inline]
    fn use_for(&mut self, id: SlotId, tag: u64) -> Option<(SlotId, u64)> {
        let piece = self.areas.at_mut(id);
        piece.tag = tag;
        let start = piece.start;
        self.areas.link(id);
        Some((id, start))
    }

    /// An area in use is given up: what it mapped is cleared, and may be cached until a flush that began
    /// after flush number `begun`.
    #[inline]
    pub(super) fn give_up(&mut self, id: SlotId, begun: u64) {
        self.areas.unlink(id);
        self.areas.at_mut(id).tag = begun;
        self.lazy = self.areas.chain(id, self.lazy);
    }

    /// An area of these pages is new, and ready. A slot for it was reserved, and its size is pooled.
    pub(super) fn add(&mut self, start: u64, pages: u64) {
        if let Some(id) = self.areas.take(start, pages, 0) {
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
        let Some(pool) = pool_of(piece.pages).map(|at| &mut self.pools[at]) else {
            self.areas.give(id);
            return Some(piece);
        };
        *pool = Pool { first: self.areas.chain(id, pool.first), len: pool.len + 1 };
        None
    }

    /// Each area: its first page, how many it has with its guard, and where it is.
    pub(super) fn each(&self, mut see: impl FnMut(u64, u64, Where)) {
        let mut at = 0;
        while let Some(id) = self.areas.at_or_behind(at) {
            let piece = self.areas.at(id);
            see(piece.start, piece.pages, Where::InUse);
            at = piece.end();
        }
        let pools = self.pools.iter().map(|pool| (pool.first, Where::Ready));
        for (head, place) in pools.chain([(self.lazy, Where::Lazy)]) {
            let mut id = head;
            while id != NONE {
                let piece = self.areas.at(id);
                see(piece.start, piece.pages, place);
                id = self.areas.behind(id);
            }
        }
    }

    /// How many areas of a pool nobody will miss: a quarter, or all.
    #[doc(alias = "decay_va_pool_node")]
    pub(super) fn surplus(&self, pool: usize, all: bool) -> u32 {
        let len = self.pools[pool].len;
        if all { len } else { len / 4 }
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
