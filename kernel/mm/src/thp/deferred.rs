//! Folios that are only partly mapped: remembered, and split when memory is short.
//!
//! A large folio some of whose pages were unmapped keeps the memory of all. Splitting it at once would
//! often be in vain (the rest is about to go as well) and needs what an unmapping cannot have: the
//! folio's lock, and time. So it goes on a list, which is gone through when an allocation has
//! failed; the pages that nobody maps are freed then.
//!
//! # On the list or not
//! [`Flag::Queued`] says it, and both change together under the list's lock. Whoever puts a folio on
//! the list holds a reference, so it is no folio that is being freed or split; whoever frees or splits one
//! takes it off first, while nobody else can get a reference. Whoever goes through the list takes a
//! reference before he takes the folio off; where he gets none, he leaves it to the one who is about to.
//!
//! Corresponds to Linux's `deferred_split_folio` and `deferred_split_scan`.

use super::split_folio::SplitError;
use crate::frame::{Counts, Flag, FolioRef, NIL};
use crate::mutant::Mutant;
use crate::{Hardware, Mm, PageDesc};
use abi::{Event, Order, Pfn};
use core::sync::atomic::Ordering::Relaxed;
use sync::{Class, SpinLock};

/// The folios to be split when memory is short.
#[doc(alias = "deferred_split_queue")]
pub(crate) struct Deferred {
    list: SpinLock<List>,
}

/// Heads, linked in both directions through their first tails' `next` and `prev`; the longest on the list
/// comes first.
struct List {
    first: u32,
    last: u32,
    len: u64,
}

impl Deferred {
    pub(crate) fn new() -> Self {
        let list = List { first: NIL, last: NIL, len: 0 };
        Self { list: SpinLock::new(Class::DeferredSplit, list) }
    }
}

/// Where a large folio keeps its links.
const LINKS: u64 = 1;

impl<H: Hardware> Mm<H> {
    /// Mappings of the folio went and `left` remain: if it is partly mapped now, it is remembered.
    ///
    /// Context: any; no spin lock of class `Folio` or later.
    #[doc(alias = "deferred_split_folio")]
    #[inline]
    pub(crate) fn note_partial(&self, head: Pfn, left: Counts) {
        // Who unmapped it has no reference any more: this may be anything by now, and is a hint.
        let desc = self.desc(head);
        if desc.order() > Order(1)
            && u64::from(left.maps()) < desc.order().pages()
            && !desc.has(Flag::Queued)
        {
            self.defer(head);
        }
    }

    /// Puts a folio on the list if it belongs there.
    #[cold]
    fn defer(&self, head: Pfn) {
        // What a PMD still maps is mapped whole: the usual case of what others share.
        if self.pmd_maps(head) > 0 {
            return;
        }
        if self.commits(Mutant::DeferredUnheld) {
            self.append(&mut self.deferred.list.lock(&self.hw), head);
            self.desc(head).raise(Flag::Queued);
            return;
        }
        let Some(found) = self.folio_try_get(head, 1) else { return };
        let folio = FolioRef::adopt(self, head);
        let desc = self.desc(found);
        if found == head && self.is_partial(desc, head) {
            let mut list = self.deferred.list.lock(&self.hw);
            if !desc.raise(Flag::Queued) {
                desc.raise(Flag::Partial);
                self.append(&mut list, head);
                self.count(Event::ThpDeferredSplit, 1);
            }
        }
        // Perhaps the last reference, so without the list's lock.
        drop(folio);
    }

    /// Whether some pages of the folio are mapped and some are not. A folio that a PMD maps is mapped
    /// whole.
    #[doc(alias = "folio_test_partially_mapped")]
    fn is_partial(&self, desc: &PageDesc, head: Pfn) -> bool {
        let maps = u64::from(desc.maps());
        let large = desc.order() > Order(1);
        large
            && desc.has(Flag::Anon)
            && maps > 0
            && maps < desc.order().pages()
            && self.pmd_maps(head) == 0
    }

    /// A folio on the list is about to be freed or split, and nobody can get a reference to it.
    #[doc(alias = "folio_unqueue_deferred_split")]
    pub(crate) fn deferred_forget(&self, head: Pfn) {
        let mut list = self.deferred.list.lock(&self.hw);
        if self.desc(head).lower(Flag::Queued) && !self.commits(Mutant::DeferredForgotten) {
            self.unlink(&mut list, head);
        }
    }

    /// Splits folios on the list until `pages` pages were freed, or each was tried once. Says how many
    /// were freed.
    ///
    /// Context: thread, may sleep; holds no lock, no claim on any space.
    #[doc(alias = "deferred_split_scan")]
    pub fn reclaim_deferred(&self, pages: u64) -> u64 {
        let mut tries = self.deferred.list.lock(&self.hw).len;
        let mut freed = 0;
        while freed < pages && tries > 0 {
            let Some(folio) = self.next_deferred() else { break };
            freed += self.split_deferred(&folio);
            tries -= 1;
        }
        freed
    }

    /// Frees `pages` pages, if that can be done without taking anything from anybody: memory that folios
    /// hold and nobody maps, then memory that programs have given up. Says how many were freed.
    ///
    /// Context: as [`Mm::reclaim_deferred`]. For whoever was refused memory and has let go of all he held.
    #[doc(alias("try_to_free_pages", "shrink_slab"))]
    pub fn shrink(&self, pages: u64) -> u64 {
        let freed = self.reclaim_deferred(pages);
        if freed < pages { freed + self.reclaim_lazy(pages - freed) } else { freed }
    }

    /// Takes the first folio off the list that is not about to leave it anyway.
    fn next_deferred(&self) -> Option<FolioRef<'_, H>> {
        let mut list = self.deferred.list.lock(&self.hw);
        let mut at = list.first;
        while at != NIL {
            let head = self.frames.map().pfn(at);
            if self.folio_try_get(head, 1).is_some() {
                self.desc(head).lower(Flag::Queued);
                self.unlink(&mut list, head);
                return Some(FolioRef::adopt(self, head));
            }
            at = self.links(head).next.load(Relaxed);
        }
        None
    }

    /// Splits a folio that was on the list. What cannot be split now, and still is partly mapped, goes back
    /// to the end.
    fn split_deferred(&self, folio: &FolioRef<'_, H>) -> u64 {
        let head = folio.pfn();
        let lock = self.folio_try_lock(head).ok_or(SplitError::Locked);
        match lock.and_then(|lock| self.split_locked(lock, head, Order::PAGE)) {
            // Our reference is on the first page; if nobody maps it, it goes with that.
            Ok(freed) => freed + u64::from(self.desc(head).refs() == 1),
            Err(_) => {
                self.note_partial(head, self.desc(head).counts());
                0
            }
        }
    }

    /// Folios on the list.
    #[doc(alias = "split_queue_len")]
    pub fn deferred_folios(&self) -> u64 {
        self.deferred.list.lock(&self.hw).len
    }

    /// Each folio on the list; never more than it says it has, however broken it is. For audits.
    pub(crate) fn each_deferred(&self, mut each: impl FnMut(Pfn)) {
        let list = self.deferred.list.lock(&self.hw);
        let (mut at, mut left) = (list.first, list.len);
        while at != NIL && left > 0 {
            let head = self.frames.map().pfn(at);
            each(head);
            at = self.links(head).next.load(Relaxed);
            left -= 1;
        }
    }

    fn links(&self, head: Pfn) -> &'static PageDesc {
        self.desc(head + LINKS)
    }

    fn append(&self, list: &mut List, head: Pfn) {
        let index = self.frames.map().index(head);
        self.links(head).next.store(NIL, Relaxed);
        self.links(head).prev.store(list.last, Relaxed);
        match list.last {
            NIL => list.first = index,
            last => self.links(self.frames.map().pfn(last)).next.store(index, Relaxed),
        }
        list.last = index;
        list.len += 1;
    }

    fn unlink(&self, list: &mut List, head: Pfn) {
        let links = self.links(head);
        let (next, prev) = (links.next.load(Relaxed), links.prev.load(Relaxed));
        match prev {
            NIL => list.first = next,
            prev => self.links(self.frames.map().pfn(prev)).next.store(next, Relaxed),
        }
        match next {
            NIL => list.last = prev,
            next => self.links(self.frames.map().pfn(next)).prev.store(prev, Relaxed),
        }
        list.len -= 1;
    }
}
