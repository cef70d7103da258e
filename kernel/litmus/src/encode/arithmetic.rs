//! Arithmetic, logic, shifts, and numbers moved to registers.

use super::immediate::bitmask;
use super::{NOP, Unencodable, bit, extend, rd, rm, rn, sf};
use crate::instruction::{Op, Reg, Source, Width};

/// MOVZ, MOVN, or ORR with the zero register, as assemblers choose.
pub(super) fn constant(width: Width, to: Reg, value: u64) -> Result<u32, Unencodable> {
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

pub(super) fn compute(
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
