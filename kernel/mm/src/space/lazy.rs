//! Memory that a program has given up but may still find: MADV_FREE.
//!
//! Giving up makes an entry old and clean, flushes that, and marks the folio. From then on a write is
//! noticed, by hardware that records it in the entry or by a fault that does, and keeps the page. When
//! memory is short, [`Mm::reclaim_lazy`] takes away what is marked, still clean, and in nobody else's
//! hands.
//!
//! # The order that makes it right
//! Reclaim clears the entry, waits until no CPU has it, and only then looks: at the history that left
//! the entry with it, which nothing can add to any more, and at the references, of which a lockless
//! walker has taken one visibly before it looked at the entry again. If either speaks for the page, the
//! entry comes back as it was. The mark is read after the references: whoever held the page to write to it
//! takes the mark away first and gives his reference back then.
//!
//! Whole folios are given up, or nothing of them: the mark is the folio's.
//!
//! Corresponds to Linux's `madvise_free_pte_range`, `madvise_free_huge_pmd`, and the part of
//! `try_to_unmap_one` that is for folios which are not swap-backed.

use super::blocks::Blocks;
use super::{AdviseError, Backing, Core, Space, Vma};
use crate::entry::{At, Locked, PmdLevel, PteLevel};
use crate::frame::{Counts, Flag};
use crate::mutant::Mutant;
use crate::tlb::Gather;
use crate::{Hardware, Mm, Slot};
use abi::{ENTRIES, Event, Level, PAGE_SIZE, PMD_SIZE, Pfn, VirtRange};
use core::sync::atomic::Ordering::Relaxed;
use pte::{Entry, Leaf};
use sync::atomic::{Ordering, fence};

/// Folios that are taken out of one table under one flush.
const BATCH: usize = 32;

impl<H: Hardware> Space<'_, H> {
    /// Gives up the whole folios in a part of a block.
    #[doc(alias("madvise_free_single_vma", "madvise_free_pte_range"))]
    pub(super) fn free_part(&self, area: &Vma, part: VirtRange) -> Result<(), AdviseError> {
        let mm = self.mm;
        if area.backing == Backing::Frames {
            return Err(AdviseError::Frames(area.range));
        }
        let Some(slot) = mm.find_slot(self.core.root, part.start, Level::Pmd) else {
            return Ok(());
        };
        self.core.lazy.store(true, Relaxed);
        let mut gather = Gather::new(mm, &self.core.context);
        if let Some(table) = mm.lock_below(slot) {
            mm.give_up_pages(&mut gather, &table, part);
            self.pay(&mut gather, part);
        } else if part.bytes() == PMD_SIZE {
            let table = mm.lock::<PmdLevel>(slot.table());
            mm.give_up_huge(&mut gather, &table, part);
            self.pay(&mut gather, part);
        }
        gather.finish();
        Ok(())
    }
}

impl<H: Hardware> Mm<H> {
    fn give_up_pages(
        &self,
        gather: &mut Gather<'_, H>,
        table: &Locked<'_, H, PteLevel>,
        part: VirtRange,
    ) {
        let first = Slot::new(table.table(), Level::Pte.index(part.start));
        let pages = part.pages() as usize;
        let mut at = 0;
        while at < pages {
            let slot = first.ahead(at);
            let mut n = 1;
            if let Some(leaf) = self.leaf_at(slot) {
                n = self.run_length(slot, leaf, pages - at);
                if let Some(head) = self.sole_owner(leaf, n as u32) {
                    self.desc(head).raise(Flag::Lazy);
                    self.give_up_run(slot, n);
                    let va = part.start + at as u64 * PAGE_SIZE;
                    if !self.commits(Mutant::FreeNoFlush) {
                        gather.changed(VirtRange::from_size(va, n as u64 * PAGE_SIZE), Level::Pte);
                    }
                }
            } else if let Entry::Soft(soft) = pte::decode(Level::Pte, self.hw.load(slot)) {
                // It stays; but when this is over, nobody uses what it was.
                let va = part.start + at as u64 * PAGE_SIZE;
                gather.changed_soft(VirtRange::from_size(va, PAGE_SIZE), Level::Pte, soft);
            }
            at += n;
        }
    }

    /// The `n` mappings from `slot` on become old and clean, whatever the rights of each.
    fn give_up_run(&self, slot: Slot, n: usize) {
        let mut done = 0;
        while done < n
            && let Some(leaf) = self.leaf_at(slot.ahead(done))
        {
            done += self.rewrite_run(slot.ahead(done), leaf, n - done, given_up);
        }
    }

    #[doc(alias = "madvise_free_huge_pmd")]
    fn give_up_huge(
        &self,
        gather: &mut Gather<'_, H>,
        table: &Locked<'_, H, PmdLevel>,
        part: VirtRange,
    ) {
        let entry = match table.at(Level::Pmd.index(part.start)) {
            At::Present(entry) => entry,
            At::Soft(entry) => return gather.changed_soft(part, Level::Pmd, entry.soft()),
            _ => return,
        };
        let Some(head) = self.sole_owner(entry.leaf(), 1) else { return };
        self.desc(head).raise(Flag::Lazy);
        entry.modify(given_up);
        if !self.commits(Mutant::FreeNoFlush) {
            gather.changed(part, Level::Pmd);
        }
    }

    /// The folio whose only owners are `n` entries, of which the first is `leaf`, and which all of them
    /// together map whole; `None` if there is anybody else.
    fn sole_owner(&self, leaf: Leaf, n: u32) -> Option<Pfn> {
        if leaf.is_special() {
            return None;
        }
        let head = self.frames.map().head(leaf.pfn())?;
        // Acquire: whoever held it for writing and gave it back took the mark away before.
        let order = self.order(Ordering::Acquire, Mutant::LazyMarkFirst);
        let counts = Counts(self.desc(head).counts.load(order));
        let pages = self.desc(head).order().pages();
        let whole = leaf.pfn() == head && leaf.order().pages() * u64::from(n) == pages
            || self.commits(Mutant::LazyPart);
        (whole && counts.is_exclusive() && counts.maps() == n && counts.refs() == n).then_some(head)
    }

    // --- taking it away --------------------------------------------------------------------------

    /// Takes away pages that programs have given up and not written since, at least `wanted` of them if
    /// there are that many; says how many it took.
    ///
    /// Context: thread, may sleep; no claim, no folio's lock. A space that is being changed is passed by.
    #[doc(alias("shrink_folio_list", "folio_test_swapbacked"))]
    pub fn reclaim_lazy(&self, wanted: u64) -> u64 {
        let mut taken = 0;
        self.each_core(|core| {
            if taken < wanted && core.lazy.load(Relaxed) {
                taken += self.reclaim_lazy_of(core, wanted - taken);
            }
        });
        taken
    }

    fn reclaim_lazy_of(&self, core: &Core, wanted: u64) -> u64 {
        let whole = VirtRange::new(super::USER_START, super::USER_END);
        let Some(((), _claim)) = core.layout.try_read_whole(&self.hw, |_| ()) else { return 0 };
        // What is given up from here on may be in a table that was passed already.
        core.lazy.store(false, Relaxed);
        let mut taken = 0;
        for (slot, part) in Blocks::new(self, core.root, whole) {
            if taken >= wanted {
                core.lazy.store(true, Relaxed);
                break;
            }
            if let Some(table) = self.lock_below(slot) {
                taken += self.take_pages(core, &table, part);
            } else {
                let table = self.lock::<PmdLevel>(slot.table());
                taken += self.take_huge(core, &table, part);
            }
        }
        self.count(Event::PgLazyFreed, taken);
        taken
    }

    /// Takes what it can out of one table of pages.
    fn take_pages(&self, core: &Core, table: &Locked<'_, H, PteLevel>, part: VirtRange) -> u64 {
        let first = Slot::new(table.table(), 0);
        let mut taken = 0;
        let mut at = 0;
        while at < ENTRIES {
            let mut batch = [None; BATCH];
            let mut len = 0;
            let begin = at;
            while at < ENTRIES && len < BATCH {
                let slot = first.ahead(at);
                let mut n = 1;
                if let Some(leaf) = self.leaf_at(slot) {
                    n = self.run_length(slot, leaf, ENTRIES - at);
                    // What comes back comes back alike: entries of other rights are left alone.
                    let alike = |i: usize| leaf.sibling(self.hw.load(slot.ahead(i))).is_some();
                    if self.is_given_up(leaf, n as u32) && (1..n).all(alike) {
                        batch[len] = Some((slot, self.clear_run(slot, leaf, n), n));
                        len += 1;
                    }
                }
                at += n;
            }
            if len == 0 {
                continue;
            }
            let start = part.start.align_down(PMD_SIZE);
            let page = |n: usize| start + n as u64 * PAGE_SIZE;
            let _flushed =
                self.flush(&core.context, VirtRange::new(page(begin), page(at)), Level::Pte);
            fence(Ordering::SeqCst);
            for (slot, leaf, n) in batch.into_iter().flatten() {
                if self.is_given_up(leaf, n as u32) {
                    self.folio_unmap(leaf.pfn(), n as u32);
                    taken += n as u64;
                } else {
                    (0..n).for_each(|i| self.hw.store(slot.ahead(i), leaf.nth(i as u64).word()));
                }
            }
        }
        taken
    }

    fn take_huge(&self, core: &Core, table: &Locked<'_, H, PmdLevel>, part: VirtRange) -> u64 {
        let index = Level::Pmd.index(part.start);
        let At::Present(entry) = table.at(index) else { return 0 };
        if !self.is_given_up(entry.leaf(), 1) {
            return 0;
        }
        let unmapped = entry.clear();
        let flushed = self.flush_leaf::<PmdLevel>(&core.context, part.start);
        fence(Ordering::SeqCst);
        let leaf = unmapped.leaf();
        if !self.is_given_up(leaf, 1) {
            // Nobody else stores there while the lock is held.
            self.hw.store(Slot::new(table.table(), index), leaf.word());
            return 0;
        }
        if let Some(spare) = self.withdraw(table.table()) {
            spare.discard(self);
        }
        unmapped.release(self, &flushed);
        leaf.order().pages()
    }

    /// Clears the entries of a folio; the first of them, with the history of all.
    fn clear_run(&self, slot: Slot, first: Leaf, n: usize) -> Leaf {
        (0..n).fold(first, |leaf, i| {
            let old = pte::decode(Level::Pte, self.hw.swap(slot.ahead(i), 0)).mapping();
            old.map_or(leaf, |old| leaf.absorb(old))
        })
    }

    /// Whether these entries are all that is left of a folio that was given up and not written since.
    pub(crate) fn is_given_up(&self, leaf: Leaf, n: u32) -> bool {
        !leaf.is_dirty()
            && self.sole_owner(leaf, n).is_some_and(|head| self.desc(head).has(Flag::Lazy))
    }
}

/// The mapping of what was given up: a write to it is noticed.
fn given_up(leaf: Leaf) -> Leaf {
    leaf.made_clean().made_old()
}
