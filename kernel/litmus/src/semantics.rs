//! What instructions compute: the part that is the same wherever they run.
//!
//! Registers and arithmetic are here, and what a leaf's bits permit. What an access sees, when a barrier is
//! over and what a TLB holds is up to who runs the test.

use crate::instruction::{Atomic, Flags, Instruction, Op, Place, Reg, Source, System, Width};
use crate::test::{FaultKind, Test, ThreadId};
use crate::{Layout, test::Thread};
use pte::bits;

/// A thread's registers.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Registers {
    general: [u64; 31],
    /// Whether the last comparison found equals (the Z flag).
    pub equal: bool,
    /// [`System::ElrEl1`]
    pub elr: u64,
    /// [`System::EsrEl1`]
    pub esr: u64,
    /// [`System::FarEl1`]
    pub far: u64,
    /// [`System::ParEl1`]
    pub par: u64,
    /// [`System::Ttbr0El1`]
    pub ttbr: u64,
}

impl Registers {
    /// What a thread begins with.
    #[must_use]
    pub fn of(test: &Test, layout: &Layout, thread: &Thread) -> Self {
        let root = crate::test::Value::Root(thread.space, None);
        let ttbr = layout.value(test, &root);
        let mut registers =
            Self { general: [0; 31], equal: false, elr: 0, esr: 0, far: 0, par: 0, ttbr };
        for (reg, value) in &thread.registers {
            registers.write(*reg, Width::X, layout.value(test, value));
        }
        registers
    }

    /// A register's content.
    #[must_use]
    pub fn read(&self, reg: Reg) -> u64 {
        self.general.get(usize::from(reg.0)).copied().unwrap_or(0)
    }

    /// Writes a register, as wide as `width`: zeroes above.
    pub fn write(&mut self, reg: Reg, width: Width, value: u64) {
        if let Some(register) = self.general.get_mut(usize::from(reg.0)) {
            *register = width.cut(value);
        }
    }

    /// What a second operand is.
    #[must_use]
    pub fn source(&self, source: Source) -> u64 {
        match source {
            Source::Immediate(number) => number,
            Source::Register(reg) => self.read(reg),
            Source::Extended { from, signed } => extend(self.read(from), signed),
        }
    }

    /// The address of an access.
    #[must_use]
    pub fn address(&self, base: Reg, offset: Source) -> u64 {
        self.read(base).wrapping_add(self.source(offset))
    }

    /// Whether the flags say so.
    #[must_use]
    pub const fn holds(&self, flags: Flags) -> bool {
        match flags {
            Flags::Equal => self.equal,
            Flags::NotEqual => !self.equal,
        }
    }

    /// A system register's content.
    #[must_use]
    pub const fn system(&self, register: System) -> u64 {
        match register {
            System::ElrEl1 => self.elr,
            System::EsrEl1 => self.esr,
            System::FarEl1 => self.far,
            System::ParEl1 => self.par,
            System::Ttbr0El1 => self.ttbr,
        }
    }

    /// Writes a system register.
    pub const fn write_system(&mut self, register: System, value: u64) {
        match register {
            System::ElrEl1 => self.elr = value,
            System::EsrEl1 => self.esr = value,
            System::FarEl1 => self.far = value,
            System::ParEl1 => self.par = value,
            System::Ttbr0El1 => self.ttbr = value,
        }
    }

    /// Runs an instruction that needs nothing but registers, and tells where it goes on; `None` of others,
    /// which change nothing.
    pub fn run(
        &mut self,
        layout: &Layout,
        thread: ThreadId,
        place: Place,
        instruction: &Instruction,
    ) -> Option<Place> {
        let next = place + 1;
        match *instruction {
            Instruction::Nop => {}
            Instruction::Constant { width, to, value } => self.write(to, width, value),
            Instruction::Compute { op, width, to, left, right, flags } => {
                let result = compute(op, width, self.read(left), self.source(right));
                if flags {
                    self.equal = result == 0;
                }
                self.write(to, width, result);
            }
            Instruction::Select { width, to, then, otherwise, plus_one, when } => {
                let result = if self.holds(when) {
                    self.read(then)
                } else {
                    self.read(otherwise).wrapping_add(plus_one.into())
                };
                self.write(to, width, result);
            }
            Instruction::Address { to, of } => self.write(to, Width::X, layout.label(thread, of)),
            Instruction::Branch { to } => return Some(to),
            Instruction::BranchIf { when, to } => {
                return Some(if self.holds(when) { to } else { next });
            }
            Instruction::BranchZero { width, register, zero, to } => {
                let is_zero = width.cut(self.read(register)) == 0;
                return Some(if is_zero == zero { to } else { next });
            }
            _ => return None,
        }
        Some(next)
    }
}

/// The lower half of `value`, with its sign extended or not ([`Source::Extended`]).
#[must_use]
pub const fn extend(value: u64, signed: bool) -> u64 {
    if signed { value as u32 as i32 as i64 as u64 } else { Width::W.cut(value) }
}

/// Arithmetic of a width.
#[must_use]
pub const fn compute(op: Op, width: Width, left: u64, right: u64) -> u64 {
    let (left, right) = (width.cut(left), width.cut(right));
    let amount = (right % (8 * width.bytes())) as u32;
    width.cut(match op {
        Op::Add => left.wrapping_add(right),
        Op::Sub => left.wrapping_sub(right),
        Op::And => left & right,
        Op::Or => left | right,
        Op::Xor => left ^ right,
        Op::Clear => left & !right,
        Op::Left => left << amount,
        Op::Right => left >> amount,
    })
}

/// What an atomic instruction stores where `old` was.
#[must_use]
pub const fn update(op: Atomic, width: Width, old: u64, operand: u64) -> u64 {
    match op {
        Atomic::Swap => width.cut(operand),
        Atomic::Add => compute(Op::Add, width, old, operand),
        Atomic::Set => compute(Op::Or, width, old, operand),
        Atomic::Clear => compute(Op::Clear, width, old, operand),
        Atomic::Xor => compute(Op::Xor, width, old, operand),
    }
}

/// Who accesses, and how: what a leaf's bits are asked.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Asked {
    /// Whether it writes.
    pub write: bool,
    /// Whether it is at EL0.
    pub el0: bool,
    /// Whether hardware sets access flags.
    pub ha: bool,
    /// Whether hardware sets dirty state.
    pub hd: bool,
}

/// What a valid leaf's word says to an access: `Ok` with the word that hardware makes of it, the same one if
/// there is nothing to set. Faults in the order in which hardware looks for them.
#[doc(alias = "AArch64.S1CheckPermissions")]
pub const fn permit(word: u64, asked: Asked) -> Result<u64, FaultKind> {
    if word & bits::VALID == 0 {
        return Err(FaultKind::Translation);
    }
    let mut new = word;
    if word & bits::AF == 0 {
        if !asked.ha {
            return Err(FaultKind::AccessFlag);
        }
        new |= bits::AF;
    }
    if asked.el0 && word & bits::USER == 0 {
        return Err(FaultKind::Permission);
    }
    if asked.write && word & bits::RDONLY != 0 {
        if !asked.hd || word & bits::WRITE == 0 {
            return Err(FaultKind::Permission);
        }
        new &= !bits::RDONLY;
    }
    Ok(new)
}

/// What `AT` leaves in PAR_EL1: the frame of a physical address, or bit 0 and the fault's status. The
/// memory's attributes, and the level of a fault, are left out: CPUs differ in what they tell of those.
pub const fn par(found: Result<u64, FaultKind>) -> u64 {
    match found {
        Ok(physical) => physical & !(abi::PAGE_SIZE - 1),
        Err(kind) => 1 | kind.status() << 1,
    }
}
