//! What one CPU keeps in order: the locally-ordered-before relation of a trace.
//!
//! The rules have the architecture's names. Each is a product of sets, or a walk along what events remember
//! of each other; together, closed, they are the same for everything that other threads may do.

mod kinds;
mod rules;

use super::event::{Effect, Trace};
use super::set::{Order, Set, each};
use crate::instruction::Kind;
use crate::test::Column;
use alloc::vec::Vec;
use kinds::{Kinds, Pairs};

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

impl Local {
    /// The orders of a trace under the rules of `column`; `None` if they contradict each other.
    pub(crate) fn of(trace: &Trace, column: Column) -> Option<Self> {
        let kinds = Kinds::of(&trace.events);
        let strong = column >= Column::Ets2;
        let count = trace.events.len();
        let everywhere = rules::dsb(&kinds, strong, false);
        let here = rules::dsb(&kinds, strong, true);
        let synchronized = rules::ifb(&kinds, &here);
        let mut pairs = Pairs::new(count);
        pairs.join(&here);
        pairs.join(&synchronized);
        rules::intrinsic(&kinds, &mut pairs);
        rules::enhanced(&kinds, column, &mut pairs);
        rules::same_location(&kinds, &mut pairs);
        rules::dependencies(&kinds, &mut pairs);
        rules::picks(&kinds, &mut pairs);
        rules::atomics(&kinds, &mut pairs);
        rules::barriers(&kinds, &mut pairs);
        rules::contexts(&kinds, &mut pairs);
        let mut order = Order::new(count);
        for first in 0..count {
            order.add_all(first, pairs.0[first]).ok()?;
        }
        rules::picked_writes(&kinds, &mut order)?;
        let completes = completions(&kinds, &here, &everywhere);
        Some(Self { order, completes, twins: twins(&kinds) })
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
