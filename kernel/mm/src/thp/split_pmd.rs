//! Splitting a huge entry into 512 small ones, whatever it is.
//!
//! | the entry | what becomes of it | what a lockless reader sees |
//! | --- | --- | --- |
//! | maps a folio | 512 mappings of its pages | leaf, invalid leaf, table |
//! | maps a folio that is to be unmapped | 512 migration entries | leaf, invalid leaf, table |
//! | maps zeros or given frames, uncounted | 512 mappings of the same, uncounted | leaf, invalid leaf, table |
//! | migration entry | 512 of its kind | soft, table |
//! | device-private entry | 512 of its kind | soft, table |
//!
//! What hardware may have cached is broken first: a small and a huge translation of one address must
//! never be live at once. It stays *present* to software throughout, so that no lockless reader sees
//! nothing where there is memory. What hardware cannot have cached is not broken: an invalidation of a
//! migration entry would make a mapping out of its payload (arm64 in Linux until 2024). Here that has
//! no way to be written: each kind is a type, and only [`Present`] can be broken, or unmapped.
//!
//! A split cannot fail, for the table was put aside when the entry was made; it asks for no count,
//! and needs only what keeps tables tables: a claim, or the layout.
//!
//! Corresponds to Linux's `__split_huge_pmd_locked`.

use crate::entry::{At, Broken, Locked, PmdLevel, Present, SoftEntry, Spare};
use crate::frame::Flag;
use crate::mutant::Mutant;
use crate::space::Core;
use crate::tlb::Flushed;
use crate::{Hardware, Mm, Slot};
use abi::{ENTRIES, Event, Level, Pfn, Prot, VirtAddr};
use pte::bits::{PRESENT_INVALID, VALID};
use pte::{CONT_PTES, ContSet, Leaf, Soft};

/// Why a mapping that was to be unmapped is still there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Pinned;

impl<H: Hardware> Mm<H> {
    /// If a huge entry of `core` maps `va`, maps its memory by 512 small entries instead.
    ///
    /// Context: any claim on the area, or the layout held; no table's lock.
    #[doc(alias("split_huge_pmd", "__split_huge_pmd"))]
    pub(crate) fn split_huge_at(&self, core: &Core, va: VirtAddr) {
        let Some(slot) = self.find_slot(core.root, va, Level::Pmd) else { return };
        let table = self.lock::<PmdLevel>(slot.table());
        self.split_pmd(core, &table, va);
    }

    /// As [`Mm::split_huge_at`], under the lock of the PMD table.
    pub(crate) fn split_pmd(&self, core: &Core, table: &Locked<'_, H, PmdLevel>, va: VirtAddr) {
        match table.at(Level::Pmd.index(va)) {
            At::Present(entry) if entry.leaf().is_special() => {
                self.split_uncounted(core, table, entry, va);
            }
            At::Present(entry) => {
                let Some(spare) = self.spare(table) else { return };
                self.split_mapping(entry.invalidate(&core.context, va), spare, None);
            }
            At::Soft(entry) => self.split_soft(core, table, entry, va),
            // Somebody was faster, or there is nothing to split.
            At::None(_) | At::Table(_) | At::Corrupt(_) => {}
        }
    }

    /// Splits the entry of `va`, if it is `seen`, and puts `copy` in the place of its page there, which
    /// the caller has counted. Says whether it was. What the page's entry would have owned is the
    /// caller's to give back; no CPU has a translation of it.
    ///
    /// Nobody sees a small entry of the old page, so none has to be broken.
    #[doc(alias = "do_huge_pmd_wp_page")]
    pub(crate) fn split_pmd_with(
        &self,
        core: &Core,
        table: &Locked<'_, H, PmdLevel>,
        va: VirtAddr,
        seen: Leaf,
        copy: Leaf,
    ) -> bool {
        match table.at(Level::Pmd.index(va)) {
            At::Present(entry) if entry.leaf().same_mapping(seen) => {
                let Some(spare) = self.spare(table) else { return false };
                let copy = Some((Level::Pte.index(va), copy));
                self.split_mapping(entry.invalidate(&core.context, va), spare, copy);
                true
            }
            _ => false,
        }
    }

    /// Splits an entry that maps a folio, and unmaps it with the same step: 512 migration entries take
    /// over, which own nothing. Where a pin relies on the mapping it is split and stays mapped.
    ///
    /// Context: as [`Mm::split_pmd`]; the folio is locked, and the caller holds a reference of his own.
    #[doc(alias = "split_huge_pmd_address")]
    pub(crate) fn split_pmd_for_migration(
        &self,
        core: &Core,
        table: &Locked<'_, H, PmdLevel>,
        entry: Present<'_, H, PmdLevel>,
        va: VirtAddr,
    ) -> Result<(), Pinned> {
        let Some(spare) = self.spare(table) else { return Err(Pinned) };
        let broken = entry.invalidate(&core.context, va);
        let head = self.note_dirty(broken.leaf());
        let exclusive = self.is_exclusive(head, 0);
        if exclusive && !self.try_share(head, 0..ENTRIES as u64) {
            self.split_mapping(broken, spare, None);
            return Err(Pinned);
        }
        let first = Soft::migration_of(broken.leaf(), exclusive).encode(Level::Pte);
        let fresh = spare.filled(self, first, Leaf::step(Level::Pte));
        // The folio's lock keeps the entries; they count nothing.
        self.uncount_pmd_map(head);
        match self.commits(Mutant::SplitKeepsMapping) {
            true => self.head_put(head, 1),
            false => self.folio_unmap_held(head, 1),
        }
        broken.link(fresh);
        self.count(Event::ThpSplitPmd, 1);
        Ok(())
    }

    /// A folio's pages, by 512 entries. One entry held one reference and one mapping; 512 hold one each,
    /// and have them before the PMD's mapping goes, so that at no instant the folio seems partly
    /// mapped. The exclusive bit for all pages says the same before and after.
    ///
    /// One of the pages may be replaced on the way: its entry is counted here all the same.
    fn split_mapping(&self, broken: Broken<'_, H>, spare: Spare, replaced: Option<(usize, Leaf)>) {
        let head = self.note_dirty(broken.leaf());
        self.folio_map(head, ENTRIES as u32 - 1);
        let first = broken.leaf().piece(0);
        let step = Leaf::step(Level::Pte);
        // A table full of one folio is a table full of contiguous sets.
        let marked = ContSet::new(0, first).map_or(first, ContSet::folded);
        let fresh = spare.filled(self, marked.word(), step);
        if let Some((index, leaf)) = replaced {
            let set = index - index % CONT_PTES;
            fresh.fill(self, set, CONT_PTES, first.nth(set as u64).word(), step);
            fresh.fill(self, index, 1, leaf.word(), 0);
        }
        self.uncount_pmd_map(head);
        broken.link(fresh);
        self.count(Event::ThpSplitPmd, 1);
    }

    /// The folio of a broken huge leaf, which remembers that it was written before the entry that says so
    /// is gone. A huge leaf maps a whole folio, so its frame is the head.
    #[inline]
    fn note_dirty(&self, old: Leaf) -> Pfn {
        self.mark_dirty(old.pfn(), old);
        old.pfn()
    }

    /// A mapping of the folio goes, or is replaced: if it was written, the folio knows.
    #[doc(alias = "folio_mark_dirty")]
    #[inline]
    pub(crate) fn mark_dirty(&self, head: Pfn, old: Leaf) {
        let desc = self.desc(head);
        if old.is_dirty() && !desc.has(Flag::Dirty) && !self.commits(Mutant::TakeOutForgetsDirt) {
            desc.raise(Flag::Dirty);
        }
    }

    /// Memory that nobody counts: 512 entries show the same. Of the huge page of zeros each shows its part
    /// of that: it is never given back, and the small one may not have been made yet.
    #[doc(alias = "__split_huge_zero_page_pmd")]
    fn split_uncounted(
        &self,
        core: &Core,
        table: &Locked<'_, H, PmdLevel>,
        entry: Present<'_, H, PmdLevel>,
        va: VirtAddr,
    ) {
        let Some(spare) = self.spare(table) else { return };
        let broken = entry.invalidate(&core.context, va);
        let first = broken.leaf().piece(0);
        let fresh = spare.filled(self, first.word(), Leaf::step(Level::Pte));
        broken.link(fresh);
        self.count(Event::ThpSplitPmd, 1);
        if self.shows_zeros(first.pfn()) {
            self.count(Event::ThpSplitZeroPmd, 1);
        }
    }

    /// Software's data, for each page. A migration entry owns nothing, so 512 own nothing either; memory
    /// of a device is counted like any that is mapped. Of that nothing is cached; what a migration entry
    /// was may be.
    fn split_soft(
        &self,
        core: &Core,
        table: &Locked<'_, H, PmdLevel>,
        entry: SoftEntry<'_, H, PmdLevel>,
        va: VirtAddr,
    ) {
        let Some(spare) = self.spare(table) else { return };
        let mut soft = entry.soft();
        match soft {
            Soft::DevicePrivate { pfn, .. } => {
                self.folio_map(pfn, ENTRIES as u32 - 1);
                self.uncount_pmd_map(pfn);
            }
            Soft::Migration { pfn, .. } => {
                if self.commits(Mutant::SplitMigrationMkinvalid) {
                    self.invalidate_whatever(core, table, va);
                }
                if self.commits(Mutant::SplitCountsMigration) {
                    self.folio_map(pfn, ENTRIES as u32 - 1);
                }
                // A CPU may still have the block cached: a table takes its place only after a flush.
                if !self.commits(Mutant::SplitMigrationUnflushed) {
                    let _: Flushed = self.flush_leaf::<PmdLevel>(&core.context, va);
                }
                if self.commits(Mutant::SplitMisreadsMigration) {
                    soft = Soft::migration_of(Leaf::user(Level::Pmd, pfn, Prot::Read), false);
                }
            }
            _ => {}
        }
        let fresh = spare.filled(self, soft.encode(Level::Pte), Leaf::step(Level::Pte));
        entry.link(fresh);
        self.count(Event::ThpSplitPmd, 1);
    }

    /// What a known bug does: sets the mark of an invalid leaf on any word.
    #[cold]
    fn invalidate_whatever(&self, core: &Core, table: &Locked<'_, H, PmdLevel>, va: VirtAddr) {
        let slot = Slot::new(table.table(), Level::Pmd.index(va));
        self.hw.store(slot, self.hw.load(slot) & !VALID | PRESENT_INVALID);
        let _: Flushed = self.flush_leaf::<PmdLevel>(&core.context, va);
    }

    /// The table that was put aside with a huge entry of `table`. There is one for each; without it,
    /// memory is corrupt, and the entry stays as it is.
    fn spare(&self, table: &Locked<'_, H, PmdLevel>) -> Option<Spare> {
        let spare = self.withdraw(table.table());
        debug_assert!(spare.is_some(), "no table was put aside with {}", table.table());
        spare
    }
}
