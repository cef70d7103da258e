//! Fresh, linked and detached tables.

use super::{Place, PmdLevel, TableLevel};
use crate::frame::OutOfMemory;
use crate::mutant::Mutant;
use crate::{Hardware, Mm, Slot};
use abi::{ENTRIES, Level, Pfn};
use pte::{Scope, Table};

/// A table of pages that nobody can reach yet: its slots may be written freely.
#[must_use = "a table that is not linked is given back"]
#[derive(Debug)]
pub struct Fresh {
    table: Pfn,
}

impl Fresh {
    /// Takes over a table that nobody can reach, filled with zeros.
    pub(crate) fn of(table: Pfn) -> Self {
        Self { table }
    }

    /// The page.
    pub fn pfn(&self) -> Pfn {
        self.table
    }

    /// Writes `n` entries from `first` on: the word, and then `step` more for each.
    pub(crate) fn fill<H: Hardware>(
        &self,
        mm: &Mm<H>,
        first: usize,
        n: usize,
        word: u64,
        step: u64,
    ) {
        debug_assert!(first + n <= ENTRIES);
        mm.hw.fill(Slot::new(self.table, first), n, word, step);
    }

    /// Makes the entries visible to walkers, then the table itself, both before this returns.
    pub(super) fn link<H: Hardware>(self, at: &Place<'_, H, PmdLevel>) {
        let mm = at.mm;
        if !mm.commits(Mutant::LinkBeforeZero) {
            mm.publish(Scope::InnerShareable);
        }
        at.store(Table::new(self.table).word());
        mm.publish(Scope::InnerShareable);
    }

    /// Gives the table back unused.
    pub(crate) fn discard<H: Hardware>(self, mm: &Mm<H>) {
        mm.table_free(self.table, Level::Pte);
    }
}

/// A pointer to a table that walkers follow.
#[must_use = "an entry that is looked at is kept or taken out"]
pub struct Linked<'l, H: Hardware, L: TableLevel> {
    pub(super) place: Place<'l, H, L>,
    pub(super) table: Table,
}

impl<H: Hardware, L: TableLevel> Linked<'_, H, L> {
    /// The table it points to.
    pub fn table(&self) -> Pfn {
        self.table.pfn()
    }

    /// Takes the pointer out. Walkers, hard and soft, may still be in the table.
    #[doc(alias("pmd_clear", "pmdp_collapse_flush"))]
    pub fn unlink(self) -> Detached {
        self.place.swap(0);
        Detached { table: self.table.pfn() }
    }
}

/// A table that was unlinked and that walkers may still be in. It goes to a gather.
#[must_use = "an unlinked table goes to a gather"]
#[derive(Debug)]
pub struct Detached {
    table: Pfn,
}

impl Detached {
    /// The page.
    pub(crate) fn pfn(&self) -> Pfn {
        self.table
    }
}

impl<H: Hardware> Mm<H> {
    /// A table of pages, all zeros, linked nowhere.
    #[doc(alias = "pte_alloc_one")]
    pub(crate) fn fresh_table(&self) -> Result<Fresh, OutOfMemory> {
        self.table_alloc(Level::Pte).map(Fresh::of)
    }
}
