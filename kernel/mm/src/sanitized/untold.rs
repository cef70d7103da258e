//! Stores that the oracle has not been told of yet: one CPU's, under the lock of a table.
//!
//! A memory manager stores to hundreds of entries side by side, and what each means is the same. Told one by
//! one they cost more than all the rest; so they are told together ([`Oracle::stores`]), before the next other
//! step of their CPU, and the release of the lock is one. Nobody can have relied on them until then: no walker
//! is promised a store before its CPU's barrier, and no software before the release of the table's lock. But a
//! new table is followed by whoever sees it, without a lock: so its link is told before it is there.

use crate::Slot;
use abi::Level;
use oracle::{How, Oracle, Site, Stored};
use pte::bits::{TYPE, VALID};
use sync::atomic::{AtomicBool, Ordering};
use sync::{Class, Cpu, SpinLock};

/// What a descriptor of a table has, and one of a block has not.
const LINK: u64 = VALID | TYPE;

/// As many as are told together.
const MOST: usize = 64;

/// The stores of one CPU. Nobody else looks, and its interrupts are masked: the lock is always free, and it is
/// no more than what lets the list be changed.
pub(super) struct Untold {
    /// Whether there are any: most other steps find none.
    are_some: AtomicBool,
    list: SpinLock<List>,
}

struct List {
    /// Locks of tables that this CPU has or is about to have; and those of tables that lead to others.
    held: u8,
    above: u8,
    nr: usize,
    stores: [Stored; MOST],
}

impl Untold {
    pub(super) fn none() -> Self {
        let list = List { held: 0, above: 0, nr: 0, stores: [Stored::BLANK; MOST] };
        Self { are_some: AtomicBool::new(false), list: SpinLock::new(Class::Console, list) }
    }

    /// A table's lock is about to be taken.
    pub(super) fn lock(&self, level: Level, cpu: &impl Cpu) {
        let mut list = self.list.lock(cpu);
        list.held += 1;
        list.above += u8::from(level != Level::Pte);
    }

    /// One is about to be released.
    pub(super) fn unlock(&self, level: Level, cpu: &impl Cpu) {
        let mut list = self.list.lock(cpu);
        list.held = list.held.saturating_sub(1);
        list.above = list.above.saturating_sub(u8::from(level != Level::Pte));
    }

    /// Whether storing `new` where nothing is may link a table: the lock of one that leads to others is held.
    pub(super) fn is_link(&self, new: u64, cpu: &impl Cpu) -> bool {
        new & LINK == LINK && self.list.lock(cpu).above > 0
    }

    /// Keeps a store that was made under a lock, if there is room for more: else it is to be told.
    #[inline]
    pub(super) fn keep(
        &self,
        site: Site,
        slot: Slot,
        old: u64,
        new: u64,
        how: How,
        cpu: &impl Cpu,
    ) -> bool {
        let mut list = self.list.lock(cpu);
        let List { held, nr, stores, .. } = &mut *list;
        if *held == 0 {
            return false;
        }
        let Some(store) = stores.get_mut(*nr) else { return false };
        // Field by field, for as a whole it is large enough to be copied by a call.
        (store.slot, store.old, store.new) = (slot.0, old, new);
        (store.how, store.site) = (how, site);
        *nr += 1;
        if *nr == 1 {
            self.are_some.store(true, Ordering::Relaxed);
        }
        true
    }

    /// Tells the oracle of all.
    #[inline]
    pub(super) fn tell(&self, oracle: &mut Oracle, cpu: &impl Cpu) {
        if self.are_some.load(Ordering::Relaxed) {
            self.tell_all(oracle, cpu);
        }
    }

    #[inline(never)]
    fn tell_all(&self, oracle: &mut Oracle, cpu: &impl Cpu) {
        let mut list = self.list.lock(cpu);
        oracle.stores(cpu.id().0 as u8, &list.stores[..list.nr]);
        list.nr = 0;
        self.are_some.store(false, Ordering::Relaxed);
    }
}
