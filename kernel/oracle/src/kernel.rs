//! The kernel's half: one tree that every CPU walks at any time, under whatever ASID it runs.
//!
//! Its leaves are global: an operation on an address removes them whichever ASID it names, one on a whole ASID
//! does not. Walks are never global, and were cached under any ASID: only operations for all ASIDs reach
//! them. The tree is older than the oracle, which takes over what it finds. Its tables are announced by
//! nobody: a page becomes one when it is linked. What it maps belongs to others, the free pages of the linear
//! map too: so no frame is counted as mapped there. What was taken away is owed as anywhere.
//!
//! Who is given a kernel address may use it at once, and must not fault; so what was stored is visible to
//! walkers when the operation is over.

use crate::book::Half;
use crate::debt::{Debt, Taken};
use crate::shadow::{FrameShadow, Kind, SlotId, TableShadow};
use crate::stores::{Change, How};
use crate::tables::Place;
use crate::{By, Oracle, Rule};
use abi::{ENTRIES, Level, Order, PAGE_SIZE, Pfn, PhysAddr, VirtAddr, VirtRange};
use pte::Entry;
use pte::bits::VALID;

/// The number of the kernel's space.
pub(crate) const SPACE: u32 = u32::MAX;
/// What the first entry of its root translates.
pub(crate) const BASE: u64 = 0xffff << 48;
/// Bytes of sixteen pages.
const SET: u64 = 16 * PAGE_SIZE;
/// One of so many shadows of tables is for tables that are there already.
const SHARE: usize = 4;

impl Debt {
    /// Whether it is one of the kernel's half.
    pub(crate) const fn is_kernels(&self) -> bool {
        self.what.space == SPACE
    }
}

impl Oracle {
    /// The kernel's tables, as they are: `read` tells what is in a slot. Context: once, before any other step.
    ///
    /// Not all may be watched: a linear map of pages has more tables than there are shadows for.
    pub fn take_over_kernel(&mut self, by: By, root: Pfn, read: &mut dyn FnMut(PhysAddr) -> u64) {
        let Some(frame) = self.frame_of(root) else { return };
        let most = self.tables.len() / SHARE;
        if let Some(table) = self.take_over(by, frame, Level::Pgd, SlotId::NONE, most, read) {
            self.tables[table].space = SPACE;
        }
    }

    fn take_over(
        &mut self,
        by: By,
        frame: usize,
        level: Level,
        parent: SlotId,
        most: usize,
        read: &mut dyn FnMut(PhysAddr) -> u64,
    ) -> Option<usize> {
        if self.fresh_table as usize >= most {
            return None;
        }
        self.frames[frame].kind = Kind::Table;
        self.watch(frame, level, by.cpu, 0);
        let table = self.table_at(frame)?;
        (self.tables[table].parent, self.tables[table].is_kernels) = (parent, true);
        for index in 0..ENTRIES {
            let slot = SlotId::new(frame, index);
            let word = read(self.address(slot));
            self.tables[table].slots[index].put(word);
            self.tables[table].live += u16::from(word & VALID != 0);
            if let Entry::Table(next) = pte::decode(level, word)
                && let (Some(next), Some(below)) = (self.frame_of(next.pfn()), level.down())
            {
                self.take_over(by, next, below, slot, most, read);
            }
        }
        Some(table)
    }

    /// A page that a slot of the kernel's leads to is a table from now on, of zeros.
    pub(crate) fn link_kernels(&mut self, change: &Change) {
        let Entry::Table(next) = pte::decode(change.level, change.new) else { return };
        let (Some(frame), Some(level)) = (self.frame_of(next.pfn()), change.level.down()) else {
            return;
        };
        if !self.tables[change.table].is_kernels {
            return;
        }
        if self.frames[frame].kind != Kind::Table {
            self.frames[frame].kind = Kind::Table;
            self.watch(frame, level, change.cpu, 0);
        }
        if let Some(table) = self.table_at(frame).filter(|table| !self.tables[*table].is_kernels) {
            // What it maps was counted as if it were a program's.
            for slot in (0..ENTRIES).map(|index| SlotId::new(frame, index)) {
                let word = self.tables[table].slots[slot.index()].word();
                if word & VALID != 0 {
                    self.count(level, word, slot, false);
                }
            }
            self.tables[table].is_kernels = true;
        }
    }

    /// Whether a change is one of the kernel's half.
    pub(crate) fn is_kernels(&self, change: &Change) -> bool {
        matches!(change.place, Place::Root { root, .. } if self.tables[root].space == SPACE)
    }

    /// A range of kernel addresses is somebody's from now on: walkers see what its maker has stored last, if that was
    /// there. What the same CPU maps elsewhere it may still have to show.
    pub(crate) fn must_be_seen(&mut self, by: By, range: VirtRange) {
        let (at, last) = self.cpus.get_mut(by.cpu).made;
        let is_unseen = last != SlotId::NONE && !self.cpus.is_published(by.cpu, at);
        if is_unseen && self.span(last).is_some_and(|span| span.overlaps(&range)) {
            self.broken(Rule::KernelUnseen, by, None, Some(last));
        }
    }

    /// The addresses that a slot translates, if it is reached from a root.
    fn span(&self, slot: SlotId) -> Option<VirtRange> {
        let level = self.tables[self.table_at(slot.frame())?].level;
        match self.place(slot)? {
            Place::Root { va, .. } => Some(VirtRange::from_size(va, level.span())),
            Place::Loose { .. } => None,
        }
    }

    /// Kernel addresses from which a mapping may go before the frame does: see [`Oracle::unaliased`].
    pub fn quarantine(&mut self, range: VirtRange) {
        self.quarantine = range;
    }

    /// Whether what a slot of the kernel's held may be cached while its frame is somebody else's.
    pub(crate) fn is_quarantined(&self, change: &Change) -> bool {
        matches!(change.place, Place::Root { va, .. } if self.quarantine.contains(va))
            && self.is_kernels(change)
    }

    /// Where no lock says when somebody has done, the contiguous sets of a range that is told of are whole.
    pub(crate) fn must_be_whole(&mut self, by: By, root: usize, range: VirtRange) {
        let mut at = range.start.align_down(SET);
        while at < range.end && self.quarantine.contains(at) {
            if let Some((table, slot)) = self.kernel_page(root, at)
                && self.is_mixed(table, slot.index())
            {
                let word = self.tables[table].slots[slot.index()].word();
                let change = Change {
                    cpu: by.cpu,
                    slot,
                    table,
                    level: Level::Pte,
                    old: word,
                    new: word,
                    how: How::Store,
                    place: Place::Root { va: at, root },
                };
                let subject = self.subject(&change);
                return self.broken(Rule::MixedRun, by, Some(subject), Some(slot));
            }
            at = at + SET;
        }
    }

    /// The table of pages that translates an address, and the slot there.
    fn kernel_page(&self, root: usize, va: VirtAddr) -> Option<(usize, SlotId)> {
        let mut table = root;
        for &level in Level::Pte.above() {
            table = self.child(level, self.tables[table].slots[level.index(va)].word())?;
        }
        let index = Level::Pte.index(va);
        let frame = self.tables[table].frame as usize;
        Some((table, SlotId::new(frame, index)))
    }

    /// Nobody has a translation of the block any more by an address in quarantine: whoever is to have it needs
    /// more than that nobody uses one.
    pub fn unaliased(&mut self, by: By, pfn: Pfn, order: Order) {
        if self.report.is_some() {
            return;
        }
        self.tick();
        let (first, behind) = (pfn, pfn + order.pages());
        let range = self.quarantine;
        self.cut_runs((range.start.0, range.end.0), Some(SPACE));
        let cpus = &self.cpus;
        let found = self.book.find(Half::Kernel, cpus, |debt| {
            let leads = Self::leads_to(debt.what.level, debt.what.old);
            debt.is_kernels()
                && range.overlaps(&debt.range())
                && leads.is_some_and(|(to, pages)| to < behind && first < to + pages)
                && debt.what.left & cpus.users(debt.what.space, debt.what.asid) != 0
        });
        if let Some(id) = found {
            self.demand(id, Rule::DoneEarly, by, Some(pfn.base()));
        }
    }
}

/// Whether a page that says the same has come in the place of the kernel's block that was taken, as far as that led to
/// `frame`: who has the block still has nothing there that memory does not give. Frames are counted from `first`.
pub(crate) fn is_parted(
    tables: &[TableShadow],
    frames: &[FrameShadow],
    first: Pfn,
    what: &Taken,
    frame: usize,
) -> bool {
    let slot = |frame: u64, index: usize| {
        let shadow = frames.get(frame as usize).filter(|shadow| shadow.kind == Kind::Table)?;
        Some(tables.get(shadow.link as usize)?.slots[index].word())
    };
    let is_same = || {
        let Entry::Leaf(block) = pte::decode(Level::Pmd, what.old) else { return None };
        let now = slot(what.slot.frame() as u64, what.slot.index())?;
        let Entry::Table(table) = pte::decode(Level::Pmd, now) else { return None };
        let n = (frame as u64).checked_sub(u64::from(what.frame))?;
        let now = slot(table.pfn().0.checked_sub(first.0)?, n as usize)?;
        let Entry::Leaf(page) = pte::decode(Level::Pte, now) else { return None };
        Some(block.piece(n).same_mapping(page))
    };
    what.space == SPACE && what.level == Level::Pmd && is_same().unwrap_or(false)
}
