//! Where a case is played: its spaces, what was written in each, and what is held.

use crate::step::{ALL, Part, Who};
use abi::{Order, PAGE_SHIFT, VirtAddr, VirtRange};
use alloc::vec::Vec;
use core::ops::Range;
use mm::gup::{Held, Run};
use mm::{OutOfMemory, Space};
use stress::{Failure, Stamp, World};

/// Where a case's memory begins.
const BASE: VirtAddr = VirtAddr(1 << 40);

/// There was no room to remember something.
pub(crate) const NO_HEAP: Failure = Failure::Memory(OutOfMemory { order: Order::PAGE });

/// What is known of one page: which, and what it holds.
pub(crate) type Known = (u32, u64);

/// What is held through a case, and what it held when it was taken.
pub(crate) struct Kept<'w, 'b, W: World> {
    pub(crate) held: Held<'w, 'b, W::Machine>,
    pub(crate) was: Vec<u64>,
}

/// One case being played.
pub(crate) struct Stage<'w, 'b, W: World> {
    pub(crate) world: &'w W,
    /// Given back before the spaces.
    pub(crate) kept: Option<Kept<'w, 'b, W>>,
    pub(crate) spaces: [Option<Space<'w, W::Machine>>; Who::COUNT],
    /// What each space's pages hold, as far as it is known, in the order of their addresses.
    known: [Vec<Known>; Who::COUNT],
    version: u16,
    /// How many pages [`ALL`] is.
    pub(crate) memory: u32,
    /// How many pages are held at once.
    pub(crate) batch: u32,
    /// Room for what is held.
    pub(crate) room: Option<&'b mut [Run]>,
}

impl<'w, 'b, W: World> Stage<'w, 'b, W> {
    /// The parent's space, with nothing in it.
    pub(crate) fn new(world: &'w W, batch: u32, room: &'b mut [Run]) -> Result<Self, Failure> {
        let parent = Space::new(world.mm())?;
        Ok(Self {
            world,
            kept: None,
            spaces: [Some(parent), None, None],
            known: [const { Vec::new() }; Who::COUNT],
            version: 0,
            memory: 0,
            batch,
            room: Some(room),
        })
    }

    /// Somebody's space.
    pub(crate) fn space(&self, who: Who) -> Result<&Space<'w, W::Machine>, Failure> {
        let space = self.spaces[who as usize].as_ref();
        space.ok_or(Failure::Count { what: "spaces at a step", expected: 1, found: 0 })
    }

    /// The pages of a part, as numbers.
    pub(crate) fn pages(&self, part: Part) -> Range<u32> {
        let pages = if part == ALL { self.memory } else { part.pages };
        part.from..part.from + pages
    }

    /// A part's addresses.
    pub(crate) fn range(&self, part: Part) -> VirtRange {
        let pages = self.pages(part);
        VirtRange::new(va(pages.start), va(pages.end))
    }

    // --- what is known ---------------------------------------------------------------------------

    /// Where a page is, or belongs, among those that are known.
    fn position(&self, who: Who, page: u32) -> usize {
        self.known[who as usize].partition_point(|known| known.0 < page)
    }

    /// Where those of these pages are that are known.
    fn positions(&self, who: Who, pages: &Range<u32>) -> Range<usize> {
        self.position(who, pages.start)..self.position(who, pages.end)
    }

    /// What a page holds, if it is known.
    pub(crate) fn word(&self, who: Who, page: u32) -> Option<u64> {
        let known = self.known[who as usize].get(self.position(who, page))?;
        (known.0 == page).then_some(known.1)
    }

    fn know(&mut self, who: Who, page: u32, word: u64) -> Result<(), Failure> {
        let at = self.position(who, page);
        let known = &mut self.known[who as usize];
        match known.get_mut(at) {
            Some(known) if known.0 == page => known.1 = word,
            _ => {
                known.try_reserve(1).map_err(|_| NO_HEAP)?;
                known.insert(at, (page, word));
            }
        }
        Ok(())
    }

    /// These pages are gone.
    pub(crate) fn forget(&mut self, who: Who, pages: &Range<u32>) {
        let gone = self.positions(who, pages);
        self.known[who as usize].drain(gone);
    }

    /// What was known of these pages is zeros now.
    pub(crate) fn clear(&mut self, who: Who, pages: &Range<u32>) {
        let gone = self.positions(who, pages);
        self.known[who as usize][gone].iter_mut().for_each(|known| known.1 = 0);
    }

    /// What was known of these pages is known of others.
    pub(crate) fn shift(&mut self, who: Who, pages: &Range<u32>, to: u32) -> Result<(), Failure> {
        let moved = self.copy_of(self.known(who, pages))?;
        self.forget(who, pages);
        moved.iter().try_for_each(|&(page, word)| self.know(who, page - pages.start + to, word))
    }

    /// One begins with what the other knows.
    pub(crate) fn inherit(&mut self, from: Who, to: Who) -> Result<(), Failure> {
        self.known[to as usize] = self.copy_of(&self.known[from as usize])?;
        Ok(())
    }

    fn copy_of(&self, known: &[Known]) -> Result<Vec<Known>, Failure> {
        let mut copy = Vec::new();
        copy.try_reserve_exact(known.len()).map_err(|_| NO_HEAP)?;
        copy.extend_from_slice(known);
        Ok(copy)
    }

    /// A word that was never written before, for each of these pages; what the pages hold from now on.
    pub(crate) fn renew(&mut self, who: Who, pages: &Range<u32>) -> Result<(), Failure> {
        self.version += 1;
        pages.clone().try_for_each(|page| {
            let word = Stamp::new(who as u8, va(page), self.version).word();
            self.know(who, page, word)
        })
    }

    /// What is known of these pages.
    pub(crate) fn known(&self, who: Who, pages: &Range<u32>) -> &[Known] {
        &self.known[who as usize][self.positions(who, pages)]
    }
}

/// The address of a page. Numbers of the upper half are of pages in front of the memory.
pub(crate) const fn va(page: u32) -> VirtAddr {
    let offset = (page as i32 as i64) << PAGE_SHIFT;
    VirtAddr(BASE.0.wrapping_add_signed(offset))
}

/// The number of the page at an address.
pub(crate) const fn page_at(va: VirtAddr) -> u32 {
    (va.0.wrapping_sub(BASE.0) >> PAGE_SHIFT) as u32
}
