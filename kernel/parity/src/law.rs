//! What entries are: a law holds of every mapping that a program can have, at one level.

use abi::{Level, Order, PAGE_SHIFT, Pfn, Prot};
use pte::{Entry, Leaf};

/// What must be so of a mapping.
pub(crate) struct Law {
    /// What it says.
    pub(crate) name: &'static str,
    /// Whether it is so of this one.
    pub(crate) holds: fn(Leaf) -> bool,
}

/// The levels that have mappings.
pub(crate) const LEVELS: [Level; 3] = [Level::Pte, Level::Pmd, Level::Pud];

const PROTS: [Prot; 5] = [Prot::None, Prot::Read, Prot::ReadWrite, Prot::ReadExec, Prot::Exec];
/// The frames of the samples, in units of what a level maps.
const FRAMES: [u64; 3] = [1, 5, (1 << 18) - 1];

impl Law {
    /// Whether it is so of every mapping of this level.
    pub(crate) fn holds_at(&self, level: Level) -> bool {
        let order = Order((level.shift() - PAGE_SHIFT) as u8);
        PROTS.iter().all(|&prot| {
            FRAMES.iter().all(|&frame| {
                let leaf: Leaf = Leaf::user(level, Pfn(frame << order.0), prot);
                let dirty = leaf.made_dirty();
                [leaf, leaf.made_old(), dirty, dirty.made_old()].into_iter().all(self.holds)
            })
        })
    }
}

/// What a word is at the level of a leaf.
pub(crate) fn again(leaf: Leaf) -> Entry {
    pte::decode(leaf.level(), leaf.word())
}
