//! Something is mapped: what the entry lacks, and who gives it.
//!
//! Judged is the entry's own word, never what its neighbours in a contiguous set know: a walker
//! without automatic history faults on the word that it read. An entry that lacks nothing is a spurious
//! fault: a walker was late, or a TLB had the entry as it was before somebody widened it.
//!
//! What is widened is not flushed elsewhere: other CPUs fault, come here, and drop what they have.
//!
//! Corresponds to Linux's `handle_pte_fault`, `do_numa_page`, `migration_entry_wait`.

use super::fault::{Ended, Request, Resolved, Stop};
use super::{Backing, Denial, Space};
use crate::entry::{At, Locked, PmdLevel, Present, PteLevel, TableLevel};
use crate::{Hardware, Mm, Slot};
use abi::{Access, Event, Level, Pfn};
use pte::{Leaf, Marker, Soft};

/// What the fault of a mapping comes down to.
pub(super) enum Need {
    /// At most the history of the access.
    History,
    /// The right to write, where one writes on; or memory of its own.
    Own,
    /// Memory in place of zeros.
    Memory,
    /// Other rights that the area gives.
    Rights,
}

impl<H: Hardware> Space<'_, H> {
    /// What a mapping lacks for the fault. `shared`: whether another space may have the page.
    #[inline]
    fn need(&self, fault: &Request, leaf: Leaf, shared: impl Fn() -> bool) -> Need {
        let zeros = leaf.is_special() && fault.vma.backing == Backing::Anonymous;
        if zeros && fault.wants_own() {
            Need::Memory
        } else if leaf.permits(fault.access) {
            if fault.unshare && !leaf.is_writable() && shared() { Need::Own } else { Need::History }
        } else if fault.access == Access::Write && leaf.permits(Access::Read) && !leaf.is_special()
        {
            Need::Own
        } else {
            Need::Rights
        }
    }

    /// Resolves a fault where an entry of a page was not empty.
    #[doc(alias = "handle_pte_fault")]
    #[inline(never)]
    pub(super) fn fault_mapped(&self, fault: &Request, table: Pfn) -> Resolved {
        let mm = self.mm;
        let table = mm.lock::<PteLevel>(table);
        let index = Level::Pte.index(fault.va);
        let entry = match table.at(index) {
            At::Present(entry) => entry,
            // It was taken out again: the access has to look anew.
            At::None(_) => return Ok(Ended::Spurious),
            At::Soft(entry) => return Err(stop_at(mm, Level::Pte, entry.soft())),
            At::Table(_) => return Err(corrupt(Level::Pte, 0)),
            At::Corrupt(word) => return Err(corrupt(Level::Pte, word)),
        };
        let leaf = entry.leaf();
        match self.need(fault, leaf, || !mm.page_is_exclusive(leaf.pfn())) {
            Need::History => {
                let changed =
                    table.update_set(entry, index, |leaf| self.touched(leaf, fault.access));
                drop(table);
                Ok(self.touched_ended::<PteLevel>(fault, changed))
            }
            Need::Own => {
                let owned = self.own_page(fault, &table, entry)?;
                drop(table);
                Ok(self.owned(fault, owned))
            }
            Need::Memory => self.replace_zero_page(fault, entry),
            Need::Rights => {
                if leaf.is_valid() {
                    table.unfold(&self.core.context, fault.va);
                }
                let At::Present(entry) = table.at(index) else { return Ok(Ended::Spurious) };
                let mended = self.mend(fault, entry);
                table.try_fold(&self.core.context, fault.va);
                mended
            }
        }
    }

    /// Resolves a fault where the PMD entry is neither empty nor a table.
    #[doc(alias("do_huge_pmd_wp_page", "huge_pmd_set_accessed"))]
    #[inline(never)]
    pub(super) fn fault_huge_mapped(&self, fault: &Request, slot: Slot) -> Resolved {
        let mm = self.mm;
        let table = mm.lock::<PmdLevel>(slot.table());
        let entry = match table.at(Level::Pmd.index(fault.va)) {
            At::Present(entry) => entry,
            At::None(_) | At::Table(_) => return Ok(Ended::Spurious),
            At::Soft(entry) => return Err(stop_at(mm, Level::Pmd, entry.soft())),
            At::Corrupt(word) => return Err(corrupt(Level::Pmd, word)),
        };
        let leaf = entry.leaf();
        match self.need(fault, leaf, || !mm.page_is_exclusive(leaf.pfn())) {
            Need::History => {
                let changed = self.touched(leaf, fault.access) != leaf;
                if changed {
                    entry.modify(|leaf| self.touched(leaf, fault.access));
                }
                drop(table);
                Ok(self.touched_ended::<PmdLevel>(fault, changed))
            }
            Need::Own => {
                if mm.own_huge(leaf) {
                    entry.modify(|leaf| self.made_own(fault, leaf));
                    drop(table);
                    mm.count(Event::CowReuse, 1);
                    return Ok(self.touched_ended::<PmdLevel>(fault, true));
                }
                self.copy_out_of_huge(fault, slot, table, leaf)
            }
            Need::Memory => {
                drop(table);
                self.replace_huge_zero(fault, slot, leaf)
            }
            Need::Rights => self.mend(fault, entry),
        }
    }

    /// The entry has what it needs. If this CPU has it cached as it was, with fewer rights, it would
    /// fault again: reading needs no right that an entry can lack and be cached.
    #[doc(alias = "flush_tlb_fix_spurious_fault")]
    #[inline]
    pub(super) fn touched_ended<L: TableLevel>(&self, fault: &Request, changed: bool) -> Ended {
        if fault.access != Access::Read {
            self.mm.flush_leaf_here::<L>(&self.core.context, fault.va);
        }
        if changed { Ended::Mapped } else { Ended::Spurious }
    }

    /// A mapping of memory that was found to be nobody else's, as the fault needs it. One that only
    /// reads leaves it as it is.
    #[inline]
    pub(super) fn made_own(&self, fault: &Request, leaf: Leaf) -> Leaf {
        let writes = fault.access == Access::Write;
        self.touched(if writes { leaf.made_writable() } else { leaf }, fault.access)
    }

    /// Gives a mapping the rights of its area, which permit the access, but writing only where nobody
    /// shares the memory: that is a fault of its own.
    #[doc(alias("do_numa_page", "pte_modify"))]
    fn mend<L: TableLevel>(&self, fault: &Request, entry: Present<'_, H, L>) -> Resolved {
        let mm = self.mm;
        let leaf = entry.leaf();
        let counted = !leaf.is_special();
        let mended = |leaf: Leaf| {
            // A mark that it kept while it was invalid says nothing of its neighbours now.
            let new = leaf.with_prot(fault.vma.prot).contiguous(false);
            let shared = counted && !mm.page_is_exclusive(leaf.pfn());
            let zeros = !counted && fault.vma.backing == Backing::Anonymous;
            if shared || zeros { new.write_protected() } else { new }
        };
        if mended(leaf) == leaf {
            // The area gives what the entry denies, and no fault can mend that.
            return Err(corrupt(L::LEVEL, leaf.word()));
        }
        entry.modify(|leaf| mended(leaf).made_young());
        mm.flush_leaf_here::<L>(&self.core.context, fault.va);
        Ok(Ended::Mapped)
    }
}

fn corrupt(level: Level, word: u64) -> Stop {
    Stop::Denied(Denial::Corrupt(level, word))
}

/// What software data in place of a mapping means for whoever wants the memory. The table's lock is
/// held: a migration cannot end meanwhile, so what is read of the folio is right.
#[doc(alias("do_swap_page", "migration_entry_wait", "pte_marker_handle"))]
#[cold]
fn stop_at<H: Hardware>(mm: &Mm<H>, level: Level, soft: Soft) -> Stop {
    match soft {
        Soft::Migration { pfn, .. } => match mm.frames.map().head(pfn) {
            Some(head) => Stop::Wait(head),
            None => corrupt(level, soft.encode(level)),
        },
        Soft::DevicePrivate { .. } | Soft::DeviceExclusive { .. } => Stop::Denied(Denial::Device),
        Soft::HwPoison { .. } | Soft::Marker(Marker { poisoned: true, .. }) => {
            Stop::Denied(Denial::Poisoned)
        }
        Soft::Marker(Marker { guard: true, .. }) => Stop::Denied(Denial::Guard),
        // Nobody here writes these.
        Soft::Swap { .. } | Soft::Marker(_) => corrupt(level, soft.encode(level)),
    }
}

/// The lock of a table of pages, on its way from case to case.
pub(super) type Pages<'m, H> = Locked<'m, H, PteLevel>;
