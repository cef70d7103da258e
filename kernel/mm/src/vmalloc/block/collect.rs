//! What an alias flush has to reach in blocks.

use super::super::ranges::Ranges;
use super::{Block, PAGES};
use crate::mutant::Mutant;
use crate::{Hardware, Mm};
use sync::Arc;

/// A block that nobody uses is purged where fewer pages than this are lost,
#[doc(alias = "VMAP_PURGE_THRESHOLD")]
pub(in super::super) const MOSTLY_USED: u32 = PAGES / 4;
/// or, when addresses have run out, whatever is lost.
pub(in super::super) const ANY: u32 = PAGES;

impl<H: Hardware> Mm<H> {
    /// Purges blocks that nobody uses and of which fewer than `most` pages are free; of the others, adds to `ranges` what
    /// is dirty, and forgets it. One walk.
    ///
    /// Context: the purge's lock is held, and stays held until `ranges` and what is lazy have been flushed.
    pub(in super::super) fn collect_blocks(&self, most: u32, ranges: &mut Ranges) {
        let blocks = &self.vmalloc.blocks;
        let most = if self.commits(Mutant::VmapPurgesAll) { ANY } else { most };
        if self.commits(Mutant::VmapFullBlockForgotten) {
            for queue in &blocks.queues {
                let mut here = [const { None }; 8];
                let mut places = here.iter_mut();
                queue.lock(&self.hw).each().for_each(|block| {
                    places.next().into_iter().for_each(|place| *place = Some(block.clone()));
                });
                here.iter().flatten().for_each(|block| self.collect_block(block, most, ranges));
            }
            return;
        }
        let mut at = usize::MAX;
        while let Some((n, block)) = blocks.before(&self.hw, at) {
            self.collect_block(&block, most, ranges);
            at = n;
        }
    }

    fn collect_block(&self, block: &Arc<Block>, most: u32, ranges: &mut Ranges) {
        let queues = &self.vmalloc.blocks.queues;
        let queue = if self.commits(Mutant::VmapOwnerBySlot) {
            let slot = block.start().0 / block.range(0, PAGES).bytes();
            &queues[slot as usize % queues.len()]
        } else {
            &queues[block.owner()]
        };
        if block.is_scrap(most) {
            let (area, _left) = {
                let mut queue = queue.lock(&self.hw);
                let area = block.scrap(&self.hw, most);
                let left = area.as_ref().and_then(|_| queue.remove(block));
                (area, left)
            };
            if let Some(area) = area {
                self.block_release(block, area);
                return;
            }
        }
        let keeps = self.commits(Mutant::VmapRangeKept);
        block.take_unflushed(&self.hw, keeps).into_iter().for_each(|range| ranges.add(range));
    }
}
