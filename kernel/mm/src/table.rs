//! Table pages: their slots, their locks, linking and walking.
//!
//! # Rules kept here
//! * Each store to a slot reachable from a live root is made with the lock of the slot's table page
//!   held. Exceptions: the hardware's access flag and dirty state; tables nobody can reach any more.
//! * A new table's zeros are visible to walkers before the table is linked (`publish`), because a
//!   walker that follows the new pointer reads whatever the page held before.
//! * A slot is read once per decision; a second look is a new snapshot.
//!
//! Corresponds to Linux's `__pte_alloc`, `pmd_lock`, `pte_offset_map_lock`.

use crate::frame::{Counts, Effort, Kind, NIL, OutOfMemory};
use crate::mutant::Mutant;
use crate::{Hardware, Mm, Note, Slot};
use abi::{Event, Level, Order, Pfn, VirtAddr};
use core::sync::atomic::Ordering::Relaxed;
use pte::{Entry, Scope, Table};
use sync::{Class, SpinGuard};

/// Having this means: nobody else stores to the slots of one table page.
pub type TableLock<'a, H> = SpinGuard<'a, (), H>;

/// A walk that met something other than what it needed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Stop {
    /// No memory for a table on the way.
    OutOfMemory(OutOfMemory),
    /// A leaf (or something else that is no table) ends the walk above the wanted level.
    NotTable(Level, u64),
}

impl<H: Hardware> Mm<H> {
    /// Takes the lock of a table page for whoever goes through levels by number and needs no handles; else
    /// see [`Mm::lock`]. `level` is the level of its entries and gives the class.
    #[doc(alias("pmd_lock", "pte_lockptr", "ptlock"))]
    #[inline]
    pub(crate) fn lock_table(&self, table: Pfn, level: Level) -> TableLock<'_, H> {
        let class = if level == Level::Pte { Class::PteTable } else { Class::PmdTable };
        self.frames.map().desc(table).ptl.lock_as(&self.hw, class)
    }

    /// A table of nothing for entries of `level`, linked nowhere, its zeros not yet published.
    #[doc(alias("pte_alloc_one", "pmd_alloc_one", "pagetable_alloc"))]
    #[cfg_attr(feature = "sanitize", track_caller)]
    #[inline]
    pub(crate) fn table_alloc(&self, level: Level) -> Result<Pfn, OutOfMemory> {
        let table = self.table_alloc_blank(level)?;
        self.zero(table, Order::PAGE);
        Ok(table)
    }

    /// A table that holds whatever its page held, linked nowhere.
    #[inline]
    pub(crate) fn table_alloc_blank(&self, level: Level) -> Result<Pfn, OutOfMemory> {
        let table = self.take(Effort::Full, Order::PAGE, Kind::Table, 0, Counts::NONE)?;
        // No table is deposited with it yet; see `space::huge`.
        self.frames.map().desc(table).next.store(NIL, Relaxed);
        self.count(Event::PgTableAlloc, 1);
        self.hw.note(Note::TableAlloc(table, level));
        Ok(table)
    }

    /// As [`Mm::table_alloc_blank`], up to as many as fit; says how many, at least one.
    pub(crate) fn tables_alloc_blank(
        &self,
        level: Level,
        tables: &mut [Pfn],
    ) -> Result<usize, OutOfMemory> {
        let n = self.frames.take_stocked(&self.hw, tables);
        if let (0, Some(first)) = (n, tables.first_mut()) {
            // That fills the stock besides.
            *first = self.table_alloc_blank(level)?;
            return Ok(1);
        }
        for &table in &tables[..n] {
            let desc = self.desc(table);
            desc.own(Kind::Table, Order::PAGE, 0, Counts::NONE);
            desc.next.store(NIL, Relaxed);
            self.hw.note(Note::FrameAlloc(table, Order::PAGE));
            self.hw.note(Note::TableAlloc(table, level));
        }
        self.count(Event::PgAlloc, n as u64);
        self.count(Event::PgTableAlloc, n as u64);
        Ok(n)
    }

    /// Gives a table page back. No walker, hard or soft, can reach it any more.
    #[cfg_attr(feature = "sanitize", track_caller)]
    pub(crate) fn table_free(&self, table: Pfn, level: Level) {
        self.count(Event::PgTableFree, 1);
        self.hw.note(Note::TableFree(table, level));
        self.give_back(table, Kind::Table);
    }

    /// Links `table` under an empty `slot` of `level`, unless somebody was faster: then the other
    /// one stays and `table` is freed. Says which table is there now.
    #[doc(alias("pmd_install", "pmd_populate"))]
    fn link_table(&self, slot: Slot, level: Level, table: Pfn) -> Result<Pfn, Stop> {
        let below = level.down().unwrap_or(Level::Pte);
        if !self.commits(Mutant::LinkBeforeZero) {
            self.publish(Scope::InnerShareable);
        }
        let lock = self.lock_table(slot.table(), level);
        let word = self.hw.load(slot);
        if pte::decode(level, word) == Entry::None {
            self.hw.store(slot, Table::new(table).word());
            return Ok(table);
        }
        drop(lock);
        self.table_free(table, below);
        match pte::decode(level, word) {
            Entry::Table(other) => Ok(other.pfn()),
            _ => Err(Stop::NotTable(level, word)),
        }
    }

    /// The slot of `level` that translates `va` under `root`, with tables made on the way.
    ///
    /// The caller holds off the freeing of tables (a space's layout lock, either way).
    #[inline]
    pub(crate) fn make_slot(&self, root: Pfn, va: VirtAddr, level: Level) -> Result<Slot, Stop> {
        let mut table = root;
        for &at in level.above() {
            let slot = Slot::new(table, at.index(va));
            let word = self.hw.load(slot);
            table = match pte::decode(at, word) {
                Entry::Table(next) => next.pfn(),
                Entry::None => self.make_table(slot, at)?,
                _ => return Err(Stop::NotTable(at, word)),
            };
        }
        Ok(Slot::new(table, level.index(va)))
    }

    /// The slot of `level` that translates `va` under `root`, if every table on the way is there.
    ///
    /// The caller holds off the freeing of tables, as for [`Mm::make_slot`].
    #[inline]
    pub(crate) fn find_slot(&self, root: Pfn, va: VirtAddr, level: Level) -> Option<Slot> {
        let mut table = root;
        for &at in level.above() {
            let slot = Slot::new(table, at.index(va));
            let Entry::Table(next) = pte::decode(at, self.hw.load(slot)) else { return None };
            table = next.pfn();
        }
        Some(Slot::new(table, level.index(va)))
    }

    /// Makes and links the table below an empty `slot` of `level`.
    #[doc(alias = "__pte_alloc")]
    #[cold]
    pub(crate) fn make_table(&self, slot: Slot, level: Level) -> Result<Pfn, Stop> {
        let below = level.down().unwrap_or(Level::Pte);
        let table = self.table_alloc(below).map_err(Stop::OutOfMemory)?;
        self.link_table(slot, level, table)
    }

    /// Walks from `root` as the hardware would and reports each step (level, slot, what the entry is,
    /// its word) down to a leaf or to nothing: for people (`pt`), and for reports.
    ///
    /// Context: any; lockless, inside a walkers' epoch of its own. `step` runs with interrupts masked
    /// and must be short.
    #[doc(alias("show_pte", "ptdump"))]
    pub fn walk(&self, root: Pfn, va: VirtAddr, mut step: impl FnMut(Level, Slot, Entry, u64)) {
        let _epoch = self.walkers.enter(&self.hw);
        let mut table = root;
        for level in Level::ALL {
            let slot = Slot::new(table, level.index(va));
            let word = self.hw.load(slot);
            let entry = pte::decode(level, word);
            step(level, slot, entry, word);
            match entry {
                Entry::Table(next) if self.frames.map().find(next.pfn()).is_some() => {
                    table = next.pfn();
                }
                _ => return,
            }
        }
    }
}
