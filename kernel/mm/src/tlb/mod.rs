//! Making changes visible everywhere.
//!
//! | file | concern |
//! | --- | --- |
//! | `asid` | which address space a translation belongs to: ASIDs, generations, roll-over |
//! | `gather` | what one operation has cleared: invalidated once, then freed |
//!
//! The sequence is always the same, and the types make it hard to leave a step out:
//! *clear* the descriptor, *publish* the clear to walkers, *invalidate*, *complete*, and only then
//! reuse. Arm ARM, "TLB maintenance requirements" and "Ordering and completion of TLB maintenance
//! instructions".

mod asid;
mod gather;

pub use asid::Asids;
pub use gather::Gather;

use crate::{Hardware, Mm};
use abi::{Asid, Event, Level, VirtAddr};
use pte::{AsidMatch, Depth, Invalidation, Plan, Scope, Target, Tlbi};

impl<H: Hardware> Mm<H> {
    /// Issues one operation and counts it.
    #[doc(alias = "__tlbi")]
    #[inline]
    pub(crate) fn tlbi(&self, op: Tlbi) {
        self.count(op.event(), 1);
        if op.scope == Scope::Local {
            self.count(Event::TlbiLocal, 1);
        }
        self.hw.tlbi(op);
    }

    /// Makes earlier descriptor stores visible to walkers, and counts it.
    #[inline]
    pub(crate) fn publish(&self, scope: Scope) {
        self.count(Event::DsbPublish, 1);
        self.hw.publish(scope);
    }

    /// Waits for the TLBIs issued here, and counts it.
    #[inline]
    pub(crate) fn complete(&self, scope: Scope) {
        self.count(Event::DsbComplete, 1);
        self.hw.complete(scope);
    }

    /// Invalidates what `what` describes and waits until that is complete, for this CPU's next
    /// instructions too. The change was published.
    #[doc(alias = "__flush_tlb_range")]
    pub(crate) fn invalidate(&self, what: &Invalidation) {
        for op in Plan::new(what, self.hw.caps(), &self.cost) {
            self.tlbi(op);
        }
        self.complete(what.scope);
        self.hw.synchronize_context();
    }

    /// Drops this CPU's stale copies of one user page, after its entry was made more permissive:
    /// nobody owes other CPUs anything, they will fault and find the new entry.
    #[doc(alias = "flush_tlb_fix_spurious_fault")]
    pub(crate) fn forget_page_here(&self, va: VirtAddr, asid: Option<Asid>, level: Level) {
        let Some(asid) = asid else { return };
        self.publish(Scope::Local);
        self.tlbi(Tlbi {
            target: Target::Va {
                va,
                asid: AsidMatch::Only(asid),
                depth: Depth::LastLevel,
                hint: Some(level),
            },
            scope: Scope::Local,
        });
        self.complete(Scope::Local);
        self.hw.synchronize_context();
    }

    /// Drops everything cached for a space that no CPU runs any more, walk caches included.
    #[doc(alias = "flush_tlb_mm")]
    pub(crate) fn forget_space(&self, asid: Option<Asid>) {
        let Some(asid) = asid else { return };
        self.publish(Scope::InnerShareable);
        self.tlbi(Tlbi { target: Target::Asid(asid), scope: Scope::InnerShareable });
        self.complete(Scope::InnerShareable);
    }
}
