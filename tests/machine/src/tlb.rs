//! One CPU's cached translations: leaves, and the table descriptors on the way to them.

use crate::cached::{Cached, Reach};
use crate::sets::{Keyed, Sets, levels};
use abi::{Asid, Level, VirtAddr};
use pte::{Caps, Tlbi};

/// A cached descriptor.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Held {
    pub(crate) cached: Cached,
    /// The machine's step at which it was read.
    pub(crate) since: u64,
    /// The step at which what it leads to was freed; 0: not yet. Harmless for as long as this CPU
    /// runs nothing under its ASID.
    pub(crate) freed: u64,
}

impl Keyed for Held {
    fn cached(&self) -> &Cached {
        &self.cached
    }
}

/// All that one CPU has cached.
#[derive(Default)]
pub(crate) struct Tlb {
    entries: Sets<Held>,
}

impl Tlb {
    /// Remembers a descriptor. Says whether it is new here, and which one it must not be together
    /// with.
    pub(crate) fn insert(&mut self, new: Cached, since: u64, caps: &Caps) -> (bool, Option<Held>) {
        let same = |held: &Held| held.cached == new && held.freed == 0;
        if self.entries.near(new.asid, new.level, new.va).iter().any(same) {
            return (false, None);
        }
        let clash = self.clash(&new, caps);
        self.entries.push(Held { cached: new, since, freed: 0 });
        (true, clash)
    }

    fn clash(&self, new: &Cached, caps: &Caps) -> Option<Held> {
        if new.reach == Reach::Walk {
            return None;
        }
        let clashes = |held: &&Held| held.cached.asid == new.asid && held.cached.clashes(new, caps);
        let near = |level| self.entries.near(new.asid, level, new.va).iter().find(clashes);
        let larger = levels(new.reach).iter().filter(|level| **level <= new.level);
        let found = larger.copied().find_map(near);
        // What is smaller lies in many sets.
        let smaller =
            || self.entries.iter().filter(|held| held.cached.level > new.level).find(clashes);
        if new.level == Level::Pte { found } else { found.or_else(smaller) }.copied()
    }

    fn all<'a>(
        &'a self,
        reach: Reach,
        va: VirtAddr,
        asid: Asid,
    ) -> impl Iterator<Item = &'a Held> + 'a {
        let fits = move |held: &&Held| {
            held.cached.asid == asid
                && (held.cached.reach == Reach::Walk) == (reach == Reach::Walk)
                && held.cached.translates(va)
        };
        // Two levels may share a set: each is asked for its own only.
        let near = move |level: &Level| {
            let level = *level;
            let near = self.entries.near(asid, level, va).iter();
            near.filter(move |held| held.cached.level == level)
        };
        levels(reach).iter().flat_map(near).filter(fits)
    }

    /// Every cached leaf for `va`.
    pub(crate) fn leaves(&self, va: VirtAddr, asid: Asid) -> impl Iterator<Item = &Held> {
        self.all(Reach::One, va, asid)
    }

    /// Every cached table descriptor on the way to `va`.
    pub(crate) fn tables(&self, va: VirtAddr, asid: Asid) -> impl Iterator<Item = &Held> {
        self.all(Reach::Walk, va, asid)
    }

    /// Carries out a TLBI.
    pub(crate) fn invalidate(&mut self, op: &Tlbi) {
        self.entries.retain_near(op, &Level::ALL, |held| !held.cached.is_covered(op));
    }

    /// How many entries there are.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The place of an entry that a random number means, if there is any.
    pub(crate) fn victim(&self, random: u64) -> Option<usize> {
        self.entries.victim(random)
    }

    /// Forgets the entry at a place: capacity, or no reason.
    pub(crate) fn evict(&mut self, nth: usize) {
        self.entries.evict(nth);
    }

    /// Everything cached.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Held> {
        self.entries.iter()
    }

    /// Everything cached, to note something about it.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Held> {
        self.entries.iter_mut()
    }
}
