//! A debt: a translation that memory no longer gives in full and that CPUs may still have.
//!
//! It begins with the store that took something away, and ends when no CPU is left that may have it: a
//! TLBI that covers it was issued where it had to be, after walkers could see the store, and was waited
//! for. Meanwhile it remembers the best attempt that was not good enough, for the report.
//!
//! The debt of a table that was taken out covers all below it: the walks into it, and the leaves in it
//! that were alive, as one range of addresses. A flush of the leaves may come in pieces, as long as they
//! join.

use crate::cover::{Cover, Covers, Span, mask};
use crate::cpus::Cpus;
use crate::report::Miss;
use crate::shadow::{DebtId, SlotId};
use crate::site::SiteId;
use abi::{Asid, Level, VirtAddr, VirtRange};
use pte::{AsidMatch, Scope, Target, Tlbi};

/// A translation that was taken away.
#[derive(Clone, Copy, Debug)]
pub struct Debt {
    /// Where its descriptor was, and is not any more in full.
    pub(crate) slot: SlotId,
    pub(crate) level: Level,
    /// The first address that it translates.
    pub(crate) va: VirtAddr,
    /// The descriptor.
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
    pub(crate) leaves: Covers,
    pub(crate) walks: Covers,
    /// The best attempt that was not good enough.
    pub(crate) miss: Miss,
    /// Something has happened after which it must not be used; its CPU runs something else meanwhile.
    pub(crate) is_trap: bool,
    /// In the book: neighbours in the list of all, the next of its page, the next of its frame.
    pub(crate) links: Links,
}

/// A debt's chains.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Links {
    pub(crate) in_use: bool,
    pub(crate) before: DebtId,
    pub(crate) after: DebtId,
    pub(crate) page: DebtId,
    pub(crate) frame: DebtId,
}

impl Links {
    pub(crate) const NONE: Self = Self {
        in_use: false,
        before: DebtId::NONE,
        after: DebtId::NONE,
        page: DebtId::NONE,
        frame: DebtId::NONE,
    };
}

impl Debt {
    /// None.
    pub const BLANK: Self = Self {
        slot: SlotId::NONE,
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
        leaves: Covers::NONE,
        walks: Covers::NONE,
        miss: Miss::Nothing,
        is_trap: false,
        links: Links::NONE,
    };

    /// The addresses it translates.
    pub(crate) fn range(&self) -> VirtRange {
        VirtRange::from_size(self.va, self.level.span())
    }

    fn span(&self) -> Span {
        let range = self.range();
        (range.start.0, range.end.0)
    }

    /// The same translation was taken away once more, after it may have come back.
    pub(crate) fn renew(&mut self, at: u64, cpu: u8, site: SiteId, left: u64) {
        (self.at, self.cpu, self.site) = (at, cpu, site);
        self.left |= left;
        (self.leaves, self.walks, self.miss) = (Covers::NONE, Covers::NONE, Miss::Nothing);
    }

    /// Whether no CPU has it any more.
    pub(crate) fn is_settled(&mut self, cpus: &Cpus) -> bool {
        let whole = self.span();
        let mut done = match (self.is_walk, self.hull.0 == self.hull.1) {
            (false, _) => self.leaves.done(whole, cpus),
            (true, false) => self.leaves.done(self.hull, cpus),
            (true, true) => u64::MAX,
        };
        if self.is_walk {
            done &= self.walks.done_within(whole, cpus);
        }
        self.left &= !done;
        self.left == 0
    }

    /// Of a walk: the CPUs that may still have a leaf or a walk at `range` below it.
    pub(crate) fn left_below(&self, range: VirtRange, is_leaf: bool, cpus: &Cpus) -> u64 {
        let span = (range.start.0, range.end.0);
        let done = match is_leaf {
            true => self.leaves.done(span, cpus),
            false => self.walks.done_within(span, cpus),
        };
        self.left & !done
    }

    /// Takes note of an operation issued at `now`, if it does something for this debt or nearly did.
    pub(crate) fn issued(&mut self, op: &Tlbi, cpu: u8, now: u64, cpus: &Cpus) {
        let mine = self.range();
        if op.range().is_some_and(|range| !range.overlaps(&mine)) {
            return;
        }
        if !op.covers_asid(self.asid) {
            self.missed(Miss::OtherAsid(op.asid()));
            return;
        }
        let seen = match op.scope {
            Scope::Local => cpus.is_published_to(cpu, self.cpu, self.at),
            Scope::InnerShareable => cpus.is_published(self.cpu, self.at),
        };
        if !seen {
            return self.missed(Miss::NotPublished);
        }
        let reached = mask(op.scope, cpu);
        if self.left & reached == 0 {
            return self.missed(Miss::Local(cpu));
        }
        if self.left & !reached != 0 {
            self.missed(Miss::Local(cpu));
        }
        let cover = |span| Cover { span, at: now, cpu, scope: op.scope };
        let whole = self.span();
        if self.is_walk {
            if op.covers(self.va, self.asid, self.level, false, false) {
                let range = op.range().map_or(whole, |r| (r.start.0, r.end.0));
                self.walks.add(cover(range), self.cpu);
            } else {
                self.missed(Miss::LastLevel);
            }
            if let Some(range) = leaves_below(op, whole) {
                self.leaves.add(cover(range), self.cpu);
            }
        } else if op.covers(self.va, self.asid, self.level, true, false) {
            self.leaves.add(cover(whole), self.cpu);
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
        let waiting = self.leaves.waiting(cpus).or_else(|| self.walks.waiting(cpus));
        match (waiting, self.miss) {
            (Some(cpu), _) => Miss::NotComplete(cpu),
            (None, Miss::Nothing) if !self.leaves.is_none() => Miss::Part,
            (None, miss) => miss,
        }
    }

    /// Whether it was flushed and only the wait is missing.
    pub(crate) fn is_issued(&self, cpus: &Cpus) -> bool {
        matches!(self.missing(cpus), Miss::NotComplete(_))
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

/// What an operation carries.
trait Operand {
    fn asid(&self) -> Asid;
    fn covers_asid(&self, asid: Asid) -> bool;
    fn hint(&self) -> Option<Level>;
}

impl Operand for Tlbi {
    fn asid(&self) -> Asid {
        match self.target {
            Target::Asid(asid)
            | Target::Va { asid: AsidMatch::Only(asid), .. }
            | Target::Range { asid: AsidMatch::Only(asid), .. } => asid,
            _ => Asid(0),
        }
    }

    fn covers_asid(&self, asid: Asid) -> bool {
        match self.target {
            Target::All => true,
            Target::Asid(only) => only == asid,
            Target::Va { asid: only, .. } | Target::Range { asid: only, .. } => {
                only == AsidMatch::Any || only == AsidMatch::Only(asid)
            }
        }
    }

    fn hint(&self) -> Option<Level> {
        match self.target {
            Target::Va { hint, .. } | Target::Range { hint, .. } => hint,
            _ => None,
        }
    }
}
