//! A huge folio that is mapped by pages: one entry in the place of 512, without a copy.
//!
//! Nothing moves, so whoever holds the folio goes on holding it. What must not be lost is what the entries
//! say: the history of all of them is the one entry's, and exclusivity is the folio's either for all pages
//! or for none.
//!
//! Linux copies such a folio like any other pages.

use super::CollapseError;
use super::table::Quiet;
use crate::entry::{At, PmdLevel};
use crate::frame::Flag;
use crate::mutant::Mutant;
use crate::space::Vma;
use crate::{Hardware, Mm, Slot};
use abi::{ENTRIES, Level, Order, Pfn};
use pte::Leaf;

impl<H: Hardware> Mm<H> {
    /// The entry that can take the table's place as it is; `None` if its pages have to be copied.
    pub(super) fn whole_leaf(
        &self,
        area: &Vma,
        table: &Quiet,
    ) -> Result<Option<Leaf>, CollapseError> {
        let Some((head, history)) = self.whole_folio(table) else { return Ok(None) };
        let desc = self.desc(head);
        if desc.has(Flag::Locked) {
            return Err(CollapseError::Locked(head));
        }
        let counts = desc.counts();
        let mut exclusive = counts.is_exclusive();
        if !exclusive && counts.is_mixed() {
            let pages = 0..ENTRIES as u64;
            exclusive = pages.clone().all(|page| self.is_exclusive(head, page));
            if exclusive {
                self.set_exclusive(head, pages);
            } else if !self.try_share(head, pages) {
                // A pinned page stays its space's alone, and the others are not that.
                let (refs, expected) = (counts.refs(), counts.maps());
                return Err(CollapseError::Busy { page: head, refs, expected });
            }
        }
        let leaf = Leaf::user(Level::Pmd, head, area.prot).made_old().absorb(history);
        let own = exclusive || self.commits(Mutant::CollapseOwnsShared);
        Ok(Some(if own { leaf } else { leaf.write_protected() }))
    }

    /// The huge folio whose pages the table maps, all of them in order; and a mapping with the history of all.
    fn whole_folio(&self, table: &Quiet) -> Option<(Pfn, Leaf)> {
        let first = self.leaf_at(table.slot(0)).filter(|leaf| !leaf.is_special())?;
        let head = first.pfn();
        let desc = self.frames.map().find(head)?;
        let plain = desc.is_folio_with(0) && desc.order() == Order::PMD && desc.has(Flag::Anon);
        if !plain || first.is_uffd_wp() {
            return None;
        }
        let mut history = first;
        for n in 1..ENTRIES as u64 {
            let word = self.hw.load(table.slot(n as usize));
            // Nearly always the next page with the same history.
            if word == first.nth(n).word() {
                continue;
            }
            let leaf = pte::decode(Level::Pte, word).mapping()?;
            let in_order = leaf.pfn() == head + n || self.commits(Mutant::CollapseOverlooksPages);
            if leaf.is_special() || leaf.is_uffd_wp() || !in_order {
                return None;
            }
            if !self.commits(Mutant::CollapseFirstHistory) {
                history = history.absorb(leaf);
            }
        }
        Some((head, history))
    }

    /// Puts the entry in the table's place, and the table aside. One mapping counts for 512, and the PMD's
    /// comes before the pages' go, so that at no instant the folio seems partly mapped.
    pub(super) fn install_whole(&self, slot: Slot, table: Quiet, leaf: Leaf) {
        let head = leaf.pfn();
        let pmds = self.lock::<PmdLevel>(slot.table());
        let At::None(empty) = pmds.at(slot.index()) else { return };
        self.count_pmd_map(head);
        if !self.commits(Mutant::CollapseKeepsMappings) {
            self.folio_unmap_held(head, ENTRIES as u32 - 1);
        }
        if !self.commits(Mutant::CollapseDepositEarly) {
            self.deposit(slot.table(), table.into_spare());
        }
        empty.set(leaf);
    }
}
