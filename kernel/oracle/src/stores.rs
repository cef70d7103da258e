//! A descriptor changes: the change is judged, and what it takes away becomes a debt.

use crate::shadow::{Kind, SlotId};
use crate::tables::Place;
use crate::{By, Oracle, Rule};
use abi::{ENTRIES, Level, PAGE_SIZE, PhysAddr};
use pte::bits::{CONT, VALID};
use pte::{Change as Care, Entry};

/// How software changes a descriptor.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum How {
    /// A plain store.
    Store,
    /// A swap or a compare-exchange: what hardware wrote before is in the old word.
    Exchange,
    /// One of many stores to a table that nobody can reach.
    Fill,
}

/// A change of a descriptor of a watched table.
#[derive(Clone, Copy)]
pub(crate) struct Change {
    pub(crate) cpu: u8,
    pub(crate) slot: SlotId,
    pub(crate) table: usize,
    pub(crate) level: Level,
    pub(crate) old: u64,
    pub(crate) new: u64,
    pub(crate) how: How,
    pub(crate) place: Place,
}

impl Oracle {
    /// Software changed a descriptor. `old` is what the slot held at that moment.
    pub fn store(&mut self, by: By, slot: PhysAddr, old: u64, new: u64, how: How) {
        if self.report.is_some() {
            return;
        }
        let Some(frame) = self.frame_of(slot.pfn()) else { return };
        let id = SlotId::new(frame, (slot.0 % PAGE_SIZE / 8) as usize);
        let now = self.tick();
        let Some(table) = self.table_at(frame) else {
            if matches!(self.frames[frame].kind, Kind::Data | Kind::Free) {
                self.broken(Rule::NoTable, by, None, None);
            }
            return;
        };
        self.part_from_run(table, id);
        if self.is_routine(by, table, id, old, new, how, now) {
            return;
        }
        let Some(place) = self.place(id) else { return };
        let level = self.tables[table].level;
        let change = Change { cpu: by.cpu, slot: id, table, level, old, new, how, place };
        self.link_kernels(&change);
        let shadow = self.tables[table].slots[id.index()];
        // Hardware's own writes are no one's store.
        let ours = if old & VALID != 0 { !self.history() } else { u64::MAX };
        if (old ^ shadow.word()) & ours != 0 {
            let word = shadow.word();
            let subject = self.subject(&Change { old: word, new: old, ..change });
            return self.broken(Rule::ForeignStore, by, Some(subject), Some(id));
        }
        if old != new
            && let Some(rule) = self.judge(&change)
        {
            let subject = self.subject(&change);
            return self.broken(rule, by, Some(subject), Some(id));
        }
        self.judge_debts(&change, by);
        if self.report.is_none() {
            self.remember(&change, by, now);
            if !self.tables[table].is_kernels {
                self.learn(&change);
            }
        }
    }

    fn judge(&self, change: &Change) -> Option<Rule> {
        self.judge_break(change)
            .or_else(|| self.judge_word(change))
            .or_else(|| self.judge_lock(change))
            .or_else(|| self.judge_history(change))
    }

    /// CPUs and devices that may have something of the space of the slot.
    pub(crate) fn holders(&self, change: &Change) -> u64 {
        self.holders_at(change.place)
    }

    /// As [`Oracle::holders`], of the space that leads to a place.
    pub(crate) fn holders_at(&self, place: Place) -> u64 {
        let Place::Root { root, .. } = place else { return 0 };
        let root = &self.tables[root];
        if root.is_kernels {
            return self.cpus.everyone();
        }
        let cpus = root.asid.map_or(0, |asid| self.asids.holders(root.space, asid));
        cpus | self.cpus.devices_that(|device| device.holds(root.space))
    }

    /// Whether a TLB may have what the slot holds.
    fn is_cached(&self, change: &Change) -> bool {
        let cacheable = match pte::decode(change.level, change.old) {
            Entry::Table(_) => true,
            Entry::Leaf(leaf) => leaf.is_young() || self.caps.hw_af,
            _ => false,
        };
        let before = self.tables[change.table].slots[change.slot.index()].cached;
        (cacheable || (before && change.old & VALID != 0)) && self.holders(change) != 0
    }

    /// A live descriptor is not replaced by one that must not be beside it.
    fn judge_break(&self, change: &Change) -> Option<Rule> {
        if change.old & change.new & VALID == 0 {
            return None;
        }
        match pte::change(change.level, change.old, change.new, &self.caps) {
            Care::BreakBeforeMake(reason) if self.is_cached(change) => Some(Rule::Break(reason)),
            _ => None,
        }
    }

    /// Nor is one that was made invalid, before it is gone from all TLBs; and what is below a table that
    /// was taken out stays as it is until then.
    fn judge_debts(&mut self, change: &Change, by: By) {
        if change.new & VALID == 0 {
            return;
        }
        if let Place::Loose { top, .. } = change.place {
            if let Some(debt) = self.walk_debt(top) {
                self.demand(debt, Rule::Frozen, by, None);
            }
            return;
        }
        let id = self.tables[change.table].slots[change.slot.index()].debt;
        let Some(debt) = self.book.of_slot(id, change.slot) else { return };
        match pte::change(change.level, debt.what.old, change.new, &self.caps) {
            // What only a CPU's next instructions may go by is beside nothing in a TLB.
            Care::BreakBeforeMake(_)
                if self.book.get_mut(id).is_some_and(|debt| debt.is_flushed(&self.cpus)) => {}
            Care::BreakBeforeMake(_) => self.demand(id, Rule::BreakIncomplete, by, None),
            // What may be cached may do no more than what is there now.
            Care::Free | Care::InPlace => self.book.remove(id),
            _ => {}
        }
    }

    /// What the change takes away, what it links, whom it maps.
    fn remember(&mut self, change: &Change, by: By, now: u64) {
        let Change { slot, table, level, old, new, .. } = *change;
        let (was, is) = (old & VALID != 0, new & VALID != 0);
        let cached = self.is_cached(change);
        let site = self.sites.id(by.site);
        let mut debt = self.tables[table].slots[slot.index()].debt;
        if was {
            let care = pte::change(level, old, new, &self.caps);
            if cached && !matches!(care, Care::Free | Care::InPlace) {
                debt = self.owe(change, debt, now, site);
            }
            let moved = !is || (old ^ new) & pte::bits::ADDRESS != 0;
            if moved {
                self.count(level, old, slot, false);
                self.unlink(level, old, slot, debt);
            }
        }
        if is && (!was || (old ^ new) & pte::bits::ADDRESS != 0) {
            self.count(level, new, slot, true);
            self.link(level, new, slot);
        }
        let locks_only = matches!(pte::decode(level, new), Entry::PresentInvalid(_));
        if locks_only || (change.how != How::Fill && (old | new) & CONT != 0 && was | is) {
            self.cpus.get_mut(by.cpu).touch(slot, locks_only);
        }
        match change.place {
            Place::Root { root, .. } if is && self.tables[root].is_kernels => {
                self.cpus.get_mut(by.cpu).made = (now, slot);
            }
            // Who takes up the space owes that it is visible.
            Place::Root { root, .. } if is && self.is_unseen(level, new, by.cpu) => {
                self.tables[root].filled = (now, by.cpu);
            }
            // A walker that misses a new entry faults once; one that misses that an entry went
            // uses it.
            Place::Loose { .. } if was => self.tables[table].filled = (now, by.cpu),
            _ => {}
        }
        let shadow = &mut self.tables[table];
        shadow.live = shadow.live + u16::from(is) - u16::from(was);
        let kept = &mut shadow.slots[slot.index()];
        kept.put(new);
        (kept.site, kept.cpu, kept.debt) = (site, by.cpu, debt);
        kept.cached = is && cached;
    }

    /// Software filled `n` slots of a table that no walker can reach: `word`, and `step` more for each.
    pub fn fill(&mut self, by: By, first: PhysAddr, n: usize, word: u64, step: u64) {
        if self.report.is_some() {
            return;
        }
        let known =
            self.frame_of(first.pfn()).and_then(|frame| Some((frame, self.table_at(frame)?)));
        let Some((frame, table)) = known else { return };
        let now = self.tick();
        let site = self.sites.id(by.site);
        let start = SlotId::new(frame, (first.0 % PAGE_SIZE / 8) as usize);
        match self.place(start) {
            Some(Place::Root { root, .. })
                if self.cpus.running_space(self.tables[root].space) != 0 =>
            {
                return self.broken(Rule::NoLock, by, None, Some(start));
            }
            Some(_) => {}
            None => return,
        }
        self.dissolve_runs(frame);
        let crate::TableShadow { level, is_kernels, .. } = &self.tables[table];
        let (level, is_pages) = (*level, *level == Level::Pte && !*is_kernels);
        let (mut replaced, mut live) = (false, self.tables[table].live);
        for index in (start.index()..ENTRIES).take(n) {
            let new = word.wrapping_add(step.wrapping_mul((index - start.index()) as u64));
            let slot = SlotId::new(frame, index);
            let kept = &mut self.tables[table].slots[index];
            let old = kept.word();
            kept.put(new);
            (kept.site, kept.cpu, kept.cached) = (site, by.cpu, false);
            for (word, is_mapped) in [(old, false), (new, true)] {
                match (word & VALID != 0, is_pages) {
                    (false, _) => continue,
                    (true, true) => self.count_page(word, slot, is_mapped),
                    (true, false) => self.count(level, word, slot, is_mapped),
                }
                replaced |= !is_mapped;
                live = live.wrapping_add_signed(if is_mapped { 1 } else { -1 });
            }
        }
        self.tables[table].live = live;
        if replaced {
            self.tables[table].filled = (now, by.cpu);
        }
    }
}
