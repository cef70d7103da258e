//! Instructions come into flight, by a bet where it is not known which, and leave it when nothing of them is
//! still to come.
//!
//! A bet that is lost ends that run: what would have happened is the run with the other bet.

use crate::order::Access;
use crate::state::{Flight, From, Guess, State, Thread, Translated};
use crate::step::DIRECT;
use crate::values::{Known, Registers, way};
use crate::{Machine, TooLarge, is_switch};
use litmus::instruction::{Instruction, Kind, Place};
use litmus::test::{FaultKind, ThreadId};

/// How many instructions are in flight at most.
const WINDOW: usize = 48;
/// How often a thread branches back before it is no longer followed.
const TURNS: u8 = 2;

impl Machine<'_> {
    /// All states that follow without a step: everything fetched that can be, everything that is done gone.
    pub(crate) fn settled(&mut self, state: State) -> Result<Vec<State>, TooLarge> {
        let (mut open, mut settled) = (vec![state], Vec::new());
        'next: while let Some(mut state) = open.pop() {
            for thread in 0..state.threads.len() {
                loop {
                    if !self.translate_directly(&mut state, thread) {
                        continue 'next;
                    }
                    self.retire(&mut state.threads[thread], thread);
                    let Some((place, bets)) = self.fetched(&mut state.threads[thread], thread)?
                    else {
                        break;
                    };
                    if let Some(second) = bets.second {
                        let mut other = state.clone();
                        if self.take_in(&mut other.threads[thread], thread, place, second) {
                            open.push(other);
                        }
                    }
                    if !self.take_in(&mut state.threads[thread], thread, place, bets.first) {
                        continue 'next;
                    }
                }
            }
            settled.push(state);
        }
        Ok(settled)
    }

    /// Accesses to tables are by physical address. Whether no bet is lost, and nothing was read too early.
    fn translate_directly(&self, state: &mut State, thread: ThreadId) -> bool {
        let Some(inputs) = self.inputs(thread, &state.threads[thread]) else { return false };
        for (at, inputs) in inputs.iter().enumerate() {
            let flight = &state.threads[thread].window[at];
            let untranslated = flight.translated == Translated::Not;
            if !untranslated || self.access(thread, flight).is_none() {
                continue;
            }
            let place = inputs.address.value.map(|va| va.wrapping_sub(self.layout.linear));
            let program = &self.test.threads[thread];
            let handles = program.handler.is_some_and(|begin| flight.place >= begin);
            if let Some(place) = place.filter(|place| self.is_slot(*place)) {
                if program.el0 && !handles {
                    let fault = Translated::Fault { kind: FaultKind::Permission, by: DIRECT };
                    *state = self.faulted(state.clone(), thread, at, fault);
                    return true;
                }
                let direct = Translated::Yes { at: place, by: DIRECT, update: None };
                state.threads[thread].window[at].translated = direct;
                if !self.is_coherent(state, thread, at, place) {
                    return false;
                }
            }
        }
        true
    }

    /// Takes what is done out of the window.
    fn retire(&self, here: &mut Thread, thread: ThreadId) {
        let code = &self.test.threads[thread].code;
        // A fault that was taken and happens again at once orders no more than it does the second time.
        let again = |at: usize| {
            let pair = here.window.get(at).zip(here.window.get(at + 1));
            pair.is_some_and(|(one, two)| {
                one.is_fault() && one.done && two.is_fault() && one.place == two.place
            })
        };
        if let Some(at) = (0..here.window.len()).find(|at| again(*at)) {
            here.window.remove(at);
            for (nth, later) in here.window.iter_mut().enumerate().skip(at) {
                if let From::Flight(back) = &mut later.from
                    && usize::from(*back) > nth - at
                {
                    *back -= 1;
                }
            }
        }
        while let Some(flight) = here.window.first() {
            let instruction = &code[flight.place];
            let mut registers = Registers::of(here);
            let Some(inputs) = self.evaluate(&mut registers, thread, flight) else { return };
            let access = self.access(thread, flight);
            let is_done = match (instruction, access) {
                (_, Some(_)) if flight.is_fault() => flight.done,
                (_, Some(access)) => {
                    let owes = access.owes_read(flight) || access.owes_write(flight, &inputs);
                    flight.translated != Translated::Not && !owes && !flight.owes_update()
                }
                (Instruction::Translate { .. }, _) => flight.done && !flight.owes_update(),
                (switch, _) if is_switch(switch) => flight.done,
                (Instruction::Tlbi { .. }, _) => flight.over || flight.done && is_last(here, code),
                _ => true,
            };
            if !is_done {
                return;
            }
            match (instruction, flight.translated) {
                (Instruction::Load { exclusive: true, .. }, Translated::Yes { at, .. }) => {
                    here.monitor = Some((at, flight.lost));
                }
                (Instruction::StoreExclusive { .. }, _) => here.monitor = None,
                (switch, _) if is_switch(switch) => here.contexts.push(flight.value),
                _ => {}
            }
            let synchronizes = matches!(instruction, Instruction::Isb | Instruction::Eret);
            if synchronizes || here.window[0].is_fault() {
                here.contexts.drain(..here.contexts.len() - 1);
            }
            registers.settle(here);
            here.window.remove(0);
        }
    }

    /// What is fetched next, and what the CPU may bet on there.
    fn fetched(
        &self,
        here: &mut Thread,
        thread: ThreadId,
    ) -> Result<Option<(Place, Bets)>, TooLarge> {
        let code = &self.test.threads[thread].code;
        // A return goes where nobody may have known when it was fetched.
        let last = here.window.last().map(|flight| &code[flight.place]);
        if here.next.is_none() && last == Some(&Instruction::Eret) {
            here.next = self.returns(here, thread);
        }
        let Some(place) = here.next else { return Ok(None) };
        let Some(instruction) = code.get(place).filter(|next| **next != Instruction::Stop) else {
            here.next = None;
            return Ok(None);
        };
        if here.window.len() == WINDOW {
            return Err(TooLarge("too many instructions in flight"));
        }
        let mut registers = Registers::of(here);
        for flight in &here.window {
            if self.evaluate(&mut registers, thread, flight).is_none() {
                return Ok(None);
            }
        }
        let only = |first| Bets { first, second: None };
        let bets = match way(&registers, instruction).map(Known::certain) {
            None => only(Guess::None),
            Some(Some(0)) => only(Guess::No),
            Some(Some(_)) => only(Guess::Yes),
            Some(None) if matches!(instruction, Instruction::ReadSystem { .. }) => {
                match registers.pars.len() {
                    1 => only(Guess::Yes),
                    2 => Bets { first: Guess::Yes, second: Some(Guess::No) },
                    _ => return Err(TooLarge("too many values of PAR_EL1")),
                }
            }
            Some(None) => Bets { first: Guess::Yes, second: Some(Guess::No) },
        };
        Ok(Some((place, bets)))
    }

    /// Takes an instruction in. Whether the run is followed further.
    fn take_in(&mut self, here: &mut Thread, thread: ThreadId, place: Place, guess: Guess) -> bool {
        here.window.push(Flight::new(place, guess));
        here.next = match self.test.threads[thread].code[place] {
            Instruction::Branch { to } => Some(to),
            Instruction::BranchIf { to, .. } | Instruction::BranchZero { to, .. }
                if guess == Guess::Yes =>
            {
                Some(to)
            }
            Instruction::Eret => self.returns(here, thread),
            _ => Some(place + 1),
        };
        // A handler returns to before it, once for each fault.
        let branches = here.next.is_some_and(|next| next <= place)
            && self.test.threads[thread].code[place] != Instruction::Eret;
        here.turns += u8::from(branches);
        self.cut |= here.turns > TURNS;
        here.turns <= TURNS
    }

    /// Where the last instruction, a return, goes.
    fn returns(&self, here: &Thread, thread: ThreadId) -> Option<usize> {
        let inputs = self.inputs(thread, here)?;
        let to = inputs.last()?.address.value?;
        let first = self.layout.label(thread, 0);
        Some((to.checked_sub(first)? / 4) as usize)
    }
}

/// What a CPU may bet on.
struct Bets {
    first: Guess,
    second: Option<Guess>,
}

/// Whether nothing waits for the TLBIs that are under way: no barrier, or nothing behind it.
fn is_last(here: &Thread, code: &[Instruction]) -> bool {
    let waits = |flight: &Flight| matches!(code[flight.place], Instruction::Dsb(_, Kind::Full));
    let barrier = here.window.iter().position(waits);
    let behind = &here.window[barrier.unwrap_or(here.window.len())..];
    let quiet = |flight: &Flight| match code[flight.place] {
        Instruction::Tlbi { .. } => flight.done,
        Instruction::Translate { .. } => flight.done && !flight.owes_update(),
        ref switch if is_switch(switch) => flight.done,
        ref other => {
            let whole = |access: Access| flight.stored || !(access.reads && access.writes);
            let access = Access::of(other, flight.guess);
            access.is_none_or(|access| flight.done && !flight.owes_update() && whole(access))
        }
    };
    here.next.is_none() && behind.iter().all(quiet)
}
