//! Which state of an entry may follow which.
//!
//! [`change`](crate::change) says what a store owes to TLBs; this says whether there is any right way to
//! make that store at all. It judges two words: what a slot held at the moment of the store, and what it
//! holds now. A checker that sees every store asks both.
//!
//! | from \ to | none | table | leaf | invalid | no rights | migration | other soft |
//! | --- | --- | --- | --- | --- | --- | --- | --- |
//! | none | yes | yes | yes | **no** | yes | yes | yes |
//! | table | yes | same | **no** | **no** | **no** | **no** | **no** |
//! | leaf | yes | **no** | yes | same | yes | **no** | yes |
//! | invalid | yes | yes | yes | same | yes | yes | yes |
//! | no rights | yes | yes | yes | same | yes | yes | yes |
//! | migration | yes | yes | yes | **no** | yes | weaker | yes |
//! | other soft | yes | yes | yes | **no** | yes | yes | yes |
//!
//! "Same": of the same memory, or the same table. A leaf of other memory over a leaf, in one store, is
//! for [`change`](crate::change) to refuse. A word that is none of these follows nothing, and nothing
//! but zero follows it.
//!
//! Source: Linux, `Documentation/mm/arch_pgtable_helpers.rst`, `pmdp_invalidate`,
//! `set_pmd_migration_entry`, `collapse_huge_page`.

use crate::entry::{Entry, decode_in};
use crate::granule::{Granule, K4};
use crate::{MigrationKind, Soft};
use abi::Level;
use core::fmt;

/// Why no step may turn one entry into another.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Illegal {
    /// The new word is none that a correct step produces.
    Corrupt,
    /// The old word was none either, and was not taken out.
    OverCorrupt,
    /// A table over a leaf that hardware uses: a small and a huge translation of one address could be
    /// live at once, and history that hardware records meanwhile would be lost.
    TableOverLeaf,
    /// A migration entry over a leaf that hardware uses: the history it is made of may be out of date.
    MigrationOverLeaf,
    /// An invalid leaf that no leaf of the same memory was there for: an invalidation of nothing, of a
    /// table, or of software's data, which would be taken for a mapping.
    InvalidatedNoLeaf,
    /// Anything but nothing in the place of a table: walkers may be in it.
    OverTable,
    /// A migration entry of other memory, or one that gives back more than its predecessor did.
    OtherMigration,
}

impl fmt::Display for Illegal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Corrupt => "a word that is no entry",
            Self::OverCorrupt => "an entry over a word that is none",
            Self::TableOverLeaf => "a table over a live leaf",
            Self::MigrationOverLeaf => "a migration entry over a live leaf",
            Self::InvalidatedNoLeaf => "an invalid leaf where no such leaf was",
            Self::OverTable => "a table replaced without having been taken out",
            Self::OtherMigration => "a migration entry of other memory or of more rights",
        })
    }
}

/// Whether `new` may follow `old` in a slot of a table of `level`, with 4 KiB pages.
pub const fn transition(level: Level, old: u64, new: u64) -> Result<(), Illegal> {
    transition_in::<K4>(level, old, new)
}

/// Whether `new` may follow `old` in a slot of a table of `level`.
pub const fn transition_in<G: Granule>(level: Level, old: u64, new: u64) -> Result<(), Illegal> {
    let (old, new) = (decode_in::<G>(level, old), decode_in::<G>(level, new));
    match (old, new) {
        (_, Entry::Corrupt(_)) => Err(Illegal::Corrupt),
        (_, Entry::None) => Ok(()),
        (Entry::Corrupt(_), _) => Err(Illegal::OverCorrupt),
        (_, Entry::PresentInvalid(new)) => match old.leaf() {
            Some(old) if old.pfn().0 == new.pfn().0 => Ok(()),
            _ => Err(Illegal::InvalidatedNoLeaf),
        },
        (Entry::Table(old), Entry::Table(new)) if old.pfn().0 == new.pfn().0 => Ok(()),
        (Entry::Table(_), _) => Err(Illegal::OverTable),
        (Entry::Leaf(_), Entry::Table(_)) => Err(Illegal::TableOverLeaf),
        (Entry::Leaf(_), Entry::Soft(Soft::Migration { .. })) => Err(Illegal::MigrationOverLeaf),
        (
            Entry::Soft(Soft::Migration { pfn: was, kind: had, .. }),
            Entry::Soft(Soft::Migration { pfn, kind, .. }),
        ) if was.0 != pfn.0 || strength(had) < strength(kind) => Err(Illegal::OtherMigration),
        _ => Ok(()),
    }
}

/// How much a migration entry gives back.
const fn strength(kind: MigrationKind) -> u8 {
    match kind {
        MigrationKind::Read => 0,
        MigrationKind::ReadExclusive => 1,
        MigrationKind::Write => 2,
    }
}

#[cfg(test)]
#[path = "transition_tests.rs"]
mod tests;
