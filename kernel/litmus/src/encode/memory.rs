//! Loads and stores.

use super::immediate::signed;
use super::{Unencodable, extend, rd, rm, rn, size};
use crate::instruction::{Acquire, Reg, Source, Width};

/// The register that holds an address, which cannot be the zero register.
pub(super) fn base(reg: Reg) -> Result<u32, Unencodable> {
    if reg == Reg::ZERO { Err(Unencodable::StackPointer) } else { Ok(rn(reg)) }
}

pub(super) fn no_offset(offset: Source) -> Result<(), Unencodable> {
    match offset {
        Source::Immediate(0) => Ok(()),
        _ => Err(Unencodable::Form),
    }
}

pub(super) fn load(
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
pub(super) fn plain(width: Width, at: Reg, offset: Source) -> Result<u32, Unencodable> {
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
