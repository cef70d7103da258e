//! What one CPU keeps in order: the locally-ordered-before relation of a trace.
//!
//! The rules have the architecture's names. Each is a product of sets, or a walk along what events remember
//! of each other; together, closed, they are the same for everything that other threads may do.

use super::event::{Effect, Event, Trace};
use super::set::{Order, Set, each, has, only};
use crate::instruction::{Acquire, Domain, Kind};
use crate::test::{Column, FaultKind};
use alloc::vec::Vec;

/// A trace with its orders, over the events of the trace that can be global.
#[derive(Clone, Debug)]
pub(crate) struct Local {
    /// Locally ordered before, closed.
    pub(crate) order: Order,
    /// What a TLBI's completion is before: of CPUs in its domain, by the events of the trace.
    pub(crate) completes: Vec<Completion>,
    /// Pairs of walks' reads and later ones for the same bytes of a page, through which an earlier access
    /// is as old as a later one.
    pub(crate) twins: Vec<(usize, usize)>,
}

/// What is after a TLBI once it is complete.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Completion {
    pub(crate) tlbi: usize,
    /// As far as this CPU's own walks are concerned.
    pub(crate) here: Set,
    /// As far as all CPUs' are.
    pub(crate) everywhere: Set,
}

/// Sets of a trace's events by what they are.
struct Kinds<'a> {
    events: &'a [Event],
    reads: Set,
    kept: Set,
    writes: Set,
    explicit: Set,
    walks: Set,
    updates: Set,
    faults: Set,
    tlbis: Set,
    all: Set,
}

impl<'a> Kinds<'a> {
    fn of(events: &'a [Event]) -> Self {
        let set = |wanted: fn(&Event) -> bool| {
            let these = events.iter().enumerate().filter(|(_, event)| wanted(event));
            these.fold(0, |set, (index, _)| set | only(index))
        };
        let reads = set(|event| matches!(event.effect, Effect::Read { .. }));
        let writes = set(|event| matches!(event.effect, Effect::Write { .. }));
        Self {
            events,
            reads,
            kept: set(|event| matches!(event.effect, Effect::Read { kept: true, .. })),
            writes,
            explicit: reads | writes,
            walks: set(|event| matches!(event.effect, Effect::Walk(_))),
            updates: set(|event| event.effect == Effect::Update),
            faults: set(|event| matches!(event.effect, Effect::Fault(_))),
            tlbis: set(|event| matches!(event.effect, Effect::Tlbi(_))),
            all: set(|_| true),
        }
    }

    /// The events of later instructions.
    fn after(&self, event: usize) -> Set {
        let step = self.events[event].step;
        let first = self.events.iter().position(|later| later.step > step);
        first.map_or(0, |first| self.all & !(only(first) - 1))
    }

    /// The events of earlier instructions.
    fn before(&self, event: usize) -> Set {
        let step = self.events[event].step;
        let first = self.events.iter().position(|same| same.step == step);
        first.map_or(0, |first| only(first) - 1)
    }

    /// Those of `among` at the same place in memory as `event`.
    fn same_place(&self, event: usize, among: Set) -> Set {
        let location = self.events[event].location;
        each(among)
            .filter(|other| self.events[*other].location == location)
            .fold(0, |set, other| set | only(other))
    }

    /// Reads that acquire: whatever kind, or only those of store-release's kind.
    fn acquires(&self, full: bool) -> Set {
        each(self.reads)
            .filter(|read| match self.events[*read].effect {
                Effect::Read { acquire: Acquire::Full, .. } => true,
                Effect::Read { acquire: Acquire::Weak, .. } => !full,
                _ => false,
            })
            .fold(0, |set, read| set | only(read))
    }

    fn releases(&self) -> Set {
        each(self.writes)
            .filter(|write| self.events[*write].effect == Effect::Write { release: true })
            .fold(0, |set, write| set | only(write))
    }
}

/// Pairs that are being collected: what each event is directly before.
struct Pairs(Vec<Set>);

impl Pairs {
    fn new(events: usize) -> Self {
        Self(alloc::vec![0; events])
    }

    /// Every one of `first` before every one of `then`.
    fn add(&mut self, first: Set, then: Set) {
        for event in each(first) {
            self.0[event] |= then;
        }
    }

    fn join(&mut self, other: &Self) {
        for (mine, theirs) in self.0.iter_mut().zip(&other.0) {
            *mine |= theirs;
        }
    }

    /// Events of the other way round: what is before each.
    fn reversed(&self) -> Vec<Set> {
        let mut before = alloc::vec![0; self.0.len()];
        for (first, then) in self.0.iter().enumerate() {
            for event in each(*then) {
                before[event] |= only(first);
            }
        }
        before
    }
}

impl Local {
    /// The orders of a trace under the rules of `column`; `None` if they contradict each other.
    pub(crate) fn of(trace: &Trace, column: Column) -> Option<Self> {
        let kinds = Kinds::of(&trace.events);
        let strong = column >= Column::Ets2;
        let count = trace.events.len();
        let everywhere = dsb(&kinds, strong, false);
        let here = dsb(&kinds, strong, true);
        let synchronized = ifb(&kinds, &here);
        let mut pairs = Pairs::new(count);
        pairs.join(&here);
        pairs.join(&synchronized);
        intrinsic(&kinds, &mut pairs);
        enhanced(&kinds, column, &mut pairs);
        same_location(&kinds, &mut pairs);
        dependencies(&kinds, &mut pairs);
        picks(&kinds, &mut pairs);
        atomics(&kinds, &mut pairs);
        barriers(&kinds, &mut pairs);
        contexts(&kinds, &mut pairs);
        let mut order = Order::new(count);
        for first in 0..count {
            order.add_all(first, pairs.0[first]).ok()?;
        }
        picked_writes(&kinds, &mut order)?;
        let completes = completions(&kinds, &here, &everywhere);
        Some(Self { order, completes, twins: twins(&kinds) })
    }
}

/// DSB-ordered-before. `local`: with barriers of this CPU alone too, which end no other CPU's walks.
fn dsb(kinds: &Kinds<'_>, strong: bool, local: bool) -> Pairs {
    let mut pairs = Pairs::new(kinds.events.len());
    for (index, event) in kinds.events.iter().enumerate() {
        let Effect::Dsb(domain, kind) = event.effect else { continue };
        if domain == Domain::Local && !local {
            continue;
        }
        let (before, after) = (kinds.before(index), kinds.after(index));
        let walks = kinds.walks | kinds.updates;
        let then = if strong { after } else { after & !walks };
        let first = match kind {
            Kind::Full => kinds.explicit | walks | kinds.tlbis,
            Kind::Loads => kinds.kept,
            Kind::Stores => kinds.writes,
        };
        pairs.add(before & first, then);
    }
    pairs
}

/// IFB-ordered-before: instructions behind a context synchronization see what was known before it.
fn ifb(kinds: &Kinds<'_>, dsb: &Pairs) -> Pairs {
    let mut pairs = Pairs::new(kinds.events.len());
    let finished = dsb.reversed();
    for (index, event) in kinds.events.iter().enumerate() {
        if !matches!(event.effect, Effect::Isb | Effect::Fault(_) | Effect::Return) {
            continue;
        }
        let before = kinds.before(index);
        let mut first = event.control.pick | finished[index];
        for earlier in each(before & kinds.explicit) {
            let earlier = &kinds.events[earlier];
            first |= earlier.address.pick | earlier.walk;
        }
        first |= event.walk;
        for walk in each(event.walk) {
            first |= kinds.events[walk].address.pick;
        }
        pairs.add(first, kinds.after(index));
    }
    pairs
}

/// Translation-intrinsically-before: a walk's reads before the access.
fn intrinsic(kinds: &Kinds<'_>, pairs: &mut Pairs) {
    for (index, event) in kinds.events.iter().enumerate() {
        pairs.add(event.walk, only(index));
    }
}

/// ETS-ordered-before: what is before a fault in program order is before the walk that faults.
fn enhanced(kinds: &Kinds<'_>, column: Column, pairs: &mut Pairs) {
    for fault in each(kinds.faults) {
        let counts = match (column, kinds.events[fault].effect) {
            (Column::Base, _) => false,
            (Column::Ets2, Effect::Fault(kind)) => kind != FaultKind::Permission,
            _ => true,
        };
        if counts {
            let first = kinds.before(fault) & kinds.explicit;
            pairs.add(first, kinds.events[fault].walk);
        }
    }
}

/// Local memory write successors: what is read or written before a write of the same place.
fn same_location(kinds: &Kinds<'_>, pairs: &mut Pairs) {
    for write in each(kinds.writes) {
        let before = kinds.before(write) & (kinds.explicit | kinds.walks);
        pairs.add(kinds.same_place(write, before), only(write));
    }
    for update in each(kinds.updates) {
        let before = kinds.before(update) & kinds.walks;
        pairs.add(kinds.same_place(update, before), only(update));
    }
}

/// What a read from a local write is behind: `dep`, then the write's successor.
fn after_local_write(kinds: &Kinds<'_>, write: usize) -> Set {
    let behind = |read: &usize| kinds.events[*read].local_write.map(usize::from) == Some(write);
    each(kinds.reads).filter(behind).fold(0, |set, read| set | only(read))
}

/// Dependency-ordered-before.
fn dependencies(kinds: &Kinds<'_>, pairs: &mut Pairs) {
    let obeys_control = kinds.writes | kinds.updates | kinds.tlbis;
    let stores = kinds.writes | kinds.updates;
    for (index, event) in kinds.events.iter().enumerate() {
        let this = only(index);
        if event.is_global() {
            pairs.add(event.address.data, this & !kinds.faults);
        }
        pairs.add(event.data.data, this & kinds.writes);
        pairs.add(event.control.data, this & obeys_control);
        if this & kinds.explicit != 0 {
            let after = kinds.after(index) & stores;
            pairs.add(event.address.data | event.walk, after);
        }
        if this & kinds.writes != 0 {
            let then = after_local_write(kinds, index);
            pairs.add(event.address.data | event.data.data, then);
        }
    }
}

/// Pick-ordered-before: dependencies through a choice, which order writes and nothing else.
fn picks(kinds: &Kinds<'_>, pairs: &mut Pairs) {
    let stores = kinds.writes | kinds.updates;
    let obeys = stores | kinds.tlbis;
    for (index, event) in kinds.events.iter().enumerate() {
        let this = only(index);
        pairs.add(event.address.pick | event.control.pick, this & obeys);
        pairs.add(event.data.pick, this & kinds.writes);
        if this & kinds.explicit != 0 {
            pairs.add(event.address.pick, kinds.after(index) & stores);
        }
    }
}

/// A read that a choice depends on is before the writes that are behind what was chosen.
fn picked_writes(kinds: &Kinds<'_>, order: &mut Order) -> Option<()> {
    let plain = order.clone();
    for (index, event) in kinds.events.iter().enumerate() {
        let sources = event.address.pick | event.data.pick | event.control.pick | event.flow.pick;
        let then = plain.after(index) & kinds.writes;
        for source in each(sources & kinds.before(index)) {
            order.add_all(source, then).ok()?;
        }
    }
    Some(())
}

/// Atomic-ordered-before.
fn atomics(kinds: &Kinds<'_>, pairs: &mut Pairs) {
    let acquires = kinds.acquires(false);
    for (index, event) in kinds.events.iter().enumerate() {
        if let Some(read) = event.pair.map(usize::from) {
            pairs.add(only(read), only(index));
            if only(index) & kinds.writes != 0 {
                pairs.add(only(read), after_local_write(kinds, index) & acquires);
            }
        }
    }
}

/// Barrier-ordered-before: DMBs, acquire and release.
fn barriers(kinds: &Kinds<'_>, pairs: &mut Pairs) {
    let later = kinds.explicit | kinds.faults;
    for (index, event) in kinds.events.iter().enumerate() {
        let Effect::Dmb(kind) = event.effect else { continue };
        let (first, then) = match kind {
            Kind::Full => (kinds.explicit, later),
            Kind::Loads => (kinds.kept, later),
            Kind::Stores => (kinds.writes, kinds.writes | kinds.faults),
        };
        pairs.add(kinds.before(index) & first, kinds.after(index) & then);
    }
    let (acquires, releases) = (kinds.acquires(true), kinds.releases());
    for read in each(kinds.acquires(false)) {
        pairs.add(only(read), kinds.after(read) & later);
    }
    for write in each(releases) {
        pairs.add(kinds.before(write) & kinds.explicit, only(write));
        pairs.add(only(write), kinds.after(write) & acquires);
        let event = &kinds.events[write];
        let pair = event.pair.filter(|_| event.one).map(usize::from);
        if pair.is_some_and(|read| has(acquires, read)) {
            pairs.add(only(write), kinds.after(write) & later);
        }
    }
}

/// A new context is one after the other, and known to what is behind a context synchronization.
fn contexts(kinds: &Kinds<'_>, pairs: &mut Pairs) {
    for (index, event) in kinds.events.iter().enumerate() {
        if event.effect != Effect::Context {
            continue;
        }
        let after = kinds.after(index);
        for later in each(after) {
            match kinds.events[later].effect {
                Effect::Context => pairs.add(only(index), only(later)),
                Effect::Isb | Effect::Fault(_) | Effect::Return => {
                    pairs.add(only(index), kinds.after(later));
                }
                _ => {}
            }
        }
    }
}

/// What each TLBI that a barrier completes is before.
fn completions(kinds: &Kinds<'_>, here: &Pairs, everywhere: &Pairs) -> Vec<Completion> {
    let after = |dsb: &Pairs, tlbi: usize| {
        let synchronized = each(dsb.0[tlbi]).filter(|then| {
            let effect = kinds.events[*then].effect;
            matches!(effect, Effect::Isb | Effect::Fault(_) | Effect::Return)
        });
        synchronized.fold(dsb.0[tlbi], |set, ifb| set | kinds.after(ifb))
    };
    let complete = |tlbi: &usize| {
        let full = |then: usize| matches!(kinds.events[then].effect, Effect::Dsb(_, Kind::Full));
        each(kinds.after(*tlbi)).any(full)
    };
    let tlbis = each(kinds.tlbis).filter(complete);
    tlbis
        .map(|tlbi| Completion {
            tlbi,
            here: after(here, tlbi),
            everywhere: after(everywhere, tlbi),
        })
        .collect()
}

/// Walks' reads of accesses to the same bytes of pages, in program order.
fn twins(kinds: &Kinds<'_>) -> Vec<(usize, usize)> {
    let mut twins = Vec::new();
    for first in each(kinds.explicit) {
        for second in each(kinds.after(first) & kinds.explicit) {
            let (one, other) = (&kinds.events[first], &kinds.events[second]);
            if one.offset == other.offset {
                for walk in each(one.walk) {
                    twins.extend(each(other.walk).map(|later| (walk, later)));
                }
            }
        }
    }
    twins
}
