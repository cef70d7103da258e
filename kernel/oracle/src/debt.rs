//! A debt: a translation that memory no longer gives in full and that CPUs may still have.
//!
//! It begins with the store that took something away, and ends when no CPU is left that may have it: a
//! TLBI that covers it was issued where it had to be, after walkers could see the store, and was waited
//! for. Meanwhile it remembers the best attempt that was not good enough, for the report.
//!
//! The debt of a table that was taken out covers all below it: the walks into it, and the leaves in it
//! that were alive, as one range of addresses. A flush of the leaves may come in pieces, as long as they
//! join.

use crate::cover::{Cover, Covers, Span};
use crate::cpus::{Cpus, Whose};
use crate::issue::{Issue, Operand, Source};
use crate::report::Miss;
use crate::shadow::{DebtId, SlotId};
use crate::site::SiteId;
use abi::{Asid, Level, VirtAddr, VirtRange};
use pte::{Scope, Target, Tlbi};

/// What was taken away.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Taken {
    /// Where its descriptor was, and is not any more in full. Of a run, the first.
    pub(crate) slot: SlotId,
    /// How many entries of one table it was, side by side.
    pub(crate) nr: u16,
    /// Stores from one of them to the next.
    pub(crate) stride: u8,
    pub(crate) level: Level,
    /// The first address that it translates.
    pub(crate) va: VirtAddr,
    /// The descriptor. Those of a run are like it but for their addresses, which the slots still know.
    pub(crate) old: u64,
    /// It led to a table.
    pub(crate) is_walk: bool,
    /// Whose it is.
    pub(crate) space: u32,
    pub(crate) asid: Asid,
    /// CPUs that may have it, one bit each.
    pub(crate) left: u64,
    /// The store that took it away: when, by whom, where in the program.
    pub(crate) at: u64,
    pub(crate) cpu: u8,
    pub(crate) site: SiteId,
    /// Of a walk: the addresses that leaves below it translate; empty if none does.
    pub(crate) hull: Span,
    /// The first frame of a leaf, counted from the first of all; none that is watched, or a run: all ones.
    pub(crate) frame: u32,
}

impl Taken {
    /// Whether it is one of several entries.
    #[inline]
    pub(crate) const fn is_run(&self) -> bool {
        self.nr > 1
    }

    /// Whether `slot` is one of its entries.
    #[inline]
    pub(crate) const fn is_of(&self, slot: SlotId) -> bool {
        slot.0.wrapping_sub(self.slot.0) < self.nr as u32
    }

    /// When the last of its entries was taken away.
    pub(crate) const fn last(&self) -> u64 {
        self.at + (self.nr as u64 - 1) * self.stride as u64
    }
}

/// A translation that was taken away, and what was done about it.
#[derive(Clone, Copy, Debug)]
pub struct Debt {
    pub(crate) what: Taken,
    pub(crate) leaves: Covers,
    pub(crate) walks: Covers,
    /// The best attempt that was not good enough.
    pub(crate) miss: Miss,
    /// Something has happened after which it must not be used; its CPU runs something else meanwhile.
    pub(crate) is_trap: bool,
    /// In the book: neighbours in the list of all, the next of its page.
    pub(crate) links: Links,
}

/// What was done about a debt of leaves, and what became of that.
pub(crate) struct Past {
    leaves: Option<Covers>,
    miss: Miss,
    is_trap: bool,
}

/// A debt's chains.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Links {
    pub(crate) in_use: bool,
    pub(crate) before: DebtId,
    pub(crate) after: DebtId,
    pub(crate) page: DebtId,
}

impl Links {
    pub(crate) const NONE: Self =
        Self { in_use: false, before: DebtId::NONE, after: DebtId::NONE, page: DebtId::NONE };
}

impl Debt {
    /// None.
    pub const BLANK: Self = Self {
        what: Taken {
            slot: SlotId::NONE,
            nr: 1,
            stride: 1,
            level: Level::Pte,
            va: VirtAddr(0),
            old: 0,
            is_walk: false,
            space: 0,
            asid: Asid(0),
            left: 0,
            at: 0,
            cpu: 0,
            site: SiteId::UNKNOWN,
            hull: (0, 0),
            frame: u32::MAX,
        },
        leaves: Covers::NONE,
        walks: Covers::NONE,
        miss: Miss::Nothing,
        is_trap: false,
        links: Links::NONE,
    };

    /// `what` was taken away. In place: most of a debt is room for what may be done about it.
    #[inline(always)]
    pub(crate) fn begin(&mut self, what: &Taken) {
        self.what = *what;
        self.forget();
        self.is_trap = false;
    }

    /// What its parts inherit.
    pub(crate) fn past(&self) -> Past {
        // Of a run there are no walks, and mostly nothing was done yet.
        let leaves = (!self.leaves.is_none()).then_some(self.leaves);
        Past { leaves, miss: self.miss, is_trap: self.is_trap }
    }

    /// It is a part of what has this past.
    pub(crate) fn inherit(&mut self, past: &Past) {
        if let Some(leaves) = past.leaves {
            self.leaves = leaves;
        }
        (self.miss, self.is_trap) = (past.miss, past.is_trap);
    }

    /// Whatever was done about it was not for this.
    fn forget(&mut self) {
        self.leaves.clear();
        self.walks.clear();
        self.miss = Miss::Nothing;
    }

    /// The addresses it translates.
    pub(crate) fn range(&self) -> VirtRange {
        VirtRange::from_size(self.what.va, self.what.level.span() * u64::from(self.what.nr))
    }

    /// Whether it is one of a leaf that led to a frame.
    pub(crate) fn leads_to(&self, frame: usize) -> bool {
        let pages = (self.what.level.span() / abi::PAGE_SIZE) as usize;
        let first = self.what.frame;
        first != u32::MAX && (first as usize..first as usize + pages).contains(&frame)
    }

    const fn whose(&self) -> Whose {
        (self.what.space, self.what.asid)
    }

    fn span(&self) -> Span {
        let range = self.range();
        (range.start.0, range.end.0)
    }

    /// The same translation was taken away once more, after it may have come back.
    pub(crate) fn renew(&mut self, at: u64, cpu: u8, site: SiteId, left: u64) {
        (self.what.at, self.what.cpu, self.what.site) = (at, cpu, site);
        self.what.left |= left;
        self.forget();
    }

    /// Whether no CPU has it any more.
    #[inline]
    pub(crate) fn is_settled(&mut self, cpus: &Cpus) -> bool {
        if self.leaves.is_none() && self.walks.is_none() {
            return self.what.left == 0;
        }
        self.is_settled_by_now(cpus)
    }

    fn is_settled_by_now(&mut self, cpus: &Cpus) -> bool {
        let (whole, whose) = (self.span(), self.whose());
        let mut done = match (self.what.is_walk, self.what.hull.0 == self.what.hull.1) {
            (false, _) => self.leaves.done(whole, whose, cpus),
            (true, false) => self.leaves.done(self.what.hull, whose, cpus),
            (true, true) => u64::MAX,
        };
        if self.what.is_walk {
            done &= self.walks.done_within(whole, whose, cpus);
        }
        self.what.left &= !done;
        self.what.left == 0
    }

    /// Of a walk: the CPUs that may still have a leaf or a walk at `range` below it.
    pub(crate) fn left_below(&self, range: VirtRange, is_leaf: bool, cpus: &Cpus) -> u64 {
        let (span, whose) = ((range.start.0, range.end.0), self.whose());
        let done = match is_leaf {
            true => self.leaves.done(span, whose, cpus),
            false => self.walks.done_within(span, whose, cpus),
        };
        self.what.left & !done
    }

    /// Takes note of an operation, if it does something for this debt or nearly did.
    pub(crate) fn issued(&mut self, issue: &Issue, cpus: &Cpus) {
        let (whole, Issue { op, source, at, span }) = (self.span(), issue);
        if span.is_some_and(|span| span.0 >= whole.1 || whole.0 >= span.1) {
            return;
        }
        let Taken { va, asid, level, cpu: owner, .. } = self.what;
        let reached = cpus.reached(*source, *at);
        let unheard = self.what.left & !reached & cpus.everyone();
        let (asid, seen, miss) = match *source {
            Source::Tlbi { cpu, scope: Scope::Local } => {
                (asid, cpus.is_published_to(cpu, owner, self.what.at), Miss::Local(cpu))
            }
            Source::Tlbi { scope: Scope::InnerShareable, .. } => {
                (asid, cpus.is_published(owner, self.what.at), Miss::Away)
            }
            Source::Command { device, .. } => {
                let user = cpus.device(device).and_then(|device| device.user);
                // Its own number for the space, while it has one.
                let asid =
                    user.filter(|user| user.0 == self.what.space).map_or(asid, |user| user.1);
                (asid, cpus.is_published(owner, self.what.at), Miss::NotTold(device))
            }
        };
        if self.what.left & reached == 0 {
            if unheard != 0 && matches!(source, Source::Tlbi { .. }) {
                self.missed(miss);
            }
            return;
        }
        let is_kernels = self.is_kernels();
        if !is_kernels && !op.covers_asid(asid) {
            return self.missed(Miss::OtherAsid(op.asid()));
        }
        if is_kernels && matches!(op.target, Target::Asid(_)) {
            // Global leaves stay; and walks that were cached under other ASIDs.
            return self.missed(Miss::OtherAsid(op.asid()));
        }
        if !seen {
            return self.missed(Miss::NotPublished);
        }
        if unheard != 0 {
            self.missed(miss);
        }
        let cover = |span| Cover { span, at: *at, source: *source };
        if self.what.is_walk {
            if is_kernels && !op.covers_every_asid() {
                self.missed(Miss::OtherAsid(op.asid()));
            } else if op.covers(va, asid, level, false, false) {
                self.walks.add(cover(span.unwrap_or(whole)), owner);
            } else {
                self.missed(Miss::LastLevel);
            }
            if let Some(range) = leaves_below(op, whole) {
                self.leaves.add(cover(range), owner);
            }
        } else if op.covers(va, asid, level, true, is_kernels) {
            self.leaves.add(cover(whole), owner);
        } else if let Some(hint) = op.hint() {
            self.missed(Miss::Hint(hint));
        }
    }

    /// An attempt that was not good enough. What another space asked for says least.
    fn missed(&mut self, miss: Miss) {
        if self.miss == Miss::Nothing || !matches!(miss, Miss::OtherAsid(_)) {
            self.miss = miss;
        }
    }

    /// What is missing now.
    pub(crate) fn missing(&self, cpus: &Cpus) -> Miss {
        match self.leaves.waiting(cpus).or_else(|| self.walks.waiting(cpus)) {
            Some((Source::Tlbi { cpu, scope }, at)) if cpus.has_waited_once(cpu, scope, at) => {
                return Miss::NotRepeated(cpu);
            }
            Some((Source::Tlbi { cpu, .. }, _)) => return Miss::NotComplete(cpu),
            Some((Source::Command { device, .. }, _)) => return Miss::NotSynced(device),
            None => {}
        }
        let whose = self.whose();
        let ahead = self.leaves.ahead(whose, cpus).or_else(|| self.walks.ahead(whose, cpus));
        if let Some(cpu) = ahead.filter(|cpu| self.what.left >> cpu & 1 != 0) {
            return Miss::NotSynchronized(cpu);
        }
        let is_untold = self.what.left & cpus.everyone() == 0;
        match self.miss {
            Miss::Nothing if is_untold && self.what.left != 0 => {
                Miss::NotTold(self.what.left.leading_zeros() as u8)
            }
            Miss::Nothing if !self.leaves.is_none() => Miss::Part,
            miss => miss,
        }
    }

    /// Whether it is in no TLB any more, and one CPU may still have worked out something by it.
    pub(crate) fn is_flushed(&mut self, cpus: &Cpus) -> bool {
        !self.is_settled(cpus)
            && matches!(self.missing(cpus), Miss::NotSynchronized(cpu) if self.what.left == 1 << cpu)
    }

    /// Whether it was flushed and only the wait is missing.
    pub(crate) fn is_issued(&self, cpus: &Cpus) -> bool {
        let missing = self.missing(cpus);
        matches!(missing, Miss::NotComplete(_) | Miss::NotRepeated(_) | Miss::NotSynced(_))
    }
}

/// The leaves of pages below a table at `whole` that an operation removes.
fn leaves_below(op: &Tlbi, whole: (u64, u64)) -> Option<(u64, u64)> {
    let unit = match op.target {
        Target::All | Target::Asid(_) => return Some(whole),
        // A hint names the leaves of one level; which ones these are, nobody knows here.
        Target::Va { hint: Some(level), .. } | Target::Range { hint: Some(level), .. } => level,
        Target::Va { .. } | Target::Range { .. } => Level::Pte,
    };
    let range = op.range()?;
    (unit == Level::Pte).then_some((range.start.0, range.end.0))
}
