//! What a change takes away becomes a debt.

use crate::Oracle;
use crate::debt::Taken;
use crate::shadow::{DebtId, Owed};
use crate::site::SiteId;
use crate::stores::Change;
use crate::tables::Place;
use abi::Level;
use pte::Entry;
use pte::bits::{ADDRESS, VALID};

impl Oracle {
    /// The debt for what a slot held. `known` is what the slot owed before: the same translation is owed once.
    pub(crate) fn owe(&mut self, change: &Change, known: DebtId, now: u64, site: SiteId) -> DebtId {
        let Place::Root { va, root } = change.place else { return known };
        let Change { slot, level, old, cpu, .. } = *change;
        let (space, asid) = (self.tables[root].space, self.tables[root].asid);
        let left = self.holders(change);
        if let Some(debt) = self.book.get_mut(known)
            && debt.what.slot == slot
        {
            if debt.is_settled(&self.cpus) {
                self.book.remove(known);
            } else if debt.what.space == space && (debt.what.old ^ old) & ADDRESS == 0 {
                debt.renew(now, cpu, site, left);
                return known;
            }
        }
        let is_walk = matches!(pte::decode(level, old), Entry::Table(_));
        let below = self.child(level, old).filter(|_| is_walk);
        let hull = below.map_or((0, 0), |below| self.hull(below, va));
        let asid = asid.unwrap_or(abi::Asid(0));
        // Fewer rights to what the kernel's half maps are no matter of who owns it, nor what is in quarantine.
        let is_frames =
            !self.is_kernels(change) || (change.new & VALID == 0 && !self.is_quarantined(change));
        let (at, frame) = (now, if is_frames { self.leaf_frame(level, old) } else { u32::MAX });
        let what = Taken {
            slot,
            nr: 1,
            stride: 1,
            level,
            va,
            old,
            is_walk,
            space,
            asid,
            left,
            at,
            cpu,
            site,
            hull,
            frame,
        };
        self.enter_in_book(&what)
    }

    /// The number of the first frame that a leaf leads to; all ones if there is none.
    fn leaf_frame(&self, level: Level, word: u64) -> u32 {
        let frame = Self::leads_to(level, word).and_then(|(pfn, _)| self.frame_of(pfn));
        frame.map_or(u32::MAX, |frame| frame as u32)
    }

    /// A debt for `what`, found by whoever frees its frame.
    #[inline(always)]
    pub(crate) fn enter_in_book(&mut self, what: &Taken) -> DebtId {
        let Some(id) = self.book.add(what, &self.cpus) else {
            self.blind.debts += u64::from(what.nr);
            return DebtId::NONE;
        };
        if (what.frame as usize) < self.frames.len() {
            self.owe_frame(what.frame as usize, id);
        }
        id
    }

    /// `id` is a debt for a leaf that began at `frame`.
    #[inline(always)]
    pub(crate) fn owe_frame(&mut self, frame: usize, id: DebtId) {
        let shadow = &mut self.frames[frame];
        if shadow.owed == Owed::Nothing {
            (shadow.owed, shadow.debt) = (Owed::One, id);
        } else {
            self.owe_frame_more(frame, id);
        }
    }

    /// As [`Oracle::owe_frame`], where there was a debt before: it may be one of the same run.
    fn owe_frame_more(&mut self, frame: usize, id: DebtId) {
        let Self { frames, book, cpus, .. } = self;
        let shadow = &mut frames[frame];
        if book.get_mut(shadow.debt).is_some_and(|debt| !debt.is_settled(cpus)) {
            shadow.owed = Owed::Some;
        }
        shadow.debt = id;
    }
}
