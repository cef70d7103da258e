//! Barriers put off: a scope in which kernel entries are stored, and at whose end all of them are shown at once.
//!
//! A mapping may be used when walkers can see its entries (DSB ISHST) and this CPU has synchronised its context
//! (ISB). Both are the same for one entry and for thousands; so whoever stores valid entries of the kernel's half has a
//! [`DeferredBarriers`], which owes them, and pays when it goes.
//!
//! # Rules
//! * Entries are stored through a scope only. It is left on every path, by errors too: going is leaving.
//! * Nothing that was mapped in a scope is used, told to anybody or given back before the scope is left.
//! * A scope is a value of whoever maps. A call that is handed one adds to it, which is all the nesting there is; one
//!   that is not opens its own. So an interrupt cannot leave its barriers to the thread it came upon: it has no way to
//!   that one's scope, and pays at its own end.
//! * A thread may be preempted in a scope and go on elsewhere: a context switch has a barrier for its stores, and the
//!   scope synchronises the context of the CPU that it is left on.
//! * Where spaces have copies of the kernel's upper tables ([`Hardware::copied`]), a scope knows of which levels it has
//!   linked an entry, and has these copied before it pays. Nobody relies on another's link that may not be copied yet.
//!
//! Corresponds to Linux's lazy MMU mode on arm64, whose state is a flag of the task, and to
//! `arch_sync_kernel_mappings`.

use crate::levels::Levels;
use crate::mutant::Mutant;
use crate::{Hardware, Mm};
use abi::{Level, VirtAddr, VirtRange};
use core::marker::PhantomData;
use pte::Scope;
use sync::atomic::Ordering;

/// How many mappings a scope tells apart; with one more, it pays for those before.
const APART: usize = 8;

/// Kernel entries that were stored, and what is owed for them. Going pays; to forget it is to map nothing for certain.
///
/// Context: of the thread, or of the interrupt, that made it.
#[doc(alias("arch_enter_lazy_mmu_mode", "TIF_LAZY_MMU"))]
#[must_use = "its barriers come when it goes"]
pub struct DeferredBarriers<'m, H: Hardware> {
    pub(super) mm: &'m Mm<H>,
    /// Something was stored since the last payment.
    is_owed: bool,
    /// What was mapped whole since: how many, and, where somebody listens, what.
    len: usize,
    #[cfg(feature = "sanitize")]
    mapped: [VirtRange; APART],
    /// Copied levels of which an entry was linked.
    modified: Levels,
    /// Addresses that may need an entry of a copied level.
    reach: VirtRange,
    /// It stays with whoever has made it.
    owner: PhantomData<*const ()>,
}

const NOTHING: VirtRange = VirtRange::new(VirtAddr(0), VirtAddr(0));

impl<H: Hardware> Mm<H> {
    /// Begins a scope in which kernel addresses are mapped and at whose end they can be used.
    #[doc(alias = "arch_enter_lazy_mmu_mode")]
    #[inline]
    pub fn defer_barriers(&self) -> DeferredBarriers<'_, H> {
        if self.commits(Mutant::BarriersLeftToInterrupted) {
            self.open_scopes(1);
        }
        DeferredBarriers {
            mm: self,
            is_owed: false,
            len: 0,
            #[cfg(feature = "sanitize")]
            mapped: [NOTHING; APART],
            modified: Levels::NONE,
            reach: NOTHING,
            owner: PhantomData,
        }
    }

    /// For known bugs, which know scopes by their CPU: so many more are open here. How many are.
    #[cold]
    fn open_scopes(&self, more: i32) -> i32 {
        let scopes = self.mutants.scopes(self.hw.id());
        scopes.map_or(0, |scopes| scopes.fetch_add(more, Ordering::Relaxed) + more)
    }
}

impl<H: Hardware> DeferredBarriers<'_, H> {
    /// Entries are stored from now on in the table of `level` that translates `va`.
    #[inline]
    pub(super) fn stores(&mut self, va: VirtAddr, level: Level) {
        self.is_owed = true;
        if !self.mm.hw.copied().is_empty() {
            let span = level.above().last().map_or(0, |above| above.span());
            let part = VirtRange::from_size(VirtAddr(va.0 & !(span - 1)), span);
            let (start, end) = (self.reach.start.min(part.start), self.reach.end.max(part.end));
            self.reach = if self.reach.is_empty() { part } else { VirtRange::new(start, end) };
        }
    }

    /// An entry of `level` is about to be linked.
    #[doc(alias = "pgtbl_mod_mask")]
    pub(super) fn modifies(&mut self, level: Level) {
        let mm = self.mm;
        let is_known = !mm.hw.copied().has(level) || self.modified.has(level);
        if is_known || mm.commits(Mutant::KernelSyncUntracked) {
            return;
        }
        if self.modified.is_empty() {
            mm.vmalloc.uncopied.fetch_add(1, Ordering::SeqCst);
        }
        self.modified = self.modified.with(level);
    }

    /// A range is mapped, and nobody has it before the scope is left.
    #[inline]
    pub(super) fn owe(&mut self, range: VirtRange) {
        if self.len == APART {
            self.pay();
        }
        self.is_owed = true;
        #[cfg(feature = "sanitize")]
        {
            self.mapped[self.len] = range;
        }
        let _ = range;
        self.len += 1;
    }

    /// An operation has failed, and what it stored before stays.
    #[cold]
    pub(super) fn failed(&mut self) {
        if self.mm.commits(Mutant::KernelSyncSkipsError) {
            self.copied_for_certain();
        }
        if self.mm.commits(Mutant::KernelMapUnsynced) {
            self.mm.open_scopes(1);
        }
    }

    /// Only walkers are to see what was stored: what a known bug does instead of leaving.
    #[cold]
    pub(super) fn leave_unsynchronized(mut self) {
        self.mm.publish(Scope::InnerShareable);
        self.is_owed = false;
    }

    /// Shows what was stored so far.
    #[doc(alias("arch_flush_lazy_mmu_mode", "emit_pte_barriers"))]
    #[inline]
    fn pay(&mut self) {
        if !self.mm.hw.copied().is_empty() {
            self.copy();
        }
        self.mm.make_usable();
        #[cfg(feature = "sanitize")]
        for range in &self.mapped[..self.len] {
            self.mm.hw.note(crate::Note::Done(self.mm.vmalloc.root, *range));
        }
        (self.is_owed, self.len) = (false, 0);
    }

    /// Brings what was linked to the spaces' copies: by this scope, or by another that has yet to.
    #[doc(alias = "arch_sync_kernel_mappings")]
    #[cold]
    fn copy(&mut self) {
        let mm = self.mm;
        let others = mm.vmalloc.uncopied.load(Ordering::SeqCst) > 0
            && !mm.commits(Mutant::KernelSyncOvertaken);
        if self.modified.meets(mm.hw.copied()) || others {
            mm.hw.sync_kernel(self.reach);
        }
        self.copied_for_certain();
        self.reach = NOTHING;
    }

    /// Nobody else has to copy what this scope has linked.
    fn copied_for_certain(&mut self) {
        if !self.modified.is_empty() {
            self.mm.vmalloc.uncopied.fetch_sub(1, Ordering::SeqCst);
            self.modified = Levels::NONE;
        }
    }
}

impl<H: Hardware> Drop for DeferredBarriers<'_, H> {
    #[doc(alias = "arch_leave_lazy_mmu_mode")]
    #[inline]
    fn drop(&mut self) {
        let mm = self.mm;
        if mm.commits(Mutant::BarriersLeftToInterrupted) && mm.open_scopes(-1) > 0
            || mm.commits(Mutant::KernelMapUnsynced) && mm.open_scopes(0) > 0
        {
            return;
        }
        if self.is_owed {
            self.pay();
        }
    }
}
