//! RAM, what each frame is used for, and which descriptor stores walkers may still miss.

use abi::{Level, Order, Pfn, PhysAddr};
use std::collections::HashMap;

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

/// A descriptor store that only its own CPU has certainly seen.
#[derive(Clone, Copy, Debug)]
struct Hidden {
    cpu: usize,
    old: u64,
}

/// The RAM of one machine.
pub(crate) struct Memory {
    words: Vec<u64>,
    uses: Vec<Use>,
    /// By slot: what walkers may see instead of what memory holds.
    hidden: HashMap<u64, Hidden>,
}

impl Memory {
    pub(crate) fn new(pages: u64) -> Self {
        Self {
            words: vec![0; pages as usize * 512],
            uses: vec![Use::Free; pages as usize],
            hidden: HashMap::new(),
        }
    }

    fn index(&self, at: PhysAddr) -> Option<usize> {
        let index = at.0.checked_sub(RAM.base().0)? / 8;
        (index < self.words.len() as u64 && at.is_aligned(8)).then_some(index as usize)
    }

    /// Reads 8 bytes; `None` where there is no RAM.
    pub(crate) fn read(&self, at: PhysAddr) -> Option<u64> {
        Some(self.words[self.index(at)?])
    }

    /// Writes 8 bytes; `None` where there is no RAM.
    pub(crate) fn write(&mut self, at: PhysAddr, value: u64) -> Option<u64> {
        let index = self.index(at)?;
        Some(std::mem::replace(&mut self.words[index], value))
    }

    /// Writes a descriptor on behalf of `cpu`: walkers may see the old one until it is published.
    pub(crate) fn write_slot(&mut self, cpu: usize, at: PhysAddr, word: u64) -> Option<u64> {
        let old = self.write(at, word)?;
        // Of several hidden stores to one slot the walker may see any; the oldest is the worst.
        self.hidden.entry(at.0).or_insert(Hidden { cpu, old }).cpu = cpu;
        Some(old)
    }

    /// What a walker reads at a slot; `late` chooses the older value where it may.
    pub(crate) fn walk_slot(&self, at: PhysAddr, late: bool) -> Option<u64> {
        match self.hidden.get(&at.0) {
            Some(hidden) if late => Some(hidden.old),
            _ => self.read(at),
        }
    }

    /// Makes the descriptor stores of `cpu` visible to all walkers.
    pub(crate) fn publish(&mut self, cpu: usize) {
        self.hidden.retain(|_, hidden| hidden.cpu != cpu);
    }

    /// Fills a block.
    pub(crate) fn fill(&mut self, cpu: usize, pfn: Pfn, order: Order) {
        for word in 0..order.pages() * 512 {
            let at = pfn.base() + word * 8;
            // A page may be about to become a table: to walkers its zeros are stores like any.
            if order == Order::PAGE && self.read(at) != Some(0) {
                self.write_slot(cpu, at, 0);
            } else {
                self.write(at, 0);
            }
        }
    }

    /// What a frame is used for; `None` where there is no RAM.
    pub(crate) fn use_of(&self, pfn: Pfn) -> Option<Use> {
        self.uses.get(usize::try_from(pfn.0.checked_sub(RAM.0)?).ok()?).copied()
    }

    /// Says what the frames of a block are used for from now on.
    pub(crate) fn set_use(&mut self, pfn: Pfn, order: Order, new: Use) {
        let first = (pfn - RAM) as usize;
        self.uses[first..first + order.pages() as usize].fill(new);
    }
}
