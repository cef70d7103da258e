//! VMSAv8-64 stage 1 as pure functions: what a descriptor says, which change needs which care, and
//! what a TLBI instruction carries.
//!
//! Nothing here touches memory or a register. Every function maps words to words or to enums, so
//! the kernel, the models and the shell read descriptors by the same code, and every rule is
//! tested on the host. Callable in any context.
//!
//! | file | concern |
//! | --- | --- |
//! | `caps` | what the CPUs can do, and the lowest common denominator of several |
//! | `bits` | the one table of bit positions, checked for overlap when compiled |
//! | `entry` | typed descriptors and what a descriptor can be |
//! | `leaf` | a mapping: how it is made, its rights, its accessed and dirty state |
//! | `modify` | the same mapping with other rights or another history |
//! | `soft` | non-present entries that carry software data |
//! | `show` | all of these in words |
//! | `bbm` | what the replacement of one descriptor by another owes |
//! | `tlbi` | TLB maintenance operations: operands, and what they must remove |
//! | `plan` | which operations remove a range at the least cost |
//! | `regs` | MAIR, TCR and SCTLR values that the descriptors here assume |
//!
//! # The formats
//! 4 KiB granule, 48-bit addresses in both halves, TCR_EL1.DS = 0. FEAT_LPA2 may be there but stays
//! off: with it on, the shareability bits of a descriptor turn into address bits.

#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

mod bbm;
pub mod bits;
mod caps;
mod entry;
mod leaf;
mod modify;
mod plan;
pub mod regs;
mod show;
mod soft;
mod tlbi;

pub use bbm::{Change, Reason, change};
pub use caps::{BbmLevel, Caps};
pub use entry::{Entry, Pgd, Pmd, Pte, Pud, Table, decode};
pub use leaf::{KernelProt, Leaf, MemType};
pub use plan::{CostModel, Invalidation, Plan};
pub use soft::{DeviceAccess, Marker, MigrationKind, Soft};
pub use tlbi::{AsidMatch, Depth, Scope, Target, Tlbi};
