//! Instructions as the words that a CPU executes: one word each, so that places are addresses.
//!
//! What a word cannot say is refused, and never said otherwise. Register 31 is the zero register for
//! some instructions and the stack pointer for others; no test has a stack pointer.
//!
//! Source: Arm ARM, "A64 Base Instruction Descriptions", "Top-level encodings for A64".

mod arithmetic;
mod immediate;
mod memory;
mod system;
#[cfg(test)]
mod tests;

use crate::instruction::{Atomic, Flags, Instruction, Place, Reg, Width};
use arithmetic::{compute, constant};
use immediate::signed;
use memory::{base, load, no_offset, plain};
use system::{barrier, named, system, tlbi};

/// Why there is no word for an instruction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unencodable {
    /// A number is not among those that the instruction can hold.
    Immediate(u64),
    /// A place is too far away.
    Distance,
    /// The stack pointer would be meant.
    StackPointer,
    /// There is no such instruction.
    Form,
}

impl core::fmt::Display for Unencodable {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Immediate(number) => write!(f, "no instruction holds the number {number:#x}"),
            Self::Distance => f.write_str("the label is too far away"),
            Self::StackPointer => f.write_str("the zero register means the stack pointer here"),
            Self::Form => f.write_str("there is no such instruction"),
        }
    }
}

/// What stands for the words that belong to whoever runs a thread.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Host {
    /// For [`Instruction::Stop`].
    pub stop: u32,
    /// For [`Instruction::Eret`].
    pub eret: u32,
    /// For ELR_EL1: a system register, as MSR and MRS name it in bits 5 to 20.
    pub elr: u32,
}

impl Host {
    /// A thread that has a CPU to itself.
    pub const BARE: Self = Self {
        // UDF #0.
        stop: 0,
        eret: 0xd69f_03e0,
        elr: system(0, 4, 0, 1),
    };
}

const WIDE: u32 = 1 << 31;

const fn sf(width: Width) -> u32 {
    match width {
        Width::W => 0,
        Width::X => WIDE,
    }
}

/// The size field of loads and stores.
const fn size(width: Width) -> u32 {
    match width {
        Width::W => 0b10 << 30,
        Width::X => 0b11 << 30,
    }
}

const fn bit(set: bool, at: u32) -> u32 {
    (set as u32) << at
}

const fn rd(reg: Reg) -> u32 {
    reg.0 as u32 & 31
}

const fn rn(reg: Reg) -> u32 {
    rd(reg) << 5
}

const fn rm(reg: Reg) -> u32 {
    rd(reg) << 16
}

const fn condition(flags: Flags) -> u32 {
    match flags {
        Flags::Equal => 0,
        Flags::NotEqual => 1,
    }
}

/// What extends a register that is an operand or an offset: `SXTW`, `UXTW`.
const fn extend(signed: bool) -> u32 {
    if signed { 0b110 << 13 } else { 0b010 << 13 }
}

const NOP: u32 = 0xd503_201f;

/// The word of `instruction`, which stands at place `at`.
#[inline(never)]
pub fn encode(instruction: &Instruction, at: Place, host: &Host) -> Result<u32, Unencodable> {
    let branch = |to: Place, bits: u32, at_bit: u32| {
        let distance = to as i64 - at as i64;
        signed(distance, bits).map(|field| field << at_bit).ok_or(Unencodable::Distance)
    };
    Ok(match *instruction {
        Instruction::Nop => NOP,
        Instruction::Constant { width, to, value } => constant(width, to, width.cut(value))?,
        Instruction::Compute { op, width, to, left, right, flags } => {
            compute(op, width, (to, left, right), flags)?
        }
        Instruction::Select { width, to, then, otherwise, plus_one, when } => {
            let next = bit(plus_one, 10);
            sf(width)
                | 0x1a80_0000
                | rm(otherwise)
                | condition(when) << 12
                | next
                | rn(then)
                | rd(to)
        }
        Instruction::Address { to, of } => {
            let bytes = signed((of as i64 - at as i64) * 4, 21).ok_or(Unencodable::Distance)?;
            0x1000_0000 | (bytes & 3) << 29 | bytes >> 2 << 5 | rd(to)
        }
        Instruction::Branch { to } => 0x1400_0000 | branch(to, 26, 0)?,
        Instruction::BranchIf { when, to } => 0x5400_0000 | branch(to, 19, 5)? | condition(when),
        Instruction::BranchZero { width, register, zero, to } => {
            sf(width) | 0x3400_0000 | bit(!zero, 24) | branch(to, 19, 5)? | rd(register)
        }
        Instruction::Load { width, to, base, offset, acquire, exclusive } => {
            load(width, to, (base, offset), acquire, exclusive)?
        }
        Instruction::Store { width, from, base: at, offset, release: true } => {
            no_offset(offset)?;
            size(width) | 0x089f_fc00 | base(at)? | rd(from)
        }
        Instruction::Store { width, from, base, offset, release: false } => {
            plain(width, base, offset)? | rd(from)
        }
        Instruction::StoreExclusive { width, status, from, base: at, release } => {
            size(width) | 0x0800_7c00 | rm(status) | bit(release, 15) | base(at)? | rd(from)
        }
        Instruction::Atomic { op, width, from, to, base: at, acquire, release } => {
            let opc = match op {
                Atomic::Add => 0,
                Atomic::Clear => 1,
                Atomic::Xor => 2,
                Atomic::Set => 3,
                Atomic::Swap => 8,
            };
            let order = bit(acquire, 23) | bit(release, 22);
            size(width) | 0x3820_0000 | order | rm(from) | opc << 12 | base(at)? | rd(to)
        }
        Instruction::CompareSwap { width, expected, new, base: at, acquire, release } => {
            let order = bit(acquire, 22) | bit(release, 15);
            size(width) | 0x08a0_7c00 | order | rm(expected) | base(at)? | rd(new)
        }
        Instruction::Dmb(domain, kind) => 0xd503_30bf | barrier(domain, kind) << 8,
        Instruction::Dsb(domain, kind) => 0xd503_309f | barrier(domain, kind) << 8,
        Instruction::Isb => 0xd503_3fdf,
        Instruction::Tlbi { op, operand } => tlbi(op, operand),
        Instruction::Translate { write, el0, address } => {
            0xd508_7800 | bit(write, 5) | bit(el0, 6) | rd(address)
        }
        Instruction::ReadSystem { to, from } => 0xd520_0000 | named(from, host) | rd(to),
        Instruction::WriteSystem { to, from } => 0xd500_0000 | named(to, host) | rd(from),
        Instruction::Eret => host.eret,
        Instruction::Stop => host.stop,
    })
}
