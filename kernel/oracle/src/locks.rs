//! What only the lock of a table excuses is in order when the lock is released.

use crate::shadow::SlotId;
use crate::stores::Change;
use crate::tables::Place;
use crate::{By, How, Oracle, Rule};
use abi::Level;
use pte::Entry;
use pte::bits::{ADDRESS, AF, CONT, DIRTY, RDONLY, VALID, WRITE};

/// Entries that the contiguous mark joins.
const RUN: usize = 16;

impl Oracle {
    /// A CPU is about to take the lock of a table of pages, or of a table of tables.
    pub fn lock(&mut self, by: By, level: Level) {
        self.cpus.get_mut(by.cpu).held[usize::from(level == Level::Pte)] += 1;
    }

    /// A CPU is about to release one.
    pub fn unlock(&mut self, by: By, level: Level) {
        let now = self.tick();
        let held = &mut self.cpus.get_mut(by.cpu).held[usize::from(level == Level::Pte)];
        *held = held.saturating_sub(1);
        self.cpus.release(by.cpu, now);
        if self.report.is_some() || !self.cpus.get(by.cpu).is_touched() {
            return;
        }
        let mut kept = [SlotId::NONE; RUN];
        let mut nr_kept = 0;
        while let Some(slot) = self.cpus.get_mut(by.cpu).untouch() {
            let Some(table) = self.table_at(slot.frame()) else { continue };
            let level = self.tables[table].level;
            if self.cpus.get(by.cpu).held[usize::from(level == Level::Pte)] != 0 {
                if let Some(place) = kept.get_mut(nr_kept) {
                    *place = slot;
                    nr_kept += 1;
                }
            } else {
                self.judge_unlocked(table, slot, by);
            }
        }
        for slot in &kept[..nr_kept] {
            self.cpus.get_mut(by.cpu).touch(*slot, true);
        }
    }

    fn judge_unlocked(&mut self, table: usize, slot: SlotId, by: By) {
        let Some(place @ Place::Root { va, root }) = self.place(slot) else { return };
        // Kernel mappings that come and go take no lock: another CPU may be in the midst of what was this one's.
        if self.tables[root].is_kernels && self.quarantine.contains(va) {
            return;
        }
        let level = self.tables[table].level;
        let word = self.tables[table].slots[slot.index()].word();
        let (cpu, how) = (by.cpu, How::Store);
        let change = Change { cpu, slot, table, level, old: word, new: word, how, place };
        if self.holders(&change) == 0 {
            return;
        }
        let rule = match pte::decode(level, word) {
            Entry::PresentInvalid(_) => Rule::InvalidOutlives,
            _ if self.is_mixed(table, slot.index()) => Rule::MixedRun,
            _ => return,
        };
        let subject = self.subject(&change);
        self.broken(rule, by, Some(subject), Some(slot));
    }

    /// Whether of the sixteen around `index` some have the contiguous mark, and not all agree.
    pub(crate) fn is_mixed(&self, table: usize, index: usize) -> bool {
        let shadow = &self.tables[table];
        let first = index / RUN * RUN;
        let run = &shadow.slots[first..first + RUN];
        let marked = |word: u64| {
            word & (VALID | CONT) == VALID | CONT
                && matches!(pte::decode(shadow.level, word), Entry::Leaf(leaf) if leaf.is_contiguous())
        };
        let Some(one) = run.iter().map(|slot| slot.word()).find(|word| marked(*word)) else {
            return false;
        };
        let shape = |word: u64| {
            let dirty = if word & WRITE != 0 { RDONLY | DIRTY } else { DIRTY };
            word & !(ADDRESS | AF | dirty)
        };
        let base = run[0].word() & ADDRESS;
        let span = shadow.level.span();
        let aligned = base & (RUN as u64 * span - 1) == 0;
        let fits = |(n, slot): (usize, &crate::SlotShadow)| {
            let word = slot.word();
            marked(word) && shape(word) == shape(one) && word & ADDRESS == base + n as u64 * span
        };
        !(aligned && run.iter().enumerate().all(fits))
    }
}
