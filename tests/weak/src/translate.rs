//! Accesses are translated, or fault.
//!
//! A translation comes of what the TLB may hold. A fault, and what hardware writes to a descriptor, comes of what
//! is in the tables at that moment.
//!
//! Source: Arm ARM, "Translation table walks", "MMU faults", "Hardware management of the Access flag and dirty
//! state".

use crate::fills::{Reached, Read, context};
use crate::order::{Access, Order};
use crate::state::{Flight, Held, State, Translated};
use crate::step::DIRECT;
use crate::{Machine, TooLarge};
use abi::{PAGE_SIZE, VirtAddr};
use litmus::instruction::Instruction;
use litmus::semantics::{Asked, par, permit};
use litmus::test::{FaultKind, Faults, ThreadId};
use oracle::tlb::Cached;
use pte::Entry;
use pte::bits::{ADDRESS, AF};

impl Machine<'_> {
    /// Every way to translate an access.
    pub(crate) fn translations(
        &mut self,
        state: &State,
        (thread, at): (ThreadId, usize),
        va: u64,
        (access, order): (&Access, &Order),
        contexts: &[u64],
        next: &mut Vec<State>,
    ) -> Result<(), TooLarge> {
        let program = &self.test.threads[thread];
        let here = &state.threads[thread];
        let in_handler = program.handler.is_some_and(|begin| here.window[at].place >= begin);
        let va = VirtAddr(va);
        let mut asked = Asked {
            write: access.writes,
            el0: program.el0 && !in_handler,
            ha: program.ha || program.hd,
            hd: program.hd,
        };
        let question = match program.code[here.window[at].place] {
            Instruction::Translate { el0, .. } => Some(el0),
            _ => None,
        };
        if let Some(el0) = question {
            // It sets no dirty state.
            (asked.el0, asked.hd) = (el0, false);
        }
        let held = here.held(at);
        let mut choices = Vec::new();
        for &ttbr in contexts {
            self.by_tlb(held, ttbr, (va, asked), &mut choices);
            self.by_walk(state, held, ttbr, (va, asked), &mut choices)?;
        }
        let later = &here.window[at + 1..];
        // By physical address, it is translated as soon as the address is known.
        let idle = |later: &Flight| match later.translated {
            Translated::Not => !later.done,
            Translated::Yes { by, .. } => by == DIRECT && !later.done,
            Translated::Fault { .. } => false,
        };
        // Of faults of one instruction in a row, the first that is not taken yet is as good as the last.
        let again = here.window[..at].last().is_some_and(|before| {
            before.is_fault() && !before.done && before.place == here.window[at].place
        });
        let may_fault = !again && later.iter().all(idle);
        for (nth, &choice) in choices.iter().enumerate() {
            if choices[..nth].contains(&choice) {
                continue;
            }
            match choice {
                Translated::Not => {}
                choice if question.is_some() => next.push(answered(state, thread, at, choice)),
                Translated::Fault { kind, .. } => {
                    let right = kind == FaultKind::Permission;
                    if may_fault && if right { order.no_right } else { order.no_entry } {
                        next.push(self.faulted(state.clone(), thread, at, choice));
                    }
                }
                Translated::Yes { at: place, .. } => {
                    let mut state = state.clone();
                    state.threads[thread].window[at].translated = choice;
                    if self.is_coherent(&state, thread, at, place) {
                        next.push(state);
                    }
                }
            }
        }
        Ok(())
    }

    /// The ways that the TLB gives.
    fn by_tlb(
        &self,
        held: Held,
        ttbr: u64,
        (va, asked): (VirtAddr, Asked),
        choices: &mut Vec<Translated>,
    ) {
        let (_, asid) = context(ttbr);
        for (by, cached) in self.universe.kept(held) {
            if cached.table().is_some() || !cached.serves(asid) || !cached.translates(va) {
                continue;
            }
            match permit(cached.word, asked) {
                Ok(word) if word == cached.word => {
                    let at = physical(cached, va);
                    choices.push(Translated::Yes { at, by, update: None });
                }
                // Hardware looks at what is there now.
                Ok(_) => {}
                Err(kind) => choices.push(Translated::Fault { kind, by }),
            }
        }
    }

    /// The ways that a walk gives and that no TLB may keep.
    fn by_walk(
        &mut self,
        state: &State,
        held: Held,
        ttbr: u64,
        (va, asked): (VirtAddr, Asked),
        choices: &mut Vec<Translated>,
    ) -> Result<(), TooLarge> {
        let page = va.align_down(PAGE_SIZE);
        let mut found = Vec::new();
        self.reached(&state.memory, held, context(ttbr), page, &mut found);
        for Reached { slot, level, word, asid } in found {
            let answer = match pte::decode(level, word) {
                Entry::Table(_) => continue,
                Entry::Leaf(_) => permit(word, asked),
                _ => Err(FaultKind::Translation),
            };
            let by = self.universe.number(Read::Fresh { slot, word, va: page, asid, level })?;
            match answer {
                // A TLB has it.
                Ok(new) if new == word => {}
                Err(FaultKind::Permission) if word & AF != 0 => {}
                Err(kind) => choices.push(Translated::Fault { kind, by }),
                Ok(_) if self.is_locked(state, slot, None) => {}
                Ok(new) => {
                    let within = level.span() - 1;
                    let at = word & ADDRESS & !within | va.0 & within;
                    choices.push(Translated::Yes { at, by, update: Some((slot, new)) });
                }
            }
        }
        Ok(())
    }

    /// Hardware that sets access flags may do so for addresses that nobody accesses.
    pub(crate) fn spurious(
        &mut self,
        state: &State,
        next: &mut Vec<State>,
    ) -> Result<(), TooLarge> {
        let mut found = Vec::new();
        for (thread, here) in state.threads.iter().enumerate() {
            let program = &self.test.threads[thread];
            if !program.ha && !program.hd {
                continue;
            }
            for ttbr in self.contexts(thread, here) {
                for nth in 0..self.pages.len() {
                    self.reached(
                        &state.memory,
                        here.tlb,
                        context(ttbr),
                        self.pages[nth],
                        &mut found,
                    );
                    let found = found.clone();
                    for Reached { slot, level, word, .. } in found {
                        let ages = matches!(pte::decode(level, word), Entry::Leaf(leaf) if !leaf.is_young());
                        if ages && !self.is_locked(state, slot, None) {
                            let state = state.clone();
                            next.extend(self.updated(state, None, slot, word | AF)?);
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// The access faults: what comes after it was never there.
    pub(crate) fn faulted(
        &self,
        mut state: State,
        thread: ThreadId,
        at: usize,
        fault: Translated,
    ) -> State {
        let program = &self.test.threads[thread];
        let here = &mut state.threads[thread];
        here.window.truncate(at + 1);
        let flight = &mut here.window[at];
        flight.translated = fault;
        let place = flight.place;
        here.next = match (program.handler, self.test.faults) {
            (Some(begin), _) if place < begin => Some(begin),
            (None, Faults::Retry) => Some(place),
            (None, Faults::Skip) => Some(place + 1),
            _ => None,
        };
        state
    }
}

/// The physical address of `va`.
fn physical(cached: &Cached, va: VirtAddr) -> u64 {
    cached.frame(va).base().0 + va.0 % PAGE_SIZE
}

/// A question has its answer, as `PAR_EL1` tells it.
fn answered(state: &State, thread: ThreadId, at: usize, answer: Translated) -> State {
    let mut state = state.clone();
    let flight = &mut state.threads[thread].window[at];
    flight.done = true;
    (flight.value, flight.translated) = match answer {
        Translated::Yes { at, by, update } => {
            (par(Ok(at)), Translated::Yes { at: NOWHERE, by, update })
        }
        Translated::Fault { kind, by } => {
            (par(Err(kind)), Translated::Yes { at: NOWHERE, by, update: None })
        }
        Translated::Not => return state,
    };
    state
}

/// Where a question accesses memory.
const NOWHERE: u64 = u64::MAX;
