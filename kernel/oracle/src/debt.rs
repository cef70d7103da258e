//! A debt: a translation that memory no longer gives in full and that CPUs may still have.
//!
//! It begins with the store that took something away, and ends when no CPU is left that may have it: a
//! TLBI that covers it was issued where it had to be, after walkers could see the store, and was waited
//! for. Meanwhile it remembers the best attempt that was not good enough, for the report.
//!
//! The debt of a table that was taken out covers all below it: the walks into it, and the leaves in it
//! that were alive, as one range of addresses. A flush of the leaves may come in pieces, as long as they
//! join.

use crate::cpus::Cpus;
use crate::report::Miss;
use crate::shadow::{DebtId, SlotId};
use crate::site::SiteId;
use abi::{Asid, Level, VirtAddr, VirtRange};
use pte::{AsidMatch, Scope, Target, Tlbi};

/// What was issued for a debt so far.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cover {
    /// The addresses, joined.
    range: (u64, u64),
    /// When, by which CPU, how far.
    at: u64,
    cpu: u8,
    scope: Scope,
}

impl Cover {
    const NONE: Self = Self { range: (0, 0), at: 0, cpu: 0, scope: Scope::Local };

    const fn is_none(&self) -> bool {
        self.range.0 == self.range.1
    }

    /// The CPUs that have lost what it covers by now, one bit each.
    fn done(&self, cpus: &Cpus) -> u64 {
        let done = !self.is_none() && cpus.is_complete(self.cpu, self.scope, self.at);
        if done { mask(self.scope, self.cpu) } else { 0 }
    }

    fn covers(&self, range: (u64, u64)) -> bool {
        self.range.0 <= range.0 && range.1 <= self.range.1
    }

    /// Another operation, for `range`: joined where it can be.
    fn add(&mut self, new: Self, cpus: &Cpus) {
        let waits = !self.is_none() && self.done(cpus) == 0;
        // What one CPU waits for alone does not replace what all are waited for.
        if new.scope == Scope::Local && self.scope != Scope::Local && waits {
            return;
        }
        let same = self.scope == new.scope && (self.cpu == new.cpu || !waits);
        let touch = self.range.0 <= new.range.1 && new.range.0 <= self.range.1;
        let joined = (self.range.0.min(new.range.0), self.range.1.max(new.range.1));
        let range = if same && touch && !self.is_none() { joined } else { new.range };
        *self = Self { range, ..new };
    }
}

/// One bit for each CPU that `scope` of `cpu` means.
const fn mask(scope: Scope, cpu: u8) -> u64 {
    match scope {
        Scope::Local => 1 << cpu,
        Scope::InnerShareable => u64::MAX,
    }
}

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
    pub(crate) hull: (u64, u64),
    pub(crate) leaves: Cover,
    pub(crate) walks: Cover,
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
        leaves: Cover::NONE,
        walks: Cover::NONE,
        miss: Miss::Nothing,
        is_trap: false,
        links: Links::NONE,
    };

    /// The addresses it translates.
    pub(crate) fn range(&self) -> VirtRange {
        VirtRange::from_size(self.va, self.level.span())
    }

    /// The same translation was taken away once more, after it may have come back.
    pub(crate) fn renew(&mut self, at: u64, cpu: u8, site: SiteId, left: u64) {
        (self.at, self.cpu, self.site) = (at, cpu, site);
        self.left |= left;
        (self.leaves, self.walks, self.miss) = (Cover::NONE, Cover::NONE, Miss::Nothing);
    }

    /// Whether no CPU has it any more.
    pub(crate) fn is_settled(&mut self, cpus: &Cpus) -> bool {
        let mut done = self.leaves.done(cpus);
        if self.is_walk {
            if self.hull.0 == self.hull.1 {
                done = u64::MAX;
            } else if !self.leaves.covers(self.hull) {
                done = 0;
            }
            done &= self.walks.done(cpus);
        }
        self.left &= !done;
        self.left == 0
    }

    /// Of a walk: the CPUs that may still have a leaf or a walk at `range` below it.
    pub(crate) fn left_below(&self, range: VirtRange, is_leaf: bool, cpus: &Cpus) -> u64 {
        let range = (range.start.0, range.end.0);
        let cover = if is_leaf { &self.leaves } else { &self.walks };
        let touches = cover.range.0 < range.1 && range.0 < cover.range.1;
        let covered = if is_leaf { cover.covers(range) } else { touches };
        self.left & !(if covered { cover.done(cpus) } else { 0 })
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
        let cover = |range| Cover { range, at: now, cpu, scope: op.scope };
        let whole = (mine.start.0, mine.end.0);
        if self.is_walk {
            if op.covers(self.va, self.asid, self.level, false, false) {
                let range = op.range().map_or(whole, |r| (r.start.0, r.end.0));
                self.walks.add(cover(range), cpus);
            } else {
                self.missed(Miss::LastLevel);
            }
            if let Some(range) = leaves_below(op, whole) {
                self.leaves.add(cover(range), cpus);
            }
        } else if op.covers(self.va, self.asid, self.level, true, false) {
            self.leaves.add(cover(whole), cpus);
        } else if let Some(hint) = op.hint() {
            self.missed(Miss::Hint(hint));
        }
    }

    fn missed(&mut self, miss: Miss) {
        self.miss = miss;
    }

    /// What is missing now.
    pub(crate) fn missing(&self, cpus: &Cpus) -> Miss {
        let waiting =
            [&self.leaves, &self.walks].into_iter().find(|c| !c.is_none() && c.done(cpus) == 0);
        match (waiting, self.miss) {
            (Some(cover), _) => Miss::NotComplete(cover.cpu),
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
