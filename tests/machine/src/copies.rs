//! Spaces with the kernel's first-level entries in tables of their own, on machines that are configured so: as on x86,
//! where one register leads to both halves. A CPU without a user space walks the kernel's own.
//!
//! A copy is made with the space, and has from then on what [`mm::Hardware::sync_kernel`] brings. So a table that was
//! linked under the kernel's root and not brought to the copies is missing in every space but for those made since: an
//! access there faults, or not, by who runs.
//!
//! Linux: `pgd_ctor`, `arch_sync_kernel_mappings`, `sync_global_pgds`.

use crate::{Machine, State};
use abi::{ENTRIES, Level, Pfn, PhysAddr, VirtAddr, VirtRange};
use std::collections::BTreeMap;

/// By the root of a space: its own first-level entries of the kernel's half.
#[derive(Default)]
pub(crate) struct Copies(BTreeMap<Pfn, Box<[u64; ENTRIES]>>);

impl State {
    /// What is in the kernel's first-level table.
    fn original(&self, index: usize) -> u64 {
        let slot = self.tables.kernel_root().map(|root| root.base() + 8 * index as u64);
        slot.and_then(|slot| self.memory.read(slot)).unwrap_or(0)
    }

    /// A space begins, or a kernel.
    pub(crate) fn copy_for(&mut self, root: Pfn) {
        if self.config.copied {
            let copy = Box::new(std::array::from_fn(|index| self.original(index)));
            self.copies.0.insert(root, copy);
        }
    }

    /// A space ends.
    pub(crate) fn drop_copy(&mut self, root: Pfn) {
        self.copies.0.remove(&root);
    }

    /// Brings the kernel's first-level entries for a range to all spaces.
    pub(crate) fn sync_copies(&mut self, range: VirtRange) {
        if range.is_empty() {
            return;
        }
        let last = VirtAddr(range.end.0 - 1);
        for index in Level::Pgd.index(range.start)..=Level::Pgd.index(last) {
            let word = self.original(index);
            self.copies.0.values_mut().for_each(|copy| copy[index] = word);
        }
    }

    /// What `cpu` walks in place of `slot` of the kernel's first-level table, if that is not the kernel's own.
    pub(crate) fn in_its_copy(&self, cpu: usize, slot: PhysAddr) -> Option<u64> {
        if !self.config.copied || self.tables.kernel_root() != Some(slot.pfn()) {
            return None;
        }
        let (root, _) = self.cpus[cpu].user?;
        let copy = self.copies.0.get(&root)?;
        Some(copy[(slot.0 as usize / 8) % ENTRIES])
    }
}

impl Machine {
    /// The first kernel address for which some space has another entry of the first level than the kernel.
    pub fn differing_copy(&self) -> Option<VirtAddr> {
        let state = self.state();
        state.tables.kernel_root()?;
        let differs = |index: &usize| {
            state.copies.0.values().any(|copy| copy[*index] != state.original(*index))
        };
        let index = (0..ENTRIES).find(differs)?;
        Some(VirtAddr(crate::kernel::BASE + index as u64 * Level::Pgd.span()))
    }
}
