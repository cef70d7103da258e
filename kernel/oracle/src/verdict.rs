//! A verdict: the first broken rule, with what is known of the entry that it is about.

use crate::debt::Debt;
use crate::report::{Miss, Report, Step, Subject};
use crate::shadow::{DebtId, SlotId};
use crate::stores::Change;
use crate::tables::Place;
use crate::{By, Oracle, Rule};
use abi::PhysAddr;

impl Oracle {
    /// The entry of a change, for a report.
    pub(crate) fn subject(&self, change: &Change) -> Subject {
        let (va, asid) = match change.place {
            Place::Root { va, root } => (Some(va), self.tables[root].asid),
            Place::Loose { .. } => (None, None),
        };
        let Change { level, old, new, .. } = *change;
        Subject { slot: self.address(change.slot), level, va, asid, old, new }
    }

    /// Keeps the first report: of `rule`, broken by `by`, about an entry that `changed` last.
    pub(crate) fn broken(
        &mut self,
        rule: Rule,
        by: By,
        subject: Option<Subject>,
        changed: Option<SlotId>,
    ) {
        self.broken_about(rule, by, subject, changed, None, 0);
    }

    /// As [`Oracle::broken`], where it is about a frame, and CPUs that can reach it.
    pub(crate) fn broken_about(
        &mut self,
        rule: Rule,
        by: By,
        subject: Option<Subject>,
        changed: Option<SlotId>,
        frame: Option<PhysAddr>,
        cpus: u64,
    ) {
        if self.report.is_some() {
            return;
        }
        let changed = changed.and_then(|slot| {
            let kept = &self.tables[self.table_at(slot.frame())?].slots[slot.index()];
            let known = kept.site != crate::site::SiteId::UNKNOWN;
            known.then(|| Step { cpu: kept.cpu, site: self.sites.site(kept.site) })
        });
        self.report = Some(Report {
            rule,
            subject,
            changed,
            wrong: Step { cpu: by.cpu, site: by.site },
            frame,
            missing: None,
            cpus: cpus & self.cpus.everyone(),
            devices: (cpus & !self.cpus.everyone()).reverse_bits(),
            platform: self.platform,
        });
    }

    /// A debt must be paid by now: it is, or it is a trap for CPUs that run something else, or `rule` is
    /// broken.
    pub(crate) fn demand(&mut self, id: DebtId, rule: Rule, by: By, frame: Option<PhysAddr>) {
        let Some(debt) = self.book.get_mut(id) else { return };
        if debt.is_settled(&self.cpus) {
            return self.book.remove(id);
        }
        let usable = debt.what.left & self.cpus.users(debt.what.space, debt.what.asid);
        debt.is_trap = true;
        if usable != 0 {
            let debt = *debt;
            self.unpaid(&debt, usable, rule, by, frame);
        }
    }

    /// What a debt lacks. Operations on a whole ASID are not shown to the kernel's; that there was one is told.
    fn missing(&self, debt: &Debt) -> Miss {
        match (debt.missing(&self.cpus), self.by_asid) {
            (Miss::Nothing, Some((asid, at))) if debt.is_kernels() && at > debt.what.at => {
                Miss::OtherAsid(asid)
            }
            (miss, _) => miss,
        }
    }

    /// A report about a debt.
    pub(crate) fn unpaid(
        &mut self,
        debt: &Debt,
        cpus: u64,
        rule: Rule,
        by: By,
        frame: Option<PhysAddr>,
    ) {
        if self.report.is_some() {
            return;
        }
        // Of a run, the entry that was taken away last.
        let debt =
            &Debt { what: self.part_of(&debt.what, debt.what.nr - 1..debt.what.nr), ..*debt };
        let table = self.table_at(debt.what.slot.frame());
        let new = table.map_or(0, |table| self.tables[table].slots[debt.what.slot.index()].word());
        self.report = Some(Report {
            rule,
            subject: Some(Subject {
                slot: self.address(debt.what.slot),
                level: debt.what.level,
                va: Some(debt.what.va),
                asid: Some(debt.what.asid),
                old: debt.what.old,
                new,
            }),
            changed: Some(Step { cpu: debt.what.cpu, site: self.sites.site(debt.what.site) }),
            wrong: Step { cpu: by.cpu, site: by.site },
            frame,
            missing: Some(self.missing(debt)),
            cpus: cpus & self.cpus.everyone(),
            devices: (cpus & !self.cpus.everyone()).reverse_bits(),
            platform: self.platform,
        });
    }
}
