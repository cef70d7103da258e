//! What the memory manager's tests on the simulated machine share: machines, and the check that
//! everything is back.

#![allow(dead_code, reason = "each suite uses its part of it")]

use abi::{Event, Order, Pfn};
use granule_machine::{Config, SimWorld, Simulated};
use mm::frame::Flag;
use mm::mutant::Mutant;
use mm::{Mm, PageDesc};
use pte::Caps;
use stress::{World, workloads, zoo};

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

/// The CPUs on which workloads commit a bug: without the newer features and with them, and those whose
/// erratum it is about.
pub(crate) fn cpus_for(bug: &str) -> [Caps; 2] {
    let repeat_tlbi = bug == Mutant::TlbiNotRepeated.name();
    [Caps::CORTEX_A72, Caps::MAX].map(|caps| Caps { repeat_tlbi, ..caps })
}

/// Steps after which a sweep begins no other workload: two or three seconds of them.
const SWEEP: u64 = 3_000_000;

/// Looks for a bug in the workload where it is at home, then in the mix of all of them, then in the others, the
/// home's neighbours sooner; on either machine. `look` runs a workload and says how many steps that took, and
/// what was found.
pub(crate) fn sweep<T>(
    bug: &str,
    mut look: impl FnMut(&'static str, Caps) -> (u64, Option<T>),
) -> Option<(&'static str, T)> {
    let home = zoo::find(bug).map_or("", zoo::habitat);
    let mut names = workloads::all::<SimWorld>().map(|workload| workload.name);
    let at = names.iter().position(|name| *name == home).unwrap_or(0);
    names.rotate_left(at);
    names[1..].sort_by_key(|name| *name != "chaos");
    let mut taken = 0;
    for (name, caps) in names.into_iter().flat_map(|name| cpus_for(bug).map(|caps| (name, caps))) {
        if taken >= SWEEP {
            break;
        }
        let (steps, found) = look(name, caps);
        if let Some(found) = found {
            return Some((name, found));
        }
        taken += steps;
    }
    None
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
