//! Splitting an entry: every kind of it, what becomes of counts, rights and history, what a reader
//! without locks sees on the way, and that each known bug of a split is noticed.

use crate::common::{Untouched, machines};
use abi::{Access, Event, Level, PAGE_SIZE, PMD_SIZE, Pfn, Prot, VirtAddr, VirtRange};
use granule_machine::{Config, Machine, SimWorld};
use mm::frame::Flag;
use mm::mutant::Mutant;
use mm::thp::Policy;
use mm::{Hardware, Huge, Place, Slot, Space};
use pte::{Caps, DeviceAccess, Entry, Leaf, MigrationKind, Soft};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use stress::World;

const VA: VirtAddr = VirtAddr(1 << 40);
const RW: Prot = Prot::ReadWrite;

fn page(n: u64) -> VirtAddr {
    VA + n * PAGE_SIZE
}

/// A space with one huge page in it, of which the first word was written.
fn huge(world: &SimWorld) -> Space<'_, Machine> {
    let space = Space::new(world.mm()).expect("memory");
    space.map(Place::At(VA), PMD_SIZE, RW, Huge::Default).expect("free");
    world.inside(&space, &mut || world.store(&space, VA, 1).expect("mapped"));
    space
}

/// The slot, and what is in it, at each level down to where the walk ends.
fn walked(space: &Space<'_, Machine>, va: VirtAddr) -> Vec<(Level, Slot, Entry, u64)> {
    let mut steps = Vec::new();
    space.mm().walk(space.root(), va, |level, slot, entry, word| {
        steps.push((level, slot, entry, word));
    });
    steps
}

fn pmd(space: &Space<'_, Machine>) -> (Slot, Entry) {
    let steps = walked(space, VA);
    let (.., slot, entry, _) =
        *steps.iter().find(|step| step.0 == Level::Pmd).expect("a PMD table");
    (slot, entry)
}

fn leaf(space: &Space<'_, Machine>) -> Leaf {
    pmd(space).1.leaf().expect("a huge leaf")
}

/// The 512 small entries.
fn small(space: &Space<'_, Machine>) -> Vec<Entry> {
    let entry = |n| match walked(space, page(n)).last() {
        Some((Level::Pte, _, entry, _)) => *entry,
        other => panic!("page {n}: {other:?}"),
    };
    (0..512).map(entry).collect()
}

/// References, mappings and PMD mappings of a folio.
fn counts(world: &SimWorld, head: Pfn) -> (u32, u32, u32) {
    let desc = world.mm().frames.map().desc(head);
    (desc.refs(), desc.maps(), world.mm().pmd_maps(head))
}

/// Puts a word in the place of the huge entry, by hand, with nobody looking.
fn replace(space: &Space<'_, Machine>, word: u64) {
    let mm = space.mm();
    let slot = pmd(space).0;
    mm.hw.store(slot, 0);
    let _flushed = mm.flush(space.context(), VirtRange::from_size(VA, PMD_SIZE), Level::Pmd);
    mm.hw.store(slot, word);
}

#[test]
fn a_mapping_becomes_512_with_its_rights_and_history() {
    for config in machines() {
        for (dirty, young) in [(true, true), (false, true), (false, false), (true, false)] {
            let world = SimWorld::new(config);
            let untouched = Untouched::new(&world);
            let space = huge(&world);
            let old = leaf(&space);
            let head = old.pfn();
            let old = if dirty { old.made_dirty() } else { old.made_clean() };
            let old = if young { old.made_young() } else { old.made_old() };
            replace(&space, old.word());
            space.split_block(VA);
            let expected: Vec<_> = (0..512).map(|n| old.piece(n)).collect();
            let found: Vec<_> = small(&space)
                .into_iter()
                .map(|entry| match entry {
                    Entry::Leaf(leaf) => leaf.contiguous(false),
                    other => panic!("{other:?}"),
                })
                .collect();
            assert_eq!(found, expected);
            assert_eq!(counts(&world, head), (512, 512, 0));
            let dirty_folio = world.mm().frames.map().desc(head).has(Flag::Dirty);
            assert_eq!(dirty_folio, dirty);
            world.mm().audit().expect("nothing is broken");
            assert_eq!(world.mm().stats.total(Event::ThpSplitPmd), 1);
            drop(space);
            untouched.check(&world);
        }
    }
}

#[test]
fn a_mapping_without_rights_becomes_512_without() {
    let world = SimWorld::new(machines()[1]);
    let untouched = Untouched::new(&world);
    let space = huge(&world);
    let head = leaf(&space).pfn();
    replace(&space, leaf(&space).with_prot(Prot::None).word());
    space.split_block(page(511));
    for (n, entry) in small(&space).into_iter().enumerate() {
        let Entry::ProtNone(leaf) = entry else { panic!("{entry:?}") };
        assert_eq!((leaf.pfn(), leaf.is_dirty()), (head + n as u64, true));
    }
    assert_eq!(counts(&world, head), (512, 512, 0));
    drop(space);
    untouched.check(&world);
}

#[test]
fn what_nobody_counts_stays_uncounted() {
    let world = SimWorld::new(machines()[0]);
    let space = huge(&world);
    let head = leaf(&space).pfn();
    // The mapping's count is kept by hand: to the entry it is memory that nobody counts.
    let old = leaf(&space);
    let uncounted = Leaf::user(Level::Pmd, head, Prot::Read).special();
    replace(&space, uncounted.word());
    space.split_block(VA);
    for (n, entry) in small(&space).into_iter().enumerate() {
        assert_eq!(entry, Entry::Leaf(uncounted.piece(n as u64)));
    }
    assert_eq!(counts(&world, head), (1, 1, 1));
    // And back, so that the space can end.
    let table = match pmd(&space).1 {
        Entry::Table(table) => table.pfn(),
        other => panic!("{other:?}"),
    };
    (0..512).for_each(|n| world.mm().hw.store(Slot::new(table, n), 0));
    world.mm().hw.store(Slot::new(table, 0), old.piece(0).word());
    let _flushed =
        world.mm().flush(space.context(), VirtRange::from_size(VA, PMD_SIZE), Level::Pte);
    space.unmap(VirtRange::from_size(VA, PMD_SIZE)).expect("memory");
    drop(space);
    assert_eq!(world.mm().pmd_maps(head), 1, "as it was counted by hand");
}

#[test]
fn a_migration_entry_becomes_512_that_own_nothing() {
    for config in machines() {
        for write in [true, false] {
            let world = SimWorld::new(config);
            let untouched = Untouched::new(&world);
            let space = huge(&world);
            if !write {
                replace(&space, leaf(&space).write_protected().word());
            }
            let frozen = space.freeze_folio_at(VA).expect("nobody holds it");
            let Entry::Soft(soft) = pmd(&space).1 else { panic!("not frozen") };
            let kind = if write { MigrationKind::Write } else { MigrationKind::ReadExclusive };
            let expected = Soft::Migration {
                pfn: frozen.head(),
                kind,
                young: true,
                dirty: true,
                uffd_wp: false,
            };
            assert_eq!(soft, expected);
            space.split_block(VA);
            for (n, entry) in small(&space).into_iter().enumerate() {
                assert_eq!(entry, Entry::Soft(soft.piece(n as u64)));
            }
            assert_eq!(counts(&world, frozen.head()), (1, 0, 0));
            let head = frozen.head();
            frozen.thaw();
            assert_eq!(counts(&world, head), (512, 512, 0));
            for entry in small(&space) {
                let Entry::Leaf(leaf) = entry else { panic!("{entry:?}") };
                assert!(leaf.is_young() && leaf.is_dirty());
            }
            world.mm().audit().expect("nothing is broken");
            drop(space);
            untouched.check(&world);
        }
    }
}

#[test]
fn memory_of_a_device_is_counted_like_any() {
    let world = SimWorld::new(machines()[0]);
    let untouched = Untouched::new(&world);
    let space = huge(&world);
    let old = leaf(&space);
    let soft = Soft::DevicePrivate { pfn: old.pfn(), access: DeviceAccess::Write, uffd_wp: true };
    replace(&space, soft.encode(Level::Pmd));
    space.split_block(VA);
    for (n, entry) in small(&space).into_iter().enumerate() {
        assert_eq!(entry, Entry::Soft(soft.piece(n as u64)));
    }
    assert_eq!(counts(&world, old.pfn()), (512, 512, 0));
    // And back, so that the space can end.
    let Entry::Table(table) = pmd(&space).1 else { panic!("not split") };
    for n in 0..512 {
        world.mm().hw.store(Slot::new(table.pfn(), n), old.piece(n as u64).word());
    }
    world.mm().audit().expect("nothing is broken");
    drop(space);
    untouched.check(&world);
}

#[test]
fn what_is_not_huge_is_left_alone() {
    let world = SimWorld::new(machines()[0]);
    let untouched = Untouched::new(&world);
    let space = huge(&world);
    space.split_block(VA);
    let before = small(&space);
    space.split_block(VA);
    assert_eq!(small(&space), before);
    // Nothing at all; a table without a PMD; addresses of no table.
    for va in [VA + PMD_SIZE, VA + (1 << 30), VirtAddr(0), VirtAddr(1 << 48), VirtAddr(u64::MAX)] {
        space.split_block(va);
    }
    assert_eq!(world.mm().stats.total(Event::ThpSplitPmd), 1);
    drop(space);
    untouched.check(&world);
}

// --- other CPUs meanwhile ------------------------------------------------------------------------

/// What `body` says is wrong, or what the machine or a panic said.
fn told(world: &SimWorld, body: impl FnOnce() -> Option<String>) -> Option<String> {
    let said = std::panic::catch_unwind(std::panic::AssertUnwindSafe(body));
    let said = said.unwrap_or_else(|panic| Some(format!("{:?}", panic.downcast_ref::<String>())));
    world.violation().map(|found| format!("step {}: {}", found.step, found.what)).or(said)
}

fn config(seed: u64) -> Config {
    let caps = machines()[seed as usize % 4].caps;
    Config { caps, seed, cpus: 2, pages: 2048, ..Config::default() }
}

/// What to split while others look.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Kind {
    Mapping,
    Zeros,
    Migration,
}

/// CPU 0 splits an entry; CPU 1 reads it without locks and trusts what it sees. There is always something,
/// and what looks like a mapping is one.
fn watched(seed: u64, kind: Kind, mutant: Option<Mutant>) -> Option<String> {
    let world = SimWorld::new(config(seed));
    let mm = world.mm();
    mm.arm(mutant);
    told(&world, || {
        let space = Space::new(mm).expect("memory");
        space.map(Place::At(VA), PMD_SIZE, RW, Huge::Default).expect("free");
        let access = if kind == Kind::Zeros { Access::Read } else { Access::Write };
        assert_eq!(space.fault(VA, access), mm::FaultOutcome::Mapped);
        let frozen =
            (kind == Kind::Migration).then(|| space.freeze_folio_at(VA).expect("nobody holds it"));
        let done = AtomicBool::new(false);
        let body = |cpu| {
            if cpu == 0 {
                (0..seed % 7).for_each(|_| world.yield_now());
                space.split_block(VA);
                done.store(true, SeqCst);
                return;
            }
            while !done.load(SeqCst) {
                let right = match (kind, pmd(&space).1) {
                    (_, Entry::Table(_)) => true,
                    (Kind::Migration, entry) => matches!(entry, Entry::Soft(_)),
                    (_, entry) => matches!(entry, Entry::Leaf(_) | Entry::PresentInvalid(_)),
                };
                assert!(right, "a reader sees {:?}", pmd(&space).1);
                drop(space.gup_fast(page(seed % 512), Access::Read));
            }
        };
        world.run(2, &body, &mut || ());
        drop(frozen);
        mm.audit().err().map(|broken| broken.to_string())
    })
}

#[test]
fn a_reader_without_locks_always_sees_something() {
    for seed in 1..60 {
        for kind in [Kind::Mapping, Kind::Zeros, Kind::Migration] {
            assert_eq!(watched(seed, kind, None), None, "{kind:?} seed {seed}");
        }
    }
}

#[test]
fn an_invalidated_migration_entry_is_caught() {
    let bug = Mutant::SplitMigrationMkinvalid;
    let look = || (1..20).any(|seed| watched(seed, Kind::Migration, Some(bug)).is_some());
    assert!(evidence::model_notices(bug.name(), look));
}

#[test]
fn a_migration_entry_that_is_counted_is_caught() {
    let bug = Mutant::SplitCountsMigration;
    let look = || watched(1, Kind::Migration, Some(bug)).is_some();
    assert!(evidence::model_notices(bug.name(), look));
}

#[test]
fn a_migration_entry_that_is_misread_is_caught() {
    let world = SimWorld::new(machines()[0]);
    world.mm().arm(Some(Mutant::SplitMisreadsMigration));
    let space = huge(&world);
    let frozen = space.freeze_folio_at(VA).expect("nobody holds it");
    let Entry::Soft(soft) = pmd(&space).1 else { panic!("not frozen") };
    space.split_block(VA);
    let look = || small(&space)[7] != Entry::Soft(soft.piece(7));
    let bug = Mutant::SplitMisreadsMigration.name();
    assert!(evidence::model_notices(bug, look), "not caught");
    drop(frozen);
}

/// A machine that records history by itself.
fn recording(seed: u64, cpus: usize) -> Config {
    Config { caps: Caps::MAX, seed, cpus, pages: 2048, ..Config::default() }
}

/// Makes the first entries of pages, or the huge entry, clean, with nobody looking.
fn clean(space: &Space<'_, Machine>, pages: u64) {
    let mm = space.mm();
    let steps: Vec<_> = (0..pages).filter_map(|n| walked(space, page(n)).pop()).collect();
    steps.iter().for_each(|(_, slot, ..)| mm.hw.store(*slot, 0));
    let range = VirtRange::from_size(VA, PMD_SIZE);
    let _flushed = mm.flush(space.context(), range, Level::Pte);
    let _flushed = mm.flush(space.context(), range, Level::Pmd);
    for (_, slot, entry, _) in steps {
        mm.hw.store(slot, entry.leaf().expect("mapped").made_clean().word());
    }
}

/// How the mappings that others write through are taken apart meanwhile.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Way {
    /// The huge entry is split.
    Split,
    /// Each huge entry, then each small one, becomes a migration entry and comes back.
    Freeze,
    /// The same, but a pin keeps the mapping.
    Refuse,
}

/// CPU 1 writes to a clean page; the hardware records it. CPU 0 changes the entry at the same moment. Says
/// whether the write is known to nobody afterwards.
fn recorded(seed: u64, way: Way, is_small: bool, mutant: Option<Mutant>) -> Option<String> {
    let world = SimWorld::new(recording(seed, 2));
    let mm = world.mm();
    mm.arm(mutant);
    told(&world, || {
        if is_small {
            mm.thp.set_enabled(Policy::Never);
            mm.thp.set_enabled_64k(Some(Policy::Always));
        }
        let space = huge(&world);
        let pages = if is_small { 16 } else { 512 };
        clean(&space, pages);
        let at = page(seed % pages);
        let pin = (way == Way::Refuse).then(|| space.pin(VA, Access::Read).expect("mapped"));
        let written = AtomicBool::new(false);
        let body = |cpu| {
            if cpu == 1 {
                world.inside(&space, &mut || {
                    assert_eq!(world.load(&space, at), Ok(u64::from(at == VA)));
                    (0..seed % 5).for_each(|_| world.yield_now());
                    assert_eq!(world.store(&space, at, 2), Ok(()));
                });
                written.store(true, SeqCst);
                return;
            }
            (0..seed % 11).for_each(|_| world.yield_now());
            while !written.load(SeqCst) {
                match way {
                    Way::Split => space.split_block(VA),
                    Way::Freeze | Way::Refuse => {
                        let frozen = space.freeze_folio_at(at);
                        assert_eq!(frozen.is_err(), way == Way::Refuse);
                    }
                }
                world.yield_now();
            }
        };
        world.run(2, &body, &mut || ());
        drop(pin);
        let mapping =
            |va| walked(&space, va).last().and_then(|step| step.2.leaf()).expect("mapped");
        let entry = mapping(at);
        let head = mm.frames.map().head(entry.pfn()).expect("a folio");
        // Of a contiguous set any member may have it.
        let set = at.align_down(16 * PAGE_SIZE);
        let in_set = |n| entry.is_contiguous() && mapping(set + n * PAGE_SIZE).is_dirty();
        let known =
            entry.is_dirty() || mm.frames.map().desc(head).has(Flag::Dirty) || (0..16).any(in_set);
        (!known).then(|| "a write that nobody knows of".into())
    })
}

#[test]
fn no_write_goes_unrecorded() {
    for seed in 1..150 {
        assert_eq!(recorded(seed, Way::Split, false, None), None, "seed {seed}");
        for way in [Way::Freeze, Way::Refuse] {
            for is_small in [false, true] {
                assert_eq!(
                    recorded(seed, way, is_small, None),
                    None,
                    "{way:?} {is_small} seed {seed}"
                );
            }
        }
    }
}

fn unrecorded(way: Way, is_small: bool, mutant: Mutant) -> bool {
    let look = || (1..400).any(|seed| recorded(seed, way, is_small, Some(mutant)).is_some());
    evidence::model_notices(mutant.name(), look)
}

#[test]
fn a_word_from_before_the_exchange_is_caught() {
    assert!(unrecorded(Way::Split, false, Mutant::SplitPreread));
    assert!(unrecorded(Way::Freeze, false, Mutant::SplitPreread));
    assert!(unrecorded(Way::Freeze, true, Mutant::TakeOutPreread));
}

#[test]
fn a_mapping_that_comes_back_without_its_history_is_caught() {
    assert!(unrecorded(Way::Refuse, false, Mutant::TakeOutRestoresPreread));
    assert!(unrecorded(Way::Refuse, true, Mutant::TakeOutPreread));
}
