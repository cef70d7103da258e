//! Spare, fresh, linked and detached tables.

use super::{Place, PmdLevel, TableLevel};
use crate::frame::OutOfMemory;
use crate::mutant::Mutant;
use crate::{Hardware, Mm, Slot};
use abi::{ENTRIES, Level, Pfn};
use pte::{Scope, Table};

/// A table of pages that nobody can reach and that holds whatever it held: one that is put aside with a
/// huge entry, which is filled throughout before it is used, so it need not be cleared.
#[must_use = "a table that is not put aside is given back"]
#[derive(Debug)]
pub struct Spare {
    table: Pfn,
}

impl Spare {
    /// Takes over a table that nobody can reach.
    pub(crate) fn of(table: Pfn) -> Self {
        Self { table }
    }

    /// The page.
    pub fn pfn(&self) -> Pfn {
        self.table
    }

    /// Writes all entries: the word, and then `step` more for each.
    pub(crate) fn filled<H: Hardware>(self, mm: &Mm<H>, word: u64, step: u64) -> Fresh {
        let fresh = Fresh { table: self.table };
        fresh.fill(mm, 0, ENTRIES, word, step);
        fresh
    }

    /// Gives the table back unused.
    pub(crate) fn discard<H: Hardware>(self, mm: &Mm<H>) {
        mm.table_free(self.table, Level::Pte);
    }
}

/// Spare tables that were fetched together.
#[must_use = "tables that are not put aside are given back"]
#[derive(Debug)]
pub(crate) struct Spares {
    tables: [Pfn; Self::MOST],
    len: usize,
}

impl Spares {
    /// How many there are at most.
    pub(crate) const MOST: usize = 8;

    /// None yet.
    pub(crate) const fn none() -> Self {
        Self { tables: [Pfn(0); Self::MOST], len: 0 }
    }

    /// Fetches tables of pages to be put aside, up to `n` and at least one, if there are none. Says how
    /// many there are.
    #[doc(alias = "pte_alloc_one")]
    pub(crate) fn fetch<H: Hardware>(
        &mut self,
        mm: &Mm<H>,
        n: usize,
    ) -> Result<usize, OutOfMemory> {
        if self.len == 0 {
            let n = n.min(Self::MOST);
            self.len = mm.tables_alloc_blank(Level::Pte, &mut self.tables[..n])?;
        }
        Ok(self.len.min(n))
    }

    pub(crate) fn pop(&mut self) -> Option<Spare> {
        self.len = self.len.checked_sub(1)?;
        self.tables.get(self.len).copied().map(Spare::of)
    }

    /// Gives back those that were not used.
    pub(crate) fn discard<H: Hardware>(&mut self, mm: &Mm<H>) {
        while let Some(spare) = self.pop() {
            spare.discard(mm);
        }
    }
}

/// A table of pages that nobody can reach yet: its slots may be written freely.
#[must_use = "a table that is not linked is given back"]
#[derive(Debug)]
pub struct Fresh {
    table: Pfn,
}

impl Fresh {
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
    #[cfg_attr(feature = "sanitize", track_caller)]
    pub(super) fn link<H: Hardware>(self, at: &Place<'_, H, PmdLevel>) {
        let mm = at.mm;
        if !mm.commits(Mutant::LinkBeforeZero) {
            mm.publish(Scope::InnerShareable);
        }
        at.store(Table::new(self.table).word());
        mm.publish(Scope::InnerShareable);
    }

    /// Gives the table back unused.
    #[cfg_attr(feature = "sanitize", track_caller)]
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
    #[cfg_attr(feature = "sanitize", track_caller)]
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
        self.table_alloc(Level::Pte).map(|table| Fresh { table })
    }

    /// A table of pages to be put aside.
    #[doc(alias = "pte_alloc_one")]
    pub(crate) fn spare_table(&self) -> Result<Spare, OutOfMemory> {
        self.table_alloc_blank(Level::Pte).map(Spare::of)
    }
}
