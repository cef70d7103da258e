//! Laws of one address space: what is refused and leaves no trace, what a fault may answer, what
//! happens when memory runs out.

use crate::common::{Untouched, machines, owned};
use abi::{Access, Event, Level, Order, PAGE_SIZE, PMD_SIZE, Prot, VirtAddr, VirtRange};
use granule_machine::{Config, Machine, SimWorld};

use mm::frame::{Flag, Kind};
use mm::space::{USER_END, USER_START};
use mm::{Denial, FaultOutcome, Huge, MapError, OutOfMemory, Place, Space, UnmapError};
use pte::Entry;
use stress::World;

const VA: VirtAddr = VirtAddr(1 << 40);
const RW: Prot = Prot::ReadWrite;

fn areas(space: &Space<'_, Machine>) -> Vec<(VirtRange, Prot, Huge)> {
    let mut all = Vec::new();
    space.each_area(|vma| all.push((vma.range, vma.prot, vma.huge)));
    all
}

fn count(world: &SimWorld, kind: Kind) -> usize {
    owned(world.mm()).filter(|(_, desc)| desc.kind() == kind).count()
}

/// Ranges that no mapping can have, with their reasons.
fn bad_ranges() -> Vec<(VirtAddr, u64)> {
    let page = PAGE_SIZE;
    vec![
        (VA, 0),
        (VA + 1, page),
        (VA + 8, page - 8),
        (VA, page + 1),
        (VA, page / 2),
        (VirtAddr(0), page),
        (VirtAddr(USER_START.0 - page), page),
        (VirtAddr(USER_START.0 - page), 4 * page),
        (USER_END, page),
        (VirtAddr(USER_END.0 - page), 2 * page),
        (VA, USER_END.0),
        (VA, u64::MAX),
        (VirtAddr(u64::MAX - page + 1), page),
        (VirtAddr(u64::MAX - page + 1), u64::MAX),
        (VirtAddr(0xffff << 48), page),
    ]
}

#[test]
fn bad_ranges_are_refused_and_change_nothing() {
    let world = SimWorld::new(machines()[0]);
    let untouched = Untouched::new(&world);
    let space = Space::new(world.mm()).expect("memory");
    let kept = space.map(Place::At(VA), 4 * PAGE_SIZE, RW, Huge::Never).expect("free");
    let before = areas(&space);
    for (start, bytes) in bad_ranges() {
        let range = VirtRange::from_size(start, bytes);
        let map = space.map(Place::At(start), bytes, RW, Huge::Default);
        assert_eq!(map, Err(MapError::BadRange(range)));
        assert_eq!(space.unmap(range), Err(UnmapError::BadRange(range)), "{range}");
        assert_eq!(areas(&space), before);
    }
    for bytes in [0, 1, PAGE_SIZE - 1, PAGE_SIZE + 1, u64::MAX, USER_END.0] {
        let refused = space.map(Place::Anywhere, bytes, RW, Huge::Never);
        assert!(matches!(refused, Err(MapError::BadRange(_))), "{bytes} bytes: {refused:?}");
    }
    assert_eq!(areas(&space), before);
    assert_eq!(space.unmap(kept), Ok(()));
    drop(space);
    untouched.check(&world);
}

#[test]
fn what_is_occupied_says_by_whom_and_stays() {
    let world = SimWorld::new(machines()[0]);
    let space = Space::new(world.mm()).expect("memory");
    let at = |page: u64, pages: u64| VirtRange::from_size(VA + page * PAGE_SIZE, pages * PAGE_SIZE);
    // Two that touch stay two where they are not alike.
    for (area, prot) in [(at(2, 2), Prot::Read), (at(4, 1), Prot::None), (at(9, 3), Prot::Read)] {
        space.map(Place::At(area.start), area.bytes(), prot, Huge::Never).expect("free");
    }
    let before = areas(&space);
    for (wanted, by) in [
        (at(2, 2), at(2, 2)),
        (at(0, 3), at(2, 2)),
        (at(3, 1), at(2, 2)),
        (at(3, 9), at(2, 2)),
        (at(4, 1), at(4, 1)),
        (at(5, 5), at(9, 3)),
        (at(0, 20), at(2, 2)),
        (at(11, 1), at(9, 3)),
    ] {
        let refused = space.map(Place::At(wanted.start), wanted.bytes(), RW, Huge::Never);
        assert_eq!(refused, Err(MapError::Occupied { wanted, by }));
        assert_eq!(areas(&space), before);
    }
    // What only touches is free.
    for free in [at(0, 2), at(5, 4), at(12, 8)] {
        let mapped = space.map(Place::At(free.start), free.bytes(), RW, Huge::Never);
        assert_eq!(mapped, Ok(free));
    }
}

#[test]
fn the_whole_lower_half_can_be_mapped_and_then_nothing_more() {
    let world = SimWorld::new(machines()[0]);
    let untouched = Untouched::new(&world);
    let space = Space::new(world.mm()).expect("memory");
    let all = VirtRange::new(USER_START, USER_END);
    assert_eq!(space.map(Place::At(all.start), all.bytes(), RW, Huge::Never), Ok(all));
    let bytes = PAGE_SIZE;
    let refused = space.map(Place::Anywhere, bytes, RW, Huge::Never);
    assert_eq!(refused, Err(MapError::NoRoom { bytes }));
    // Its first and last page, and one in between, are as good as any.
    let pages = [USER_START, VA, VirtAddr(USER_END.0 - PAGE_SIZE)];
    world.inside(&space, &mut || {
        for va in pages {
            assert_eq!(world.store(&space, va, va.0), Ok(()));
            assert_eq!(world.load(&space, va), Ok(va.0));
        }
        let below = VirtAddr(USER_START.0 - 8);
        assert_eq!(world.load(&space, below), Err(FaultOutcome::Denied(Denial::NoArea)));
        assert_eq!(space.unmap(all), Ok(()));
        for va in pages {
            assert_eq!(world.load(&space, va), Err(FaultOutcome::Denied(Denial::NoArea)));
        }
    });
    assert_eq!((count(&world, Kind::Folio), count(&world, Kind::Table)), (0, 1));
    drop(space);
    untouched.check(&world);
}

/// A fault that was resolved is not resolved twice, whatever the machine leaves to software.
#[test]
fn a_second_fault_is_spurious() {
    for config in machines() {
        for huge in [Huge::Never, Huge::Default] {
            let world = SimWorld::new(config);
            let space = Space::new(world.mm()).expect("memory");
            space.map(Place::At(VA), PMD_SIZE, RW, huge).expect("free");
            assert_eq!(space.fault(VA, Access::Read), FaultOutcome::Mapped);
            assert_eq!(space.fault(VA, Access::Read), FaultOutcome::Spurious);
            // The first write has the dirty state to set; then nothing is left to do.
            assert_eq!(space.fault(VA + 8, Access::Write), FaultOutcome::Mapped);
            for access in [Access::Write, Access::Read, Access::Write] {
                assert_eq!(space.fault(VA, access), FaultOutcome::Spurious);
            }
            assert_eq!(world.mm().stats.total(Event::PgFault), 6);
            assert_eq!(world.mm().stats.total(Event::PgFaultSpurious), 4);
            let neighbour = space.fault(VA + PAGE_SIZE, Access::Write);
            let expected = match huge {
                Huge::Never => FaultOutcome::Mapped,
                Huge::Default | Huge::Advised => FaultOutcome::Spurious,
            };
            assert_eq!(neighbour, expected);
        }
    }
}

#[test]
fn an_area_gives_its_rights_and_no_others() {
    for config in machines() {
        for prot in [Prot::None, Prot::Read, Prot::ReadWrite, Prot::ReadExec] {
            let world = SimWorld::new(config);
            let space = Space::new(world.mm()).expect("memory");
            space.map(Place::At(VA), PAGE_SIZE, prot, Huge::Never).expect("free");
            for access in [Access::Read, Access::Write, Access::Exec] {
                let outcome = space.fault(VA, access);
                let denied = FaultOutcome::Denied(Denial::Rights(prot));
                assert_eq!(outcome == denied, !prot.allows(access), "{access} of {prot}");
            }
            // And the machine agrees.
            world.inside(&space, &mut || {
                let denied = FaultOutcome::Denied(Denial::Rights(prot));
                let expect = |access| if prot.allows(access) { Ok(()) } else { Err(denied) };
                assert_eq!(world.load(&space, VA).map(drop), expect(Access::Read));
                assert_eq!(world.store(&space, VA, 1), expect(Access::Write));
            });
            assert!(world.mm().stats.total(Event::PgFaultDenied) > 0);
            // Only writing takes memory; reading takes everybody's zeros.
            let own = owned(world.mm())
                .filter(|(_, desc)| desc.kind() == Kind::Folio && !desc.has(Flag::Zero));
            assert_eq!(own.count(), usize::from(prot == Prot::ReadWrite));
        }
    }
}

/// Each huge page has a table put aside, so that splitting it needs no memory; the table is used by
/// the split, or goes with the page.
#[test]
fn each_huge_page_has_a_table_put_aside() {
    let world = SimWorld::new(machines()[0]);
    let untouched = Untouched::new(&world);
    let space = Space::new(world.mm()).expect("memory");
    let tables = || count(&world, Kind::Table);
    space.map(Place::At(VA), 4 * PMD_SIZE, RW, Huge::Default).expect("free");
    for n in 0..4 {
        assert_eq!(space.fault(VA + n * PMD_SIZE, Access::Write), FaultOutcome::Mapped);
        // Root, PUD and PMD table, and one for each huge page.
        assert_eq!(tables() as u64, 3 + n + 1);
    }
    assert_eq!(world.mm().stats.total(Event::ThpFaultAlloc), 4);
    // With not a page left in the machine.
    let mut hoard = Vec::new();
    while let Ok(pfn) = world.mm().alloc(Order::PAGE) {
        hoard.push(pfn);
    }
    space.unmap(VirtRange::from_size(VA + PAGE_SIZE, PAGE_SIZE)).expect("memory");
    assert_eq!(world.mm().stats.total(Event::ThpSplitPmd), 1);
    assert_eq!(tables(), 7, "the table put aside is in use now");
    // Both ends of one range, each inside a huge page.
    let both = VirtRange::new(VA + PMD_SIZE + 7 * PAGE_SIZE, VA + 2 * PMD_SIZE + 9 * PAGE_SIZE);
    space.unmap(both).expect("memory");
    assert_eq!(world.mm().stats.total(Event::ThpSplitPmd), 3);
    assert_eq!(tables(), 7);
    // A huge page that goes whole takes its table with it.
    space.unmap(VirtRange::from_size(VA + 3 * PMD_SIZE, PMD_SIZE)).expect("memory");
    assert_eq!(tables(), 6);
    space.unmap(VirtRange::from_size(VA, 4 * PMD_SIZE)).expect("memory");
    assert_eq!(tables(), 1);
    hoard.into_iter().for_each(|pfn| world.mm().free(pfn));
    drop(space);
    untouched.check(&world);
}

/// The level of the leaf that maps an address now.
fn leaf_level(space: &Space<'_, Machine>, va: VirtAddr) -> Option<Level> {
    let mut found = None;
    space.mm().walk(space.root(), va, |level, _, entry, _| {
        if matches!(entry, Entry::Leaf(_)) {
            found = Some(level);
        }
    });
    found
}

#[test]
fn huge_pages_go_where_they_fit_and_nowhere_else() {
    let world = SimWorld::new(machines()[0]);
    let space = Space::new(world.mm()).expect("memory");
    // Half a huge page, a whole one, half a one.
    let start = VA + PMD_SIZE / 2;
    space.map(Place::At(start), 2 * PMD_SIZE, RW, Huge::Default).expect("free");
    for (va, level) in [
        (start, Level::Pte),
        (VA + PMD_SIZE, Level::Pmd),
        (VA + 2 * PMD_SIZE - PAGE_SIZE, Level::Pmd),
        (VA + 2 * PMD_SIZE, Level::Pte),
    ] {
        assert!(matches!(
            space.fault(va, Access::Read),
            FaultOutcome::Mapped | FaultOutcome::Spurious
        ));
        assert_eq!(leaf_level(&space, va), Some(level), "{va}");
    }
    // Where a small page is, no huge one comes: its neighbours are small too.
    space.unmap(VirtRange::from_size(VA + PMD_SIZE, PAGE_SIZE)).expect("memory");
    assert_eq!(leaf_level(&space, VA + PMD_SIZE + PAGE_SIZE), Some(Level::Pte));
    assert_eq!(leaf_level(&space, VA + PMD_SIZE), None);
    // `Anywhere` puts what can have huge pages where it can.
    let range = space.map(Place::Anywhere, PMD_SIZE, RW, Huge::Default).expect("room");
    assert!(range.start.is_aligned(PMD_SIZE));
    assert_eq!(space.fault(range.start, Access::Read), FaultOutcome::Mapped);
    assert_eq!(leaf_level(&space, range.start), Some(Level::Pmd));
}

/// With 2 MiB in one piece and not a page for the table to put aside, 64 KiB do, out of the same 2 MiB.
#[test]
fn without_memory_for_the_table_put_aside_something_smaller_does() {
    // One page block is for tables, one for what moves, and the third is what the huge page could have.
    let world = SimWorld::new(Config { pages: 1536, ..machines()[0] });
    let mm = world.mm();
    let untouched = Untouched::new(&world);
    let space = Space::new(mm).expect("memory");
    // The tables above the huge page are there: a neighbour has them.
    space.map(Place::At(VA + PMD_SIZE), PAGE_SIZE, RW, Huge::Never).expect("free");
    assert_eq!(space.fault(VA + PMD_SIZE, Access::Write), FaultOutcome::Mapped);
    space.map(Place::At(VA), PMD_SIZE, RW, Huge::Default).expect("free");
    let block = mm.alloc(Order::PMD).expect("the third");
    let mut hoard = Vec::new();
    while let Ok(pfn) = mm.alloc(Order::PAGE) {
        hoard.push(pfn);
    }
    mm.free(block);
    assert_eq!(mm.frames.free_pages(&mm.hw), 512);
    assert_eq!(space.fault(VA, Access::Write), FaultOutcome::Mapped);
    assert_eq!(leaf_level(&space, VA), Some(Level::Pte));
    assert_eq!(mm.frames.free_pages(&mm.hw), 512 - 1 - 16, "a table and 64 KiB");
    assert_eq!(mm.stats.total(Event::ThpFaultFallback), 1);
    hoard.into_iter().for_each(|pfn| mm.free(pfn));
    drop(space);
    untouched.check(&world);
}

/// Without 2 MiB in one piece small pages do.
#[test]
fn without_memory_for_a_huge_page_a_small_one_does() {
    for left in [0u64, 1, 511] {
        let world = SimWorld::new(Config { pages: 1024, ..machines()[0] });
        let mm = world.mm();
        let untouched = Untouched::new(&world);
        let space = Space::new(mm).expect("memory");
        space.map(Place::At(VA), PMD_SIZE, RW, Huge::Default).expect("free");
        // One page of each half is taken.
        let mut pages = Vec::new();
        while let Ok(pfn) = mm.alloc(Order::PAGE) {
            pages.push(pfn);
        }
        pages.sort_unstable();
        // Two for the tables above, one for the PTE table, one to map; but never a whole half.
        for _ in 0..4 + left {
            let which = if pages.len() > 600 { pages.len() - 2 } else { 1 };
            mm.free(pages.remove(which));
        }
        assert_eq!(space.fault(VA, Access::Write), FaultOutcome::Mapped, "{left} pages more");
        assert_eq!(leaf_level(&space, VA), Some(Level::Pte));
        assert_eq!(mm.stats.total(Event::ThpFaultFallback), 1);
        assert_eq!(mm.stats.total(Event::ThpFaultAlloc), 0);
        pages.into_iter().for_each(|pfn| mm.free(pfn));
        drop(space);
        untouched.check(&world);
    }
}

/// However many pages there are when a fault runs out of them, it says so, nothing is lost, and with
/// memory again the same fault succeeds.
#[test]
fn a_fault_may_run_out_at_any_point() {
    for huge in [Huge::Never, Huge::Default] {
        for left in 0..8 {
            let world = SimWorld::new(Config { pages: 1024, ..machines()[0] });
            let mm = world.mm();
            let untouched = Untouched::new(&world);
            let space = Space::new(mm).expect("memory");
            space.map(Place::At(VA), PMD_SIZE, RW, huge).expect("free");
            let mut hoard = Vec::new();
            while let Ok(pfn) = mm.alloc(Order::PAGE) {
                hoard.push(pfn);
            }
            for pfn in hoard.split_off(hoard.len() - left) {
                mm.free(pfn);
            }
            let outcome = space.fault(VA, Access::Write);
            // Three tables on the way and the page.
            if left < 4 {
                let oom = OutOfMemory { order: Order::PAGE };
                assert_eq!(outcome, FaultOutcome::OutOfMemory(oom), "{left} pages left");
                assert_eq!(space.fault(VA, Access::Write), outcome, "and again");
                assert_eq!(count(&world, Kind::Folio), 0);
                assert_eq!(leaf_level(&space, VA), None);
            } else {
                assert_eq!(outcome, FaultOutcome::Mapped);
            }
            assert_eq!(count(&world, Kind::Table), 1 + left.min(3));
            hoard.into_iter().for_each(|pfn| mm.free(pfn));
            world.inside(&space, &mut || {
                assert_eq!(world.store(&space, VA, 42), Ok(()));
                assert_eq!(world.load(&space, VA), Ok(42));
            });
            drop(space);
            untouched.check(&world);
        }
    }
}

#[test]
fn a_space_without_a_root_is_an_error() {
    let world = SimWorld::new(Config { pages: 1, ..machines()[0] });
    let untouched = Untouched::new(&world);
    let only = Space::new(world.mm()).expect("one page");
    let error = Space::new(world.mm()).err();
    assert_eq!(error, Some(OutOfMemory { order: Order::PAGE }));
    drop(only);
    untouched.check(&world);
}

/// Memory used up by a space, given back in pieces, and used again: what was not unmapped keeps its
/// content through it all.
#[test]
fn a_full_machine_goes_on_when_memory_returns() {
    for config in machines() {
        let world = SimWorld::new(Config { pages: 80, ..config });
        let untouched = Untouched::new(&world);
        let space = Space::new(world.mm()).expect("memory");
        space.map(Place::At(VA), 512 * PAGE_SIZE, RW, Huge::Never).expect("free");
        let va = |page: u64| VA + page * PAGE_SIZE;
        world.inside(&space, &mut || {
            let mut filled = 0;
            let outcome = loop {
                match world.store(&space, va(filled), filled + 1) {
                    Ok(()) => filled += 1,
                    Err(outcome) => break outcome,
                }
            };
            assert!(matches!(outcome, FaultOutcome::OutOfMemory(_)));
            assert_eq!(filled, 76, "all but four tables");
            space.unmap(VirtRange::new(va(10), va(20))).expect("memory");
            for page in (0..10).chain(20..76) {
                assert_eq!(world.load(&space, va(page)), Ok(page + 1));
            }
            // Reading takes one page of zeros for all; writing takes the other nine.
            for page in 100..110 {
                assert_eq!(world.load(&space, va(page)), Ok(0), "reused pages are cleared");
            }
            for page in 100..109 {
                assert_eq!(world.store(&space, va(page), page), Ok(()));
            }
            assert!(matches!(world.store(&space, va(109), 1), Err(FaultOutcome::OutOfMemory(_))));
            assert_eq!(world.load(&space, va(109)), Ok(0), "nothing was changed");
            for page in (0..10).chain(20..76) {
                assert_eq!(world.load(&space, va(page)), Ok(page + 1));
            }
        });
        drop(space);
        untouched.check(&world);
    }
}

#[test]
#[should_panic(expected = "a running address space was dropped")]
fn a_running_space_cannot_be_dropped() {
    let world = SimWorld::new(machines()[0]);
    let space = Space::new(world.mm()).expect("memory");
    space.enter();
    drop(space);
}
