//! What a program says of its memory: madvise.
//!
//! Advice about huge pages changes areas and nothing else. What takes content away works under claims, as
//! faults do, block by block, and keeps nobody out: so it completes its flush before it releases the
//! lock of the table in which it cleared. Whoever finds an entry empty there, be it another such call
//! or a fault, owes nothing, and what is mapped next meets no old translation.
//!
//! Corresponds to Linux's `mm/madvise.c`.

use super::blocks::Entries;
use super::layout::Layout;
use super::{AdviseError, Backing, Huge, Space, Vma, check_range};
use crate::Hardware;
use crate::mutant::Mutant;
use crate::tlb::Gather;
use abi::{Access, Level, PAGE_SHIFT, PMD_SIZE, VirtRange};

/// What a program wants for a range.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Advice {
    /// Huge pages, where policy leaves it to the program.
    #[doc(alias = "MADV_HUGEPAGE")]
    Huge,
    /// No huge pages from now on. Those that are there stay.
    #[doc(alias = "MADV_NOHUGEPAGE")]
    NoHuge,
    /// Its content is of no use any more: the next access finds zeros.
    #[doc(alias = "MADV_DONTNEED")]
    DontNeed,
    /// Its content is of no use any more, unless it is written again: until memory is short an access
    /// finds what was there, then zeros; page by page. A write keeps the page that it goes to.
    #[doc(alias = "MADV_FREE")]
    Free,
    /// Reading without a fault.
    #[doc(alias = "MADV_POPULATE_READ")]
    PopulateRead,
    /// Writing without a fault.
    #[doc(alias = "MADV_POPULATE_WRITE")]
    PopulateWrite,
    /// Huge pages now, of the whole 2 MiB blocks in the range.
    #[doc(alias = "MADV_COLLAPSE")]
    Collapse,
}

impl<H: Hardware> Space<'_, H> {
    /// Follows `advice` in `range`. Where nothing is mapped there is nothing to do, and the first such
    /// hole is told, but the rest is done all the same.
    ///
    /// Context: thread, may sleep on changes of the layout; to populate, also on whatever a fault may.
    #[doc(alias("madvise", "do_madvise"))]
    pub fn advise(&self, range: VirtRange, advice: Advice) -> Result<(), AdviseError> {
        check_range(range).map_err(AdviseError::BadRange)?;
        match advice {
            Advice::Huge => self.advise_huge(range, Huge::Advised),
            Advice::NoHuge => self.advise_huge(range, Huge::Never),
            Advice::DontNeed => self.each_part(range, |area, part| self.drop_part(area, part)),
            Advice::Free => self.each_part(range, |area, part| self.free_part(area, part)),
            Advice::PopulateRead => self.populate(range, Access::Read),
            Advice::PopulateWrite => self.populate(range, Access::Write),
            Advice::Collapse => self.collapse_blocks(range),
        }
    }

    #[doc(alias = "hugepage_madvise")]
    fn advise_huge(&self, range: VirtRange, huge: Huge) -> Result<(), AdviseError> {
        let mut layout = self.core.layout.write(&self.mm.hw);
        if layout.overlaps(range).any(|area| area.huge != huge) {
            let mut room = layout.room().map_err(|_| AdviseError::NoRoom)?;
            // Nobody is kept out: who looked before this acts on the old advice, and may.
            layout
                .mutate(|layout| layout.edit(range, &mut room, |area| Some(Vma { huge, ..area })));
        }
        layout.first_hole(range).map_or(Ok(()), |hole| Err(AdviseError::Hole(hole)))
    }

    /// Collapses what it can, and says why it could not collapse the first that it could not.
    #[doc(alias = "madvise_collapse")]
    fn collapse_blocks(&self, range: VirtRange) -> Result<(), AdviseError> {
        let mut result = Ok(());
        let mut at = range.start.align_up(PMD_SIZE);
        while at + PMD_SIZE <= range.end {
            let collapsed = self.collapse(at).map_err(|error| AdviseError::Apart(at, error));
            result = result.and(collapsed.map(drop));
            at = at + PMD_SIZE;
        }
        result
    }

    /// Runs `act` on the parts of `range` that one area and one 2 MiB block have, each claimed meanwhile.
    fn each_part(
        &self,
        range: VirtRange,
        mut act: impl FnMut(&Vma, VirtRange) -> Result<(), AdviseError>,
    ) -> Result<(), AdviseError> {
        let mut hole = None;
        let mut at = range.start;
        while at < range.end {
            let find = |layout: &Layout| layout.iter_from(at).next().copied();
            let (found, claim) = self.core.layout.read_at(&self.mm.hw, at.0 >> PAGE_SHIFT, find);
            let next = found.map_or(range.end, |area| area.range.start.min(range.end));
            if at < next {
                hole.get_or_insert(VirtRange::new(at, next));
                at = next;
                continue;
            }
            let Some(area) = found else { break };
            let block_end = (at + 1).align_up(PMD_SIZE);
            let part = VirtRange::new(at, area.range.end.min(block_end).min(range.end));
            act(&area, part)?;
            drop(claim);
            at = part.end;
        }
        hole.map_or(Ok(()), |hole| Err(AdviseError::Hole(hole)))
    }

    /// Takes the content of a part of a block away.
    #[doc(alias("madvise_dontneed_single_vma", "zap_page_range_single"))]
    fn drop_part(&self, area: &Vma, part: VirtRange) -> Result<(), AdviseError> {
        let mm = self.mm;
        if area.backing == Backing::Frames {
            return Err(AdviseError::Frames(area.range));
        }
        let Some(slot) = mm.find_slot(self.core.root, part.start, Level::Pmd) else {
            return Ok(());
        };
        let mut gather = Gather::new(mm, &self.core.context);
        match self.open(slot, part) {
            Entries::Pages(table) => {
                self.clear_pages(&mut gather, &table, part);
                self.pay(&mut gather, part);
            }
            Entries::Huge(table) => {
                self.clear_huge(&mut gather, &table, part.start);
                self.pay(&mut gather, part);
            }
            Entries::Nothing => {}
        }
        // The lock is released, and what was cleared is in no TLB.
        gather.finish();
        Ok(())
    }

    /// Flushes what was changed in `part`, with the table's lock held: see the front page.
    #[inline]
    #[cfg_attr(feature = "sanitize", track_caller)]
    pub(super) fn pay(&self, gather: &mut Gather<'_, H>, part: VirtRange) {
        if !self.mm.commits(Mutant::DontneedFlushLate) {
            gather.invalidate();
        }
        self.done(part);
    }
}
