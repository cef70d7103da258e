//! Memory accesses: what they read and write once they are translated.

use super::TooLarge;
use super::event::{Effect, Event, Sources};
use super::run::Runner;
use super::set::Set;
use super::state::State;
use super::walk::Translated;
use crate::instruction::{Acquire, Atomic, Instruction, Reg, Source, Width};
use crate::semantics::{Asked, permit, update};
use alloc::vec::Vec;

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
    /// A memory access: translation first. Each way to go on is one more run.
    pub(super) fn access(
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
