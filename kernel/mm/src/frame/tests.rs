//! The page allocator against two references: a list of who owns what, and another buddy system
//! that is told of every choice.
//!
//! The references know nothing of lists, stocks or merging, only the laws: a page has one owner, a
//! request fails only if no aligned run of that size is free, and what is free is always found again
//! in the largest pieces.

extern crate std;

mod blocks;
mod early;
mod mobility;

use super::{Effort, Frames, Kind, MemMap, Mobility, PageDesc};
use abi::{CpuId, Order, Pfn, PhysRange};
use buddy_system_allocator::FrameAllocator;
use core::cell::Cell;
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::RngSeed;
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::vec::Vec;
use sync::{Cpu, IrqState};

const CPUS: usize = 3;
const BASE: Pfn = Pfn(0x4_0000);
/// A little more than three of the largest blocks; under Miri, which is slow, a part of one.
const PAGES: u64 = if cfg!(miri) { 80 } else { 3 * 1024 + 77 };
const CASES: u32 = if cfg!(miri) { 2 } else { 256 };
const STEPS: usize = if cfg!(miri) { 30 } else { 160 };

/// The same cases each time, so that a failure is there tomorrow.
pub(super) fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig {
        cases,
        rng_seed: RngSeed::Fixed(1),
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

/// Whichever CPU the test says, always alone.
struct OneOf(Cell<u16>);

impl Cpu for OneOf {
    fn id(&self) -> CpuId {
        CpuId(self.0.get())
    }
    fn irq_save(&self) -> IrqState {
        IrqState(0)
    }
    fn irq_restore(&self, _: IrqState) {}
    fn relax(&self) {
        panic!("a lock is held by nobody who will release it");
    }
}

/// A memmap for as long as the program lives, and reachable for as long.
fn memmap(base: Pfn, pages: u64) -> MemMap {
    static ALL: Mutex<Vec<&'static [PageDesc]>> = Mutex::new(Vec::new());
    let descs: &'static [PageDesc] =
        (0..pages).map(|_| PageDesc::blank()).collect::<Vec<_>>().leak();
    ALL.lock().expect("nobody panics with it").push(descs);
    MemMap::new(base, descs)
}

/// The allocator beside its references. Pages are counted from [`BASE`].
struct Beside {
    frames: Frames,
    cpu: OneOf,
    other: FrameAllocator<{ Order::COUNT }>,
    owned: BTreeMap<Pfn, (Kind, Order)>,
    /// Owned by somebody, or never given to the allocator.
    busy: Vec<bool>,
    managed: u64,
}

impl Beside {
    /// Manages `runs`, which lie apart from each other.
    fn new(runs: &[(u64, u64)]) -> Self {
        let mut new = Self {
            frames: Frames::new(memmap(BASE, PAGES), CPUS),
            cpu: OneOf(Cell::new(0)),
            other: FrameAllocator::new(),
            owned: BTreeMap::new(),
            busy: std::vec![true; PAGES as usize],
            managed: 0,
        };
        for &(first, end) in runs {
            let range = PhysRange::new((BASE + first).base(), (BASE + end).base());
            new.frames.add(&new.cpu, range);
            new.other.add_frame((BASE + first).0 as usize, (BASE + end).0 as usize);
            new.busy[first as usize..end as usize].fill(false);
            new.managed += end - first;
        }
        new
    }

    fn on(&self, cpu: usize) -> &OneOf {
        self.cpu.0.set(cpu as u16);
        &self.cpu
    }

    fn pages(pfn: Pfn, order: Order) -> core::ops::Range<usize> {
        (pfn - BASE) as usize..(pfn - BASE + order.pages()) as usize
    }

    fn free(&self) -> u64 {
        self.managed - self.owned.values().map(|(_, order)| order.pages()).sum::<u64>()
    }

    /// Whether some aligned run of `order` is nobody's.
    fn has_run(&self, order: Order) -> bool {
        self.busy.chunks_exact(order.pages() as usize).any(|run| run.iter().all(|busy| !busy))
    }

    fn take(&mut self, cpu: usize, order: Order) -> Option<Pfn> {
        self.take_for(Kind::Kernel, cpu, order)
    }

    fn take_for(&mut self, kind: Kind, cpu: usize, order: Order) -> Option<Pfn> {
        let mobility = Mobility::of(kind);
        let taken = self.frames.take(self.on(cpu), Effort::Full, mobility, order);
        match taken {
            Some(pfn) => {
                assert!(pfn.is_aligned(order));
                let pages = Self::pages(pfn, order);
                assert!(self.busy[pages.clone()].iter().all(|busy| !busy), "{pfn}: two owners");
                self.busy[pages].fill(true);
                self.owned.insert(pfn, (kind, order));
                self.frames.map().desc(pfn).own(kind, order, 0, crate::frame::Counts::NONE);
                let same = self.other.alloc_at(pfn.0 as usize, order.pages() as usize);
                assert_eq!(same, Some(pfn.0 as usize), "the other has not got this block");
            }
            None => {
                assert!(!self.has_run(order), "refused a free block of {order:?}");
                assert_eq!(self.other.alloc(order.pages() as usize), None);
            }
        }
        assert_eq!(self.frames.free_pages(&self.cpu), self.free());
        taken
    }

    fn give(&mut self, cpu: usize, pfn: Pfn) {
        let (kind, order) = self.owned.remove(&pfn).expect("an owned block");
        let desc = self.frames.map().desc(pfn);
        assert_eq!(desc.disown(pfn, kind), order);
        let at = CpuId(cpu as u16);
        self.frames.give(self.on(cpu), at, pfn, desc, Mobility::of(kind), order);
        self.busy[Self::pages(pfn, order)].fill(false);
        self.other.dealloc(pfn.0 as usize, order.pages() as usize);
        assert_eq!(self.frames.free_pages(&self.cpu), self.free());
    }

    /// Every managed page belongs to one block, found from any of its pages; the owned blocks are
    /// those that were given out; a page that was never given belongs to none.
    fn check_blocks(&self) {
        let map = self.frames.map();
        let mut heads = std::vec![None; PAGES as usize];
        for (head, desc) in map.blocks() {
            let order = desc.order();
            let given = matches!(desc.kind(), Kind::Kernel | Kind::Folio);
            assert_eq!(given, self.owned.get(&head) == Some(&(desc.kind(), order)));
            for page in Self::pages(head, order) {
                assert_eq!(heads[page].replace(head), None, "page {page} is in two blocks");
            }
        }
        for (page, head) in heads.iter().enumerate() {
            assert_eq!(map.head(BASE + page as u64), *head, "page {page}");
            assert!(head.is_some() || self.busy[page], "page {page} is lost");
        }
        assert_eq!(heads.iter().flatten().count() as u64, self.managed);
        assert_eq!(self.frames.managed_pages(&self.cpu), self.managed);
    }

    /// Every free block of the zone.
    fn zone(&self) -> Vec<(Pfn, Order)> {
        let free = |(_, desc): &(Pfn, &PageDesc)| desc.kind() == Kind::Free;
        self.frames.map().blocks().filter(free).map(|(pfn, desc)| (pfn, desc.order())).collect()
    }
}

#[derive(Clone, Debug)]
enum Step {
    Take { cpu: usize, kind: Kind, order: Order },
    Give { cpu: usize, which: Index },
    Drain,
}

fn step() -> impl Strategy<Value = Step> {
    // The orders that CPUs keep in stock, and all the others.
    let order = prop_oneof![Just(0u8), Just(4), Just(9), 0..=Order::MAX.0].prop_map(Order);
    prop_oneof![
        6 => (0..CPUS, kind(), order).prop_map(|(cpu, kind, order)| Step::Take { cpu, kind, order }),
        5 => (0..CPUS, any::<Index>()).prop_map(|(cpu, which)| Step::Give { cpu, which }),
        1 => Just(Step::Drain),
    ]
}

/// What moves and what does not.
fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![Just(Kind::Folio), Just(Kind::Kernel)]
}

/// Runs of memory with holes between them, none of them touching the next.
fn runs() -> impl Strategy<Value = Vec<(u64, u64)>> {
    proptest::collection::btree_set(0..PAGES, 1..8).prop_map(|cuts| {
        let cuts: Vec<_> = cuts.into_iter().chain([PAGES]).collect();
        cuts.windows(2).map(|cut| (cut[0], cut[1])).step_by(2).collect()
    })
}

proptest! {
    #![proptest_config(cases(CASES))]

    #[test]
    fn no_page_has_two_owners_and_all_merge_back(
        runs in runs(),
        steps in proptest::collection::vec(step(), 1..STEPS),
    ) {
        let mut beside = Beside::new(&runs);
        beside.check_blocks();
        let at_first = beside.zone();
        for step in steps {
            match step {
                Step::Take { cpu, kind, order } => {
                    beside.take_for(kind, cpu, order);
                }
                Step::Give { cpu, which } if !beside.owned.is_empty() => {
                    let at = which.index(beside.owned.len());
                    let pfn = *beside.owned.keys().nth(at).expect("within the length");
                    beside.give(cpu, pfn);
                }
                Step::Give { .. } => {}
                Step::Drain => beside.frames.drain(&beside.cpu),
            }
        }
        beside.check_blocks();
        while let Some((&pfn, _)) = beside.owned.first_key_value() {
            beside.give(0, pfn);
        }
        beside.frames.drain(&beside.cpu);
        beside.check_blocks();
        prop_assert_eq!(beside.zone(), at_first);
    }

    #[test]
    fn memory_given_in_pieces_is_one(cuts in proptest::collection::vec(0..PAGES, 0..12)) {
        let mut cuts: Vec<_> = cuts.into_iter().chain([0, PAGES]).collect();
        cuts.sort_unstable();
        let pieces = Frames::new(memmap(BASE, PAGES), 1);
        let cpu = OneOf(Cell::new(0));
        // Every other piece first: buddies meet in both orders.
        let (even, odd): (Vec<_>, Vec<_>) = cuts.windows(2).enumerate().partition(|(n, _)| n % 2 == 0);
        for (_, cut) in even.into_iter().chain(odd) {
            pieces.add(&cpu, PhysRange::new((BASE + cut[0]).base(), (BASE + cut[1]).base()));
        }
        let whole = Beside::new(&[(0, PAGES)]);
        prop_assert_eq!(pieces.free_blocks(&cpu), whole.frames.free_blocks(&cpu));
    }
}

#[test]
fn partial_pages_are_not_memory() {
    let beside = Beside::new(&[]);
    let within = PhysRange::new(BASE.base() + 1, BASE.base() + 2 * abi::PAGE_SIZE - 1);
    beside.frames.add(&beside.cpu, within);
    assert_eq!(beside.frames.managed_pages(&beside.cpu), 0);
    assert_eq!(beside.frames.free_pages(&beside.cpu), 0);
}

#[test]
fn an_empty_allocator_refuses_every_order() {
    let mut beside = Beside::new(&[]);
    for order in 0..=Order::MAX.0 {
        assert_eq!(beside.take(0, Order(order)), None);
    }
}

/// Pages taken and given by every CPU in any order leave as many huge blocks as there were: what
/// CPUs keep in stock is fetched when it is in the way.
#[test]
#[cfg_attr(miri, ignore = "thousands of pages")]
fn huge_blocks_come_back_without_loss() {
    for stride in [1, 7, 511, 1023] {
        let mut beside = Beside::new(&[(0, PAGES)]);
        let huge = PAGES / Order::PMD.pages();
        let mut pages = Vec::new();
        while let Some(pfn) = beside.take(pages.len() % CPUS, Order::PAGE) {
            pages.push(pfn);
        }
        assert_eq!(pages.len() as u64, PAGES);
        assert_eq!(beside.take(0, Order::PMD), None);
        // Away in another order than they came; the stride and the count have no common factor, and
        // a block given twice would be noticed.
        for n in 0..pages.len() {
            beside.give(n % 2, pages[n * stride % pages.len()]);
        }
        for n in 0..huge {
            assert!(beside.take(n as usize % CPUS, Order::PMD).is_some(), "block {n} of {huge}");
        }
        assert_eq!(beside.free(), PAGES % Order::PMD.pages());
    }
}

/// A CPU's stock is bounded: one that only frees does not keep what others need.
#[test]
#[cfg_attr(miri, ignore = "thousands of pages")]
fn stocks_stay_small() {
    let mut beside = Beside::new(&[(0, PAGES)]);
    for order in [Order::PAGE, Order(4), Order::PMD] {
        let mut blocks = Vec::new();
        while let Some(pfn) = beside.take(1, order) {
            blocks.push(pfn);
        }
        for pfn in blocks {
            beside.give(0, pfn);
        }
    }
    let zone: u64 = beside.zone().iter().map(|(_, order)| order.pages()).sum();
    assert!(PAGES - zone <= 64 + 8 * 16 + 2 * 512, "{} pages in stock", PAGES - zone);
}

#[test]
#[should_panic(expected = "freeing frame 0x40000 as Table, but it is Kernel")]
fn freeing_anothers_block_stops() {
    let mut beside = Beside::new(&[(0, 1)]);
    let pfn = beside.take(0, Order::PAGE).expect("one page");
    beside.frames.map().desc(pfn).disown(pfn, Kind::Table);
}

#[test]
fn pages_outside_the_memmap_have_no_descriptor() {
    let map = memmap(BASE, 8);
    for outside in [Pfn(0), Pfn(BASE.0 - 1), BASE + 8, Pfn(u64::MAX >> 12)] {
        assert!(map.find(outside).is_none());
        assert_eq!(map.head(outside), None);
    }
    assert_eq!(map.range(), PhysRange::new(BASE.base(), (BASE + 8).base()));
}
