//! A machine without a memory manager, driven by hand: what its tests share.

use abi::{Asid, Level, Order, PAGE_SIZE, Pfn, Prot, VirtAddr};
use granule_machine::{Config, Machine};
use mm::{Hardware, Note, Slot};
use pte::{AsidMatch, Caps, Depth, Leaf, Scope, Table, Target, Tlbi};
use std::cell::Cell;
use sync::{Class, Cpu};

/// Where the tests map: the beginning of a table of every level.
pub(crate) const VA: VirtAddr = VirtAddr(1 << 40);
/// The number of the space that a rig begins with.
pub(crate) const ASID: Asid = Asid(7);

/// The address `n` pages behind [`VA`].
pub(crate) fn page(n: u64) -> VirtAddr {
    VA + n * PAGE_SIZE
}

/// Two CPUs, of which the second runs a space; the first does all the rest.
pub(crate) struct Rig {
    pub(crate) machine: Machine,
    pub(crate) root: Pfn,
    /// The next frame that nobody has.
    next: Cell<u64>,
}

impl Rig {
    pub(crate) fn new(caps: Caps) -> Self {
        Self::with_seed(caps, 1)
    }

    pub(crate) fn with_seed(caps: Caps, seed: u64) -> Self {
        let machine =
            Machine::new(Config { caps, cpus: 2, pages: 8192, seed, ..Config::default() });
        let rig = Self { machine, root: Pfn(0x4_0000), next: Cell::new(0x4_0001) };
        rig.machine.note(Note::FrameAlloc(rig.root, Order::PAGE));
        rig.machine.note(Note::TableAlloc(rig.root, Level::Pgd));
        rig.enter(1);
        rig
    }

    /// CPU `cpu` runs the space.
    pub(crate) fn enter(&self, cpu: usize) {
        self.machine.on(cpu, || self.machine.switch_user(self.root, ASID));
    }

    /// CPU `cpu` runs nothing.
    pub(crate) fn leave(&self, cpu: usize) {
        self.machine.on(cpu, || self.machine.switch_user_off());
    }

    /// Memory of one's own.
    pub(crate) fn alloc(&self, order: Order) -> Pfn {
        let first = Pfn(self.next.get() + order.pages() - 1).align_down(order);
        self.next.set(first.0 + order.pages());
        self.machine.note(Note::FrameAlloc(first, order));
        first
    }

    pub(crate) fn page(&self) -> Pfn {
        self.alloc(Order::PAGE)
    }

    pub(crate) fn free(&self, pfn: Pfn, order: Order) {
        self.machine.note(Note::FrameFree(pfn, order));
    }

    /// A table that is linked nowhere.
    pub(crate) fn table(&self, level: Level) -> Pfn {
        let table = self.page();
        self.machine.note(Note::TableAlloc(table, level));
        table
    }

    /// The slot of `level` for `va`, with tables made on the way.
    pub(crate) fn slot(&self, va: VirtAddr, level: Level) -> Slot {
        let mut table = self.root;
        for &at in level.above() {
            let slot = Slot::new(table, at.index(va));
            let word = self.machine.load(slot);
            table = match pte::decode(at, word) {
                pte::Entry::Table(next) => next.pfn(),
                _ => {
                    let below = self.table(at.down().expect("above another"));
                    self.set(slot, at, Table::new(below).word());
                    below
                }
            };
        }
        Slot::new(table, level.index(va))
    }

    /// Does something under the lock of a table of `level`.
    pub(crate) fn locked<R>(&self, level: Level, body: impl FnOnce() -> R) -> R {
        let class = if level == Level::Pte { Class::PteTable } else { Class::PmdTable };
        self.machine.lock_wanted(class);
        let result = body();
        self.machine.lock_dropped(class);
        result
    }

    /// Stores a descriptor under its table's lock and publishes it.
    pub(crate) fn set(&self, slot: Slot, level: Level, word: u64) {
        self.locked(level, || self.machine.store(slot, word));
        self.publish();
    }

    /// Exchanges a descriptor under its table's lock and publishes it; what was there.
    pub(crate) fn swap(&self, slot: Slot, level: Level, word: u64) -> u64 {
        let old = self.locked(level, || self.machine.swap(slot, word));
        self.publish();
        old
    }

    /// Maps a page.
    pub(crate) fn map(&self, va: VirtAddr, leaf: Leaf) -> Slot {
        let slot = self.slot(va, leaf.level());
        self.set(slot, leaf.level(), leaf.word());
        slot
    }

    pub(crate) fn publish(&self) {
        self.machine.publish(Scope::InnerShareable);
    }

    pub(crate) fn complete(&self) {
        self.machine.complete(Scope::InnerShareable);
    }

    pub(crate) fn issue(&self, target: Target) {
        self.machine.tlbi(Tlbi { target, scope: Scope::InnerShareable });
    }

    /// Makes every CPU lose the leaf for `va`.
    pub(crate) fn flush(&self, va: VirtAddr) {
        self.issue(leaf_at(va, None));
        self.complete();
    }

    /// Makes every CPU lose everything about `va`.
    pub(crate) fn flush_walks(&self, va: VirtAddr) {
        let asid = AsidMatch::Only(ASID);
        self.issue(Target::Va { va, asid, depth: Depth::AllLevels, hint: None });
        self.complete();
    }

    /// The CPU that runs the space caches what it finds for `va`.
    pub(crate) fn cache(&self, va: VirtAddr) -> bool {
        self.machine.on(1, || self.machine.prefetch(va))
    }

    /// How many leaves that CPU has for `va`.
    pub(crate) fn held(&self, va: VirtAddr) -> usize {
        let here = |t: &granule_machine::Translation| t.leaf.is_some() && t.range.contains(va);
        self.machine.cached().into_iter().filter(here).count()
    }

    /// Nothing was reported.
    #[track_caller]
    pub(crate) fn silent(&self) {
        if let Some(violation) = self.machine.violation() {
            panic!("reported, and is right: {violation}");
        }
    }

    /// What was reported says `what`.
    #[track_caller]
    pub(crate) fn caught(&self, what: &str) {
        let violation = self.machine.violation();
        let violation = violation.unwrap_or_else(|| panic!("not reported: {what}"));
        assert!(violation.what.contains(what), "reported as something else: {violation}");
    }
}

/// An operation on the leaf for `va`.
pub(crate) fn leaf_at(va: VirtAddr, hint: Option<Level>) -> Target {
    Target::Va { va, asid: AsidMatch::Only(ASID), depth: Depth::LastLevel, hint }
}

/// A page of a user's that is readable and writable, and dirty.
pub(crate) fn dirty(pfn: Pfn) -> Leaf {
    Leaf::user(Level::Pte, pfn, Prot::ReadWrite).made_dirty()
}

/// A huge page likewise.
pub(crate) fn huge(pfn: Pfn) -> Leaf {
    Leaf::user(Level::Pmd, pfn, Prot::ReadWrite).made_dirty()
}
