//! A thread's share of an execution: what is left of a trace when only that counts which others can notice.

use super::event::{Effect, Event, Sources, Trace, Walk};
use super::local::{Completion, Local};
use super::set::{Order, Set, each, only};
use super::values::Values;
use crate::semantics::{Asked, permit};
use crate::test::{Column, Test};
use abi::{Asid, Level, VirtAddr};
use alloc::vec::Vec;
use pte::bits;

/// Events by indices of their own, and the orders between them.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    pub(crate) events: Vec<Event>,
    /// What each is before.
    pub(crate) after: Vec<Set>,
    pub(crate) completes: Vec<Completion>,
    pub(crate) twins: Vec<(usize, usize)>,
}

impl Part {
    /// What a trace's events are to others; `None` if it contradicts itself.
    pub(crate) fn of(trace: &Trace, column: Column) -> Option<Self> {
        let local = Local::of(trace, column)?;
        let mut new = alloc::vec![None; trace.events.len()];
        let mut count = 0;
        for (index, event) in trace.events.iter().enumerate() {
            if event.is_global() {
                new[index] = Some(count);
                count += 1;
            }
        }
        let moved =
            |set: Set| each(set).filter_map(|old| new[old]).fold(0, |set, at| set | only(at));
        let single = |old: u8| new[usize::from(old)].map(|at: usize| at as u8);
        let mut part = Self {
            events: Vec::new(),
            after: Vec::new(),
            completes: Vec::new(),
            twins: Vec::new(),
        };
        for (index, event) in trace.events.iter().enumerate() {
            if event.is_global() {
                let (walk, pair) = (moved(event.walk), event.pair.and_then(single));
                part.events.push(Event { walk, pair, local_write: None, ..*event });
                part.after.push(moved(local.order.after(index)));
            }
        }
        for completion in &local.completes {
            if let Some(tlbi) = new[completion.tlbi] {
                let (here, everywhere) = (moved(completion.here), moved(completion.everywhere));
                part.completes.push(Completion { tlbi, here, everywhere });
            }
        }
        let pair = |(one, other): &(usize, usize)| Some((new[*one]?, new[*other]?));
        part.twins = local.twins.iter().filter_map(pair).collect();
        Some(part)
    }

    /// Hardware sets an access flag by itself where a descriptor is without one, for a translation that
    /// nobody asked for; `None` if it cannot.
    pub(crate) fn spontaneous(
        test: &Test,
        values: &Values,
        location: u64,
        word: u64,
    ) -> Option<Self> {
        let managed = test.threads.iter().any(|thread| thread.ha);
        if !managed || !values.is_descriptor(location) || word & bits::TYPE == 0 {
            return None;
        }
        let asked = Asked { write: false, el0: false, ha: true, hd: false };
        let new = permit(word, asked).ok().filter(|new| *new != word)?;
        let walk = Walk {
            va: VirtAddr(0),
            asid: Asid(0),
            level: Level::Pte,
            leaf: true,
            global: word & bits::NG == 0,
            absent: false,
        };
        let event = |effect, value, pair| Event {
            effect,
            step: 0,
            location,
            value,
            address: Sources::default(),
            data: Sources::default(),
            control: Sources::default(),
            flow: Sources::default(),
            walk: 0,
            local_write: None,
            pair,
            one: true,
            offset: 0,
        };
        let read = event(Effect::Walk(walk), word, None);
        let update = event(Effect::Update, new, Some(0));
        Some(Self {
            events: alloc::vec![read, update],
            after: alloc::vec![only(1), 0],
            completes: Vec::new(),
            twins: Vec::new(),
        })
    }
}

/// Several parts as one: an execution before it is known what its reads have read.
#[derive(Clone, Debug)]
pub(crate) struct Whole {
    pub(crate) events: Vec<Event>,
    /// Whose each event is. Spontaneous ones are nobody's: each has a number of its own.
    pub(crate) thread: Vec<usize>,
    pub(crate) order: Order,
    pub(crate) completes: Vec<Completion>,
    pub(crate) twins: Vec<(usize, usize)>,
}

impl Whole {
    /// Puts parts together; `None` if they are too many events.
    pub(crate) fn of<'a>(parts: impl Iterator<Item = &'a Part>) -> Option<Self> {
        let mut whole = Self {
            events: Vec::new(),
            thread: Vec::new(),
            order: Order::new(0),
            completes: Vec::new(),
            twins: Vec::new(),
        };
        let mut after = Vec::new();
        for (thread, part) in parts.enumerate() {
            let base = whole.events.len();
            if base + part.events.len() > super::set::MOST {
                return None;
            }
            let moved = |set: Set| if set == 0 { 0 } else { set << base };
            for (event, then) in part.events.iter().zip(&part.after) {
                let pair = event.pair.map(|pair| pair + base as u8);
                whole.events.push(Event { walk: moved(event.walk), pair, ..*event });
                whole.thread.push(thread);
                after.push(moved(*then));
            }
            for completion in &part.completes {
                let tlbi = completion.tlbi + base;
                let (here, everywhere) = (moved(completion.here), moved(completion.everywhere));
                whole.completes.push(Completion { tlbi, here, everywhere });
            }
            whole.twins.extend(part.twins.iter().map(|(one, other)| (one + base, other + base)));
        }
        whole.order = Order::closed(after);
        Some(whole)
    }

    /// Whether two events are of one thread.
    pub(crate) fn internal(&self, one: usize, other: usize) -> bool {
        self.thread[one] == self.thread[other]
    }

    /// Whether `one`'s instruction is before `other`'s in one program.
    pub(crate) fn program_order(&self, one: usize, other: usize) -> bool {
        self.internal(one, other) && self.events[one].step < self.events[other].step
    }
}
