//! Under the table's lock, where the page is claimed and no fork, unmapping or split is half way. What is
//! missing is faulted in, and then looked at again: each turn of the loop means that somebody else
//! has changed the entry since the fault, so somebody gets on.
//!
//! Corresponds to Linux's `__get_user_pages`, `follow_page_mask` and `faultin_page`.

use super::{GupError, Hold};
use crate::entry::{At, Locked, PmdLevel, TableLevel};
use crate::frame::Flag;
use crate::space::{Denial, FaultOutcome, Layout, Space, USER_END};
use crate::{Hardware, Mm};
use abi::{Access, Event, Level, PAGE_SHIFT, PAGE_SIZE, Pfn, VirtAddr};
use pte::Leaf;

/// What a look under the lock has shown.
enum Look {
    /// The page, held now.
    Held(Pfn),
    /// A fault must come first.
    Fault,
    /// The page is there, but it must become the program's own first.
    Unshare,
}

/// A fault that whoever holds a page has taken is over: he looks again, or is told why not.
pub(super) fn faulted(outcome: FaultOutcome) -> Result<(), GupError> {
    match outcome {
        FaultOutcome::Mapped | FaultOutcome::Spurious => Ok(()),
        FaultOutcome::Denied(denial) => Err(GupError::Denied(denial)),
        FaultOutcome::OutOfMemory(oom) => Err(GupError::OutOfMemory(oom)),
    }
}

impl<H: Hardware> Space<'_, H> {
    /// Holds the page at `va`, faulting it in where need be.
    #[cold]
    pub(super) fn hold_slow(
        &self,
        va: VirtAddr,
        access: Access,
        hold: Hold,
    ) -> Result<Pfn, GupError> {
        if hold == Hold::Pin {
            self.mm().note_pinning(self.core());
        }
        loop {
            let outcome = match self.look(va, access, hold)? {
                Look::Held(pfn) => return Ok(pfn),
                Look::Fault => self.fault(va, access),
                Look::Unshare => self.fault_unshare(va),
            };
            faulted(outcome)?;
            self.mm().count(Event::GupSlow, 1);
            self.mm().hw.relax();
        }
    }

    /// Looks at what is mapped at `va`, and holds it if it is as it has to be.
    #[doc(alias("follow_page_pte", "follow_huge_pmd"))]
    fn look(&self, va: VirtAddr, access: Access, hold: Hold) -> Result<Look, GupError> {
        let mm = self.mm();
        if va >= USER_END {
            return Err(GupError::Denied(Denial::NoArea));
        }
        let find = |layout: &Layout| layout.find(va).map(|area| area.prot);
        let (prot, _claim) = self.core().layout.read_at(&mm.hw, va.0 >> PAGE_SHIFT, find);
        let prot = prot.ok_or(GupError::Denied(Denial::NoArea))?;
        if !prot.allows(access) {
            return Err(GupError::Denied(Denial::Rights(prot)));
        }
        let Some(pmd) = mm.find_slot(self.root(), va, Level::Pmd) else { return Ok(Look::Fault) };
        // The page is claimed, so a table stays one; what is none may become one before the lock.
        if let Some(table) = mm.lock_below(pmd) {
            return mm.judge(&table, va, access, hold);
        }
        mm.judge(&mm.lock::<PmdLevel>(pmd.table()), va, access, hold)
    }
}

impl<H: Hardware> Mm<H> {
    /// Holds what the entry of a locked table maps at `va`, if it is as it has to be.
    fn judge<L: TableLevel>(
        &self,
        table: &Locked<'_, H, L>,
        va: VirtAddr,
        access: Access,
        hold: Hold,
    ) -> Result<Look, GupError> {
        let At::Present(entry) = table.at(L::LEVEL.index(va)) else { return Ok(Look::Fault) };
        let leaf = entry.leaf();
        if !leaf.permits(access) {
            return Ok(Look::Fault);
        }
        let pfn = leaf.pfn() + va.0 % L::LEVEL.span() / PAGE_SIZE;
        self.hold_mapped(leaf, pfn, hold)
    }

    /// Holds a page that an entry maps whose table is locked: the entry's own reference keeps it.
    fn hold_mapped(&self, leaf: Leaf, pfn: Pfn, hold: Hold) -> Result<Look, GupError> {
        let head = self.frames.map().head(pfn);
        let zeros = head.is_some_and(|head| self.desc(head).has(Flag::Zero));
        let Some(head) = head.filter(|_| zeros || !leaf.is_special()) else {
            return Err(GupError::Uncounted(pfn));
        };
        let held = match hold {
            Hold::Reference => self.head_try_get(head, pfn, 1),
            // They stay what they are for ever, so their pins are not counted.
            Hold::Pin if zeros => true,
            Hold::Pin if self.must_unshare(leaf, pfn) => return Ok(Look::Unshare),
            Hold::Pin => {
                let pinned = self.head_try_pin(head, pfn, 1);
                self.count(Event::PinAcquired, pinned.into());
                pinned
            }
        };
        // A mapped folio is neither free nor frozen, so all that can be in the way is the limit.
        if held { Ok(Look::Held(pfn)) } else { Err(GupError::TooMany(pfn)) }
    }
}
