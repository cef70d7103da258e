//! Making 2 MiB blocks out of fragmented memory.
//!
//! Of a node's page blocks those with least in them are emptied, into what is free in those with most; the
//! two meet in the middle. So each page moves once, and no free page block is broken for it.
//!
//! 1. Look at every page block, and line them up: the emptiest first, those that something unmovable holds
//!    down last.
//! 2. While what is free at the end has room for what is in the first: isolate the first, move its folios to
//!    pages that are taken out of the last, undo the isolation. The next one is the first.
//!
//! A page block with a folio that somebody holds (a pin, a reference) is passed over before anything is
//! moved.
//!
//! | file | concern |
//! | --- | --- |
//! | `mod` | which page blocks, and how far to go |
//! | `empty` | emptying one |
//! | `demand` | who asks: allocations that failed, and the thread in the background |
//!
//! Corresponds to Linux's `mm/compaction.c`: `compact_zone`, `isolate_migratepages_block`,
//! `isolate_freepages`.

mod demand;
mod empty;

pub(crate) use demand::Demand;

use crate::frame::{OutOfMemory, PAGE_BLOCK};
use crate::mutant::Mutant;
use crate::rmap::NO_HEAP;
use crate::{Hardware, Mm};
use abi::{Event, Node, Pfn};
use alloc::vec::Vec;
use core::fmt;
use empty::Outcome;

/// What came of a compaction.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Compacted {
    /// Page blocks that are wholly free now and were not.
    pub made: u64,
    /// Pages that were moved for it.
    pub moved: u64,
    /// Page blocks that were given up: somebody holds a folio there, works on it, or took memory there
    /// meanwhile.
    pub busy: u64,
}

impl fmt::Display for Compacted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { made, moved, busy } = self;
        write!(f, "{made} blocks of 2 MiB made, {moved} pages moved, {busy} blocks busy")
    }
}

/// A page block that has free pages, but is not all free.
#[derive(Clone, Copy)]
struct Candidate {
    first: Pfn,
    free: u16,
    movable: u16,
    /// Nothing in it stays where it is.
    may_go: bool,
}

/// The compaction of one node.
struct Compactor<'m, H: Hardware> {
    mm: &'m Mm<H>,
    node: Node,
    /// In the order in which they are emptied. Filled from the end.
    blocks: Vec<Candidate>,
    /// Those from here on are not emptied yet.
    next: usize,
    /// Those from here on were filled already.
    end: usize,
    /// Free pages in those between.
    room: u64,
    /// Pages that were taken out of the last of them, to be moved to.
    pages: Vec<Pfn>,
}

impl<H: Hardware> Mm<H> {
    /// Makes free page blocks, up to `wanted` of them, by moving what is scattered together. An error says
    /// that there was no memory for the work itself, not even for a first one.
    ///
    /// Context: thread, may sleep on folios' locks and on the spaces that map them; holds no lock, no claim
    /// and no reference to a folio.
    #[doc(alias("compact_node", "compact_zone", "compact_memory"))]
    pub fn compact(&self, wanted: u64) -> Result<Compacted, OutOfMemory> {
        let mut done = Compacted::default();
        self.frames.drain(&self.hw);
        for node in (0..self.frames.nodes()).map(|node| Node(node as u8)) {
            if done.made == wanted {
                break;
            }
            let worked = Compactor::new(self, node).and_then(|mut it| it.run(wanted, &mut done));
            match worked {
                Err(oom) if done.made == 0 => return Err(oom),
                // What is made is made.
                Err(_) => break,
                Ok(()) => {}
            }
        }
        self.count(Event::CompactBlock, done.made);
        Ok(done)
    }
}

impl<'m, H: Hardware> Compactor<'m, H> {
    fn new(mm: &'m Mm<H>, node: Node) -> Result<Self, OutOfMemory> {
        let (mut blocks, mut pages) = (Vec::new(), Vec::new());
        pages.try_reserve_exact(PAGE_BLOCK.pages() as usize).map_err(|_| NO_HEAP)?;
        let memory = mm.frames.map().range();
        let firsts = (memory.start.pfn().0..memory.end.pfn().0)
            .step_by(PAGE_BLOCK.pages() as usize)
            .map(Pfn)
            .filter(|first| mm.frames.node_of(*first) == node);
        for first in firsts {
            let seen = mm.frames.survey(first);
            // What does not move keeps the room that it has in its own page blocks.
            let theirs = seen.unmovable > 0 && !mm.frames.is_for_movable(first);
            if !theirs && seen.free > 0 && seen.free < PAGE_BLOCK.pages() {
                blocks.try_reserve(1).map_err(|_| NO_HEAP)?;
                blocks.push(Candidate {
                    first,
                    free: seen.free as u16,
                    movable: seen.movable as u16,
                    may_go: seen.unmovable == 0,
                });
            }
        }
        blocks.sort_unstable_by_key(|block| (!block.may_go, block.movable, block.first));
        let room = blocks.iter().map(|block| u64::from(block.free)).sum();
        let end = blocks.len();
        Ok(Self { mm, node, blocks, next: 0, end, room, pages })
    }

    /// Empties page blocks until there are as many as wanted, or what is left has no room for another.
    fn run(&mut self, wanted: u64, done: &mut Compacted) -> Result<(), OutOfMemory> {
        while done.made < wanted && self.next < self.end {
            let source = self.blocks[self.next];
            let room = self.room - u64::from(source.free) + self.pages.len() as u64;
            if !source.may_go || room < source.movable.into() {
                break;
            }
            self.next += 1;
            self.room -= u64::from(source.free);
            match self.empty(source.first, &mut done.moved)? {
                Outcome::Made => done.made += 1,
                Outcome::Busy => done.busy += 1,
            }
        }
        Ok(())
    }

    /// A page to move to: out of the fullest page block that has one.
    #[doc(alias("isolate_freepages", "compaction_alloc"))]
    fn page(&mut self) -> Option<Pfn> {
        while self.pages.is_empty() && self.next < self.end {
            self.end -= 1;
            let from = self.blocks[self.end];
            self.room -= u64::from(from.free);
            self.mm.frames.take_fragments(&self.mm.hw, from.first, &mut self.pages);
        }
        self.pages.pop()
    }
}

impl<H: Hardware> Drop for Compactor<'_, H> {
    /// What was not needed goes back to where it was.
    #[doc(alias = "release_free_list")]
    fn drop(&mut self) {
        if !self.mm.commits(Mutant::CompactKeepsRest) {
            self.mm.frames.give_fragments(&self.mm.hw, &self.pages);
        }
    }
}
