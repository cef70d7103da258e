//! The fault of a 2 MiB page, and splitting one.
//!
//! # The deposited table
//! Every huge page has an empty PTE table put aside with the PMD table that maps it, so that
//! splitting it later cannot fail for memory. The deposit is a chain through the spare tables'
//! descriptors, headed by the PMD table's, under the PMD table's lock.
//!
//! Corresponds to Linux's `do_huge_pmd_anonymous_page`, `__split_huge_pmd`,
//! `pgtable_trans_huge_deposit`.

use super::fault::{FaultOutcome, touched};
use super::{Space, Vma};
use crate::frame::{Kind, NIL};
use crate::mutant::Mutant;
use crate::{Hardware, Mm, Slot};
use abi::{Access, ENTRIES, Event, Level, Order, Pfn, VirtAddr, VirtRange};
use core::sync::atomic::Ordering::Relaxed;
use pte::{AsidMatch, Depth, Entry, Invalidation, Leaf, Scope, Table};

impl<H: Hardware> Space<'_, H> {
    /// Maps 2 MiB at `range`, whose PMD slot was empty. `None`: no memory for it in one piece, try a
    /// small page.
    #[doc(alias = "do_huge_pmd_anonymous_page")]
    pub(super) fn fault_huge(
        &self,
        vma: &Vma,
        range: VirtRange,
        slot: Slot,
        access: Access,
    ) -> Option<FaultOutcome> {
        let mm = self.mm;
        let Ok(pfn) = mm.alloc(Order::PMD, Kind::Folio) else {
            mm.count(Event::ThpFaultFallback, 1);
            return None;
        };
        let Ok(spare) = mm.table_alloc(Level::Pte) else {
            mm.folio_put(pfn, 1);
            mm.count(Event::ThpFaultFallback, 1);
            return None;
        };
        mm.hw.zero(pfn, Order::PMD);
        mm.count(Event::PgClear, Order::PMD.pages());
        debug_assert!(range.start.is_aligned(Level::Pmd.span()));
        let leaf = touched(Leaf::user(Level::Pmd, pfn, vma.prot), access);
        let lock = mm.lock_table(slot.table(), Level::Pmd);
        if mm.hw.load(slot) != 0 {
            drop(lock);
            mm.table_free(spare, Level::Pte);
            mm.folio_put(pfn, 1);
            return Some(FaultOutcome::Spurious);
        }
        mm.deposit(slot.table(), spare);
        mm.hw.store(slot, leaf.word());
        drop(lock);
        mm.count(Event::ThpFaultAlloc, 1);
        Some(FaultOutcome::Mapped)
    }

    /// If a huge page maps `va`, maps its memory by 512 small entries instead.
    ///
    /// The block is broken first: a small and a huge translation of one address must never be live
    /// at once. The layout is locked for writing.
    #[doc(alias("split_huge_pmd", "__split_huge_pmd"))]
    pub(super) fn split_huge_at(&self, va: VirtAddr) {
        let mm = self.mm;
        let Some(slot) = mm.find_slot(self.root, va, Level::Pmd) else { return };
        let lock = mm.lock_table(slot.table(), Level::Pmd);
        // Under this lock nobody else changes the entry: what is a leaf now stays one but for what
        // hardware writes, and has its deposit.
        let Entry::Leaf(seen) = pte::decode(Level::Pmd, mm.hw.load(slot)) else { return };
        let Some(table) = mm.withdraw(slot.table()) else { return };
        let old = if mm.commits(Mutant::SplitNoBreak) {
            seen.word()
        } else {
            // Only the returned word has what hardware wrote until the exchange.
            let old = mm.hw.swap(slot, seen.invalidated().word());
            // Whoever enters the space after the next line walks the broken entry.
            mm.publish(Scope::InnerShareable);
            if let Some(asid) = self.asid() {
                let span = Level::Pmd.span();
                mm.invalidate(&Invalidation {
                    range: VirtRange::from_size(va.align_down(span), span),
                    stride: Level::Pmd,
                    asid: AsidMatch::Only(asid),
                    depth: Depth::LastLevel,
                    hint: Some(Level::Pmd),
                    scope: Scope::InnerShareable,
                });
            }
            old
        };
        let old = pte::decode(Level::Pmd, old).leaf().unwrap_or(seen);
        // One entry held one reference; 512 entries hold one each.
        mm.folio_get(old.pfn(), ENTRIES as i32 - 1);
        for (index, page) in pieces(old).enumerate() {
            mm.hw.store(Slot::new(table, index), page.word());
        }
        mm.publish(Scope::InnerShareable);
        mm.hw.store(slot, Table::new(table).word());
        mm.publish(Scope::InnerShareable);
        drop(lock);
        mm.count(Event::ThpSplitPmd, 1);
    }
}

/// The 512 small leaves that map what `block` maps, with its rights and its history.
fn pieces(block: Leaf) -> impl Iterator<Item = Leaf> {
    (0..ENTRIES as u64).map(move |index| {
        let page = Leaf::user(Level::Pte, block.pfn() + index, block.prot());
        let page = if block.is_young() { page } else { page.made_old() };
        if block.is_dirty() { page.made_dirty() } else { page }
    })
}

impl<H: Hardware> Mm<H> {
    /// Puts a spare PTE table aside with a PMD table. Under the PMD table's lock.
    #[doc(alias = "pgtable_trans_huge_deposit")]
    pub(crate) fn deposit(&self, pmd_table: Pfn, spare: Pfn) {
        let map = self.frames.map();
        let head = &map.desc(pmd_table).next;
        map.desc(spare).next.store(head.load(Relaxed), Relaxed);
        head.store(map.index(spare), Relaxed);
    }

    /// Takes a spare PTE table back. Under the PMD table's lock, or when nobody else can reach it.
    #[doc(alias = "pgtable_trans_huge_withdraw")]
    pub(crate) fn withdraw(&self, pmd_table: Pfn) -> Option<Pfn> {
        let map = self.frames.map();
        let head = &map.desc(pmd_table).next;
        let index = head.load(Relaxed);
        if index == NIL {
            return None;
        }
        let spare = &map.desc(map.pfn(index)).next;
        head.store(spare.load(Relaxed), Relaxed);
        spare.store(NIL, Relaxed);
        Some(map.pfn(index))
    }
}
