//! Where blocks are: a CPU's with room in its queue, all of them in the index.

use super::Block;
use crate::OutOfMemory;
use abi::{Order, VirtAddr};
use alloc::boxed::Box;
use alloc::vec::Vec;
use sync::atomic::{AtomicU64, Ordering};
use sync::{Arc, Class, Cpu, SpinLock};

/// Blocks of a CPU that may have room. A new one comes when none has room for what is wanted, so each of the old ones has
/// less than 64 pages; where there are too many, the one with the least is closed.
const QUEUED: usize = 4;

/// The place of a block that is in the index no more.
const LEFT: usize = usize::MAX;

/// A CPU's blocks with room, in no order.
#[doc(alias = "vmap_block_queue")]
#[derive(Debug, Default)]
pub(super) struct Queue {
    blocks: [Option<Arc<Block>>; QUEUED],
}

impl Queue {
    /// So many pages of one of its blocks: the block, and the first of them.
    ///
    /// Room is looked for without the block's lock; having it, one looks again.
    #[inline]
    pub(super) fn take<C: Cpu>(&mut self, cpu: &C, pages: u32) -> Option<(Arc<Block>, u32)> {
        for place in &mut self.blocks {
            let Some(block) = place.as_ref().filter(|block| block.free() >= pages) else {
                continue;
            };
            match block.take(cpu, pages) {
                // What is used up leaves.
                Some((first, 0)) => return place.take().map(|block| (block, first)),
                Some((first, _)) => return Some((block.clone(), first)),
                None => {}
            }
        }
        None
    }

    /// Adds a block with room. The one that has to leave for it, which is to be closed.
    pub(super) fn add(&mut self, block: Arc<Block>) -> Option<Arc<Block>> {
        let room = |place: &&mut Option<Arc<Block>>| place.as_ref().map(|block| block.free());
        self.blocks.iter_mut().min_by_key(room)?.replace(block)
    }

    /// A block leaves.
    pub(super) fn remove(&mut self, block: &Arc<Block>) -> Option<Arc<Block>> {
        self.each_place().find(|place| Self::has(place, block))?.take()
    }

    fn each_place(&mut self) -> impl Iterator<Item = &mut Option<Arc<Block>>> {
        self.blocks.iter_mut()
    }

    fn has(place: &Option<Arc<Block>>, block: &Arc<Block>) -> bool {
        place.as_ref().is_some_and(|here| here.ptr_eq(block))
    }

    /// How often a block is in it.
    fn count(&self, block: &Arc<Block>) -> usize {
        self.blocks.iter().filter(|place| Self::has(place, block)).count()
    }

    /// The blocks in it.
    pub(super) fn each(&self) -> impl Iterator<Item = &Arc<Block>> {
        self.blocks.iter().flatten()
    }
}

/// All blocks.
pub(in super::super) struct Blocks {
    /// One a CPU.
    pub(super) queues: Box<[SpinLock<Queue>]>,
    /// In no order; each block knows its place.
    index: SpinLock<Vec<Arc<Block>>>,
    /// How many there ever were.
    pub(super) made: AtomicU64,
}

impl Blocks {
    /// None, for up to so many CPUs.
    pub(in super::super) fn none(nr_cpus: usize) -> Self {
        let queue = |_| SpinLock::new(Class::VmapQueue, Queue::default());
        let queues: Vec<_> = (0..nr_cpus).map(queue).collect();
        Self {
            queues: queues.into_boxed_slice(),
            index: SpinLock::new(Class::VmapQueue, Vec::new()),
            made: AtomicU64::new(0),
        }
    }

    /// From now on everybody finds a block.
    pub(super) fn publish<C: Cpu>(&self, cpu: &C, block: &Arc<Block>) -> Result<(), OutOfMemory> {
        let mut index = self.index.lock(cpu);
        index.try_reserve(1).map_err(|_| OutOfMemory { order: Order::PAGE })?;
        block.at.store(index.len(), Ordering::Relaxed);
        index.push(block.clone());
        self.made.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Nobody finds it any more; the last one takes its place.
    pub(super) fn forget<C: Cpu>(&self, cpu: &C, block: &Arc<Block>) {
        let mut index = self.index.lock(cpu);
        let at = block.at.load(Ordering::Relaxed);
        debug_assert!(index.get(at).is_some_and(|here| here.ptr_eq(block)), "not in its place");
        let gone = (at < index.len()).then(|| index.swap_remove(at));
        if let Some(moved) = index.get(at) {
            moved.at.store(at, Ordering::Relaxed);
        }
        block.at.store(LEFT, Ordering::Relaxed);
        // Whoever was the last to use it gives its memory back, and holds no lock then.
        drop(index);
        drop(gone);
    }

    /// The last block before place `at` of the index, and its place.
    ///
    /// A walk from the end to the front meets every block that is there all the time: of those that it has not
    /// met yet none is at `at` or behind, and a block only ever moves to the front.
    pub(in super::super) fn before<C: Cpu>(
        &self,
        cpu: &C,
        at: usize,
    ) -> Option<(usize, Arc<Block>)> {
        let index = self.index.lock(cpu);
        let n = at.min(index.len()).checked_sub(1)?;
        Some((n, index[n].clone()))
    }

    /// What is wrong with a block's queue, if nobody is at work on it.
    pub(in super::super) fn misplaced<C: Cpu>(
        &self,
        cpu: &C,
        block: &Arc<Block>,
    ) -> Option<&'static str> {
        if block.owner() >= self.queues.len() {
            return Some("it is no CPU's");
        }
        let often = |queue: &SpinLock<Queue>| queue.lock(cpu).count(block);
        let here = often(&self.queues[block.owner()]);
        if here != usize::from(block.free() > 0) {
            return Some("it has room and is not in its queue once, or has none and is there");
        }
        let all: usize = self.queues.iter().map(often).sum();
        (all != here).then_some("it is in another CPU's queue")
    }

    /// A block that is in a queue and not in the index: where it begins.
    pub(in super::super) fn stray<C: Cpu>(&self, cpu: &C) -> Option<VirtAddr> {
        self.queues.iter().find_map(|queue| {
            let queue = queue.lock(cpu);
            queue.each().find(|block| block.has_left()).map(|block| block.start())
        })
    }

    /// How many there are, and how many of their pages nobody uses.
    pub(in super::super) fn unused<C: Cpu>(&self, cpu: &C) -> (u64, u64) {
        let index = self.index.lock(cpu);
        (index.len() as u64, index.iter().map(|block| u64::from(block.unused())).sum())
    }

    /// How many there are.
    pub(super) fn count<C: Cpu>(&self, cpu: &C) -> u64 {
        self.index.lock(cpu).len() as u64
    }
}
