//! RAM, and what each frame is used for.

use abi::{Level, Order, Pfn, PhysAddr};

/// Where RAM begins.
pub(crate) const RAM: Pfn = Pfn(0x4_0000);

/// What a frame is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Use {
    /// With the allocator, or never given to it.
    Free,
    /// Somebody's memory.
    Data,
    /// A translation table with entries of this level.
    Table(Level),
}

/// The RAM of one machine.
pub(crate) struct Memory {
    words: Vec<u64>,
    uses: Vec<Use>,
    /// Frames that a program has written through a mapping since they were allocated.
    wrote: Vec<bool>,
    /// Frames from which is fetched what is stored there.
    fetched: Vec<bool>,
}

impl Memory {
    pub(crate) fn new(pages: u64) -> Self {
        Self {
            words: vec![0; pages as usize * 512],
            uses: vec![Use::Free; pages as usize],
            wrote: vec![false; pages as usize],
            fetched: vec![false; pages as usize],
        }
    }

    fn index(&self, at: PhysAddr) -> Option<usize> {
        let index = at.0.checked_sub(RAM.base().0)? / 8;
        (index < self.words.len() as u64 && at.is_aligned(8)).then_some(index as usize)
    }

    /// Which frame it is; `None` where there is no RAM.
    fn frame(&self, pfn: Pfn) -> Option<usize> {
        let frame = pfn.0.checked_sub(RAM.0)? as usize;
        (frame < self.uses.len()).then_some(frame)
    }

    /// Reads 8 bytes; `None` where there is no RAM.
    pub(crate) fn read(&self, at: PhysAddr) -> Option<u64> {
        Some(self.words[self.index(at)?])
    }

    /// Writes 8 bytes; `None` where there is no RAM.
    pub(crate) fn write(&mut self, at: PhysAddr, value: u64) -> Option<u64> {
        let index = self.index(at)?;
        self.fetched[index / 512] = false;
        Some(std::mem::replace(&mut self.words[index], value))
    }

    /// Fills a block with zeros.
    pub(crate) fn clear(&mut self, pfn: Pfn, order: Order) {
        if let Some(words) = self.block(pfn, order) {
            self.fetched[words.start / 512..words.end / 512].fill(false);
            self.words[words].fill(0);
        }
    }

    /// Copies a block.
    pub(crate) fn copy(&mut self, from: Pfn, to: Pfn, order: Order) {
        if let (Some(from), Some(to)) = (self.block(from, order), self.block(to, order)) {
            self.fetched[to.start / 512..to.end / 512].fill(false);
            self.words.copy_within(from, to.start);
        }
    }

    fn block(&self, pfn: Pfn, order: Order) -> Option<std::ops::Range<usize>> {
        let first = self.frame(pfn)? * 512;
        let end = first + order.pages() as usize * 512;
        (end <= self.words.len()).then_some(first..end)
    }

    /// What a frame is used for; `None` where there is no RAM.
    pub(crate) fn use_of(&self, pfn: Pfn) -> Option<Use> {
        self.frame(pfn).map(|frame| self.uses[frame])
    }

    /// Says what the frames of a block are used for from now on.
    pub(crate) fn set_use(&mut self, pfn: Pfn, order: Order, new: Use) {
        let first = (pfn - RAM) as usize;
        let block = first..first + order.pages() as usize;
        self.uses[block.clone()].fill(new);
        self.wrote[block].fill(false);
    }

    /// From now on fetches from a block see what is stored there.
    pub(crate) fn make_executable(&mut self, pfn: Pfn, order: Order) {
        if let Some(words) = self.block(pfn, order) {
            self.fetched[words.start / 512..words.end / 512].fill(true);
        }
    }

    /// Whether fetches from a frame see what is stored there.
    pub(crate) fn is_fetched(&self, pfn: Pfn) -> bool {
        self.frame(pfn).is_some_and(|frame| self.fetched[frame])
    }

    /// Notes that a program wrote to a frame.
    pub(crate) fn note_write(&mut self, pfn: Pfn) {
        if let Some(frame) = self.frame(pfn) {
            self.wrote[frame] = true;
        }
    }

    /// Whether a program wrote to a frame since it was allocated or its writes were forgotten.
    pub(crate) fn wrote(&self, pfn: Pfn) -> bool {
        self.frame(pfn).is_some_and(|frame| self.wrote[frame])
    }

    /// Forgets that a program wrote to a frame.
    pub(crate) fn forget_writes(&mut self, pfn: Pfn) {
        if let Some(frame) = self.frame(pfn) {
            self.wrote[frame] = false;
        }
    }
}
