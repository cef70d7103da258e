//! Transparent huge pages: when to give them, splitting their entries, splitting the folio itself.
//!
//! | file | concern |
//! | --- | --- |
//! | `policy` | who gets huge pages, and what is done to get one |
//! | `deposit` | the table put aside with each huge entry, so that its split cannot fail |
//! | `split_pmd` | one huge entry into 512 small ones |
//! | `deferred` | folios that are only partly mapped, to be split when memory is short |
//!
//! Corresponds to Linux's `mm/huge_memory.c`.

mod deferred;
mod deposit;
mod policy;
mod split_pmd;

pub(crate) use deferred::Deferred;
pub use policy::{Policy, Thp};
