//! Entries as states: what an entry is decides, by type, what may be done to it.
//!
//! [`Locked`] is the lock of one table page, held. [`Locked::at`] reads one slot, once, and gives a
//! handle of a type of its own for each thing the entry can be ([`At`]). A handle is used up by the
//! step it takes, which gives the handle of the state it leads to, or a token of what left the slot:
//!
//! ```text
//!  Empty ──set──────────▶ leaf          Present ──clear────▶ Unmapped (frames; a gather takes it)
//!    ├────set_soft──────▶ soft             ├──────modify────▶ the same mapping, other rights
//!    └────link──────────▶ table            └──────invalidate▶ Broken ──link / set_soft / restore
//!  Soft ──replace/restore/clear/link       Linked ──unlink──▶ Detached (a table; a gather takes it)
//! ```
//!
//! So a migration entry cannot be invalidated (the 2024 arm64 bug: `pmdp_invalidate` on one made it look
//! present), a table cannot replace a live block, and what an exchange returned cannot be ignored:
//! the only way to the accessed and dirty state, and to the frames, is through the returned word.
//!
//! # Rules kept here
//! * A store to a slot that others can reach is made with its table's lock held: handles borrow it.
//! * A slot is read once per decision. Where hardware may write meanwhile, the exchange decides.
//! * What was read decodes to exactly one kind: the decode in [`Locked::at`] is the one gate.
//!
//! What must not be done does not compile; [`unrepresentable`] shows it, each wrong beside its right.
//!
//! | file | concern |
//! | --- | --- |
//! | `present` | a mapping: changing it in place, taking it out, breaking it |
//! | `absent` | nothing, or software data, in a slot; what may be put there |
//! | `tables` | spare, fresh, linked and detached tables |
//! | `contpte` | contiguous sets of pages: marking, folding, unfolding |
//! | `batch` | many entries of one table, without a handle for each |
//! | [`unrepresentable`] | what does not compile |
//!
//! Corresponds to Linux's `set_pte_at`, `pmdp_invalidate`, `pmdp_huge_get_and_clear`, `ptep_modify_prot_start`.

mod absent;
mod batch;
pub(crate) mod contpte;
mod present;
mod tables;
pub mod unrepresentable;

pub use absent::{Empty, SoftEntry};
pub use present::{Broken, Present, Unmapped};
pub(crate) use tables::Spares;
pub use tables::{Detached, Fresh, Linked, Spare};

use crate::table::TableLock;
use crate::{Hardware, Mm, Slot};
use abi::{Level, Pfn};
use core::marker::PhantomData;
use pte::Entry;
use sync::Class;

/// A level of tables as a type.
pub trait TableLevel {
    /// The level of the entries.
    const LEVEL: Level;
    /// The class of such a table's lock.
    const CLASS: Class;
    /// The class of the second such lock, for whoever needs two.
    const SECOND: Class;
}

/// Entries that map 2 MiB, or lead to a table of pages.
#[derive(Clone, Copy, Debug)]
pub struct PmdLevel;

/// Entries that map a page.
#[derive(Clone, Copy, Debug)]
pub struct PteLevel;

impl TableLevel for PmdLevel {
    const LEVEL: Level = Level::Pmd;
    const CLASS: Class = Class::PmdTable;
    const SECOND: Class = Class::PmdTable2;
}

impl TableLevel for PteLevel {
    const LEVEL: Level = Level::Pte;
    const CLASS: Class = Class::PteTable;
    const SECOND: Class = Class::PteTable2;
}

/// Having this means: nobody else stores to the slots of one table page, but hardware its accessed and
/// dirty state.
#[doc(alias("pmd_lock", "pte_offset_map_lock"))]
#[must_use = "the lock is released at once"]
pub struct Locked<'m, H: Hardware, L: TableLevel> {
    mm: &'m Mm<H>,
    table: Pfn,
    _lock: TableLock<'m, H>,
    level: PhantomData<L>,
}

impl<'m, H: Hardware, L: TableLevel> Locked<'m, H, L> {
    /// The memory manager.
    #[inline]
    pub fn mm(&self) -> &'m Mm<H> {
        self.mm
    }

    /// The table page.
    pub fn table(&self) -> Pfn {
        self.table
    }

    /// Reads entry `index` once and says what it is.
    #[inline]
    pub fn at(&self, index: usize) -> At<'_, H, L> {
        let slot = Slot::new(self.table, index);
        let place = Place { mm: self.mm, slot, held: PhantomData };
        let word = self.mm.hw.load(slot);
        match pte::decode(L::LEVEL, word) {
            Entry::None => At::None(Empty(place)),
            Entry::Table(table) => At::Table(Linked { place, table }),
            Entry::Leaf(leaf) | Entry::ProtNone(leaf) => At::Present(Present { place, leaf }),
            Entry::Soft(soft) => At::Soft(SoftEntry { place, soft }),
            // An invalid leaf is somebody's step between two others under this lock: ours now.
            Entry::PresentInvalid(_) | Entry::Corrupt(_) => At::Corrupt(word),
        }
    }
}

/// Two tables, locked. Released in the reverse order of taking, whichever of them is which: the first to
/// be taken knows whether interrupts were masked before.
#[must_use = "the locks are released at once"]
pub(crate) struct LockedPair<'m, H: Hardware, L: TableLevel> {
    // Fields are dropped in this order.
    later: Option<Locked<'m, H, L>>,
    earlier: Locked<'m, H, L>,
    /// The one that was named first was taken later.
    crossed: bool,
}

impl<'m, H: Hardware, L: TableLevel> LockedPair<'m, H, L> {
    /// The table that was named first, and the other one: the same, if they are.
    pub(crate) fn both(&self) -> (&Locked<'m, H, L>, &Locked<'m, H, L>) {
        let later = self.later.as_ref().unwrap_or(&self.earlier);
        if self.crossed { (later, &self.earlier) } else { (&self.earlier, later) }
    }
}

/// What an entry is, with what may be done to it.
pub enum At<'l, H: Hardware, L: TableLevel> {
    /// Nothing.
    None(Empty<'l, H, L>),
    /// A pointer to the next table. Never in a table of pages.
    Table(Linked<'l, H, L>),
    /// A mapping: valid, or one that permits nothing and stays.
    Present(Present<'l, H, L>),
    /// No mapping, but software data.
    Soft(SoftEntry<'l, H, L>),
    /// A word that no correct step leaves behind under this lock: memory corruption.
    Corrupt(u64),
}

/// A slot whose table's lock is held for `'l`.
pub(crate) struct Place<'l, H: Hardware, L> {
    mm: &'l Mm<H>,
    slot: Slot,
    held: PhantomData<L>,
}

impl<H: Hardware, L: TableLevel> Place<'_, H, L> {
    #[inline]
    #[cfg_attr(feature = "sanitize", track_caller)]
    fn store(&self, word: u64) {
        self.mm.hw.store(self.slot, word);
    }

    #[inline]
    #[cfg_attr(feature = "sanitize", track_caller)]
    fn swap(&self, word: u64) -> u64 {
        self.mm.hw.swap(self.slot, word)
    }
}

impl<H: Hardware> Mm<H> {
    /// Takes the lock of a table page.
    ///
    /// Context: any; no table's lock of this level or below is held.
    #[inline]
    pub(crate) fn lock<L: TableLevel>(&self, table: Pfn) -> Locked<'_, H, L> {
        self.lock_as(table, L::CLASS)
    }

    /// Takes the locks of two table pages of one level, in the order of their addresses so that nobody
    /// deadlocks; one lock, twice named, where they are the same.
    pub(crate) fn lock_two<L: TableLevel>(&self, one: Pfn, other: Pfn) -> LockedPair<'_, H, L> {
        let earlier = self.lock(one.min(other));
        let later = (one != other).then(|| self.lock_as(one.max(other), L::SECOND));
        LockedPair { later, earlier, crossed: one > other }
    }

    #[inline]
    fn lock_as<L: TableLevel>(&self, table: Pfn, class: Class) -> Locked<'_, H, L> {
        let _lock = self.desc(table).ptl.lock_as(&self.hw, class);
        Locked { mm: self, table, _lock, level: PhantomData }
    }

    /// Takes the lock of the table of pages that `pmd` points to, if it still does once the lock is
    /// held: meanwhile the table may have been taken away. The caller holds off the reuse of tables.
    #[doc(alias = "pte_offset_map_lock")]
    #[inline]
    pub(crate) fn lock_below(&self, pmd: Slot) -> Option<Locked<'_, H, PteLevel>> {
        loop {
            let word = self.hw.load(pmd);
            let Entry::Table(table) = pte::decode(Level::Pmd, word) else { return None };
            let locked = self.lock::<PteLevel>(table.pfn());
            if self.hw.load(pmd) == word {
                return Some(locked);
            }
        }
    }
}
