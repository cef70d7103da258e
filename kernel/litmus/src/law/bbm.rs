//! Break-before-make: whether an execution replaced one translation by another without it.
//!
//! What a CPU does then is not what the axioms say, so such an execution is marked. Two cacheable values of
//! one place, one after the other in coherence order, need an invalid one between them if they cannot be
//! true at the same time; and a TLBI that covers the place, after that and before the second one.

use super::candidate::{Chosen, Search};
use super::event::Effect;
use super::set::Order;
use super::values::Values;
use crate::layout::Layout;
use abi::{Asid, Level, VirtAddr};
use pte::{Caps, Change, Reason, bits};

/// A descriptor's place: where it is in the tables, for TLBIs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Descriptors {
    pub(crate) level: Level,
    pub(crate) va: VirtAddr,
}

const fn cacheable(level: Level, word: u64) -> bool {
    let table = !matches!(level, Level::Pte) && word & bits::TYPE != 0;
    word & bits::VALID != 0 && (table || word & bits::AF != 0)
}

const fn frame(word: u64) -> u64 {
    word & bits::ADDRESS
}

impl Search<'_> {
    /// Whether this execution has a change that needed break-before-make and had none.
    pub(crate) fn breaks(
        &self,
        chosen: &Chosen,
        order: &Order,
        layout: &Layout,
        values: &Values,
    ) -> bool {
        self.places.iter().enumerate().any(|(nth, at)| {
            let Some(place) = self.descriptors(layout, at.location) else { return false };
            let word = |position: usize| match position.checked_sub(1) {
                None => at.initial,
                Some(write) => self.whole.events[chosen.coherence[nth][write]].value,
            };
            let count = chosen.coherence[nth].len();
            (0..=count).any(|old| {
                (old + 1..=count).any(|new| {
                    self.needs(place.level, word(old), word(new), values)
                        && !(old + 1..new).any(|gap| {
                            !cacheable(place.level, word(gap))
                                && self.is_flushed(chosen, order, nth, gap, new, place)
                        })
                })
            })
        })
    }

    /// Which descriptor is at this place, if the test has a name for it.
    pub(crate) fn descriptors(&self, layout: &Layout, location: u64) -> Option<Descriptors> {
        let entries = self.test.entries.iter();
        let entry =
            entries.copied().find(|e| layout.entry(*e).is_some_and(|at| at.0 == location))?;
        Some(Descriptors { level: entry.level, va: layout.pages.get(entry.variable)?.va })
    }

    fn needs(&self, level: Level, old: u64, new: u64, values: &Values) -> bool {
        if !cacheable(level, old) || !cacheable(level, new) {
            return false;
        }
        match pte::change(level, old, new, &Caps::CORTEX_A72) {
            Change::BreakBeforeMake(Reason::OutputAddress) => {
                let hd = self.test.threads.iter().any(|thread| thread.hd);
                let writes =
                    |word: u64| word & bits::RDONLY == 0 || (hd && word & bits::WRITE != 0);
                writes(old) || writes(new) || self.differ(frame(old), frame(new), values)
            }
            Change::BreakBeforeMake(_) => true,
            _ => false,
        }
    }

    /// Whether two frames ever hold different things.
    fn differ(&self, one: u64, other: u64, values: &Values) -> bool {
        values.of(one).iter().any(|mine| values.of(other).iter().any(|theirs| mine != theirs))
    }

    fn is_flushed(
        &self,
        chosen: &Chosen,
        order: &Order,
        nth: usize,
        gap: usize,
        new: usize,
        place: Descriptors,
    ) -> bool {
        let write = |position: usize| chosen.coherence[nth].get(position.wrapping_sub(1)).copied();
        let (Some(gap), Some(new)) = (write(gap), write(new)) else { return false };
        self.whole.events.iter().enumerate().any(|(index, event)| match event.effect {
            Effect::Tlbi(tlbi) => {
                order.is_before(gap, index)
                    && order.is_before(index, new)
                    && tlbi.covers(place.va, Asid(0), place.level, place.level == Level::Pte, true)
            }
            _ => false,
        })
    }
}
