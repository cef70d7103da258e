//! What is true of the kernel's addresses when nobody maps and nobody unmaps.
//!
//! Each page of the space is in exactly one place (T-25), the counters say what is there (T-27), and blocks are what they
//! say (T-26): their used, free and dirty pages are all of them, and one is in its owner's queue, once, if it has room,
//! and in no queue if not.

use super::Block;
use crate::{Hardware, Mm, OutOfMemory};
use abi::{Order, PAGE_SIZE, VirtAddr};
use alloc::vec::Vec;
use core::fmt;
use sync::Arc;
use sync::atomic::Ordering;

/// Where a piece of the space is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Where {
    /// Nobody has it.
    Gap,
    /// An area, or a block.
    InUse,
    /// Given up, and perhaps cached.
    Lazy,
    /// Flushed, and kept for the next of its size.
    Ready,
}

/// What is wrong with the kernel's addresses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AddressRule {
    /// They are in two places, or in none.
    NotOnce,
    /// So many pages are counted as lazy, and another number is.
    Lazy(u64),
    /// A block breaks a rule of its own.
    Block(&'static str),
}

impl fmt::Display for AddressRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotOnce => f.write_str("and what follows are in two places, or in none"),
            Self::Lazy(counted) => write!(f, "are not all: {counted} pages are counted as lazy"),
            Self::Block(what) => write!(f, "begin a block: {what}"),
        }
    }
}

/// What an audit of the kernel's addresses ends with.
pub(crate) enum Found {
    Broken(VirtAddr, AddressRule),
    OutOfMemory(OutOfMemory),
}

/// A piece of the space: its first page, how many it has, where it is.
type Piece = (u64, u64, Where);
type Pieces = Vec<Piece>;

impl<H: Hardware> Mm<H> {
    /// Checks every rule of the kernel's addresses.
    ///
    /// Context: thread, may sleep; nobody is mapping or unmapping.
    pub(crate) fn audit_vmalloc(&self) -> Result<(), Found> {
        let _one = self.vmalloc.purge.lock(&self.hw);
        self.audit_places()?;
        let mut at = usize::MAX;
        while let Some((n, block)) = self.vmalloc.blocks.before(&self.hw, at) {
            if let Some(what) = self.block_fault(&block) {
                return Err(Found::Broken(block.start(), AddressRule::Block(what)));
            }
            at = n;
        }
        match self.vmalloc.blocks.stray(&self.hw) {
            Some(start) => {
                let what = "it is in a queue, and in the index it is not";
                Err(Found::Broken(start, AddressRule::Block(what)))
            }
            None => Ok(()),
        }
    }

    fn audit_places(&self) -> Result<(), Found> {
        let (mut pieces, mut all) = (Pieces::new(), 0);
        self.each_piece(&mut |_| all += 1);
        let none = |_| Found::OutOfMemory(OutOfMemory { order: Order::PAGE });
        pieces.try_reserve_exact(all).map_err(none)?;
        self.each_piece(&mut |piece| pieces.push(piece));
        pieces.sort_unstable();
        let space = self.vmalloc.space;
        let mut end = space.start.0 / PAGE_SIZE;
        for &(start, pages, _) in &pieces {
            if start != end {
                let at = VirtAddr(start.min(end) * PAGE_SIZE);
                return Err(Found::Broken(at, AddressRule::NotOnce));
            }
            end = start + pages;
        }
        if end != space.end.0 / PAGE_SIZE {
            return Err(Found::Broken(VirtAddr(end * PAGE_SIZE), AddressRule::NotOnce));
        }
        let lazy = pieces.iter().filter(|(_, _, place)| *place == Where::Lazy);
        let counted = self.vmalloc.lazy.load(Ordering::Relaxed);
        if lazy.map(|(_, pages, _)| pages).sum::<u64>() != counted {
            return Err(Found::Broken(space.start, AddressRule::Lazy(counted)));
        }
        Ok(())
    }

    fn each_piece(&self, see: &mut dyn FnMut(Piece)) {
        let gaps = self.vmalloc.gaps.lock(&self.hw);
        gaps.each(|start, pages| see((start, pages, Where::Gap)));
        drop(gaps);
        for node in &self.vmalloc.nodes {
            node.lock(&self.hw).each(|start, pages, place| see((start, pages, place)));
        }
    }

    fn block_fault(&self, block: &Arc<Block>) -> Option<&'static str> {
        block.fault(&self.hw).or_else(|| self.vmalloc.blocks.misplaced(&self.hw, block))
    }
}
