//! Software changes descriptors: the change is judged, made, and its consequences are remembered: what
//! may be stale now, what is linked where, what must be in order when the lock is released.

use crate::State;
use crate::memory::Use;
use crate::rules::{How, Stored, guards};
use crate::tables::Place;
use crate::timeline::{Concern, What};
use abi::{ENTRIES, Level, PhysAddr, VirtRange};
use oracle::tlb::{Cached, RUN};
use pte::bits::VALID;
use pte::{Change, Entry};

impl State {
    /// What is behind a slot, for a software access to it; `None`, and a violation, where it is no
    /// table's.
    fn slot_level(&mut self, cpu: usize, slot: PhysAddr, how: &str) -> Option<Level> {
        match self.memory.use_of(slot.pfn()) {
            Some(Use::Table(level)) => Some(level),
            found => {
                let what = format!("{how} of slot {slot}, whose page is no table: {found:?}");
                self.violate(cpu, &Concern::frames(slot.pfn(), abi::Order::PAGE), what);
                None
            }
        }
    }

    /// Software reads a descriptor.
    pub(crate) fn load_slot(&mut self, cpu: usize, slot: PhysAddr) -> u64 {
        self.slot_level(cpu, slot, "load");
        self.observed(cpu, slot);
        self.memory.read(slot).unwrap_or(0)
    }

    /// `cpu` knows what is in `slot`, what hardware wrote there included.
    fn observed(&mut self, cpu: usize, slot: PhysAddr) {
        self.tables.set_seen(slot);
        if self.hidden.observed(cpu, slot) {
            self.recheck_visibility(Some(slot));
        }
    }

    /// Some hidden stores are hidden no more: to this slot, or to any.
    pub(crate) fn recheck_visibility(&mut self, slot: Option<PhysAddr>) {
        let now = self.tick();
        let hides = |cpu, slot, at| self.hidden.hides(cpu, slot, at);
        self.stale.published(now, self.cpus.len(), slot, hides);
    }

    /// Software changes a descriptor; what was there.
    pub(crate) fn store_slot(&mut self, cpu: usize, slot: PhysAddr, new: u64, how: How) -> u64 {
        let level = self.slot_level(cpu, slot, "store");
        let old = self.memory.read(slot).unwrap_or(0);
        let Some(level) = level else {
            self.memory.write(slot, new);
            return old;
        };
        let place = self.tables.place(&self.memory, slot);
        let change = Stored { cpu, slot, level, old, new, how, place };
        let range = place.map(|place| VirtRange::from_size(place.va, level.span()));
        let what = What::Stored { slot, range, level, old, new };
        self.timeline.add(self.step, cpu, what);
        if old != new
            && let Some(why) = self.judge(&change)
        {
            let at = range.map_or(String::new(), |range| format!(" for {}", range.start));
            let (was, is) = (change.was(), change.is());
            let what = format!("{level} slot {slot}{at}: {was} -> {is}: {why}");
            self.violate(cpu, &Concern::slot(slot, range), what);
        }
        if how == How::Exchange {
            self.observed(cpu, slot);
        }
        let at = self.tick();
        self.tables.set_seen(slot);
        self.memory.write(slot, new);
        self.hidden.stored(cpu, slot, old, at);
        self.remember_stale(&change, at);
        self.remember_links(&change, at);
        self.remember_for_unlock(&change);
        old
    }

    /// What the change took away may be cached.
    fn remember_stale(&mut self, change: &Stored, at: u64) {
        let Some(place) = change.place else { return };
        if change.old & VALID != 0 && !self.is_kept(change) {
            self.goes_stale(place, change.level, change.old, change.slot, (change.slot, at));
        }
    }

    /// Whether some CPU can have cached `word`, the entry of `level` at `place`.
    pub(crate) fn may_be_cached(&self, place: Place, level: Level, word: u64) -> bool {
        let cached = Cached::of(place.space, abi::Asid(0), place.va, level, word, false);
        cached.is_some_and(|cached| self.stays.holders(&cached, place.since).next().is_some())
    }

    /// Whether the new word does for a TLB that has the old one all that the old one did.
    fn is_kept(&self, change: &Stored) -> bool {
        let judged = pte::change(change.level, change.old, change.new, &self.config.caps);
        let aged = matches!(change.is(), Entry::Leaf(leaf) if !leaf.is_young());
        matches!(judged, Change::Free | Change::InPlace) && !aged
    }

    /// `word`, and all below it, is no longer found at `place`.
    fn goes_stale(
        &mut self,
        place: Place,
        level: Level,
        word: u64,
        slot: PhysAddr,
        cause: (PhysAddr, u64),
    ) {
        let of = |run| Cached::of(place.space, abi::Asid(0), place.va, level, word, run);
        let (Some(one), Some(any)) = (of(false), of(true)) else { return };
        self.stale.taken(any, slot, cause, self.stays.holders(&one, place.since));
        let (Entry::Table(next), Some(down)) = (pte::decode(level, word), level.down()) else {
            return;
        };
        for index in 0..ENTRIES {
            let slot = next.pfn().base() + 8 * index as u64;
            let word = self.memory.read(slot).unwrap_or(0);
            if word & VALID != 0 {
                let since = self.tables.since(slot).max(place.since);
                let va = place.va + index as u64 * down.span();
                self.goes_stale(Place { va, since, ..place }, down, word, slot, cause);
            }
        }
    }

    /// What is linked where, and since when each slot gives what it gives.
    fn remember_links(&mut self, change: &Stored, at: u64) {
        if let Entry::Table(table) = change.is() {
            self.tables.link(table.pfn(), change.slot);
        }
        let cacheable = |entry| match entry {
            Entry::Leaf(leaf) => leaf.is_young(),
            Entry::Table(_) => true,
            _ => false,
        };
        if !cacheable(change.was()) || !self.is_kept(change) {
            self.tables.set_since(change.slot, at);
        }
    }

    /// What is only right under the lock.
    fn remember_for_unlock(&mut self, change: &Stored) {
        let here = &mut self.cpus[change.cpu];
        let invalid = matches!(change.is(), Entry::PresentInvalid(_));
        // A table that is filled before it is linked is judged when it is linked.
        let marked = |entry| matches!(entry, Entry::Leaf(leaf) if leaf.is_contiguous());
        let locked = here.locks.iter().any(|&class| guards(class, change.level));
        let slot = match (invalid, marked(change.was()) || marked(change.is())) {
            (true, _) => change.slot,
            // One for all sixteen.
            (false, true) if locked => first_of_run(change.slot),
            (false, _) => return,
        };
        if here.touched.last() != Some(&slot) {
            here.touched.push(slot);
        }
    }

    /// A lock has been released: what no lock guards any more is in order.
    pub(crate) fn check_unlocked(&mut self, cpu: usize) {
        for slot in std::mem::take(&mut self.cpus[cpu].touched) {
            let Some(level) = self.tables.page(slot.pfn()).map(|page| page.level) else { continue };
            let here = &mut self.cpus[cpu];
            if here.locks.iter().any(|&class| guards(class, level)) {
                here.touched.push(slot);
            } else if let Some(place) = self.tables.place(&self.memory, slot)
                && self.stays.has_ever_run(place.space)
                && let Some(wrong) = self.judge_unlocked(level, slot)
            {
                let range = VirtRange::from_size(place.va, level.span());
                let what = format!("{level} slot {slot} for {}: {wrong}", place.va);
                self.violate(cpu, &Concern::slot(slot, Some(range)), what);
            }
        }
    }

    fn judge_unlocked(&self, level: Level, slot: PhysAddr) -> Option<String> {
        match pte::decode(level, self.memory.read(slot)?) {
            Entry::PresentInvalid(_) => Some("a present-invalid entry outlives the lock".into()),
            _ => self.judge_run(level, first_of_run(slot)),
        }
    }
}

/// The first of the sixteen slots that may be one run.
pub(crate) fn first_of_run(slot: PhysAddr) -> PhysAddr {
    slot.align_down(8 * RUN)
}
