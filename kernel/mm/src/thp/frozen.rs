//! A folio whose mappings are taken away by hand, and given back.
//!
//! Corresponds to Linux's `set_pmd_migration_entry` and `remove_migration_pmd`, for whoever needs
//! no migration between them.

use super::split_folio::SplitError;
use crate::entry::{At, Present, TableLevel};
use crate::frame::{Flag, FolioLock, FolioRef};
use crate::rmap::{Blocks, Extent, Mapping};
use crate::space::{Layout, Space, USER_END};
use crate::tlb::Owed;
use crate::{Hardware, Mm};
use abi::{Level, Order, PAGE_SIZE, Pfn, VirtAddr};
use pte::Soft;

/// Having this means: nobody reaches the memory of one folio, though nothing was unmapped. Its entries
/// are migration entries, and who faults on one sleeps until this is dropped: then the mappings are
/// back, as far as they were not unmapped meanwhile.
///
/// Whoever holds this does not touch the memory through a mapping: he would wait for himself.
#[must_use = "the mappings come back at once"]
pub struct Frozen<'m, H: Hardware> {
    mm: &'m Mm<H>,
    extent: Extent,
    // Released in this order, once the mappings are back.
    lock: FolioLock<'m, H>,
    _folio: FolioRef<'m, H>,
}

/// What is at an address.
pub(crate) enum There<'m, H: Hardware> {
    /// A page of this folio, with a reference to it.
    Folio(FolioRef<'m, H>),
    /// A migration entry: the folio that begins here is locked, and may be gone when it is not any more.
    Moving(Pfn),
    /// Nothing, or nothing that is a folio's.
    Nothing,
}

impl<'m, H: Hardware> Frozen<'m, H> {
    /// The folio's first page.
    pub fn head(&self) -> Pfn {
        self.lock.head()
    }

    /// How large it is.
    pub fn order(&self) -> Order {
        self.mm.desc(self.head()).order()
    }

    /// Gives the mappings back. The same as dropping it.
    ///
    /// Context: as [`Space::freeze_folio_at`].
    pub fn thaw(self) {}
}

impl<H: Hardware> Drop for Frozen<'_, H> {
    fn drop(&mut self) {
        self.mm.remove_migration(&self.extent, self.head());
    }
}

impl<'m, H: Hardware> Space<'m, H> {
    /// Makes migration entries of all mappings of the folio that is mapped at `va`; a huge entry becomes
    /// one huge migration entry.
    ///
    /// Fails where a pin relies on a mapping; references do not hinder it. Context: thread, may sleep;
    /// holds no lock, no claim.
    #[doc(alias = "set_pmd_migration_entry")]
    pub fn freeze_folio_at(&self, va: VirtAddr) -> Result<Frozen<'m, H>, SplitError> {
        let mm = self.mm();
        let folio = self.folio_at(va).ok_or(SplitError::NotMapped)?;
        let lock = mm.folio_lock(folio.head());
        let desc = mm.desc(lock.head());
        if !desc.has(Flag::Anon) || desc.has(Flag::Zero) {
            return Err(SplitError::NotAnonymous);
        }
        let frozen = Frozen { mm, extent: Extent::of(mm, &lock), lock, _folio: folio };
        let mut owed = Owed::new(mm);
        mm.try_to_migrate(&frozen.extent, Blocks::Keep, &mut owed);
        owed.settle();
        let counts = desc.counts();
        if counts.maps() > 0 {
            return Err(SplitError::Busy { refs: counts.refs(), expected: counts.maps() + 1 });
        }
        Ok(frozen)
    }

    /// If one huge entry translates `va`, whatever it is, makes 512 small entries of it.
    ///
    /// Context: thread, may sleep on who changes the layout there; holds no claim.
    #[doc(alias("split_huge_pmd", "FOLL_SPLIT_PMD"))]
    pub fn split_block(&self, va: VirtAddr) {
        let (mm, core) = (self.mm(), self.core());
        if va < USER_END {
            let find = |layout: &Layout| layout.find(va).is_some();
            let (area, _claim) = core.layout.read_at(&mm.hw, va.page(), find);
            // Without an area nobody keeps the tables.
            if area {
                mm.split_huge_at(core, va);
            }
        }
    }

    /// A reference to the folio that is mapped at `va` right now, whatever the entry permits.
    ///
    /// Context: as for [`Space::there`].
    pub(crate) fn folio_at(&self, va: VirtAddr) -> Option<FolioRef<'m, H>> {
        match self.there(va) {
            There::Folio(folio) => Some(folio),
            There::Moving(_) | There::Nothing => None,
        }
    }

    /// What is at `va` right now.
    ///
    /// Context: thread, may sleep on who changes the layout there; holds no claim.
    #[doc(alias = "folio_walk_start")]
    pub(crate) fn there(&self, va: VirtAddr) -> There<'m, H> {
        let (mm, core) = (self.mm(), self.core());
        if va >= USER_END {
            return There::Nothing;
        }
        // Without an area nobody keeps the tables: a neighbour's end takes them along.
        let find = |layout: &Layout| layout.find(va).is_some();
        let (area, _claim) = core.layout.read_at(&mm.hw, va.page(), find);
        if !area {
            return There::Nothing;
        }
        match mm.lock_mapping(core, va) {
            Some(Mapping::Huge(table)) => mm.there(&table.at(Level::Pmd.index(va)), va),
            Some(Mapping::Pages(table)) => mm.there(&table.at(Level::Pte.index(va)), va),
            None => There::Nothing,
        }
    }
}

impl<H: Hardware> Mm<H> {
    /// What an entry says is at `va`. Its table's lock is held, so that no migration ends meanwhile.
    fn there<L: TableLevel>(&self, entry: &At<'_, H, L>, va: VirtAddr) -> There<'_, H> {
        match entry {
            At::Present(entry) => self.folio_of(entry, va).map_or(There::Nothing, There::Folio),
            At::Soft(entry) => match entry.soft() {
                Soft::Migration { pfn, .. } => {
                    self.frames.map().head(pfn).map_or(There::Nothing, There::Moving)
                }
                _ => There::Nothing,
            },
            At::None(_) | At::Table(_) | At::Corrupt(_) => There::Nothing,
        }
    }

    /// A reference to the folio that a present entry maps, for the page at `va`. The entry's own holds the
    /// folio until then.
    fn folio_of<L: TableLevel>(
        &self,
        entry: &Present<'_, H, L>,
        va: VirtAddr,
    ) -> Option<FolioRef<'_, H>> {
        let leaf = entry.leaf();
        if leaf.is_special() {
            return None;
        }
        let page = leaf.pfn() + va.0 % L::LEVEL.span() / PAGE_SIZE;
        self.folio_get(self.frames.map().head(page)?, 1);
        Some(FolioRef::adopt(self, page))
    }
}
