//! Accesses happen: loads get values, stores go to memory, and what that means for those in flight.
//!
//! Source: Arm ARM, "Explicit-hazard-ordered-before", "Internal visibility requirement", "Atomic requirement".

use crate::Machine;
use crate::order::Access;
use crate::state::{Flight, From, State, Translated};
use crate::step::Step;
use crate::values::Inputs;
use litmus::instruction::{Instruction, Width};
use litmus::test::ThreadId;

impl Machine<'_> {
    /// Whether later loads that are done are right, now that instruction `at` turns out to be of `place`.
    pub(crate) fn is_coherent(
        &self,
        state: &State,
        thread: ThreadId,
        at: usize,
        place: u64,
    ) -> bool {
        let window = &state.threads[thread].window;
        let Some(access) = self.access(thread, &window[at]) else { return true };
        let wrong = |(nth, later): (usize, &Flight)| {
            let reads = self.access(thread, later).is_some_and(|access| access.reads);
            let from_before = match later.from {
                From::Memory => true,
                From::Flight(back) => nth < at + usize::from(back),
            };
            let missed = access.writes && !access.reads && from_before;
            reads
                && later.done
                && later.is_of(place)
                && (missed || access.reads && later.overwritten)
        };
        !window.iter().enumerate().skip(at + 1).any(wrong)
    }

    /// Whether hardware or an atomic, other than `but`, is between reading a place and writing it.
    pub(crate) fn is_locked(
        &self,
        state: &State,
        place: u64,
        but: Option<(ThreadId, usize)>,
    ) -> bool {
        let locks = |thread: ThreadId, at: usize, flight: &Flight| {
            let Translated::Yes { update, .. } = flight.translated else { return false };
            if flight.owes_update() && update.is_some_and(|(slot, _)| slot == place) {
                return true;
            }
            let begun = |access: Access| access.reads && access.writes;
            let is_begun = flight.is_of(place) && flight.done && !flight.stored;
            is_begun && self.access(thread, flight).is_some_and(begun) && {
                let inputs = self.inputs(thread, &state.threads[thread]);
                inputs.is_none_or(|inputs| inputs[at].way.value != Some(0))
            }
        };
        state.threads.iter().enumerate().any(|(thread, here)| {
            let mut all = here.window.iter().enumerate();
            all.any(|(at, flight)| but != Some((thread, at)) && locks(thread, at, flight))
        })
    }

    /// A load gets its value: from a store of its own thread that is in flight, or from memory.
    pub(crate) fn loaded(
        &self,
        mut state: State,
        (thread, at): (ThreadId, usize),
        inputs: &[Inputs],
        place: u64,
        access: &Access,
    ) -> Option<State> {
        let window = &state.threads[thread].window;
        let (before, after) = (&window[..at], &window[at + 1..]);
        let store = before.iter().enumerate().rev().find_map(|(nth, earlier)| {
            let store = self.access(thread, earlier)?;
            (earlier.is_of(place) && store.writes).then_some((nth, earlier, store))
        });
        let in_flight =
            store.filter(|(nth, earlier, store)| store.owes_write(earlier, &inputs[*nth]));
        let (source, value) = match in_flight {
            // What is one step with a store looks at memory.
            Some(_) if access.exclusive || access.writes => return None,
            Some((_, earlier, store)) if store.owes_read(earlier) => return None,
            Some((nth, ..)) => (From::Flight((at - nth) as u8), inputs[nth].data.value?),
            None if access.writes && self.is_locked(&state, place, Some((thread, at))) => {
                return None;
            }
            None => (From::Memory, self.read(&state.memory, place)),
        };
        // A later load of the same place has seen what is older.
        if after.iter().any(|later| later.is_of(place) && later.done && later.overwritten) {
            return None;
        }
        let width = self.width(thread, &window[at]);
        let flight = &mut state.threads[thread].window[at];
        (flight.done, flight.value, flight.from) = (true, width.cut(value), source);
        Some(state)
    }

    /// A store goes to memory.
    pub(crate) fn stored(
        &mut self,
        mut state: State,
        (thread, at): (ThreadId, usize),
        inputs: &[Inputs],
        (place, data): (u64, u64),
        access: &Access,
    ) -> Step {
        let window = &state.threads[thread].window;
        let waits = |(flight, inputs): (&Flight, &Inputs)| {
            let owes =
                |access: Access| access.owes_read(flight) || access.owes_write(flight, inputs);
            flight.is_of(place) && self.access(thread, flight).is_some_and(owes)
        };
        // A walk that may come here comes before it.
        let asks = |flight: &Flight| {
            let code = &self.test.threads[thread].code;
            let question = matches!(code[flight.place], Instruction::Translate { .. });
            question && flight.translated == Translated::Not && self.is_slot(place)
        };
        if window[..at].iter().any(asks)
            || window[..at].iter().zip(inputs).any(waits)
            || self.is_locked(&state, place, Some((thread, at)))
            || access.exclusive && !self.has_monitor(&state, thread, at, place)
        {
            return Ok(None);
        }
        let width = self.width(thread, &window[at]);
        let flight = &mut state.threads[thread].window[at];
        if access.reads {
            flight.stored = true;
        } else {
            flight.done = true;
        }
        self.written(state, Some(thread), place, width, data)
    }

    /// Whether the exclusive monitor lets a store through: opened by the last exclusive load, of this place,
    /// and nobody else has written there since.
    fn has_monitor(&self, state: &State, thread: ThreadId, at: usize, place: u64) -> bool {
        let here = &state.threads[thread];
        let code = &self.test.threads[thread].code;
        let last = here.window[..at].iter().rev().find_map(|flight| match code[flight.place] {
            Instruction::Load { exclusive: true, .. } => {
                Some(flight.done && !flight.lost && flight.is_of(place))
            }
            Instruction::StoreExclusive { .. } => Some(false),
            _ => None,
        });
        last.unwrap_or(here.monitor == Some((place, false)))
    }

    /// Hardware writes to a descriptor, for an instruction of `walker` or for none: no exclusive pair goes
    /// around that, its own included.
    pub(crate) fn updated(
        &mut self,
        mut state: State,
        walker: Option<ThreadId>,
        slot: u64,
        word: u64,
    ) -> Step {
        state.threads.iter_mut().for_each(|here| here.loses(slot));
        self.written(state, walker, slot, Width::X, word)
    }

    /// Memory changes, by `writer`; to all others that is news.
    fn written(
        &mut self,
        mut state: State,
        writer: Option<ThreadId>,
        place: u64,
        width: Width,
        data: u64,
    ) -> Step {
        let old = self.read(&state.memory, place);
        let value = match width {
            Width::W => old & !0xffff_ffff | Width::W.cut(data),
            Width::X => data,
        };
        let index = self.index(place);
        if state.memory.len() <= index {
            state.memory.resize(index + 1, 0);
        }
        state.memory[index] = value;
        while state.memory.last() == Some(&0) {
            state.memory.pop();
        }
        for thread in (0..state.threads.len()).filter(|thread| Some(*thread) != writer) {
            if !self.is_overwritten(&mut state, thread, place) {
                return Ok(None);
            }
        }
        if self.is_slot(place) {
            self.refill(&mut state)?;
        }
        Ok(Some(state))
    }

    /// Another CPU has written to `place`. Not possible where a load of it has to come before one that has
    /// been done.
    fn is_overwritten(&self, state: &mut State, thread: ThreadId, place: u64) -> bool {
        let here = &mut state.threads[thread];
        here.loses(place);
        for at in 0..here.window.len() {
            let flight = &here.window[at];
            let reads = self.access(thread, flight).is_some_and(|access| access.reads);
            let in_memory = match flight.from {
                From::Memory => true,
                From::Flight(back) => {
                    at.checked_sub(back.into()).is_none_or(|nth| here.window[nth].done)
                }
            };
            if !reads || !flight.done || !flight.is_of(place) || !in_memory {
                continue;
            }
            let waits = |earlier: &&Flight| {
                self.access(thread, earlier).is_some_and(|access| access.owes_read(earlier))
            };
            let mut earlier = here.window[..at].iter().filter(waits);
            if earlier.clone().any(|earlier| earlier.is_of(place)) {
                return false;
            }
            let may_be = earlier.any(|earlier| earlier.translated == Translated::Not);
            here.window[at].overwritten |= may_be;
        }
        true
    }

    /// An instruction in flight as an access.
    pub(crate) fn access(&self, thread: ThreadId, flight: &Flight) -> Option<Access> {
        Access::of(&self.test.threads[thread].code[flight.place], flight.guess)
    }

    /// How wide it is.
    fn width(&self, thread: ThreadId, flight: &Flight) -> Width {
        match self.test.threads[thread].code[flight.place] {
            Instruction::Load { width, .. }
            | Instruction::Store { width, .. }
            | Instruction::StoreExclusive { width, .. }
            | Instruction::Atomic { width, .. }
            | Instruction::CompareSwap { width, .. } => width,
            _ => Width::X,
        }
    }
}
