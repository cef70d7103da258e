//! Memory nodes: each with its own free blocks under its own lock; a CPU takes from its home first, and from
//! the others, round about from there, when that is empty.
//!
//! Corresponds to Linux's `pglist_data`, `zonelist`, `cpu_to_node`.

use super::buddy::Buddy;
use super::memmap::MemMap;
use super::page_block::{Group, Mobility, PAGE_BLOCK};
use super::pcp;
use abi::{Node, Order, Pfn};
use alloc::boxed::Box;
use alloc::vec::Vec;
use sync::{Class, Cpu, SpinLock};

/// Where memory is to come from.
#[doc(alias("nodemask_t", "__GFP_THISNODE"))]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Near {
    /// From this node, or from the next that has some.
    Prefer(Node),
    /// From this node and no other.
    Exactly(Node),
}

/// The free memory of one node.
#[doc(alias = "pglist_data")]
#[repr(align(128))]
pub(super) struct Zone(SpinLock<Buddy>);

impl Zone {
    fn new() -> Self {
        Self(SpinLock::new(Class::Zone, Buddy::new()))
    }
}

/// All nodes' free memory, and which CPU lives where. There is always node 0.
pub(super) struct Zones {
    all: Vec<Zone>,
    homes: Box<[Node]>,
    /// Some memory is kept for what moves.
    keeps: bool,
}

impl Zones {
    pub(super) fn new(nr_cpus: usize) -> Self {
        Self {
            all: Vec::from([Zone::new()]),
            homes: (0..nr_cpus).map(|_| Node(0)).collect(),
            keeps: false,
        }
    }

    /// Boot: there is such a node.
    fn reach(&mut self, node: Node) {
        while self.all.len() <= node.index() {
            self.all.push(Zone::new());
        }
    }

    /// Boot: this CPU lives there.
    pub(super) fn settle(&mut self, cpu: usize, node: Node) {
        self.reach(node);
        if let Some(home) = self.homes.get_mut(cpu) {
            *home = node;
        }
    }

    /// Boot: the page blocks that touch `first..end` belong to that node.
    pub(super) fn place(&mut self, map: &MemMap, first: Pfn, end: Pfn, node: Node) {
        self.reach(node);
        each_page_block(map, first.align_down(PAGE_BLOCK), end, |block| {
            map.set_page_block(block, map.page_block(block).on(node));
        });
    }

    /// Boot: the whole page blocks of `first..end` are kept for what moves.
    pub(super) fn keep(&mut self, map: &MemMap, first: Pfn, end: Pfn) {
        let first = Pfn(first.0.next_multiple_of(PAGE_BLOCK.pages()));
        self.keeps |= first < end.align_down(PAGE_BLOCK);
        each_page_block(map, first, end.align_down(PAGE_BLOCK), |block| {
            map.set_page_block(block, map.page_block(block).of(Group::Kept));
        });
    }

    /// Takes in `first..end`, which was nobody's.
    pub(super) fn add<C: Cpu>(&self, cpu: &C, map: &MemMap, first: Pfn, end: Pfn) {
        let mut at = first;
        while at < end {
            let is = map.page_block(at);
            let next = |pfn: Pfn| pfn.align_down(PAGE_BLOCK) + PAGE_BLOCK.pages();
            let mut to = next(at);
            while to < end && map.page_block(to) == is {
                to = next(to);
            }
            self.on(is.node()).lock(cpu).add(map, at, to.min(end));
            at = to;
        }
    }

    /// Whether some memory is kept for what moves.
    #[inline]
    pub(super) const fn keeps(&self) -> bool {
        self.keeps
    }

    /// How many nodes there are.
    pub(super) const fn len(&self) -> usize {
        self.all.len()
    }

    /// A node's free blocks.
    ///
    /// # Panics
    /// When there is no such node.
    #[inline]
    pub(super) fn on(&self, node: Node) -> &SpinLock<Buddy> {
        &self.all[node.index()].0
    }

    /// All nodes' free blocks.
    pub(super) fn each(&self) -> impl Iterator<Item = &SpinLock<Buddy>> {
        self.all.iter().map(|zone| &zone.0)
    }

    /// What `node` gives, or the first after it, round about, that gives something. A node that does not
    /// exist stands for the first.
    #[doc(alias = "for_each_zone_zonelist")]
    #[inline]
    pub(super) fn find<R>(
        &self,
        node: Node,
        mut take: impl FnMut(&SpinLock<Buddy>) -> Option<R>,
    ) -> Option<R> {
        let home = if node.index() < self.all.len() { node.index() } else { 0 };
        let first = take(&self.all[home].0);
        if first.is_some() || self.all.len() == 1 {
            return first;
        }
        let (before, behind) = self.all.split_at(home);
        behind.iter().skip(1).chain(before).find_map(|zone| take(&zone.0))
    }

    /// Where the CPU lives.
    #[inline]
    pub(super) fn home<C: Cpu>(&self, cpu: &C) -> Node {
        self.homes[cpu.id().index()]
    }

    /// Takes a block straight from a zone: this CPU's, or the next that has one.
    pub(super) fn take<C: Cpu>(
        &self,
        cpu: &C,
        map: &MemMap,
        mobility: Mobility,
        order: Order,
    ) -> Option<Pfn> {
        self.find(self.home(cpu), |zone| zone.lock(cpu).take(map, mobility, order))
    }

    /// Gives blocks of `order` back, each to its node.
    pub(super) fn give_runs<C: Cpu>(&self, cpu: &C, map: &MemMap, order: Order, blocks: &[Pfn]) {
        if let [zone] = &*self.all {
            return pcp::give_runs(map, &mut zone.0.lock(cpu), order, blocks);
        }
        let node = |pfn: Pfn| map.page_block(pfn).node();
        for same in blocks.chunk_by(|one, other| node(*one) == node(*other)) {
            pcp::give_runs(map, &mut self.on(node(same[0])).lock(cpu), order, same);
        }
    }
}

/// The first page of each page block from `first` on that the memmap describes.
fn each_page_block(map: &MemMap, first: Pfn, end: Pfn, mut each: impl FnMut(Pfn)) {
    let blocks = (first.0..end.0).step_by(PAGE_BLOCK.pages() as usize).map(Pfn);
    blocks.filter(|block| map.find(*block).is_some()).for_each(&mut each);
}
