//! The kernel's own half: one tree for all CPUs, under TTBR1.
//!
//! Built at boot, before there is a page allocator, and extended later (thread stacks). A kernel
//! mapping is never used before `publish` and the context synchronisation that follow its last
//! store. Tables, once linked, stay, and so do mappings: there is no way to take one back.
//!
//! Mappings are made of the largest leaves that alignment and the caller allow. How large that may be
//! is the caller's policy: a leaf can only change its size by break-before-make, which the kernel
//! cannot do to the memory it runs on, so a range whose rights are to change page by page must be
//! mapped by pages from the start.

use crate::{Hardware, Note, Slot};
use abi::{Level, Pfn, PhysAddr, VirtAddr, VirtRange};
use core::fmt;
use pte::{Entry, KernelProt, Leaf, MemType, Scope, Table};

/// Why a kernel mapping could not be made. Mappings made before it in the same call stay.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum KernelMapError {
    /// An address or the size is no multiple of the page size.
    Unaligned(VirtAddr, PhysAddr),
    /// Something is mapped there already.
    Occupied(VirtAddr, Level),
    /// No page for a table.
    OutOfMemory,
}

impl fmt::Display for KernelMapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unaligned(va, pa) => write!(f, "{va} to {pa} is not made of whole pages"),
            Self::Occupied(va, level) => write!(f, "a {level} entry already maps {va}"),
            Self::OutOfMemory => write!(f, "no page for a kernel table"),
        }
    }
}

impl core::error::Error for KernelMapError {}

/// What a kernel mapping is made of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KernelMapping {
    /// Where.
    pub range: VirtRange,
    /// What memory or device; as long as the range.
    pub to: PhysAddr,
    /// What the kernel may do there.
    pub prot: KernelProt,
    /// What kind of memory it is.
    pub mem: MemType,
    /// The largest leaf to use; [`Level::Pgd`] counts as [`Level::Pud`], since no PGD entry is a leaf.
    pub largest: Level,
}

/// The tree of kernel tables. Whoever has it `&mut` is the only one to change it.
pub struct KernelMap {
    root: Pfn,
}

impl KernelMap {
    /// A tree with nothing in it; `root` is a page of zeros that nobody else uses.
    pub const fn new(root: Pfn) -> Self {
        Self { root }
    }

    /// The root table, for TTBR1.
    pub const fn root(&self) -> Pfn {
        self.root
    }

    /// Adds a mapping to free kernel addresses. `table` gives zeroed pages for tables.
    ///
    /// When it returns, this CPU may use the addresses, and any other CPU that learns of them from
    /// this one by a pointer.
    #[doc(alias = "__create_pgd_mapping")]
    pub fn map<H: Hardware>(
        &mut self,
        hw: &H,
        mapping: &KernelMapping,
        table: &mut dyn FnMut() -> Option<Pfn>,
    ) -> Result<(), KernelMapError> {
        let KernelMapping { range, to, prot, mem, largest } = *mapping;
        let page = Level::Pte.span();
        if !(range.start.is_aligned(page) && range.end.is_aligned(page) && to.is_aligned(page)) {
            return Err(KernelMapError::Unaligned(range.start, to));
        }
        let mut done = 0;
        let result = 'all: loop {
            if done == range.bytes() {
                break Ok(());
            }
            let (va, pa) = (range.start + done, to + done);
            let left = range.bytes() - done;
            let fits = |level: Level| {
                level >= largest
                    && level >= Level::Pud
                    && va.is_aligned(level.span())
                    && pa.is_aligned(level.span())
                    && left >= level.span()
            };
            let level = Level::ALL.into_iter().find(|&level| fits(level)).unwrap_or(Level::Pte);
            // All entries of one table in a row: one walk for up to 512 of them. A larger leaf can
            // only begin where the table ends.
            let slot = match self.slot(hw, va, level, table) {
                Ok(slot) => slot,
                Err(error) => break Err(error),
            };
            let room = abi::ENTRIES - level.index(va);
            let run = (left / level.span()).min(room as u64);
            for n in 0..run {
                let slot = slot.ahead(n as usize);
                if hw.load(slot) != 0 {
                    break 'all Err(KernelMapError::Occupied(va + n * level.span(), level));
                }
                let pfn = (pa + n * level.span()).pfn();
                hw.store(slot, Leaf::kernel(level, pfn, prot, mem).word());
                done += level.span();
            }
        };
        // Also what was mapped before an error stays, and so must be visible.
        hw.publish(Scope::InnerShareable);
        hw.synchronize_context();
        hw.note(Note::Done(self.root, range));
        result
    }

    /// The slot of `level` that translates `va`, with tables made on the way.
    fn slot<H: Hardware>(
        &mut self,
        hw: &H,
        va: VirtAddr,
        level: Level,
        new_table: &mut dyn FnMut() -> Option<Pfn>,
    ) -> Result<Slot, KernelMapError> {
        let mut table = self.root;
        for &at in level.above() {
            let slot = Slot::new(table, at.index(va));
            table = match pte::decode(at, hw.load(slot)) {
                Entry::Table(next) => next.pfn(),
                Entry::None => {
                    let next = new_table().ok_or(KernelMapError::OutOfMemory)?;
                    // The zeros are visible to walkers before the table is.
                    hw.publish(Scope::InnerShareable);
                    hw.store(slot, Table::kernel(next).word());
                    next
                }
                _ => return Err(KernelMapError::Occupied(va, at)),
            };
        }
        Ok(Slot::new(table, level.index(va)))
    }
}

#[cfg(test)]
mod tests;
