//! Pieces of address space in order of address: a treap in which each subtree knows its largest piece.
//!
//! Pieces live in slots that stay where they are. The tree is balanced by a number that each slot is born with, so it
//! needs no rebalancing and no luck of the input's; finding, linking and unlinking take a few steps for each doubling
//! of the pieces. Memory is taken for a slot only when one is made ([`Tree::reserve`]).
//!
//! Corresponds to Linux's `struct vmap_area` and its augmented red-black tree.

use super::slots::{NONE, SlotId, Slots};
use crate::OutOfMemory;

/// A piece of address space, by page numbers.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Piece {
    /// Its first page.
    pub(super) start: u64,
    /// How many pages it has.
    pub(super) pages: u64,
    /// The most pages of a piece in this subtree.
    largest: u64,
    left: SlotId,
    right: SlotId,
}

impl Piece {
    /// The page behind its last.
    pub(super) const fn end(&self) -> u64 {
        self.start + self.pages
    }

    /// Where `pages` aligned pages fit into it first.
    fn fit(&self, pages: u64, align: u64) -> Option<u64> {
        let at = self.start.checked_next_multiple_of(align)?;
        (at.checked_add(pages)? <= self.end()).then_some(at)
    }
}

/// Slots for pieces, some of which are linked in order of address; each subtree knows its largest.
#[derive(Debug)]
pub(super) struct Tree {
    slots: Slots<Piece>,
    root: SlotId,
}

impl Tree {
    pub(super) const fn new() -> Self {
        Self { slots: Slots::new(), root: NONE }
    }

    /// Makes sure that `slots` more can be taken.
    #[inline]
    pub(super) fn reserve(&mut self, slots: usize) -> Result<(), OutOfMemory> {
        self.slots.reserve(slots)
    }

    /// A slot for a piece, not linked; there is one if it was reserved.
    pub(super) fn take(&mut self, start: u64, pages: u64) -> Option<SlotId> {
        self.slots.take(Piece { start, pages, largest: pages, left: NONE, right: NONE })
    }

    /// Takes a slot's piece away. It is not linked.
    pub(super) fn give(&mut self, id: SlotId) {
        self.slots.give(id);
    }

    /// A slot's piece.
    #[inline]
    pub(super) fn at(&self, id: SlotId) -> &Piece {
        self.slots.at(id)
    }

    #[inline]
    fn at_mut(&mut self, id: SlotId) -> &mut Piece {
        self.slots.at_mut(id)
    }

    /// Links a slot. No piece that is linked overlaps its own.
    pub(super) fn link(&mut self, id: SlotId) {
        let Piece { start, pages, .. } = *self.at(id);
        let height = Self::height(id);
        let (mut above, mut is_left, mut at) = (NONE, false, self.root);
        while at != NONE && Self::height(at) > height {
            let piece = self.at_mut(at);
            piece.largest = piece.largest.max(pages);
            (above, is_left) = (at, start < piece.start);
            at = if is_left { piece.left } else { piece.right };
        }
        let (left, right) = self.split(at, start);
        let piece = self.at_mut(id);
        (piece.left, piece.right, piece.largest) = (left, right, pages);
        self.update(id);
        self.hang(above, is_left, id);
    }

    /// Puts a subtree in its place below a slot, or at the top.
    #[inline]
    fn hang(&mut self, above: SlotId, is_left: bool, id: SlotId) {
        match above {
            NONE => self.root = id,
            above if is_left => self.at_mut(above).left = id,
            above => self.at_mut(above).right = id,
        }
    }

    /// Unlinks a slot. It is linked.
    pub(super) fn unlink(&mut self, id: SlotId) {
        let start = self.at(id).start;
        self.root = self.unlink_below(self.root, id, start);
    }

    /// Changes a linked piece's extent; it stays between its neighbours.
    pub(super) fn resize(&mut self, id: SlotId, start: u64, pages: u64) {
        let was = self.at(id).start;
        self.resize_below(self.root, id, was, (start, pages));
    }

    /// The last linked slot whose piece begins at or before `page`.
    pub(super) fn at_or_before(&self, page: u64) -> Option<SlotId> {
        let (mut at, mut best) = (self.root, NONE);
        while at != NONE {
            let piece = self.at(at);
            if piece.start <= page {
                (best, at) = (at, piece.right);
            } else {
                at = piece.left;
            }
        }
        (best != NONE).then_some(best)
    }

    /// The first linked slot whose piece begins at or behind `page`.
    pub(super) fn at_or_behind(&self, page: u64) -> Option<SlotId> {
        let (mut at, mut best) = (self.root, NONE);
        while at != NONE {
            let piece = self.at(at);
            if piece.start >= page {
                (best, at) = (at, piece.left);
            } else {
                at = piece.right;
            }
        }
        (best != NONE).then_some(best)
    }

    /// The lowest place with room for `pages`, at a multiple of `align`: its slot, and where.
    pub(super) fn first_fit(&self, pages: u64, align: u64) -> Option<(SlotId, u64)> {
        // A piece with room for this has room whatever its place; with less it depends.
        self.fit_below(self.root, pages, align)
    }

    fn fit_below(&self, at: SlotId, pages: u64, align: u64) -> Option<(SlotId, u64)> {
        if self.largest(at) < pages {
            return None;
        }
        let piece = self.at(at);
        self.fit_below(piece.left, pages, align)
            .or_else(|| Some((at, piece.fit(pages, align)?)))
            .or_else(|| self.fit_below(piece.right, pages, align))
    }

    fn largest(&self, id: SlotId) -> u64 {
        if id == NONE { 0 } else { self.at(id).largest }
    }

    /// What balances: the higher one is nearer to the root. Slots at equal distances are the usual case, and of
    /// those every second one differs in the lowest bit, every fourth in the next: at any distance they
    /// halve each other.
    #[inline]
    const fn height(id: SlotId) -> u32 {
        id.wrapping_add(1).wrapping_mul(0x9e37_79b9).reverse_bits()
    }

    #[inline]
    fn update(&mut self, id: SlotId) {
        let Piece { pages, left, right, .. } = *self.at(id);
        self.at_mut(id).largest = pages.max(self.largest(left)).max(self.largest(right));
    }

    /// What begins before `start`, and the rest.
    fn split(&mut self, at: SlotId, start: u64) -> (SlotId, SlotId) {
        if at == NONE {
            return (NONE, NONE);
        }
        if self.at(at).start < start {
            let (left, right) = self.split(self.at(at).right, start);
            self.at_mut(at).right = left;
            self.update(at);
            (at, right)
        } else {
            let (left, right) = self.split(self.at(at).left, start);
            self.at_mut(at).left = right;
            self.update(at);
            (left, at)
        }
    }

    fn unlink_below(&mut self, at: SlotId, id: SlotId, start: u64) -> SlotId {
        let Piece { left, right, start: here, .. } = *self.at(at);
        if at == id {
            return self.join(left, right);
        }
        if start < here {
            let left = self.unlink_below(left, id, start);
            self.at_mut(at).left = left;
        } else {
            let right = self.unlink_below(right, id, start);
            self.at_mut(at).right = right;
        }
        self.update(at);
        at
    }

    /// Two trees as one; all of `left` is before all of `right`.
    fn join(&mut self, left: SlotId, right: SlotId) -> SlotId {
        if left == NONE || right == NONE {
            return if left == NONE { right } else { left };
        }
        if Self::height(left) > Self::height(right) {
            let below = self.join(self.at(left).right, right);
            self.at_mut(left).right = below;
            self.update(left);
            left
        } else {
            let below = self.join(left, self.at(right).left);
            self.at_mut(right).left = below;
            self.update(right);
            right
        }
    }

    fn resize_below(&mut self, at: SlotId, id: SlotId, was: u64, to: (u64, u64)) {
        let Piece { left, right, start, .. } = *self.at(at);
        if at == id {
            let piece = self.at_mut(at);
            (piece.start, piece.pages) = to;
        } else {
            self.resize_below(if was < start { left } else { right }, id, was, to);
        }
        self.update(at);
    }
}

#[cfg(test)]
#[path = "tree_tests.rs"]
mod tests;
