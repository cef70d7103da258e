//! A thread by itself: every way it can run, whatever its reads see.

use super::TooLarge;
use super::event::{Effect, Event, Faulted, Sources, Trace};
use super::set::Set;
use super::state::State;
use super::values::Values;
use super::walk::{Translated, context_location};
use crate::instruction::{Acquire, Atomic, Instruction, Reg, Source, System, Width};
use crate::layout::Layout;
use crate::semantics::{Asked, permit, update};
use crate::test::{FaultKind, Faults, Test, Thread};
use abi::VirtAddr;
use alloc::vec::Vec;

/// More runs than this are no litmus test.
const MANY: usize = 400_000;
/// How often a run may go back: loops are unrolled so far.
const BACKWARDS: u32 = 2;

/// A thread, and what its reads may see.
pub(crate) struct Runner<'a> {
    pub(crate) test: &'a Test,
    pub(crate) layout: &'a Layout,
    pub(crate) values: &'a Values,
    pub(crate) thread: usize,
}

/// A memory access that was translated.
struct Access {
    state: State,
    location: u64,
    walk: Set,
    address: Sources,
    offset: u64,
    /// Whether hardware has set no dirty state for it, so that it must not write.
    clean: bool,
}

impl Runner<'_> {
    fn this(&self) -> &Thread {
        &self.test.threads[self.thread]
    }

    /// All runs.
    pub(crate) fn traces(&self) -> Result<Vec<Trace>, TooLarge> {
        let mut traces = Vec::new();
        let mut open = alloc::vec![State::new(self.test, self.layout, self.this())];
        while let Some(mut state) = open.pop() {
            if self.step(&mut state, &mut open)? {
                traces.push(state.into_trace());
            }
            if traces.len() + open.len() > MANY {
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

    fn asked(&self, state: &State, write: bool) -> Asked {
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
                Translated::To(physical, walk) => (physical & !0xfff, walk),
                Translated::Fault(kind, walk) => (1 | status(kind) << 1, walk),
            };
            next.par = next.flow_of_walk(walk);
            next.registers.par = par;
            next.pars.push(par);
            next.advance();
            open.push(next);
        }
        Ok(())
    }

    /// A memory access: translation first. Each way to go on is one more run.
    fn access(
        &self,
        state: &State,
        instruction: &Instruction,
        open: &mut Vec<State>,
    ) -> Result<bool, TooLarge> {
        let (base, offset, writes) = match *instruction {
            Instruction::Load { base, offset, .. } => (base, offset, false),
            Instruction::Store { base, offset, .. } => (base, offset, true),
            Instruction::StoreExclusive { base, .. }
            | Instruction::Atomic { base, .. }
            | Instruction::CompareSwap { base, .. } => (base, Source::Immediate(0), true),
            _ => return Ok(false),
        };
        let va = state.registers.address(base, offset);
        let address = state.flow(base) | state.flow_of(offset);
        let asked = self.asked(state, writes);
        let offset = va & (abi::PAGE_SIZE - 1);
        if matches!(instruction, Instruction::CompareSwap { .. }) && asked.hd {
            // One that stores nothing need not set dirty state.
            let read = Asked { write: false, ..asked };
            for (state, translated) in self.translate(state, va, read, address)? {
                let Translated::To(location, walk) = translated else { continue };
                let leaf = super::set::each(walk).last().map(|last| state.events[last].value);
                if leaf.is_none_or(|word| permit(word, asked).is_ok()) {
                    let access = Access { state, location, walk, address, offset, clean: true };
                    self.perform(access, instruction, open)?;
                }
            }
        }
        for (state, translated) in self.translate(state, va, asked, address)? {
            match translated {
                Translated::Fault(kind, walk) => self.fault(state, kind, va, walk, open)?,
                Translated::To(location, walk) => {
                    let access = Access { state, location, walk, address, offset, clean: false };
                    self.perform(access, instruction, open)?;
                }
            }
        }
        Ok(false)
    }

    /// The fault's event, and where the thread goes on.
    fn fault(
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
        state.registers.esr = status(kind);
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

    fn perform(
        &self,
        access: Access,
        instruction: &Instruction,
        open: &mut Vec<State>,
    ) -> Result<(), TooLarge> {
        match *instruction {
            Instruction::Load { width, to, acquire, exclusive, .. } => {
                self.load(access, width, to, acquire, exclusive, open)
            }
            Instruction::Store { width, from, release, .. } => {
                let mut access = access;
                let value = width.cut(access.state.registers.read(from));
                let data = access.state.flow(from);
                access.write(value, data, release, None, false)?;
                access.finish(open);
                Ok(())
            }
            Instruction::StoreExclusive { width, status, from, release, .. } => {
                let mut failed = access.state.clone();
                failed.registers.write(status, Width::W, 1);
                failed.set_flow(status, Sources::default());
                failed.monitor = None;
                failed.advance();
                open.push(failed);
                let mut access = access;
                let Some((open_at, read)) = access.state.monitor.take() else { return Ok(()) };
                if open_at != access.location {
                    return Ok(());
                }
                let value = width.cut(access.state.registers.read(from));
                let data = access.state.flow(from);
                access.write(value, data, release, Some(read), false)?;
                access.state.registers.write(status, Width::W, 0);
                access.state.set_flow(status, Sources::default());
                access.finish(open);
                Ok(())
            }
            Instruction::Atomic { op, width, from, to, acquire, release, .. } => {
                let how = if acquire && to != Reg::ZERO { Acquire::Full } else { Acquire::No };
                self.each_read(&access, width, how, to != Reg::ZERO, |mut access, read, old| {
                    let operand = access.state.registers.read(from);
                    let mut data = access.state.flow(from);
                    let direct = data;
                    if op != Atomic::Swap {
                        data |= access.state.sources_of(read);
                    }
                    let value = update(op, width, old, operand);
                    access.write(value, data, release, Some(read), true)?;
                    if let Some(write) = access.state.events.last_mut() {
                        write.data = direct;
                    }
                    let flow = access.state.sources_of(read);
                    access.state.registers.write(to, width, old);
                    access.state.set_flow(to, flow);
                    access.finish(open);
                    Ok(())
                })
            }
            Instruction::CompareSwap { width, expected, new, acquire, release, .. } => {
                let how =
                    if acquire && expected != Reg::ZERO { Acquire::Full } else { Acquire::No };
                let kept = expected != Reg::ZERO;
                self.each_read(&access, width, how, kept, |access, read, old| {
                    let wanted = width.cut(access.state.registers.read(expected));
                    let succeeds = old == wanted;
                    let value = width.cut(access.state.registers.read(new));
                    compare_swap(access, read, succeeds, old, value, *instruction, release, open)
                })
            }
            _ => Ok(()),
        }
    }

    /// Goes on with each value that may be read.
    fn each_read(
        &self,
        access: &Access,
        width: Width,
        acquire: Acquire,
        kept: bool,
        mut go_on: impl FnMut(Access, u8, u64) -> Result<(), TooLarge>,
    ) -> Result<(), TooLarge> {
        for value in self.values.of(access.location) {
            let mut state = access.state.clone();
            let Access { location, walk, address, offset, .. } = *access;
            let flow = address | state.flow_of_walk(walk);
            let effect = Effect::Read { acquire, kept };
            let event = state.event(effect);
            let event = Event { location, value, address, flow, walk, offset, ..event };
            let read = state.push(event)?;
            go_on(Access { state, ..*access }, read, width.cut(value))?;
        }
        Ok(())
    }

    fn load(
        &self,
        access: Access,
        width: Width,
        to: Reg,
        acquire: Acquire,
        exclusive: bool,
        open: &mut Vec<State>,
    ) -> Result<(), TooLarge> {
        self.each_read(&access, width, acquire, true, |mut access, read, value| {
            let flow = access.state.sources_of(read);
            access.state.registers.write(to, width, value);
            access.state.set_flow(to, flow);
            if exclusive {
                access.state.monitor = Some((access.location, read));
            }
            access.finish(open);
            Ok(())
        })
    }
}

impl Access {
    fn write(
        &mut self,
        value: u64,
        data: Sources,
        release: bool,
        pair: Option<u8>,
        one: bool,
    ) -> Result<(), TooLarge> {
        let Self { ref mut state, location, walk, address, offset, .. } = *self;
        let flow = data | address | state.flow_of_walk(walk);
        let event = state.event(Effect::Write { release });
        let event = Event { location, value, address, data, flow, walk, offset, ..event };
        state.push(Event { pair, one, ..event }).map(|_| ())
    }

    fn finish(mut self, open: &mut Vec<State>) {
        self.state.advance();
        open.push(self.state);
    }
}

/// `CAS` behind its read.
#[expect(clippy::too_many_arguments, reason = "one instruction with all it has")]
fn compare_swap(
    access: Access,
    read: u8,
    succeeds: bool,
    old: u64,
    new: u64,
    instruction: Instruction,
    release: bool,
    open: &mut Vec<State>,
) -> Result<(), TooLarge> {
    let Instruction::CompareSwap { width, expected, new: from, .. } = instruction else {
        return Ok(());
    };
    let seen = access.state.sources_of(read);
    let compared = access.state.flow(expected);
    let mut done = |mut access: Access, flow| {
        access.state.registers.write(expected, width, old);
        access.state.set_flow(expected, flow);
        access.finish(open);
    };
    let copy = |access: &Access| Access { state: access.state.clone(), ..*access };
    // The choice between the two is a dependency of its own kind.
    let choice = Sources { data: 0, pick: seen.pick | compared.pick };
    if access.clean {
        if !succeeds {
            done(access, seen);
        }
        return Ok(());
    }
    if succeeds {
        let mut access = access;
        let data = access.state.flow(from) | choice;
        access.write(new, data, release, Some(read), true)?;
        // What was compared may go to the register, since it is the same.
        done(copy(&access), compared | choice);
        done(access, seen);
        return Ok(());
    }
    let mut written = copy(&access);
    written.write(old, seen | choice, release, Some(read), true)?;
    done(written, seen);
    done(access, seen);
    Ok(())
}

/// The fault status code of a level-3 fault.
const fn status(kind: FaultKind) -> u64 {
    match kind {
        FaultKind::Translation => 0b00_0111,
        FaultKind::AccessFlag => 0b00_1011,
        FaultKind::Permission => 0b00_1111,
    }
}
