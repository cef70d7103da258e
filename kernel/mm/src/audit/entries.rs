//! One entry that maps or remembers memory, against its area and its folio.

use super::tables::SpaceWalk;
use super::tally::{Entries, Remark};
use super::{Broken, EntryRule, Name, Seen};
use crate::Hardware;
use crate::frame::{Flag, Kind};
use crate::rmap::Owner;
use crate::space::{Backing, Vma};
use abi::{Access, Level, Order, Pfn, VirtRange};
use core::sync::atomic::Ordering::Relaxed;
use pte::{Leaf, MigrationKind, Soft};

impl<H: Hardware> SpaceWalk<'_, '_, H> {
    /// A leaf: its area permits what it permits, and its folio knows of it. Says what is behind the
    /// area.
    pub(super) fn leaf(&mut self, at: Seen, leaf: Leaf) -> Result<Backing, Broken> {
        let broken = |rule| Err(Broken::Entry(at, rule));
        if at.level < Level::Pmd {
            return broken(EntryRule::TooLarge);
        }
        let area = self.area_of(at)?;
        if leaf.is_kernel_exec() || leaf.is_global() {
            return broken(EntryRule::Privileged);
        }
        let all = [Access::Read, Access::Write, Access::Exec];
        if all.into_iter().any(|access| leaf.permits(access) && !area.prot.allows(access)) {
            return broken(EntryRule::Rights(area.prot));
        }
        if at.level == Level::Pmd {
            self.audit.pmd_leaves += 1;
        } else {
            self.audit.pte_leaves += 1;
        }
        self.audit.prot_none += u64::from(!leaf.is_valid());
        if area.backing == Backing::Frames {
            self.audit.special += 1;
            return if leaf.is_special() {
                Ok(area.backing)
            } else {
                broken(EntryRule::NotSpecial)
            };
        }
        self.anonymous(at, leaf, &area)?;
        Ok(area.backing)
    }

    /// A leaf of an area of anonymous memory.
    fn anonymous(&mut self, at: Seen, leaf: Leaf, area: &Vma) -> Result<(), Broken> {
        let broken = |rule| Err(Broken::Entry(at, rule));
        let (head, order) = self.folio_of(at, leaf.pfn())?;
        let desc = self.mm.desc(head);
        if at.level == Level::Pmd && (leaf.pfn() != head || order != Order::PMD) {
            return broken(EntryRule::NotWhole(head, order));
        }
        if desc.has(Flag::Zero) {
            self.audit.special += 1;
            return match (leaf.is_special(), leaf.is_writable()) {
                (false, _) => broken(EntryRule::NotSpecial),
                (true, true) => broken(EntryRule::WritableZeros),
                (true, false) => Ok(()),
            };
        }
        if leaf.is_special() {
            return broken(EntryRule::Special);
        }
        self.named(at, leaf.pfn(), head, area)?;
        let page = leaf.pfn() - head;
        if leaf.is_writable() && !self.mm.is_exclusive(head, page) {
            return broken(EntryRule::SharedWritable);
        }
        let what = if at.level == Level::Pmd { Entries::Pmd } else { Entries::Pte };
        self.tally.add(leaf.pfn(), what)?;
        self.audit.rss += leaf.order().pages();
        Ok(())
    }

    /// A soft entry: legal here, and known to its folio if it has one.
    pub(super) fn soft(&mut self, at: Seen, soft: Soft) -> Result<(), Broken> {
        let area = self.area_of(at)?;
        let Soft::Migration { pfn, kind, .. } = soft else {
            self.audit.soft += 1;
            return Ok(());
        };
        if !self.allow.migration {
            return Err(Broken::Entry(at, EntryRule::LeftMigration));
        }
        let (head, order) = self.folio_of(at, pfn)?;
        if at.level == Level::Pmd && (pfn != head || order != Order::PMD) {
            return Err(Broken::Entry(at, EntryRule::NotWhole(head, order)));
        }
        self.named(at, pfn, head, &area)?;
        let what = if at.level == Level::Pmd { Entries::SoftPmd } else { Entries::SoftPte };
        self.tally.add(pfn, what)?;
        if kind != MigrationKind::Read {
            self.tally.note(pfn, Remark::Alone)?;
        }
        self.audit.migrations += 1;
        self.audit.rss += at.level.span() / Level::Pte.span();
        Ok(())
    }

    /// The area that all of the entry lies in. A huge one may go on in areas that only advice tells apart
    /// from it: advice splits nothing; who takes a part away, or changes its rights, does.
    fn area_of(&mut self, at: Seen) -> Result<Vma, Broken> {
        let span = VirtRange::from_size(at.va, at.level.span());
        if let Some(area) = self.area.filter(|area| area.range.covers(&span)) {
            return Ok(area);
        }
        let mut area = *self.layout.find(at.va).ok_or(Broken::Entry(at, EntryRule::Outside))?;
        for next in self.layout.iter_from(area.range.end) {
            let advised_as_next = Vma { huge: next.huge, ..area };
            if area.range.covers(&span) || !advised_as_next.is_continued_by(next) {
                break;
            }
            area.range.end = next.range.end;
        }
        if !area.range.covers(&span) {
            return Err(Broken::Entry(at, EntryRule::Outside));
        }
        self.area = Some(area);
        Ok(area)
    }

    /// The folio of a page that an entry names.
    fn folio_of(&mut self, at: Seen, pfn: Pfn) -> Result<(Pfn, Order), Broken> {
        let covers = |(head, order): &(Pfn, Order)| pfn >= *head && pfn - *head < order.pages();
        if let Some(folio) = self.folio.filter(covers) {
            return Ok(folio);
        }
        let map = self.mm.frames.map();
        if map.find(pfn).is_none() {
            return Err(Broken::Entry(at, EntryRule::NoRam));
        }
        let head = map.head(pfn);
        let kind = head.map_or(Kind::Tail, |head| map.desc(head).kind());
        let (Some(head), Kind::Folio) = (head, kind) else {
            return Err(Broken::Entry(at, EntryRule::NoFolio(kind)));
        };
        let folio = (head, map.desc(head).order());
        self.folio = Some(folio);
        Ok(folio)
    }

    /// The folio is called what leads a walk from it to this entry.
    fn named(&self, at: Seen, pfn: Pfn, head: Pfn, area: &Vma) -> Result<(), Broken> {
        let called: Name = Owner::from_word(self.mm.desc(head).owner.load(Relaxed)).into();
        let index = area.index_at(at.va).wrapping_sub(pfn - head);
        let expected = Name { family: self.core.family.id(), index };
        if called == expected {
            return Ok(());
        }
        Err(Broken::Entry(at, EntryRule::Unfindable { called, expected }))
    }
}
