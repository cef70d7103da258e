//! What the memory manager's tests on the simulated machine share: machines, and the check that
//! everything is back.

pub(crate) mod heap;
pub(crate) mod look;
pub(crate) mod races;

use abi::{Event, Order, Pfn};
use granule_machine::{Config, SimWorld, Simulated};
use mm::frame::Flag;
use mm::{Mm, PageDesc};
use pte::Caps;
use stress::World;

/// Machines that differ in what translation asks of software: plain Armv8.0; everything newer (range
/// operations, level hints, hardware access flag and dirty state); few ASIDs, and barriers that end before
/// what they wait for; and an access flag set by hardware with the dirty state left to software.
pub(crate) fn machines() -> [Config; 4] {
    let base = Config { cpus: 1, ..Config::default() };
    let with = |caps| Config { caps, ..base };
    [
        base,
        with(Caps::MAX),
        with(Caps { asid_bits: 8, repeat_tlbi: true, ..Caps::CORTEX_A72 }),
        with(Caps { hw_af: true, ttl: true, ..Caps::CORTEX_A72 }),
    ]
}

/// The memory of a world that nobody uses yet.
pub(crate) struct Untouched {
    free: u64,
    blocks: [u64; Order::COUNT],
}

impl Untouched {
    /// Remembers how it is.
    pub(crate) fn new<H: Simulated>(world: &SimWorld<H>) -> Self {
        let mm = world.mm();
        Self { free: mm.frames.free_pages(&mm.hw), blocks: mm.frames.free_blocks(&mm.hw) }
    }

    /// Nobody uses any of it now: nothing is owned but the zeros that everybody shares, every block
    /// is back and merged, the counters agree, and the machine has seen no rule broken on the way.
    pub(crate) fn check<H: Simulated>(&self, world: &SimWorld<H>) {
        let mm = world.mm();
        assert_eq!(world.verdict(), None);
        let (zeros, owned): (Vec<_>, Vec<_>) =
            owned(mm).partition(|(_, desc)| desc.has(Flag::Zero));
        let owned: Vec<_> =
            owned.iter().map(|(pfn, desc)| (*pfn, desc.kind(), desc.refs())).collect();
        assert_eq!(owned, [], "frames that nobody gave back");
        assert!(zeros.iter().all(|(_, desc)| desc.refs() == 1 && desc.maps() == 0));
        let kept: u64 = zeros.iter().map(|(_, desc)| desc.order().pages()).sum();
        assert_eq!(mm.frames.free_pages(&mm.hw) + kept, self.free);
        mm.frames.drain(&mm.hw);
        let blocks = if zeros.is_empty() { self.blocks } else { largest_blocks(mm, &zeros) };
        assert_eq!(mm.frames.free_blocks(&mm.hw), blocks, "memory came back in pieces");
        let counts = |event| mm.stats.total(event);
        assert_eq!(counts(Event::PgAlloc), counts(Event::PgFree) + kept);
        assert_eq!(counts(Event::PgTableAlloc), counts(Event::PgTableFree));
    }
}

/// How many blocks of each order there are when all memory but `kept` is free and merged.
fn largest_blocks<H: Simulated>(mm: &Mm<H>, kept: &[(Pfn, &PageDesc)]) -> [u64; Order::COUNT] {
    let range = mm.frames.map().range();
    let (mut at, end) = (range.start.pfn(), range.end.pfn());
    let mut blocks = [0; Order::COUNT];
    while at < end {
        if let Some((_, desc)) = kept.iter().find(|(head, _)| *head == at) {
            at = at + desc.order().pages();
            continue;
        }
        let free = |order: &Order| {
            let behind = at + order.pages();
            let apart = |head: Pfn| head < at || behind <= head;
            at.is_aligned(*order) && behind <= end && kept.iter().all(|(head, _)| apart(*head))
        };
        let order = (0..=Order::MAX.0).rev().map(Order).find(free).expect("a page is a block");
        blocks[order.index()] += 1;
        at = at + order.pages();
    }
    blocks
}

/// Every block that belongs to somebody.
pub(crate) fn owned<H: Simulated>(
    mm: &Mm<H>,
) -> impl Iterator<Item = (Pfn, &'static PageDesc)> + '_ {
    use mm::frame::Kind;
    mm.frames
        .map()
        .blocks()
        .filter(|(_, desc)| !matches!(desc.kind(), Kind::Free | Kind::Stocked | Kind::Tail))
}
