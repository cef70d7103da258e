//! Memory whose frames have leaves of their own in the linear map, on whatever CPUs.
//!
//! Few CPUs stand it that a block of the linear map becomes smaller leaves while it is in use (see `alias`); but a block
//! whose memory is nobody's is not in use. So free memory is taken by the block, its leaf is taken out and flushed, and a
//! table of pages comes in its place: break-before-make, as for any mapping. The pages go to areas that ask for them
//! ([`Backing::Parted`](crate::vmalloc::Backing::Parted)). With the last that comes back the memory is nobody's again:
//! in the same way the table makes room for a block, and the block goes back to where it came from. All other memory
//! stays in blocks.
//!
//! Linux maps all memory by pages instead where CPUs do not stand it (`can_set_direct_map`, `rodata=full`).

use crate::frame::{Counts, Effort, Kind};
use crate::mutant::Mutant;
use crate::vmalloc::ranges::{Ranges, leaves};
use crate::{Hardware, Mm, Note, OutOfMemory, Slot};
use abi::{ENTRIES, Event, Level, Order, PAGE_SIZE, PMD_SIZE, Pfn, VirtAddr, VirtRange};
use alloc::vec::Vec;
use core::sync::atomic::Ordering::Relaxed;
use pte::{AsidMatch, Entry, Invalidation, KernelProt, Leaf, MemType, Scope, Table};

/// Pages of a block, a bit each.
const WORDS: usize = ENTRIES / BITS as usize;
/// Bits of a word.
const BITS: u64 = u64::BITS as u64;

/// All blocks that are parted.
pub(in crate::vmalloc) struct Parted {
    blocks: Vec<Block>,
}

/// A block whose pages are areas', but for those that are free.
#[derive(Clone, Copy)]
struct Block {
    head: Pfn,
    free: [u64; WORDS],
    /// It was a leaf in the linear map, and is to be one again.
    was_leaf: bool,
}

impl Block {
    /// Takes the first free page.
    fn take(&mut self) -> Option<Pfn> {
        let word = self.free.iter().position(|word| *word != 0)?;
        let bit = self.free[word].trailing_zeros();
        self.free[word] &= self.free[word] - 1;
        Some(self.head + word as u64 * BITS + u64::from(bit))
    }

    fn give(&mut self, pfn: Pfn) {
        let page = pfn - self.head;
        self.free[(page / BITS) as usize] |= 1 << (page % BITS);
    }
}

impl Parted {
    pub(in crate::vmalloc) const fn none() -> Self {
        Self { blocks: Vec::new() }
    }

    fn take(&mut self) -> Option<Pfn> {
        self.blocks.iter_mut().find_map(Block::take)
    }

    /// Pages that are free.
    fn free(&self) -> u64 {
        let words = self.blocks.iter().flat_map(|block| block.free);
        words.map(|word| u64::from(word.count_ones())).sum()
    }

    /// Adds a block, of which a page is taken at once.
    fn add(&mut self, mut block: Block) -> Result<Pfn, OutOfMemory> {
        self.blocks.try_reserve(1).map_err(|_| OutOfMemory { order: Order::PAGE })?;
        let first = block.take().unwrap_or(block.head);
        self.blocks.push(block);
        Ok(first)
    }

    /// A page is nobody's any more: with it perhaps all of its block, which is forgotten then.
    fn give(&mut self, pfn: Pfn) -> Option<Block> {
        let is_its = |block: &Block| (block.head.0..block.head.0 + ENTRIES as u64).contains(&pfn.0);
        let at = self.blocks.iter().position(is_its)?;
        self.blocks[at].give(pfn);
        let is_whole = self.blocks[at].free == [u64::MAX; WORDS];
        is_whole.then(|| self.blocks.swap_remove(at))
    }
}

impl<H: Hardware> Mm<H> {
    /// A page with a leaf of its own in the linear map. Its content is whatever the last owner left.
    ///
    /// Context: may sleep; no spin lock is held.
    #[doc(alias = "execmem_alloc")]
    pub(in crate::vmalloc) fn parted_take(&self) -> Result<Pfn, OutOfMemory> {
        if let Some(pfn) = self.vmalloc.parted.lock(&self.hw).take() {
            return Ok(pfn);
        }
        let head = self.block_to_part()?;
        let was_leaf = self.part_block(head).inspect_err(|_| self.free(head))?;
        let block = Block { head, free: [u64::MAX; WORDS], was_leaf };
        let added = self.vmalloc.parted.lock(&self.hw).add(block);
        added.inspect_err(|_| self.unpart(&block))
    }

    /// Pages that [`Mm::parted_take`] has before it takes another block.
    pub(in crate::vmalloc) fn parted_free(&self) -> u64 {
        self.vmalloc.parted.lock(&self.hw).free()
    }

    /// A page that [`Mm::parted_take`] gave goes back, with the rights of all memory. Needs no memory.
    ///
    /// Context: as there.
    pub(in crate::vmalloc) fn parted_give(&self, pfn: Pfn) {
        let whole = self.vmalloc.parted.lock(&self.hw).give(pfn);
        if let Some(block) = whole {
            self.unpart(&block);
        }
    }

    /// A block is all free: it goes back to where it came from.
    fn unpart(&self, block: &Block) {
        if block.was_leaf {
            self.join_block(block.head);
        }
        self.free(block.head);
    }

    /// A block of memory that is nobody else's.
    fn block_to_part(&self) -> Result<Pfn, OutOfMemory> {
        let take = || self.take(Effort::Full, Order::PMD, Kind::Kernel, 0, Counts::NONE);
        take().or_else(|error| if self.compact_directly() { take() } else { Err(error) })
    }

    /// Where the linear map says by one descriptor how a block is mapped; and its address there.
    fn linear_slot(&self, head: Pfn) -> Option<(VirtAddr, Slot)> {
        let va = self.linear_address(head)?;
        Some((va, self.find_slot(self.vmalloc.root, va, Level::Pmd)?))
    }

    /// Puts a table of pages in the place of the leaf of a block that nobody uses, if it has one: what is mapped by
    /// pages, or not at all, stays as it is.
    fn part_block(&self, head: Pfn) -> Result<bool, OutOfMemory> {
        let Some((va, slot)) = self.linear_slot(head) else { return Ok(false) };
        let Entry::Leaf(leaf) = pte::decode(Level::Pmd, self.hw.load(slot)) else {
            return Ok(false);
        };
        let table = self.linear_table(leaf, Level::Pte)?;
        self.set_linear(slot, 0);
        if !self.commits(Mutant::PartUnflushed) {
            // One address of a block is all of it.
            self.flush_linear(VirtRange::from_size(va, PAGE_SIZE), leaves);
        }
        self.set_linear(slot, Table::kernel(table).word());
        self.vmalloc.tables.fetch_add(1, Relaxed);
        self.make_visible();
        Ok(true)
    }

    /// Puts a leaf in the place of a block's table of pages, all of which have the rights of all memory, and
    /// which nobody uses.
    fn join_block(&self, head: Pfn) {
        let Some((va, slot)) = self.linear_slot(head) else { return };
        let Entry::Table(table) = pte::decode(Level::Pmd, self.hw.load(slot)) else { return };
        self.set_linear(slot, 0);
        let leaves_only = self.commits(Mutant::JoinKeepsWalk);
        let range = VirtRange::from_size(va, PMD_SIZE);
        self.flush_linear(range, if leaves_only { leaves } else { pages_and_table });
        if self.walkers.synchronize(&self.hw) {
            self.count(Event::WalkerGrace, 1);
        }
        self.hw.note(Note::TableFree(table.pfn(), Level::Pte));
        self.vmalloc.tables.fetch_sub(1, Relaxed);
        self.free(table.pfn());
        let leaf = Leaf::kernel(Level::Pmd, head, KernelProt::Data, MemType::Normal);
        self.set_linear(slot, leaf.word());
        self.make_visible();
    }

    fn set_linear(&self, slot: Slot, word: u64) {
        let _lock = self.lock_table(slot.table(), Level::Pmd);
        self.hw.store(slot, word);
    }

    fn flush_linear(&self, range: VirtRange, what: fn(VirtRange) -> Invalidation) {
        let mut reach = Ranges::new();
        reach.add(range);
        self.flush_ranges(&reach, what);
    }

    /// A table of `below` that says what `leaf` says.
    pub(super) fn linear_table(&self, leaf: Leaf, below: Level) -> Result<Pfn, OutOfMemory> {
        let table = self.alloc_zeroed(Order::PAGE)?;
        self.hw.note(Note::TableAlloc(table, below));
        self.hw.fill(Slot::new(table, 0), ENTRIES, leaf.piece(0).word(), Leaf::step(below));
        self.publish(Scope::InnerShareable);
        Ok(table)
    }
}

/// Pages, and the walk to them.
fn pages_and_table(range: VirtRange) -> Invalidation {
    Invalidation::mixed(range, AsidMatch::Any)
}
