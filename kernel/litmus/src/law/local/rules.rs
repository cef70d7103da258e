//! The rules, one a function, under the architecture's names.

use super::super::event::Effect;
use super::super::set::{Order, Set, each, has, only};
use super::kinds::{Kinds, Pairs};
use crate::instruction::{Domain, Kind};
use crate::test::{Column, FaultKind};

/// DSB-ordered-before. `local`: with barriers of this CPU alone too, which end no other CPU's walks.
pub(super) fn dsb(kinds: &Kinds<'_>, strong: bool, local: bool) -> Pairs {
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
pub(super) fn ifb(kinds: &Kinds<'_>, dsb: &Pairs) -> Pairs {
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
pub(super) fn intrinsic(kinds: &Kinds<'_>, pairs: &mut Pairs) {
    for (index, event) in kinds.events.iter().enumerate() {
        pairs.add(event.walk, only(index));
    }
}

/// ETS-ordered-before: what is before a fault in program order is before the walk that faults.
pub(super) fn enhanced(kinds: &Kinds<'_>, column: Column, pairs: &mut Pairs) {
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
pub(super) fn same_location(kinds: &Kinds<'_>, pairs: &mut Pairs) {
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
pub(super) fn after_local_write(kinds: &Kinds<'_>, write: usize) -> Set {
    let behind = |read: &usize| kinds.events[*read].local_write.map(usize::from) == Some(write);
    each(kinds.reads).filter(behind).fold(0, |set, read| set | only(read))
}

/// Dependency-ordered-before.
pub(super) fn dependencies(kinds: &Kinds<'_>, pairs: &mut Pairs) {
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
pub(super) fn picks(kinds: &Kinds<'_>, pairs: &mut Pairs) {
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
pub(super) fn picked_writes(kinds: &Kinds<'_>, order: &mut Order) -> Option<()> {
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
pub(super) fn atomics(kinds: &Kinds<'_>, pairs: &mut Pairs) {
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
pub(super) fn barriers(kinds: &Kinds<'_>, pairs: &mut Pairs) {
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
pub(super) fn contexts(kinds: &Kinds<'_>, pairs: &mut Pairs) {
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
