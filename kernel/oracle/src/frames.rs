//! Frames and tables change hands, and operations end: what leaves its owner must be in no TLB that is in
//! use.

use crate::book::Half;
use crate::debt::Debt;
use crate::kernel;
use crate::shadow::{DebtId, Kind, Owed, SlotId};
use crate::stores::Change;
use crate::tables::Place;
use crate::{By, How, Oracle, Rule};
use abi::{Level, Order, Pfn, PhysAddr, VirtRange};
use pte::bits::VALID;

impl Oracle {
    /// A block goes to somebody.
    pub fn frame_alloc(&mut self, by: By, pfn: Pfn, order: Order) {
        self.tick();
        let Some(first) = self.frame_of(pfn) else { return };
        if matches!(self.frames[first].kind, Kind::Data | Kind::Table) {
            return self.broken_frame(Rule::FrameTaken, by, pfn, None);
        }
        self.hand_over(first, order, Kind::Data, by);
    }

    /// A block leaves its owner.
    pub fn frame_free(&mut self, by: By, pfn: Pfn, order: Order) {
        if self.report.is_some() {
            return;
        }
        self.tick();
        let Some(first) = self.frame_of(pfn) else { return };
        let site = self.sites.id(by.site);
        let end = (first + order.pages() as usize).min(self.frames.len());
        // Before what is watched a block may begin, and be as good as none.
        let lead = (self.first.0 % Order::PMD.pages()) as usize;
        let mut at = first;
        while at < end {
            let next = (at + lead + 1).next_multiple_of(Order::PMD.pages() as usize) - lead;
            self.must_be_in_no_block(at, by);
            let next = next.min(end);
            while at < next {
                // Most were never mapped, or are long paid for: nothing is remembered of them.
                let mut rest = self.frames[at..next].iter_mut();
                let quiet = rest.position(|shadow| {
                    (shadow.kind, shadow.site) = (Kind::Free, site);
                    shadow.is_remembered()
                });
                at = quiet.map_or(next, |quiet| at + quiet + 1);
                if quiet.is_some() {
                    self.must_be_unreachable(at - 1, by);
                }
            }
        }
    }

    fn hand_over(&mut self, first: usize, order: Order, kind: Kind, by: By) {
        let site = self.sites.id(by.site);
        for frame in self.frames[first..].iter_mut().take(order.pages() as usize) {
            (frame.kind, frame.site) = (kind, site);
        }
    }

    /// The first frame of the block that a PMD would map `frame` with. It may lie before what is watched.
    #[inline]
    fn block_around(&self, frame: usize) -> usize {
        (self.first + frame as u64).align_down(Order::PMD).0.wrapping_sub(self.first.0) as usize
    }

    /// No translation of a block leads to the frame, which is the first of the block that goes.
    fn must_be_in_no_block(&mut self, frame: usize, by: By) {
        let around = self.block_around(frame);
        let Some(shadow) = self.frames.get(around).copied() else { return };
        if around != frame && shadow.is_remembered() {
            self.must_be_paid(around, frame, by);
            if shadow.blocks != 0 {
                self.must_be_dead(SlotId(shadow.link), frame, by);
            }
        }
    }

    /// No translation that begins with the frame leads there.
    fn must_be_unreachable(&mut self, frame: usize, by: By) {
        let shadow = self.frames[frame];
        self.must_be_paid(frame, frame, by);
        if shadow.maps != 0 || shadow.blocks != 0 {
            self.must_be_dead(SlotId(shadow.link), frame, by);
        }
    }

    /// Nothing is owed for a translation that begins with the frame `at` and leads to `frame`.
    fn must_be_paid(&mut self, at: usize, frame: usize, by: By) {
        let Self { book, cpus, frames, .. } = self;
        let shadow = &mut frames[at];
        let is_unpaid = match (shadow.owed, book.get_mut(shadow.debt)) {
            (Owed::Nothing, _) => return,
            (Owed::One, Some(debt)) if debt.what.is_run() || debt.what.frame as usize == at => {
                let is_paid = debt.is_settled(cpus);
                if is_paid {
                    book.remove(shadow.debt);
                }
                !is_paid
            }
            (Owed::One, _) => false,
            (Owed::Some, _) => book.len > 0,
        };
        if is_unpaid {
            self.must_be_paid_by_all(at, frame, by);
        } else {
            shadow.owed = Owed::Nothing;
        }
    }

    /// As [`Oracle::must_be_paid`], where somebody may owe it.
    #[cold]
    fn must_be_paid_by_all(&mut self, at: usize, frame: usize, by: By) {
        self.part_from_runs(at);
        let (cpus, mut owed) = (&self.cpus, Owed::Nothing);
        let (tables, frames, first) = (&self.tables, &self.frames, self.first);
        let mut wanted = |debt: &mut Debt| {
            if debt.what.frame as usize != at {
                return false;
            }
            owed = Owed::Some;
            let leads = debt.leads_to(frame);
            if leads && kernel::is_parted(tables, frames, first, &debt.what, frame) {
                return false;
            }
            debt.is_trap |= leads;
            leads && debt.what.left & cpus.users(debt.what.space, debt.what.asid) != 0
        };
        let found = self.book.find(Half::User, cpus, &mut wanted);
        let found = match found {
            None if self.book.kernel_owes_frames() => {
                self.book.find(Half::Kernel, cpus, &mut wanted)
            }
            found => found,
        };
        self.frames[at].owed = owed;
        if let Some(id) = found {
            self.demand(id, Rule::FrameFreed, by, Some((self.first + frame as u64).base()));
        }
    }

    /// A frame goes while an entry maps it: that is right only if no walker comes to the entry any more,
    /// because its table was taken out, or its space is not run any more.
    fn must_be_dead(&mut self, slot: SlotId, frame: usize, by: By) {
        if slot == SlotId::NONE || slot.frame() >= self.frames.len() {
            return;
        }
        let Some(table) = self.table_at(slot.frame()) else { return };
        if !self.is_thorough && self.is_left(table) {
            return;
        }
        let (level, word) =
            (self.tables[table].level, self.tables[table].slots[slot.index()].word());
        let leads = Self::leads_to(level, word).and_then(|(pfn, pages)| {
            let first = self.frame_of(pfn)?;
            (first..first + pages as usize).contains(&frame).then_some(())
        });
        if leads.is_none() || word & VALID == 0 {
            return;
        }
        let Some(place) = self.place(slot) else { return };
        let pfn = self.first + frame as u64;
        match place {
            Place::Root { root, .. } => {
                let running = self.cpus.running_space(self.tables[root].space);
                if running != 0 {
                    let change = Change {
                        cpu: by.cpu,
                        slot,
                        table,
                        level,
                        old: word,
                        new: word,
                        how: How::Store,
                        place,
                    };
                    let subject = self.subject(&change);
                    let (rule, frame) = (Rule::FrameMapped, Some(pfn.base()));
                    self.broken_about(rule, by, Some(subject), Some(slot), frame, running);
                }
            }
            Place::Loose { top, offset } => {
                self.must_be_left(top, offset, level, true, Rule::FrameFreed, by, pfn.base());
            }
        }
    }

    /// Nobody has the leaf or walk of `level` any more that was `offset` bytes into what the loose table
    /// `top` translated.
    #[expect(clippy::too_many_arguments, reason = "a question with all that its answer may need")]
    fn must_be_left(
        &mut self,
        top: usize,
        offset: u64,
        level: Level,
        is_leaf: bool,
        rule: Rule,
        by: By,
        what: PhysAddr,
    ) {
        let Some(id) = self.walk_debt(top) else { return };
        let Some(debt) = self.book.get(id) else { return };
        let at = VirtRange::from_size(debt.what.va + offset, level.span());
        let left = debt.left_below(at, is_leaf, &self.cpus);
        let usable = left & self.cpus.users(debt.what.space, debt.what.asid);
        if usable != 0 {
            let debt = *debt;
            self.unpaid(&debt, usable, rule, by, Some(what));
        } else if left != 0
            && let Some(debt) = self.book.get_mut(id)
        {
            debt.is_trap = true;
        }
    }

    fn broken_frame(&mut self, rule: Rule, by: By, pfn: Pfn, slot: Option<SlotId>) {
        self.broken_about(rule, by, None, slot, Some(pfn.base()), 0);
    }

    // --- tables ----------------------------------------------------------------------------------

    /// A page becomes a table with entries of `level`, all zeros.
    pub fn table_alloc(&mut self, by: By, pfn: Pfn, level: Level) {
        let now = self.tick();
        let Some(frame) = self.frame_of(pfn) else { return };
        if matches!(self.frames[frame].kind, Kind::Table) {
            return self.broken_frame(Rule::FrameTaken, by, pfn, None);
        }
        self.frames[frame].kind = Kind::Table;
        self.frames[frame].site = self.sites.id(by.site);
        self.watch(frame, level, by.cpu, now);
    }

    /// A page is no table any more.
    pub fn table_free(&mut self, by: By, pfn: Pfn, level: Level) {
        if self.report.is_some() {
            return;
        }
        self.tick();
        let Some(frame) = self.frame_of(pfn) else { return };
        if let Some(table) = self.table_at(frame) {
            self.must_be_unwalked(table, frame, level, by);
            self.unwatch(frame);
        }
        let shadow = &mut self.frames[frame];
        (shadow.kind, shadow.link, shadow.maps) = (Kind::Data, u32::MAX, 0);
        (shadow.owed, shadow.blocks) = (Owed::Nothing, 0);
    }

    /// No walk leads to a table that goes.
    fn must_be_unwalked(&mut self, table: usize, frame: usize, level: Level, by: By) {
        let base = (self.first + frame as u64).base();
        if level == Level::Pgd {
            let space = self.tables[table].space;
            let running = self.cpus.running_space(space);
            if running != 0 {
                self.broken_frame(Rule::TableLinked, by, base.pfn(), None);
            }
            return;
        }
        match self.place(SlotId::new(frame, 0)) {
            Some(Place::Root { root, .. }) => {
                let running = self.cpus.running_space(self.tables[root].space);
                if running != 0 {
                    let slot = Some(self.tables[table].parent);
                    self.broken_about(Rule::TableLinked, by, None, slot, Some(base), running);
                }
            }
            Some(Place::Loose { top, .. }) if top == table => {
                if let Some(id) = self.walk_debt(top) {
                    self.demand_walk(id, by, base);
                }
            }
            Some(Place::Loose { top, offset }) => {
                // Its own descriptor is of the level above, and covers all below.
                let above = Level::ALL[(level as usize).saturating_sub(1)];
                self.must_be_left(top, offset, above, false, Rule::TableFreed, by, base);
            }
            None => {}
        }
    }

    /// Of a table that was taken out, the walks to it are gone. The leaves are their frames' matter.
    fn demand_walk(&mut self, id: DebtId, by: By, what: PhysAddr) {
        let Some(debt) = self.book.get_mut(id) else { return };
        let left = debt.left_below(debt.range(), false, &self.cpus);
        let usable = left & self.cpus.users(debt.what.space, debt.what.asid);
        if usable != 0 {
            let debt = *debt;
            self.unpaid(&debt, usable, Rule::TableFreed, by, Some(what));
        } else if left != 0 {
            debt.is_trap = true;
        }
    }

    // --- operations ------------------------------------------------------------------------------

    /// An operation on a part of a space is over: no CPU can do more there than its tables say.
    pub fn done(&mut self, by: By, root: Pfn, range: VirtRange) {
        if self.report.is_some() {
            return;
        }
        self.tick();
        let root = self.frame_of(root).and_then(|frame| self.table_at(frame));
        let Some(root) = root else { return };
        if self.tables[root].is_kernels {
            self.must_be_seen(by, range);
            self.must_be_whole(by, root, range);
        }
        if self.book.len == 0 {
            return;
        }
        let space = self.tables[root].space;
        self.cut_runs((range.start.0, range.end.0), Some(space));
        let cpus = &self.cpus;
        let found = self.book.find_in(range, cpus, |debt| {
            if debt.what.space != space {
                return false;
            }
            debt.is_trap = true;
            debt.what.left & cpus.users(debt.what.space, debt.what.asid) != 0
        });
        if let Some(id) = found {
            self.demand(id, Rule::DoneEarly, by, None);
        }
    }
}
