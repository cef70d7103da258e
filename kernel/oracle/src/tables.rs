//! Links: where a slot is reached, and what leaves with a table that is taken out.
//!
//! A table is linked at one slot at most. Nothing is stored about the addresses below it, so a table that
//! moves takes all below it along.

use crate::Oracle;
use crate::kernel;
use crate::shadow::{DebtId, Kind, SlotId};
use abi::{ENTRIES, Level, PAGE_SHIFT, Pfn, VirtAddr};
use pte::Entry;
use pte::bits::{ADDRESS, TYPE, VALID};

/// Where a slot is reached.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Place {
    /// From a root: at this address, in the space of this table shadow.
    Root { va: VirtAddr, root: usize },
    /// From a table that nothing leads to: this one, so many bytes into what it translated.
    Loose { top: usize, offset: u64 },
}

impl Oracle {
    /// The shadow of the table in `frame`, if it is one that is watched.
    pub(crate) fn table_at(&self, frame: usize) -> Option<usize> {
        let shadow = &self.frames[frame];
        (shadow.kind == Kind::Table && shadow.link != u32::MAX).then_some(shadow.link as usize)
    }

    /// Where a slot of a watched table is reached.
    pub(crate) fn place(&self, slot: SlotId) -> Option<Place> {
        let (mut at, mut offset) = (slot, 0);
        loop {
            let table = self.table_at(at.frame())?;
            let shadow = &self.tables[table];
            offset += at.index() as u64 * shadow.level.span();
            if shadow.level == Level::Pgd {
                let base = if shadow.is_kernels { kernel::BASE } else { 0 };
                return Some(Place::Root { va: VirtAddr(base | offset), root: table });
            }
            if shadow.parent == SlotId::NONE {
                return Some(Place::Loose { top: table, offset });
            }
            at = shadow.parent;
        }
    }

    /// The table that a table's descriptor leads to, if it is watched.
    pub(crate) fn child(&self, level: Level, word: u64) -> Option<usize> {
        match pte::decode(level, word) {
            Entry::Table(next) => self.table_at(self.frame_of(next.pfn())?),
            _ => None,
        }
    }

    /// `slot` leads to the table of `word` from now on.
    pub(crate) fn link(&mut self, level: Level, word: u64, slot: SlotId) {
        if let Some(child) = self.child(level, word) {
            self.tables[child].parent = slot;
            self.tables[child].unlinked = DebtId::NONE;
            self.new_epoch();
        }
    }

    /// It does no more, and owes `debt` for it.
    pub(crate) fn unlink(&mut self, level: Level, word: u64, slot: SlotId, debt: DebtId) {
        if let Some(child) = self.child(level, word)
            && self.tables[child].parent == slot
        {
            self.tables[child].parent = SlotId::NONE;
            self.tables[child].unlinked = debt;
            self.new_epoch();
        }
    }

    /// What taking out a loose table owes, if that is still in the book.
    pub(crate) fn walk_debt(&self, top: usize) -> Option<DebtId> {
        let shadow = &self.tables[top];
        let debt = self.book.get(shadow.unlinked)?;
        let Entry::Table(next) = pte::decode(debt.what.level, debt.what.old) else { return None };
        let same = self.frame_of(next.pfn()) == Some(shadow.frame as usize);
        same.then_some(shadow.unlinked)
    }

    /// The addresses that leaves below a table translate, which itself is reached at `va`: as narrow a
    /// range as holds them; empty if there is none.
    pub(crate) fn hull(&self, table: usize, va: VirtAddr) -> (u64, u64) {
        let shadow = &self.tables[table];
        let (mut hull, span, mut live) = ((0, 0), shadow.level.span(), shadow.live);
        for index in 0..ENTRIES {
            if live == 0 {
                break;
            }
            let word = shadow.slots[index].word();
            if word & VALID == 0 {
                continue;
            }
            live -= 1;
            let at = va.0 + index as u64 * span;
            // Leaves of pages are most of what there is, and lead nowhere.
            let child = match shadow.level {
                Level::Pte => None,
                level => self.child(level, word),
            };
            let mine = match child {
                Some(below) => self.hull(below, VirtAddr(at)),
                None => (at, at + span),
            };
            hull = match (hull.0 == hull.1, mine.0 == mine.1) {
                (true, _) => mine,
                (_, true) => hull,
                _ => (hull.0.min(mine.0), hull.1.max(mine.1)),
            };
        }
        hull
    }

    // --- which pages are tables ------------------------------------------------------------------

    /// A page becomes a table.
    pub(crate) fn watch(&mut self, frame: usize, level: Level, cpu: u8, now: u64) {
        self.new_epoch();
        let id = if self.free_table != u32::MAX {
            let id = self.free_table;
            self.free_table = self.tables[id as usize].next;
            id
        } else if (self.fresh_table as usize) < self.tables.len() {
            self.fresh_table += 1;
            self.fresh_table - 1
        } else {
            self.blind.tables += 1;
            self.frames[frame].link = u32::MAX;
            return;
        };
        self.frames[frame].link = id;
        let space = if level == Level::Pgd {
            self.spaces += 1;
            self.spaces
        } else {
            0
        };
        self.tables[id as usize].begin(level, frame as u32, space, (now, cpu));
    }

    /// A page is no table any more: what its slots mapped is not mapped by them.
    pub(crate) fn unwatch(&mut self, frame: usize) {
        let Some(table) = self.table_at(frame) else { return };
        self.new_epoch();
        self.dissolve_runs(frame);
        let level = self.tables[table].level;
        for index in 0..ENTRIES {
            let shadow = &mut self.tables[table];
            if shadow.live == 0 {
                break;
            }
            let word = shadow.slots[index].word();
            if word & VALID != 0 {
                shadow.live -= 1;
                match (level, shadow.is_kernels) {
                    (Level::Pte, true) => {}
                    (Level::Pte, false) => self.count_page(word, SlotId::NONE, false),
                    _ => {
                        let slot = SlotId::new(frame, index);
                        self.count(level, word, slot, false);
                        self.unlink(level, word, slot, DebtId::NONE);
                    }
                }
            }
        }
        self.tables[table].frame = u32::MAX;
        self.tables[table].next = self.free_table;
        self.free_table = table as u32;
    }

    /// A valid leaf leads to its frames from now on, or no more. What leads to a table does not count.
    pub(crate) fn count(&mut self, level: Level, word: u64, slot: SlotId, is_mapped: bool) {
        // The kernel's half maps what is others'.
        let table = self.table_at(slot.frame());
        if table.is_none_or(|table| self.tables[table].is_kernels) {
            return;
        }
        if level == Level::Pte {
            return self.count_page(word, slot, is_mapped);
        }
        let Some(frame) = self.frame_of(Pfn((word & ADDRESS) >> PAGE_SHIFT)) else { return };
        let frame = &mut self.frames[frame];
        if word & TYPE == 0 && frame.kind != Kind::Table {
            frame.blocks = frame.blocks.wrapping_add_signed(if is_mapped { 1 } else { -1 });
            if is_mapped {
                frame.link = slot.0;
            }
        }
    }

    /// As [`Oracle::count`], for a leaf of a page that is not one of the kernel's.
    #[inline]
    pub(crate) fn count_page(&mut self, word: u64, slot: SlotId, is_mapped: bool) {
        let Some(frame) = self.frame_of(Pfn((word & ADDRESS) >> PAGE_SHIFT)) else { return };
        let frame = &mut self.frames[frame];
        if frame.kind == Kind::Table {
            return;
        }
        frame.maps = frame.maps.wrapping_add_signed(if is_mapped { 1 } else { -1 });
        if is_mapped {
            frame.link = slot.0;
        }
    }

    /// The frames that a leaf of `level` leads to.
    pub(crate) fn leads_to(level: Level, word: u64) -> Option<(Pfn, u64)> {
        let Entry::Leaf(leaf) = pte::decode(level, word) else { return None };
        Some((leaf.pfn(), level.span() / abi::PAGE_SIZE))
    }
}
