//! What kernel mappings ask of the machine, to the last TLBI and barrier: `bench vmalloc` on the model, where every
//! count is exact.

use abi::{CpuId, Event};
use granule_machine::{Config, SimWorld};
use pte::Caps;
use stress::World;
use stress::bench::{self, Figure, Measured, Meter, Options, State};

/// Nobody counts instructions: a step of the model is none.
struct Blind<'a>(&'a SimWorld);

impl Meter for Blind<'_> {
    fn instructions(&self) -> Option<u64> {
        None
    }

    fn instructions_since(&self, _: u64) -> Option<u64> {
        None
    }

    fn instructions_together(&self) -> Option<u64> {
        None
    }

    fn interrupts_sent(&self, _: CpuId) -> u64 {
        0
    }

    fn run(&self, cpus: usize, body: &(dyn Fn(usize) + Sync)) -> usize {
        self.0.run(cpus, body, &mut || {})
    }
}

/// The outcomes of one row, by numbers of CPUs.
fn measure(config: Config, name: &str, bytes: u64) -> Vec<Measured> {
    let world = SimWorld::new(config).with_kernel();
    let options = Options { cpus: 1, rounds: Some(2), bytes, profile: false };
    let mut all = Vec::new();
    let mut each = |outcome: bench::Outcome| match outcome.state {
        State::Measured(measured) => all.push(measured),
        state => panic!("{name}: {state:?}"),
    };
    let end = bench::run(&world, &Blind(&world), options, &|n| n == name, &mut |_| true, &mut each);
    assert!(end.is_ok(), "{:?}", end.map_err(|failure| failure.to_string()));
    assert_eq!(world.violation(), None);
    all
}

/// Per unit: TLBIs of all kinds, barriers that publish, barriers that wait.
fn counts(measured: &Measured) -> [Figure; 3] {
    let count = |event| measured.count(event);
    [measured.tlbis(), count(Event::DsbPublish), count(Event::DsbComplete)]
}

/// One row on one CPU.
fn count(caps: Caps, name: &str) -> [Figure; 3] {
    let config = Config { cpus: 1, caps, ..Config::default() };
    let [measured] = measure(config, name, 4 << 20)[..] else { panic!("{name}: one CPU") };
    counts(&measured)
}

fn whole(counts: [u64; 3]) -> [Figure; 3] {
    counts.map(Figure::whole)
}

/// Each area is published once when it is mapped and once when it is cleared; 20 000 pages of addresses, guards
/// included, are more than may be lazy two times, and each time one flush does for all.
#[test]
fn ten_thousand_pairs_take_two_flushes() {
    assert_eq!(count(Caps::CORTEX_A72, "vmalloc_pairs"), whole([2, 20_002, 2]));
    // A flush of a range takes two operations.
    assert_eq!(count(Caps::MAX, "vmalloc_pairs"), whole([4, 20_002, 2]));
}

/// Areas that do not touch go by one flush, whatever their number: of everything, or of the range around them.
#[test]
fn a_purge_of_a_thousand_areas_is_one_flush() {
    assert_eq!(count(Caps::CORTEX_A72, "purge_scattered"), whole([1, 1, 1]));
    assert_eq!(count(Caps::MAX, "purge_scattered"), whole([4, 1, 1]));
}

/// One operation for each table that goes, or for all by their range; one barrier before, one behind, and one that
/// shows the blocks.
#[test]
fn a_promotion_is_one_flush() {
    assert_eq!(count(Caps::CORTEX_A72, "ioremap_promote"), whole([32, 2, 1]));
    assert_eq!(count(Caps::MAX, "ioremap_promote"), whole([1, 2, 1]));
}

#[test]
fn frames_from_anywhere_are_published_once() {
    for caps in [Caps::CORTEX_A72, Caps::MAX] {
        assert_eq!(count(caps, "vmap_scattered"), whole([0, 1, 0]));
    }
}

/// Of the cases of Linux's test, on one CPU, two and four: a turn publishes each area twice, and flushes are for
/// many turns together.
#[test]
fn turns_of_the_cases_are_published_twice_and_flushed_rarely() {
    for name in ["fix_size_alloc", "fix_align_alloc", "vm_map_ram"] {
        let config = Config { cpus: 4, ..Config::default() };
        let series = measure(config, name, 4 << 20);
        assert_eq!(series.len(), bench::SERIES.len(), "{name}");
        for measured in series {
            let [tlbis, publish, complete] = counts(&measured);
            // With tables that are linked on the way.
            let least = Figure::whole(2);
            let most = least.plus(Figure::tenths(1));
            assert!((least..=most).contains(&publish), "{name}: {publish} barriers that publish");
            let rare = Figure::per(1, 50);
            assert!(tlbis <= rare && complete <= rare, "{name}: {tlbis} TLBIs, {complete} waits");
        }
    }
}
