//! What a report tells of the last events: those that matter, which of them was the cause, and which step
//! is missing between it and the end.

use crate::timeline::{Concern, Event, Timeline, What};
use oracle::tlb::Cached;
use pte::bits::VALID;
use pte::{Scope, Tlbi};
use std::fmt;

/// An event, in words.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Told {
    /// How many steps the machine had taken.
    pub step: u64,
    /// Whose step it was.
    pub cpu: usize,
    /// What happened.
    pub text: String,
}

impl Told {
    pub(crate) fn of(event: &Event) -> Self {
        Self { step: event.step, cpu: event.cpu, text: event.to_string() }
    }
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "step {} cpu {}: {}", self.step, self.cpu, self.text)
    }
}

/// What led to a broken rule.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Story {
    /// The last steps that have to do with it, oldest first.
    pub before: Vec<Told>,
    /// Which of them took away or overwrote what somebody still has.
    pub cause: Option<usize>,
    /// What should have been done before the last step.
    pub missing: Option<String>,
}

impl Story {
    pub(crate) fn of(timeline: &Timeline, concern: &Concern) -> Self {
        let told = timeline.concerning(concern);
        let cause = told.iter().rposition(|event| takes_away(event, concern));
        let missing = cause.and_then(|cause| match concern.cached {
            Some(cached) => unflushed(timeline, told[cause], &cached),
            None => unbroken(told[cause], cause + 1 == told.len()),
        });
        Self { before: told.into_iter().map(Told::of).collect(), cause, missing }
    }
}

/// Whether this is a store over a descriptor that TLBs may hold.
fn takes_away(event: &Event, concern: &Concern) -> bool {
    let What::Stored { slot, range, level, old, new } = event.what else { return false };
    let of_it = concern.cached.is_none_or(|cached| {
        level == cached.level && old & !pte::bits::CONT == cached.word & !pte::bits::CONT
            || level < cached.level && range.is_some_and(|range| range.overlaps(&cached.range()))
    });
    let of_slot = concern.slot.is_none_or(|wanted| wanted == slot) || concern.cached.is_some();
    old & VALID != 0 && old != new && of_it && of_slot
}

/// Of the steps from a change to its flush's end, those that were not taken, the first one first.
fn unflushed(timeline: &Timeline, cause: &Event, cached: &Cached) -> Option<String> {
    let from = |first: &Event| {
        let first: *const Event = first;
        timeline.iter().skip_while(move |event| !std::ptr::eq(*event, first)).skip(1)
    };
    let (changer, wide) = (cause.cpu, Scope::InnerShareable);
    let publish = format!("cpu {changer} makes its store visible (DSB ISHST)");
    let mut flush = format!(
        "a TLBI of all CPUs for {} of asid {} that removes a {} entry",
        cached.va, cached.asid, cached.level
    );
    let wait = |cpu| format!("cpu {cpu} waits for it (DSB ISH)");

    let seen = from(cause).find(|event| {
        let does = |scope| event.cpu == changer && scope == wide;
        matches!(event.what, What::Published(scope) | What::Completed(scope) if does(scope))
    });
    let Some(seen) = seen else {
        return Some(format!("{publish}; then {flush}; then {}", wait(changer)));
    };
    let tlbis = || {
        from(seen).filter_map(|event| match event.what {
            What::Issued(op) => Some((event, op)),
            _ => None,
        })
    };
    let reaches = |op: &Tlbi| cached.is_covered(op) && op.scope == wide;
    let Some((issued, _)) = tlbis().find(|(_, op)| reaches(op)) else {
        if let Some((_, op)) = tlbis().last() {
            flush += &format!(", which \"tlbi {op}\" does not");
        }
        return Some(format!("{flush}; then {}", wait(changer)));
    };
    let completes = |event: &Event| {
        event.cpu == issued.cpu && matches!(event.what, What::Completed(scope) if scope == wide)
    };
    let Some(completed) = from(issued).find(|event| completes(event)) else {
        return Some(wait(issued.cpu));
    };
    let synchronizes = |event: &Event| {
        event.cpu == issued.cpu && matches!(event.what, What::Synchronized | What::Runs(_))
    };
    let late = !from(completed).any(synchronizes);
    late.then(|| format!("cpu {} synchronises its context (ISB)", issued.cpu))
}

/// A store over a live entry, where that was itself the end.
fn unbroken(cause: &Event, is_last: bool) -> Option<String> {
    let What::Stored { new, .. } = cause.what else { return None };
    (is_last && new & VALID != 0).then(|| {
        let cpu = cause.cpu;
        format!("cpu {cpu} first stores an invalid entry, publishes it, and flushes the old one")
    })
}
