//! A folio's lock: whoever holds it splits the folio, migrates it, or takes its mappings out.
//!
//! Two bits beside the kind: that it is locked, and that somebody sleeps. Whoever faults on a migration
//! entry sleeps until the lock is free, too, and holds nothing of the folio meanwhile.
//!
//! Corresponds to Linux's `folio_lock`, `folio_unlock`, `migration_entry_wait`.

use super::{Flag, PageDesc};
use crate::{Hardware, Mm};
use abi::Pfn;
use sync::WaitKey;

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
        self.mm.folio_unlock(self.mm.desc(self.head));
    }
}

impl<H: Hardware> Mm<H> {
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
    #[inline]
    pub(crate) fn folio_try_lock(&self, head: Pfn) -> Option<FolioLock<'_, H>> {
        (!self.desc(head).raise(Flag::Locked)).then(|| FolioLock { mm: self, head })
    }

    /// Releases the lock of the folio whose head `desc` describes, and wakes who sleeps until then.
    #[inline]
    pub(crate) fn folio_unlock(&self, desc: &PageDesc) {
        if desc.unlock() {
            self.hw.wake(WaitKey::of(desc));
        }
    }

    /// Sleeps until the lock of the folio that begins at `head` has been free once. Takes no reference and
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
