//! Where a slot stands, for people.

use crate::Oracle;
use crate::shadow::{DebtId, SlotId};
use crate::tables::Place;
use abi::{PAGE_SIZE, PhysAddr};
use core::fmt;
use pte::bits::VALID;

/// The state of one slot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SlotState {
    /// Nothing hardware could use, and nothing left of what was there.
    Clean,
    /// Hardware may use it, and has nothing that gives more.
    Live,
    /// Hardware may use it, and may have a translation that permits more.
    Tightened,
    /// Made invalid, and not yet flushed.
    Broken,
    /// Flushed, and not yet waited for.
    Flushed,
    /// Owed by an operation that has released the table's lock meanwhile.
    Deferred,
    /// In a table that was taken out: nothing changes until walkers have left.
    Frozen,
    /// In a table that was taken out, and walkers have left: its page may be freed.
    Quarantined,
}

impl fmt::Display for SlotState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Clean => "clean",
            Self::Live => "live",
            Self::Tightened => "tightened",
            Self::Broken => "broken",
            Self::Flushed => "flushed, not synchronised",
            Self::Deferred => "deferred",
            Self::Frozen => "frozen",
            Self::Quarantined => "quarantined",
        })
    }
}

impl Oracle {
    /// Where a slot stands; `None` for one of a page that is no watched table.
    pub fn state(&mut self, slot: PhysAddr) -> Option<SlotState> {
        let frame = self.frame_of(slot.pfn())?;
        let id = SlotId::new(frame, (slot.0 % PAGE_SIZE / 8) as usize);
        let shadow = self.tables[self.table_at(frame)?].slots[id.index()];
        let is_live = shadow.word() & VALID != 0;
        if let Place::Loose { top, .. } = self.place(id)? {
            let was_linked = self.tables[top].unlinked != DebtId::NONE;
            let debt = self.walk_debt(top);
            return Some(match (debt.is_some_and(|debt| self.is_unpaid(debt)), was_linked) {
                (true, _) => SlotState::Frozen,
                (false, true) => SlotState::Quarantined,
                (false, false) => SlotState::Clean,
            });
        }
        let mine = self.book.of_slot(shadow.debt, id).is_some() && self.is_unpaid(shadow.debt);
        let Some(debt) = self.book.get(shadow.debt).filter(|_| mine) else {
            return Some(if is_live { SlotState::Live } else { SlotState::Clean });
        };
        Some(if debt.is_issued(&self.cpus) {
            SlotState::Flushed
        } else if is_live {
            SlotState::Tightened
        } else if self.cpus.has_released(debt.what.cpu, debt.what.at) {
            SlotState::Deferred
        } else {
            SlotState::Broken
        })
    }

    fn is_unpaid(&mut self, id: DebtId) -> bool {
        let cpus = &self.cpus;
        self.book.get_mut(id).is_some_and(|debt| !debt.is_settled(cpus))
    }
}
