//! CPUs take up spaces, and leave them.

use crate::book::Half;
use crate::shadow::SlotId;
use crate::{By, Oracle, Rule};
use abi::{Asid, Level, Pfn};

impl Oracle {
    /// A CPU is about to make `root` its user half, under `asid`.
    pub fn enter(&mut self, by: By, root: Pfn, asid: Asid) {
        self.leave(by);
        if self.report.is_some() {
            return;
        }
        self.tick();
        let Some(frame) = self.frame_of(root) else { return };
        let Some(table) = self.table_at(frame) else {
            if self.frames[frame].kind != crate::shadow::Kind::Table {
                self.broken(Rule::RootNoTable, by, None, None);
            }
            return;
        };
        let crate::TableShadow { level, space, filled: (filled, cpu), asid: before, .. } =
            self.tables[table];
        if level != Level::Pgd {
            return self.broken(Rule::RootNoTable, by, None, None);
        }
        let slot = Some(SlotId::new(frame, 0));
        if !self.cpus.is_published(cpu, filled) && !self.cpus.is_published(by.cpu, filled) {
            return self.broken(Rule::LinkUnpublished, by, None, slot);
        }
        let twin = |cpu: u8| {
            let user = self.cpus.get(cpu).user;
            user.is_some_and(|(other, number)| number == asid && other != space)
        };
        if self.cpus.ids().any(twin) {
            return self.broken(Rule::AsidShared, by, None, None);
        }
        if let Some(before) = before.filter(|before| *before != asid) {
            self.asids.abandon(space, before);
        }
        self.tables[table].asid = Some(asid);
        if self.asids.enter(space, asid, by.cpu) {
            return self.broken(Rule::AsidStale, by, None, None);
        }
        self.cpus.get_mut(by.cpu).user = Some((space, asid));
        self.new_epoch();
        if self.book.len > 0 {
            self.meet_debts(by, space, asid);
        }
    }

    /// What is owed under the ASID that a CPU takes up: traps spring, and what its walkers may still find
    /// it may have from now on.
    fn meet_debts(&mut self, by: By, space: u32, asid: Asid) {
        let (cpus, bit) = (&self.cpus, 1 << by.cpu);
        let trap = self.book.find(Half::User, cpus, |debt| {
            if debt.what.asid != asid {
                return false;
            }
            if debt.what.space == space
                && !cpus.is_published_to(by.cpu, debt.what.cpu, debt.what.at)
            {
                debt.what.left |= bit;
            }
            debt.is_trap && debt.what.left & bit != 0
        });
        if let Some(debt) = trap.and_then(|id| self.book.get(id)).copied() {
            self.unpaid(&debt, bit, Rule::AsidTrap, by, None);
        }
    }

    /// A CPU has no user half any more. The switch synchronises its context.
    pub fn leave(&mut self, by: By) {
        let now = self.tick();
        self.cpus.synchronize(by.cpu);
        if let Some((_, asid)) = self.cpus.get_mut(by.cpu).user.take() {
            self.asids.leave(asid, now);
            self.new_epoch();
        }
    }

    /// A CPU hears no TLBI of others from now on, and keeps what it has.
    pub fn cpu_leaves(&mut self, by: By) {
        self.cpus.leaves(by.cpu);
    }

    /// It hears them again. What it has missed it has still.
    pub fn cpu_joins(&mut self, by: By) {
        let now = self.tick();
        self.cpus.joins(by.cpu, now);
    }
}
