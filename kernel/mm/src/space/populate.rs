//! Faults for many pages at once, without the faults: what a program says it will use is mapped before it
//! does.
//!
//! One look at the area, one claim and one walk serve the part of a 2 MiB block that is wanted, and one
//! hold of its table's lock a batch of pages, which are taken and cleared before it. Whatever is
//! more than an empty entry is a case of [`super::fault`], and goes its way.
//!
//! Corresponds to Linux's `faultin_page_range`, and to `do_fault_around` for anonymous memory.

use super::fault::{Ended, Request, Stop};
use super::layout::Layout;
use super::{AdviseError, Backing, Denial, FaultOutcome, Space};
use crate::entry::contpte::SET_BYTES;
use crate::entry::{At, PteLevel};
use crate::mutant::Mutant;
use crate::{Hardware, Slot};
use abi::{Access, Level, Order, PAGE_SHIFT, PAGE_SIZE, PMD_SIZE, Pfn, VirtAddr, VirtRange};
use pte::{Entry, Leaf};

/// Pages that are mapped under one hold of their table's lock, which masks interrupts.
const BATCH: usize = 32;

/// How far a claim got, and why no farther.
type Progress = (VirtAddr, Option<Stop>);

impl<H: Hardware> Space<'_, H> {
    /// Makes all of `range` accessible as if each page had been accessed. Goes on behind a hole, and
    /// tells the first.
    ///
    /// Context: as for [`Space::fault`].
    #[doc(alias("MADV_POPULATE_READ", "MADV_POPULATE_WRITE", "faultin_page_range"))]
    pub(super) fn populate(&self, range: VirtRange, access: Access) -> Result<(), AdviseError> {
        let mut hole = None;
        let mut at = range.start;
        while at < range.end {
            let (done, stop) = self.populate_block(at, range.end, access);
            at = done;
            let Some(stop) = stop else { continue };
            match self.recover(stop, at, access, false) {
                FaultOutcome::Mapped | FaultOutcome::Spurious => {}
                FaultOutcome::Denied(Denial::NoArea) => {
                    hole.get_or_insert(VirtRange::from_size(at, PAGE_SIZE));
                    at = at + PAGE_SIZE;
                }
                FaultOutcome::Denied(_) => return Err(AdviseError::Denied(at)),
                FaultOutcome::OutOfMemory(oom) => return Err(AdviseError::OutOfMemory(at, oom)),
            }
        }
        hole.map_or(Ok(()), |hole| Err(AdviseError::Hole(hole)))
    }

    /// Populates from `at` on, up to `end` or to the end of the area or of the block, whichever is first.
    fn populate_block(&self, at: VirtAddr, end: VirtAddr, access: Access) -> Progress {
        let mm = self.mm;
        let find = |layout: &Layout| layout.find(at).copied();
        let (found, _claim) = self.core.layout.read_at(&mm.hw, at.0 >> PAGE_SHIFT, find);
        let denied = |denial| (at, Some(Stop::Denied(denial)));
        let Some(vma) = found else { return denied(Denial::NoArea) };
        if !vma.prot.allows(access) {
            return denied(Denial::Rights(vma.prot));
        }
        let end = end.min(vma.range.end).min((at + 1).align_up(PMD_SIZE));
        let fault = Request { vma, va: at, access, unshare: false, last: false };
        let pmd = match mm.make_slot(self.core.root, at, Level::Pmd) {
            Ok(pmd) => pmd,
            Err(stop) => return (at, Some(stop.into())),
        };
        let word = mm.hw.load(pmd);
        match pte::decode(Level::Pmd, word) {
            Entry::Table(table) => self.populate_pages(fault, table.pfn(), end),
            Entry::None => match self.fault_empty_pmd(&fault, pmd) {
                Ok(Ok(table)) => self.populate_pages(fault, table, end),
                Ok(Err(Ended::Mapped)) => (end, None),
                // Another CPU was faster; see what came of it.
                Ok(Err(Ended::Spurious)) => (at, None),
                Err(stop) => (at, Some(stop)),
            },
            Entry::Leaf(leaf) if self.is_ready(&fault, leaf) => (end, None),
            // Afterwards it is ready, or something else to look at.
            _ => (at, self.fault_huge_mapped(&fault, pmd).err()),
        }
    }

    /// Populates from the fault's page up to `end` in one table of pages.
    fn populate_pages(&self, mut fault: Request, table: Pfn, end: VirtAddr) -> Progress {
        while fault.va < end {
            let slot = Slot::new(table, Level::Pte.index(fault.va));
            let word = self.mm.hw.load(slot);
            let done = match pte::decode(Level::Pte, word) {
                Entry::None => {
                    let most = ((end - fault.va) >> PAGE_SHIFT).min(BATCH as u64) as usize;
                    self.populate_empty(&fault, table, most)
                }
                Entry::Leaf(leaf) if self.is_ready(&fault, leaf) => Ok(1),
                _ => self.fault_mapped(&fault, table).map(|_| 0),
            };
            match done {
                Ok(pages) => fault.va = fault.va + pages as u64 * PAGE_SIZE,
                Err(stop) => return (fault.va, Some(stop)),
            }
        }
        (end, None)
    }

    /// Whether an access through this leaf would meet nothing to be done.
    #[inline]
    fn is_ready(&self, fault: &Request, leaf: Leaf) -> bool {
        leaf.permits(fault.access) && self.touched(leaf, fault.access) == leaf
    }

    /// Maps the fault's page, whose entry was empty, and up to `most` with those behind it that are
    /// empty too. Says how many are done with: none, if something came in between.
    fn populate_empty(&self, fault: &Request, table: Pfn, most: usize) -> Result<usize, Stop> {
        if fault.vma.backing != Backing::Anonymous {
            return Err(Stop::Denied(Denial::NoFrame));
        }
        if !fault.wants_own() {
            return self.map_zero_pages(fault, table, most);
        }
        let mut most = most;
        if self.mm.thp.wants_64k(&self.core, &fault.vma) {
            // Up to where the next 64 KiB begin: they are asked for anew.
            let set_end = (fault.va + 1).align_up(SET_BYTES);
            let left = ((set_end - fault.va) >> PAGE_SHIFT) as usize;
            match self.fault_mid(fault, table)? {
                Some(Ended::Mapped) => return Ok(left.min(most)),
                Some(Ended::Spurious) => return Ok(0),
                None => most = most.min(left),
            }
        }
        self.map_pages(fault, table, most)
    }

    /// Maps a batch of pages of zeros, up to the first place where something is by now: it may be less than
    /// is wanted, and is looked at like any. Says how many.
    fn map_pages(&self, fault: &Request, table: Pfn, most: usize) -> Result<usize, Stop> {
        let mm = self.mm;
        let first = Slot::new(table, Level::Pte.index(fault.va));
        let mut pages = [Pfn(0); BATCH];
        let mut n = 0;
        while n < most.min(BATCH) && mm.hw.load(first.ahead(n)) == 0 {
            let va = fault.va + n as u64 * PAGE_SIZE;
            match mm.anon_alloc(Order::PAGE, 1, self.owner(&fault.vma, va)) {
                Ok(pfn) => pages[n] = pfn,
                Err(oom) if n == 0 => return Err(oom.into()),
                Err(_) => break,
            }
            mm.zero(pages[n], Order::PAGE);
            n += 1;
        }
        let table = mm.lock::<PteLevel>(table);
        let first = Level::Pte.index(fault.va);
        let mut done = 0;
        while done < n
            && let At::None(empty) = table.at(first + done)
        {
            empty.set(self.first_leaf(fault, Level::Pte, pages[done]));
            done += 1;
        }
        drop(table);
        pages[done..n].iter().for_each(|&pfn| mm.folio_unmap(pfn, 1));
        Ok(if mm.commits(Mutant::PopulatePassesOver) { n } else { done })
    }
}
