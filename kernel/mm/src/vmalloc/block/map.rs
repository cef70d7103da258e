//! Pieces of blocks, handed out with somebody's frames behind them and taken back.

use super::super::leaves::nameable;
use super::super::{Area, VmallocError};
use super::{Block, PAGES};
use crate::mutant::Mutant;
use crate::{Hardware, Mm, OutOfMemory};
use abi::{ENTRIES, Level, Order, Pfn, VirtRange};
use pte::{KernelProt, Leaf, MemType, Scope};
use sync::Arc;
use sync::atomic::Ordering;

/// More pages than this have an area of their own.
#[doc(alias = "VMAP_MAX_ALLOC")]
const MOST: usize = 64;

/// Somebody's frames at consecutive kernel addresses for a while. It goes back to [`Mm::vm_unmap_ram`]: only forgetting
/// it loses the addresses.
#[must_use = "a mapping that is forgotten is lost"]
#[derive(Debug)]
pub struct RamArea(Of);

/// Where the addresses are from.
#[derive(Debug)]
enum Of {
    /// So many pages of a block, from one on.
    Block {
        block: Arc<Block>,
        first: u16,
        count: u16,
    },
    Area(Area),
}

// As an area: moved in registers.
const _: () = assert!(size_of::<RamArea>() == 24 && size_of::<Option<RamArea>>() == 24);

impl RamArea {
    /// The addresses.
    #[inline]
    pub fn range(&self) -> VirtRange {
        match &self.0 {
            Of::Block { block, first, count } => block.range((*first).into(), (*count).into()),
            Of::Area(area) => area.range(),
        }
    }
}

impl<H: Hardware> Mm<H> {
    /// The frames at consecutive addresses, in their order, for a short time; they stay their owner's. Without a guard
    /// behind them, if they are few.
    ///
    /// Context: may sleep; no spin lock is held.
    pub fn vm_map_ram(
        &self,
        frames: &[Pfn],
        prot: KernelProt,
        mem: MemType,
    ) -> Result<RamArea, VmallocError> {
        if frames.len() > MOST {
            let area = self.vmap(frames, prot, mem)?;
            return Ok(RamArea(Of::Area(area)));
        }
        if frames.is_empty() {
            return Err(VmallocError::Empty);
        }
        nameable(frames)?;
        let count = frames.len() as u32;
        let pages = count.next_power_of_two();
        let cpu = self.hw.id().index();
        let ready = self.vmalloc.blocks.queues[cpu].lock(&self.hw).take(&self.hw, pages);
        let (block, first) = match ready {
            Some(piece) => piece,
            None => (self.block_make(cpu, pages)?, 0),
        };
        let leaf = Leaf::kernel(Level::Pte, Pfn(0), prot, mem).word();
        let room = ENTRIES - first as usize % ENTRIES;
        let (here, behind) = frames.split_at(frames.len().min(room));
        self.store_leaves(block.slot(first), here, leaf);
        if !behind.is_empty() {
            self.store_leaves(block.slot(first + here.len() as u32), behind, leaf);
        }
        self.show(block.range(first, count));
        // Pages of a block are few.
        let (first, count) = (first as u16, count as u16);
        Ok(RamArea(Of::Block { block, first, count }))
    }

    /// Takes a mapping of somebody's frames back. Who wants to be sure that no translation of them is left asks for
    /// [`Mm::unmap_aliases`].
    ///
    /// Context: as for [`Mm::vm_map_ram`]. Needs no memory.
    pub fn vm_unmap_ram(&self, area: RamArea) {
        let (block, first, count) = match area.0 {
            Of::Block { block, first, count } => (block, u32::from(first), usize::from(count)),
            Of::Area(area) => return self.vunmap(area),
        };
        let here = count.min(ENTRIES - first as usize % ENTRIES);
        self.clear_slots(block.slot(first), here as u64);
        if here < count {
            self.clear_slots(block.slot(first + here as u32), (count - here) as u64);
        }
        // First walkers see it, then it counts as dirty: whoever takes it for that flushes at once.
        self.publish(Scope::InnerShareable);
        let pages = (count as u32).next_power_of_two();
        if let Some(area) = block.give(&self.hw, first, pages) {
            self.block_release(&block, area);
        }
    }

    /// A new block in the queue of `owner`, whose first pages are the caller's.
    #[doc(alias = "new_vmap_block")]
    #[cold]
    #[inline(never)]
    fn block_make(&self, owner: usize, pages: u32) -> Result<Arc<Block>, VmallocError> {
        let area = self.area_take_block(u64::from(PAGES))?;
        let late = self.commits(Mutant::VmapOwnerLate);
        let known = if late { usize::MAX } else { owner };
        let block = match self.block_of(area.range(), known, pages) {
            Ok(block) => block,
            Err(error) => {
                self.area_give(area, None);
                return Err(error);
            }
        };
        block.settle(&self.hw, area);
        if let Err(error) = self.vmalloc.blocks.publish(&self.hw, &block) {
            block.unsettle(&self.hw).into_iter().for_each(|area| self.area_give(area, None));
            return Err(error.into());
        }
        let leaves = {
            let mut queue = self.vmalloc.blocks.queues[owner].lock(&self.hw);
            let leaves = queue.add(block.clone());
            leaves.map(|block| (block.close(&self.hw), block))
        };
        if late {
            block.set_owner(owner);
        }
        if let Some((Some(area), closed)) = leaves {
            self.block_release(&closed, area);
        }
        Ok(block)
    }

    /// A block of these addresses, with its tables, that nobody knows.
    fn block_of(
        &self,
        range: VirtRange,
        owner: usize,
        pages: u32,
    ) -> Result<Arc<Block>, VmallocError> {
        let mut scope = self.defer_barriers();
        let mut tables = [Pfn(0); PAGES as usize / ENTRIES];
        for (n, table) in (0..).zip(&mut tables) {
            *table = scope.kernel_slot(range.start + n * Level::Pmd.span(), Level::Pte)?.table();
        }
        let block = Block::new(range.start, tables, owner, pages);
        Arc::try_new(block).map_err(|_| OutOfMemory { order: Order::PAGE }.into())
    }

    /// A block gives its addresses up: they are lazy first, and only then nobody finds the block any more.
    #[doc(alias = "free_vmap_block")]
    #[cold]
    #[inline(never)]
    pub(super) fn block_release(&self, block: &Arc<Block>, area: Area) {
        if self.commits(Mutant::VmapBlockInLimbo) {
            self.vmalloc.blocks.forget(&self.hw, block);
            self.area_give(area, None);
            return;
        }
        if self.commits(Mutant::VmapReuseUnflushed) {
            self.area_reuse_unflushed(area);
        } else {
            self.area_give(area, None);
        }
        self.vmalloc.blocks.forget(&self.hw, block);
    }

    /// Blocks there are, and how many there ever were.
    pub fn vmap_blocks(&self) -> (u64, u64) {
        let blocks = &self.vmalloc.blocks;
        (blocks.count(&self.hw), blocks.made.load(Ordering::Relaxed))
    }
}
