//! The exception that nobody could handle, in words and numbers.

use super::{FRAME_BYTES, Syndrome, TrapFrame, frame::State};
use abi::{CpuId, VirtRange};
use core::fmt;

/// Which of the sixteen vectors the CPU took. Numbered as they lie behind VBAR_EL1.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Vector(pub u8);

impl Vector {
    /// From EL1 on its own stack pointer: the vectors that a sound kernel takes.
    pub const SYNCHRONOUS: Self = Self(4);
    /// An interrupt from EL1.
    pub const IRQ: Self = Self(5);
    /// A fast interrupt from EL1; no board routes one here.
    pub const FIQ: Self = Self(6);
    /// An asynchronous report of a failed access.
    pub const SERROR: Self = Self(7);
}

impl fmt::Display for Vector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 & 3 {
            0 => "synchronous exception",
            1 => "IRQ",
            2 => "FIQ",
            _ => "SError",
        })?;
        f.write_str(match self.0 >> 2 {
            0 => " on SP_EL0",
            1 => "",
            2 => " from EL0",
            _ => " from AArch32",
        })
    }
}

/// Why a CPU cannot go on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cause {
    /// An exception that has no handler, or whose handler gave up.
    Unhandled(Vector),
    /// When the exception came, the stack pointer was outside the running thread's stack. The
    /// report itself runs on the CPU's spare stack.
    StackLost(Vector),
}

impl Cause {
    /// Set by `vectors.s` beside the number of the vector.
    #[cfg(any(target_os = "none", test))]
    pub(super) const STACK_LOST: u64 = 0x100;

    #[cfg(any(target_os = "none", test))]
    pub(super) const fn from_word(word: u64) -> Self {
        let vector = Vector((word & 0xf) as u8);
        if word & Self::STACK_LOST == 0 { Self::Unhandled(vector) } else { Self::StackLost(vector) }
    }

    /// The vector taken.
    pub const fn vector(self) -> Vector {
        match self {
            Self::Unhandled(vector) | Self::StackLost(vector) => vector,
        }
    }
}

/// Everything known about the end of a CPU.
///
/// Handed to [`Handlers::dead`](super::Handlers::dead) with all exceptions masked, on the stack of
/// the dead thread or the CPU's spare one.
#[derive(Debug)]
pub struct Death<'a> {
    /// The CPU that died.
    pub cpu: CpuId,
    /// Why.
    pub cause: Cause,
    /// 0, or 1 where reporting the first death caused this one: then do less.
    pub nested: u32,
    /// The stack of the thread that ran.
    pub stack: VirtRange,
    /// The registers; all of them are valid here.
    pub frame: &'a TrapFrame,
}

impl Death<'_> {
    /// Why the exception was taken; `None` for an interrupt, which has no syndrome.
    pub const fn syndrome(&self) -> Option<Syndrome> {
        match self.cause.vector().0 & 3 {
            0 | 3 => Some(Syndrome(self.frame.esr)),
            _ => None,
        }
    }

    /// Whether the stack pointer has run out of the low end of the stack, as it does by recursion;
    /// further away than a guard page or an oversized frame explains, it was overwritten instead.
    pub const fn is_stack_overflow(&self) -> bool {
        const REACH: u64 = 1 << 20;
        let low = self.stack.start.0;
        let sp = self.frame.sp;
        matches!(self.cause, Cause::StackLost(_))
            && sp < low.saturating_add(FRAME_BYTES)
            && low.saturating_sub(REACH) <= sp
    }

    /// The stack pointer when the exception came.
    pub const fn sp(&self) -> u64 {
        self.frame.sp
    }

    /// General-purpose register `n`, 0 to 30.
    pub const fn register(&self, n: usize) -> u64 {
        match n {
            0..=18 => self.frame.low[n],
            19..=28 => self.frame.high[n - 19],
            29 => self.frame.fp,
            _ => self.frame.lr,
        }
    }
}

impl fmt::Display for Death<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let frame = self.frame;
        if let Cause::StackLost(_) = self.cause {
            let what = if self.is_stack_overflow() {
                "kernel stack overflow"
            } else {
                "stack pointer lost"
            };
            let (cpu, stack, sp) = (self.cpu, self.stack, frame.sp);
            writeln!(f, "{what} on CPU {cpu}: sp {sp:#x}, stack {stack}; seen by a")?;
        }
        write!(f, "{} on CPU {}", self.cause.vector(), self.cpu)?;
        if let Some(syndrome) = self.syndrome() {
            write!(f, ": {syndrome}")?;
            if syndrome.has_address() {
                write!(f, ", at {:#018x}", frame.far)?;
            }
        }
        writeln!(f)?;
        writeln!(f, "  elr {:016x}  esr {:016x}  far {:016x}", frame.elr, frame.esr, frame.far)?;
        write!(f, "  sp  {:016x}  spsr {:x} ({})", frame.sp, frame.spsr, State(frame.spsr))?;
        for n in 0..31 {
            let start = if n % 4 == 0 { "\n" } else { "" };
            let name_end = if n < 10 { "  " } else { " " };
            write!(f, "{start}  x{n}{name_end}{:016x}", self.register(n))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use abi::VirtAddr;
    use std::string::ToString;

    fn frame() -> TrapFrame {
        let mut frame = TrapFrame { esr: 0x25 << 26 | 0x47, far: 0x1000, ..TrapFrame::default() };
        for (n, x) in frame.low.iter_mut().enumerate() {
            *x = n as u64;
        }
        for (n, x) in frame.high.iter_mut().enumerate() {
            *x = 19 + n as u64;
        }
        frame.fp = 29;
        frame.lr = 30;
        frame
    }

    const STACK: VirtRange =
        VirtRange::new(VirtAddr(0xffff_a000_0000_1000), VirtAddr(0xffff_a000_0000_5000));

    fn death(cpu: u16, cause: u64, frame: &TrapFrame) -> Death<'_> {
        Death { cpu: CpuId(cpu), cause: Cause::from_word(cause), nested: 0, stack: STACK, frame }
    }

    #[test]
    fn registers_are_found_by_number() {
        let frame = frame();
        let death = death(0, 4, &frame);
        for n in 0..31 {
            assert_eq!(death.register(n), n as u64);
        }
    }

    #[test]
    fn report_says_what_happened_in_words() {
        let frame = frame();
        let text = death(2, 4, &frame).to_string();
        let first = text.lines().next().unwrap();
        assert_eq!(
            first,
            "synchronous exception on CPU 2: data abort: write, translation fault, level 3 (pte), \
             at 0x0000000000001000"
        );
        assert!(text.contains("x30 000000000000001e"));
    }

    #[test]
    fn lost_stack_is_named_and_keeps_the_vector() {
        let mut frame = frame();
        frame.sp = STACK.start.0 - 0x20;
        let death = death(1, Cause::STACK_LOST | 5, &frame);
        assert_eq!(death.cause, Cause::StackLost(Vector::IRQ));
        let text = death.to_string();
        assert!(text.starts_with("kernel stack overflow on CPU 1: sp 0xffffa00000000fe0"));
        assert!(!text.contains("data abort"), "an interrupt has no syndrome");
    }

    #[test]
    fn overflow_is_told_from_an_overwritten_stack_pointer() {
        let mut frame = frame();
        for (sp, overflow) in [
            (STACK.start.0 - 8, true),
            (STACK.start.0 + 8, true),
            (STACK.start.0 - (1 << 21), false),
            (STACK.end.0, false),
            (0x7000, false),
        ] {
            frame.sp = sp;
            assert_eq!(
                death(0, Cause::STACK_LOST | 4, &frame).is_stack_overflow(),
                overflow,
                "{sp:#x}"
            );
            assert!(!death(0, 4, &frame).is_stack_overflow());
        }
    }
}
