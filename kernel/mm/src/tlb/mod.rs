//! Making changes visible everywhere.
//!
//! | file | concern |
//! | --- | --- |
//! | `asid` | which address space a translation belongs to: ASIDs, generations, roll-over |
//! | `gather` | what one operation has cleared: invalidated once, then freed |
//! | `owed` | what one operation has made invalid in several spaces: invalidated once |
//! | `reap` | tables that are out of reach: freed with what they map |
//!
//! The sequence is always the same, and the types make it hard to leave a step out:
//! *clear* the descriptor, *publish* the clear to walkers, *invalidate*, *complete*, and only then
//! reuse. Arm ARM, "TLB maintenance requirements" and "Ordering and completion of TLB maintenance
//! instructions".

mod asid;
mod gather;
mod owed;
mod reap;

pub use asid::Asids;
pub use gather::Gather;
pub(crate) use owed::Owed;

use crate::entry::TableLevel;
use crate::mutant::Mutant;
use crate::{Hardware, Mm};
use abi::{Asid, Event, Level, VirtAddr, VirtRange};
use pte::{AsidMatch, Depth, Invalidation, Plan, Scope, Target, Tlbi};
use sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// What the TLBs know a space by, and which of them.
#[derive(Debug, Default)]
pub struct Context {
    /// The ASID with its generation; see `asid`.
    pub(crate) id: AtomicU64,
    /// CPUs that have run the space since it was given its number, one bit each: nobody else's TLB or
    /// walker has anything of it. A CPU is noted, visibly to all, before it first walks the space.
    #[doc(alias = "mm_cpumask")]
    pub(crate) ran: AtomicU64,
    /// How many operations owe it a flush; see [`Owed`].
    #[doc(alias = "tlb_flush_batched")]
    pub(crate) owed: AtomicU32,
}

/// Having this means: what was cleared before it was made is in no CPU's TLB.
#[doc(alias = "tlb_flush_pending")]
#[must_use = "the proof of a flush is what frees what was mapped"]
#[derive(Debug)]
pub struct Flushed(());

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

    /// Waits for the TLBIs issued here, as [`Mm::settle`] does, and counts it.
    #[inline]
    pub(crate) fn complete(&self, scope: Scope) {
        self.count(Event::DsbComplete, 1);
        self.settle(scope);
    }

    /// Waits until the TLBIs that this CPU has issued in `scope`, and every access that used what they
    /// removed, are finished; for this CPU's next instructions too, which may access the range from where
    /// it is, with no exception return in between.
    #[doc(alias = "__tlbi_sync")]
    #[inline]
    fn settle(&self, scope: Scope) {
        self.hw.complete(scope);
        if self.hw.caps().repeat_tlbi {
            self.repeat(scope);
        }
        if !self.commits(Mutant::FlushNoIsb) {
            self.hw.synchronize_context();
        }
    }

    /// On CPUs whose barrier may end before the operations have: one more operation, of an address that
    /// nobody has anything of, and one more barrier. With it those before are finished.
    #[doc(alias("__repeat_tlbi_sync", "ARM64_WORKAROUND_REPEAT_TLBI"))]
    #[cold]
    fn repeat(&self, scope: Scope) {
        if self.commits(Mutant::TlbiNotRepeated) {
            return;
        }
        let (va, asid, depth) = (VirtAddr(0), AsidMatch::Only(Asid(0)), Depth::LastLevel);
        self.hw.tlbi(Tlbi { target: Target::Va { va, asid, depth, hint: None }, scope });
        self.hw.complete(scope);
    }

    /// Invalidates what `what` describes wherever the space may be cached, and waits until that is
    /// complete, for this CPU's next instructions too. The change was published.
    ///
    /// The number and the CPUs are read only now: a CPU that enters the space later walks what was
    /// stored, and one that entered before did so under the number read and is noted. Where that
    /// is this CPU alone, no other one is bothered; interrupts stay masked, so that it remains this one.
    #[doc(alias = "__flush_tlb_range")]
    #[inline]
    pub(crate) fn invalidate(&self, space: &Context, what: &Invalidation) {
        let Some(asid) = self.asid(space) else { return };
        let _here = self.hw.mask_irqs();
        let scope = self.reach(space);
        self.invalidate_as(&Invalidation { asid: AsidMatch::Only(asid), scope, ..*what });
    }

    /// How far an invalidation for the space has to go. Interrupts are masked until it is complete.
    #[inline]
    fn reach(&self, space: &Context) -> Scope {
        let alone = space.ran.load(Ordering::SeqCst) == 1 << self.hw.id().index();
        if alone { Scope::Local } else { Scope::InnerShareable }
    }

    /// Issues what `what` describes and waits for it.
    pub(crate) fn invalidate_as(&self, what: &Invalidation) {
        self.issue(what);
        self.wait_for(what.scope);
    }

    /// Issues what `what` describes.
    pub(crate) fn issue(&self, what: &Invalidation) {
        let short;
        let mut what = what;
        if self.commits(Mutant::RangeOneShort) && what.range.bytes() > what.stride.span() {
            let end = what.range.end - what.stride.span();
            short = Invalidation { range: VirtRange::new(what.range.start, end), ..*what };
            what = &short;
        }
        match what.single() {
            Some(op) => self.tlbi(op),
            None => self.carry_out(what),
        }
    }

    /// Waits until what was issued in `scope` is complete, for this CPU's next instructions too.
    #[inline]
    fn wait_for(&self, scope: Scope) {
        if !self.commits(Mutant::NoComplete) {
            self.complete(scope);
        }
    }

    /// Issues the operations that cost least.
    fn carry_out(&self, what: &Invalidation) {
        let mut plan = Plan::new(what, self.hw.caps(), &self.cost);
        if plan.is_whole() && self.commits(Mutant::FullFlushLocal) {
            plan = Plan::whole(what.asid, Scope::Local);
        }
        if let Some((n, first, bytes, asid)) = plan.leaves() {
            let (asid, depth, hint) = (AsidMatch::Only(asid), Depth::LastLevel, plan.hint());
            for va in (0..n).map(|i| first + i * bytes) {
                let target = Target::Va { va, asid, depth, hint };
                self.hw.tlbi(Tlbi { target, scope: what.scope });
            }
            self.count(Event::TlbiVaLast, n);
            self.count_some(Event::TlbiLocal, if what.scope == Scope::Local { n } else { 0 });
            return;
        }
        // Of one plan nearly all are of one kind: they are counted together.
        let (mut kind, mut run, mut issued) = (Event::TlbiAll, 0, 0);
        for mut op in plan {
            if let Target::Range { scale: scale @ 1.., .. } = &mut op.target
                && self.commits(Mutant::RangeUnitSmall)
            {
                *scale -= 1;
            }
            if kind != op.event() {
                self.count_some(kind, run);
                (kind, run) = (op.event(), 0);
            }
            run += 1;
            issued += 1;
            self.hw.tlbi(op);
        }
        self.count_some(kind, run);
        self.count_some(Event::TlbiLocal, if what.scope == Scope::Local { issued } else { 0 });
    }

    #[inline]
    fn count_some(&self, event: Event, n: u64) {
        if n > 0 {
            self.count(event, n);
        }
    }

    /// Makes what was cleared or narrowed in `range` hold everywhere: publishes it, invalidates leaves
    /// of `level`, and waits.
    ///
    /// Context: any; the lock of the tables may be held.
    #[doc(alias("flush_tlb_range", "flush_pmd_tlb_range", "ptep_clear_flush"))]
    pub fn flush(&self, space: &Context, range: VirtRange, level: Level) -> Flushed {
        self.publish(Scope::InnerShareable);
        self.invalidate(space, &Invalidation::leaves(range, level, AsidMatch::Any));
        Flushed(())
    }

    /// As [`Mm::flush`], for the one leaf of the table's level that translates `va`: one operation,
    /// without a plan.
    #[doc(alias = "flush_tlb_page")]
    #[inline]
    pub(crate) fn flush_leaf<L: TableLevel>(&self, space: &Context, va: VirtAddr) -> Flushed {
        self.hw.publish(Scope::InnerShareable);
        // As in `invalidate`: only now.
        match self.asid(space) {
            Some(asid) => {
                let _here = self.hw.mask_irqs();
                let here = self.commits(Mutant::LeafFlushLocal);
                let scope = if here { Scope::Local } else { self.reach(space) };
                self.invalidate_leaf(va, asid, L::LEVEL, scope);
            }
            None => self.count(Event::DsbPublish, 1),
        }
        Flushed(())
    }

    /// As [`Mm::flush_leaf`], on this CPU alone, after the entry was made more permissive: nobody owes the
    /// others anything, they fault and find the new entry.
    #[doc(alias("flush_tlb_fix_spurious_fault", "local_flush_tlb_page"))]
    #[inline]
    pub(crate) fn flush_leaf_here<L: TableLevel>(&self, space: &Context, va: VirtAddr) {
        self.hw.publish(Scope::Local);
        match self.asid(space) {
            Some(asid) => self.invalidate_leaf(va, asid, L::LEVEL, Scope::Local),
            None => self.count(Event::DsbPublish, 1),
        }
    }

    /// Removes one leaf and waits. The change was published, and is counted here with the rest.
    #[inline]
    fn invalidate_leaf(&self, va: VirtAddr, asid: Asid, level: Level, scope: Scope) {
        let level = if self.commits(Mutant::HintTooDeep) { Level::Pte } else { level };
        let (asid, depth, hint) = (AsidMatch::Only(asid), Depth::LastLevel, Some(level));
        self.hw.tlbi(Tlbi { target: Target::Va { va, asid, depth, hint }, scope });
        if !self.commits(Mutant::NoComplete) {
            self.settle(scope);
        }
        let event = if scope == Scope::Local { Event::FlushPageLocal } else { Event::FlushPage };
        self.count(event, 1);
    }

    /// Drops everything that is cached for a space which no CPU runs any more, walk caches included.
    #[doc(alias = "flush_tlb_mm")]
    pub(crate) fn flush_space(&self, space: &Context) -> Flushed {
        // Nobody can enter it any more: what was never entered is cached nowhere.
        let Some(asid) = self.asid(space) else { return Flushed(()) };
        self.publish(Scope::InnerShareable);
        self.tlbi(Tlbi { target: Target::Asid(asid), scope: Scope::InnerShareable });
        self.complete(Scope::InnerShareable);
        Flushed(())
    }
}
