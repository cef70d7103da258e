//! The tables of one space, from its root down.

use super::tally::{Entries, Tally};
use super::{Allow, Audit, Broken, EntryRule, Seen, TableRule};
use crate::frame::{Kind, NIL};
use crate::space::{Backing, Core, Layout, Vma};
use crate::{Hardware, Mm, Slot};
use abi::{ENTRIES, Level, Order, Pfn, VirtAddr};
use core::sync::atomic::Ordering::Relaxed;
use pte::{CONT_PTES, ContSet, Entry};

/// The audit of one space.
pub(super) struct SpaceWalk<'a, 'm, H: Hardware> {
    pub(super) mm: &'m Mm<H>,
    pub(super) core: &'a Core,
    pub(super) layout: &'a Layout,
    pub(super) tally: &'a mut Tally<'m, H>,
    pub(super) audit: &'a mut Audit,
    pub(super) allow: Allow,
    /// The area that was asked for last: most entries lie in their neighbour's.
    pub(super) area: Option<Vma>,
    /// The folio that was asked for last, likewise.
    pub(super) folio: Option<(Pfn, Order)>,
}

impl<H: Hardware> SpaceWalk<'_, '_, H> {
    /// Checks everything below the root.
    pub(super) fn run(mut self) -> Result<(), Broken> {
        let root = self.core.root;
        self.audit.spaces += 1;
        self.audit.areas += self.layout.iter().count() as u64;
        let kind = self.kind(root);
        if kind != Kind::Table {
            return Err(Broken::Table(root, TableRule::NoTable(kind)));
        }
        if self.reach(root)? {
            return Err(Broken::Table(root, TableRule::SecondWay));
        }
        self.table(root, Level::Pgd, VirtAddr(0))
    }

    /// Whose the page is.
    pub(super) fn kind(&self, pfn: Pfn) -> Kind {
        self.mm.frames.map().find(pfn).map_or(Kind::Tail, |desc| desc.kind())
    }

    /// Notes that something leads to this table; says whether something else does too.
    fn reach(&mut self, table: Pfn) -> Result<bool, Broken> {
        Ok(self.tally.add(table, Entries::Pte)?.ptes() > 0)
    }

    /// One table, whose first entry translates `base`, and all below it. That it is one is known.
    fn table(&mut self, table: Pfn, level: Level, base: VirtAddr) -> Result<(), Broken> {
        self.audit.tables += 1;
        let (mut huge, mut marked) = (0, false);
        for index in 0..ENTRIES {
            let word = self.mm.hw.load(Slot::new(table, index));
            if word == 0 {
                continue;
            }
            let va = base + index as u64 * level.span();
            let at = Seen { root: self.core.root, va, level, word };
            match (pte::decode(level, word), level.down()) {
                (Entry::Table(next), Some(down)) => {
                    self.link(at, next.pfn())?;
                    self.table(next.pfn(), down, va)?;
                }
                (Entry::Leaf(leaf) | Entry::ProtNone(leaf), _) => {
                    huge += usize::from(self.leaf(at, leaf)? == Backing::Anonymous);
                    marked |= leaf.is_contiguous();
                }
                (Entry::Soft(soft), _) => {
                    self.soft(at, soft)?;
                    huge += 1;
                }
                (Entry::PresentInvalid(_), _) => {
                    return Err(Broken::Entry(at, EntryRule::LeftInvalid));
                }
                (Entry::None | Entry::Table(_) | Entry::Corrupt(_), _) => {
                    return Err(Broken::Entry(at, EntryRule::Corrupt));
                }
            }
        }
        if marked {
            self.sets(table, level, base)?;
        }
        if level == Level::Pmd { self.deposits(table, huge) } else { Ok(()) }
    }

    /// An entry that leads to `table`.
    fn link(&mut self, at: Seen, table: Pfn) -> Result<(), Broken> {
        if self.mm.frames.map().find(table).is_none() {
            return Err(Broken::Entry(at, EntryRule::NoRam));
        }
        let kind = self.kind(table);
        if kind != Kind::Table {
            return Err(Broken::Entry(at, EntryRule::NoTable(kind)));
        }
        if self.reach(table)? {
            return Err(Broken::Entry(at, EntryRule::SecondWay(table)));
        }
        Ok(())
    }

    /// The tables put aside with a PMD table: one for each of its `huge` entries. What
    /// is in them is nobody's concern: they are filled when they are used.
    fn deposits(&mut self, table: Pfn, huge: usize) -> Result<(), Broken> {
        let map = self.mm.frames.map();
        let mut spare = 0;
        let mut index = map.desc(table).next.load(Relaxed);
        while index != NIL && spare <= huge {
            spare += 1;
            let page = map.pfn(index);
            if self.kind(page) != Kind::Table {
                return Err(Broken::Table(table, TableRule::NoSpare(page)));
            }
            if self.reach(page)? {
                return Err(Broken::Table(page, TableRule::SecondWay));
            }
            index = map.desc(page).next.load(Relaxed);
        }
        if spare != huge {
            return Err(Broken::Table(table, TableRule::Deposits { huge, spare }));
        }
        self.audit.deposits += spare as u64;
        Ok(())
    }

    /// The contiguous sets of a table, each of them within one folio.
    fn sets(&mut self, table: Pfn, level: Level, base: VirtAddr) -> Result<(), Broken> {
        for index in (0..ENTRIES).step_by(CONT_PTES) {
            let words: [u64; CONT_PTES] =
                core::array::from_fn(|i| self.mm.hw.load(Slot::new(table, index + i)));
            let va = base + index as u64 * level.span();
            let at = Seen { root: self.core.root, va, level, word: words[0] };
            let set = ContSet::check(level, index, &words)
                .map_err(|misfit| Broken::Entry(at, EntryRule::TornSet(misfit)))?;
            let Some(set) = set else { continue };
            let (first, last) = (set.member(0).pfn(), set.member(CONT_PTES - 1).pfn());
            if self.mm.frames.map().head(first) != self.mm.frames.map().head(last) {
                return Err(Broken::Entry(at, EntryRule::SetOfFolios));
            }
            self.audit.contiguous += CONT_PTES as u64;
        }
        Ok(())
    }
}
