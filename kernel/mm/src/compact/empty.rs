//! Emptying one page block.
//!
//! Folios are found by walking the descriptors: a head that is a folio's is a guess until a reference is taken,
//! and what it is a part of may change until its lock is held. What cannot be moved at once ends the work on
//! this page block, not on the others.

use super::Compactor;
use crate::Hardware;
use crate::frame::{Counts, Flag, FolioRef, Kind, OutOfMemory, PAGE_BLOCK};
use crate::migrate::Batch;
use crate::mutant::Mutant;
use abi::{Order, Pfn};

/// What became of a page block.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Outcome {
    /// All of it is free.
    Made,
    /// Something in it cannot be moved now.
    Busy,
}

impl<'m, H: Hardware> Compactor<'m, H> {
    /// Moves all that is in the page block from `first` on elsewhere, and counts the pages moved.
    #[doc(alias = "isolate_migratepages_block")]
    pub(super) fn empty(&mut self, first: Pfn, moved: &mut u64) -> Result<Outcome, OutOfMemory> {
        let mm = self.mm;
        if !self.is_movable(first) {
            return Ok(Outcome::Busy);
        }
        let Ok(isolated) = mm.isolate(first) else { return Ok(Outcome::Busy) };
        let mut batch = Batch::new(mm, PAGE_BLOCK.pages() as usize)?;
        if !self.gather(first, &mut batch) {
            return Ok(Outcome::Busy);
        }
        batch.run(|place| {
            // It is in use again, and in pieces perhaps: good enough to count.
            *moved += place.map_or(0, |head| mm.desc(head).order().pages());
        });
        drop(batch);
        let whole = mm.frames.survey(first).free == PAGE_BLOCK.pages();
        if mm.commits(Mutant::CompactLeavesIsolated) {
            core::mem::forget(isolated);
        }
        Ok(if whole { Outcome::Made } else { Outcome::Busy })
    }

    /// Whether nothing in the page block seems to be held by anybody but the entries that map it. A guess,
    /// so that pages are not moved in vain.
    fn is_movable(&self, first: Pfn) -> bool {
        let descs = self.mm.frames.map().block(first, PAGE_BLOCK);
        descs.iter().all(|desc| match desc.kind() {
            Kind::Folio => {
                let counts = desc.counts();
                desc.has(Flag::Anon) && !desc.has(Flag::Zero) && counts.refs() == counts.maps()
            }
            Kind::Table | Kind::Kernel => false,
            Kind::Tail | Kind::Free | Kind::Stocked => true,
        })
    }

    /// Takes every folio of the page block into the batch, each with a place to go. Says whether all are in
    /// it; then nothing else is in the page block.
    fn gather(&mut self, first: Pfn, batch: &mut Batch<'m, H>) -> bool {
        let mm = self.mm;
        let end = first + PAGE_BLOCK.pages();
        let mut at = first;
        while at < end {
            let desc = mm.desc(at);
            match desc.kind() {
                Kind::Folio => {}
                Kind::Table | Kind::Kernel => return false,
                _ => {
                    at = at + 1;
                    continue;
                }
            }
            let Some(head) = mm.folio_try_get(at, 1) else {
                // Frozen, or just freed.
                at = at + 1;
                continue;
            };
            let folio = FolioRef::adopt(mm, head);
            if batch.add(folio, false, |order| self.target(order)).is_err() {
                return false;
            }
            // Locked, so it stays as large as it is.
            at = head + mm.desc(head).order().pages();
        }
        true
    }

    /// A folio that nobody knows, in a page block that stays, for another's content.
    #[doc(alias = "compaction_alloc")]
    fn target(&mut self, order: Order) -> Result<FolioRef<'m, H>, OutOfMemory> {
        let (mm, node) = (self.mm, self.node);
        let found = match order {
            Order::PAGE => self.page(),
            _ => mm.frames.take_fragment(&mm.hw, node, order),
        };
        let head = mm.owned(found, order, Kind::Folio, 0, Counts::held(1))?;
        Ok(FolioRef::adopt(mm, head))
    }
}
