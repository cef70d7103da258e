//! How far a run goes: how many stores are like its first, to slots and of frames that are in order.
//!
//! Each question is asked of all stores before the next one is, for a loop that asks one thing is short.

use super::{Run, Stored};
use crate::Oracle;
use crate::shadow::{DebtId, Kind, SlotId};
use abi::{ENTRIES, PAGE_SHIFT};
use pte::bits::ADDRESS;

impl Run {
    /// In how many rows of `N` stores, at most `most`, number `n` is like the first, to the slot behind.
    #[inline(always)]
    fn alike<const N: usize>(&self, stores: &[Stored], n: usize, most: usize) -> usize {
        let (pair, first) = (self.pair, stores[n]);
        let most = most.min(ENTRIES - self.slot.index()).min(stores.len() / N);
        let (mut next, mut alike) = (first.slot.0, 0);
        for row in stores[..most * N].chunks_exact(N) {
            let step = &row[n];
            let follows = step.slot.0 == next && step.site.is(first.site);
            if !follows || !pair.is_like(step.old, step.new, step.how) {
                break;
            }
            (next, alike) = (next + 8, alike + 1);
        }
        alike
    }
}

impl Oracle {
    /// In how many rows of `N` stores, at most `most`, number `n` is of the run: like the first, and its slot and
    /// frame in order.
    #[inline(always)]
    pub(super) fn fitting<const N: usize>(
        &mut self,
        run: &Run,
        stores: &[Stored],
        n: usize,
        most: usize,
    ) -> usize {
        let most = run.alike::<N>(stores, n, most);
        let most = self.in_order::<N>(run, &stores[..most * N], n);
        if !run.pair.facts.names_frame() {
            return most;
        }
        let (frames, mut owned) = (&self.frames[..], 0);
        for row in stores[..most * N].chunks_exact(N) {
            let pfn = (row[n].new & ADDRESS) >> PAGE_SHIFT;
            if let Some(frame) = frames.get(pfn.wrapping_sub(self.first.0) as usize)
                && matches!(frame.kind, Kind::Free | Kind::Table)
            {
                break;
            }
            owned += 1;
        }
        owned
    }

    /// As [`Oracle::fitting`]: how many slots hold what was replaced there, and owe nothing that matters.
    #[inline(always)]
    fn in_order<const N: usize>(&mut self, run: &Run, rows: &[Stored], n: usize) -> usize {
        let Some(first) = rows.get(n) else { return 0 };
        let ours = if run.was { !self.history() } else { u64::MAX };
        let looks_at_cached = run.was && !run.pair.facts.is_cacheable();
        // What is owed stays owed where nothing valid comes instead, and nobody forgets the address.
        let may_owe = !run.is && !run.takes && run.pair.same && first.old != 0;
        let mut gone = DebtId::NONE;
        let Self { tables, book, cpus, .. } = self;
        let slots = &tables[run.table].slots[run.slot.index()..];
        let mut in_order = 0;
        for (row, kept) in rows.chunks_exact(N).zip(slots) {
            let is_other = (row[n].old ^ kept.word()) & ours != 0;
            if is_other || looks_at_cached && kept.cached != run.was_cached {
                break;
            }
            let debt = kept.debt;
            if debt != gone && !may_owe {
                if !book.is_paid(debt, SlotId(run.slot.0 + in_order), cpus) {
                    break;
                }
                // It may be somebody else's by now, and the next slot's after all.
                gone = if book.get(debt).is_none() { debt } else { gone };
            }
            in_order += 1;
        }
        in_order as usize
    }
}
