//! What one flush of the kernel's half has to reach: ranges, for as long as there are few, and no hull around what
//! lies between them.
//!
//! Linux flushes the hull, from the lowest address to the highest: of two areas at either end of the space that
//! is everything.

use abi::{Level, PAGE_SIZE, VirtAddr, VirtRange};
use pte::{AsidMatch, Caps, CostModel, Invalidation, Plan};

/// How many ranges are kept apart.
const APART: usize = 32;

/// Among how many that came last a neighbour is looked for.
const NEAR: usize = 8;

/// What lies between neighbours at most: a guard.
const APART_BY: u64 = PAGE_SIZE;

/// Ranges of addresses whose leaves are to go.
#[derive(Debug)]
pub(super) struct Ranges {
    ranges: [VirtRange; APART],
    len: usize,
    hull: VirtRange,
    /// There were more than are kept apart.
    is_hull: bool,
}

impl Ranges {
    pub(super) const fn new() -> Self {
        let empty = VirtRange::new(VirtAddr(0), VirtAddr(0));
        Self { ranges: [empty; APART], len: 0, hull: empty, is_hull: false }
    }

    /// Adds one; neighbours in the order they come become one, with a guard between them or none.
    pub(super) fn add(&mut self, range: VirtRange) {
        if range.is_empty() {
            return;
        }
        let is_first = self.hull.is_empty();
        let (low, high) = (self.hull.start.min(range.start), self.hull.end.max(range.end));
        self.hull = if is_first { range } else { VirtRange::new(low, high) };
        if self.is_hull {
            return;
        }
        let kept = self.ranges[..self.len].iter_mut().rev();
        let near = kept.take(NEAR).find(|near| {
            near.end.0.abs_diff(range.start.0) <= APART_BY
                || near.start.0.abs_diff(range.end.0) <= APART_BY
        });
        if let Some(near) = near {
            *near = VirtRange::new(near.start.min(range.start), near.end.max(range.end));
        } else if let Some(free) = self.ranges.get_mut(self.len) {
            *free = range;
            self.len += 1;
        } else {
            self.is_hull = true;
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.hull.is_empty()
    }

    /// The ranges from which to invalidate `what` says what, or `None`: everything at once is cheaper.
    pub(super) fn plan(
        &self,
        what: fn(VirtRange) -> Invalidation,
        caps: &Caps,
        cost: &CostModel,
    ) -> Option<&[VirtRange]> {
        let ranges = match self.is_hull {
            true => core::slice::from_ref(&self.hull),
            false => &self.ranges[..self.len],
        };
        let ops = |range: &VirtRange| {
            let plan = Plan::new(&what(*range), caps, cost);
            (!plan.is_whole()).then_some(plan.len())
        };
        let all = ranges.iter().try_fold(0, |sum, range| Some(sum + ops(range)?));
        all.filter(|ops| *ops < cost.max_ops as usize).map(|_| ranges)
    }
}

/// Leaves of whatever size went from these addresses of the kernel's.
pub(super) const fn leaves(range: VirtRange) -> Invalidation {
    Invalidation { hint: None, ..Invalidation::leaves(range, Level::Pte, AsidMatch::Any) }
}
