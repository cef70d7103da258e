//! Transparent huge pages: when to give them, splitting their entries, splitting the folio itself.
//!
//! | file | concern |
//! | --- | --- |
//! | `policy` | who gets huge pages, and what is done to get one |
//! | `deposit` | the table put aside with each huge entry, so that its split cannot fail |
//! | `split_pmd` | one huge entry into 512 small ones |
//! | `split_folio` | one folio into smaller ones, wherever it is mapped |
//! | `collapse` | one huge entry in the place of 512 small ones, and one folio in that of many |
//! | `deferred` | folios that are only partly mapped, to be split when memory is short |
//! | `frozen` | a folio whose mappings are taken away by hand, and given back |
//!
//! Corresponds to Linux's `mm/huge_memory.c`.

mod collapse;
mod deferred;
mod deposit;
mod frozen;
mod policy;
mod split_folio;
mod split_pmd;

pub(crate) use collapse::Background;
pub use collapse::{CollapseError, Collapsed, Limits, Scanned};
pub(crate) use deferred::Deferred;
pub use frozen::Frozen;
pub(crate) use frozen::There;
pub(crate) use policy::Override;
pub use policy::{Defrag, Policy, Thp};
pub use split_folio::SplitError;
pub(crate) use split_pmd::Pinned;
