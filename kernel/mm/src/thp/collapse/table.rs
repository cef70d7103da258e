//! Taking a table out of everybody's reach, and back.

use super::CollapseError;
use crate::entry::{At, Detached, PmdLevel, Spare};
use crate::mutant::Mutant;
use crate::space::Core;
use crate::tlb::Gather;
use crate::{Hardware, Mm, Note, Slot};
use abi::{Event, Level, Pfn, VirtRange};

/// Having this means: a table of pages that was linked, and that neither hardware nor software is in, so that
/// its entries stay as they are. What they map is still counted for them.
#[must_use = "a table with its pages is put back, put aside, or given back"]
#[derive(Debug)]
pub(super) struct Quiet {
    table: Detached,
}

impl Quiet {
    /// Entry `index`.
    pub(super) fn slot(&self, index: usize) -> Slot {
        Slot::new(self.pfn(), index)
    }

    pub(super) fn pfn(&self) -> Pfn {
        self.table.pfn()
    }

    /// To be put aside: what its entries owned is somebody else's.
    pub(super) fn into_spare(self) -> Spare {
        Spare::of(self.pfn())
    }

    /// Gives back the table and what its entries own.
    pub(super) fn reap<H: Hardware>(self, mm: &Mm<H>) {
        mm.reap(self.pfn(), Level::Pte);
    }
}

impl<H: Hardware> Mm<H> {
    /// Unlinks the table that serves `block`, and waits until nobody is in it. `None` if there is no table
    /// but a huge entry.
    ///
    /// Context: the block is excluded; no lock of a table.
    #[doc(alias("pmdp_collapse_flush", "tlb_remove_table_sync_one"))]
    pub(super) fn unlink_quietly(
        &self,
        core: &Core,
        block: VirtRange,
    ) -> Result<Option<(Slot, Quiet)>, CollapseError> {
        let slot = self.find_slot(core.root, block.start, Level::Pmd);
        let slot = slot.ok_or(CollapseError::Empty(block))?;
        let pmds = self.lock::<PmdLevel>(slot.table());
        let table = match pmds.at(slot.index()) {
            At::Table(linked) => linked.unlink(),
            At::None(_) => return Err(CollapseError::Empty(block)),
            At::Present(_) | At::Soft(_) | At::Corrupt(_) => return Ok(None),
        };
        if self.commits(Mutant::CollapseDepositEarly) {
            self.deposit(slot.table(), Spare::of(table.pfn()));
        }
        drop(pmds);
        self.flush_collapsed(core, block);
        // The full fence of the wait is also the one between clearing the entry and looking for pins.
        if !self.commits(Mutant::CollapseNoGrace) && self.walkers.synchronize(&self.hw) {
            self.count(Event::WalkerGrace, 1);
        }
        Ok(Some((slot, Quiet { table })))
    }

    /// Removes what may be cached of the block: any of its pages, and walks through the table. So all
    /// levels, in steps of a page, without a hint.
    fn flush_collapsed(&self, core: &Core, block: VirtRange) {
        let mut gather = Gather::new(self, &core.context);
        match self.commits(Mutant::CollapseLevelHint) {
            true => gather.changed(block, Level::Pmd),
            false => gather.unlinked(block),
        }
        gather.invalidate();
        gather.finish();
        self.hw.note(Note::Done(core.root, block));
    }

    /// Puts a table back where it was, as it was. No flush: of nothing, nothing is cached.
    #[doc(alias = "pmd_populate")]
    pub(super) fn relink(&self, slot: Slot, table: Quiet) {
        let pmds = self.lock::<PmdLevel>(slot.table());
        if self.commits(Mutant::CollapseForgetsTable) {
            return;
        }
        if let At::None(empty) = pmds.at(slot.index()) {
            empty.relink(table.table);
        }
    }
}
