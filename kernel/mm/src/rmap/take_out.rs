//! Mappings become migration entries.
//!
//! In one table, for all of a folio's pages in it: every entry is made invalid by an exchange, so that
//! its history is complete; one look for pins; and then the invalid entries, which hold all that is
//! needed, become migration entries, or are made valid again, after a flush, where a pin relies on them.
//! Nothing but the flush is remembered outside of the table. That is [`Owed`]: a migration entry may
//! still be cached.
//!
//! The look for pins comes after the exchange, and pairs with the lockless pin, which looks at the entry
//! again: see [`Mm::try_share`]. What a CPU has cached is of no account for it.
//!
//! Corresponds to Linux's `try_to_migrate_one` and `set_pmd_migration_entry`.

use super::{Blocks, Extent, Mapping, Stretch};
use crate::entry::{At, Locked, PmdLevel, PteLevel};
use crate::mutant::Mutant;
use crate::thp::Pinned;
use crate::tlb::{Flushed, Owed};
use crate::{Hardware, Mm, Slot};
use abi::{ENTRIES, Level, PAGE_SIZE, PMD_SIZE, Pfn, VirtRange};
use core::ops::Range;
use pte::{CONT_PTES, Entry, Leaf, Soft};

impl<H: Hardware> Mm<H> {
    /// Takes the folio's mappings out of one stretch.
    pub(super) fn take_out(
        &self,
        extent: &Extent,
        stretch: &Stretch<'_>,
        blocks: Blocks,
        owed: &mut Owed<'_, H>,
    ) -> Result<(), Pinned> {
        match self.lock_mapping(stretch.core, stretch.range.start) {
            Some(Mapping::Huge(table)) => {
                self.take_block_out(extent, stretch, &table, blocks, owed)
            }
            Some(Mapping::Pages(table)) => self.take_pages_out(extent, stretch, &table, owed),
            None => Ok(()),
        }
    }

    /// A huge entry, if it maps the folio.
    #[doc(alias = "set_pmd_migration_entry")]
    fn take_block_out(
        &self,
        extent: &Extent,
        stretch: &Stretch<'_>,
        table: &Locked<'_, H, PmdLevel>,
        blocks: Blocks,
        owed: &mut Owed<'_, H>,
    ) -> Result<(), Pinned> {
        let va = stretch.range.start;
        let At::Present(entry) = table.at(Level::Pmd.index(va)) else { return Ok(()) };
        let head = entry.leaf().pfn();
        if entry.leaf().is_special() || stretch.huge_frame(extent.head) != Some(head) {
            return Ok(());
        }
        if blocks == Blocks::Split {
            return self.split_pmd_for_migration(stretch.core, table, entry, va);
        }
        let seen = entry.leaf();
        let broken = entry.suspend();
        let exclusive = self.is_exclusive(head, 0);
        if exclusive && !self.try_share(head, 0..ENTRIES as u64) {
            let stale = self.commits(Mutant::TakeOutRestoresPreread);
            let was = if stale { seen } else { broken.leaf() };
            broken.set(was);
            return Err(Pinned);
        }
        self.mark_dirty(head, broken.leaf());
        if broken.leaf().is_valid() && !self.commits(Mutant::TakeOutNoFlush) {
            let block = VirtRange::from_size(va.align_down(PMD_SIZE), PMD_SIZE);
            owed.add(stretch.core, block, Level::Pmd);
        }
        let soft = Soft::migration_of(broken.leaf(), exclusive);
        broken.set_soft(soft);
        self.uncount_pmd_map(head);
        self.folio_unmap_held(head, 1);
        Ok(())
    }

    /// Small entries, those that map pages of the folio.
    fn take_pages_out(
        &self,
        extent: &Extent,
        stretch: &Stretch<'_>,
        table: &Locked<'_, H, PteLevel>,
        owed: &mut Owed<'_, H>,
    ) -> Result<(), Pinned> {
        table.unfold_edges(&stretch.core.context, stretch.range);
        let run =
            Run { table: table.table(), slots: stretch.slots(), page: extent.head + stretch.first };
        let Some(found) = self.break_run(&run) else { return Ok(()) };
        let run = Run { page: run.page_at(found.slots.start), slots: found.slots, ..run };
        let head = extent.head;
        let counts = self.desc(head).counts();
        let exclusive = counts.is_exclusive() || counts.is_mixed();
        let taken = if exclusive && !self.commits(Mutant::TakeOutPinned) {
            self.try_share_by(head, || {
                self.broken_to_migration(head, &run);
                if counts.is_exclusive() {
                    // If no other entry maps the folio, what is not mapped here has no use for its bit.
                    let all = counts.maps() == found.entries;
                    let mapped = run.page - head..run.page - head + run.slots.len() as u64;
                    self.clear_exclusive(head, if all { 0..extent.pages } else { mapped });
                }
            })
        } else {
            self.broken_to_migration(head, &run);
            true
        };
        let before = (run.slots.start - stretch.slots().start) as u64;
        let start = stretch.range.start + before * PAGE_SIZE;
        let range = VirtRange::from_size(start, run.slots.len() as u64 * PAGE_SIZE);
        let owes = found.valid && !self.commits(Mutant::TakeOutNoFlush);
        if !taken {
            // What comes back is no contiguous set any more, and one may be cached.
            if owes && !self.commits(Mutant::TakeOutRestoresUnflushed) {
                let _: Flushed = self.flush(&stretch.core.context, range, Level::Pte);
            }
            self.broken_to_valid(&run);
            return Err(Pinned);
        }
        if owes {
            owed.add(stretch.core, range, Level::Pte);
        }
        self.folio_unmap_held(head, found.entries);
        Ok(())
    }

    /// Makes every entry of the run that maps its page invalid for hardware, its history complete.
    #[doc(alias("ptep_get_and_clear", "get_and_clear_ptes"))]
    fn break_run(&self, run: &Run) -> Option<Found> {
        let mut found: Option<Found> = None;
        for slot in run.slots.clone() {
            let at = Slot::new(run.table, slot);
            let word = self.hw.load(at);
            let (leaf, valid) = match pte::decode(Level::Pte, word) {
                Entry::Leaf(leaf) => (leaf, true),
                Entry::ProtNone(leaf) => (leaf, false),
                _ => continue,
            };
            if leaf.is_special() || leaf.pfn() != run.page_at(slot) {
                continue;
            }
            if valid {
                self.invalidate_page(at, leaf);
            }
            if leaf.is_contiguous() && (slot + 1) % CONT_PTES == 0 {
                self.part_set(run.table, slot + 1 - CONT_PTES);
            }
            let found = found.get_or_insert(Found { slots: slot..slot, entries: 0, valid: false });
            found.slots.end = slot + 1;
            found.entries += 1;
            found.valid |= valid;
        }
        found
    }

    /// Makes one small entry invalid, with all that hardware has recorded in it by then.
    #[inline]
    pub(super) fn invalidate_page(&self, at: Slot, leaf: Leaf) {
        let broken = leaf.invalidated().word();
        if !self.hw_writes_entries() {
            self.hw.store(at, broken);
            return;
        }
        let old = self.hw.swap(at, broken);
        if old != leaf.word()
            && !self.commits(Mutant::TakeOutPreread)
            && let Entry::Leaf(old) = pte::decode(Level::Pte, old)
        {
            self.hw.store(at, old.invalidated().word());
        }
    }

    /// The broken entries of the run become migration entries. What they know of writes, the folio
    /// knows before they cease to be mappings.
    fn broken_to_migration(&self, head: Pfn, run: &Run) {
        let mixed = self.desc(head).counts().is_mixed();
        for slot in run.slots.clone() {
            let Some(leaf) = self.broken_page(run, slot) else { continue };
            self.mark_dirty(head, leaf);
            let page = leaf.pfn() - head;
            let exclusive = self.is_exclusive(head, page);
            let soft = Soft::migration_of(leaf, exclusive);
            self.hw.store(Slot::new(run.table, slot), soft.encode(Level::Pte));
            if exclusive && mixed {
                self.clear_exclusive(head, page..page + 1);
            }
        }
    }

    /// The broken entries of the run are as they were.
    fn broken_to_valid(&self, run: &Run) {
        for slot in run.slots.clone() {
            let at = Slot::new(run.table, slot);
            if let Entry::PresentInvalid(leaf) = pte::decode(Level::Pte, self.hw.load(at)) {
                self.hw.store(at, leaf.revalidated().word());
            }
        }
    }

    /// The leaf that was broken in a slot of the run.
    fn broken_page(&self, run: &Run, slot: usize) -> Option<Leaf> {
        match pte::decode(Level::Pte, self.hw.load(Slot::new(run.table, slot))) {
            Entry::PresentInvalid(leaf) | Entry::ProtNone(leaf)
                if leaf.pfn() == run.page_at(slot) =>
            {
                Some(leaf)
            }
            _ => None,
        }
    }

    /// The members of a contiguous set, all broken, are broken pages of their own: each has the history
    /// of all, for hardware may have recorded a use in any, and none has the mark.
    fn part_set(&self, table: Pfn, first: usize) {
        let members = || (first..first + CONT_PTES).map(|slot| Slot::new(table, slot));
        let broken = |at| match pte::decode(Level::Pte, self.hw.load(at)) {
            Entry::PresentInvalid(leaf) => Some(leaf.contiguous(false)),
            _ => None,
        };
        let Some(history) = members().filter_map(broken).reduce(Leaf::absorb) else { return };
        for at in members() {
            if let Some(leaf) = broken(at) {
                self.hw.store(at, leaf.absorb(history).word());
            }
        }
    }
}

/// Neighbouring entries of a table of pages, and the page that the first of them has if it maps the
/// folio; each further one has the next.
struct Run {
    table: Pfn,
    slots: Range<usize>,
    page: Pfn,
}

impl Run {
    fn page_at(&self, slot: usize) -> Pfn {
        self.page + (slot - self.slots.start) as u64
    }
}

/// Which entries of a run map the folio.
struct Found {
    /// From the first to the last of them.
    slots: Range<usize>,
    entries: u32,
    /// Hardware may have one of them cached.
    valid: bool,
}
