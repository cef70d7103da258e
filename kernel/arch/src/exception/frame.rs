//! What the vectors save of the interrupted program.

use core::fmt;

/// The interrupted program's registers, as `vectors.s` lays them out on the stack.
///
/// The order is chosen for the backtrace: `x29` and `elr` are neighbours and so form a frame record
/// like the one every function pushes. The vectors point x29 at it, and a walk along the chain
/// crosses the exception without knowing about it.
///
/// Saved on the way in are the registers that a function call may clobber. x19 to x28 keep their
/// values through any call, so they are stored only once nobody could handle the exception
/// ([`Death`](super::Death)): on the way to a handler those fields and `sp` hold nothing.
#[derive(Clone, Debug, Default)]
#[repr(C, align(16))]
pub struct TrapFrame {
    /// x0 to x18.
    pub low: [u64; 19],
    /// x30, the link register.
    pub lr: u64,
    /// x29, the frame pointer.
    pub fp: u64,
    /// Where the program was, and where it goes on.
    pub elr: u64,
    /// Its processor state.
    pub spsr: u64,
    /// Why it was interrupted; meaningful for a synchronous exception only.
    pub esr: u64,
    /// At which address; see [`Syndrome::has_address`](super::Syndrome::has_address).
    pub far: u64,
    /// Its stack pointer. See the type's note.
    pub(super) sp: u64,
    /// x19 to x28. See the type's note.
    pub(super) high: [u64; 10],
}

/// Bytes of a [`TrapFrame`].
pub const FRAME_BYTES: u64 = size_of::<TrapFrame>() as u64;

const _: () = assert!(FRAME_BYTES == 0x120 && FRAME_BYTES.is_multiple_of(16));

impl TrapFrame {
    /// Whether the interrupted program had interrupts masked.
    #[inline]
    pub const fn irqs_masked(&self) -> bool {
        self.spsr & 1 << 7 != 0
    }

    /// Where this frame's frame record lies: what x29 is in the handlers.
    pub fn record(&self) -> u64 {
        core::ptr::from_ref(&self.fp) as u64
    }
}

/// SPSR_EL1 in words: exception level, stack and masks.
pub(super) struct State(pub(super) u64);

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 & 1 << 4 != 0 {
            return f.write_str("AArch32");
        }
        write!(f, "EL{}{}", self.0 >> 2 & 3, if self.0 & 1 == 0 { "t" } else { "h" })?;
        for (bit, name) in [(31, 'N'), (30, 'Z'), (29, 'C'), (28, 'V')] {
            if self.0 & 1 << bit != 0 {
                write!(f, " {name}")?;
            }
        }
        f.write_str(" masked:")?;
        let mut any = false;
        for (bit, name) in [(9, "D"), (8, "A"), (7, "I"), (6, "F")] {
            if self.0 & 1 << bit != 0 {
                any = true;
                f.write_str(name)?;
            }
        }
        if any { Ok(()) } else { f.write_str("none") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::mem::offset_of;
    use std::string::ToString;

    #[test]
    fn frame_pointer_and_return_address_are_a_record() {
        assert_eq!(offset_of!(TrapFrame, elr), offset_of!(TrapFrame, fp) + 8);
    }

    #[test]
    fn state_tells_level_stack_and_masks() {
        assert_eq!(State(0x6000_0085).to_string(), "EL1h Z C masked:I");
        assert_eq!(State(0x5).to_string(), "EL1h masked:none");
    }
}
