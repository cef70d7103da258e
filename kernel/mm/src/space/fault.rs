//! A page fault: whether the area permits it, which case it is, and how it ended.
//!
//! The page is claimed throughout, so areas and tables stay; what an entry says is decided under its
//! table's lock.

use super::vma::Layout;
use super::{Space, USER_END, Vma};
use crate::frame::OutOfMemory;
use crate::table::Stop;
use crate::{Hardware, Slot};
use abi::{Access, Event, Level, PAGE_SHIFT, Prot, VirtAddr};
use core::fmt;
use pte::{Entry, Leaf};

/// How a fault ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use = "a fault that was not resolved must stop the access"]
pub enum FaultOutcome {
    /// The entry permits the access now. Run the instruction again.
    Mapped,
    /// The entry permitted it all along: a stale walk, or another CPU was faster. Run it again.
    Spurious,
    /// The program may not do this.
    Denied(Denial),
    /// There is no memory for it. Nothing was changed; free some and run the instruction again.
    OutOfMemory(OutOfMemory),
}

/// Why an access is not permitted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Denial {
    /// Nothing is mapped there.
    NoArea,
    /// The area has other rights.
    Rights(Prot),
    /// The entry is none that this memory manager writes: memory corruption.
    Corrupt(Level, u64),
}

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoArea => write!(f, "nothing is mapped there"),
            Self::Rights(prot) => write!(f, "the area is {prot}"),
            Self::Corrupt(level, word) => write!(f, "corrupt {level} entry {word:#018x}"),
        }
    }
}

impl<H: Hardware> Space<'_, H> {
    /// Resolves a fault at `va`, or says why not.
    ///
    /// Context: thread (or an exception taken from one), may sleep on the layout lock. Corresponds
    /// to Linux's `handle_mm_fault`.
    #[doc(alias("handle_mm_fault", "do_page_fault"))]
    pub fn fault(&self, va: VirtAddr, access: Access) -> FaultOutcome {
        let outcome = self.resolve(va, access);
        self.mm.count(Event::PgFault, 1);
        match outcome {
            FaultOutcome::Spurious => self.mm.count(Event::PgFaultSpurious, 1),
            FaultOutcome::Denied(_) => self.mm.count(Event::PgFaultDenied, 1),
            _ => {}
        }
        outcome
    }

    /// Finds the area and asks it. The page stays claimed until the entry is stored: nobody takes the
    /// area or the tables away meanwhile.
    fn resolve(&self, va: VirtAddr, access: Access) -> FaultOutcome {
        let mm = self.mm;
        let page = va.0 >> PAGE_SHIFT;
        if va >= USER_END {
            return FaultOutcome::Denied(Denial::NoArea);
        }
        let find = |layout: &Layout| layout.find(va).copied();
        let (found, claim) = self.core.layout.read_at(&mm.hw, page, find);
        let Some(vma) = found else {
            return FaultOutcome::Denied(Denial::NoArea);
        };
        if !vma.prot.allows(access) {
            return FaultOutcome::Denied(Denial::Rights(vma.prot));
        }
        let result = self.resolve_in(&vma, va, access);
        drop(claim);
        match result {
            Ok(outcome) => outcome,
            Err(Stop::OutOfMemory(oom)) => FaultOutcome::OutOfMemory(oom),
            Err(Stop::NotTable(level, word)) => FaultOutcome::Denied(Denial::Corrupt(level, word)),
        }
    }

    /// Picks the case, by what the PMD entry says.
    #[doc(alias("__handle_mm_fault", "handle_pte_fault"))]
    #[inline]
    fn resolve_in(&self, vma: &Vma, va: VirtAddr, access: Access) -> Result<FaultOutcome, Stop> {
        let mm = self.mm;
        let pmd = mm.make_slot(self.core.root, va, Level::Pmd)?;
        let word = mm.hw.load(pmd);
        match pte::decode(Level::Pmd, word) {
            Entry::Table(_) => {}
            Entry::None => {
                if let Some(outcome) = self.fault_huge(vma, va, pmd, access) {
                    return Ok(outcome);
                }
                match mm.make_table(pmd, Level::Pmd) {
                    Ok(_) => {}
                    // Another CPU has put a huge page there.
                    Err(Stop::NotTable(level, word)) => {
                        return self.permit(pmd, level, word, va, access);
                    }
                    Err(stop) => return Err(stop),
                }
            }
            _ => return self.permit(pmd, Level::Pmd, word, va, access),
        }
        self.fault_small(vma, va, pmd, access)
    }

    /// The slot held `word` when looked at: makes that entry permit `access`, where all it lacks is
    /// what hardware without automatic access flag and dirty state leaves to software.
    ///
    /// Corresponds to Linux's `ptep_set_access_flags`.
    #[doc(alias = "ptep_set_access_flags")]
    pub(super) fn permit(
        &self,
        slot: Slot,
        level: Level,
        word: u64,
        va: VirtAddr,
        access: Access,
    ) -> Result<FaultOutcome, Stop> {
        let mm = self.mm;
        let Entry::Leaf(leaf) = pte::decode(level, word) else {
            return Err(Stop::NotTable(level, word));
        };
        let wanted = touched(leaf, access);
        if !wanted.permits(access) {
            // The area allows what the entry denies, and no fault can mend that.
            return Err(Stop::NotTable(level, word));
        }
        let outcome = if wanted.word() == word {
            FaultOutcome::Spurious
        } else {
            let _lock = mm.lock_table(slot.table(), level);
            match mm.hw.compare_exchange(slot, word, wanted.word()) {
                Ok(()) => FaultOutcome::Mapped,
                // Somebody changed it: run the access again and look anew.
                Err(_) => FaultOutcome::Spurious,
            }
        };
        // This CPU may still hold the less permissive translation; others will fault and come here.
        mm.forget_page_here(va, &self.core.context, level);
        Ok(outcome)
    }
}

/// The leaf after an access through it.
pub(super) fn touched(leaf: Leaf, access: Access) -> Leaf {
    let young = leaf.made_young();
    if access == Access::Write { young.made_dirty() } else { young }
}
