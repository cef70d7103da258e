//! Parts of runs: what is owed for a run of entries is one debt while all of them have the same fate. A step
//! that concerns some of them gives these a debt of their own first.
//!
//! All entries of a run owe it: there are no holes. What a run does not keep, the addresses that its entries
//! led to, is in their slots still: in a word that has the same address, or, where nothing took the entry's
//! place, behind that ([`SlotShadow::emptied`](crate::SlotShadow)). So a slot leaves its run before anything
//! else is stored there.

use crate::cover::Span;
use crate::debt::Taken;
use crate::shadow::{DebtId, SlotId};
use crate::{Oracle, shadow::Owed};
use abi::{PAGE_SHIFT, PAGE_SIZE, Pfn};
use core::ops::Range;
use pte::bits::ADDRESS;

impl Oracle {
    /// The frame that the entry in a slot led to, if that owes a run.
    fn frame_behind(&self, slot: SlotId) -> Option<(u64, usize)> {
        let held = self.tables[self.table_at(slot.frame())?].slots[slot.index()].held;
        Some((held & ADDRESS, self.frame_of(Pfn((held & ADDRESS) >> PAGE_SHIFT))?))
    }

    /// Some entries of what was taken away.
    pub(crate) fn part_of(&self, what: &Taken, part: Range<u16>) -> Taken {
        if !what.is_run() {
            return *what;
        }
        let (first, nr) = (u64::from(part.start), part.end - part.start);
        let slot = SlotId(what.slot.0 + u32::from(part.start));
        let (address, frame) = self.frame_behind(slot).unwrap_or((what.old & ADDRESS, usize::MAX));
        Taken {
            slot,
            nr,
            va: what.va + first * PAGE_SIZE,
            old: what.old & !ADDRESS | address,
            at: what.at + first * u64::from(what.stride),
            frame: if nr > 1 { u32::MAX } else { frame.min(u32::MAX as usize) as u32 },
            ..*what
        }
    }

    /// Gives some entries of a run a debt of their own, and those on the other side of them too.
    pub(crate) fn carve(&mut self, id: DebtId, part: Range<u16>) {
        let Some(whole) = self.book.get(id) else { return };
        let (what, past) = (whole.what, whole.past());
        let (before, behind) = (0..part.start, part.end..what.nr);
        if before.is_empty() && behind.is_empty() {
            return;
        }
        let (stays, leaves) =
            if before.len() > behind.len() { (before, behind) } else { (behind, before) };
        let rest = self.part_of(&what, stays.clone());
        let stays_run = rest.is_run();
        if stays_run && let Some(debt) = self.book.get_mut(id) {
            debt.what = rest;
        } else {
            self.book.remove(id);
        }
        let others = [Some(part), Some(leaves), (!stays_run).then_some(stays)];
        for part in others.into_iter().flatten().filter(|part| !part.is_empty()) {
            let what = self.part_of(&what, part);
            let new = self.book.add(&what, &self.cpus);
            match new.and_then(|new| self.book.get_mut(new)) {
                Some(debt) => debt.inherit(&past),
                None => self.blind.debts += u64::from(what.nr),
            }
            self.hand_to(&what, id, new.unwrap_or(DebtId::NONE));
        }
    }

    /// The slots of `what`, and the frames behind them, owe `new` instead of `old`.
    fn hand_to(&mut self, what: &Taken, old: DebtId, new: DebtId) {
        let Some(table) = self.table_at(what.slot.frame()) else { return };
        for slot in (what.slot.0..what.slot.0 + u32::from(what.nr)).map(SlotId) {
            self.tables[table].slots[slot.index()].debt = new;
            if let Some((_, frame)) = self.frame_behind(slot)
                && let shadow = &mut self.frames[frame]
                && shadow.owed != Owed::Nothing
                && shadow.debt == old
            {
                shadow.debt = new;
            }
        }
    }

    /// A slot that owes a run leaves it; one that is paid is no debt any more.
    #[inline]
    pub(crate) fn part_from_run(&mut self, table: usize, slot: SlotId) {
        let id = self.tables[table].slots[slot.index()].debt;
        if id != DebtId::NONE
            && let Some(debt) = self.book.of_slot(id, slot)
            && debt.what.is_run()
        {
            self.leave_run(id, slot);
        }
    }

    fn leave_run(&mut self, id: DebtId, slot: SlotId) {
        let Some(debt) = self.book.get_mut(id) else { return };
        if debt.is_settled(&self.cpus) {
            return self.book.remove(id);
        }
        let at = (slot.0 - debt.what.slot.0) as u16;
        self.carve(id, at..at + 1);
    }

    /// All entries that led to a frame leave their runs.
    pub(crate) fn part_from_runs(&mut self, frame: usize) {
        let mut at = self.book.first_run();
        while let Some((id, next)) = self.book.next_run(at, &self.cpus) {
            at = next;
            let Some(Taken { slot, nr, .. }) = self.book.get(id).map(|debt| debt.what) else {
                break;
            };
            for slot in (slot.0..slot.0 + u32::from(nr)).map(SlotId) {
                if let Some((_, behind)) = self.frame_behind(slot)
                    && behind == frame
                    && let Some(table) = self.table_at(slot.frame())
                {
                    self.part_from_run(table, slot);
                }
            }
        }
    }

    /// The slots of a table leave their runs: what they remember goes.
    pub(crate) fn dissolve_runs(&mut self, table: usize) {
        let mut at = self.book.first_run();
        while let Some((id, next)) = self.book.next_run(at, &self.cpus) {
            at = next;
            let Some(Taken { slot, nr, .. }) = self.book.get(id).map(|debt| debt.what) else {
                break;
            };
            if slot.frame() == table {
                (1..nr).rev().for_each(|n| self.carve(id, n..n + 1));
            }
        }
    }

    /// Of each run, of `space` if one is named, the addresses in `span` are a part of their own.
    #[inline]
    pub(crate) fn cut_runs(&mut self, span: Span, space: Option<u32>) {
        let mut at = self.book.first_run();
        while let Some((id, next)) = self.book.next_run(at, &self.cpus) {
            at = next;
            let Some(debt) = self.book.get(id) else { break };
            if space.is_some_and(|space| space != debt.what.space) {
                continue;
            }
            let (base, nr) = (debt.what.va.0, u64::from(debt.what.nr));
            let first = span.0.saturating_sub(base) / PAGE_SIZE;
            let end = span.1.saturating_sub(base).div_ceil(PAGE_SIZE).min(nr);
            if first < end {
                self.carve(id, first as u16..end as u16);
            }
        }
    }
}
