//! A look before anybody is disturbed: is there anything to be done, is it worth it, and what does it need.
//!
//! What is seen here is a hint, since others go on with faults meanwhile; it is looked at again when
//! nobody does.
//!
//! Corresponds to Linux's `hpage_collapse_scan_pmd` and `thp_vma_allowable_order`.

use super::{By, CollapseError};
use crate::frame::Flag;
use crate::space::{Backing, Core, Huge, Vma};
use crate::thp::Policy;
use crate::{Hardware, Mm, Slot};
use abi::{ENTRIES, Event, Level, Order, PAGE_SIZE, Pfn, VirtAddr, VirtRange};
use pte::{Entry, Leaf};

/// What there is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Look {
    /// A huge page, or one on its way.
    Huge,
    /// Pages of one huge folio, it seems: no memory is needed.
    Whole,
    /// Pages.
    Pages,
}

/// What a block consists of.
#[derive(Default)]
struct Found {
    holes: u32,
    shared: u32,
    young: bool,
}

impl<H: Hardware> Mm<H> {
    /// Whether the area that has the block's first address is one in which it may be a huge page.
    #[doc(alias("hugepage_vma_revalidate", "thp_vma_allowable_order"))]
    pub(super) fn collapsible(
        &self,
        core: &Core,
        area: Option<&Vma>,
        block: VirtRange,
        by: By,
    ) -> Result<Vma, CollapseError> {
        let area = *area.ok_or(CollapseError::NoArea(block))?;
        if !area.range.covers(&block) {
            return Err(CollapseError::NoArea(block));
        }
        let wanted = match by {
            By::Background => self.thp.wants(core, &area),
            By::Program => {
                let refused = area.huge == Huge::Never || core.thp.get() == Some(Policy::Never);
                area.backing == Backing::Anonymous && !refused
            }
        };
        if wanted { Ok(area) } else { Err(CollapseError::Unwanted(area.range)) }
    }

    /// Looks at a block.
    pub(super) fn look(
        &self,
        core: &Core,
        block: VirtRange,
        by: By,
    ) -> Result<Look, CollapseError> {
        let area = |layout: &crate::space::Layout| layout.find(block.start).copied();
        // The claim keeps the table a table.
        let (area, _claim) = core.layout.read_at(&self.hw, block.start.page(), area);
        self.collapsible(core, area.as_ref(), block, by)?;
        let slot = self.find_slot(core.root, block.start, Level::Pmd);
        let slot = slot.ok_or(CollapseError::Empty(block))?;
        let table = match pte::decode(Level::Pmd, self.hw.load(slot)) {
            Entry::Table(table) => table.pfn(),
            Entry::None => return Err(CollapseError::Empty(block)),
            _ => return Ok(Look::Huge),
        };
        if by == By::Background {
            self.worth_it(block, table)?;
        }
        Ok(if self.begins_whole(table) { Look::Whole } else { Look::Pages })
    }

    /// Whether a table begins with the first page of a huge folio.
    fn begins_whole(&self, table: Pfn) -> bool {
        let first = self.leaf_at(Slot::new(table, 0)).filter(|leaf| !leaf.is_special());
        let desc = first.and_then(|leaf| self.frames.map().find(leaf.pfn()));
        desc.is_some_and(|desc| desc.is_folio_with(0) && desc.order() == Order::PMD)
    }

    /// Whether a block is worth the work.
    #[doc(alias = "hpage_collapse_scan_pmd")]
    fn worth_it(&self, block: VirtRange, table: Pfn) -> Result<(), CollapseError> {
        let limits = &self.thp.collapse;
        let (most_holes, most_shared) = (limits.max_none(), limits.max_shared());
        let mut found = Found::default();
        for index in 0..ENTRIES {
            let word = self.hw.load(Slot::new(table, index));
            if word == 0 {
                found.holes += 1;
                continue;
            }
            let va = block.start + index as u64 * PAGE_SIZE;
            match pte::decode(Level::Pte, word).mapping() {
                Some(leaf) => self.count_page(va, leaf, &mut found)?,
                None => return Err(CollapseError::NoMemory(va, word)),
            }
        }
        if found.holes > most_holes {
            self.count(Event::ThpScanExceedNone, 1);
            return Err(CollapseError::Holes { found: found.holes, most: most_holes });
        }
        if found.shared > most_shared {
            self.count(Event::ThpScanExceedShared, 1);
            return Err(CollapseError::Shared { found: found.shared, most: most_shared });
        }
        if found.young { Ok(()) } else { Err(CollapseError::Unused(block.start)) }
    }

    fn count_page(&self, va: VirtAddr, leaf: Leaf, found: &mut Found) -> Result<(), CollapseError> {
        if leaf.is_special() {
            found.holes += 1;
            return Ok(());
        }
        let head = self.frames.map().head(leaf.pfn());
        let head = head.ok_or(CollapseError::NoMemory(va, leaf.word()))?;
        let desc = self.desc(head);
        if desc.has(Flag::Lazy) && !leaf.is_dirty() {
            // It would never be taken away again.
            return Err(CollapseError::Unused(va));
        }
        found.young |= leaf.is_young();
        found.shared += u32::from(!self.is_exclusive(head, leaf.pfn() - head) && desc.maps() > 1);
        Ok(())
    }
}
