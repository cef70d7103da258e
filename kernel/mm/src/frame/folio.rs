//! References, mappings and pins of a folio, and its lock.
//!
//! # Where a large folio keeps the rest
//! | what | where |
//! | --- | --- |
//! | PMD mappings | first tail, where a head has its mappings |
//! | pins | second tail, likewise |
//! | links of the deferred list | first tail, `prev` and `next` |
//! | which pages are exclusive, while some are | first to eighth tail, `owner` |
//!
//! A tail's references stay zero, so that a walker with a stale frame number cannot take one. Anonymous
//! folios have order 0 or at least 2: there are always three tails or none.
//!
//! Corresponds to Linux's `folio_try_get`, `folio_put`, `folio_add_pins`, `folio_lock`.

use super::counts::{Counts, MOST_REFS};
use super::{Effort, Flag, Kind, OutOfMemory, PageDesc};
use crate::mutant::Mutant;
use crate::{Hardware, Mm, Note};
use abi::{Event, Order, Pfn};
use core::mem::ManuallyDrop;
use sync::WaitKey;
use sync::atomic::Ordering;

/// References that one pin of a small folio counts as.
#[doc(alias = "GUP_PIN_COUNTING_BIAS")]
pub const PIN_BIAS: u32 = 1024;

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
        if self.writes {
            self.mm.note_written(self.pfn);
        }
        self.mm.folio_put(self.pfn, 1);
    }
}

/// Having this means: the page may be read and written by a device, past all page tables; the mapping
/// it was pinned through goes on showing this page, also across a fork.
#[doc(alias = "FOLL_PIN")]
#[must_use = "the pin is given back at once"]
pub struct FolioPin<'m, H: Hardware> {
    mm: &'m Mm<H>,
    pfn: Pfn,
    writes: bool,
}

impl<H: Hardware> FolioPin<'_, H> {
    /// The page that was pinned.
    pub fn pfn(&self) -> Pfn {
        self.pfn
    }
}

impl<H: Hardware> Drop for FolioPin<'_, H> {
    /// Corresponds to Linux's `unpin_user_page`, and where it was for writing to
    /// `unpin_user_pages_dirty_lock`.
    fn drop(&mut self) {
        if self.writes {
            self.mm.note_written(self.pfn);
        }
        self.mm.folio_unpin(self.pfn);
    }
}

/// Having this means: nobody else splits, migrates or frees the folio's identity.
#[doc(alias = "folio_lock")]
#[must_use = "the lock is released at once"]
pub struct FolioLock<'m, H: Hardware> {
    mm: &'m Mm<H>,
    head: Pfn,
}

impl<H: Hardware> FolioLock<'_, H> {
    /// The folio's first page.
    pub fn head(&self) -> Pfn {
        self.head
    }
}

impl<H: Hardware> Drop for FolioLock<'_, H> {
    fn drop(&mut self) {
        self.mm.folio_unlock(self.head);
    }
}

/// The tail that counts a large folio's PMD mappings.
const PMD_MAPS: u64 = 1;
/// The tail that counts a large folio's pins.
const PINS: u64 = 2;

impl<H: Hardware> Mm<H> {
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

    /// Adds `n` references to a folio that the caller already holds one of.
    #[inline]
    pub(crate) fn folio_get(&self, head: Pfn, n: u32) {
        self.desc(head).counts.fetch_add(u64::from(n), Ordering::Relaxed);
    }

    /// Gives back `n` references on the folio that contains `pfn`; the last one frees it.
    #[inline]
    #[cfg_attr(feature = "sanitize", track_caller)]
    pub(crate) fn folio_put(&self, pfn: Pfn, n: u32) {
        if let Some(head) = self.frames.map().head(pfn) {
            self.head_put(head, n);
        }
    }

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
    fn folio_free_rarely(&self, head: Pfn) {
        self.folio_free(head);
    }

    /// `n` more entries map pages of the folio, each with a reference.
    #[doc(alias("folio_dup_anon_rmap_ptes", "folio_add_anon_rmap_ptes"))]
    #[inline]
    pub(crate) fn folio_map(&self, head: Pfn, n: u32) {
        self.desc(head).counts.fetch_add(Counts::mappings(n), Ordering::Relaxed);
    }

    /// `n` entries that mapped pages of the folio are gone, and so are their translations: gives back
    /// mappings and references in one step. A large folio that is left partly mapped is remembered for
    /// splitting.
    ///
    /// Context: no spin lock of class `Folio` or later.
    #[doc(alias("folio_remove_rmap_ptes", "folio_remove_rmap_pmd"))]
    #[inline]
    #[cfg_attr(feature = "sanitize", track_caller)]
    pub(crate) fn folio_unmap(&self, head: Pfn, n: u32) {
        let left = self.subtract(head, Counts::mappings(n), n);
        if left.maps() > 0 {
            self.note_partial(head, left);
        }
    }

    /// As [`Mm::folio_unmap`] for one entry of a folio of one page, which `desc` describes.
    #[inline]
    pub(crate) fn small_unmap(&self, pfn: Pfn, desc: &PageDesc) {
        let before = Counts(desc.counts.fetch_sub(Counts::mappings(1), Ordering::AcqRel));
        debug_assert!(before.maps() > 0, "page {pfn} unmapped once too often: {before:?}");
        if before.refs() == 1 {
            self.folio_free_rarely(pfn);
        }
    }

    /// As [`Mm::folio_unmap`], of a folio whose lock and one more reference the caller holds: it is not
    /// freed here, and a large one is not remembered, since its mappings are to come back.
    #[inline]
    pub(crate) fn folio_unmap_held(&self, head: Pfn, n: u32) {
        let before =
            Counts(self.desc(head).counts.fetch_sub(Counts::mappings(n), Ordering::AcqRel));
        debug_assert!(before.maps() >= n && before.refs() > n, "folio {head}: {n} of {before:?}");
    }

    #[inline]
    #[cfg_attr(feature = "sanitize", track_caller)]
    fn subtract(&self, head: Pfn, what: u64, refs: u32) -> Counts {
        // Release: what this holder did comes before the free. Acquire: the free comes after what
        // every other holder did.
        let before = Counts(self.desc(head).counts.fetch_sub(what, Ordering::AcqRel));
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

    /// One more PMD maps the folio; its mapping and reference are counted elsewhere.
    #[inline]
    pub(crate) fn count_pmd_map(&self, head: Pfn) {
        self.desc(head + PMD_MAPS).counts.fetch_add(Counts::maps_only(1), Ordering::Relaxed);
    }

    /// One PMD less maps the folio; its mapping and reference are given back elsewhere.
    #[inline]
    pub(crate) fn uncount_pmd_map(&self, head: Pfn) {
        self.desc(head + PMD_MAPS).counts.fetch_sub(Counts::maps_only(1), Ordering::Relaxed);
    }

    /// PMDs that map the folio.
    #[doc(alias = "folio_entire_mapcount")]
    pub fn pmd_maps(&self, head: Pfn) -> u32 {
        let large = self.desc(head).order() > Order::PAGE;
        if large { self.desc(head + PMD_MAPS).counts().maps() } else { 0 }
    }

    // --- pins ------------------------------------------------------------------------------------

    /// Takes a pin on the folio of a page seen in a table, as [`Mm::folio_try_get`] takes references: a
    /// small folio's is so many references, a large one's is counted besides. No barrier comes after
    /// the counting of a large folio's pin: the caller executes one, and looks again.
    #[doc(alias("try_grab_folio", "try_grab_folio_fast"))]
    #[inline]
    pub(crate) fn folio_try_pin(&self, pfn: Pfn) -> Option<Pfn> {
        let head = self.frames.map().head(pfn)?;
        self.head_try_pin(head, pfn).then_some(head)
    }

    /// Pins what was the head of the folio of `pfn` a moment ago, if it still is.
    #[inline(always)]
    pub(crate) fn head_try_pin(&self, head: Pfn, pfn: Pfn) -> bool {
        let desc = self.desc(head);
        // Right once there is a reference; until then a guess, which is checked.
        let small = desc.order() == Order::PAGE;
        let refs = if small { PIN_BIAS } else { 1 };
        if !self.head_try_get(head, pfn, refs) {
            return false;
        }
        if (desc.order() == Order::PAGE) != small {
            self.head_put(head, refs);
            return false;
        }
        if !small {
            self.desc(head + PINS).counts.fetch_add(Counts::maps_only(1), Ordering::Relaxed);
        }
        self.count(Event::PinAcquired, 1);
        true
    }

    /// Gives back a pin of the folio that contains `pfn`. Pins of the shared zeros are counted by nobody.
    #[doc(alias("unpin_user_page", "gup_put_folio"))]
    pub(crate) fn folio_unpin(&self, pfn: Pfn) {
        let Some(head) = self.frames.map().head(pfn) else { return };
        let desc = self.desc(head);
        if desc.has(Flag::Zero) {
            return;
        }
        self.count(Event::PinReleased, 1);
        if desc.order() == Order::PAGE {
            self.head_put(head, PIN_BIAS);
        } else {
            self.desc(head + PINS).counts.fetch_sub(Counts::maps_only(1), Ordering::Release);
            self.head_put(head, 1);
        }
    }

    /// A pin as a value; of somebody who writes past all page tables if `writes`.
    pub(crate) fn pinned(&self, pfn: Pfn, writes: bool) -> FolioPin<'_, H> {
        FolioPin { mm: self, pfn, writes }
    }

    /// A folio that is still held was written to, past all page tables: no entry is dirty for it, and still
    /// it is not given up any more.
    #[doc(alias("folio_mark_dirty", "folio_set_swapbacked"))]
    fn note_written(&self, pfn: Pfn) {
        let Some(head) = self.frames.map().head(pfn) else { return };
        let desc = self.desc(head);
        // Looked at first: nearly no folio is given up, and many are held by several.
        if desc.has(Flag::Lazy) && !self.commits(Mutant::HoldForgetsWrite) {
            desc.lower(Flag::Lazy);
        }
    }

    /// Whether somebody may have pinned it. Never wrong when it says no; of a small folio with a
    /// thousand references it says yes.
    #[doc(alias = "folio_maybe_dma_pinned")]
    #[inline]
    pub(crate) fn may_be_pinned(&self, head: Pfn) -> bool {
        let desc = self.desc(head);
        match desc.order() {
            Order::PAGE => desc.refs() >= PIN_BIAS,
            _ => self.pins(head) > 0,
        }
    }

    /// Pins of a large folio; of a small one, as many as its references may hold.
    pub fn pins(&self, head: Pfn) -> u32 {
        match self.desc(head).order() {
            Order::PAGE => self.desc(head).refs() / PIN_BIAS,
            _ => Counts(self.desc(head + PINS).counts.load(Ordering::Acquire)).maps(),
        }
    }

    // --- freezing --------------------------------------------------------------------------------

    /// Takes all references at once if there are exactly `expected` and no mapping: afterwards nobody
    /// can get one, and the folio is the caller's alone.
    #[doc(alias = "folio_ref_freeze")]
    pub(crate) fn folio_freeze(&self, head: Pfn, expected: u32) -> bool {
        let counts = &self.desc(head).counts;
        let now = counts.load(Ordering::Relaxed);
        let seen = Counts(now);
        // Exclusivity stays readable: it is in the entries too, but the word is restored as it was.
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

    /// Gives a frozen folio, or a new one made of a part of it, one reference and nothing else.
    /// Everything written to its descriptors before is seen by whoever takes another.
    #[doc(alias = "folio_ref_unfreeze")]
    pub(crate) fn folio_unfreeze(&self, head: &PageDesc) {
        let release = self.order(Ordering::Release, Mutant::UnfreezeRelaxed);
        head.counts.store(Counts::held(1).0, release);
    }

    // --- the lock --------------------------------------------------------------------------------

    /// Waits for the folio's lock. The caller holds a reference, so that the folio stays one.
    ///
    /// Context: thread, may sleep; no spin lock, no claim on an area.
    pub(crate) fn folio_lock(&self, head: Pfn) -> FolioLock<'_, H> {
        let desc = self.desc(head);
        if desc.raise(Flag::Locked) {
            self.hw.wait(WaitKey::of(desc), &mut || {
                !desc.raise(Flag::Locked) || {
                    desc.raise(Flag::Waiters);
                    // It may have been released before the mark was seen.
                    !desc.raise(Flag::Locked)
                }
            });
        }
        FolioLock { mm: self, head }
    }

    /// Takes the folio's lock if it is free. Any context.
    #[doc(alias = "folio_trylock")]
    pub(crate) fn folio_try_lock(&self, head: Pfn) -> Option<FolioLock<'_, H>> {
        (!self.desc(head).raise(Flag::Locked)).then(|| FolioLock { mm: self, head })
    }

    pub(crate) fn folio_unlock(&self, head: Pfn) {
        self.unlock(self.desc(head));
    }

    /// As [`Mm::folio_unlock`], by the head's descriptor.
    #[inline]
    pub(crate) fn unlock(&self, desc: &PageDesc) {
        if desc.unlock() {
            self.hw.wake(WaitKey::of(desc));
        }
    }

    /// Sleeps until the lock of the folio that contains `pfn` has been free once. Takes no reference and
    /// touches nothing of the folio after waking: by then it may be gone.
    ///
    /// Context: thread, may sleep; no spin lock, no claim on an area.
    #[doc(alias("migration_entry_wait", "folio_put_wait_locked"))]
    pub(crate) fn folio_wait_unlocked(&self, head: Pfn) {
        let desc = self.desc(head);
        self.hw.wait(WaitKey::of(desc), &mut || {
            desc.raise(Flag::Waiters);
            !desc.has(Flag::Locked)
        });
    }
}

/// Tells the machine that a block changed hands.
impl<H: Hardware> Mm<H> {
    /// Takes a block for `kind`, with what it counts from the beginning.
    #[inline]
    #[cfg_attr(feature = "sanitize", track_caller)]
    pub(crate) fn take(
        &self,
        effort: Effort,
        order: Order,
        kind: Kind,
        flags: u32,
        counts: Counts,
    ) -> Result<Pfn, OutOfMemory> {
        if order > Order::MAX {
            return Err(OutOfMemory { order });
        }
        let Some(pfn) = self.frames.take(&self.hw, effort, order) else {
            self.count(Event::AllocFail, 1);
            return Err(OutOfMemory { order });
        };
        self.desc(pfn).own(kind, order, flags, counts);
        self.count(Event::PgAlloc, order.pages());
        self.hw.note(Note::FrameAlloc(pfn, order));
        Ok(pfn)
    }

    /// Gives a block back. No translation may reach it any more.
    ///
    /// # Panics
    /// When the block at `pfn` is not `kind`'s: a double free, or the wrong page.
    #[inline(always)]
    #[cfg_attr(feature = "sanitize", track_caller)]
    pub(crate) fn give_back(&self, pfn: Pfn, kind: Kind) {
        let desc = self.desc(pfn);
        match desc.disown(pfn, kind) {
            Order::PAGE => {
                self.count(Event::PgFree, 1);
                self.hw.note(Note::FrameFree(pfn, Order::PAGE));
                self.frames.give_page(&self.hw, pfn, desc);
            }
            order => self.give_back_block(pfn, desc, order),
        }
    }

    #[inline(never)]
    fn give_back_block(&self, pfn: Pfn, desc: &PageDesc, order: Order) {
        self.count(Event::PgFree, order.pages());
        self.hw.note(Note::FrameFree(pfn, order));
        self.frames.give(&self.hw, pfn, desc, order);
    }
}

/// Small folios whose last reference went with the entry that mapped them: freed together.
#[doc(alias("folio_batch", "free_unref_folios"))]
pub(crate) struct Freed<'m, H: Hardware> {
    mm: &'m Mm<H>,
    pages: [Pfn; 32],
    len: usize,
}

impl<'m, H: Hardware> Freed<'m, H> {
    pub(crate) fn new(mm: &'m Mm<H>) -> Self {
        Self { mm, pages: [Pfn(0); 32], len: 0 }
    }

    /// Gives back what one entry owned of the small folio `pfn`, whose descriptor is `desc`.
    #[inline]
    #[cfg_attr(feature = "sanitize", track_caller)]
    pub(crate) fn unmap(&mut self, pfn: Pfn, desc: &PageDesc) {
        let before = Counts(desc.counts.fetch_sub(Counts::mappings(1), Ordering::AcqRel));
        debug_assert!(before.maps() > 0, "page {pfn} unmapped once too often: {before:?}");
        if before.refs() != 1 {
            return;
        }
        self.mm.hw.note(Note::FrameFree(pfn, Order::PAGE));
        desc.set(Kind::Stocked, Order::PAGE);
        self.pages[self.len] = pfn;
        self.len += 1;
        if self.len == self.pages.len() {
            self.give();
        }
    }

    fn give(&mut self) {
        self.mm.count(Event::PgFree, self.len as u64);
        self.mm.frames.give_pages(&self.mm.hw, &mut self.pages[..self.len]);
        self.len = 0;
    }
}

impl<H: Hardware> Drop for Freed<'_, H> {
    fn drop(&mut self) {
        if self.len > 0 {
            self.give();
        }
    }
}
