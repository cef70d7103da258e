//! Which TLB maintenance operations remove a range at the least cost.
//!
//! Three ways are legal for the same range: one operation for each leaf that may be cached, a few
//! range operations where the CPU has them, or everything of the address space at once. The cost
//! model puts a price on each and the cheapest wins. A plan is a few words and yields its
//! operations one by one: nothing is allocated, so it works inside an unmap that ran out of memory.
//!
//! Invariant: the operations of a plan together remove every leaf of the stride's size in the range,
//! and unless the plan is for everything, they name no address outside the range rounded to whole
//! strides.
//!
//! Source: Arm ARM, "TLB maintenance instructions that apply to a range of addresses"; Linux
//! `__flush_tlb_range_op`.

use crate::tlbi::range_pages;
use crate::{AsidMatch, Caps, Depth, Scope, Target, Tlbi};
use abi::{Asid, Level, PAGE_SHIFT, VirtAddr, VirtRange};

/// What has to be invalidated.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Invalidation {
    /// The addresses.
    pub range: VirtRange,
    /// The size of what was mapped: one by-VA operation removes this much. The smallest size where
    /// several were.
    pub stride: Level,
    /// In which address spaces.
    pub asid: AsidMatch,
    /// Leaves, or walks too.
    pub depth: Depth,
    /// The level of the leaves; `None` where tables went or levels are mixed.
    pub hint: Option<Level>,
    /// On which CPUs.
    pub scope: Scope,
}

impl Invalidation {
    /// Leaves of one size went or changed; the tables above them stay.
    pub const fn leaves(range: VirtRange, level: Level, asid: AsidMatch) -> Self {
        let (depth, scope) = (Depth::LastLevel, Scope::InnerShareable);
        Self { range, stride: level, asid, depth, hint: Some(level), scope }
    }

    /// Table pointers of `level` went, each with nothing cached below but walks: one operation for
    /// each, since one address inside a table's reach finds the walk.
    pub const fn tables(range: VirtRange, level: Level, asid: AsidMatch) -> Self {
        let (depth, scope) = (Depth::AllLevels, Scope::InnerShareable);
        Self { range, stride: level, asid, depth, hint: None, scope }
    }

    /// The one operation that removes it all, if it is no more than one leaf: most flushes are, and need
    /// no plan.
    #[inline]
    pub const fn single(&self) -> Option<Tlbi> {
        let (bytes, start) = (self.stride.span(), self.range.start);
        let va = start.align_down(bytes);
        if self.range.is_empty() || self.range.end.0 - va.0 > bytes {
            return None;
        }
        let hint = match self.hint {
            Some(level) if level as u8 == self.stride as u8 => self.hint,
            _ => None,
        };
        let target = Target::Va { va, asid: self.asid, depth: self.depth, hint };
        Some(Tlbi { target, scope: self.scope })
    }

    /// Pages and the tables that held them went together, or nobody kept track.
    pub const fn mixed(range: VirtRange, asid: AsidMatch) -> Self {
        Self::tables(range, Level::Pte, asid)
    }
}

/// What operations cost, in units of one's own choice.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CostModel {
    /// From this many by-VA operations on, a flush of everything is cheaper, with all the refills
    /// that follow it. Linux: 512, the entries of a table.
    pub max_ops: u32,
    /// One by-VA operation.
    pub by_va: u32,
    /// One range operation.
    pub by_range: u32,
}

impl CostModel {
    /// Linux's threshold; a range operation at the price of a page: both are one broadcast.
    pub const LINUX: Self = Self { max_ops: 512, by_va: 1, by_range: 1 };

    /// For CPUs without range operations. Each operation is a message that every CPU answers; a full
    /// flush is one message, and then refills of what was hot: a few dozen walks through caches that
    /// still hold the tables. So the break-even is nearer to the hot set's size than to a table's.
    pub const BY_PAGE: Self = Self { max_ops: 64, by_va: 1, by_range: 1 };

    /// The model for CPUs like these. By range a flush takes a handful of operations whatever its size,
    /// so there everything of a space is dropped only beyond what ranges reach.
    pub const fn of(caps: &Caps) -> Self {
        if caps.tlb_range { Self::LINUX } else { Self::BY_PAGE }
    }
}

impl Default for CostModel {
    fn default() -> Self {
        Self::LINUX
    }
}

/// The most pages that one plan of range operations covers: 8 GiB.
const MAX_RANGE_PAGES: u64 = range_pages(3, 31);

/// The operations that carry out an [`Invalidation`], in any order that is convenient.
#[derive(Clone, PartialEq, Eq, Debug)]
#[must_use = "a plan removes nothing until its operations are issued"]
pub struct Plan {
    rest: Rest,
    asid: AsidMatch,
    depth: Depth,
    hint: Option<Level>,
    scope: Scope,
}

/// What is still to be yielded.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Rest {
    Nothing,
    Whole,
    Strides { next: VirtAddr, left: u64, bytes: u64 },
    Ranges { next: VirtAddr, pages: u64, scale: u8 },
}

impl Plan {
    /// The cheapest legal way. A hint survives only where it agrees with the stride: one that is
    /// deeper would leave most of each stride cached.
    pub fn new(inv: &Invalidation, caps: &Caps, cost: &CostModel) -> Self {
        let hint = inv.hint.filter(|level| *level == inv.stride);
        Self {
            rest: Rest::cheapest(inv, caps, cost),
            asid: inv.asid,
            depth: inv.depth,
            hint,
            scope: inv.scope,
        }
    }

    /// Everything of one address space, walks included.
    pub const fn whole_asid(asid: Asid, scope: Scope) -> Self {
        Self::whole(AsidMatch::Only(asid), scope)
    }

    /// Everything of one address space, or of all of them and the kernel.
    pub const fn whole(asid: AsidMatch, scope: Scope) -> Self {
        Self { rest: Rest::Whole, asid, depth: Depth::AllLevels, hint: None, scope }
    }

    /// Whether it goes beyond the range asked for and removes everything.
    pub const fn is_whole(&self) -> bool {
        matches!(self.rest, Rest::Whole)
    }

    /// The level of the leaves that operations by address name, where it may be named.
    #[inline]
    pub const fn hint(&self) -> Option<Level> {
        self.hint
    }

    /// The addresses of the operations, if each is one leaf of one address space: how many, from which on,
    /// how far apart. For loops that shall do no more than they must.
    #[inline]
    pub const fn leaves(&self) -> Option<(u64, VirtAddr, u64, Asid)> {
        match (&self.rest, self.asid, self.depth) {
            (Rest::Strides { next, left, bytes }, AsidMatch::Only(asid), Depth::LastLevel) => {
                Some((*left, *next, *bytes, asid))
            }
            _ => None,
        }
    }

    fn va(&self, va: VirtAddr) -> Target {
        Target::Va { va, asid: self.asid, depth: self.depth, hint: self.hint }
    }
}

impl Rest {
    fn cheapest(inv: &Invalidation, caps: &Caps, cost: &CostModel) -> Self {
        if inv.range.is_empty() {
            return Self::Nothing;
        }
        let bytes = inv.stride.span();
        let next = inv.range.start.align_down(bytes);
        // By the last byte, not the end: the end of the address space does not fit a word.
        let last = (inv.range.end.0 - 1) | (bytes - 1);
        let left = ((last - next.0) >> inv.stride.shift()) + 1;
        let pages = ((last - next.0) >> PAGE_SHIFT) + 1;

        let by_va = u64::from(cost.by_va);
        let strides = left.saturating_mul(by_va);
        let whole = u64::from(cost.max_ops).saturating_mul(by_va);
        let ranges = if caps.tlb_range && pages <= MAX_RANGE_PAGES {
            let ops = range_ops(pages);
            ops.saturating_mul(cost.by_range.into()).saturating_add((pages & 1) * by_va)
        } else {
            u64::MAX
        };
        if ranges < strides && ranges < whole {
            Self::Ranges { next, pages, scale: 3 }
        } else if strides < whole {
            Self::Strides { next, left, bytes }
        } else {
            Self::Whole
        }
    }

    fn len(&self) -> u64 {
        match *self {
            Self::Nothing => 0,
            Self::Whole => 1,
            Self::Strides { left, .. } => left,
            Self::Ranges { pages, .. } => range_ops(pages) + (pages & 1),
        }
    }
}

/// How many range operations the even part of `pages`, at most [`MAX_RANGE_PAGES`], takes: one for each
/// digit in base 32, and none more at the top, where a unit may be taken 32 times.
const fn range_ops(pages: u64) -> u64 {
    let mut ops = 0;
    let mut left = pages >> 1;
    let mut scale = 3;
    loop {
        let unit = 1 << (5 * scale);
        if left >= unit {
            ops += 1;
            left %= unit;
        }
        if scale == 0 {
            return ops;
        }
        scale -= 1;
    }
}

impl Iterator for Plan {
    type Item = Tlbi;

    fn next(&mut self) -> Option<Tlbi> {
        let (target, rest) = match self.rest {
            Rest::Nothing => return None,
            Rest::Whole => {
                let target = match self.asid {
                    AsidMatch::Any => Target::All,
                    AsidMatch::Only(asid) => Target::Asid(asid),
                };
                (target, Rest::Nothing)
            }
            Rest::Strides { next, left: 1, .. } | Rest::Ranges { next, pages: 1, .. } => {
                (self.va(next), Rest::Nothing)
            }
            Rest::Strides { next, left, bytes } => {
                (self.va(next), Rest::Strides { next: next + bytes, left: left - 1, bytes })
            }
            Rest::Ranges { next, pages, mut scale } => {
                // The cut for pages == 1 above leaves at least one unit at scale 0.
                while pages < range_pages(scale, 0) {
                    scale -= 1;
                }
                let num = (pages / range_pages(scale, 0) - 1) as u8;
                let done = range_pages(scale, num);
                let (asid, depth, hint) = (self.asid, self.depth, self.hint);
                let rest = if pages == done {
                    Rest::Nothing
                } else {
                    let next = next + (done << PAGE_SHIFT);
                    Rest::Ranges { next, pages: pages - done, scale }
                };
                (Target::Range { start: next, scale, num, asid, depth, hint }, rest)
            }
        };
        self.rest = rest;
        Some(Tlbi { target, scope: self.scope })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let len = self.rest.len() as usize;
        (len, Some(len))
    }
}

impl ExactSizeIterator for Plan {}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
