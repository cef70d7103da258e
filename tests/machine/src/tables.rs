//! Which pages are tables, where each is linked, and so what every slot translates.
//!
//! A table is linked at one slot at most, so its address is that slot's. A link is believed only while
//! the slot says so: nobody has to take back what a freed table said of its children.

use crate::memory::{Memory, RAM};
use abi::{ENTRIES, Level, Pfn, PhysAddr, VirtAddr, VirtRange};
use oracle::tlb::{Cached, SpaceId};
use pte::Entry;

/// What is remembered about one table page.
pub(crate) struct Page {
    pub(crate) level: Level,
    /// For a root: whose.
    space: Option<SpaceId>,
    /// The slot that leads here, if that still does.
    parent: Option<PhysAddr>,
    /// Whether it was a table before, or linked elsewhere.
    again: bool,
    /// By slot: since when hardware may cache the translation that it holds.
    since: Box<[u64; ENTRIES]>,
    /// By slot: what hardware has written that no software has read.
    unseen: Box<[Unseen; ENTRIES]>,
}

/// History that hardware wrote to a descriptor and no software has read.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct Unseen {
    pub(crate) young: bool,
    pub(crate) dirty: bool,
}

/// Where a slot is reached.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) space: SpaceId,
    /// The first address that the slot translates.
    pub(crate) va: VirtAddr,
    /// Since when: the latest link on the way.
    pub(crate) since: u64,
}

/// Kernel addresses from which a mapping may go before the frame does.
#[derive(Clone, Copy)]
pub(crate) struct Quarantine {
    kernel: Option<SpaceId>,
    range: VirtRange,
}

impl Quarantine {
    /// Whether a translation is of such an address.
    pub(crate) fn has(&self, cached: &Cached) -> bool {
        self.kernel == Some(cached.space) && self.range.contains(cached.va)
    }

    /// Whether a slot translates such an address.
    pub(crate) fn is_at(&self, place: &Place) -> bool {
        self.kernel == Some(place.space) && self.range.contains(place.va)
    }

    /// Whether these are all such addresses, under the root of the kernel's half.
    pub(crate) fn covers(&self, space: Option<SpaceId>, range: VirtRange) -> bool {
        let inside = self.range.start <= range.start && range.end <= self.range.end;
        self.kernel.is_some() && self.kernel == space && inside
    }
}

/// The tables of one machine.
pub(crate) struct Tables {
    pages: Vec<Option<Page>>,
    /// By the number of a space: its root, now or then.
    roots: Vec<Pfn>,
    /// By page: whether it has ever been a table.
    were: Vec<bool>,
    /// The space that is the kernel's half.
    kernel: Option<SpaceId>,
    /// Its addresses from which a mapping may go before the frame does.
    quarantine: VirtRange,
}

fn slot_index(slot: PhysAddr) -> usize {
    (slot.0 as usize / 8) % ENTRIES
}

impl Tables {
    pub(crate) fn new(pages: u64) -> Self {
        Self {
            pages: (0..pages).map(|_| None).collect(),
            roots: Vec::new(),
            were: vec![false; pages as usize],
            kernel: None,
            quarantine: VirtRange::new(VirtAddr(0), VirtAddr(0)),
        }
    }

    fn index(&self, table: Pfn) -> Option<usize> {
        let index = table.0.checked_sub(RAM.0)? as usize;
        (index < self.pages.len()).then_some(index)
    }

    pub(crate) fn page(&self, table: Pfn) -> Option<&Page> {
        self.pages[self.index(table)?].as_ref()
    }

    pub(crate) fn page_mut(&mut self, table: Pfn) -> Option<&mut Page> {
        let index = self.index(table)?;
        self.pages[index].as_mut()
    }

    /// A page becomes a table, linked nowhere. A root begins a space of its own.
    pub(crate) fn add(&mut self, table: Pfn, level: Level) {
        let Some(index) = self.index(table) else { return };
        let space = (level == Level::Pgd).then(|| {
            self.roots.push(table);
            SpaceId(self.roots.len() as u32 - 1)
        });
        let since = Box::new([0; ENTRIES]);
        let unseen = Box::new([Unseen::default(); ENTRIES]);
        let again = std::mem::replace(&mut self.were[index], true);
        self.pages[index] = Some(Page { level, space, parent: None, again, since, unseen });
    }

    /// A page is no table any more.
    pub(crate) fn remove(&mut self, table: Pfn) {
        if let Some(index) = self.index(table) {
            self.pages[index] = None;
        }
    }

    /// Whose root it is.
    pub(crate) fn space(&self, root: Pfn) -> Option<SpaceId> {
        self.page(root)?.space
    }

    /// The root that a space has, or had.
    pub(crate) fn root(&self, space: SpaceId) -> Pfn {
        self.roots[space.0 as usize]
    }

    /// `slot` leads to `table` from now on.
    pub(crate) fn link(&mut self, table: Pfn, slot: PhysAddr) {
        if let Some(page) = self.page_mut(table) {
            page.again |= page.parent.is_some_and(|parent| parent != slot);
            page.parent = Some(slot);
        }
    }

    /// Whether walkers can have come to `slot` on one way only, ever.
    pub(crate) fn untouched(&self, slot: PhysAddr) -> bool {
        self.page(slot.pfn()).is_none_or(|page| !page.again)
    }

    /// Makes the space with this root the kernel's half.
    pub(crate) fn set_kernel(&mut self, root: Pfn) {
        self.kernel = self.space(root);
    }

    /// Makes kernel addresses such that a mapping may go there before the frame does.
    pub(crate) fn set_quarantine(&mut self, range: VirtRange) {
        self.quarantine = range;
    }

    /// Such addresses.
    pub(crate) const fn quarantine(&self) -> Quarantine {
        Quarantine { kernel: self.kernel, range: self.quarantine }
    }

    /// The space that is the kernel's half.
    pub(crate) const fn kernel(&self) -> Option<SpaceId> {
        self.kernel
    }

    /// Its root.
    pub(crate) fn kernel_root(&self) -> Option<Pfn> {
        self.kernel.map(|space| self.root(space))
    }

    /// The slot that leads to `table`.
    pub(crate) fn parent(&self, memory: &Memory, table: Pfn) -> Option<PhysAddr> {
        let slot = self.page(table)?.parent?;
        let level = self.page(slot.pfn())?.level;
        let Entry::Table(next) = pte::decode(level, memory.read(slot)?) else { return None };
        (next.pfn() == table).then_some(slot)
    }

    /// What `slot` translates, if a root leads to it.
    pub(crate) fn place(&self, memory: &Memory, slot: PhysAddr) -> Option<Place> {
        let (mut at, mut va, mut since) = (slot, 0, 0);
        loop {
            let page = self.page(at.pfn())?;
            let index = slot_index(at);
            va += index as u64 * page.level.span();
            since = since.max(page.since[index]);
            if let Some(space) = page.space {
                va |= if self.kernel == Some(space) { crate::kernel::BASE } else { 0 };
                return Some(Place { space, va: VirtAddr(va), since });
            }
            at = self.parent(memory, at.pfn())?;
        }
    }

    /// Since when hardware may cache what `slot` holds, where the slot itself is reached.
    pub(crate) fn since(&self, slot: PhysAddr) -> u64 {
        self.page(slot.pfn()).map_or(0, |page| page.since[slot_index(slot)])
    }

    /// `slot` gives something new from now on.
    pub(crate) fn set_since(&mut self, slot: PhysAddr, now: u64) {
        if let Some(page) = self.page_mut(slot.pfn()) {
            page.since[slot_index(slot)] = now;
        }
    }

    /// What hardware wrote to `slot` and nobody has read.
    pub(crate) fn unseen(&self, slot: PhysAddr) -> Unseen {
        self.page(slot.pfn()).map_or(Unseen::default(), |page| page.unseen[slot_index(slot)])
    }

    /// Hardware wrote history to `slot`.
    pub(crate) fn mark(&mut self, slot: PhysAddr, young: bool, dirty: bool) {
        if let Some(page) = self.page_mut(slot.pfn()) {
            let unseen = &mut page.unseen[slot_index(slot)];
            unseen.young |= young;
            unseen.dirty |= dirty;
        }
    }

    /// Software knows all that is in `slot`.
    pub(crate) fn set_seen(&mut self, slot: PhysAddr) {
        if let Some(page) = self.page_mut(slot.pfn()) {
            page.unseen[slot_index(slot)] = Unseen::default();
        }
    }
}
