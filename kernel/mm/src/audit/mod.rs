//! The audit: every rule that holds when nothing is in flight, checked against all there is.
//!
//! Walks each table of each live space and then each block of the memmap, and counts by itself what
//! the memory manager counts on the way: what maps a folio, what leads to a table. Nothing is taken
//! from a counter that it checks. The first rule that does not hold ends it, with the evidence.
//!
//! | file | concern |
//! | --- | --- |
//! | `tables` | from the root down: what leads where, the tables put aside |
//! | `entries` | one leaf or soft entry: its area, its rights, its folio |
//! | `folios` | one folio: its counts against the entries that were found |
//! | `tally` | the audit's own count |
//! | `broken` | what can be wrong, with the evidence |
//!
//! # When
//! At rest: no fault, no unmapping, no walk and no reference that is just being taken or given back,
//! on any CPU. Programs may run meanwhile as long as they do not fault: hardware's own updates of
//! entries change no rule. The lists of spaces and areas are held as a reader would.
//!
//! # What it costs
//! One load for each entry of each table, a few for each mapped page and each folio, one page of
//! scratch for each 2 MiB that is mapped: memory that nobody uses costs one load a block.
//!
//! Corresponds to Linux's `CONFIG_DEBUG_VM`, `page_table_check`, `check_bad_rss_stat` and `bad_page`, all at
//! once and after the fact.

mod broken;
mod entries;
mod folios;
mod tables;
mod tally;
#[cfg(test)]
pub(crate) mod tests;

pub use broken::{Broken, EntryRule, FolioRule, Name, Seen, TableRule};

use crate::space::Layout;
use crate::{Hardware, Mm};
use core::fmt;
use tables::SpaceWalk;
use tally::Tally;

/// What is held or under way while an audit is made, and is no fault.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Allow {
    /// References that somebody holds besides the entries, at most, over all folios: one for each
    /// [`crate::frame::FolioRef`]; for each pin of a small folio [`crate::frame::PIN_BIAS`], of a
    /// large one 1.
    pub refs: u64,
    /// Folios are migrated: migration entries and locked folios are no fault.
    pub migration: bool,
}

impl Allow {
    /// Nothing: everybody has given back what they held.
    pub const NOTHING: Self = Self { refs: 0, migration: false };

    /// `n` references are held by somebody.
    pub const fn refs(n: u64) -> Self {
        Self { refs: n, ..Self::NOTHING }
    }
}

/// What an audit has seen: everything there is.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Audit {
    /// Live spaces.
    pub spaces: u64,
    /// Their areas.
    pub areas: u64,
    /// Their tables, roots included.
    pub tables: u64,
    /// Tables put aside for splits.
    pub deposits: u64,
    /// PMDs that map a huge folio.
    pub pmd_leaves: u64,
    /// PTEs that map a page.
    pub pte_leaves: u64,
    /// Those of them that are in a contiguous set.
    pub contiguous: u64,
    /// Leaves of zeros or given frames, which nobody counts.
    pub special: u64,
    /// Leaves that permit nothing.
    pub prot_none: u64,
    /// Migration entries.
    pub migrations: u64,
    /// Other soft entries.
    pub soft: u64,
    /// Pages that programs have, summed over spaces: mapped or in migration, zeros not counted.
    pub rss: u64,
    /// Folios.
    pub folios: u64,
    /// Pages of folios.
    pub folio_pages: u64,
    /// References besides those of entries.
    pub held: u64,
    /// Pins of large folios.
    pub pins: u64,
    /// Folios that are partly mapped.
    pub partial: u64,
}

impl fmt::Display for Audit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} spaces, {} areas, {} tables and {} put aside; \
             {} PMD and {} PTE leaves ({} contiguous, {} special), {} soft entries; \
             {} pages resident; {} folios of {} pages, {} references held",
            self.spaces,
            self.areas,
            self.tables,
            self.deposits,
            self.pmd_leaves,
            self.pte_leaves,
            self.contiguous,
            self.special,
            self.migrations + self.soft,
            self.rss,
            self.folios,
            self.folio_pages,
            self.held,
        )
    }
}

impl<H: Hardware> Mm<H> {
    /// Checks every rule, with nothing held and nothing under way.
    ///
    /// Context: thread, may sleep; nothing in flight, see [`crate::audit`].
    #[doc(alias("page_table_check", "check_bad_rss_stat", "DEBUG_VM"))]
    pub fn audit(&self) -> Result<Audit, Broken> {
        self.audit_but(Allow::NOTHING)
    }

    /// As [`Mm::audit`], while what `allow` says is held or under way.
    pub fn audit_but(&self, allow: Allow) -> Result<Audit, Broken> {
        self.background_rests(|| self.audit_at_rest(allow))
    }

    fn audit_at_rest(&self, allow: Allow) -> Result<Audit, Broken> {
        let mut audit = Audit::default();
        let mut tally = Tally::new(self)?;
        let mut result = Ok(());
        self.each_core(|core| {
            if result.is_err() {
                return;
            }
            let (tally, audit) = (&mut tally, &mut audit);
            let walk = |layout: &Layout| {
                let (area, folio) = (None, None);
                SpaceWalk { mm: self, core, layout, tally, audit, allow, area, folio }.run()
            };
            let (walked, _claim) = core.layout.read_whole(&self.hw, walk);
            result = walked;
        });
        result?;
        self.audit_memmap(&mut tally, &mut audit, allow)?;
        self.audit_vmalloc()?;
        Ok(audit)
    }
}
