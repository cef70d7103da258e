//! How memory is mapped, as the tables say.

use crate::access::wrong_entry;
use crate::hold::count;
use crate::stage::{Stage, va};
use crate::step::{BLOCK, Part, Who};
use abi::{Order, PAGE_SHIFT, Pfn, VirtAddr};
use mm::Space;
use stress::{Failure, World};

/// The page that is mapped at `va`, and the size of what maps it.
pub(crate) fn mapped<H: mm::Hardware>(space: &Space<'_, H>, va: VirtAddr) -> Option<(Pfn, Order)> {
    let mut found = None;
    space.mm().walk(space.root(), va, |level, _, entry, _| {
        if let Some(leaf) = entry.leaf() {
            let span = level.span();
            let order = Order((level.shift() - PAGE_SHIFT) as u8);
            found = Some((leaf.pfn() + ((va.0 % span) >> PAGE_SHIFT), order));
        }
    });
    found
}

impl<W: World> Stage<'_, '_, W> {
    /// Each page is in a folio of this order.
    pub(crate) fn folios(&self, who: Who, part: Part, order: Order) -> Result<(), Failure> {
        let space = self.space(who)?;
        let map = self.world.mm().frames.map();
        self.pages(part).map(va).try_for_each(|va| {
            let head = mapped(space, va).and_then(|(pfn, _)| map.head(pfn));
            match head.map(|head| map.desc(head).order()) {
                Some(found) if found == order => Ok(()),
                Some(_) => Err(wrong_entry(space, va, "its folio is of another order")),
                None => Err(wrong_entry(space, va, "it has no folio")),
            }
        })
    }

    /// So many of the blocks are mapped by one entry.
    pub(crate) fn huge(&self, who: Who, part: Part, expected: u32) -> Result<(), Failure> {
        let space = self.space(who)?;
        let huge =
            |page: &u32| mapped(space, va(*page)).is_some_and(|(_, size)| size == Order::PMD);
        let found = self.pages(part).step_by(BLOCK as usize).filter(huge).count();
        count("huge entries", expected.into(), found as u64)
    }

    /// The space has so many areas.
    pub(crate) fn areas(&self, who: Who, expected: u8) -> Result<(), Failure> {
        let mut found = 0;
        self.space(who)?.each_area(|_| found += 1);
        count("areas", expected.into(), found)
    }
}
