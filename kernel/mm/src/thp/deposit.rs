//! Tables put aside: every huge entry of an anonymous area has a table of pages deposited with the
//! PMD table that holds it, so that splitting it later cannot fail for memory.
//!
//! The deposit is a chain through the spare tables' descriptors, headed by the PMD table's, under the
//! PMD table's lock.
//!
//! Corresponds to Linux's `pgtable_trans_huge_deposit` and `pgtable_trans_huge_withdraw`.

use crate::entry::Spare;
use crate::frame::NIL;
use crate::mutant::Mutant;
use crate::{Hardware, Mm};
use abi::Pfn;
use sync::atomic::{AtomicU32, Ordering::Relaxed};

impl<H: Hardware> Mm<H> {
    /// Where a PMD table's chain begins.
    #[inline]
    fn deposits(&self, pmd_table: Pfn) -> &AtomicU32 {
        match self.mutants.deposits().filter(|_| self.commits(Mutant::DepositsShared)) {
            Some(shared) => shared,
            None => &self.desc(pmd_table).next,
        }
    }

    /// Puts a spare table aside with a PMD table. Under the PMD table's lock.
    #[doc(alias = "pgtable_trans_huge_deposit")]
    #[inline]
    pub(crate) fn deposit(&self, pmd_table: Pfn, spare: Spare) {
        let head = self.deposits(pmd_table);
        self.desc(spare.pfn()).next.store(head.load(Relaxed), Relaxed);
        head.store(self.frames.map().index(spare.pfn()), Relaxed);
    }

    /// Takes a spare table back. Under the PMD table's lock, or when nobody else can reach it.
    #[doc(alias = "pgtable_trans_huge_withdraw")]
    #[inline]
    pub(crate) fn withdraw(&self, pmd_table: Pfn) -> Option<Spare> {
        let head = self.deposits(pmd_table);
        let index = head.load(Relaxed);
        if index == NIL {
            return None;
        }
        let spare = self.frames.map().pfn(index);
        let next = &self.desc(spare).next;
        head.store(next.load(Relaxed), Relaxed);
        next.store(NIL, Relaxed);
        Some(Spare::of(spare))
    }
}
