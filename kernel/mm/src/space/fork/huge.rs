//! Copying huge entries: several under one lock, each with a deposited table of its own.
//!
//! Where a pin forbids that the memory be shared, the parent's entry is split, and the pages decide one by
//! one.
//!
//! Corresponds to Linux's `copy_huge_pmd`.

use super::Copy;
use crate::entry::{At, Locked, PmdLevel};
use crate::frame::OutOfMemory;
use crate::mutant::Mutant;
use crate::{Hardware, Slot};
use abi::{Level, PMD_SIZE, VirtAddr, VirtRange};
use pte::Leaf;

impl<H: Hardware> Copy<'_, '_, H> {
    /// Copies the huge entries that serve `range`, from `slot` on in one table, or the software data in
    /// their places; each gets a deposited table of its own.
    #[doc(alias = "copy_huge_pmd")]
    pub(super) fn huge(&mut self, slot: Slot, range: VirtRange) -> Result<(), OutOfMemory> {
        let mm = self.mm;
        let all = (range.bytes() / PMD_SIZE) as usize;
        let va = |n: usize| range.start + n as u64 * PMD_SIZE;
        let mut at = 0;
        while at < all {
            let to = self.childs_slot(va(at))?;
            let (begin, end) = (at, at + self.spares.fetch(mm, all - at)?);
            let table = mm.lock::<PmdLevel>(slot.table());
            while at < end && self.huge_entry(&table, va(at), to.ahead(at - begin)) {
                at += 1;
            }
            drop(table);
            if at < end {
                // Somebody relies on some of it: page by page.
                mm.split_huge_at(&self.parent.core, va(at));
                self.pages(slot.ahead(at), va(at))?;
                at += 1;
            }
        }
        Ok(())
    }

    /// Copies one huge entry to `to`. Not if a pin forbids that its memory be shared.
    #[inline]
    fn huge_entry(&mut self, table: &Locked<'_, H, PmdLevel>, va: VirtAddr, to: Slot) -> bool {
        let mm = self.mm;
        let word = match table.at(Level::Pmd.index(va)) {
            At::Present(entry) => {
                let leaf = entry.leaf();
                if !self.share_huge(leaf) {
                    return false;
                }
                let mut copy = leaf;
                if leaf.is_writable() && !leaf.is_special() {
                    copy = entry.modify(|leaf| mm.protected(leaf));
                    copy = copy.write_protected();
                    self.narrowed(VirtRange::from_size(va, PMD_SIZE), Level::Pmd);
                }
                copy.word()
            }
            At::Soft(entry) => {
                let soft = entry.soft();
                mm.soft_dup(Level::Pmd, soft);
                let shared = mm.shared(soft);
                entry.replace(shared);
                self.gather.changed_soft(VirtRange::from_size(va, PMD_SIZE), Level::Pmd, soft);
                shared.encode(Level::Pmd)
            }
            At::None(_) | At::Table(_) | At::Corrupt(_) => return true,
        };
        mm.hw.store(to, word);
        if let Some(spare) = self.spares.pop() {
            mm.deposit(to.table(), spare);
        }
        true
    }

    /// Counts one more huge entry, and makes the folio shared, unless a pin forbids it.
    fn share_huge(&self, leaf: Leaf) -> bool {
        let mm = self.mm;
        if leaf.is_special() {
            return true;
        }
        // A huge leaf maps a whole folio.
        let head = leaf.pfn();
        let Some(desc) = mm.frames.map().find(head) else { return true };
        let pinning = self.pinning && !mm.commits(Mutant::ForkIgnoresHugePins);
        let shared = mm.share_whole(head, desc, 1, pinning);
        if shared {
            mm.count_pmd_map(head);
        }
        shared
    }
}
