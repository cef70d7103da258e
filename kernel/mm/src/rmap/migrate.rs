//! Taking a folio's mappings away for a while: migration entries in, and mappings back.
//!
//! While its entries are migration entries nobody reaches the folio, and whoever faults on one sleeps
//! until the folio's lock is released, which is after the mappings are back. Entries own no reference
//! and no mapping: the folio's lock and a reference of whoever took the mappings away keep the frame.
//! Everything that the mappings said (written, used, exclusive, protected by userfaultfd) is in the
//! entries. What others change meanwhile holds: mprotect and fork weaken entries, mremap moves them,
//! munmap and exit take them out.
//!
//! What comes back may name another frame for each page. A migration copies between taking out and
//! putting back; a split gives the same pages new heads; a failure of either puts back what was there.
//!
//! Corresponds to Linux's `try_to_migrate` and `remove_migration_ptes`.

use super::{Owner, Stretch};
use crate::frame::FolioLock;
use crate::mutant::Mutant;
use crate::tlb::Owed;
use crate::{Hardware, Mm};
use abi::Pfn;
use core::ops::ControlFlow;
use core::sync::atomic::Ordering;

/// What to do with huge entries.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Blocks {
    /// One migration entry stands for all 512 pages.
    Keep,
    /// Each page gets one of its own, for the pages may part.
    Split,
}

/// The pages of a folio, and who may map them, as of when its mappings were taken out: by this the
/// entries are found again, whatever the folio has become since.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Extent {
    /// The first page.
    pub(super) head: Pfn,
    /// How many.
    pub(super) pages: u64,
    /// What they are called.
    pub(super) owner: Owner,
}

impl Extent {
    /// Of a locked folio: nobody splits it, so all of this stays.
    pub(crate) fn of<H: Hardware>(mm: &Mm<H>, lock: &FolioLock<'_, H>) -> Self {
        let head = lock.head();
        let desc = mm.desc(head);
        let owner = Owner::from_word(desc.owner.load(Ordering::Relaxed));
        Self { head, pages: desc.order().pages(), owner }
    }

    /// The same, of what is known already.
    pub(crate) const fn new(head: Pfn, pages: u64, owner: Owner) -> Self {
        Self { head, pages, owner }
    }
}

impl<H: Hardware> Mm<H> {
    /// Makes migration entries of the folio's mappings. A mapping that a pin relies on stays, and then
    /// perhaps others: who needs all of them gone asks the folio's counts.
    ///
    /// A CPU may have translations of what was taken out until `owed` is settled.
    ///
    /// Context: as [`Mm::rmap_walk`]; the folio is locked, and the caller holds a reference.
    #[doc(alias = "try_to_migrate_one")]
    pub(crate) fn try_to_migrate(&self, extent: &Extent, blocks: Blocks, owed: &mut Owed<'_, H>) {
        self.rmap_walk(extent.owner, extent.pages, |stretch: &Stretch<'_>| {
            match self.take_out(extent, stretch, blocks, owed) {
                // The rest of the walk, however many mappings were split on the way.
                Ok(()) if self.desc(extent.head).maps() > 0 => {}
                _ => return ControlFlow::Break(()),
            }
            match self.commits(Mutant::WalkStopsEarly) {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            }
        });
    }

    /// Makes mappings of the migration entries of a folio: of the pages from `to` on for those that were
    /// its. Of whatever folios they are, the caller holds references and locks of them all. No flush of
    /// what was taken out is owed any more.
    ///
    /// Context: as [`Mm::rmap_walk`]; what the entries name is locked until this returns.
    #[doc(alias("remove_migration_ptes", "remap_page"))]
    pub(crate) fn remove_migration(&self, extent: &Extent, to: Pfn) {
        self.rmap_walk(extent.owner, extent.pages, |stretch| {
            self.put_back(extent, stretch, to);
            ControlFlow::Continue(())
        });
        // Whoever unmapped some of it meanwhile found entries that own nothing.
        if !self.commits(Mutant::ThawForgetsPartial) {
            self.note_partial(to, self.desc(to).counts());
        }
    }
}
