//! The steps that the machine may take: each of them changes memory, or fixes what an instruction has seen.

use crate::order::{Access, contexts, order};
use crate::state::{State, Taken, Translated};
use crate::values::Inputs;
use crate::{Machine, TooLarge, is_switch};
use litmus::instruction::Instruction;
use litmus::test::ThreadId;

/// No descriptor: the access is by physical address.
pub(crate) const DIRECT: u8 = u8::MAX;

/// A step's end: nothing, or why it is not taken.
pub(crate) type Step = Result<Option<State>, TooLarge>;

impl Machine<'_> {
    /// All that can happen next.
    pub(crate) fn steps(&mut self, state: &State) -> Result<Vec<State>, TooLarge> {
        let mut next = Vec::new();
        self.spurious(state, &mut next)?;
        for thread in 0..state.threads.len() {
            let Some(inputs) = self.inputs(thread, &state.threads[thread]) else { return Ok(next) };
            for at in 0..inputs.len() {
                if let Some(only) = self.steps_of(state, thread, &inputs, at, &mut next)? {
                    return Ok(vec![only]);
                }
            }
        }
        Ok(next)
    }

    /// What can happen next of one instruction; a step that leaves all others possible comes back alone.
    fn steps_of(
        &mut self,
        state: &State,
        thread: ThreadId,
        inputs: &[Inputs],
        at: usize,
        next: &mut Vec<State>,
    ) -> Result<Option<State>, TooLarge> {
        let (test, here) = (self.test, &state.threads[thread]);
        let code = &test.threads[thread].code;
        let flight = &here.window[at];
        let instruction = &code[flight.place];
        let access = match *instruction {
            Instruction::Translate { write, .. } => Some(Access::question(write)),
            _ => self.access(thread, flight),
        };
        let is_tlbi = matches!(instruction, Instruction::Tlbi { .. });
        if access.is_none() && !is_tlbi && !is_switch(instruction) {
            return Ok(None);
        }
        let order = order(self.column, code, here, inputs, at);
        if let Instruction::Tlbi { op, .. } = *instruction {
            if order.tlbi
                && !flight.done
                && let Some(operand) = inputs[at].address.certain()
                && let Some(state) = self.ended(state, thread, &order.ends)?
            {
                next.push(self.issued(state, thread, at, op, operand)?);
            }
            return Ok(None);
        }
        let Some(access) = access else {
            if order.switch
                && !flight.done
                && let Some(value) = inputs[at].data.value
                && let Some(mut state) = self.ended(state, thread, &order.ends)?
            {
                let held = state.threads[thread].held(at);
                let flight = &mut state.threads[thread].window[at];
                (flight.done, flight.value, flight.before) = (true, value, held);
                self.refill(&mut state)?;
                next.push(state);
            }
            return Ok(None);
        };
        match flight.translated {
            Translated::Not => {
                if order.walk
                    && let Some(va) = inputs[at].address.value
                    && let Some(state) = self.ended(state, thread, &order.ends_walk)?
                {
                    let contexts = contexts(code, here, at);
                    self.translations(
                        &state,
                        (thread, at),
                        va,
                        (&access, &order),
                        &contexts,
                        next,
                    )?;
                }
            }
            Translated::Fault { kind, .. } => {
                if order.fault
                    && !flight.done
                    && let Some(mut state) = self.ended(state, thread, &order.ends)?
                {
                    let va = inputs[at].address.value.unwrap_or(0);
                    let taken = Taken { place: flight.place, va, kind };
                    let here = &mut state.threads[thread];
                    here.window[at].done = true;
                    if !here.faults.contains(&taken) {
                        here.faults.push(taken);
                        here.faults.sort_unstable();
                    }
                    if order.ends.is_empty() {
                        return Ok(Some(state));
                    }
                    next.push(state);
                }
            }
            Translated::Yes { at: place, update, .. } => {
                if flight.owes_update()
                    && order.update
                    && let Some((slot, word)) = update
                    && inputs[at].address.certain().is_some()
                    && let Some(mut state) = self.ended(state, thread, &order.ends_walk)?
                {
                    state.threads[thread].window[at].updated = true;
                    next.extend(self.updated(state, Some(thread), slot, word)?);
                }
                if access.owes_read(flight) {
                    if order.load
                        && let Some(state) = self.ended(state, thread, &order.ends)?
                    {
                        next.extend(self.loaded(state, (thread, at), inputs, place, &access));
                    }
                } else if access.owes_write(flight, &inputs[at])
                    && order.store
                    && let Some(data) = inputs[at].data.certain()
                    && inputs[at].address.certain().is_some()
                    && let Some(state) = self.ended(state, thread, &order.ends)?
                {
                    next.extend(self.stored(
                        state,
                        (thread, at),
                        inputs,
                        (place, data),
                        &access,
                    )?);
                }
            }
        }
        Ok(None)
    }
}
