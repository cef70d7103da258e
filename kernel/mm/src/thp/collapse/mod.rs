//! Making one huge page of what is mapped by 512 entries.
//!
//! # The order that makes it right
//! | step | who is kept out by it |
//! | --- | --- |
//! | 1. exclude the block; look at area and table again | faults, walks from folios, changes of the layout |
//! | 2. unlink the table; flush leaves and walk caches | hardware |
//! | 3. wait for the walks that began before | lockless walkers: none is in the table, none gets in |
//! | 4. look for holders | pins: there is none, and none can come |
//! | 5. a huge migration entry, of a new folio that is locked | |
//! | 6. end the exclusion | from here on whoever wants the memory sleeps until the folio is unlocked |
//! | 7. copy; zeros where there was nothing | |
//! | 8. the mapping in place of the migration entry; unlock | |
//! | 9. give the old pages and their table back | |
//!
//! Until step 5 anything that is found wrong puts the table back as it was; after it nothing fails.
//!
//! *The table before the pins.* A lockless walk counts on a page, executes a full fence, and looks at
//! the entry and at the one above again ([`crate::gup`]); here the one above is cleared, there is a
//! full fence, and then the counts are read. Either the count is seen, or the entry is seen gone. So no pin is
//! on a page whose copy takes its place.
//!
//! *The walkers before the reuse.* A TLBI says nothing to software that has loaded the entry already. The
//! table becomes another's at once, when it is put aside or freed, so everybody in it is waited for; that
//! nobody frees it under a walker by the way of a gather is of no help here. There is one
//! way to a table that nobody is in, [`table::Quiet`], and only such a one is put aside, read or freed.
//!
//! # The copy is made without keeping anybody out
//! Linux copies with all of the address space locked. Here the exclusion, which is of this block alone, ends
//! before the copy: to everybody the new folio is one whose migration is about to end. What they may do with its
//! entry meanwhile (munmap, mprotect, mremap, fork, split) is what they may do with any migration
//! entry, and [`crate::rmap`] gives a mapping back to whatever has become of it. The old pages are counted as
//! mapped by the table that is nobody's until they are copied. So they are not written: by us
//! nobody can, and where another space has one too its entry is read-only and the page does not look like
//! its own. And they are not moved or split, for a walk finds fewer entries than there are mappings.
//!
//! # Without a copy
//! Where the 512 entries map the pages of one huge folio in order, steps 4 to 9 are one: an entry for all of
//! them takes their place, and the table is put aside with it. Nothing moves, so pins do not hinder it.
//!
//! | file | concern |
//! | --- | --- |
//! | `error` | how it ended |
//! | `limits` | what the background thinks worth the work |
//! | `look` | is there anything to be done, and what does it need |
//! | `table` | taking a table out of everybody's reach, and back |
//! | `pages` | whether pages can be taken over; copying them |
//! | `scan` | the background: which block is next |
//! | `whole` | one entry in the place of 512, without a copy |
//!
//! Corresponds to Linux's `mm/khugepaged.c`: `collapse_huge_page`, `madvise_collapse`.

mod error;
mod limits;
mod look;
mod pages;
mod scan;
mod table;
mod whole;

pub use error::{CollapseError, Collapsed};
pub use limits::Limits;
pub(crate) use scan::Background;
pub use scan::Scanned;

use crate::entry::{At, Empty, PmdLevel, Spare};
use crate::frame::{Counts, Effort, Flag, FolioLock, FolioRef, Kind, OutOfMemory};
use crate::mutant::Mutant;
use crate::rmap::{Extent, Owner};
use crate::space::{Core, Space, USER_END, Vma, pages_around};
use crate::{Hardware, Mm, Slot};
use abi::{Event, Level, Order, PMD_SIZE, VirtAddr, VirtRange};
use core::sync::atomic::Ordering::Relaxed;
use look::Look;
use pte::{Leaf, Soft};
use table::{Quiet, Taken};

/// Who wants it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum By {
    /// The program: it knows why.
    #[doc(alias = "MADV_COLLAPSE")]
    Program,
    /// The background, which looks at the limits.
    #[doc(alias = "khugepaged")]
    Background,
}

impl<H: Hardware> Space<'_, H> {
    /// Makes one huge page of the 2 MiB around `va`, whatever the settings and limits say. What the area or
    /// the space refuse stays refused.
    ///
    /// Context: thread, may sleep on changes of the layout and on faults in the 2 MiB; holds no lock, no
    /// claim and no reference to the memory there.
    #[doc(alias("MADV_COLLAPSE", "madvise_collapse"))]
    pub fn collapse(&self, va: VirtAddr) -> Result<Collapsed, CollapseError> {
        self.mm().collapse_block(self.core(), va, By::Program)
    }
}

/// What a huge page is made with. What of it is not used goes back.
struct Memory<'m, H: Hardware> {
    mm: &'m Mm<H>,
    /// To be put aside with the huge entry.
    spare: Option<Spare>,
    // Released in this order.
    lock: FolioLock<'m, H>,
    _folio: FolioRef<'m, H>,
}

impl<H: Hardware> Drop for Memory<'_, H> {
    fn drop(&mut self) {
        if let Some(spare) = self.spare.take() {
            spare.discard(self.mm);
        }
    }
}

/// What has taken the place of the table.
enum Exchanged<'m, H: Hardware> {
    /// An entry for the same memory.
    Whole,
    /// A migration entry of this folio, of this name, which the pages in the table are to be copied to.
    Promised(Memory<'m, H>, Quiet),
    /// Nothing: it is there as it was, since its pages would have to be copied, and there is no memory for it.
    NeedsMemory,
}

impl<H: Hardware> Mm<H> {
    /// Makes one huge page of the 2 MiB around `va`.
    ///
    /// Context: as [`Space::collapse`]; the space stays as long as this runs.
    #[doc(alias = "collapse_huge_page")]
    pub(crate) fn collapse_block(
        &self,
        core: &Core,
        va: VirtAddr,
        by: By,
    ) -> Result<Collapsed, CollapseError> {
        let collapsed = self.try_collapse(core, va, by);
        match collapsed {
            Ok(Collapsed::InPlace) => self.count(Event::ThpCollapseInPlace, 1),
            Ok(Collapsed::Copied) => self.count(Event::ThpCollapse, 1),
            Ok(Collapsed::Already) => {}
            Err(_) => self.count(Event::ThpCollapseFailed, 1),
        }
        collapsed
    }

    fn try_collapse(&self, core: &Core, va: VirtAddr, by: By) -> Result<Collapsed, CollapseError> {
        let block = VirtRange::from_size(va.align_down(PMD_SIZE), PMD_SIZE);
        if va >= USER_END {
            return Err(CollapseError::NoArea(block));
        }
        let mut memory = match self.look(core, block, by)? {
            Look::Huge => return Ok(Collapsed::Already),
            Look::Whole => None,
            Look::Pages => Some(self.collapse_memory(by)?),
        };
        loop {
            match self.replace_table(core, block, by, &mut memory)? {
                None => return Ok(Collapsed::Already),
                Some(Exchanged::Whole) => return Ok(Collapsed::InPlace),
                Some(Exchanged::Promised(memory, table)) => {
                    self.keep_promise(memory, table);
                    return Ok(Collapsed::Copied);
                }
                // It has changed since the look.
                Some(Exchanged::NeedsMemory) => memory = Some(self.collapse_memory(by)?),
            }
        }
    }

    /// The memory for one huge page. Nobody knows of the folio: it is locked, and has no name yet.
    ///
    /// Context: as [`Mm::compact`]; nothing is excluded yet, or not any more.
    #[doc(alias("alloc_charge_folio", "alloc_hugepage_khugepaged_gfpmask"))]
    #[inline(never)]
    fn collapse_memory(&self, by: By) -> Result<Memory<'_, H>, OutOfMemory> {
        let made = self.try_collapse_memory().or_else(|oom| {
            let freed = self.collapse_makes_room(by, oom);
            if freed { self.try_collapse_memory() } else { Err(oom) }
        });
        let made = made.inspect_err(|_| self.count(Event::ThpCollapseAllocFailed, 1))?;
        self.count(Event::ThpCollapseAlloc, 1);
        Ok(made)
    }

    /// There was no such block: tries to make one. What is scattered is moved together, as for a fault that
    /// tries hard; the background does so unless its limits say no. It takes nothing away for what nobody
    /// has asked for.
    #[doc(alias("khugepaged_defrag", "GFP_TRANSHUGE"))]
    #[cold]
    fn collapse_makes_room(&self, by: By, oom: OutOfMemory) -> bool {
        let may = by == By::Program || self.thp.collapse.defrag() != 0;
        (may && oom.order > Order::PAGE && self.compact_directly())
            || (by == By::Program && self.shrink(Order::PMD.pages()) > 0)
    }

    fn try_collapse_memory(&self) -> Result<Memory<'_, H>, OutOfMemory> {
        // Dirty: nobody else has this content.
        let flags = Flag::Anon as u32 | Flag::Dirty as u32;
        let head = self.take(Effort::Full, Order::PMD, Kind::Folio, flags, Counts::held(1))?;
        let _folio = FolioRef::adopt(self, head);
        let spare = Some(self.spare_table()?);
        Ok(Memory { mm: self, spare, lock: self.folio_lock(head), _folio })
    }

    /// Steps 1 to 6. `None`: there is no table of pages any more.
    fn replace_table<'m>(
        &'m self,
        core: &Core,
        block: VirtRange,
        by: By,
        memory: &mut Option<Memory<'m, H>>,
    ) -> Result<Option<Exchanged<'m, H>>, CollapseError> {
        let mut layout = core.layout.write(&self.hw);
        if !self.commits(Mutant::CollapseUnexcluded) {
            layout.exclude(pages_around(block));
        }
        let area = self.collapsible(core, layout.find(block.start), block, by)?;
        let Some(taken) = self.take_table(core, block)? else { return Ok(None) };
        let plan = match self.whole_leaf(&area, &taken.table) {
            Ok(None) => self.check_taken(block, &taken).map(|()| None),
            whole => whole,
        };
        let Taken { slot, table, .. } = taken;
        match plan {
            Ok(Some(leaf)) => {
                self.install_whole(slot, table, leaf);
                return Ok(Some(Exchanged::Whole));
            }
            Ok(None) => {}
            Err(error) => {
                self.relink(slot, table);
                return Err(error);
            }
        }
        let Some(mut memory) = memory.take() else {
            self.relink(slot, table);
            return Ok(Some(Exchanged::NeedsMemory));
        };
        self.promise(core, slot, &area, block, &mut memory);
        Ok(Some(Exchanged::Promised(memory, table)))
    }

    /// Step 5: a migration entry of the new folio, which has a name from now on.
    fn promise(
        &self,
        core: &Core,
        slot: Slot,
        area: &Vma,
        block: VirtRange,
        memory: &mut Memory<'_, H>,
    ) {
        let head = memory.lock.head();
        let owner = Owner { family: core.family.id(), index: area.index_at(block.start) };
        self.desc(head).owner.store(owner.word(), Relaxed);
        let leaf = Leaf::user(Level::Pmd, head, area.prot).made_young().made_dirty();
        let table = self.lock::<PmdLevel>(slot.table());
        if let (At::None(empty), Some(spare)) = (table.at(slot.index()), memory.spare.take()) {
            self.deposit(slot.table(), spare);
            promise_of(empty, leaf);
        }
    }

    /// Steps 7 to 9.
    fn keep_promise(&self, memory: Memory<'_, H>, table: Quiet) {
        let head = memory.lock.head();
        let extent = Extent::of(self, &memory.lock);
        let late = self.commits(Mutant::CollapseCopiesLate);
        if !late {
            self.copy_pages(&table, head);
        }
        self.remove_migration(&extent, head);
        if late {
            self.copy_pages(&table, head);
        }
        drop(memory);
        table.reap(self);
    }
}

/// Says that this is being made. Of the one space that has it, so it is nobody else's.
fn promise_of<H: Hardware>(empty: Empty<'_, H, PmdLevel>, leaf: Leaf) {
    empty.set_soft(Soft::migration_of(leaf, true));
}
