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
//! | `granule` | the sizes of pages, and what of a descriptor depends on them |
//! | `bits` | the one table of bit positions, checked for overlap when compiled |
//! | `entry` | what a descriptor can be |
//! | `word` | descriptors as words of a level, and the raw questions Linux asks of them |
//! | `leaf` | a mapping: how it is made, its rights, its accessed and dirty state |
//! | `modify` | the same mapping with other rights or another history |
//! | `run` | leaves that belong together: pieces of a block, members of a run |
//! | `cont` | contiguous sets: when neighbours may be one, what one says |
//! | `soft` | non-present entries that carry software data |
//! | `pack` | their words |
//! | `convert` | from mappings to migration entries and back |
//! | `generic` | the form of a soft entry that does not depend on an architecture |
//! | `show` | all of these in words |
//! | `bbm` | what the replacement of one descriptor by another owes |
//! | `transition` | which state of an entry may follow which |
//! | `tlbi` | TLB maintenance operations: operands, and what they must remove |
//! | `plan` | which operations remove a range at the least cost |
//! | `regs` | MAIR, TCR and SCTLR values that the descriptors here assume |
//!
//! A migration entry, as the lock-free reader of a table sees it. That nobody asks it for an output
//! address, or makes an invalid leaf of it, is for the compiler to say:
//! ```
//! use abi::{Level, Pfn};
//! use granule_pte::{Entry, MigrationKind, Soft, decode};
//!
//! let kind = MigrationKind::Write;
//! let moving = Soft::Migration { pfn: Pfn(512), kind, young: true, dirty: true, uffd_wp: false };
//! let word = moving.encode(Level::Pmd);
//! assert_eq!(decode(Level::Pmd, word), Entry::Soft(moving));
//! // Bit 11, by which an invalid leaf counts as present, set without looking: found out.
//! assert_eq!(decode(Level::Pmd, word | 1 << 11), Entry::Corrupt(word | 1 << 11));
//! ```
//! ```compile_fail,E0599
//! # use granule_pte::Soft;
//! fn bug(moving: Soft) -> u64 {
//!     moving.invalidated().word()
//! }
//! ```
//!
//! # The formats
//! 4 KiB granule, 48-bit addresses in both halves, TCR_EL1.DS = 0. FEAT_LPA2 may be there but stays
//! off: with it on, the shareability bits of a descriptor turn into address bits.
//!
//! Descriptors of the 16 KiB and 64 KiB granules can be encoded and decoded too, though no table here
//! is made of them: the types and functions are generic over [`granule::Granule`]. The names in this
//! front page are those for 4 KiB, `pte::Leaf` for `pte::any::Leaf<K4>`. TLBI operands, plans and
//! register values are for 4 KiB alone.

#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

mod bbm;
pub mod bits;
mod caps;
mod cont;
mod convert;
mod entry;
mod generic;
pub mod granule;
mod leaf;
mod modify;
mod pack;
mod plan;
pub mod regs;
mod run;
mod show;
mod soft;
mod tlbi;
mod transition;
mod word;

pub use bbm::{Change, Reason, change};
pub use caps::{BbmLevel, Caps};
pub use cont::{Misfit, SetRule};
pub use entry::{decode, decode_in};
pub use generic::Beside;
pub use leaf::{KernelProt, MemType};
pub use modify::Rights;
pub use plan::{CostModel, Invalidation, Plan};
pub use soft::{DeviceAccess, Marker, MigrationKind, Soft};
pub use tlbi::{AsidMatch, Depth, Scope, Target, Tlbi};
pub use transition::{Illegal, transition, transition_in};

pub mod any {
    //! The types whose layout depends on the size of a page, for any size.

    pub use crate::cont::ContSet;
    pub use crate::entry::{Entry, Table};
    pub use crate::generic::GenericSoft;
    pub use crate::leaf::Leaf;
    pub use crate::run::Kin;
    pub use crate::word::{Pgd, Pmd, Pte, Pud};
}

use granule::K4;

/// What a descriptor is, with 4 KiB pages.
pub type Entry = any::Entry<K4>;
/// A pointer to the next table, with 4 KiB pages.
pub type Table = any::Table<K4>;
/// A present leaf of a known level, with 4 KiB pages.
pub type Leaf = any::Leaf<K4>;
/// [`any::Kin`] with 4 KiB pages.
pub type Kin = any::Kin<K4>;
/// Entries that are, or may be made, a contiguous set, with 4 KiB pages.
pub type ContSet = any::ContSet<K4>;
/// A soft entry as Linux's core writes it, with 4 KiB pages.
pub type GenericSoft = any::GenericSoft<K4>;
/// A level 0 descriptor, with 4 KiB pages.
pub type Pgd = any::Pgd<K4>;
/// A level 1 descriptor, with 4 KiB pages.
pub type Pud = any::Pud<K4>;
/// A level 2 descriptor, with 4 KiB pages.
pub type Pmd = any::Pmd<K4>;
/// A level 3 descriptor, with 4 KiB pages.
pub type Pte = any::Pte<K4>;

/// Pages in a contiguous set of 4 KiB pages: 64 KiB of memory.
pub const CONT_PTES: usize = ContSet::entries(abi::Level::Pte);
/// log2 of [`CONT_PTES`].
pub const CONT_PTE_ORDER: abi::Order = abi::Order(CONT_PTES.ilog2() as u8);
