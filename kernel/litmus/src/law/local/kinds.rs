//! A trace's events by what they are, and pairs of them while they are collected.

use super::super::event::{Effect, Event};
use super::super::set::{Set, each, only};
use crate::instruction::Acquire;
use alloc::vec::Vec;

/// Sets of a trace's events by what they are.
pub(super) struct Kinds<'a> {
    pub(super) events: &'a [Event],
    pub(super) reads: Set,
    pub(super) kept: Set,
    pub(super) writes: Set,
    pub(super) explicit: Set,
    pub(super) walks: Set,
    pub(super) updates: Set,
    pub(super) faults: Set,
    pub(super) tlbis: Set,
    all: Set,
}

impl<'a> Kinds<'a> {
    pub(super) fn of(events: &'a [Event]) -> Self {
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
    pub(super) fn after(&self, event: usize) -> Set {
        let step = self.events[event].step;
        let first = self.events.iter().position(|later| later.step > step);
        first.map_or(0, |first| self.all & !(only(first) - 1))
    }

    /// The events of earlier instructions.
    pub(super) fn before(&self, event: usize) -> Set {
        let step = self.events[event].step;
        let first = self.events.iter().position(|same| same.step == step);
        first.map_or(0, |first| only(first) - 1)
    }

    /// Those of `among` at the same place in memory as `event`.
    pub(super) fn same_place(&self, event: usize, among: Set) -> Set {
        let location = self.events[event].location;
        each(among)
            .filter(|other| self.events[*other].location == location)
            .fold(0, |set, other| set | only(other))
    }

    /// Reads that acquire: whatever kind, or only those of store-release's kind.
    pub(super) fn acquires(&self, full: bool) -> Set {
        each(self.reads)
            .filter(|read| match self.events[*read].effect {
                Effect::Read { acquire: Acquire::Full, .. } => true,
                Effect::Read { acquire: Acquire::Weak, .. } => !full,
                _ => false,
            })
            .fold(0, |set, read| set | only(read))
    }

    pub(super) fn releases(&self) -> Set {
        each(self.writes)
            .filter(|write| self.events[*write].effect == Effect::Write { release: true })
            .fold(0, |set, write| set | only(write))
    }
}

/// Pairs that are being collected: what each event is directly before.
pub(super) struct Pairs(pub(super) Vec<Set>);

impl Pairs {
    pub(super) fn new(events: usize) -> Self {
        Self(alloc::vec![0; events])
    }

    /// Every one of `first` before every one of `then`.
    pub(super) fn add(&mut self, first: Set, then: Set) {
        for event in each(first) {
            self.0[event] |= then;
        }
    }

    pub(super) fn join(&mut self, other: &Self) {
        for (mine, theirs) in self.0.iter_mut().zip(&other.0) {
            *mine |= theirs;
        }
    }

    /// Events of the other way round: what is before each.
    pub(super) fn reversed(&self) -> Vec<Set> {
        let mut before = alloc::vec![0; self.0.len()];
        for (first, then) in self.0.iter().enumerate() {
            for event in each(*then) {
                before[event] |= only(first);
            }
        }
        before
    }
}
