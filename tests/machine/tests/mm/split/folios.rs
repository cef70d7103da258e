//! Splitting a folio: what becomes of its pages, of its counts and of what the entries said, and that a
//! split which fails has changed nothing.

use super::huge::{RW, VA, entry, page, stamped};
use crate::common::{Untouched, machines, owned};
use abi::{Access, Event, Level, Order, PAGE_SIZE, PMD_SIZE, Pfn, VirtAddr, VirtRange};
use granule_machine::{Machine, SimWorld};
use mm::audit::Allow;
use mm::frame::Kind;
use mm::mutant::Mutant;
use mm::{FaultOutcome, Hardware, Huge, Place, Space, SplitError};
use pte::Entry;
use stress::World;

/// Each page in `pages` has its number in it, and can be written.
fn check_stamps(
    world: &SimWorld,
    space: &Space<'_, Machine>,
    pages: impl Iterator<Item = u64> + Clone,
) {
    world.inside(space, &mut || {
        for n in pages.clone() {
            assert_eq!(world.load(space, page(n)), Ok(n));
        }
    });
}

/// Every folio: its head, order, references and mappings.
fn folios(world: &SimWorld) -> Vec<(Pfn, Order, u32, u32)> {
    owned(world.mm())
        .filter(|(_, desc)| desc.kind() == Kind::Folio)
        .map(|(head, desc)| (head, desc.order(), desc.refs(), desc.maps()))
        .collect()
}

#[test]
fn parts_have_the_pages_and_what_the_entries_said() {
    for config in machines() {
        for order in [0, 2, 3, 4, 5, 8].map(Order) {
            let world = SimWorld::new(config);
            let untouched = Untouched::new(&world);
            let space = stamped(&world);
            let before = folios(&world);
            let head = before[0].0;
            assert_eq!(before, [(head, Order::PMD, 1, 1)]);
            assert_eq!(space.split_folio_at(page(77), order), Ok(()));
            let pages = order.pages() as u32;
            let parts: Vec<_> = (0..512 / order.pages())
                .map(|n| (head + n * order.pages(), order, pages, pages))
                .collect();
            assert_eq!(folios(&world), parts);
            for n in 0..512 {
                let (level, Entry::Leaf(leaf)) = entry(&space, page(n)) else {
                    panic!("page {n} is not mapped");
                };
                assert_eq!((level, leaf.pfn()), (Level::Pte, head + n));
                assert!(leaf.is_young() && leaf.is_dirty() && leaf.is_writable());
            }
            world.mm().audit().expect("nothing is broken");
            check_stamps(&world, &space, 0..512);
            assert_eq!(world.mm().stats.total(Event::ThpSplitPage), 1);
            assert_eq!(world.mm().stats.total(Event::ThpSplitPmd), 1);
            // Nobody else has a page: a write needs no copy.
            world.inside(&space, &mut || {
                for n in 0..512 {
                    world.store(&space, page(n), n + 1).expect("mapped");
                }
            });
            assert_eq!(folios(&world), parts);
            drop(space);
            untouched.check(&world);
        }
    }
}

#[test]
fn what_nobody_maps_is_freed() {
    for order in [0, 4].map(Order) {
        let world = SimWorld::new(machines()[0]);
        let untouched = Untouched::new(&world);
        let space = stamped(&world);
        space.unmap(VirtRange::from_size(page(3), 100 * PAGE_SIZE)).expect("memory");
        assert_eq!(folios(&world).len(), 1, "all 2 MiB are held");
        let free = world.mm().frames.free_pages(&world.mm().hw);
        assert_eq!(space.split_folio_at(VA, order), Ok(()));
        let freed = world.mm().frames.free_pages(&world.mm().hw) - free;
        // Of order 4, the first part and the one with page 102 are partly mapped.
        assert_eq!(freed, if order == Order::PAGE { 100 } else { 96 - 16 });
        world.mm().audit().expect("nothing is broken");
        check_stamps(&world, &space, (0..3).chain(103..512));
        drop(space);
        untouched.check(&world);
    }
}

#[test]
fn parts_are_split_again() {
    let world = SimWorld::new(machines()[1]);
    let untouched = Untouched::new(&world);
    let space = stamped(&world);
    for order in [8, 5, 4, 2].map(Order) {
        assert_eq!(space.split_folio_at(page(300), order), Ok(()));
        world.mm().audit().expect("nothing is broken");
    }
    assert_eq!(space.split_folio_at(page(300), Order::PAGE), Ok(()));
    let audit = world.mm().audit().expect("nothing is broken");
    // 256; 7 of 32 twice... one part of each size is split further.
    assert_eq!(audit.folio_pages, 512);
    assert_eq!(folios(&world).len(), 1 + 7 + 1 + 3 + 4);
    check_stamps(&world, &space, 0..512);
    drop(space);
    untouched.check(&world);
}

#[test]
fn what_cannot_be_split_says_why() {
    let world = SimWorld::new(machines()[0]);
    let untouched = Untouched::new(&world);
    let space = stamped(&world);
    let split = |order| space.split_folio_at(VA, Order(order));
    let bad = |has, wanted| Err(SplitError::BadOrder { has: Order(has), wanted: Order(wanted) });
    assert_eq!(split(9), bad(9, 9));
    assert_eq!(split(10), bad(9, 10));
    assert_eq!(split(u8::MAX), bad(9, u8::MAX));
    assert_eq!(split(1), bad(9, 1));
    for va in [VA + PMD_SIZE, VirtAddr(0), VirtAddr(VA.0 | 0xffff << 48), VirtAddr(u64::MAX)] {
        assert_eq!(space.split_folio_at(va, Order::PAGE), Err(SplitError::NotMapped));
    }
    assert_eq!(folios(&world).len(), 1);
    assert_eq!(split(2), Ok(()));
    assert_eq!(split(0), Ok(()));
    assert_eq!(split(0), bad(0, 0));
    drop(space);
    untouched.check(&world);
}

/// One reference more than the mappings' and the caller's, and the folio stays as it is: mappings,
/// counts, rights and history.
#[test]
fn a_folio_that_somebody_holds_stays_whole() {
    for config in machines() {
        for small in [false, true] {
            let world = SimWorld::new(config);
            let untouched = Untouched::new(&world);
            let space = stamped(&world);
            if small {
                space.split_block(VA);
            }
            let held = space.gup(page(9), Access::Read).expect("mapped");
            let maps = if small { 512 } else { 1 };
            let before = (folios(&world), entry(&space, page(9)));
            let busy = SplitError::Busy { refs: maps + 2, expected: maps + 1 };
            assert_eq!(space.split_folio_at(VA, Order::PAGE), Err(busy));
            assert_eq!((folios(&world), entry(&space, page(9))), before);
            world.mm().audit_but(Allow::refs(1)).expect("nothing is broken");
            // Whoever holds it may split it himself, and has his page afterwards.
            assert_eq!(world.mm().split_folio(&held, Order(2)), Ok(()));
            assert_eq!(held.pfn() - held.head(), 1);
            world.mm().audit_but(Allow::refs(1)).expect("nothing is broken");
            drop(space);
            assert_eq!(folios(&world), [(held.head(), Order(2), 1, 0)]);
            assert_eq!(world.mm().hw.peek(held.pfn().base()), 9);
            drop(held);
            untouched.check(&world);
        }
    }
}

#[test]
fn a_huge_page_can_be_frozen_and_thawed() {
    for config in machines() {
        let world = SimWorld::new(config);
        let untouched = Untouched::new(&world);
        let space = stamped(&world);
        let before = (folios(&world), entry(&space, VA));
        let frozen = space.freeze_folio_at(page(5)).expect("nobody holds it");
        let (level, now) = entry(&space, VA);
        assert!(level == Level::Pmd && matches!(now, Entry::Soft(_)), "{now:?}");
        assert_eq!(folios(&world), [(frozen.head(), Order::PMD, 1, 0)]);
        assert!(space.gup_fast(VA, Access::Read).is_none());
        frozen.thaw();
        assert_eq!((folios(&world), entry(&space, VA)), before);
        // Split while it is frozen.
        let frozen = space.freeze_folio_at(page(5)).expect("nobody holds it");
        space.split_block(VA);
        for n in 0..512 {
            let (level, now) = entry(&space, page(n));
            assert!(level == Level::Pte && matches!(now, Entry::Soft(_)), "{now:?}");
        }
        assert_eq!(folios(&world), [(frozen.head(), Order::PMD, 1, 0)]);
        // Part of it unmapped while it is frozen.
        space.unmap(VirtRange::from_size(page(100), PAGE_SIZE)).expect("memory");
        drop(frozen);
        world.mm().audit().expect("nothing is broken");
        assert_eq!(folios(&world)[0].2, 511);
        check_stamps(&world, &space, (0..100).chain(101..512));
        drop(space);
        untouched.check(&world);
    }
}

/// What is unmapped while the entries are migration entries is missed when the mappings come back, whoever took
/// them away: of a folio, and of each part that a split has made.
#[test]
fn what_was_unmapped_meanwhile_is_missed() {
    let scene = |mutant| {
        let world = SimWorld::new(machines()[0]);
        world.mm().arm(mutant);
        let untouched = Untouched::new(&world);
        let mm = world.mm();
        let space = stamped(&world);
        let frozen = space.freeze_folio_at(VA).expect("nobody holds it");
        space.unmap(VirtRange::from_size(page(100), 20 * PAGE_SIZE)).expect("memory");
        drop(frozen);
        let found = mm.deferred_folios();
        if found == 1 {
            // By a page of the second of the two parts that it concerns.
            assert_eq!(space.split_folio_at(page(100 + 20), Order(4)), Ok(()));
            assert_eq!(mm.deferred_folios(), 2);
            assert_eq!(mm.shrink(u64::MAX), 20);
            assert_eq!(mm.deferred_folios(), 0);
            check_stamps(&world, &space, (0..100).chain(120..512));
        }
        mm.audit().expect("nothing is broken");
        drop(space);
        untouched.check(&world);
        found
    };
    assert_eq!(scene(None), 1);
    let bug = Mutant::ThawForgetsPartial;
    assert!(evidence::model_notices(bug.name(), || scene(Some(bug)) == 0));
}

/// A folio that one program maps whole and another in part is mapped in part once the first lets go of it,
/// whichever way it does.
#[test]
fn whoever_maps_it_whole_goes_last() {
    let scene = |exits: bool, mutant| {
        let world = SimWorld::new(machines()[0]);
        world.mm().arm(mutant);
        let parent = stamped(&world);
        let child = parent.fork().expect("memory");
        child.unmap(VirtRange::from_size(page(100), 20 * PAGE_SIZE)).expect("memory");
        assert_eq!(world.mm().deferred_folios(), 0);
        if exits {
            drop(parent);
        } else {
            parent.unmap(VirtRange::from_size(VA, PMD_SIZE)).expect("memory");
        }
        world.mm().audit().expect("nothing is broken");
        world.mm().deferred_folios()
    };
    for exits in [false, true] {
        assert_eq!(scene(exits, None), 1);
        let bug = Mutant::PmdUncountedLate;
        assert!(evidence::model_notices(bug.name(), || scene(exits, Some(bug)) == 0));
    }
}

#[test]
fn partly_mapped_folios_are_found_when_memory_is_short() {
    let world = SimWorld::new(machines()[0]);
    let untouched = Untouched::new(&world);
    let mm = world.mm();
    let space = Space::new(mm).expect("memory");
    space.map(Place::At(VA), 4 * PMD_SIZE, RW, Huge::Default).expect("free");
    for n in 0..4 {
        assert_eq!(space.fault(VA + n * PMD_SIZE, Access::Write), FaultOutcome::Mapped);
    }
    assert_eq!((mm.deferred_folios(), mm.shrink(1)), (0, 0));
    // Part of the first, of the second and of the fourth; the third stays whole.
    space.unmap(VirtRange::from_size(page(1), 10 * PAGE_SIZE)).expect("memory");
    space.unmap(VirtRange::from_size(page(512), 511 * PAGE_SIZE)).expect("memory");
    let held = space.gup_fast(page(3 * 512 + 9), Access::Read).expect("mapped");
    space.unmap(VirtRange::from_size(page(3 * 512), PAGE_SIZE)).expect("memory");
    assert_eq!(mm.deferred_folios(), 3);
    assert_eq!(mm.stats.total(Event::ThpDeferredSplit), 3);
    // The first is enough.
    let free = mm.frames.free_pages(&mm.hw);
    assert_eq!(mm.reclaim_deferred(1), 10);
    assert_eq!(mm.deferred_folios(), 2);
    // One of the others is held: it goes back on the list.
    assert_eq!(mm.shrink(u64::MAX), 511);
    assert_eq!(mm.deferred_folios(), 1);
    assert_eq!(mm.frames.free_pages(&mm.hw) - free, 521);
    mm.audit_but(Allow::refs(1)).expect("nothing is broken");
    drop(held);
    // A folio on the list may be freed.
    space.unmap(VirtRange::from_size(page(3 * 512), PMD_SIZE)).expect("memory");
    assert_eq!(mm.deferred_folios(), 0);
    assert_eq!(mm.shrink(u64::MAX), 0);
    mm.audit().expect("nothing is broken");
    drop(space);
    untouched.check(&world);
}
