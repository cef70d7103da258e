//! Cached descriptors, found by address.
//!
//! As in a TLB, an address says in which few sets to look: one for each level. The sixteen neighbours
//! that may be one run share a set, so whoever looks for a page finds the run around it.

use super::{Cached, RUN, Reach};
use abi::{Level, VirtAddr};
use alloc::vec::Vec;
use pte::{Target, Tlbi};

/// How many sets there are.
const SETS: usize = 256;

/// Whatever is kept about a cached descriptor.
pub trait Keyed {
    /// What it is about.
    fn cached(&self) -> &Cached;
}

/// Things about cached descriptors. Not ordered, but the same each time.
pub struct Sets<T> {
    sets: Vec<Vec<T>>,
    len: usize,
}

impl<T> Default for Sets<T> {
    fn default() -> Self {
        Self { sets: (0..SETS).map(|_| Vec::new()).collect(), len: 0 }
    }
}

fn index(level: Level, va: VirtAddr) -> usize {
    let group = va.0 / (level.span() * RUN);
    let key = group ^ ((level as u64) << 60);
    (key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as usize
}

impl<T: Keyed> Sets<T> {
    /// How many there are.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Keeps one more.
    pub fn push(&mut self, new: T) {
        let cached = new.cached();
        self.sets[index(cached.level, cached.va)].push(new);
        self.len += 1;
    }

    /// All of `level` in `va`'s neighbourhood, and some that are not.
    pub fn near(&self, level: Level, va: VirtAddr) -> &[T] {
        &self.sets[index(level, va)]
    }

    /// As [`Sets::near`], to change what does not decide the place.
    pub fn near_mut(&mut self, level: Level, va: VirtAddr) -> &mut [T] {
        &mut self.sets[index(level, va)]
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.sets.iter().flatten()
    }

    /// All of them, to change what does not decide the place.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.sets.iter_mut().flatten()
    }

    /// Drops what `keep` does not want to keep.
    pub fn retain(&mut self, mut keep: impl FnMut(&mut T) -> bool) {
        if self.len > 0 {
            (0..SETS).for_each(|set| self.retain_in(set, &mut keep));
        }
    }

    /// As [`Sets::retain`], but asks only about those of `levels` that `op` can cover, and some more.
    pub fn retain_near(
        &mut self,
        op: &Tlbi,
        levels: &[Level],
        mut keep: impl FnMut(&mut T) -> bool,
    ) {
        if self.len == 0 {
            return;
        }
        match op.target {
            Target::Va { va, .. } => {
                for &level in levels {
                    self.retain_in(index(level, va), &mut keep);
                }
            }
            _ => self.retain(keep),
        }
    }

    fn retain_in(&mut self, set: usize, keep: &mut impl FnMut(&mut T) -> bool) {
        let set = &mut self.sets[set];
        let before = set.len();
        set.retain_mut(keep);
        self.len -= before - set.len();
    }

    /// The place, in the order of [`Sets::iter`], of some entry that a random number means.
    pub fn victim(&self, random: u64) -> Option<usize> {
        let begin = random as usize % SETS;
        let mut order = (begin..SETS).chain(0..begin);
        let set = order.find(|&set| !self.sets[set].is_empty())?;
        let before: usize = self.sets[..set].iter().map(Vec::len).sum();
        Some(before + (random >> 32) as usize % self.sets[set].len())
    }

    /// Drops the entry at a place.
    pub fn evict(&mut self, mut nth: usize) {
        for set in &mut self.sets {
            if nth < set.len() {
                set.swap_remove(nth);
                self.len -= 1;
                return;
            }
            nth -= set.len();
        }
    }
}

/// The levels at which a descriptor of this kind can be.
pub const fn levels(reach: Reach) -> &'static [Level] {
    match reach {
        Reach::Walk => &[Level::Pgd, Level::Pud, Level::Pmd],
        Reach::One | Reach::Run => &[Level::Pud, Level::Pmd, Level::Pte],
    }
}
