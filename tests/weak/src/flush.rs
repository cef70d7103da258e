//! TLBIs: under way from their step on, over when their CPU's barrier is.
//!
//! From its step on, a TLBI divides what a TLB may hold: what there was before, and what can still be there when
//! it is over. Until then both may be used. It is over when no CPU goes on with what was only before: each
//! access that was translated so has been performed.
//!
//! Source: Arm ARM, "TLB maintenance instruction ordering and completion", "TLBI-after",
//! "TLBI-ordered-before".

use crate::order::End;
use crate::state::{Flight, Held, State, Translated};
use crate::step::{DIRECT, Step};
use crate::{Machine, TooLarge};
use litmus::instruction::{Domain, Instruction, Kind, TlbiOp};
use litmus::test::ThreadId;
use pte::{Scope, Tlbi};

/// What a CPU may hold whom a TLBI is not for, or is not waited for on: everything.
const UNASKED: Held = Held::MAX;

impl Machine<'_> {
    /// A TLBI is under way.
    pub(crate) fn issued(
        &mut self,
        mut state: State,
        thread: ThreadId,
        at: usize,
        op: TlbiOp,
        operand: u64,
    ) -> Result<State, TooLarge> {
        let place = state.threads[thread].window[at].place;
        state.threads[thread].window[at].done = true;
        let mut barriers = self.test.threads[thread].code[place..].iter().filter_map(|behind| {
            if let Instruction::Dsb(domain, Kind::Full) = behind { Some(*domain) } else { None }
        });
        // Nobody waits for it: it need never be over.
        let Some(first) = barriers.next() else {
            state.threads[thread].window[at].over = true;
            return Ok(state);
        };
        let op = op.with(operand);
        // A barrier of its own CPU does not wait for others.
        let own = first == Domain::Local;
        if own && op.scope != Scope::Local && barriers.any(|domain| domain != Domain::Local) {
            return Err(TooLarge("DSB NSH and a wider one behind a TLBI IS"));
        }
        let mut left = Vec::new();
        for other in 0..state.threads.len() {
            if !self.reaches(&op, thread, other) || own && other != thread {
                left.push(UNASKED);
                continue;
            }
            let contexts = self.contexts(other, &state.threads[other]);
            let spared = self.universe.spared(state.threads[other].tlb, &op);
            left.push(self.filled(&state.memory, &contexts, spared, true)?);
        }
        state.threads[thread].window[at].left = left;
        Ok(state)
    }

    /// Whether a TLBI of `issuer` is for `other`.
    fn reaches(&self, op: &Tlbi, issuer: ThreadId, other: ThreadId) -> bool {
        let deaf = |thread: ThreadId| self.test.threads[thread].device;
        other == issuer || op.scope == Scope::InnerShareable && !deaf(other)
    }

    /// The TLBIs at `ends` are over: nobody has, and nobody goes on with, what they remove.
    pub(crate) fn ended(&self, state: &State, issuer: ThreadId, ends: &[End]) -> Step {
        let mut state = state.clone();
        for &End { at, everywhere } in ends {
            let code = &self.test.threads[issuer].code;
            let flight = &mut state.threads[issuer].window[at];
            let wide = |instruction: &Instruction| match instruction {
                Instruction::Dsb(domain, Kind::Full) => *domain != Domain::Local,
                _ => false,
            };
            // With no barrier for the others to come, nobody waits for them.
            let everywhere_or_never = everywhere || !code[flight.place..].iter().any(wide);
            flight.over |= everywhere_or_never;
            let mut left = flight.left.clone();
            if everywhere_or_never {
                flight.left.clear();
            }
            if !everywhere {
                (0..left.len()).filter(|n| *n != issuer).for_each(|n| left[n] = UNASKED);
            }
            let Instruction::Tlbi { op, .. } = code[flight.place] else { continue };
            let operand =
                self.inputs(issuer, &state.threads[issuer]).map(|inputs| inputs[at].address.value);
            let Some(Some(operand)) = operand else { return Ok(None) };
            let op = op.with(operand);
            for (other, &left) in left.iter().enumerate() {
                if left == UNASKED {
                    continue;
                }
                if other != issuer && !self.is_used_up(&state, other, &op, left) {
                    return Ok(None);
                }
                let here = &mut state.threads[other];
                here.tlb &= left;
                here.window.iter_mut().for_each(|flight| flight.before &= left);
                for thread in &mut state.threads {
                    for flight in &mut thread.window {
                        if let Some(held) = flight.left.get_mut(other) {
                            *held &= if *held == UNASKED { UNASKED } else { left };
                        }
                    }
                }
            }
        }
        Ok(Some(state))
    }

    /// Whether a CPU has performed all that it translated by what goes; and whether it has translated what
    /// comes before, where that is at the same place of a page.
    fn is_used_up(&self, state: &State, other: ThreadId, op: &Tlbi, left: Held) -> bool {
        let here = &state.threads[other];
        let Some(inputs) = self.inputs(other, here) else { return false };
        let low = |at: usize| inputs[at].address.value.map(|va| va % abi::PAGE_SIZE);
        for (at, flight) in here.window.iter().enumerate() {
            let by = match flight.translated {
                Translated::Yes { by, .. } | Translated::Fault { by, .. } if by != DIRECT => by,
                _ => continue,
            };
            if left >> by & 1 != 0 || !self.universe.read(by).is_covered(op) {
                continue;
            }
            let Some(access) = self.access(other, flight) else { continue };
            let owes = access.owes_read(flight) || access.owes_write(flight, &inputs[at]);
            if owes || flight.is_fault() && !flight.done {
                return false;
            }
            if flight.is_fault() {
                continue;
            }
            let untranslated = |(nth, earlier): (usize, &Flight)| {
                let access = self.access(other, earlier);
                access.is_some() && earlier.translated == Translated::Not && low(nth) == low(at)
            };
            if here.window[..at].iter().enumerate().any(untranslated) {
                return false;
            }
        }
        true
    }
}
