//! Which descriptor stores walkers may still miss.
//!
//! A store is in memory for software at once. A walker may see any value that the slot has had since
//! the last store that it cannot miss any more. It cannot miss a store whose CPU has executed a
//! barrier since; nor one that another CPU has read, or that came before a lock's release if any CPU
//! has executed a barrier since, because what one observer has seen all have. So the model hides no
//! store from a CPU that the architecture would show it to.
//!
//! Source: Arm ARM, "Ordering of memory accesses from translation table walks", "Other-multi-copy
//! atomic".

use abi::PhysAddr;
use pte::Scope;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// A store that somebody may miss.
#[derive(Clone, Copy, Debug)]
struct Late {
    /// Which store: the machine's clock when it was made.
    at: u64,
    cpu: usize,
    /// What the slot held before.
    old: u64,
    /// CPUs whose own walkers cannot miss it, one bit each.
    seen: u64,
    /// Its CPU has released a lock since.
    released: bool,
}

/// The hidden stores of one machine.
pub(crate) struct Hidden {
    /// By slot, in the order in which they were made.
    slots: HashMap<u64, Vec<Late>, BuildHasherDefault<Mix>>,
    /// By CPU: slots with stores of its own that it has not released.
    own: Vec<Vec<u64>>,
    /// Slots with released stores.
    released: Vec<u64>,
    /// By CPU: what its walkers have seen and no barrier of its own has made sure of yet. The slot, and the
    /// last store that was seen.
    walked: Vec<Vec<(u64, u64)>>,
}

impl Hidden {
    pub(crate) fn new(cpus: usize) -> Self {
        Self {
            slots: HashMap::default(),
            own: (0..cpus).map(|_| Vec::new()).collect(),
            released: Vec::new(),
            walked: (0..cpus).map(|_| Vec::new()).collect(),
        }
    }

    /// One more walker, which stores nothing.
    pub(crate) fn joined(&mut self) {
        self.own.push(Vec::new());
        self.walked.push(Vec::new());
    }

    /// A walker of `cpu` has seen what is at `slot` now: after its next full barrier, nobody misses that.
    pub(crate) fn walked(&mut self, cpu: usize, slot: PhysAddr) {
        let last = self.slots.get(&slot.0).and_then(|stores| stores.last());
        if let Some(last) = last.filter(|late| late.cpu != cpu)
            && !self.walked[cpu].contains(&(slot.0, last.at))
        {
            self.walked[cpu].push((slot.0, last.at));
        }
    }

    /// `cpu` has executed a full barrier: what its walkers have seen is made sure of. Whether there was any.
    pub(crate) fn made_sure(&mut self, cpu: usize) -> bool {
        let walked = std::mem::take(&mut self.walked[cpu]);
        for (slot, at) in &walked {
            if let Some(stores) = self.slots.get_mut(slot) {
                stores.retain(|late| late.at > *at);
                if stores.is_empty() {
                    self.slots.remove(slot);
                }
            }
        }
        !walked.is_empty()
    }

    /// `cpu` has overwritten `old` at `slot`.
    pub(crate) fn stored(&mut self, cpu: usize, slot: PhysAddr, old: u64, at: u64) {
        let late = Late { at, cpu, old, seen: 0, released: false };
        self.slots.entry(slot.0).or_default().push(late);
        self.own[cpu].push(slot.0);
    }

    /// `cpu` has read `slot`: what another CPU stored there is no secret any more. Whether it was.
    pub(crate) fn observed(&mut self, cpu: usize, slot: PhysAddr) -> bool {
        if self.slots.is_empty() {
            return false;
        }
        let foreign = |late: &Late| late.cpu != cpu;
        let news = self.slots.get(&slot.0).and_then(|late| late.last()).is_some_and(foreign);
        if news {
            self.slots.remove(&slot.0);
        }
        news
    }

    /// Hardware has updated `slot`, so all have seen everything there. Whether that is news.
    pub(crate) fn settled(&mut self, slot: PhysAddr) -> bool {
        !self.slots.is_empty() && self.slots.remove(&slot.0).is_some()
    }

    /// `cpu` has released a lock: who takes it next may vouch for the stores before.
    pub(crate) fn released(&mut self, cpu: usize) {
        for slot in self.own[cpu].drain(..) {
            if let Some(stores) = self.slots.get_mut(&slot) {
                stores.iter_mut().filter(|late| late.cpu == cpu).for_each(|l| l.released = true);
                self.released.push(slot);
            }
        }
    }

    /// `cpu` has executed a barrier for stores. Whether there were any.
    pub(crate) fn publish(&mut self, cpu: usize, scope: Scope) -> bool {
        let any = !self.own[cpu].is_empty() || !self.released.is_empty();
        match scope {
            Scope::InnerShareable => {
                for slot in self.own[cpu].drain(..).chain(self.released.drain(..)) {
                    if let Some(stores) = self.slots.get_mut(&slot) {
                        stores.drain(..published(stores, cpu));
                        if stores.is_empty() {
                            self.slots.remove(&slot);
                        }
                    }
                }
            }
            Scope::Local => {
                for slot in self.own[cpu].iter().chain(&self.released) {
                    if let Some(stores) = self.slots.get_mut(slot) {
                        let upto = published(stores, cpu);
                        stores[..upto].iter_mut().for_each(|late| late.seen |= 1 << cpu);
                    }
                }
            }
        }
        any
    }

    /// Whether a walker of `cpu` may still miss the store made to `slot` at `at`.
    pub(crate) fn hides(&self, cpu: usize, slot: PhysAddr, at: u64) -> bool {
        self.missable(cpu, slot).iter().any(|late| late.at == at)
    }

    /// The values that a walker of `cpu` may see at `slot` instead of what is there, oldest first.
    pub(crate) fn olds(
        &self,
        cpu: usize,
        slot: PhysAddr,
    ) -> impl ExactSizeIterator<Item = u64> + '_ {
        self.missable(cpu, slot).iter().map(|late| late.old)
    }

    fn missable(&self, cpu: usize, slot: PhysAddr) -> &[Late] {
        if self.slots.is_empty() {
            return &[];
        }
        let stores = self.slots.get(&slot.0).map_or(&[][..], Vec::as_slice);
        let seen = stores.iter().take_while(|late| late.seen >> cpu & 1 != 0).count();
        &stores[seen..]
    }
}

/// How many of the first stores to a slot nobody can miss after a barrier of `cpu`.
fn published(stores: &[Late], cpu: usize) -> usize {
    stores.iter().rposition(|late| late.cpu == cpu || late.released).map_or(0, |last| last + 1)
}

/// Slots are well spread already; one multiplication is enough.
#[derive(Default)]
pub(crate) struct Mix(u64);

impl Hasher for Mix {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u64(byte.into());
        }
    }

    fn write_u64(&mut self, word: u64) {
        self.0 = (self.0 ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(26);
    }
}
