//! Barriers and TLBIs.

use crate::book::Half;
use crate::issue::{Issue, Source};
use crate::{By, Oracle};
use abi::Asid;
use pte::{Scope, Target, Tlbi};

/// Operations of one CPU on a whole ASID, or on everything, that it has not waited for.
#[derive(Clone, Copy)]
pub(crate) struct Broad {
    /// Of which ASID (all), how far, when.
    pending: [Option<(Option<Asid>, Scope, u64)>; 8],
    next: usize,
}

impl Broad {
    pub(crate) const NONE: Self = Self { pending: [None; 8], next: 0 };
}

/// What a DSB waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Waits {
    /// Everything before it, TLBIs too: `DSB ISH`.
    All,
    /// Stores: `DSB ISHST`. Walkers see them; a TLBI before it may go on.
    Stores,
    /// Loads: `DSB ISHLD`. It does nothing for descriptors that were stored, nor for TLBIs.
    Loads,
}

impl Oracle {
    /// A CPU executed a DSB.
    pub fn dsb(&mut self, by: By, waits: Waits, scope: Scope) {
        match waits {
            Waits::All => self.complete(by, scope),
            Waits::Stores => self.publish(by, scope),
            Waits::Loads => drop(self.tick()),
        }
    }

    /// A CPU made its earlier stores visible to walkers: a DSB for stores.
    pub fn publish(&mut self, by: By, scope: Scope) {
        let now = self.tick();
        self.cpus.publish(by.cpu, scope, now);
    }

    /// A CPU waited for its earlier TLBIs: a full DSB.
    pub fn complete(&mut self, by: By, scope: Scope) {
        let now = self.tick();
        self.cpus.complete(by.cpu, scope, now);
        let broad = &mut self.broad[usize::from(by.cpu)];
        let mut flushed = false;
        for pending in &mut broad.pending {
            let Some((asid, reach, at)) = *pending else { continue };
            let (cpus, source) = (&self.cpus, Source::Tlbi { cpu: by.cpu, scope: reach });
            if !cpus.is_complete(source, at) {
                continue;
            }
            *pending = None;
            let done = cpus.reached(source, at);
            self.asids.flushed(asid, done, at, |asid| cpus.running(asid));
            flushed = true;
        }
        if flushed {
            self.new_epoch();
        }
    }

    /// A CPU synchronised its context: an ISB, or whatever does the same. Its next instructions go by what
    /// was complete.
    pub fn synchronize(&mut self, by: By) {
        self.cpus.synchronize(by.cpu);
    }

    /// A CPU is about to issue a TLBI.
    pub fn tlbi(&mut self, by: By, mut op: Tlbi) {
        if self.report.is_some() {
            return;
        }
        let now = self.tick();
        self.cpus.followed(by.cpu, op.scope);
        if let Target::Va { hint, .. } = &mut op.target
            && !self.caps.ttl
        {
            *hint = None;
        }
        let whole = match op.target {
            Target::All => Some(None),
            Target::Asid(asid) => Some(Some(asid)),
            _ => None,
        };
        if let Some(asid) = whole {
            self.by_asid = asid.map(|asid| (asid, now)).or(self.by_asid);
            let broad = &mut self.broad[usize::from(by.cpu)];
            broad.pending[broad.next % broad.pending.len()] = Some((asid, op.scope, now));
            broad.next += 1;
        }
        let source = Source::Tlbi { cpu: by.cpu, scope: op.scope };
        self.issue(&Issue::new(op, source, now));
    }

    /// All debts look at an operation.
    pub(crate) fn issue(&mut self, issue: &Issue) {
        if self.book.len == 0 {
            return;
        }
        if let Some(span) = issue.span {
            self.cut_runs(span, None);
        }
        let cpus = &self.cpus;
        let look = |debt: &mut crate::Debt| {
            if debt.is_settled(cpus) {
                return false;
            }
            debt.issued(issue, cpus);
            true
        };
        match issue.op.target {
            Target::Va { va, .. } => self.book.near(va, look),
            // Of the kernel's half, whose leaves are global, it does nothing for any.
            Target::Asid(_) => self.book.each(Half::User, look),
            _ => {
                self.book.each(Half::User, look);
                self.book.each(Half::Kernel, look);
            }
        }
    }
}
