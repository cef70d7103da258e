//! Nodes, memory that is kept for what moves, and page blocks that somebody empties, all at once, against
//! a list of pages.

extern crate std;

use super::super::{Counts, Effort, Frames, IsolateError, Kind, Mobility, Near, PAGE_BLOCK};
use super::{BASE, CPUS, OneOf, cases, kind, memmap};
use abi::{CpuId, Node, Order, Pfn, PhysRange};
use core::cell::Cell;
use proptest::prelude::*;
use proptest::sample::Index;
use std::collections::BTreeMap;
use std::vec::Vec;

/// Seven page blocks and a bit, with a node's border where the largest blocks would cross it.
const PAGES: u64 = 7 * 512 + 77;
const BORDER: u64 = 3 * 512;
/// Kept for what moves: two whole page blocks, though this is more.
const KEPT: (u64, u64) = (4 * 512 + 100, 7 * 512);
const BLOCKS: usize = PAGES.div_ceil(512) as usize;
const STEPS: usize = 250;

fn range(first: u64, end: u64) -> PhysRange {
    PhysRange::new((BASE + first).base(), (BASE + end).base())
}

/// What the machine is, said once more: a node and whether it is kept, for each page block.
fn node_of(block: usize) -> Node {
    Node(u8::from(block as u64 * 512 >= BORDER))
}

fn is_kept(block: usize) -> bool {
    let first = block as u64 * 512;
    KEPT.0 <= first && first + 512 <= KEPT.1
}

struct Model {
    frames: Frames,
    cpu: OneOf,
    owned: BTreeMap<Pfn, (Kind, Order)>,
    busy: Vec<bool>,
    isolated: [bool; BLOCKS],
}

impl Model {
    fn new() -> Self {
        let mut frames = Frames::new(memmap(BASE, PAGES), CPUS);
        frames.settle(2, Node(1));
        frames.place(range(BORDER, PAGES), Node(1));
        frames.keep_movable(range(KEPT.0, KEPT.1));
        let cpu = OneOf(Cell::new(0));
        frames.add(&cpu, range(0, PAGES));
        Self {
            frames,
            cpu,
            owned: BTreeMap::new(),
            busy: std::vec![false; PAGES as usize],
            isolated: [false; BLOCKS],
        }
    }

    fn on(&self, cpu: usize) -> &OneOf {
        self.cpu.0.set(cpu as u16);
        &self.cpu
    }

    fn blocks(first: u64, order: Order) -> core::ops::RangeInclusive<usize> {
        first as usize / 512..=(first + order.pages() - 1) as usize / 512
    }

    /// Whether a run of pages may be given so.
    fn may_give(&self, first: u64, mobility: Mobility, order: Order, node: Option<Node>) -> bool {
        let blocks = Self::blocks(first, order);
        let (one, other) = (*blocks.start(), *blocks.end());
        let alike = node_of(one) == node_of(other) && is_kept(one) == is_kept(other);
        alike
            && (mobility == Mobility::Movable || !is_kept(one))
            && node.is_none_or(|node| node == node_of(one))
            && blocks.clone().all(|block| !self.isolated[block])
    }

    fn has_run(&self, mobility: Mobility, order: Order, node: Option<Node>) -> bool {
        let firsts = (0..PAGES).step_by(order.pages() as usize);
        firsts.filter(|first| first + order.pages() <= PAGES).any(|first| {
            let run = first as usize..(first + order.pages()) as usize;
            self.busy[run].iter().all(|busy| !busy) && self.may_give(first, mobility, order, node)
        })
    }

    fn took(&mut self, taken: Option<Pfn>, kind: Kind, order: Order, node: Option<Node>) {
        let mobility = Mobility::of(kind);
        let Some(pfn) = taken else {
            assert!(!self.has_run(mobility, order, node), "refused {mobility:?} {order:?}");
            return;
        };
        assert!(pfn.is_aligned(order));
        let first = pfn - BASE;
        for page in first..first + order.pages() {
            assert!(!core::mem::replace(&mut self.busy[page as usize], true), "{pfn}: two owners");
        }
        for block in Self::blocks(first, order) {
            assert!(!self.isolated[block], "{pfn} is isolated");
            assert!(mobility == Mobility::Movable || !is_kept(block), "{pfn} is kept");
            assert!(node.is_none_or(|node| node == node_of(block)), "{pfn} is elsewhere");
            assert_eq!(self.frames.is_movable_only(pfn), is_kept(block));
            assert_eq!(self.frames.node_of(pfn), node_of(block));
        }
        self.owned.insert(pfn, (kind, order));
        self.frames.map().desc(pfn).own(kind, order, 0, Counts::NONE);
    }

    fn give(&mut self, cpu: usize, pfn: Pfn) {
        let (kind, order) = self.owned.remove(&pfn).expect("an owned block");
        let desc = self.frames.map().desc(pfn);
        assert_eq!(desc.disown(pfn, kind), order);
        let at = CpuId(cpu as u16);
        self.frames.give(self.on(cpu), at, pfn, desc, Mobility::of(kind), order);
        let first = pfn - BASE;
        self.busy[first as usize..(first + order.pages()) as usize].fill(false);
    }

    fn drain(&self) {
        self.frames.drain(&self.cpu);
    }

    fn isolate(&mut self, block: usize) {
        let pfn = BASE + block as u64 * 512;
        let expected = match (block as u64 * 512 + 512 > PAGES, self.isolated[block]) {
            (true, _) => Err(IsolateError::NoMemory),
            (false, true) => Err(IsolateError::Busy),
            (false, false) => Ok(()),
        };
        assert_eq!(self.frames.isolate(&self.cpu, pfn), expected);
        self.isolated[block] |= expected.is_ok();
    }

    fn integrate(&mut self, block: usize) {
        if core::mem::take(&mut self.isolated[block]) {
            self.frames.integrate(&self.cpu, BASE + block as u64 * 512);
        }
    }

    /// Free pages, and what each page block is said to hold.
    fn check(&self) {
        let free = self.busy.iter().filter(|busy| !**busy).count() as u64;
        assert_eq!(self.frames.free_pages(&self.cpu), free);
        let nodes = (0..2).map(|node| self.frames.node_pages(&self.cpu, Node(node)));
        let (managed, in_zones) = nodes.fold((0, 0), |sum, node| (sum.0 + node.0, sum.1 + node.1));
        assert_eq!(managed, PAGES);
        assert_eq!(in_zones + self.frames.stocked_pages(&self.cpu), free);
        for block in 0..PAGES as usize / 512 {
            let pages = block * 512..block * 512 + 512;
            let seen = self.frames.survey(BASE + block as u64 * 512);
            let owned = |kind| {
                let mut sum = 0;
                for (pfn, (_, order)) in self.owned.iter().filter(|(_, owned)| owned.0 == kind) {
                    let first = (*pfn - BASE) as usize;
                    let both =
                        first.max(pages.start)..(first + order.pages() as usize).min(pages.end);
                    sum += both.len() as u64;
                }
                sum
            };
            assert_eq!(seen.unmovable, owned(Kind::Kernel), "page block {block}");
            assert_eq!(seen.movable, owned(Kind::Folio), "page block {block}");
            assert_eq!(seen.free + seen.stocked + seen.movable + seen.unmovable, 512);
            assert!(seen.stocked == 0 || !self.isolated[block], "page block {block} is in stock");
        }
    }

    fn zone(&self) -> Vec<(Pfn, Order)> {
        let blocks = self.frames.map().blocks();
        blocks
            .inspect(|(pfn, desc)| assert!(desc.kind() == Kind::Free, "{pfn} is not free"))
            .map(|(pfn, desc)| (pfn, desc.order()))
            .collect()
    }
}

#[derive(Clone, Debug)]
enum Step {
    Take { cpu: usize, kind: Kind, order: Order },
    Near { near: Near, kind: Kind, order: Order },
    Give { cpu: usize, which: Index },
    Isolate(usize),
    Integrate(usize),
    Drain,
}

fn step() -> impl Strategy<Value = Step> {
    let order = || prop_oneof![4 => Just(0u8), 1 => Just(4), 2 => Just(9), 2 => 0..=Order::MAX.0];
    let order = move || order().prop_map(Order);
    let near = prop_oneof![
        (0..3u8).prop_map(|node| Near::Prefer(Node(node))),
        (0..3u8).prop_map(|node| Near::Exactly(Node(node))),
    ];
    prop_oneof![
        12 => (0..CPUS, kind(), order()).prop_map(|(cpu, kind, order)| Step::Take { cpu, kind, order }),
        4 => (near, kind(), order()).prop_map(|(near, kind, order)| Step::Near { near, kind, order }),
        12 => (0..CPUS, any::<Index>()).prop_map(|(cpu, which)| Step::Give { cpu, which }),
        2 => (0..BLOCKS).prop_map(Step::Isolate),
        2 => (0..BLOCKS).prop_map(Step::Integrate),
        2 => Just(Step::Drain),
    ]
}

proptest! {
    #![proptest_config(cases(if cfg!(miri) { 1 } else { 256 }))]

    #[test]
    #[cfg_attr(miri, ignore = "thousands of pages")]
    fn everything_at_once_loses_nothing(steps in proptest::collection::vec(step(), 1..STEPS)) {
        let mut model = Model::new();
        let at_first = model.zone();
        for step in steps {
            match step {
                Step::Take { cpu, kind, order } => {
                    let mobility = Mobility::of(kind);
                    let on = model.on(cpu);
                    let taken = model.frames.take(on, Effort::Full, mobility, order);
                    model.took(taken, kind, order, None);
                }
                Step::Near { near, kind, order } => {
                    model.drain();
                    let mobility = Mobility::of(kind);
                    let taken = model.frames.take_near(&model.cpu, near, mobility, order);
                    let node = if let Near::Exactly(node) = near { Some(node) } else { None };
                    model.took(taken, kind, order, node);
                }
                Step::Give { cpu, which } if !model.owned.is_empty() => {
                    let at = which.index(model.owned.len());
                    let pfn = *model.owned.keys().nth(at).expect("within the length");
                    model.give(cpu, pfn);
                }
                Step::Give { .. } => {}
                Step::Isolate(block) => model.isolate(block),
                Step::Integrate(block) => model.integrate(block),
                Step::Drain => model.drain(),
            }
        }
        model.check();
        (0..BLOCKS).for_each(|block| model.integrate(block));
        while let Some((&pfn, _)) = model.owned.first_key_value() {
            model.give(0, pfn);
        }
        model.drain();
        model.check();
        prop_assert_eq!(model.zone(), at_first);
    }
}

/// A CPU takes from its own node while that has something, then from the other.
#[test]
#[cfg_attr(miri, ignore = "thousands of pages")]
fn home_comes_first() {
    for (cpu, home) in [(0, Node(0)), (2, Node(1))] {
        let mut model = Model::new();
        let at_home = (0..PAGES).filter(|page| node_of(*page as usize / 512) == home).count();
        for n in 0..PAGES as usize {
            let on = model.on(cpu);
            let pfn = model.frames.take(on, Effort::Light, Mobility::Movable, Order::PAGE);
            let pfn = pfn.expect("room");
            assert_eq!(model.frames.node_of(pfn) == home, n < at_home, "page {n}");
            model.took(Some(pfn), Kind::Folio, Order::PAGE, None);
        }
    }
}

/// What comes free in an isolated page block comes together there.
#[test]
#[cfg_attr(miri, ignore = "thousands of pages")]
fn an_emptied_page_block_is_whole() {
    let mut model = Model::new();
    for _ in 0..PAGES {
        let on = model.on(0);
        let taken = model.frames.take(on, Effort::Full, Mobility::Movable, Order::PAGE);
        model.took(taken, Kind::Folio, Order::PAGE, None);
    }
    model.isolate(1);
    for page in 512..1024 {
        model.give(1, BASE + page);
    }
    assert_eq!(model.frames.survey(BASE + 512).free, 512);
    let taken = model.frames.take(model.on(0), Effort::Full, Mobility::Movable, Order::PAGE);
    assert_eq!(taken, None, "all that is free is isolated");
    model.integrate(1);
    let taken = model.frames.take(model.on(0), Effort::Full, Mobility::Movable, PAGE_BLOCK);
    assert_eq!(taken, Some(BASE + 512));
}
