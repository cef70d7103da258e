//! References to a folio: who keeps its memory from being reused, and how the last one lets it go.
//!
//! # Where a large folio keeps the rest
//! | what | where |
//! | --- | --- |
//! | PMD mappings ([`super::mapping`]) | first tail, where a head has its mappings |
//! | pins ([`super::pin`]) | second tail, likewise |
//! | links of the deferred list | first tail, `prev` and `next` |
//! | which pages are exclusive, while some are ([`super::exclusive`]) | first to eighth tail, `owner` |
//!
//! A tail's references stay zero, so that a walker with a stale frame number cannot take one. Anonymous
//! folios have order 0 or at least 2: there are always three tails or none.
//!
//! Corresponds to Linux's `folio_try_get`, `folio_put`, `folio_ref_freeze`.

use super::counts::{Counts, MOST_REFS};
use super::{Effort, Flag, Kind, Mobility, OutOfMemory, PageDesc};
use crate::mutant::Mutant;
use crate::{Hardware, Mm, Note};
use abi::{Order, Pfn};
use core::mem::ManuallyDrop;
use sync::atomic::Ordering;

/// Having this means: the folio that contains this page stays what it is, and its memory is not
/// reused, until it is dropped. The mapping may change meanwhile.
#[must_use = "the reference is given back at once"]
pub struct FolioRef<'m, H: Hardware> {
    mm: &'m Mm<H>,
    pfn: Pfn,
    /// It was taken to write to.
    writes: bool,
}

impl<'m, H: Hardware> FolioRef<'m, H> {
    /// Takes over a reference that was counted already.
    pub(crate) fn adopt(mm: &'m Mm<H>, pfn: Pfn) -> Self {
        Self { mm, pfn, writes: false }
    }

    /// The same, for somebody who writes past all page tables if `writes`.
    pub(crate) fn for_writing(self, writes: bool) -> Self {
        let this = ManuallyDrop::new(self);
        Self { mm: this.mm, pfn: this.pfn, writes }
    }

    /// The page that the reference was taken for; not necessarily the folio's first.
    pub fn pfn(&self) -> Pfn {
        self.pfn
    }

    /// The folio's first page.
    pub fn head(&self) -> Pfn {
        self.mm.frames.map().head(self.pfn).unwrap_or(self.pfn)
    }
}

impl<H: Hardware> FolioRef<'_, H> {
    /// Gives the reference back together with what the entry of a page owned.
    pub(crate) fn put_with_mapping(self) {
        let (mm, head) = (self.mm, self.head());
        core::mem::forget(self);
        let left = mm.subtract(head, Counts::mappings(1) + 1, 2);
        if left.maps() > 0 {
            mm.note_partial(head, left);
        }
    }
}

impl<H: Hardware> Drop for FolioRef<'_, H> {
    fn drop(&mut self) {
        let head = self.head();
        if self.writes {
            self.mm.note_written(head);
        }
        self.mm.head_put(head, 1);
    }
}

impl<H: Hardware> Mm<H> {
    /// The descriptor of a page that is known to be memory.
    #[inline]
    pub(crate) fn desc(&self, pfn: Pfn) -> &'static PageDesc {
        self.frames.map().desc(pfn)
    }

    /// Memory for a user, with one reference and no mapping. Its content is whatever was there.
    ///
    /// Context: as for [`Mm::alloc`].
    pub(crate) fn folio_alloc(&self, order: Order) -> Result<Pfn, OutOfMemory> {
        self.take(Effort::Full, order, Kind::Folio, 0, Counts::held(1))
    }

    /// As [`Mm::folio_alloc`], for what never moves: nobody could find all who show it.
    pub(crate) fn folio_alloc_fixed(&self, order: Order) -> Result<Pfn, OutOfMemory> {
        let taken = self.frames.take(&self.hw, Effort::Full, Mobility::Unmovable, order);
        self.owned(taken, order, Kind::Folio, 0, Counts::held(1))
    }

    /// Anonymous memory for `n` entries that the caller is about to store: it has their references and
    /// mappings already, every page is exclusive, and `owner` says who maps it.
    #[doc(alias("vma_alloc_folio", "folio_add_new_anon_rmap"))]
    #[inline]
    pub(crate) fn anon_alloc(&self, order: Order, n: u32, owner: u64) -> Result<Pfn, OutOfMemory> {
        self.anon_alloc_with(Effort::Full, order, n, owner)
    }

    /// As [`Mm::anon_alloc`], with no more than this effort.
    #[inline]
    pub(crate) fn anon_alloc_with(
        &self,
        effort: Effort,
        order: Order,
        n: u32,
        owner: u64,
    ) -> Result<Pfn, OutOfMemory> {
        let flags = Flag::Anon as u32;
        let head = self.take(effort, order, Kind::Folio, flags, Counts::mapped_exclusively(n))?;
        self.desc(head).owner.store(owner, Ordering::Relaxed);
        Ok(head)
    }

    /// Takes `n` references on the folio of a page seen in a table, unless it is frozen, free or no
    /// folio at all, and says which page is its head. The caller looks at the table again
    /// afterwards: what it saw may be long gone.
    ///
    /// A full barrier on success, so that the second look comes after the references are visible.
    #[doc(alias = "try_get_folio")]
    #[inline]
    pub(crate) fn folio_try_get(&self, pfn: Pfn, n: u32) -> Option<Pfn> {
        let head = self.frames.map().head(pfn)?;
        self.head_try_get(head, pfn, n).then_some(head)
    }

    /// Takes `n` references on what was the head of the folio of `pfn` a moment ago, if it still is.
    #[inline(always)]
    pub(crate) fn head_try_get(&self, head: Pfn, pfn: Pfn, n: u32) -> bool {
        let desc = self.desc(head);
        let most = if self.commits(Mutant::RefsUnlimited) { u32::MAX } else { MOST_REFS };
        self.hw.note(Note::Count(head));
        let more = |word| (1..most).contains(&Counts(word).refs()).then(|| word + u64::from(n));
        if desc.counts.fetch_update(Ordering::SeqCst, Ordering::Relaxed, more).is_err() {
            return false;
        }
        // The block may have been freed and cut anew between finding its head and counting on it.
        if desc.is_folio_with(pfn - head) || self.commits(Mutant::GupNoHeadRecheck) {
            return true;
        }
        // Put it on the head that was counted, not on today's.
        self.head_put(head, n);
        false
    }

    /// Takes `refs` references on a page if it is a folio by itself, as [`Mm::head_try_get`] does of what
    /// looked like one.
    #[inline(always)]
    pub(crate) fn small_try_get(&self, pfn: Pfn, desc: &PageDesc, refs: u32) -> bool {
        let most = if self.commits(Mutant::RefsUnlimited) { u32::MAX } else { MOST_REFS };
        self.hw.note(Note::Count(pfn));
        let mut word = desc.counts.load(Ordering::Relaxed);
        loop {
            if !(1..most).contains(&Counts(word).refs()) {
                return false;
            }
            let more = word + u64::from(refs);
            let (Ok(now) | Err(now)) =
                desc.counts.compare_exchange(word, more, Ordering::SeqCst, Ordering::Relaxed);
            if now == word {
                break;
            }
            word = now;
        }
        if desc.is_small_folio() || self.commits(Mutant::GupNoHeadRecheck) {
            return true;
        }
        self.head_put(pfn, refs);
        false
    }

    /// Adds `n` references to a folio that the caller already holds one of.
    #[inline]
    pub(crate) fn folio_get(&self, head: Pfn, n: u32) {
        self.desc(head).counts.fetch_add(u64::from(n), Ordering::Relaxed);
    }

    /// Gives back `n` references on a folio; the last one frees it.
    #[doc(alias = "folio_put")]
    #[inline]
    #[cfg_attr(feature = "sanitize", track_caller)]
    pub(crate) fn head_put(&self, head: Pfn, n: u32) {
        self.subtract(head, u64::from(n), n);
    }

    /// Gives back one reference on a head, whose descriptor is `desc`; says whether it was the last, and
    /// the folio is free now.
    #[doc(alias = "folio_put_testzero")]
    #[inline]
    #[cfg_attr(feature = "sanitize", track_caller)]
    pub(crate) fn put_is_last(&self, head: Pfn, desc: &PageDesc) -> bool {
        let before = Counts(desc.counts.fetch_sub(1, Ordering::AcqRel));
        let last = before.refs() == 1;
        if last {
            self.folio_free_rarely(head);
        }
        last
    }

    /// As [`Mm::folio_free`], where that is not the rule.
    #[cold]
    #[inline(never)]
    #[cfg_attr(feature = "sanitize", track_caller)]
    pub(super) fn folio_free_rarely(&self, head: Pfn) {
        self.folio_free(head);
    }

    /// Takes `refs` references from the counts, and what else is in `what`; the last reference frees the
    /// folio. Says what is left.
    #[inline]
    #[cfg_attr(feature = "sanitize", track_caller)]
    pub(super) fn subtract(&self, head: Pfn, what: u64, refs: u32) -> Counts {
        self.subtract_from(head, self.desc(head), what, refs)
    }

    /// As [`Mm::subtract`], where the head's descriptor is at hand.
    #[inline]
    #[cfg_attr(feature = "sanitize", track_caller)]
    pub(crate) fn subtract_from(&self, head: Pfn, desc: &PageDesc, what: u64, refs: u32) -> Counts {
        // Release: what this holder did comes before the free. Acquire: the free comes after what
        // every other holder did.
        let before = Counts(desc.counts.fetch_sub(what, Ordering::AcqRel));
        debug_assert!(before.refs() >= refs, "folio {head}: {refs} references of {before:?}");
        if before.refs() == refs {
            self.folio_free(head);
        }
        Counts(before.0 - what)
    }

    /// The last reference is gone.
    #[doc(alias = "__folio_put")]
    #[cfg_attr(feature = "sanitize", track_caller)]
    fn folio_free(&self, head: Pfn) {
        let desc = self.desc(head);
        debug_assert!(desc.maps() == 0, "folio {head} freed while mapped: {:?}", desc.counts());
        if desc.has(Flag::Queued) {
            self.deferred_forget(head);
        }
        self.give_back(head, Kind::Folio);
    }

    /// A folio that is still held was written to, past all page tables: no entry is dirty for it, and still
    /// it is not given up any more.
    #[doc(alias("folio_mark_dirty", "folio_set_swapbacked"))]
    #[inline]
    pub(crate) fn note_written(&self, head: Pfn) {
        let desc = self.desc(head);
        // Looked at first: nearly no folio is given up, and many are held by several.
        if desc.has(Flag::Lazy) && !self.commits(Mutant::HoldForgetsWrite) {
            desc.lower(Flag::Lazy);
        }
    }

    /// Takes all references at once if there are exactly `expected` and no mapping: afterwards nobody
    /// can get one, and the folio is the caller's alone.
    #[doc(alias = "folio_ref_freeze")]
    pub(crate) fn folio_freeze(&self, head: Pfn, expected: u32) -> bool {
        let counts = &self.desc(head).counts;
        let now = counts.load(Ordering::Relaxed);
        let seen = Counts(now);
        // What the word still says of exclusivity is in the migration entries too, and goes with the
        // unfreeze.
        seen.refs() == expected
            && seen.maps() == 0
            && counts
                .compare_exchange(
                    now,
                    now - u64::from(expected),
                    self.order(Ordering::SeqCst, Mutant::FreezeRelaxed),
                    Ordering::Relaxed,
                )
                .is_ok()
    }

    /// Freezes an unmapped folio to which nobody but the caller has a reference; or says who has.
    #[inline]
    pub(crate) fn folio_freeze_alone(&self, head: Pfn, unless: Mutant) -> Result<(), Counts> {
        while !self.folio_freeze(head, 1) {
            if self.commits(unless) {
                break;
            }
            let counts = self.desc(head).counts();
            if counts.maps() > 0 || counts.refs() > 1 {
                return Err(counts);
            }
        }
        Ok(())
    }

    /// Gives a frozen folio, or a new one made of a part of it, one reference and nothing else.
    /// Everything written to its descriptors before is seen by whoever takes another.
    #[doc(alias = "folio_ref_unfreeze")]
    pub(crate) fn folio_unfreeze(&self, head: &PageDesc) {
        let release = self.order(Ordering::Release, Mutant::UnfreezeRelaxed);
        head.counts.store(Counts::held(1).0, release);
    }
}
