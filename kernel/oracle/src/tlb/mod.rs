//! What a TLB may hold: one CPU's cached translations, leaves and the table descriptors on the way to them.
//!
//! This is the one model of translation caching. The simulated machine's CPUs and devices keep these, and
//! what they *may* hold is asked of [`Cached`] too; the litmus engine chooses among them; the sanitizer's
//! debts, which hold no translation but a range of them, rest on the same judge of operands,
//! [`Tlbi::covers`].
//!
//! | file | concern |
//! | --- | --- |
//! | `cached` | one descriptor: what it translates, what removes it, what contradicts it |
//! | `sets` | cached descriptors by address |

mod cached;
mod sets;

pub use cached::{Cached, RUN, Reach, SpaceId};
pub use sets::{Keyed, Sets, levels};

use abi::{Asid, Level, PhysAddr, VirtAddr};
use pte::{Caps, Tlbi};

/// A cached descriptor.
#[derive(Clone, Copy, Debug)]
pub struct Held {
    /// As it was read.
    pub cached: Cached,
    /// Where it was read. Without FEAT_nTLBPA a walker that comes to this place on another way may take
    /// this for what is there.
    pub slot: PhysAddr,
    /// The step at which it was read.
    pub since: u64,
    /// The step at which what it leads to was freed; 0: not yet. Harmless for as long as this CPU
    /// runs nothing under its ASID.
    pub freed: u64,
}

impl Keyed for Held {
    fn cached(&self) -> &Cached {
        &self.cached
    }
}

/// All that one CPU has cached.
#[derive(Default)]
pub struct Tlb {
    entries: Sets<Held>,
}

impl Tlb {
    /// Remembers a descriptor. Says whether it is new here, and which one it must not be together
    /// with.
    pub fn insert(
        &mut self,
        new: Cached,
        slot: PhysAddr,
        since: u64,
        caps: &Caps,
    ) -> (bool, Option<Held>) {
        let same = |held: &Held| (held.cached, held.slot, held.freed) == (new, slot, 0);
        if self.entries.near(new.level, new.va).iter().any(same) {
            return (false, None);
        }
        let clash = self.clash(&new, caps);
        self.entries.push(Held { cached: new, slot, since, freed: 0 });
        (true, clash)
    }

    fn clash(&self, new: &Cached, caps: &Caps) -> Option<Held> {
        if new.reach == Reach::Walk {
            return None;
        }
        let together = |held: &Held| held.cached.serves(new.asid) || new.serves(held.cached.asid);
        let clashes = |held: &&Held| together(held) && held.cached.clashes(new, caps);
        let near = |level| self.entries.near(level, new.va).iter().find(clashes);
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
            held.cached.serves(asid)
                && (held.cached.reach == Reach::Walk) == (reach == Reach::Walk)
                && held.cached.translates(va)
        };
        // Two levels may share a set: each is asked for its own only.
        let near = move |level: &Level| {
            let level = *level;
            let near = self.entries.near(level, va).iter();
            near.filter(move |held| held.cached.level == level)
        };
        levels(reach).iter().flat_map(near).filter(fits)
    }

    /// Every cached leaf for `va`.
    pub fn leaves(&self, va: VirtAddr, asid: Asid) -> impl Iterator<Item = &Held> {
        self.all(Reach::One, va, asid)
    }

    /// Every cached table descriptor on the way to `va`.
    pub fn tables(&self, va: VirtAddr, asid: Asid) -> impl Iterator<Item = &Held> {
        self.all(Reach::Walk, va, asid)
    }

    /// Every descriptor that was read at `slot`, on whatever way.
    pub fn copies(&self, slot: PhysAddr) -> impl Iterator<Item = &Held> {
        self.entries.iter().filter(move |held| held.slot == slot)
    }

    /// Carries out a TLBI.
    pub fn invalidate(&mut self, op: &Tlbi) {
        self.entries.retain_near(op, &Level::ALL, |held| !held.cached.is_covered(op));
    }

    /// How many entries there are.
    pub const fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The place of an entry that a random number means, if there is any.
    pub fn victim(&self, random: u64) -> Option<usize> {
        self.entries.victim(random)
    }

    /// Forgets the entry at a place: capacity, or no reason.
    pub fn evict(&mut self, nth: usize) {
        self.entries.evict(nth);
    }

    /// Everything cached.
    pub fn iter(&self) -> impl Iterator<Item = &Held> {
        self.entries.iter()
    }

    /// Everything cached, to note something about it.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Held> {
        self.entries.iter_mut()
    }
}
