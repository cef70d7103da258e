//! Flushes that are owed: what was made invalid in several spaces, table after table, invalidated once.
//!
//! Between the store that makes an entry invalid and the flush, a CPU may go on using what it has
//! cached. Whoever may let that happen (a migration: it will not touch the memory before) collects here,
//! releases the table's lock, and settles before anything relies on it. For all spaces together that
//! takes one publishing and one completing barrier.
//!
//! # Who meets such an entry meanwhile
//! What stands there until the flush is a migration entry, and **a migration entry may still be
//! cached**. Whoever takes one out, weakens it or puts a table in its place flushes its range as if it
//! had been valid. Only a move of addresses does not look at every entry, for it takes whole tables along;
//! it asks whether the space is owed a flush ([`Context::is_owed`]) and flushes first: a walker that keeps
//! descriptors by where they are in memory could find an old one again at the table's new addresses.
//!
//! Corresponds to Linux's `try_to_unmap_flush` and `flush_tlb_batched_pending`; and goes further in that
//! huge entries wait too, and that what is pending is known entry by entry.

use super::Context;
use crate::mutant::Mutant;
use crate::space::Core;
use crate::{Hardware, Mm};
use abi::{Level, VirtRange};
use pte::{AsidMatch, Depth, Invalidation, Scope};
use sync::Arc;
use sync::atomic::Ordering;

/// Spaces that are settled together; one more, and what is owed is settled at once. A folio of a family
/// is mapped by as many as were forked and have not written since.
const SPACES: usize = 8;

/// What one operation has made invalid and not yet flushed.
#[doc(alias("tlbflush_unmap_batch", "arch_tlbbatch_add_pending"))]
#[must_use = "settle() invalidates; without it nothing is flushed"]
pub(crate) struct Owed<'m, H: Hardware> {
    mm: &'m Mm<H>,
    spaces: [Option<Share>; SPACES],
}

/// What is owed to one space.
struct Share {
    core: Arc<Core>,
    /// All of it lies in here.
    hull: VirtRange,
    /// The smallest level of what it was.
    stride: Level,
    /// There were leaves of more than one level.
    mixed: bool,
}

impl Share {
    fn context(&self) -> &Context {
        &self.core.context
    }

    fn add(&mut self, range: VirtRange, level: Level) {
        self.mixed |= level != self.stride;
        self.stride = self.stride.max(level);
        let (start, end) = (self.hull.start.min(range.start), self.hull.end.max(range.end));
        self.hull = VirtRange::new(start, end);
    }

    fn invalidation(&self) -> Invalidation {
        Invalidation {
            range: self.hull,
            stride: self.stride,
            asid: AsidMatch::Any,
            depth: Depth::LastLevel,
            hint: (!self.mixed).then_some(self.stride),
            scope: Scope::InnerShareable,
        }
    }
}

impl<'m, H: Hardware> Owed<'m, H> {
    /// Nothing.
    pub(crate) fn new(mm: &'m Mm<H>) -> Self {
        Self { mm, spaces: [const { None }; SPACES] }
    }

    /// Leaves of `level` in `range` of the space were made invalid.
    ///
    /// Context: any; the lock of their table is held.
    #[doc(alias = "set_tlb_ubc_flush_pending")]
    pub(crate) fn add(&mut self, core: &Arc<Core>, range: VirtRange, level: Level) {
        let known = |share: &Share| Arc::ptr_eq(&share.core, core);
        if let Some(share) = self.spaces.iter_mut().flatten().find(|share| known(share)) {
            return share.add(range, level);
        }
        if self.spaces.iter().all(Option::is_some) {
            self.settle();
        }
        if let Some(free) = self.spaces.iter_mut().find(|share| share.is_none()) {
            core.context.owed.fetch_add(1, Ordering::Relaxed);
            *free = Some(Share { core: core.clone(), hull: range, stride: level, mixed: false });
        }
    }

    /// Makes all of it hold everywhere: when this returns, no CPU has any of what was added.
    ///
    /// Context: any.
    #[doc(alias("try_to_unmap_flush", "arch_tlbbatch_flush"))]
    pub(crate) fn settle(&mut self) {
        if self.spaces.iter().all(Option::is_none) {
            return;
        }
        let mm = self.mm;
        mm.publish(Scope::InnerShareable);
        {
            // For as long as this CPU's own TLB is meant by some of it.
            let _here = mm.hw.mask_irqs();
            let mut widest = None;
            for share in self.spaces.iter().flatten() {
                // The number is read only now: who enters the space later walks what was stored.
                let Some(asid) = mm.asid(share.context()) else { continue };
                let scope = mm.reach(share.context());
                let asid = AsidMatch::Only(asid);
                mm.issue(&Invalidation { asid, scope, ..share.invalidation() });
                if widest != Some(Scope::InnerShareable) {
                    widest = Some(scope);
                }
                if mm.commits(Mutant::OwedFirstOnly) {
                    break;
                }
            }
            if let Some(scope) = widest {
                mm.wait_for(scope);
            }
        }
        // Spaces that were left meanwhile end with this.
        for share in self.spaces.iter_mut().filter_map(Option::take) {
            share.context().owed.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Context {
    /// Whether somebody owes the space a flush.
    ///
    /// Context: the addresses that it is asked for are excluded, so that what was owed of them before is
    /// seen, and nothing more comes to be.
    pub(crate) fn is_owed(&self) -> bool {
        self.owed.load(Ordering::Relaxed) > 0
    }
}

impl<H: Hardware> Drop for Owed<'_, H> {
    fn drop(&mut self) {
        debug_assert!(self.spaces.iter().all(Option::is_none), "a flush was owed and not settled");
    }
}
