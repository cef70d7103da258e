//! References to an owned block of user memory.
//!
//! Corresponds to Linux's `folio_try_get`, `folio_put`.

use super::Kind;
use crate::{Hardware, Mm};
use abi::Pfn;
use core::sync::atomic::Ordering;

/// Having this means: the folio that contains this page stays what it is, and its memory is not
/// reused, until it is dropped. The mapping may change meanwhile.
pub struct FolioRef<'m, H: Hardware> {
    mm: &'m Mm<H>,
    pfn: Pfn,
}

impl<H: Hardware> FolioRef<'_, H> {
    /// The page that the reference was taken for; not necessarily the folio's first.
    pub fn pfn(&self) -> Pfn {
        self.pfn
    }
}

impl<H: Hardware> Drop for FolioRef<'_, H> {
    fn drop(&mut self) {
        self.mm.folio_put(self.pfn, 1);
    }
}

impl<H: Hardware> Mm<H> {
    /// Takes a reference on the folio of a page seen in a table, unless it is frozen, free or no
    /// folio at all. The caller looks at the table again afterwards: what it saw may be long gone.
    ///
    /// A full barrier on success, so that the second look comes after the reference is visible.
    #[inline]
    pub(crate) fn folio_try_get(&self, pfn: Pfn) -> Option<FolioRef<'_, H>> {
        let map = self.frames.map();
        let head = map.head(pfn)?;
        let refs = &map.desc(head).refs;
        refs.fetch_update(Ordering::SeqCst, Ordering::Relaxed, |n| {
            // Zero is frozen or free; near the top, somebody takes references and never puts them.
            (n > 0 && n < i32::MAX / 2).then(|| n + 1)
        })
        .ok()?;
        let folio = FolioRef { mm: self, pfn };
        // The block may have been freed and cut anew between finding its head and counting on it.
        if map.head(pfn) == Some(head) && map.desc(head).kind() == Kind::Folio {
            Some(folio)
        } else {
            // Put it on the head that was counted, not on today's.
            core::mem::forget(folio);
            self.head_put(head, 1);
            None
        }
    }

    /// Adds `n` references to a folio that the caller already holds one of.
    #[inline]
    pub(crate) fn folio_get(&self, head: Pfn, n: i32) {
        self.frames.map().desc(head).refs.fetch_add(n, Ordering::Relaxed);
    }

    /// Gives back `n` references on the folio that contains `pfn`; the last one frees it.
    #[inline]
    pub(crate) fn folio_put(&self, pfn: Pfn, n: i32) {
        if let Some(head) = self.frames.map().head(pfn) {
            self.head_put(head, n);
        }
    }

    #[inline]
    fn head_put(&self, head: Pfn, n: i32) {
        let refs = &self.frames.map().desc(head).refs;
        // Release: what this holder did comes before the free. Acquire: the free comes after what
        // every other holder did.
        let before = refs.fetch_sub(n, Ordering::AcqRel);
        debug_assert!(before >= n, "folio {head}: {n} references given back of {before}");
        if before == n {
            self.free(head, Kind::Folio);
        }
    }
}
