//! Other addresses, or another size, for a mapping: mremap.
//!
//! # Moving
//! Where the distance is a multiple of 2 MiB, a whole table of pages or a huge entry moves with one store
//! on each side; the table that is deposited for a huge entry goes along. Everything else moves entry by
//! entry. Counts stay as they are: an entry owns what it owned, wherever it is.
//!
//! The area takes its index along, so walks from folios find the new place. They and everybody else who
//! could meet an entry on its way claim pages, and both ranges are excluded: there is no moment at which
//! something is mapped twice or nowhere, for anybody but lockless walkers, who look twice.
//!
//! # Why one flush at the end is enough
//! A stale translation of the old range leads to memory that is still this space's own: nobody can unmap
//! or free it through the new range before the exclusion ends, and by then the flush is complete. What
//! hardware records meanwhile it records in the entry that it walked to: in a table that moved as a
//! whole that is the right one, and an entry that was taken out has become none, so there it faults.
//! The new range had no entries and, once the tables that were left there are gone, no walks, so
//! nothing there has to be broken first.
//!
//! Corresponds to Linux's `mm/mremap.c`: `move_page_tables`, `move_normal_pmd`, `move_huge_pmd`.

use super::{Backing, Layout, RemapError, Space, USER_START, Vma, check_range, pages_around};
use crate::entry::{At, Locked, PmdLevel, PteLevel};
use crate::mutant::Mutant;
use crate::rmap::INDEX_END;
use crate::table::Stop;
use crate::tlb::Gather;
use crate::{Hardware, Slot};
use abi::{Level, PAGE_SHIFT, PAGE_SIZE, PMD_SIZE, VirtAddr, VirtRange};
use pte::{CONT_PTES, Entry};
use sync::Writer;

/// Where a mapping that is given another size may go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Move {
    /// Nowhere: it stays, or is refused.
    No,
    /// Wherever there is room, if there is none where it is.
    #[doc(alias = "MREMAP_MAYMOVE")]
    IfNeeded,
    /// Exactly there, in free space.
    #[doc(alias = "MREMAP_FIXED")]
    To(VirtAddr),
}

/// A move that is about to be made: everything that lies in `from`, by so many bytes.
#[derive(Clone, Copy)]
struct Shift {
    from: VirtRange,
    to: VirtAddr,
}

impl Shift {
    fn target(&self, va: VirtAddr) -> VirtAddr {
        VirtAddr(va.0.wrapping_sub(self.from.start.0).wrapping_add(self.to.0))
    }

    fn keeps_offset_in(&self, bytes: u64) -> bool {
        self.from.start.0 % bytes == self.to.0 % bytes
    }

    /// Whether what maps this part of one block can be moved by its PMD entry.
    fn moves_whole(&self, part: VirtRange) -> bool {
        part.bytes() == PMD_SIZE && self.keeps_offset_in(PMD_SIZE)
    }
}

impl<H: Hardware> Space<'_, H> {
    /// Gives the mapping of `old`, which is all or part of one area, `new_bytes` of address space, and
    /// moves it as far as `to` allows and needs. Says where it is now. What is cut off is unmapped, what
    /// is added is empty.
    ///
    /// Context: thread, may sleep on other changes of the layout and on faults in both ranges.
    #[doc(alias("mremap", "do_mremap"))]
    pub fn remap(&self, old: VirtRange, new_bytes: u64, to: Move) -> Result<VirtRange, RemapError> {
        check_range(old).map_err(RemapError::BadRange)?;
        let start = if let Move::To(start) = to { start } else { USER_START };
        check_range(VirtRange::from_size(start, new_bytes)).map_err(RemapError::BadRange)?;
        let mut layout = self.core.layout.write(&self.mm.hw);
        let area = find_area(&layout, old)?;
        if area.backing == Backing::Frames && new_bytes > old.bytes() {
            return Err(RemapError::Frames(area.range));
        }
        // What is moved keeps its names, and what is added gets those that follow: there are only so many.
        let pages = (new_bytes >> PAGE_SHIFT).max(old.pages());
        if area.index_at(old.start) + pages > INDEX_END {
            return Err(RemapError::NoRoom { bytes: new_bytes });
        }
        if let Move::To(start) = to {
            let asked = VirtRange::from_size(start, new_bytes);
            if asked.overlaps(&old) {
                return Err(RemapError::Overlap { old, new: asked });
            }
            free_or_occupied(&layout, asked)?;
            return self.move_area(layout, area.cut(old), asked);
        }
        let asked = VirtRange::from_size(old.start, new_bytes);
        if new_bytes <= old.bytes() {
            self.shrink(&mut layout, VirtRange::new(asked.end, old.end))?;
            return Ok(asked);
        }
        let fits = check_range(asked).map_err(|_| RemapError::NoRoom { bytes: new_bytes });
        match fits.and_then(|()| free_or_occupied(&layout, VirtRange::new(old.end, asked.end))) {
            Ok(()) => {
                let mut room = layout.room().map_err(|_| RemapError::OutOfMemory)?;
                // As if it had been there from the beginning, it becomes one with what is before it.
                let whole = Vma { range: VirtRange::new(area.range.start, asked.end), ..area };
                let more = whole.cut(VirtRange::new(old.end, asked.end));
                layout.mutate(|layout| layout.insert(more, None, &mut room));
                Ok(asked)
            }
            Err(refusal) if to == Move::No => Err(refusal),
            Err(_) => {
                // At the same place in a block, so that tables and huge pages can move whole.
                let gap = layout.find_gap(new_bytes, PMD_SIZE, old.start.0 % PMD_SIZE);
                let gap = gap.or_else(|| layout.find_gap(new_bytes, PAGE_SIZE, 0));
                let gap = gap.ok_or(RemapError::NoRoom { bytes: new_bytes })?;
                let new = VirtRange::from_size(gap.start(), new_bytes);
                self.move_area(layout, area.cut(old), new)
            }
        }
    }

    fn shrink(
        &self,
        layout: &mut Writer<'_, Layout, H>,
        tail: VirtRange,
    ) -> Result<(), RemapError> {
        if tail.is_empty() {
            return Ok(());
        }
        let mut room = layout.room().map_err(|_| RemapError::OutOfMemory)?;
        layout.exclude(pages_around(tail));
        layout.mutate(|layout| layout.edit(tail, &mut room, |_| None));
        self.zap(tail, layout.gap_around(tail));
        Ok(())
    }

    /// Moves `area` with what is mapped there to `new`, which is free.
    #[doc(alias("move_vma", "move_page_tables"))]
    fn move_area(
        &self,
        mut layout: Writer<'_, Layout, H>,
        area: Vma,
        new: VirtRange,
    ) -> Result<VirtRange, RemapError> {
        let mm = self.mm;
        let old = area.range;
        let bytes = old.bytes().min(new.bytes());
        let shift = Shift { from: VirtRange::from_size(old.start, bytes), to: new.start };
        let mut room = layout.room().map_err(|_| RemapError::OutOfMemory)?;
        if !mm.commits(Mutant::RemapUnexcluded) {
            layout.exclude(pages_around(old));
        }
        if !mm.commits(Mutant::RemapClaimable) {
            layout.exclude(pages_around(new));
        }
        // Empty tables of earlier mappings would be in the way.
        self.zap(new, layout.gap_around(new));
        if self.make_tables(shift).is_err() {
            self.zap(new, layout.gap_around(new));
            return Err(RemapError::OutOfMemory);
        }
        layout.mutate(|layout| {
            layout.edit(old, &mut room, |_| None);
            let moved = Vma { range: new, ..area.moved_to(new.start) };
            layout.insert(moved, None, &mut room);
        });
        let mut gather = Gather::new(mm, &self.core.context);
        if self.core.context.is_owed() && !mm.commits(Mutant::RemapWithOwed) {
            // Of migration entries here, and of those in tables that are moved as they are.
            gather.unlinked(old);
            gather.invalidate();
        }
        for (slot, part) in self.blocks(shift.from) {
            self.move_block(&mut gather, slot, part, shift);
        }
        // What did not fit, and the tables that are empty now.
        self.zap_into(&mut gather, old, layout.gap_around(old));
        if mm.commits(Mutant::RemapFlushLate) {
            drop(layout);
        }
        gather.finish();
        self.done(old);
        Ok(new)
    }

    /// Makes the tables that a move needs, so that it cannot fail.
    #[doc(alias("alloc_new_pud", "alloc_new_pmd"))]
    fn make_tables(&self, shift: Shift) -> Result<(), Stop> {
        for (_, part) in self.blocks(shift.from) {
            let first = shift.target(part.start);
            if shift.moves_whole(part) {
                self.mm.make_slot(self.core.root, first, Level::Pmd)?;
            } else {
                // It may come to lie across two tables.
                let last = first + (part.bytes() - PAGE_SIZE);
                self.mm.make_slot(self.core.root, first, Level::Pte)?;
                self.mm.make_slot(self.core.root, last, Level::Pte)?;
            }
        }
        Ok(())
    }

    fn move_block(&self, gather: &mut Gather<'_, H>, slot: Slot, part: VirtRange, shift: Shift) {
        let mm = self.mm;
        if shift.moves_whole(part) {
            if let Some(to) = mm.find_slot(self.core.root, shift.target(part.start), Level::Pmd) {
                self.move_whole(gather, slot, to, part);
            }
            return;
        }
        mm.split_huge_at(&self.core, part.start);
        let Entry::Table(table) = pte::decode(Level::Pmd, mm.hw.load(slot)) else { return };
        let mut rest = part;
        while !rest.is_empty() {
            let target = shift.target(rest.start);
            let room = (target + 1).align_up(PMD_SIZE).0 - target.0;
            let piece = VirtRange::from_size(rest.start, room.min(rest.bytes()));
            rest.start = piece.end;
            let Some(to) = mm.find_slot(self.core.root, target, Level::Pte) else { continue };
            let tables = mm.lock_two::<PteLevel>(table.pfn(), to.table());
            let (from, _) = tables.both();
            from.unfold_edges(&self.core.context, piece);
            self.move_entries(gather, from, piece, to, shift);
        }
    }

    /// Moves what one PMD entry says to another, `to`, which is empty.
    #[doc(alias("move_normal_pmd", "move_huge_pmd"))]
    fn move_whole(&self, gather: &mut Gather<'_, H>, from: Slot, to: Slot, part: VirtRange) {
        let mm = self.mm;
        let flushes = !mm.commits(Mutant::RemapNoFlush);
        let tables = mm.lock_two::<PmdLevel>(from.table(), to.table());
        let (ours, theirs) = tables.both();
        let At::None(empty) = theirs.at(to.index()) else { return };
        match ours.at(from.index()) {
            At::Table(linked) => {
                empty.relink(linked.unlink());
                if flushes {
                    gather.unlinked(part);
                }
                return;
            }
            At::Present(entry) => {
                let leaf = entry.clear().leaf();
                empty.set(leaf);
                if leaf.is_valid() && flushes {
                    gather.changed(part, Level::Pmd);
                }
            }
            At::Soft(entry) => {
                let soft = entry.soft();
                entry.clear();
                empty.set_soft(soft);
            }
            At::None(_) | At::Corrupt(_) => return,
        }
        if !mm.commits(Mutant::RemapLeavesDeposit)
            && let Some(spare) = mm.withdraw(from.table())
        {
            mm.deposit(to.table(), spare);
        }
    }

    /// Moves the entries of `piece` from one table of pages to another, from its slot `to` on, where
    /// nothing is. Both are locked.
    #[doc(alias = "move_ptes")]
    fn move_entries(
        &self,
        gather: &mut Gather<'_, H>,
        from: &Locked<'_, H, PteLevel>,
        piece: VirtRange,
        to: Slot,
        shift: Shift,
    ) {
        let mm = self.mm;
        // A contiguous set stays one where it comes to lie as it lay.
        let keeps_sets = shift.keeps_offset_in(CONT_PTES as u64 * PAGE_SIZE);
        let from = Slot::new(from.table(), Level::Pte.index(piece.start));
        let mut valid: Option<(usize, usize)> = None;
        for n in 0..piece.pages() as usize {
            let slot = from.ahead(n);
            if mm.hw.load(slot) == 0 {
                continue;
            }
            let mut word = mm.hw.swap(slot, 0);
            if let Entry::Leaf(leaf) = pte::decode(Level::Pte, word) {
                valid = Some((valid.map_or(n, |(first, _)| first), n));
                if !keeps_sets {
                    word = leaf.contiguous(false).word();
                }
            }
            mm.hw.store(to.ahead(n), word);
        }
        if let Some((first, last)) = valid
            && !mm.commits(Mutant::RemapNoFlush)
        {
            let page = |n: usize| piece.start + n as u64 * PAGE_SIZE;
            gather.changed(VirtRange::new(page(first), page(last + 1)), Level::Pte);
        }
    }
}

/// The area that all of `old` is in.
fn find_area(layout: &Layout, old: VirtRange) -> Result<Vma, RemapError> {
    match layout.find(old.start) {
        Some(area) if area.range.covers(&old) => Ok(*area),
        Some(area) => Err(match layout.first_hole(old) {
            Some(hole) => RemapError::Hole(hole),
            None => RemapError::Border { at: area.range.end },
        }),
        None => Err(RemapError::Hole(layout.first_hole(old).unwrap_or(old))),
    }
}

fn free_or_occupied(layout: &Layout, wanted: VirtRange) -> Result<(), RemapError> {
    match layout.first_overlap(wanted) {
        Some(by) => Err(RemapError::Occupied { wanted, by: by.range }),
        None => Ok(()),
    }
}
