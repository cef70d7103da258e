//! A thread by itself: every way it can run, whatever its reads see.

use super::TooLarge;
use super::event::{Effect, Event, Faulted, Sources, Trace};
use super::set::Set;
use super::state::State;
use super::values::Values;
use super::walk::{Translated, context_location};
use crate::instruction::{Instruction, Reg, System, Width};
use crate::layout::Layout;
use crate::semantics::{Asked, par};
use crate::test::{FaultKind, Faults, Test, Thread};
use abi::VirtAddr;
use alloc::vec::Vec;

/// More runs than this are no litmus test.
const MANY: usize = 20_000;
/// Nor are events beyond this, in all runs of a thread together: some megabytes of a kernel's heap.
const EVENTS: usize = 60_000;
/// How often a run may go back: loops are unrolled so far.
const BACKWARDS: u32 = 2;

/// A thread, and what its reads may see.
pub(crate) struct Runner<'a> {
    pub(crate) test: &'a Test,
    pub(crate) layout: &'a Layout,
    pub(crate) values: &'a Values,
    pub(crate) thread: usize,
}

impl Runner<'_> {
    fn this(&self) -> &Thread {
        &self.test.threads[self.thread]
    }

    /// All runs.
    pub(crate) fn traces(&self) -> Result<Vec<Trace>, TooLarge> {
        let mut traces = Vec::new();
        let mut events = 0;
        let mut open = alloc::vec![State::new(self.test, self.layout, self.this())];
        while let Some(mut state) = open.pop() {
            if self.step(&mut state, &mut open)? {
                let trace = state.into_trace();
                events += trace.events.len();
                traces.push(trace);
            }
            if events > EVENTS || traces.len() + open.len() > MANY {
                return Err(TooLarge);
            }
        }
        Ok(traces)
    }

    /// Runs until there is a choice, or to the end. `true`: the run is whole.
    fn step(&self, state: &mut State, open: &mut Vec<State>) -> Result<bool, TooLarge> {
        loop {
            if state.backwards > BACKWARDS {
                return Ok(false);
            }
            let Some(instruction) = self.this().code.get(state.place) else { return Ok(true) };
            if state.run_plain(self.layout, self.thread, instruction) {
                continue;
            }
            match *instruction {
                Instruction::Stop => return Ok(true),
                Instruction::Load { .. }
                | Instruction::Store { .. }
                | Instruction::StoreExclusive { .. }
                | Instruction::Atomic { .. }
                | Instruction::CompareSwap { .. } => {
                    return self.access(state, instruction, open);
                }
                Instruction::Translate { write, el0, address } => {
                    self.ask(state, write, el0, address, open)?;
                    return Ok(false);
                }
                Instruction::ReadSystem { to, from: System::ParEl1 } => {
                    for par in state.pars.clone() {
                        let mut next = state.clone();
                        next.registers.write(to, Width::X, par);
                        next.set_flow(to, state.par);
                        next.advance();
                        open.push(next);
                    }
                    return Ok(false);
                }
                _ => self.plain(state, instruction)?,
            }
        }
    }

    /// Barriers, invalidations, system registers.
    fn plain(&self, state: &mut State, instruction: &Instruction) -> Result<(), TooLarge> {
        let mut synchronizes = false;
        let mut to = None;
        match *instruction {
            Instruction::Dmb(_, kind) => {
                state.push(state.event(Effect::Dmb(kind)))?;
            }
            Instruction::Dsb(domain, kind) => {
                state.push(state.event(Effect::Dsb(domain, kind)))?;
            }
            Instruction::Isb => {
                state.push(state.event(Effect::Isb))?;
                synchronizes = true;
            }
            Instruction::Eret => {
                state.push(state.event(Effect::Return))?;
                synchronizes = true;
                state.in_handler = false;
                let code = self.layout.code.get(self.thread).copied().unwrap_or(0);
                to = Some((state.registers.elr.wrapping_sub(code) / 4) as usize);
            }
            Instruction::Tlbi { op, operand } => {
                let tlbi = op.with(state.registers.read(operand));
                let address = state.flow(operand);
                state.push(Event { address, ..state.event(Effect::Tlbi(tlbi)) })?;
            }
            Instruction::ReadSystem { to, from } => {
                let value = state.registers.system(from);
                state.registers.write(to, Width::X, value);
                state.set_flow(to, Sources::default());
            }
            Instruction::WriteSystem { to, from } => {
                let value = state.registers.read(from);
                state.registers.write_system(to, value);
                if to == System::Ttbr0El1 {
                    let location = context_location(self.thread);
                    let data = state.flow(from);
                    let event = state.event(Effect::Context);
                    state.push(Event { location, value, data, flow: data, ..event })?;
                    state.contexts.push(value);
                }
            }
            _ => {}
        }
        if synchronizes {
            state.synchronize();
        }
        match to {
            Some(place) => state.jump(place),
            None => state.advance(),
        }
        Ok(())
    }

    pub(super) fn asked(&self, state: &State, write: bool) -> Asked {
        let thread = self.this();
        let el0 = thread.el0 && !state.in_handler;
        Asked { write, el0, ha: thread.ha, hd: thread.hd }
    }

    /// `AT`: what a walk would find goes to `PAR_EL1`.
    fn ask(
        &self,
        state: &State,
        write: bool,
        el0: bool,
        address: Reg,
        open: &mut Vec<State>,
    ) -> Result<(), TooLarge> {
        let (va, flow) = (state.registers.read(address), state.flow(address));
        // It never sets dirty state; whether it sets the access flag is up to the CPU: here, as a load would.
        let asked = Asked { el0, hd: false, ..self.asked(state, write) };
        for (mut next, translated) in self.translate(state, va, asked, flow)? {
            let (par, walk) = match translated {
                Translated::To(physical, walk) => (par(Ok(physical)), walk),
                Translated::Fault(kind, walk) => (par(Err(kind)), walk),
            };
            next.par = next.flow_of_walk(walk);
            next.registers.par = par;
            next.pars.push(par);
            next.advance();
            open.push(next);
        }
        Ok(())
    }

    /// The fault's event, and where the thread goes on.
    pub(super) fn fault(
        &self,
        mut state: State,
        kind: FaultKind,
        va: u64,
        walk: Set,
        open: &mut Vec<State>,
    ) -> Result<(), TooLarge> {
        state.push(Event { walk, ..state.event(Effect::Fault(kind)) })?;
        let page = VirtAddr(va).align_down(abi::PAGE_SIZE);
        let variable = self.layout.pages.iter().position(|p| p.va == page);
        let entries = 0..self.test.entries.len();
        let entry = entries.clone().find(|id| self.layout.entry_address(self.test, *id) == va);
        let place = state.place;
        state.faults.push(Faulted { place, variable, entry, kind });
        state.registers.elr = self.layout.label(self.thread, place);
        state.registers.far = va;
        state.registers.esr = kind.status();
        state.synchronize();
        let thread = self.this();
        let next = match (thread.handler, self.test.faults) {
            (Some(_), _) if state.in_handler => thread.code.len(),
            (Some(handler), _) => {
                state.in_handler = true;
                handler
            }
            (None, Faults::Fatal) => thread.code.len(),
            (None, Faults::Skip) => place + 1,
            (None, Faults::Retry) if state.again => return Ok(()),
            (None, Faults::Retry) => {
                state.again = true;
                state.step += 1;
                open.push(state);
                return Ok(());
            }
        };
        state.jump(next);
        open.push(state);
        Ok(())
    }
}
