//! Nothing is mapped, and a page shall be: take one, clear it, store one entry.
//!
//! The page is cleared before the table's lock is taken, so a lock covers no clearing; whoever finds
//! the slot taken by then gives its page back. Nothing is written that other CPUs share but the
//! table and its lock: the claim, the page, the counters are this CPU's own.
//!
//! Corresponds to Linux's `do_anonymous_page`.

use super::fault::{Ended, Request, Resolved, Stop};
use super::{Backing, Denial, Space};
use crate::entry::{At, PteLevel};
use crate::{Hardware, Slot};
use abi::{Level, Order, Pfn};

impl<H: Hardware> Space<'_, H> {
    /// Resolves a fault in a table of pages. Under the fault's claim it stays the one that serves the page.
    #[inline]
    pub(super) fn fault_page(&self, fault: &Request, table: Pfn) -> Resolved {
        let index = Level::Pte.index(fault.va);
        if self.mm.hw.load(Slot::new(table, index)) != 0 {
            return self.fault_mapped(fault, table);
        }
        if fault.vma.backing != Backing::Anonymous {
            return Err(Stop::Denied(Denial::NoFrame));
        }
        if !fault.wants_own() {
            return self.map_zero_page(fault, table);
        }
        if let Some(ended) = self.fault_mid(fault, table)? {
            return Ok(ended);
        }
        self.map_page(fault, table, index)
    }

    /// Maps a page of zeros, unless something is there by now.
    #[doc(alias = "do_anonymous_page")]
    #[inline]
    fn map_page(&self, fault: &Request, table: Pfn, index: usize) -> Resolved {
        let mm = self.mm;
        let pfn = mm.anon_alloc(Order::PAGE, 1, self.owner(&fault.vma, fault.va))?;
        mm.zero(pfn, Order::PAGE);
        let table = mm.lock::<PteLevel>(table);
        if let At::None(empty) = table.at(index) {
            // No barrier for the walkers: the worst is one more fault, which finds the entry right. The
            // zeros come before the entry for software that reads it (release), and for hardware the
            // dependency through the translation orders them.
            empty.set(self.first_leaf(fault, Level::Pte, pfn));
            return Ok(Ended::Mapped);
        }
        drop(table);
        // Another CPU faulted on the same page and was faster.
        mm.folio_unmap(pfn, 1);
        Ok(Ended::Spurious)
    }
}
