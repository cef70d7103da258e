//! What the memory manager's tests on the simulated machine share: machines, and the check that
//! everything is back.

use abi::{Event, Order};
use granule_machine::{Config, Machine, SimWorld};
use mm::{Mm, PageDesc};
use pte::Caps;
use stress::World;

/// Machines that differ in what translation asks of software: plain Armv8.0; everything newer (range
/// operations, level hints, hardware access flag and dirty state); few ASIDs; and an access flag set
/// by hardware with the dirty state left to software.
pub(crate) fn machines() -> [Config; 4] {
    let base = Config { cpus: 1, ..Config::default() };
    let with = |caps| Config { caps, ..base };
    [
        base,
        with(Caps::MAX),
        with(Caps { asid_bits: 8, ..Caps::CORTEX_A72 }),
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
    pub(crate) fn new(world: &SimWorld) -> Self {
        let mm = world.mm();
        Self { free: mm.frames.free_pages(&mm.hw), blocks: mm.frames.free_blocks(&mm.hw) }
    }

    /// Nobody uses any of it now: nothing is owned, every block is back and merged, the counters
    /// agree, and the machine has seen no rule broken on the way.
    pub(crate) fn check(&self, world: &SimWorld) {
        let mm = world.mm();
        assert_eq!(world.violation(), None);
        let owned: Vec<_> = owned(mm).map(|(pfn, desc)| (pfn, desc.kind(), desc.refs())).collect();
        assert_eq!(owned, [], "frames that nobody gave back");
        assert_eq!(mm.frames.free_pages(&mm.hw), self.free);
        mm.frames.drain(&mm.hw);
        assert_eq!(mm.frames.free_blocks(&mm.hw), self.blocks, "memory came back in pieces");
        for (taken, given) in
            [(Event::PgAlloc, Event::PgFree), (Event::PgTableAlloc, Event::PgTableFree)]
        {
            let counts = (mm.stats.total(taken), mm.stats.total(given));
            assert_eq!(counts.0, counts.1, "{} and {}", taken.name(), given.name());
        }
    }
}

/// Every block that belongs to somebody.
pub(crate) fn owned(mm: &Mm<Machine>) -> impl Iterator<Item = (abi::Pfn, &'static PageDesc)> + '_ {
    use mm::frame::Kind;
    mm.frames
        .map()
        .blocks()
        .filter(|(_, desc)| !matches!(desc.kind(), Kind::Free | Kind::Stocked | Kind::Tail))
}
