//! The linear map's side of a change: all memory is mapped there a second time, to read and to write.
//!
//! A leaf there can be changed for one frame only where it is a page. Where it is a block, a table of pages that say
//! the same takes its place first. Both are then in TLBs for a while, which CPUs permit at the level of
//! break-before-make that forbids them a conflict abort (FEAT_BBM; see [`pte::BbmLevel`]): there is no other way, as
//! the kernel runs on that memory and there can be no moment without. Where they do not, a block stays as it is, and what
//! is to change comes from `parted`. Pages do not become a block again.
//!
//! Corresponds to Linux's `split_kernel_leaf_mapping` and `set_direct_map_invalid_noflush`.

use super::{PermissionError, Rights};
use crate::mutant::Mutant;
use crate::vmalloc::ranges::Ranges;
use crate::{Hardware, Mm, Note, Slot};
use abi::{Level, PAGE_SIZE, Pfn, VirtAddr, VirtRange};
use pte::{BbmLevel, Entry, Leaf, Table};
use sync::atomic::Ordering;

impl<H: Hardware> Mm<H> {
    /// Tells where all memory is mapped under the kernel's root: physical address 0 at the start of `linear`. Until
    /// then frames have no address of their own.
    ///
    /// Context: the boot, once.
    pub const fn know_linear(&mut self, linear: VirtRange) {
        self.vmalloc.linear = linear;
    }

    /// The frame's address in the linear map, once it is known where that is.
    #[doc(alias = "page_address")]
    pub fn linear_address(&self, pfn: Pfn) -> Option<VirtAddr> {
        let linear = self.vmalloc.linear;
        (pfn.0 < linear.pages()).then(|| linear.start + pfn.base().0)
    }

    /// The frame behind a kernel address where mappings come and go, whatever may be done with it there; behind others
    /// there is none.
    ///
    /// Context: any; the address is in an area of the caller's.
    #[doc(alias = "vmalloc_to_pfn")]
    pub fn vmalloc_frame(&self, va: VirtAddr) -> Option<Pfn> {
        if !self.vmalloc.space.contains(va) {
            return None;
        }
        let (slot, level) = self.leaf_slot(va).ok()?;
        let leaf = pte::decode(level, self.hw.load(slot)).mapping()?;
        Some(leaf.pfn() + va.0 % level.span() / PAGE_SIZE)
    }

    /// Gives each frame of a part a leaf of its own in the linear map. An error leaves what everybody can do with
    /// whatever memory as it was.
    pub(super) fn part_aliases(&self, part: VirtRange) -> Result<(), PermissionError> {
        let mut result = Ok(());
        self.each_page(part, |_, _, leaf| {
            if result.is_ok()
                && let Some(alias) = self.linear_address(leaf.pfn())
            {
                result = self.part_alias(alias);
            }
        });
        result
    }

    fn part_alias(&self, alias: VirtAddr) -> Result<(), PermissionError> {
        loop {
            let (slot, level) = match self.leaf_slot(alias) {
                // What is not mapped has nothing to be changed.
                Err(_) | Ok((_, Level::Pte)) => return Ok(()),
                Ok(block) => block,
            };
            match pte::decode(level, self.hw.load(slot)) {
                Entry::Leaf(leaf) => self.split_block(alias, slot, leaf)?,
                // Somebody was faster.
                Entry::Table(_) | Entry::None => {}
                _ => return Err(PermissionError::Linear(alias, level)),
            }
        }
    }

    /// Puts a table of smaller leaves in a block's place.
    fn split_block(&self, va: VirtAddr, slot: Slot, leaf: Leaf) -> Result<(), PermissionError> {
        let level = leaf.level();
        let may_resize = self.hw.caps().bbm == BbmLevel::L2NoAbort;
        let Some(below) =
            level.down().filter(|_| may_resize || self.commits(Mutant::LinearSplitInUse))
        else {
            return Err(PermissionError::Linear(va, level));
        };
        let table = self.linear_table(leaf, below).map_err(PermissionError::OutOfMemory)?;
        let lock = self.lock_table(slot.table(), level);
        let is_block = self.hw.load(slot) == leaf.word();
        if is_block {
            self.hw.store(slot, Table::kernel(table).word());
            self.vmalloc.tables.fetch_add(1, Ordering::Relaxed);
        }
        drop(lock);
        if is_block {
            // One address of a block is all of it.
            let mut reach = Ranges::new();
            reach.add(VirtRange::from_size(va.align_down(PAGE_SIZE), PAGE_SIZE));
            self.flush_kernel(&reach);
        } else {
            self.hw.note(Note::TableFree(table, below));
            self.free(table);
        }
        Ok(())
    }

    /// Gives the frame's address in the linear map other rights, if it is a page there; which address that is. What is
    /// taken away is still to be flushed.
    pub(super) fn set_alias(&self, pfn: Pfn, rights: Rights) -> Option<VirtRange> {
        let alias = self.linear_address(pfn)?;
        let Ok((slot, Level::Pte)) = self.leaf_slot(alias) else { return None };
        // The frame's owner alone changes its leaf; the lock is the rule of tables that are everybody's.
        let _lock = self.lock_table(slot.table(), Level::Pte);
        pte::decode(Level::Pte, self.hw.load(slot)).mapping()?;
        self.hw.store(slot, rights.leaf(pfn).word());
        Some(VirtRange::from_size(alias, PAGE_SIZE))
    }
}
