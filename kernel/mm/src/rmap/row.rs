//! Small folios with names one after the other, taken out and put back together: one walk for all of them,
//! one fence and one look at each entry's table.
//!
//! The steps are those of [`super::take_out`] and [`super::put_back`], without what only large folios have:
//! contiguous sets, parts, a bitmap of exclusive pages.

use super::{Mapping, Owner, Stretch};
use crate::entry::{Locked, PteLevel};
use crate::frame::{Counts, Flag, PIN_BIAS};
use crate::mutant::Mutant;
use crate::tlb::Owed;
use crate::{Hardware, Mm, Note, Slot};
use abi::{Level, PAGE_SIZE, Pfn, VirtRange};
use core::ops::{ControlFlow, Range};
use core::sync::atomic::Ordering;
use pte::{Entry, Leaf, Soft};

impl<H: Hardware> Mm<H> {
    /// As [`Mm::try_to_migrate`], of `n` small folios: the first is called `owner`, each further one is the
    /// next, and number `i` is in frame `frame(i)`. What a pin relies on stays mapped.
    ///
    /// Context: as there, for each of them.
    pub(crate) fn try_to_migrate_row(
        &self,
        owner: Owner,
        n: u64,
        frame: &dyn Fn(u64) -> Pfn,
        owed: &mut Owed<'_, H>,
    ) {
        self.rmap_walk(owner, n, |stretch| {
            if let Some(Mapping::Pages(table)) =
                self.lock_mapping(stretch.core, stretch.range.start)
            {
                self.take_row_out(stretch, &table, frame, owed);
            }
            ControlFlow::Continue(())
        });
    }

    /// As [`Mm::remove_migration`], of such a row: number `i` was in frame `places(i).0` and is in
    /// `places(i).1` now.
    pub(crate) fn remove_migration_row(
        &self,
        owner: Owner,
        n: u64,
        places: &dyn Fn(u64) -> (Pfn, Pfn),
    ) {
        self.rmap_walk(owner, n, |stretch| {
            if let Some(Mapping::Pages(table)) =
                self.lock_mapping(stretch.core, stretch.range.start)
            {
                self.hw.note(Note::Done(stretch.core.root, stretch.range));
                self.put_row_back(stretch, &table, places);
            }
            ControlFlow::Continue(())
        });
    }

    fn take_row_out(
        &self,
        stretch: &Stretch<'_>,
        table: &Locked<'_, H, PteLevel>,
        frame: &dyn Fn(u64) -> Pfn,
        owed: &mut Owed<'_, H>,
    ) {
        let slots = stretch.slots();
        let slot = |n: usize| Slot::new(table.table(), slots.start + n);
        let mut found: Option<Range<usize>> = None;
        let mut valid = false;
        for n in 0..slots.len() {
            let (Entry::Leaf(leaf) | Entry::ProtNone(leaf)) =
                pte::decode(Level::Pte, self.hw.load(slot(n)))
            else {
                continue;
            };
            if leaf.pfn() != frame(stretch.first + n as u64) || leaf.is_special() {
                continue;
            }
            debug_assert!(!leaf.is_contiguous(), "a small folio in a contiguous set");
            if leaf.is_valid() {
                self.invalidate_page(slot(n), leaf);
                valid = true;
            }
            if found.is_none() {
                self.fence_first(Mutant::RowFencedFirst);
            }
            found = Some(found.map_or(n, |found| found.start)..n + 1);
        }
        let Some(found) = found else { return };
        // Of all of them: whoever pins one either is seen below or sees its entry changed.
        if !self.commits(Mutant::RowFencedFirst) {
            self.fence(Mutant::ShareUnfenced);
        }
        for n in found.clone() {
            match pte::decode(Level::Pte, self.hw.load(slot(n))) {
                Entry::PresentInvalid(leaf) | Entry::ProtNone(leaf)
                    if leaf.pfn() == frame(stretch.first + n as u64) =>
                {
                    self.suspend_small(slot(n), leaf);
                }
                _ => {}
            }
        }
        if valid && !self.commits(Mutant::TakeOutNoFlush) {
            let start = stretch.range.start + found.start as u64 * PAGE_SIZE;
            let range = VirtRange::from_size(start, found.len() as u64 * PAGE_SIZE);
            owed.add(stretch.core, range, Level::Pte);
        }
    }

    /// Makes a migration entry of an invalid one that maps a small folio; or makes it what it was, where a
    /// pin relies on it. What its TLB entry permits is what it permitted.
    #[inline]
    fn suspend_small(&self, at: Slot, leaf: Leaf) {
        let desc = self.desc(leaf.pfn());
        let counts = desc.counts();
        let exclusive = counts.is_exclusive();
        if exclusive && counts.refs() >= PIN_BIAS && !self.commits(Mutant::TakeOutPinned) {
            if let Entry::PresentInvalid(leaf) = pte::decode(Level::Pte, self.hw.load(at)) {
                self.hw.store(at, leaf.revalidated().word());
            }
            return;
        }
        self.mark_dirty(leaf.pfn(), leaf);
        self.hw.store(at, Soft::migration_of(leaf, exclusive).encode(Level::Pte));
        // Exclusive it was by this entry, whose lock is held: nobody else touches that bit.
        let gone = Counts::mappings(1) + if exclusive { Counts::EXCLUSIVE } else { 0 };
        let before = Counts(desc.counts.fetch_sub(gone, Ordering::AcqRel));
        debug_assert!(before.maps() > 0 && before.refs() > 1, "unmapped too often: {before:?}");
    }

    fn put_row_back(
        &self,
        stretch: &Stretch<'_>,
        table: &Locked<'_, H, PteLevel>,
        places: &dyn Fn(u64) -> (Pfn, Pfn),
    ) {
        let slots = stretch.slots();
        for n in 0..slots.len() {
            let slot = Slot::new(table.table(), slots.start + n);
            let Entry::Soft(soft) = pte::decode(Level::Pte, self.hw.load(slot)) else { continue };
            let Soft::Migration { pfn, kind, .. } = soft else { continue };
            let (was, now) = places(stretch.first + n as u64);
            if pfn != was {
                continue;
            }
            let desc = self.desc(now);
            let dirty = desc.has(Flag::Dirty);
            let leaf = Leaf::restored(Level::Pte, soft.with_pfn(now), stretch.prot, dirty);
            if let Some(leaf) = leaf {
                self.map_page_back(desc, kind);
                self.hw.store(slot, leaf.word());
            }
        }
    }
}
