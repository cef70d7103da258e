//! Candidate executions: which write each read has read, and in which order writes reached each place.
//!
//! One place after the other, every way is tried; each one orders events, and a way that would order an event
//! before itself is none (the external visibility requirement). The internal ones and atomicity are checked
//! place by place.

use super::event::{Effect, Event};
use super::part::Whole;
use super::set::{Cycle, Order};
use super::values::Values;
use crate::test::Test;
use alloc::{collections::BTreeMap, vec::Vec};
use core::cell::Cell;

/// What happened at one place.
#[derive(Clone, Debug, Default)]
pub(crate) struct At {
    pub(crate) location: u64,
    pub(crate) initial: u64,
    pub(crate) reads: Vec<usize>,
    pub(crate) writes: Vec<usize>,
}

/// One candidate: for each place, its writes in coherence order, and the position of what each read has
/// read: 0 is the initial value, `n` the `n`th write.
#[derive(Clone, Debug, Default)]
pub(crate) struct Chosen {
    pub(crate) coherence: Vec<Vec<usize>>,
    /// By event: of reads.
    pub(crate) from: Vec<usize>,
}

/// How many more steps there may be, and who may want no more of them.
pub(crate) struct Patience<'a> {
    left: Cell<u64>,
    wanted: &'a dyn Fn() -> bool,
}

impl<'a> Patience<'a> {
    /// Steps between two questions whether to go on.
    const BETWEEN: u64 = 1024;

    pub(crate) const fn new(steps: u64, wanted: &'a dyn Fn() -> bool) -> Self {
        Self { left: Cell::new(steps), wanted }
    }

    /// Counts one step. `false`: it was one too many.
    pub(crate) fn goes_on(&self) -> bool {
        let left = self.left.get().saturating_sub(1);
        let asks = left.is_multiple_of(Self::BETWEEN);
        self.left.set(if asks && !(self.wanted)() { 0 } else { left });
        !self.is_over()
    }

    pub(crate) fn is_over(&self) -> bool {
        self.left.get() == 0
    }
}

/// The search.
pub(crate) struct Search<'a> {
    pub(crate) test: &'a Test,
    pub(crate) whole: &'a Whole,
    pub(crate) places: Vec<At>,
    /// How many more steps there may be.
    patience: &'a Patience<'a>,
}

impl<'a> Search<'a> {
    pub(crate) fn new(
        test: &'a Test,
        whole: &'a Whole,
        values: &Values,
        patience: &'a Patience<'a>,
    ) -> Self {
        let mut places: BTreeMap<u64, At> = BTreeMap::new();
        for (index, event) in whole.events.iter().enumerate() {
            if !event.is_read() && !event.is_write() {
                continue;
            }
            let (location, initial) = (event.location, values.initial(event.location));
            let at = places.entry(location).or_default();
            (at.location, at.initial) = (location, initial);
            if event.is_read() { at.reads.push(index) } else { at.writes.push(index) }
        }
        Self { test, whole, places: places.into_values().collect(), patience }
    }

    /// Calls `found` with each candidate that is in order, until it says that it has enough, or the patience
    /// is at an end.
    pub(crate) fn run(&self, found: &mut dyn FnMut(&Chosen, &Order) -> bool) {
        let chosen =
            Chosen { coherence: Vec::new(), from: alloc::vec![0; self.whole.events.len()] };
        self.place(&self.whole.order, &mut chosen.clone(), found);
    }

    /// Goes on with the next place. `true`: enough.
    fn place(
        &self,
        order: &Order,
        chosen: &mut Chosen,
        found: &mut dyn FnMut(&Chosen, &Order) -> bool,
    ) -> bool {
        let nth = chosen.coherence.len();
        if nth == self.places.len() {
            return found(chosen, order);
        }
        chosen.coherence.push(Vec::new());
        let enough = self.write(order, chosen, found);
        chosen.coherence.pop();
        enough
    }

    /// Goes on with the place's next write.
    fn write(
        &self,
        order: &Order,
        chosen: &mut Chosen,
        found: &mut dyn FnMut(&Chosen, &Order) -> bool,
    ) -> bool {
        let nth = chosen.coherence.len() - 1;
        let at = &self.places[nth];
        let done = chosen.coherence[nth].clone();
        if done.len() == at.writes.len() {
            return self.read(0, order, chosen, found);
        }
        for write in &at.writes {
            let open = |other: &&usize| !done.contains(other) && *other != write;
            let others = at.writes.iter().filter(open);
            if done.contains(write)
                || !self.may_follow(at, done.last().copied(), *write)
                || others.clone().any(|other| self.must_precede(*other, *write))
            {
                continue;
            }
            let mut next = order.clone();
            let ordered =
                done.iter().try_for_each(|earlier| self.cohere(&mut next, *earlier, *write));
            if ordered.is_err() || others.clone().any(|later| next.is_before(*later, *write)) {
                continue;
            }
            if !self.patience.goes_on() {
                return true;
            }
            chosen.coherence[nth].push(*write);
            let enough = self.write(&next, chosen, found);
            chosen.coherence[nth].pop();
            if enough {
                return true;
            }
        }
        false
    }

    /// Explicit writes of one program to one place keep their order; a context's values too.
    fn must_precede(&self, one: usize, other: usize) -> bool {
        let explicit = |index: usize| {
            matches!(self.event(index).effect, Effect::Write { .. } | Effect::Context)
        };
        explicit(one) && explicit(other) && self.whole.program_order(one, other)
    }

    /// Whether a write may come right after another one, or first: of an atomic update, not after something
    /// else than it has read. (But for what its own program has put between the two.)
    fn may_follow(&self, at: &At, earlier: Option<usize>, write: usize) -> bool {
        let Some(read) = self.event(write).pair.map(usize::from) else { return true };
        let explicit = self.event(write).is_explicit();
        let own = |earlier: usize| {
            explicit && self.event(earlier).is_explicit() && self.whole.internal(earlier, write)
        };
        let value = earlier.map_or(at.initial, |earlier| self.event(earlier).value);
        self.event(read).location != at.location
            || self.event(read).value == value
            || earlier.is_some_and(own)
    }

    fn event(&self, index: usize) -> &Event {
        &self.whole.events[index]
    }

    /// `earlier` is before `later` in coherence order: observed by other threads, and by hardware's updates.
    fn cohere(&self, order: &mut Order, earlier: usize, later: usize) -> Result<(), Cycle> {
        let update = |index: usize| self.event(index).effect == Effect::Update;
        if !self.whole.internal(earlier, later) || update(earlier) || update(later) {
            order.add(earlier, later)?;
        }
        Ok(())
    }

    /// Goes on with the place's `n`th read.
    fn read(
        &self,
        n: usize,
        order: &Order,
        chosen: &mut Chosen,
        found: &mut dyn FnMut(&Chosen, &Order) -> bool,
    ) -> bool {
        let nth = chosen.coherence.len() - 1;
        let at = &self.places[nth];
        let Some(read) = at.reads.get(n).copied() else {
            if !self.is_atomic(at, chosen) {
                return false;
            }
            return self.place(order, chosen, found);
        };
        let value = self.event(read).value;
        for position in 0..=at.writes.len() {
            let written = match position.checked_sub(1) {
                None => at.initial,
                Some(write) => self.event(chosen.coherence[nth][write]).value,
            };
            if written != value || !self.is_coherent(chosen, read, position) {
                continue;
            }
            let mut next = order.clone();
            if self.observe(&mut next, chosen, read, position).is_err() {
                continue;
            }
            chosen.from[read] = position;
            if !self.patience.goes_on() {
                return true;
            }
            if self.read(n + 1, &next, chosen, found) {
                return true;
            }
        }
        false
    }

    /// The internal visibility requirements, for one read: of what its own program writes, nothing from its
    /// future, and nothing older than its past.
    fn is_coherent(&self, chosen: &Chosen, read: usize, position: usize) -> bool {
        let coherence = &chosen.coherence[chosen.coherence.len() - 1];
        let source = position.checked_sub(1).map(|write| coherence[write]);
        let effect = |write: usize| self.event(write).effect;
        if matches!(effect(read), Effect::Walk(_)) {
            // A context is not read before it is written; for descriptors, the order says it all.
            let context = source.filter(|write| effect(*write) == Effect::Context);
            return context.is_none_or(|write| self.whole.program_order(write, read));
        }
        let own = |write: usize| self.event(write).pair == Some(read as u8);
        let late = |write: &usize| {
            let update = effect(*write) == Effect::Update;
            !update && (self.whole.program_order(read, *write) || own(*write))
        };
        let passed = |write: &usize| {
            matches!(effect(*write), Effect::Write { .. }) && self.whole.program_order(*write, read)
        };
        !source.iter().any(late) && !coherence[position..].iter().any(passed)
    }

    /// What others see of a read: after what it has read, before what came later.
    fn observe(
        &self,
        order: &mut Order,
        chosen: &Chosen,
        read: usize,
        position: usize,
    ) -> Result<(), Cycle> {
        let coherence = &chosen.coherence[chosen.coherence.len() - 1];
        let implicit = match self.event(read).effect {
            Effect::Walk(walk) => Some(walk),
            _ => None,
        };
        let is_update = |write: usize| self.event(write).effect == Effect::Update;
        let source = position.checked_sub(1).map(|write| coherence[write]);
        let seen = |write: &usize| {
            implicit.is_some() || is_update(*write) || !self.whole.internal(read, *write)
        };
        if let Some(write) = source.filter(seen) {
            order.add(write, read)?;
        }
        for later in &coherence[position..] {
            let external = !self.whole.internal(read, *later);
            let before = match implicit {
                // What no TLB holds is read like anything else.
                Some(walk) => walk.absent,
                None => external || is_update(*later),
            };
            if before {
                order.add(read, *later)?;
            }
            if implicit.is_none() && external {
                self.hazards(order, read, *later)?;
            }
        }
        Ok(())
    }

    /// Explicitly-hazard-ordered-before: an earlier read of the same place is no younger than a later one.
    fn hazards(&self, order: &mut Order, read: usize, write: usize) -> Result<(), Cycle> {
        let location = self.event(read).location;
        let at = self.places.iter().find(|at| at.location == location);
        let earlier = |other: &&usize| {
            matches!(self.event(**other).effect, Effect::Read { .. })
                && self.whole.program_order(**other, read)
        };
        for other in at.iter().flat_map(|at| &at.reads).filter(earlier) {
            order.add(*other, write)?;
        }
        Ok(())
    }

    /// Nothing comes between the read and the write of an atomic update.
    fn is_atomic(&self, at: &At, chosen: &Chosen) -> bool {
        let coherence = &chosen.coherence[chosen.coherence.len() - 1];
        at.writes.iter().all(|write| {
            let Some(read) = self.event(*write).pair.map(usize::from) else { return true };
            if self.event(read).location != self.event(*write).location {
                return true;
            }
            let position = coherence.iter().position(|other| other == write).unwrap_or(0);
            let Some(between) = coherence.get(chosen.from[read]..position) else { return false };
            let explicit = self.event(*write).is_explicit();
            let own = |other: &usize| {
                explicit && self.event(*other).is_explicit() && self.whole.internal(*other, read)
            };
            between.is_empty() || between.iter().any(own)
        })
    }

    /// What memory holds in the end.
    pub(crate) fn last(&self, chosen: &Chosen, location: u64) -> Option<u64> {
        let nth = self.places.iter().position(|at| at.location == location)?;
        let last = chosen.coherence[nth].last();
        Some(last.map_or(self.places[nth].initial, |write| self.event(*write).value))
    }
}
