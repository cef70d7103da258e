//! Exceptions: from the vector to the hook that can do something about it.
//!
//! The way of a page fault: `vectors.s` saves a [`TrapFrame`] → `dispatch` decodes the syndrome →
//! [`Handlers::fault`], which is the memory manager's → return. Nothing else lies in between.
//!
//! The rule kept: this room decides nothing about memory. It tells apart what tables have to do with
//! (handed up), what is only the shadow of a late walk in the kernel's own half (retried and
//! counted), what a user access may survive (`uaccess`), and what ends the CPU.
//!
//! | file | concern |
//! | --- | --- |
//! | `vectors.s` | saving and restoring registers, the check of the stack pointer |
//! | `dispatch` | from a frame to a hook |
//! | `syndrome` | ESR_EL1 in words |
//! | `frame` | what is saved |
//! | `death` | the report about an exception that nobody handles |

mod death;
#[cfg(target_os = "none")]
mod dispatch;
mod frame;
mod syndrome;

#[cfg(target_os = "none")]
pub(crate) use self::dispatch::{enable, vectors};
#[cfg(target_os = "none")]
pub use self::dispatch::{install, park, undefined};
pub use death::{Cause, Death, Vector};
pub use frame::{FRAME_BYTES, TrapFrame};
pub use syndrome::{FaultKind, Syndrome};

use abi::{Access, Level, VirtAddr};

/// An access that the translation tables refused.
///
/// Where it came from is in the [`TrapFrame`] beside it: the instruction in `elr`, and in
/// [`TrapFrame::irqs_masked`] whether the handler may sleep.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    /// The address.
    pub va: VirtAddr,
    /// What was tried with it.
    pub access: Access,
    /// The syndrome as the hardware gave it.
    pub esr: Syndrome,
}

impl Fault {
    /// Why the access was refused.
    pub fn kind(&self) -> FaultKind {
        self.esr.status().0
    }

    /// The level whose descriptor refused, where the hardware tells.
    pub fn level(&self) -> Option<Level> {
        self.esr.status().1
    }
}

/// What the handler of a fault achieved.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FaultVerdict {
    /// The access may be tried again.
    Resolved,
    /// The access is denied: fail the `uaccess` routine that made it. Where no such routine
    /// made it, this is the same as `Unhandled`.
    Fixup,
    /// Nothing can be done: the CPU dies.
    Unhandled,
}

/// What is above this room, as far as exceptions are concerned.
#[derive(Clone, Copy)]
pub struct Handlers {
    /// A translation, permission or access-flag fault at an address of the user half.
    ///
    /// Context: the interrupted thread, with exceptions masked exactly as it had them; so it may
    /// sleep, and return on another CPU, unless [`TrapFrame::irqs_masked`].
    pub fault: fn(&Fault, &mut TrapFrame) -> FaultVerdict,
    /// An interrupt. Context: all exceptions masked. May switch threads, and return when the
    /// interrupted thread is switched to again.
    pub irq: fn(&mut TrapFrame),
    /// The end of this CPU: report, stop the others, end the run. Context: all exceptions masked,
    /// on whatever stack is left; called a second time where the first call itself dies.
    pub dead: fn(&Death<'_>) -> !,
}
