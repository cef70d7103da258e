//! Migration entries become mappings.
//!
//! Counts and exclusivity come before the entry that relies on them, and no flush is owed: of what is
//! not present nothing is cached. The rights are those of the area as it is now; a mapping is writable
//! only if the entry still says so, and then its page is exclusive.
//!
//! Corresponds to Linux's `remove_migration_pte` and `remove_migration_pmd`.

use super::{Extent, Mapping, Stretch};
use crate::entry::{At, Locked, PmdLevel, PteLevel};
use crate::frame::{Counts, Flag, PageDesc};
use crate::mutant::Mutant;
use crate::{Hardware, Mm, Note, Slot};
use abi::{ENTRIES, Level, PAGE_SIZE, Pfn, VirtRange};
use core::ops::Range;
use core::sync::atomic::Ordering::Relaxed;
use pte::{Entry, Leaf, MigrationKind, Soft};

impl<H: Hardware> Mm<H> {
    /// Puts mappings back into one stretch: of the pages from `to` on for the migration entries of the
    /// folio's.
    pub(super) fn put_back(&self, extent: &Extent, stretch: &Stretch<'_>, to: Pfn) {
        let Some(mapping) = self.lock_mapping(stretch.core, stretch.range.start) else { return };
        match mapping {
            Mapping::Huge(table) => self.put_block_back(extent, stretch, &table, to),
            Mapping::Pages(table) => self.put_pages_back(extent, stretch, &table, to),
        }
    }

    /// What the folio's entries were in these slots was flushed since; with the table's lock held. Beside
    /// them there may be another folio's, whose flush another CPU owes.
    fn was_flushed(&self, stretch: &Stretch<'_>, first: usize, pages: usize) {
        let start = stretch.range.start + (first - stretch.slots().start) as u64 * PAGE_SIZE;
        let range = VirtRange::from_size(start, pages as u64 * PAGE_SIZE);
        self.hw.note(Note::Done(stretch.core.root, range));
    }

    /// A huge migration entry, if it is of the folio.
    #[doc(alias = "remove_migration_pmd")]
    fn put_block_back(
        &self,
        extent: &Extent,
        stretch: &Stretch<'_>,
        table: &Locked<'_, H, PmdLevel>,
        to: Pfn,
    ) {
        let At::Soft(entry) = table.at(Level::Pmd.index(stretch.range.start)) else { return };
        let Soft::Migration { pfn, kind, .. } = entry.soft() else { return };
        if stretch.huge_frame(extent.head) != Some(pfn) {
            return;
        }
        self.hw.note(Note::Done(stretch.core.root, stretch.range));
        let head = to + (pfn - extent.head);
        let soft = entry.soft().with_pfn(head);
        let dirty = self.desc(head).has(Flag::Dirty);
        let Some(leaf) = Leaf::restored(Level::Pmd, soft, stretch.prot, dirty) else { return };
        self.count_pmd_map(head);
        self.map_run_back(head, 1, 0..ENTRIES as u64, kind);
        entry.restore(leaf);
    }

    /// Small migration entries, those of the folio.
    #[doc(alias = "remove_migration_pte")]
    fn put_pages_back(
        &self,
        extent: &Extent,
        stretch: &Stretch<'_>,
        table: &Locked<'_, H, PteLevel>,
        to: Pfn,
    ) {
        let slots = stretch.slots();
        let mut slot = slots.start;
        while slot < slots.end {
            let was = extent.head + (stretch.first + (slot - slots.start) as u64);
            let page = to + (was - extent.head);
            slot += match self.desc(page).small_folio_is_dirty() {
                Some(dirty) => {
                    self.put_small_back(stretch, table, slot..slots.end, was, page, dirty)
                }
                None => self.put_run_back(stretch, table, slot..slots.end, was, page),
            };
        }
    }

    /// The migration entries from the first of `slots` on whose pages, `was` and those after it, are folios
    /// of their own now, from `page` on, and which differ in their frames alone: all but the first cost an
    /// addition.
    /// Says how many entries were looked at, at least one.
    fn put_small_back(
        &self,
        stretch: &Stretch<'_>,
        table: &Locked<'_, H, PteLevel>,
        slots: Range<usize>,
        was: Pfn,
        page: Pfn,
        dirty: bool,
    ) -> usize {
        let slot = |n: u64| Slot::new(table.table(), slots.start + n as usize);
        let word = self.hw.load(slot(0));
        let Entry::Soft(soft) = pte::decode(Level::Pte, word) else { return 1 };
        let Soft::Migration { pfn, kind, .. } = soft else { return 1 };
        let leaf = Leaf::restored(Level::Pte, soft.with_pfn(page), stretch.prot, dirty);
        let (true, Some(leaf)) = (pfn == was, leaf) else { return 1 };
        self.was_flushed(stretch, slots.start, 1);
        let (mut n, mut desc) = (0, self.desc(page));
        loop {
            self.map_page_back(desc, kind);
            self.hw.store(slot(n), leaf.nth(n).word());
            n += 1;
            let alike = n < slots.len() as u64
                && self.hw.load(slot(n)) == word + n * Leaf::step(Level::Pte);
            if !alike {
                return n as usize;
            }
            desc = self.desc(page + n);
            if desc.small_folio_is_dirty() != Some(dirty) {
                return n as usize;
            }
        }
    }

    /// The migration entries from the first of `slots` on whose pages, `was` and those after it, are
    /// `page` and those after it now, of one large folio. Says how many entries were looked at, at least one.
    fn put_run_back(
        &self,
        stretch: &Stretch<'_>,
        table: &Locked<'_, H, PteLevel>,
        slots: Range<usize>,
        was: Pfn,
        page: Pfn,
    ) -> usize {
        let slot = |n: usize| Slot::new(table.table(), slots.start + n);
        let soft_at = |n: usize| match pte::decode(Level::Pte, self.hw.load(slot(n))) {
            Entry::Soft(soft) if soft.pfn() == Some(was + n as u64) => Some(soft),
            _ => None,
        };
        let kind_at = |n: usize| match soft_at(n) {
            Some(Soft::Migration { kind, .. }) => Some(kind),
            _ => None,
        };
        let (Some(kind), Some(head)) = (kind_at(0), self.frames.map().head(page)) else { return 1 };
        let desc = self.desc(head);
        let first = page - head;
        let most = slots.len().min((desc.order().pages() - first) as usize);
        let follows = |n: &usize| kind_at(*n) == Some(kind);
        let n = 1 + (1..most).take_while(follows).count();
        self.was_flushed(stretch, slots.start, n);
        self.map_run_back(head, n as u32, first..first + n as u64, kind);
        let dirty = desc.has(Flag::Dirty);
        let leaf_at = |n: usize| {
            let soft = soft_at(n)?.with_pfn(page + n as u64);
            Leaf::restored(Level::Pte, soft, stretch.prot, dirty)
        };
        // What differs in its frame alone is stored together, and may become contiguous sets.
        let mut done = 0;
        while let Some(leaf) = (done < n).then(|| leaf_at(done)).flatten() {
            let alike = |more: &usize| leaf_at(done + more) == Some(leaf.nth(*more as u64));
            let run = 1 + (1..n - done).take_while(alike).count();
            table.set_run(slots.start + done, leaf, run);
            done += run;
        }
        n
    }

    /// Counts `n` mappings that come back, of `pages` of a folio.
    #[doc(alias("folio_add_anon_rmap_ptes", "folio_add_anon_rmap_pmd"))]
    fn map_run_back(&self, head: Pfn, n: u32, pages: Range<u64>, kind: MigrationKind) {
        self.folio_map(head, n);
        if kind.is_exclusive() && !self.commits(Mutant::PutBackShared) {
            self.set_exclusive(head, pages);
        }
    }

    /// Counts the mapping that comes back of a small folio, in one step with its being exclusive: no other
    /// entry maps it, so nobody said so before.
    #[doc(alias = "folio_add_anon_rmap_pte")]
    #[inline]
    pub(super) fn map_page_back(&self, desc: &PageDesc, kind: MigrationKind) {
        let exclusive = kind.is_exclusive() && !self.commits(Mutant::PutBackShared);
        let more = Counts::mappings(1) + if exclusive { Counts::EXCLUSIVE } else { 0 };
        let before = Counts(desc.counts.fetch_add(more, Relaxed));
        debug_assert!(!exclusive || !before.is_exclusive() && before.maps() == 0, "{before:?}");
    }
}
