//! Numbers in instructions.

use crate::instruction::Width;

/// `number` in a field of `bits`, as two's complement, if it fits.
pub(super) const fn signed(number: i64, bits: u32) -> Option<u32> {
    let half = 1 << (bits - 1);
    if -half <= number && number < half { Some((number & (2 * half - 1)) as u32) } else { None }
}

/// The fields N, immr and imms of a logical instruction: a run of ones, rotated, in an element that is
/// repeated. `None` for what has no such shape, zero and all ones among it.
///
/// Source: Arm ARM, "DecodeBitMasks".
pub(super) fn bitmask(width: Width, value: u64) -> Option<u32> {
    let value = match width {
        Width::W => value & 0xffff_ffff | value << 32,
        Width::X => value,
    };
    if value == 0 || value == u64::MAX {
        return None;
    }
    // The smallest element that the value repeats.
    let repeats = |size: &u32| value == value.rotate_right(*size);
    let size = [2, 4, 8, 16, 32, 64].into_iter().find(repeats)?;
    let element = value & u64::MAX >> (64 - size);
    let ones = element.count_ones();
    let run = u64::MAX >> (64 - ones);
    let rotated = |by: &u32| {
        let right = run >> by;
        let left = if *by == 0 { 0 } else { run << (size - by) };
        (right | left) & u64::MAX >> (64 - size) == element
    };
    let rotate = (0..size).find(rotated)?;
    // Above the length of the run, imms tells the size of the element, by ones ended with a zero.
    let n = u32::from(size == 64);
    let kind = !(2 * size - 1) & 0x3f;
    Some(n << 12 | rotate << 6 | kind | (ones - 1))
}
