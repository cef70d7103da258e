//! What instructions in flight compute: registers after those before them, as far as they are known.
//!
//! What a load has not read yet is unknown, and so is all that comes of it. Where a choice between data was
//! bet on, the result is known before it is certain: it is *picked*.

use crate::Machine;
use crate::state::{Flight, Guess, Thread, Translated};
use litmus::instruction::{Flags, Instruction, Reg, Source, System, Width};
use litmus::semantics::{compute, extend, update};
use litmus::test::ThreadId;

/// A value, if it is known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Known {
    pub(crate) value: Option<u64>,
    /// It comes of a bet that has not been won yet.
    pub(crate) picked: bool,
}

impl Known {
    pub(crate) const fn sure(value: u64) -> Self {
        Self { value: Some(value), picked: false }
    }

    const UNKNOWN: Self = Self { value: None, picked: false };

    fn with(self, other: Self, f: impl FnOnce(u64, u64) -> u64) -> Self {
        let value = self.value.zip(other.value).map(|(a, b)| f(a, b));
        Self { value, picked: self.picked || other.picked }
    }

    fn map(self, f: impl FnOnce(u64) -> u64) -> Self {
        Self { value: self.value.map(f), ..self }
    }

    /// Known for certain.
    pub(crate) const fn certain(self) -> Option<u64> {
        if self.picked { None } else { self.value }
    }
}

/// What is known of one instruction in flight.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Inputs {
    /// Its address, its operand.
    pub(crate) address: Known,
    /// What it stores.
    pub(crate) data: Known,
    /// Of a branch or a choice: which way it goes.
    pub(crate) way: Known,
}

/// Registers, as far as known.
#[derive(Clone)]
pub(crate) struct Registers {
    general: [Known; 31],
    equal: Known,
    pub(crate) elr: Known,
    /// What PAR_EL1 may read as: all but the last only until the context is synchronised.
    pub(crate) pars: Vec<Known>,
}

impl Registers {
    pub(crate) fn of(thread: &Thread) -> Self {
        Self {
            general: thread.registers.map(Known::sure),
            equal: Known::sure(thread.equal.into()),
            elr: Known::sure(thread.elr),
            pars: thread.pars.iter().copied().map(Known::sure).collect(),
        }
    }

    pub(crate) fn read(&self, reg: Reg) -> Known {
        self.general.get(usize::from(reg.0)).copied().unwrap_or(Known::sure(0))
    }

    fn write(&mut self, reg: Reg, width: Width, value: Known) {
        if let Some(register) = self.general.get_mut(usize::from(reg.0)) {
            *register = value.map(|value| width.cut(value));
        }
    }

    fn source(&self, source: Source) -> Known {
        match source {
            Source::Immediate(number) => Known::sure(number),
            Source::Register(reg) => self.read(reg),
            Source::Extended { from, signed } => self.read(from).map(|value| extend(value, signed)),
        }
    }

    fn holds(&self, flags: Flags) -> Known {
        self.equal.map(|equal| u64::from((equal != 0) == (flags == Flags::Equal)))
    }

    /// The context is synchronised.
    fn synchronize(&mut self) {
        self.pars.drain(..self.pars.len() - 1);
    }

    /// Keeps what is known for certain, which must be all of it.
    pub(crate) fn settle(&self, thread: &mut Thread) {
        for (register, known) in thread.registers.iter_mut().zip(self.general) {
            *register = known.value.unwrap_or(0);
        }
        thread.equal = self.equal.value.unwrap_or(0) != 0;
        thread.elr = self.elr.value.unwrap_or(0);
        thread.pars = self.pars.iter().map(|par| par.value.unwrap_or(0)).collect();
    }
}

/// Whether an instruction goes two ways, and which.
pub(crate) fn way(registers: &Registers, instruction: &Instruction) -> Option<Known> {
    match *instruction {
        Instruction::BranchIf { when, .. } | Instruction::Select { when, .. } => {
            Some(registers.holds(when))
        }
        Instruction::BranchZero { width, register, zero, .. } => {
            let value = registers.read(register);
            Some(value.map(|value| u64::from((width.cut(value) == 0) == zero)))
        }
        // Whether it succeeds, and which value it sees, is not for registers to say.
        Instruction::ReadSystem { from: System::ParEl1, .. }
        | Instruction::StoreExclusive { .. } => Some(Known::UNKNOWN),
        _ => None,
    }
}

impl Machine<'_> {
    /// Runs one instruction in flight on `registers`; what it takes. `None`: its bet is lost.
    pub(crate) fn evaluate(
        &self,
        registers: &mut Registers,
        thread: ThreadId,
        flight: &Flight,
    ) -> Option<Inputs> {
        let instruction = &self.test.threads[thread].code[flight.place];
        let mut inputs =
            Inputs { address: Known::sure(0), data: Known::sure(0), way: Known::sure(1) };
        let bet = match flight.guess {
            Guess::None => None,
            Guess::Yes => Some(1),
            Guess::No => Some(0),
        };
        let loaded = if flight.done && !flight.is_fault() {
            Known::sure(flight.value)
        } else {
            Known::UNKNOWN
        };
        if let Some(known) = way(registers, instruction) {
            inputs.way = known;
            if let (Some(way), Some(bet)) = (known.certain(), bet)
                && way != bet
            {
                return None;
            }
        }
        // A fault changes no register but where to return to.
        let faults = flight.is_fault();
        match *instruction {
            Instruction::Nop
            | Instruction::Branch { .. }
            | Instruction::BranchIf { .. }
            | Instruction::BranchZero { .. }
            | Instruction::Dmb(..)
            | Instruction::Dsb(..)
            | Instruction::Stop => {}
            Instruction::Isb => registers.synchronize(),
            Instruction::Eret => {
                inputs.address = registers.elr;
                registers.synchronize();
            }
            Instruction::Translate { address, .. } => {
                inputs.address = registers.read(address);
                registers.pars.push(loaded);
            }
            Instruction::Constant { width, to, value } => {
                registers.write(to, width, Known::sure(value));
            }
            Instruction::Compute { op, width, to, left, right, flags } => {
                let (left, right) = (registers.read(left), registers.source(right));
                let result = left.with(right, |left, right| compute(op, width, left, right));
                if flags {
                    registers.equal = result.map(|result| u64::from(result == 0));
                }
                registers.write(to, width, result);
            }
            Instruction::Select { width, to, then, otherwise, plus_one, .. } => {
                let is_sure = inputs.way.certain().is_some();
                let way = inputs.way.certain().or(bet);
                let result = match way {
                    Some(0) => {
                        registers.read(otherwise).map(|value| value.wrapping_add(plus_one.into()))
                    }
                    Some(_) => registers.read(then),
                    None => Known::UNKNOWN,
                };
                registers.write(to, width, Known { picked: result.picked || !is_sure, ..result });
            }
            Instruction::Address { to, of } => {
                registers.write(to, Width::X, Known::sure(self.layout.label(thread, of)));
            }
            Instruction::Load { width, to, base, offset, .. } => {
                inputs.address = address(registers, base, offset);
                if !faults {
                    registers.write(to, width, loaded);
                }
            }
            Instruction::Store { width, from, base, offset, .. } => {
                inputs.address = address(registers, base, offset);
                inputs.data = registers.read(from).map(|value| width.cut(value));
            }
            Instruction::StoreExclusive { width, status, from, base, .. } => {
                inputs.address = registers.read(base);
                inputs.data = registers.read(from).map(|value| width.cut(value));
                if !faults {
                    let failed = u64::from(flight.guess == Guess::No);
                    registers.write(status, Width::W, Known::sure(failed));
                }
            }
            Instruction::Atomic { op, width, from, to, base, .. } => {
                inputs.address = registers.read(base);
                let operand = registers.read(from);
                inputs.data = loaded.with(operand, |old, operand| update(op, width, old, operand));
                if !faults {
                    registers.write(to, width, loaded);
                }
            }
            Instruction::CompareSwap { width, expected, new, base, .. } => {
                inputs.address = registers.read(base);
                inputs.data = registers.read(new).map(|value| width.cut(value));
                // Whether it stores: when what it has read is what was expected.
                let wanted = registers.read(expected);
                inputs.way = loaded.with(wanted, |old, wanted| u64::from(old == width.cut(wanted)));
                if !faults {
                    registers.write(expected, width, loaded);
                }
            }
            Instruction::Tlbi { operand, .. } => inputs.address = registers.read(operand),
            Instruction::ReadSystem { to, from } => {
                let value = match from {
                    System::ElrEl1 => registers.elr,
                    // The last, or by a bet the one before.
                    System::ParEl1 => {
                        let nth = registers.pars.len() - 1 - usize::from(flight.guess == Guess::No);
                        registers.pars[nth]
                    }
                    _ => Known::UNKNOWN,
                };
                registers.write(to, Width::X, value);
            }
            Instruction::WriteSystem { to, from } => {
                inputs.data = registers.read(from);
                if to == System::ElrEl1 {
                    registers.elr = inputs.data;
                }
            }
        }
        if let Translated::Fault { .. } = flight.translated {
            registers.elr = Known::sure(self.layout.label(thread, flight.place));
            registers.synchronize();
        }
        Some(inputs)
    }

    /// What is known of each instruction in flight of a thread. `None`: some bet is lost.
    pub(crate) fn inputs(&self, thread: ThreadId, state: &Thread) -> Option<Vec<Inputs>> {
        let mut registers = Registers::of(state);
        state.window.iter().map(|flight| self.evaluate(&mut registers, thread, flight)).collect()
    }
}

fn address(registers: &Registers, base: Reg, offset: Source) -> Known {
    registers.read(base).with(registers.source(offset), u64::wrapping_add)
}
