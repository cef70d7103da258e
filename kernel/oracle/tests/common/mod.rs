//! A machine on paper: memory for descriptors, an oracle, and one space with a table of each level, which
//! CPU 0 runs. Each step is told as a correct embedder tells it.

#![allow(dead_code, reason = "each suite uses its part of it")]

pub(crate) mod trace;
pub(crate) mod twins;

use abi::{Asid, Level, Order, Pfn, PhysAddr, Prot, VirtAddr, VirtRange};
use granule_oracle::{By, How, Miss, Oracle, Platform, Rule, Setup, Site, Stored};
use pte::{AsidMatch, Caps, Depth, Leaf, Scope, Table, Target, Tlbi};

/// RAM begins here.
pub(crate) const RAM: Pfn = Pfn(0x4_0000);
/// Frames of it.
const FRAMES: usize = 4096;
/// Tables of the space, from the root down.
pub(crate) const TABLES: [Pfn; 4] = [Pfn(RAM.0), Pfn(RAM.0 + 1), Pfn(RAM.0 + 2), Pfn(RAM.0 + 3)];
/// A frame for data, and a block.
pub(crate) const DATA: Pfn = Pfn(RAM.0 + 16);
pub(crate) const BLOCK: Pfn = Pfn(RAM.0 + 512);
pub(crate) const ASID: Asid = Asid(5);
/// What the first entry of each table translates.
pub(crate) const VA: VirtAddr = VirtAddr(0);

pub(crate) const ALL: Scope = Scope::InnerShareable;
pub(crate) const LOCAL: Scope = Scope::Local;

/// The oracle, and the memory it hears of.
pub(crate) struct Paper {
    pub(crate) oracle: Oracle,
    words: Vec<u64>,
}

/// Entry `n` of the space's table of pages, and of its table of blocks.
pub(crate) fn page(n: usize) -> PhysAddr {
    TABLES[3].base() + 8 * n as u64
}
pub(crate) fn block(n: usize) -> PhysAddr {
    TABLES[2].base() + 8 * n as u64
}

pub(crate) fn leaf(pfn: Pfn, prot: Prot) -> u64 {
    Leaf::user(Level::Pte, pfn, prot).made_young().made_dirty().word()
}

pub(crate) fn huge(pfn: Pfn) -> u64 {
    Leaf::user(Level::Pmd, pfn, Prot::ReadWrite).made_young().made_dirty().word()
}

/// The operation that a flush of one page wants.
pub(crate) fn of_page(n: u64, scope: Scope) -> Tlbi {
    let va = VA + n * abi::PAGE_SIZE;
    let (asid, depth) = (AsidMatch::Only(ASID), Depth::LastLevel);
    Tlbi { target: Target::Va { va, asid, depth, hint: Some(Level::Pte) }, scope }
}

/// As [`of_page`], which takes walks along.
pub(crate) fn of_walk(n: u64, scope: Scope) -> Tlbi {
    let va = VA + n * abi::PAGE_SIZE;
    let (asid, depth) = (AsidMatch::Only(ASID), Depth::AllLevels);
    Tlbi { target: Target::Va { va, asid, depth, hint: None }, scope }
}

pub(crate) fn everything(scope: Scope) -> Tlbi {
    Tlbi { target: Target::All, scope }
}

impl Paper {
    /// Three CPUs like `caps`; frames are free but for the tables, [`DATA`] and [`BLOCK`].
    pub(crate) fn new(caps: Caps) -> Self {
        Self::with(caps, |oracle| oracle)
    }

    /// As [`Paper::new`], with an oracle that was `prepared`.
    pub(crate) fn with(caps: Caps, prepared: impl FnOnce(Oracle) -> Oracle) -> Self {
        let setup = Setup::owned(caps, 3, Platform::Model, RAM, FRAMES);
        let oracle = prepared(Oracle::new(setup));
        let mut paper = Self { oracle, words: vec![0; FRAMES * 512] };
        for (level, pfn) in Level::ALL.into_iter().zip(TABLES) {
            paper.new_table(pfn, level);
        }
        paper.publish(0, ALL);
        for n in 0..3 {
            paper.store(0, TABLES[n].base(), Table::new(TABLES[n + 1]).word());
        }
        paper.alloc(DATA, Order::PAGE);
        paper.alloc(BLOCK, Order::PMD);
        paper.publish(0, ALL);
        paper.enter(0, ASID);
        paper.lock(0);
        paper
    }

    pub(crate) fn a72() -> Self {
        Self::new(Caps::CORTEX_A72)
    }

    #[track_caller]
    pub(crate) fn alloc(&mut self, pfn: Pfn, order: Order) {
        self.oracle.frame_alloc(by(0), pfn, order);
    }

    pub(crate) fn new_table(&mut self, pfn: Pfn, level: Level) {
        self.oracle.frame_alloc(by(0), pfn, Order::PAGE);
        self.oracle.table_alloc(by(0), pfn, level);
    }

    /// CPU `cpu` runs the space.
    pub(crate) fn enter(&mut self, cpu: u8, asid: Asid) {
        self.oracle.enter(by(cpu), TABLES[0], asid);
    }

    /// CPU `cpu` holds the locks of all tables until the end.
    pub(crate) fn lock(&mut self, cpu: u8) {
        self.oracle.lock(by(cpu), Level::Pmd);
        self.oracle.lock(by(cpu), Level::Pte);
    }

    pub(crate) fn unlock(&mut self, cpu: u8) {
        self.oracle.unlock(by(cpu), Level::Pte);
        self.oracle.unlock(by(cpu), Level::Pmd);
    }

    #[track_caller]
    pub(crate) fn store(&mut self, cpu: u8, slot: PhysAddr, word: u64) {
        let old = self.write(slot, word);
        self.oracle.store(by(cpu), slot, old, word, How::Store);
    }

    #[track_caller]
    pub(crate) fn exchange(&mut self, cpu: u8, slot: PhysAddr, word: u64) -> u64 {
        let old = self.write(slot, word);
        self.oracle.store(by(cpu), slot, old, word, How::Exchange);
        old
    }

    /// Exchanges that are told together, as a kernel tells them that holds the lock of their table.
    #[track_caller]
    pub(crate) fn run(&mut self, cpu: u8, stores: impl IntoIterator<Item = (PhysAddr, u64)>) {
        let (how, site) = (How::Exchange, Site::here());
        let store = |(slot, new)| Stored { slot, old: self.write(slot, new), new, how, site };
        let made: Vec<_> = stores.into_iter().map(store).collect();
        made.chunks(64).for_each(|some| self.oracle.stores(cpu, some));
    }

    /// What is in a slot.
    pub(crate) fn word(&self, slot: PhysAddr) -> u64 {
        self.words[(slot.0 - RAM.base().0) as usize / 8]
    }

    fn write(&mut self, slot: PhysAddr, word: u64) -> u64 {
        let at = (slot.0 - RAM.base().0) as usize / 8;
        std::mem::replace(&mut self.words[at], word)
    }

    /// Somebody writes past the oracle.
    pub(crate) fn scribble(&mut self, slot: PhysAddr, word: u64) {
        self.write(slot, word);
    }

    pub(crate) fn publish(&mut self, cpu: u8, scope: Scope) {
        self.oracle.publish(by(cpu), scope);
    }

    pub(crate) fn tlbi(&mut self, cpu: u8, op: Tlbi) {
        self.oracle.tlbi(by(cpu), op);
    }

    /// A full barrier, and then an ISB.
    pub(crate) fn complete(&mut self, cpu: u8, scope: Scope) {
        self.oracle.complete(by(cpu), scope);
        self.oracle.synchronize(by(cpu));
    }

    /// All three, as a flush does it.
    pub(crate) fn flush(&mut self, cpu: u8, op: Tlbi) {
        self.publish(cpu, ALL);
        self.tlbi(cpu, op);
        self.complete(cpu, op.scope);
    }

    #[track_caller]
    pub(crate) fn free(&mut self, pfn: Pfn) {
        self.oracle.frame_free(by(0), pfn, Order::PAGE);
    }

    pub(crate) fn free_table(&mut self, pfn: Pfn, level: Level) {
        self.oracle.table_free(by(0), pfn, level);
        self.oracle.frame_free(by(0), pfn, Order::PAGE);
    }

    pub(crate) fn done(&mut self, range: VirtRange) {
        self.oracle.done(by(0), TABLES[0], range);
    }

    /// Nothing was wrong.
    #[track_caller]
    pub(crate) fn is_silent(&self) {
        if let Some(report) = self.oracle.report() {
            panic!("a false alarm\n{report}");
        }
    }

    /// `rule` was broken.
    #[track_caller]
    pub(crate) fn breaks(&self, rule: Rule) {
        assert_eq!(self.oracle.report().map(|report| report.rule), Some(rule), "{self}");
    }

    /// `rule` was broken, and this was missing.
    #[track_caller]
    pub(crate) fn misses(&self, rule: Rule, miss: Miss) {
        self.breaks(rule);
        assert_eq!(self.oracle.report().and_then(|report| report.missing), Some(miss), "{self}");
    }
}

impl std::fmt::Display for Paper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.oracle.report() {
            Some(report) => write!(f, "{report}"),
            None => f.write_str("silence"),
        }
    }
}

/// CPU `cpu`, from where the caller is.
#[track_caller]
pub(crate) fn by(cpu: u8) -> By {
    By::caller(abi::CpuId(cpu.into()))
}
