//! Splitting a folio: its pages get heads of their own.
//!
//! | step | undone, if a later one fails, by |
//! | --- | --- |
//! | take the folio's lock; look whether anybody holds it besides its mappings | - |
//! | make migration entries of the mappings, and flush | the last step |
//! | freeze: all references at once, if there is none but the caller's | - |
//! | new heads, from the last down to the first | nothing fails from here on |
//! | put mappings back, of the same pages | |
//! | unlock the parts, give up the references that the split had on them | |
//!
//! # Heads that appear under lockless readers
//! A frame's head is found by clearing low bits of its number until a descriptor is no tail
//! ([`crate::MemMap::head`]). Heads appear from the last to the first, and the old head becomes smaller
//! at the end: the candidates below a frame are tails for as long as the frame is one, so at each
//! moment each page has one head, the old or its new one. Whoever found the old one cannot take a
//! reference on it while it is frozen; if he takes it afterwards, his second look finds the new one, and he
//! puts it back where he took it.
//!
//! Of a new head, owner, kind, size and flags (locked among them) are there before its references; kind,
//! size and flags come in one store, so no reader sees the part of a locked folio unlocked.
//!
//! Corresponds to Linux's `__folio_split` and `split_huge_page_to_list_to_order`.

use crate::frame::{Flag, FolioLock, FolioRef, Kind};
use crate::mutant::Mutant;
use crate::rmap::{Blocks, Extent};
use crate::space::Space;
use crate::tlb::Owed;
use crate::{Hardware, Mm, PageDesc};
use abi::{Event, Order, Pfn, VirtAddr};
use core::fmt;
use core::sync::atomic::Ordering;

/// Why a folio was not split. Mappings, counts and contents are as they were.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use = "the folio is still whole"]
pub enum SplitError {
    /// No folio is mapped there.
    NotMapped,
    /// It has this order, and cannot be split into parts of the other: they are not smaller, or they would
    /// be pairs, which have no room for what a large folio keeps in its tails.
    BadOrder {
        /// What it has.
        has: Order,
        /// What the parts should have.
        wanted: Order,
    },
    /// It is no anonymous memory: a file's, or zeros that everybody shares.
    NotAnonymous,
    /// Somebody holds it besides its mappings and the caller: a pin, a reference, another's work.
    Busy {
        /// References that it has.
        refs: u32,
        /// References that its mappings and the caller have.
        expected: u32,
    },
    /// Somebody works on it.
    Locked,
}

impl fmt::Display for SplitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotMapped => write!(f, "no folio is mapped there"),
            Self::BadOrder { has, wanted } => {
                write!(f, "a folio of order {} has no parts of order {}", has.0, wanted.0)
            }
            Self::NotAnonymous => write!(f, "it is no anonymous memory"),
            Self::Busy { refs, expected } => {
                write!(f, "it has {refs} references, and {expected} are accounted for")
            }
            Self::Locked => write!(f, "it is locked"),
        }
    }
}

impl core::error::Error for SplitError {}

impl<H: Hardware> Space<'_, H> {
    /// Splits the folio that is mapped at `va` into parts of `order`, wherever else it is mapped.
    ///
    /// Context: thread, may sleep; holds no lock and no reference to the folio.
    #[doc(alias("split_huge_page", "split_folio_to_order"))]
    pub fn split_folio_at(&self, va: VirtAddr, order: Order) -> Result<(), SplitError> {
        let folio = self.folio_at(va).ok_or(SplitError::NotMapped)?;
        self.mm().split_folio(&folio, order)
    }
}

impl<H: Hardware> Mm<H> {
    /// Splits a folio into parts of `order`. The caller's reference is the only one besides the mappings',
    /// and is on the part that has its page afterwards. Parts that nobody maps are freed.
    ///
    /// Context: thread, may sleep on the folio's lock, on the spaces that may map it, and on who changes
    /// them; holds no lock, no claim.
    #[doc(alias("split_huge_page_to_list_to_order", "folio_split"))]
    pub fn split_folio(&self, folio: &FolioRef<'_, H>, order: Order) -> Result<(), SplitError> {
        // The reference keeps everybody else from splitting it: this is its head until we do.
        let lock = self.folio_lock(folio.head());
        self.split_locked(lock, folio.pfn(), order).map(drop)
    }

    /// Splits a locked folio, of which the caller has one reference, for the page `keep`. Says how many
    /// pages were freed.
    ///
    /// Context: as [`Mm::split_folio`].
    pub(super) fn split_locked(
        &self,
        lock: FolioLock<'_, H>,
        keep: Pfn,
        order: Order,
    ) -> Result<u64, SplitError> {
        let from = self.desc(lock.head()).order();
        match self.part(&lock, from, order) {
            Ok(()) => {
                self.count(Event::ThpSplitPage, 1);
                Ok(self.release_parts(lock, from, order, keep))
            }
            Err(error) => {
                self.count(Event::ThpSplitPageFailed, 1);
                Err(error)
            }
        }
    }

    /// Makes the pages of a locked folio parts, locked, with one reference each besides their mappings'.
    fn part(&self, lock: &FolioLock<'_, H>, from: Order, to: Order) -> Result<(), SplitError> {
        let head = lock.head();
        let desc = self.desc(head);
        if to >= from || to == Order(1) {
            return Err(SplitError::BadOrder { has: from, wanted: to });
        }
        if !desc.has(Flag::Anon) || desc.has(Flag::Zero) {
            return Err(SplitError::NotAnonymous);
        }
        // Nothing is disturbed where it would be in vain.
        let counts = desc.counts();
        let (refs, expected) = (counts.refs(), counts.maps() + 1);
        if refs != expected && !self.commits(Mutant::SplitHeld) {
            return Err(SplitError::Busy { refs, expected });
        }
        let extent = Extent::of(self, lock);
        let mut owed = Owed::new(self);
        self.try_to_migrate(&extent, Blocks::Split, &mut owed);
        let late = self.commits(Mutant::TakeOutFlushLate);
        if !late {
            owed.settle();
        }
        let frozen = self
            .folio_freeze_alone(head, Mutant::SplitHeld)
            .map_err(|counts| SplitError::Busy { refs: counts.refs(), expected: 1 });
        if frozen.is_ok() {
            self.cut(head, from, to);
        }
        self.remove_migration(&extent, head);
        if late {
            owed.settle();
        }
        frozen
    }

    /// Gives each part of a frozen folio a head, locked, with one reference. Of exclusivity nothing is left:
    /// what is still true of it is in the migration entries.
    #[doc(alias = "__split_folio_to_order")]
    pub(crate) fn cut(&self, head: Pfn, from: Order, to: Order) {
        let old = self.desc(head);
        if old.has(Flag::Queued) {
            self.deferred_forget(head);
        }
        old.lower(Flag::Partial);
        // What is true of all is true of each, but who sleeps until the old one is unlocked does so there.
        let flags = old.flags() & !(Flag::Waiters as u32);
        let owner = old.owner.load(Ordering::Relaxed);
        if self.commits(Mutant::SplitHeadFirst) {
            self.folio_unfreeze(old);
        }
        let parts = self.frames.map().block(head, from).chunks_exact(to.pages() as usize);
        for (n, part) in parts.enumerate().skip(1).rev() {
            let part = &part[0];
            // The index is in the low bits, and pages of one folio do not carry out of them.
            let owner = owner + ((n as u64) << to.0);
            let late = self.commits(Mutant::SplitOwnerLate);
            if !late && !self.commits(Mutant::SplitForgetsOwner) {
                part.owner.store(owner, Ordering::Relaxed);
            }
            match self.commits(Mutant::SplitFlagsLate) {
                true => part.become_head(Kind::Folio, to, flags & !(Flag::Locked as u32)),
                false => part.become_head(Kind::Folio, to, flags),
            }
            self.folio_unfreeze(part);
            if self.commits(Mutant::SplitFlagsLate) {
                part.raise(Flag::Locked);
            }
            if late {
                part.owner.store(owner, Ordering::Relaxed);
            }
        }
        old.cut_down(from, to);
        // Last: from here on everybody may have it, and all that it was part of has other heads.
        if !self.commits(Mutant::SplitHeadFirst) {
            self.folio_unfreeze(old);
        }
    }

    /// Unlocks the parts and gives up the split's references to them but the one for `keep`; what nobody
    /// maps is freed, and what is mapped in part remembered. Says how many pages were freed.
    fn release_parts(&self, lock: FolioLock<'_, H>, from: Order, to: Order, keep: Pfn) -> u64 {
        let head = lock.head();
        let kept = ((keep - head) >> to.0) as usize;
        let parts = self.frames.map().block(head, from).chunks_exact(to.pages() as usize);
        let mut freed = 0;
        for (n, part) in parts.enumerate().skip(1) {
            let (page, part) = (head + ((n as u64) << to.0), &part[0]);
            self.folio_unlock(part);
            if to > Order(1) && part.maps() > 0 {
                self.note_partial(page, part.counts());
            }
            if n != kept {
                freed += self.put_part(page, part, to);
            }
        }
        drop(lock);
        if kept == 0 { freed } else { freed + self.put_part(head, self.desc(head), to) }
    }

    /// Gives up one reference to a part. Says how many pages were freed.
    #[inline]
    fn put_part(&self, part: Pfn, desc: &PageDesc, order: Order) -> u64 {
        if self.put_is_last(part, desc) { order.pages() } else { 0 }
    }
}
