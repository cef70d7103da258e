//! Taking a table out of everybody's reach, and back.

use super::CollapseError;
use crate::entry::{At, Detached, PmdLevel, Spare};
use crate::mutant::Mutant;
use crate::space::Core;
use crate::tlb::Gather;
use crate::{Hardware, Mm, Note, Slot};
use abi::{Event, Level, Pfn, VirtRange};
use pte::Entry;

/// Having this means: a table of pages that was linked, and that neither hardware nor software is in, so that
/// its entries stay as they are. What they map is still counted for them.
#[must_use = "a table with its pages is put back, put aside, or given back"]
#[derive(Debug)]
pub(crate) struct Quiet {
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

/// A table that was taken out.
pub(crate) struct Taken {
    /// Where it was linked.
    pub(super) slot: Slot,
    pub(super) table: Quiet,
    /// What a known bug has found out too early.
    early: Option<Result<(), CollapseError>>,
}

impl Taken {
    /// The page.
    #[cfg(loom)]
    pub(crate) fn pfn(&self) -> Pfn {
        self.table.pfn()
    }
}

impl<H: Hardware> Mm<H> {
    /// Steps 2 and 3: takes out the table that serves `block`. `None` if there is no table but a huge entry.
    ///
    /// Context: the block is excluded; no lock of a table.
    pub(crate) fn take_table(
        &self,
        core: &Core,
        block: VirtRange,
    ) -> Result<Option<Taken>, CollapseError> {
        let early = self.commits(Mutant::CollapsePinsFirst).then(|| {
            let slot = self.find_slot(core.root, block.start, Level::Pmd);
            match slot.map(|slot| pte::decode(Level::Pmd, self.hw.load(slot))) {
                Some(Entry::Table(table)) => self.check_pages(block, table.pfn()),
                _ => Ok(()),
            }
        });
        let taken = self.unlink_quietly(core, block)?;
        Ok(taken.map(|(slot, table)| Taken { slot, table, early }))
    }

    /// Step 4: whether all that a table maps can be copied. Nobody can come to hold any of it.
    pub(crate) fn check_taken(&self, block: VirtRange, taken: &Taken) -> Result<(), CollapseError> {
        taken.early.unwrap_or_else(|| self.check_pages(block, taken.table.pfn()))
    }

    /// Unlinks the table that serves `block`, and waits until nobody is in it.
    #[doc(alias("pmdp_collapse_flush", "tlb_remove_table_sync_one"))]
    fn unlink_quietly(
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
