//! Instructions as the words that a CPU executes: one word each, so that places are addresses.
//!
//! What a word cannot say is refused, and never said otherwise. Register 31 is the zero register for
//! some instructions and the stack pointer for others; no test has a stack pointer.
//!
//! Source: Arm ARM, "A64 Base Instruction Descriptions", "Top-level encodings for A64".

mod immediate;
#[cfg(test)]
mod tests;

use crate::instruction::{
    Acquire, Atomic, Domain, Flags, Instruction, Kind, Named, Op, Place, Reg, Source, System,
    TlbiOp, Width,
};
use immediate::{bitmask, signed};
use pte::Scope;

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

/// A register of `op0` 3.
const fn system(op1: u32, crn: u32, crm: u32, op2: u32) -> u32 {
    0b11 << 19 | op1 << 16 | crn << 12 | crm << 8 | op2 << 5
}

/// The register that holds an address, which cannot be the zero register.
fn base(reg: Reg) -> Result<u32, Unencodable> {
    if reg == Reg::ZERO { Err(Unencodable::StackPointer) } else { Ok(rn(reg)) }
}

const NOP: u32 = 0xd503_201f;

/// The word of `instruction`, which stands at place `at`.
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

/// MOVZ, MOVN, or ORR with the zero register, as assemblers choose.
fn constant(width: Width, to: Reg, value: u64) -> Result<u32, Unencodable> {
    let halves = || (0..width.bytes() as u32 / 2).map(|half| (half, 16 * half));
    for (half, shift) in halves() {
        if value & !(0xffff << shift) == 0 {
            let field = (value >> shift) as u32 & 0xffff;
            return Ok(sf(width) | 0x5280_0000 | half << 21 | field << 5 | rd(to));
        }
    }
    let inverse = width.cut(!value);
    for (half, shift) in halves() {
        if inverse & !(0xffff << shift) == 0 {
            let field = (inverse >> shift) as u32 & 0xffff;
            return Ok(sf(width) | 0x1280_0000 | half << 21 | field << 5 | rd(to));
        }
    }
    let mask = bitmask(width, value).ok_or(Unencodable::Immediate(value))?;
    if to == Reg::ZERO {
        return Err(Unencodable::StackPointer);
    }
    Ok(sf(width) | 0x3200_0000 | mask << 10 | rn(Reg::ZERO) | rd(to))
}

fn compute(
    op: Op,
    width: Width,
    (to, left, right): (Reg, Reg, Source),
    flags: bool,
) -> Result<u32, Unencodable> {
    if to == Reg::ZERO && !flags {
        return Ok(NOP);
    }
    let places = sf(width) | rn(left) | rd(to);
    let right = match (width, right) {
        // The lower half of a register is all that there is.
        (Width::W, Source::Extended { from, .. }) => Source::Register(from),
        _ => right,
    };
    match op {
        Op::Add | Op::Sub => {
            let word = places | bit(matches!(op, Op::Sub), 30) | bit(flags, 29);
            match right {
                Source::Register(right) => Ok(word | 0x0b00_0000 | rm(right)),
                _ if left == Reg::ZERO => Err(Unencodable::StackPointer),
                Source::Immediate(number) => {
                    // Of a number that is none, its negative the other way round.
                    let negative = width.cut(number.wrapping_neg());
                    let (word, number) = match (arithmetic(number), arithmetic(negative)) {
                        (Some(field), _) => (word, field),
                        (None, Some(field)) => (word ^ 1 << 30, field),
                        (None, None) => return Err(Unencodable::Immediate(number)),
                    };
                    Ok(word | 0x1100_0000 | number)
                }
                Source::Extended { from, signed } => {
                    Ok(word | 0x0b20_0000 | rm(from) | extend(signed))
                }
            }
        }
        Op::And | Op::Or | Op::Xor | Op::Clear => {
            let opc = match (op, flags) {
                (Op::And | Op::Clear, false) => 0,
                (Op::Or, false) => 1,
                (Op::Xor, false) => 2,
                (Op::And | Op::Clear, true) => 3,
                _ => return Err(Unencodable::Form),
            };
            let word = places | opc << 29;
            match right {
                Source::Register(right) => {
                    Ok(word | 0x0a00_0000 | bit(matches!(op, Op::Clear), 21) | rm(right))
                }
                Source::Immediate(number) => {
                    let wanted = if matches!(op, Op::Clear) { !number } else { number };
                    let mask = bitmask(width, width.cut(wanted));
                    Ok(word | 0x1200_0000 | mask.ok_or(Unencodable::Immediate(number))? << 10)
                }
                Source::Extended { .. } => Err(Unencodable::Form),
            }
        }
        Op::Left | Op::Right if flags => Err(Unencodable::Form),
        Op::Left | Op::Right => shift(matches!(op, Op::Left), width, places, right),
    }
}

/// A shift by a register, or UBFM by another of its names.
fn shift(left: bool, width: Width, places: u32, by: Source) -> Result<u32, Unencodable> {
    let bits = 8 * width.bytes() as u32;
    match by {
        Source::Register(by) => Ok(places | 0x1ac0_2000 | bit(!left, 10) | rm(by)),
        Source::Immediate(number) if number < u64::from(bits) => {
            let number = number as u32;
            let (rotate, last) =
                if left { ((bits - number) % bits, bits - 1 - number) } else { (number, bits - 1) };
            let n = bit(width == Width::X, 22);
            Ok(places | 0x5300_0000 | n | rotate << 16 | last << 10)
        }
        Source::Immediate(number) => Err(Unencodable::Immediate(number)),
        Source::Extended { .. } => Err(Unencodable::Form),
    }
}

/// The number of an ADD: 12 bits, or 12 bits further up.
const fn arithmetic(number: u64) -> Option<u32> {
    if number < 1 << 12 {
        Some((number as u32) << 10)
    } else if number & 0xfff == 0 && number < 1 << 24 {
        Some(1 << 22 | (number as u32 >> 12) << 10)
    } else {
        None
    }
}

const fn extend(signed: bool) -> u32 {
    if signed { 0b110 << 13 } else { 0b010 << 13 }
}

fn no_offset(offset: Source) -> Result<(), Unencodable> {
    match offset {
        Source::Immediate(0) => Ok(()),
        _ => Err(Unencodable::Form),
    }
}

fn load(
    width: Width,
    to: Reg,
    (at, offset): (Reg, Source),
    acquire: Acquire,
    exclusive: bool,
) -> Result<u32, Unencodable> {
    let opcode = match (acquire, exclusive) {
        (Acquire::No, false) => return Ok(plain(width, at, offset)? | 1 << 22 | rd(to)),
        (Acquire::No, true) => 0x085f_7c00,
        (Acquire::Full, true) => 0x085f_fc00,
        (Acquire::Full, false) => 0x08df_fc00,
        (Acquire::Weak, false) => 0x38bf_c000,
        (Acquire::Weak, true) => return Err(Unencodable::Form),
    };
    no_offset(offset)?;
    Ok(size(width) | opcode | base(at)? | rd(to))
}

/// A store without ordering, its data register left out.
fn plain(width: Width, at: Reg, offset: Source) -> Result<u32, Unencodable> {
    let word = size(width) | base(at)?;
    match offset {
        Source::Immediate(bytes) => {
            let scaled = bytes / width.bytes();
            if bytes % width.bytes() == 0 && scaled < 1 << 12 {
                return Ok(word | 0x3900_0000 | (scaled as u32) << 10);
            }
            let field = signed(bytes as i64, 9).ok_or(Unencodable::Immediate(bytes))?;
            Ok(word | 0x3800_0000 | field << 12)
        }
        Source::Register(by) => Ok(word | 0x3820_0800 | rm(by) | 0b011 << 13),
        Source::Extended { from, signed } => Ok(word | 0x3820_0800 | rm(from) | extend(signed)),
    }
}

const fn barrier(domain: Domain, kind: Kind) -> u32 {
    let domain = match domain {
        Domain::Outer => 0b00,
        Domain::Local => 0b01,
        Domain::Inner => 0b10,
        Domain::System => 0b11,
    };
    let kind = match kind {
        Kind::Loads => 0b01,
        Kind::Stores => 0b10,
        Kind::Full => 0b11,
    };
    domain << 2 | kind
}

const fn tlbi(op: TlbiOp, operand: Reg) -> u32 {
    const fn by_va(asid: bool, last: bool) -> u32 {
        match (asid, last) {
            (true, false) => 1,
            (false, false) => 3,
            (true, true) => 5,
            (false, true) => 7,
        }
    }
    let shared = matches!(op.scope, Scope::InnerShareable);
    let plain = if shared { 3 } else { 7 };
    let (crm, op2, operand) = match op.named {
        Named::All => (plain, 0, Reg::ZERO),
        Named::Asid => (plain, 2, operand),
        Named::Va { asid, last } => (plain, by_va(asid, last), operand),
        Named::Range { asid, last } => (plain - 1, by_va(asid, last), operand),
    };
    0xd508_8000 | crm << 8 | op2 << 5 | rd(operand)
}

const fn named(register: System, host: &Host) -> u32 {
    match register {
        System::ElrEl1 => host.elr,
        System::EsrEl1 => system(0, 5, 2, 0),
        System::FarEl1 => system(0, 6, 0, 0),
        System::ParEl1 => system(0, 7, 4, 0),
        System::Ttbr0El1 => system(0, 2, 0, 0),
    }
}
