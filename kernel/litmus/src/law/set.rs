//! Sets of events, and the order between them.

use alloc::vec::Vec;

/// The most events of an execution.
pub(crate) const MOST: usize = 128;

/// A set of events by their indices.
pub(crate) type Set = u128;

/// The set of one event.
pub(crate) const fn only(event: usize) -> Set {
    1 << event
}

pub(crate) const fn has(set: Set, event: usize) -> bool {
    set >> event & 1 != 0
}

/// The events of a set.
pub(crate) fn each(mut set: Set) -> impl Iterator<Item = usize> {
    core::iter::from_fn(move || {
        let event = set.trailing_zeros() as usize;
        set &= set.wrapping_sub(1);
        (event < MOST).then_some(event)
    })
}

/// A transitive order: what each event is before. It has no cycle: [`Order::add`] refuses them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Order {
    after: Vec<Set>,
}

/// A pair would order an event before itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Cycle;

impl Order {
    pub(crate) fn new(events: usize) -> Self {
        Self { after: alloc::vec![0; events] }
    }

    /// An order that is closed already.
    pub(crate) fn closed(after: Vec<Set>) -> Self {
        Self { after }
    }

    /// What is after `event`.
    pub(crate) fn after(&self, event: usize) -> Set {
        self.after[event]
    }

    pub(crate) fn is_before(&self, first: usize, second: usize) -> bool {
        has(self.after[first], second)
    }

    /// Orders `first` before `second`, and what follows from it.
    pub(crate) fn add(&mut self, first: usize, second: usize) -> Result<(), Cycle> {
        if first == second || self.is_before(second, first) {
            return Err(Cycle);
        }
        if self.is_before(first, second) {
            return Ok(());
        }
        let new = self.after[second] | only(second);
        self.after[first] |= new;
        for after in &mut self.after {
            if has(*after, first) {
                *after |= new;
            }
        }
        Ok(())
    }

    /// Orders `first` before each of `set`.
    pub(crate) fn add_all(&mut self, first: usize, set: Set) -> Result<(), Cycle> {
        each(set & !self.after[first]).try_for_each(|second| self.add(first, second))
    }
}
