//! Memory that was only read: one page of zeros for everybody, and one huge one; and what happens when
//! it is written after all.
//!
//! # Rules kept here
//! * Entries of zeros are read-only and special: nobody counts them, so nobody's counts are written by
//!   all who read.
//! * A huge entry of zeros has a table put aside like every huge entry of an anonymous area.
//! * Writing puts other memory behind a live address: the old entry is taken out and flushed before
//!   the new one is stored ([`crate::entry::Present::replace`]).
//!
//! Corresponds to Linux's `ZERO_PAGE`, `mm_get_huge_zero_folio`, `do_huge_zero_wp_pmd`.

use super::Space;
use super::fault::{Ended, Request, Resolved, Stop};
use crate::entry::{At, PmdLevel, Present, PteLevel};
use crate::frame::{Flag, OutOfMemory};
use crate::mutant::Mutant;
use crate::{Hardware, Mm, Slot};
use abi::{Event, Level, Order, PMD_SIZE, Pfn, Prot};
use pte::{Entry, Leaf};
use sync::atomic::{AtomicU64, Ordering};

/// A folio of zeros, made when it is first wanted and kept.
#[derive(Debug)]
struct Zeros(AtomicU64);

/// "Not made yet".
const NONE: u64 = u64::MAX;

/// The shared zeros of one memory manager.
#[doc(alias("ZERO_PAGE", "huge_zero_folio"))]
#[derive(Debug)]
pub(crate) struct ZeroPages {
    small: Zeros,
    huge: Zeros,
}

impl ZeroPages {
    pub(crate) fn new() -> Self {
        Self { small: Zeros(AtomicU64::new(NONE)), huge: Zeros(AtomicU64::new(NONE)) }
    }
}

impl<H: Hardware> Mm<H> {
    /// The page of zeros.
    #[doc(alias = "ZERO_PAGE")]
    #[inline]
    fn zero_page(&self) -> Result<Pfn, OutOfMemory> {
        match self.zero.small.0.load(Ordering::Acquire) {
            NONE => self.make_zeros(&self.zero.small, Order::PAGE),
            pfn => Ok(Pfn(pfn)),
        }
    }

    /// The 2 MiB of zeros.
    #[doc(alias("mm_get_huge_zero_folio", "get_huge_zero_folio"))]
    fn huge_zero_page(&self) -> Result<Pfn, OutOfMemory> {
        let known = self.zero.huge.0.load(Ordering::Acquire);
        if known != NONE {
            return Ok(Pfn(known));
        }
        let made = self.make_zeros(&self.zero.huge, Order::PMD);
        let failed = made.is_err();
        self.count(if failed { Event::ThpZeroPageAllocFailed } else { Event::ThpZeroPageAlloc }, 1);
        made
    }

    /// Makes the folio, unless somebody is faster.
    #[cold]
    fn make_zeros(&self, zeros: &Zeros, order: Order) -> Result<Pfn, OutOfMemory> {
        let pfn = self.folio_alloc_fixed(order)?;
        self.desc(pfn).raise(Flag::Zero);
        self.zero(pfn, order);
        let (done, known) = (Ordering::AcqRel, Ordering::Acquire);
        match zeros.0.compare_exchange(NONE, pfn.0, done, known) {
            Ok(_) => Ok(pfn),
            Err(other) => {
                self.head_put(pfn, 1);
                Ok(Pfn(other))
            }
        }
    }

    /// Whether a special entry with this frame shows the shared zeros, and not a given frame.
    pub(crate) fn shows_zeros(&self, pfn: Pfn) -> bool {
        let map = self.frames.map();
        map.head(pfn).is_some_and(|head| map.desc(head).has(Flag::Zero))
    }
}

/// An entry that shows zeros, in an area of these rights.
fn zero_leaf<H: Hardware>(mm: &Mm<H>, level: Level, zeros: Pfn, prot: Prot) -> Leaf {
    let leaf = Leaf::user(level, zeros, prot).write_protected();
    if level == Level::Pmd && mm.commits(Mutant::HugeZeroNotSpecial) {
        leaf
    } else {
        leaf.special()
    }
}

impl<H: Hardware> Space<'_, H> {
    /// Lets the page show zeros. Not inlined: the fault of a page of one's own passes by.
    #[inline(never)]
    pub(super) fn map_zero_page(&self, fault: &Request, table: Pfn) -> Resolved {
        let mapped = self.map_zero_pages(fault, table, 1)?;
        Ok(if mapped > 0 { Ended::Mapped } else { Ended::Spurious })
    }

    /// Lets the page show zeros, and up to `most` with those behind it whose entries are empty. Says how
    /// many: none, if something came in between.
    #[inline(always)]
    pub(super) fn map_zero_pages(
        &self,
        fault: &Request,
        table: Pfn,
        most: usize,
    ) -> Result<usize, Stop> {
        let mm = self.mm;
        let leaf = zero_leaf(mm, Level::Pte, mm.zero_page()?, fault.vma.prot);
        let table = mm.lock::<PteLevel>(table);
        let first = Level::Pte.index(fault.va);
        let mut n = 0;
        while n < most
            && let At::None(empty) = table.at(first + n)
        {
            empty.set(leaf);
            n += 1;
        }
        drop(table);
        mm.count(Event::ZeroMap, n as u64);
        Ok(n)
    }

    /// Lets the 2 MiB around the fault show zeros. `None`: there is no memory for that; small zeros do.
    #[doc(alias = "set_huge_zero_folio")]
    pub(super) fn map_huge_zero(&self, fault: &Request, slot: Slot) -> Option<Ended> {
        let mm = self.mm;
        let zeros = mm.huge_zero_page().ok()?;
        let spare = mm.spare_table().ok()?;
        let table = mm.lock::<PmdLevel>(slot.table());
        let ended = if let At::None(empty) = table.at(Level::Pmd.index(fault.va)) {
            mm.deposit(table.table(), spare);
            empty.set(zero_leaf(mm, Level::Pmd, zeros, fault.vma.prot));
            mm.count(Event::ZeroMap, 1);
            Ended::Mapped
        } else {
            drop(table);
            spare.discard(mm);
            Ended::Spurious
        };
        Some(ended)
    }

    /// The page shows zeros by `entry`: puts memory of its own there.
    #[doc(alias = "wp_page_copy")]
    pub(super) fn replace_zero_page(
        &self,
        fault: &Request,
        entry: Present<'_, H, PteLevel>,
    ) -> Resolved {
        let mm = self.mm;
        let owner = self.owner(&fault.vma, fault.va);
        let pfn = mm.anon_alloc_with(fault.effort(), Order::PAGE, 1, owner)?;
        mm.zero(pfn, Order::PAGE);
        let leaf = self.first_leaf(fault, Level::Pte, pfn);
        let (zeros, proof) = entry.replace(&self.core.context, fault.va, leaf);
        zeros.release(mm, &proof);
        mm.count(Event::CowCopy, 1);
        Ok(Ended::Mapped)
    }

    /// The 2 MiB around the fault showed zeros by the entry `seen`: puts a huge page there, or lets
    /// small entries show the zeros, and puts a page in place of one.
    #[doc(alias("do_huge_zero_wp_pmd", "do_huge_pmd_wp_page"))]
    pub(super) fn replace_huge_zero(&self, fault: &Request, slot: Slot, seen: Leaf) -> Resolved {
        let mm = self.mm;
        let index = Level::Pmd.index(fault.va);
        // Zeros may go on in an area that differs by advice alone; a huge page of its own lies in one.
        let whole = fault.vma.block_around(fault.va, PMD_SIZE).is_some();
        let memory = if whole && mm.thp.wants(&self.core, &fault.vma) {
            match self.huge_folio(fault) {
                Ok(pfn) => Some(pfn),
                Err(oom) => self.huge_fallback(fault, oom)?,
            }
        } else {
            None
        };
        let table = mm.lock::<PmdLevel>(slot.table());
        let entry = match table.at(index) {
            At::Present(entry) if entry.leaf().same_mapping(seen) => entry,
            _ => {
                drop(table);
                if let Some(pfn) = memory {
                    self.huge_folio_unused(pfn);
                }
                return Ok(Ended::Spurious);
            }
        };
        let Some(pfn) = memory else {
            mm.split_pmd(&self.core, &table, fault.va);
            drop(table);
            return match pte::decode(Level::Pmd, mm.hw.load(slot)) {
                Entry::Table(table) => self.fault_mapped(fault, table.pfn()),
                _ => Ok(Ended::Spurious),
            };
        };
        let leaf = self.first_leaf(fault, Level::Pmd, pfn);
        let (old, proof) = entry.replace(&self.core.context, fault.va, leaf);
        drop(table);
        old.release(mm, &proof);
        mm.count(Event::ThpFaultAlloc, 1);
        Ok(Ended::Mapped)
    }
}
