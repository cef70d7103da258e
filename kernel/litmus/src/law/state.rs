//! A thread in the middle of a run.

use super::TooLarge;
use super::event::{Effect, Event, Faulted, Sources, Trace};
use super::set::{MOST, Set, only};
use crate::instruction::{Instruction, Place, Reg, Source};
use crate::layout::Layout;
use crate::semantics::Registers;
use crate::test::{Test, Thread};
use alloc::vec::Vec;

/// Where a thread is, and what it has done.
#[derive(Clone, Debug)]
pub(crate) struct State {
    pub(crate) registers: Registers,
    /// What reads each register's content comes from.
    flows: [Sources; 31],
    /// The same of the flags, and of `PAR_EL1`.
    pub(crate) flags: Sources,
    pub(crate) par: Sources,
    pub(crate) place: Place,
    pub(crate) step: u32,
    pub(crate) events: Vec<Event>,
    pub(crate) faults: Vec<Faulted>,
    control: Sources,
    /// The last write of each place.
    writes: Vec<(u64, u8)>,
    /// The place that is open for an exclusive store, and the read that opened it.
    pub(crate) monitor: Option<(u64, u8)>,
    /// Values of `TTBR0_EL1`, the first one first; and which was the last one at the last context
    /// synchronization.
    pub(crate) contexts: Vec<u64>,
    pub(crate) synced: usize,
    /// Values of `PAR_EL1` that a read may find, the latest one last.
    pub(crate) pars: Vec<u64>,
    pub(crate) in_handler: bool,
    /// Whether this is the second try of an instruction that faulted.
    pub(crate) again: bool,
    /// How often it has gone back.
    pub(crate) backwards: u32,
}

impl State {
    pub(crate) fn new(test: &Test, layout: &Layout, thread: &Thread) -> Self {
        let registers = Registers::of(test, layout, thread);
        Self {
            flows: [Sources::default(); 31],
            flags: Sources::default(),
            par: Sources::default(),
            place: 0,
            step: 0,
            events: Vec::new(),
            faults: Vec::new(),
            control: Sources::default(),
            writes: Vec::new(),
            monitor: None,
            contexts: alloc::vec![registers.ttbr],
            synced: 0,
            pars: alloc::vec![0],
            in_handler: false,
            again: false,
            backwards: 0,
            registers,
        }
    }

    pub(crate) fn flow(&self, reg: Reg) -> Sources {
        self.flows.get(usize::from(reg.0)).copied().unwrap_or_default()
    }

    pub(crate) fn flow_of(&self, source: Source) -> Sources {
        match source {
            Source::Immediate(_) => Sources::default(),
            Source::Register(reg) | Source::Extended { from: reg, .. } => self.flow(reg),
        }
    }

    pub(crate) fn set_flow(&mut self, reg: Reg, flow: Sources) {
        if let Some(slot) = self.flows.get_mut(usize::from(reg.0)) {
            *slot = flow;
        }
    }

    /// An event of the current instruction, with nothing about it yet.
    pub(crate) fn event(&self, effect: Effect) -> Event {
        Event {
            effect,
            step: self.step,
            location: 0,
            value: 0,
            address: Sources::default(),
            data: Sources::default(),
            control: self.control,
            flow: Sources::default(),
            walk: 0,
            local_write: None,
            pair: None,
            one: false,
            offset: 0,
        }
    }

    /// Adds an event, and tells its index. Reads learn which write of the thread is before them.
    pub(crate) fn push(&mut self, mut event: Event) -> Result<u8, TooLarge> {
        let index = self.events.len();
        if index >= MOST {
            return Err(TooLarge);
        }
        if event.is_read() {
            let found = self.writes.iter().find(|(location, _)| *location == event.location);
            if let Some((_, write)) = found {
                event.local_write = Some(*write);
                event.flow |= self.events[usize::from(*write)].flow;
            }
        }
        if event.is_write() {
            self.writes.retain(|(location, _)| *location != event.location);
            self.writes.push((event.location, index as u8));
        }
        self.events.push(event);
        Ok(index as u8)
    }

    /// What the reads of a walk hand to what is translated.
    pub(crate) fn flow_of_walk(&self, walk: Set) -> Sources {
        super::set::each(walk).fold(Sources::default(), |all, read| all | self.events[read].flow)
    }

    /// What a read's value comes from: itself as well.
    pub(crate) fn sources_of(&self, read: u8) -> Sources {
        let flow = self.events[usize::from(read)].flow;
        let itself = only(usize::from(read));
        Sources { data: flow.data | itself, pick: flow.pick | itself }
    }

    /// Runs an instruction that needs registers only. `false`: it is none.
    pub(crate) fn run_plain(
        &mut self,
        layout: &Layout,
        thread: usize,
        instruction: &Instruction,
    ) -> bool {
        let flags = self.flags;
        let chosen = |state: &Self, then, otherwise, when| {
            let taken = if state.registers.holds(when) { then } else { otherwise };
            state.flow(taken)
        };
        let mut flow = None;
        match *instruction {
            Instruction::Constant { to, .. } | Instruction::Address { to, .. } => {
                flow = Some((to, Sources::default()));
            }
            Instruction::Compute { to, left, right, flags, .. } => {
                let sum = self.flow(left) | self.flow_of(right);
                if flags {
                    self.flags = sum;
                }
                flow = Some((to, sum));
            }
            Instruction::Select { to, then, otherwise, when, .. } => {
                let mut sum = chosen(self, then, otherwise, when);
                sum.pick |= flags.pick;
                flow = Some((to, sum));
            }
            Instruction::BranchIf { .. } => self.control |= flags,
            Instruction::BranchZero { register, .. } => self.control |= self.flow(register),
            _ => {}
        }
        let Some(next) = self.registers.run(layout, thread, self.place, instruction) else {
            return false;
        };
        if let Some((to, sum)) = flow {
            self.set_flow(to, sum);
        }
        self.jump(next);
        true
    }

    /// Goes on at `place`.
    pub(crate) fn jump(&mut self, place: Place) {
        if place <= self.place {
            self.backwards += 1;
        }
        self.place = place;
        self.step += 1;
    }

    pub(crate) fn advance(&mut self) {
        self.again = false;
        self.jump(self.place + 1);
    }

    /// What was written to registers that need it takes effect.
    pub(crate) fn synchronize(&mut self) {
        self.synced = self.contexts.len() - 1;
        if let Some(last) = self.pars.pop() {
            self.pars = alloc::vec![last];
        }
    }

    pub(crate) fn into_trace(self) -> Trace {
        Trace { events: self.events, registers: self.registers, faults: self.faults }
    }
}
