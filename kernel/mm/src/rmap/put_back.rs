//! Migration entries become mappings.
//!
//! Counts and exclusivity come before the entry that relies on them, and no flush is owed: of what is
//! not present nothing is cached. The rights are those of the area as it is now; a mapping is writable
//! only if it still was when it was taken out, or made writable no less since.
//!
//! Corresponds to Linux's `remove_migration_pte` and `remove_migration_pmd`.

use super::{Extent, Mapping, Stretch};
use crate::entry::{At, Locked, PmdLevel, PteLevel};
use crate::frame::Flag;
use crate::mutant::Mutant;
use crate::{Hardware, Mm, Slot};
use abi::{ENTRIES, Level, Pfn};
use core::ops::Range;
use pte::{CONT_PTES, ContSet, Entry, Leaf, MigrationKind, Soft};

impl<H: Hardware> Mm<H> {
    /// Puts mappings back into one stretch.
    pub(super) fn put_back(&self, extent: &Extent, stretch: &Stretch<'_>, to: impl Fn(Pfn) -> Pfn) {
        match self.lock_mapping(stretch.core, stretch.range.start) {
            Some(Mapping::Huge(table)) => self.put_block_back(extent, stretch, &table, to),
            Some(Mapping::Pages(table)) => self.put_pages_back(extent, stretch, &table, to),
            None => {}
        }
    }

    /// A huge migration entry, if it is of the folio.
    #[doc(alias = "remove_migration_pmd")]
    fn put_block_back(
        &self,
        extent: &Extent,
        stretch: &Stretch<'_>,
        table: &Locked<'_, H, PmdLevel>,
        to: impl Fn(Pfn) -> Pfn,
    ) {
        let At::Soft(entry) = table.at(Level::Pmd.index(stretch.range.start)) else { return };
        let Soft::Migration { pfn, kind, .. } = entry.soft() else { return };
        if stretch.huge_frame(extent.head) != Some(pfn) {
            return;
        }
        let head = to(pfn);
        let soft = entry.soft().with_pfn(head);
        let dirty = self.desc(head).has(Flag::Dirty);
        let Some(leaf) = Leaf::restored(Level::Pmd, soft, stretch.prot, dirty) else { return };
        self.folio_map(head, 1);
        self.count_pmd_map(head);
        if kind.is_exclusive() && !self.commits(Mutant::PutBackShared) {
            self.set_exclusive(head, 0..ENTRIES as u64);
        }
        entry.restore(leaf);
    }

    /// Small migration entries, those of the folio: run by run of pages that are neighbours in one folio
    /// now.
    fn put_pages_back(
        &self,
        extent: &Extent,
        stretch: &Stretch<'_>,
        table: &Locked<'_, H, PteLevel>,
        to: impl Fn(Pfn) -> Pfn,
    ) {
        let slots = stretch.slots();
        let page_at = |slot: usize| extent.head + (stretch.first + (slot - slots.start) as u64);
        // The kind of the folio's migration entry in a slot.
        let kind_at = |slot: usize| match self.soft_at(table, slot) {
            Some(Soft::Migration { pfn, kind, .. }) if pfn == page_at(slot) => Some(kind),
            _ => None,
        };
        let mut slot = slots.start;
        while slot < slots.end {
            let Some(kind) = kind_at(slot) else {
                slot += 1;
                continue;
            };
            let page = to(page_at(slot));
            let Some(head) = self.frames.map().head(page) else { return };
            let first = page - head;
            let most = (self.desc(head).order().pages() - first).min((slots.end - slot) as u64);
            let follows = |n: &u64| {
                let slot = slot + *n as usize;
                kind_at(slot) == Some(kind) && to(page_at(slot)) == page + *n
            };
            let n = 1 + (1..most).take_while(follows).count();
            self.folio_map_back(head, first..first + n as u64, kind);
            self.restore_run(stretch, table, slot..slot + n, page, head);
            slot += n;
        }
    }

    /// Makes mappings of the migration entries in `slots`, of `page` of the folio and those that follow.
    fn restore_run(
        &self,
        stretch: &Stretch<'_>,
        table: &Locked<'_, H, PteLevel>,
        slots: Range<usize>,
        page: Pfn,
        head: Pfn,
    ) {
        let dirty = self.desc(head).has(Flag::Dirty);
        for (n, slot) in slots.enumerate() {
            let Some(soft) = self.soft_at(table, slot) else { continue };
            let soft = soft.with_pfn(page + n as u64);
            if let Some(leaf) = Leaf::restored(Level::Pte, soft, stretch.prot, dirty) {
                self.hw.store(Slot::new(table.table(), slot), leaf.word());
            }
        }
    }

    fn soft_at(&self, table: &Locked<'_, H, PteLevel>, slot: usize) -> Option<Soft> {
        match pte::decode(Level::Pte, self.hw.load(Slot::new(table.table(), slot))) {
            Entry::Soft(soft) => Some(soft),
            _ => None,
        }
    }

    /// Counts the mappings that come back for some pages of a folio, all of one kind.
    #[doc(alias = "folio_add_anon_rmap_pte")]
    fn folio_map_back(&self, head: Pfn, pages: Range<u64>, kind: MigrationKind) {
        self.folio_map(head, (pages.end - pages.start) as u32);
        if kind.is_exclusive() && !self.commits(Mutant::PutBackShared) {
            self.set_exclusive(head, pages);
        }
    }
}
