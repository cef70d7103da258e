//! Addresses that nobody has, and whose translations are in no TLB: neighbours are one gap.

use super::slots::SlotId;
use super::tree::Tree;
use crate::OutOfMemory;

/// The free part of the space.
#[derive(Debug)]
pub(super) struct Gaps {
    tree: Tree,
    /// How many pieces are out: so many gaps more there may be one day.
    taken: usize,
}

impl Gaps {
    /// No addresses at all.
    pub(super) const fn none() -> Self {
        Self { tree: Tree::new(), taken: 0 }
    }

    /// Takes `pages` pages at the lowest multiple of `align` where they fit, as `pieces` pieces: the first of them.
    ///
    /// Room to give the pieces back is taken with them, so that giving back cannot fail.
    #[doc(alias("alloc_vmap_area", "find_vmap_lowest_match"))]
    pub(super) fn take(
        &mut self,
        pages: u64,
        align: u64,
        pieces: usize,
    ) -> Result<Option<u64>, OutOfMemory> {
        // One for each piece that comes back between others, one for a gap that this cuts in two.
        self.tree.reserve(self.taken + pieces + 1)?;
        let Some((id, at)) = self.tree.first_fit(pages, align) else { return Ok(None) };
        self.taken += pieces;
        let gap = *self.tree.at(id);
        let (before, behind) = (at - gap.start, gap.end() - (at + pages));
        match (before, behind) {
            (0, 0) => {
                self.tree.unlink(id);
                self.tree.give(id);
            }
            (0, _) => self.tree.resize(id, at + pages, behind),
            (_, 0) => self.tree.resize(id, gap.start, before),
            _ => {
                self.tree.resize(id, gap.start, before);
                self.insert(at + pages, behind);
            }
        }
        Ok(Some(at))
    }

    /// All of the space, at first: `pages` from `start` on.
    pub(super) fn open(&mut self, start: u64, pages: u64) -> Result<(), OutOfMemory> {
        self.tree.reserve(1)?;
        self.insert(start, pages);
        Ok(())
    }

    /// A piece that was taken is free again.
    #[doc(alias("merge_or_add_vmap_area", "free_vmap_area"))]
    pub(super) fn give(&mut self, start: u64, pages: u64) {
        self.taken -= 1;
        let before = self.tree.at_or_before(start).filter(|id| self.tree.at(*id).end() == start);
        let behind = self.tree.at_or_behind(start + pages);
        let behind = behind.filter(|id| self.tree.at(*id).start == start + pages);
        match (before, behind) {
            (Some(before), Some(behind)) => {
                let more = self.tree.at(behind).pages;
                self.tree.unlink(behind);
                self.tree.give(behind);
                self.grow(before, 0, pages + more);
            }
            (Some(before), None) => self.grow(before, 0, pages),
            (None, Some(behind)) => self.grow(behind, pages, pages),
            (None, None) => self.insert(start, pages),
        }
    }

    /// `pages` more, `down` of them in front.
    fn grow(&mut self, id: SlotId, down: u64, pages: u64) {
        let gap = *self.tree.at(id);
        self.tree.resize(id, gap.start - down, gap.pages + pages);
    }

    fn insert(&mut self, start: u64, pages: u64) {
        let id = self.tree.take(start, pages);
        debug_assert!(id.is_some(), "a slot was reserved with every piece that was taken");
        if let Some(id) = id {
            self.tree.link(id);
        }
    }

    /// Each gap, in order: its first page and how many.
    pub(super) fn each(&self, mut see: impl FnMut(u64, u64)) {
        let mut at = 0;
        while let Some(id) = self.tree.at_or_behind(at) {
            let gap = self.tree.at(id);
            see(gap.start, gap.pages);
            at = gap.end();
        }
    }
}
