//! The areas of an address space: a sorted list of disjoint intervals.
//!
//! A plain vector, searched by bisection: compact, and quick to change as long as there are hundreds of
//! areas. A change moves what lies behind it, so that with many thousands a tree behind the same face
//! would be better.
//!
//! # Rules kept here
//! * Neighbours that differ in nothing are one area, after every change.
//! * The only step of a change that can fail comes before it: [`Layout::room`] takes the memory,
//!   while readers look on, and [`Layout::edit`] and [`Layout::insert`] use it.
//!
//! Corresponds to Linux's `mm/vma.c`: `vma_merge`, `split_vma`, and `unmapped_area`.

use super::{USER_END, USER_START, Vma};
use abi::{VirtAddr, VirtRange};
use alloc::collections::TryReserveError;
use alloc::vec::Vec;

/// The most areas by which one change can make the list longer: it may cut one in two at either end.
const GROWTH: usize = 2;

/// All areas of a space.
#[doc(alias = "maple_tree")]
pub(crate) struct Layout {
    areas: Vec<Vma>,
    /// Some area is, or was, elsewhere than its index says.
    moved: bool,
    searched: Searched,
}

/// What searches for free space have found out: below `to`, no gap is larger than `largest` bytes.
#[derive(Clone, Copy, Debug)]
struct Searched {
    to: VirtAddr,
    largest: u64,
}

/// Free space that was found, and what the search for it has found out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Gap {
    start: VirtAddr,
    searched: Searched,
}

/// Kernel memory for the areas that a change adds. What it has too much of, or instead, goes back when
/// it is dropped: outside of the change, which readers wait for.
#[must_use = "room is made for a change"]
pub(super) struct Room(Vec<Vma>);

impl Gap {
    /// Where there is room.
    pub(super) const fn start(&self) -> VirtAddr {
        self.start
    }
}

impl Room {
    /// None: for a change that takes whole areas out, and cuts none.
    pub(super) const fn none() -> Self {
        Self(Vec::new())
    }
}

impl Layout {
    pub(super) const fn new() -> Self {
        let searched = Searched { to: USER_START, largest: 0 };
        Self { areas: Vec::new(), moved: false, searched }
    }

    /// A copy, for a space that begins as this one is.
    pub(super) fn try_clone(&self) -> Result<Self, TryReserveError> {
        let mut areas = Vec::new();
        areas.try_reserve_exact(self.areas.len())?;
        areas.extend_from_slice(&self.areas);
        Ok(Self { areas, ..*self })
    }

    // --- looking ---------------------------------------------------------------------------------

    /// The areas in address order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Vma> {
        self.areas.iter()
    }

    /// The areas that end behind `va`, in address order.
    #[doc(alias = "for_each_vma")]
    pub(crate) fn iter_from(&self, va: VirtAddr) -> impl Iterator<Item = &Vma> {
        self.areas[self.position(va)..].iter()
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

    /// The areas that share a byte with `range`, in address order.
    #[doc(alias = "for_each_vma_range")]
    pub(super) fn overlaps(&self, range: VirtRange) -> impl Iterator<Item = &Vma> {
        self.iter_from(range.start).take_while(move |area| area.range.start < range.end)
    }

    /// The first area that shares a byte with `range`.
    #[doc(alias = "find_vma_intersection")]
    #[inline]
    pub(super) fn first_overlap(&self, range: VirtRange) -> Option<&Vma> {
        self.areas.get(self.position(range.start)).filter(|area| area.range.overlaps(&range))
    }

    /// The first part of `range` that is in no area.
    #[inline]
    pub(super) fn first_hole(&self, range: VirtRange) -> Option<VirtRange> {
        let mut at = range.start;
        for area in self.iter_from(at) {
            if at >= range.end {
                return None;
            }
            if area.range.start > at {
                return Some(VirtRange::new(at, area.range.start.min(range.end)));
            }
            at = area.range.end;
        }
        (at < range.end).then_some(VirtRange::new(at, range.end))
    }

    /// The free space that `range`, in which nothing is, is part of.
    #[inline]
    pub(super) fn gap_around(&self, range: VirtRange) -> VirtRange {
        let next = self.position(range.start);
        let before = next.checked_sub(1).and_then(|at| self.areas.get(at));
        let behind = self.areas[next..].iter().find(|area| area.range.start >= range.end);
        VirtRange::new(
            before.map_or(VirtAddr(0), |area| area.range.end),
            behind.map_or(USER_END, |area| area.range.start),
        )
    }

    /// Whether some area is, or was, elsewhere than its index says. While none is, the page called
    /// `index` is at the address that has this number, or nowhere.
    pub(crate) const fn is_moved(&self) -> bool {
        self.moved
    }

    // --- free space ------------------------------------------------------------------------------

    /// The lowest free start of `bytes` that lies `offset` behind a multiple of `align`, a power of
    /// two.
    #[doc(alias("get_unmapped_area", "vm_unmapped_area"))]
    pub(super) fn find_gap(&self, bytes: u64, align: u64, offset: u64) -> Option<Gap> {
        let fits = |from: VirtAddr, end: VirtAddr| {
            let start = VirtAddr(from.0 + (offset.wrapping_sub(from.0) & (align - 1)));
            (end.0.checked_sub(start.0)? >= bytes).then_some(start)
        };
        // What is known to be too small is not looked at again.
        let mut searched = if bytes > self.searched.largest {
            self.searched
        } else {
            Searched { to: USER_START, largest: 0 }
        };
        let mut at = self.position(searched.to);
        loop {
            let next = self.areas.get(at).map_or(USER_END, |area| area.range.start);
            if let Some(start) = fits(searched.to, next) {
                return Some(Gap { start, searched });
            }
            searched.largest = searched.largest.max(next.0.saturating_sub(searched.to.0));
            searched.to = self.areas.get(at)?.range.end;
            at += 1;
        }
    }

    // --- changing --------------------------------------------------------------------------------

    /// Takes memory for one change, of this layout as it is.
    #[inline]
    pub(super) fn room(&self) -> Result<Room, TryReserveError> {
        let mut larger = Vec::new();
        let wanted = self.areas.len() + GROWTH;
        if self.areas.capacity() < wanted {
            larger.try_reserve_exact(wanted.next_power_of_two())?;
        }
        Ok(Room(larger))
    }

    /// Makes use of the room, if it was needed.
    #[inline]
    fn settle(&mut self, room: &mut Room) {
        if room.0.capacity() > self.areas.capacity() {
            self.move_to(room);
        }
    }

    #[cold]
    fn move_to(&mut self, room: &mut Room) {
        // It fits, so nothing is allocated here.
        room.0.append(&mut self.areas);
        core::mem::swap(&mut room.0, &mut self.areas);
    }

    /// Adds an area to free space, which a search may have found, and joins it to its neighbours where
    /// nothing tells them apart.
    #[doc(alias("vma_link", "vma_merge_new_range"))]
    pub(super) fn insert(&mut self, area: Vma, found: Option<Gap>, room: &mut Room) {
        self.settle(room);
        if let Some(gap) = found {
            self.searched = gap.searched;
        }
        self.moved |= !area.is_at_birthplace();
        let at = self.position(area.range.start);
        if let Some(before) = at.checked_sub(1).and_then(|at| self.areas.get_mut(at))
            && before.is_continued_by(&area)
        {
            before.range.end = area.range.end;
        } else if let Some(behind) = self.areas.get_mut(at)
            && area.is_continued_by(behind)
        {
            *behind = Vma { range: VirtRange::new(area.range.start, behind.range.end), ..area };
            return;
        } else {
            self.areas.insert(at, area);
            return;
        }
        self.rewrite(at - 1..at + 1, Some);
    }

    /// Makes of every part of an area that lies in `range` what `change` says, or free space; parts are
    /// cut from their areas before, and joined to neighbours that they are no different from after.
    #[doc(alias("vma_modify", "split_vma", "vma_merge_existing_range"))]
    pub(super) fn edit(
        &mut self,
        range: VirtRange,
        room: &mut Room,
        mut change: impl FnMut(Vma) -> Option<Vma>,
    ) {
        self.settle(room);
        let first = self.cut_at(range.start);
        let end = self.cut_at(range.end);
        let mut freed = false;
        self.rewrite(first.saturating_sub(1)..end + 1, |area| {
            if !range.covers(&area.range) {
                return Some(area);
            }
            let changed = change(area);
            freed |= changed.is_none();
            changed
        });
        if freed {
            // The gap that this belongs to may be larger than what is known.
            let gap = self.gap_around(range).start;
            self.searched.to = self.searched.to.min(gap.max(USER_START));
        }
    }

    /// Cuts the area that `va` lies inside of, if one does; says which is the first from there on.
    fn cut_at(&mut self, va: VirtAddr) -> usize {
        let at = self.position(va);
        match self.areas.get_mut(at) {
            Some(area) if area.range.start < va => {
                let behind = area.cut(VirtRange::new(va, area.range.end));
                area.range.end = va;
                self.areas.insert(at + 1, behind);
                at + 1
            }
            _ => at,
        }
    }

    /// Passes the areas of these positions through `change` and joins neighbours.
    fn rewrite(
        &mut self,
        which: core::ops::Range<usize>,
        mut change: impl FnMut(Vma) -> Option<Vma>,
    ) {
        let end = which.end.min(self.areas.len());
        let mut kept = which.start;
        for at in which.start..end {
            let Some(area) = change(self.areas[at]) else { continue };
            if kept > which.start && self.areas[kept - 1].is_continued_by(&area) {
                self.areas[kept - 1].range.end = area.range.end;
            } else {
                self.areas[kept] = area;
                kept += 1;
            }
        }
        if kept < end {
            self.areas.drain(kept..end);
        }
    }
}

#[cfg(test)]
mod tests;
