//! Break-before-make: whether an execution replaced one translation by another without it.
//!
//! What a CPU does then is not what the axioms say, so such an execution is marked. Two cacheable values of
//! one place, one after the other in coherence order, need an invalid one between them if they cannot be
//! true at the same time; and a TLBI that covers the place, after that and before the second one. A place in
//! a table that nothing leads to, yet or any more, needs neither.

use super::candidate::{Chosen, Search};
use super::event::Effect;
use super::set::Order;
use super::values::Values;
use super::walk::is_table;
use crate::layout::Layout;
use crate::test::{EntryName, Holder};
use abi::{Asid, Level, VirtAddr};
use pte::{Caps, Change, Reason, Scope, bits};

/// An execution and what is asked of it.
pub(crate) struct Breaks<'a> {
    pub(crate) search: &'a Search<'a>,
    pub(crate) chosen: &'a Chosen,
    pub(crate) order: &'a Order,
    pub(crate) layout: &'a Layout,
    pub(crate) values: &'a Values,
}

fn cacheable(level: Level, word: u64) -> bool {
    word & bits::VALID != 0 && (is_table(level, word) || word & bits::AF != 0)
}

const fn frame(word: u64) -> u64 {
    word & bits::ADDRESS
}

impl Breaks<'_> {
    /// Whether there is a change that needed break-before-make and had none.
    pub(crate) fn any(&self) -> bool {
        (0..self.search.places.len()).any(|nth| {
            let Some(entry) = self.entry(nth) else { return false };
            let count = self.chosen.coherence[nth].len();
            (0..=count).any(|old| (old + 1..=count).any(|new| self.is_broken(nth, entry, old, new)))
        })
    }

    fn is_broken(&self, nth: usize, entry: EntryName, old: usize, new: usize) -> bool {
        let (before, after) = (self.word(nth, old), self.word(nth, new));
        let Some(making) = self.write(nth, new) else { return false };
        self.needs(entry.level, before, after)
            && !(old + 1..new).any(|gap| {
                !cacheable(entry.level, self.word(nth, gap))
                    && self.is_flushed(entry, before, self.write(nth, gap), making)
            })
            && !self.is_apart(nth, making)
    }

    /// Which descriptor is at a place, if the test has a name for it.
    fn entry(&self, nth: usize) -> Option<EntryName> {
        let location = self.search.places.get(nth)?.location;
        let entries = self.search.test.entries.iter().copied();
        let is = |entry: &EntryName| self.layout.entry(*entry).is_some_and(|at| at.0 == location);
        entries.into_iter().find(is)
    }

    /// The value after `position` writes, and the last one of those.
    fn word(&self, nth: usize, position: usize) -> u64 {
        let write = self.write(nth, position);
        write.map_or(self.search.places[nth].initial, |w| self.search.whole.events[w].value)
    }

    fn write(&self, nth: usize, position: usize) -> Option<usize> {
        self.chosen.coherence[nth].get(position.checked_sub(1)?).copied()
    }

    fn needs(&self, level: Level, old: u64, new: u64) -> bool {
        if !cacheable(level, old) || !cacheable(level, new) {
            return false;
        }
        match pte::change(level, old, new, &Caps::CORTEX_A72) {
            // Which of two places a read is from makes no difference if they hold the same.
            Change::BreakBeforeMake(Reason::OutputAddress) => {
                let hd = self.search.test.threads.iter().any(|thread| thread.hd);
                let writes =
                    |word: u64| word & bits::RDONLY == 0 || (hd && word & bits::WRITE != 0);
                writes(old) || writes(new) || self.differ(frame(old), frame(new))
            }
            Change::BreakBeforeMake(_) => true,
            _ => false,
        }
    }

    /// Whether two frames ever hold different things.
    fn differ(&self, one: u64, other: u64) -> bool {
        let (mine, theirs) = (self.values.of(one), self.values.of(other));
        mine.iter().any(|value| theirs.iter().any(|other| value != other))
    }

    /// Whether between two writes a TLBI has removed what `old` in this place may have left.
    fn is_flushed(&self, entry: EntryName, old: u64, gap: Option<usize>, making: usize) -> bool {
        let Some(gap) = gap else { return false };
        let space = match entry.within {
            Holder::Space(space) => space,
            Holder::Table(_) => 0,
        };
        let asid = Asid(self.search.test.spaces.get(space).map_or(0, |space| space.asid));
        let va = self.layout.pages.get(entry.variable).map_or(VirtAddr(0), |page| page.va);
        let leaf = !is_table(entry.level, old);
        let global = leaf && old & bits::NG == 0;
        let alone = self.search.test.threads.len() == 1;
        let mut events = self.search.whole.events.iter().enumerate();
        events.any(|(index, event)| match event.effect {
            Effect::Tlbi(tlbi) => {
                self.order.is_before(gap, index)
                    && self.order.is_before(index, making)
                    && (alone || tlbi.scope == Scope::InnerShareable)
                    && tlbi.covers(va, asid, entry.level, leaf, global)
            }
            _ => false,
        })
    }

    /// Whether nothing leads to a place's table when it is written: not before, or not any more.
    fn is_apart(&self, nth: usize, making: usize) -> bool {
        let table = self.search.places[nth].location & !(abi::PAGE_SIZE - 1);
        if self.values.leads_to(table) {
            return false;
        }
        (0..self.search.places.len()).all(|parent| {
            let Some(entry) = self.entry(parent) else { return true };
            let leads = |position: usize| {
                let word = self.word(parent, position);
                is_table(entry.level, word) && frame(word) == table
            };
            let count = self.chosen.coherence[parent].len();
            (0..=count).filter(|position| leads(*position)).all(|position| {
                let link = self.word(parent, position);
                let later = self.write(parent, position);
                later.is_some_and(|write| self.order.is_before(making, write))
                    || (position + 1..=count).any(|gap| {
                        !leads(gap) && self.is_flushed(entry, link, self.write(parent, gap), making)
                    })
            })
        })
    }
}
