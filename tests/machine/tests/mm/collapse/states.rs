//! Each thing that a block may consist of, and what its collapse makes of it.

use super::scene::{
    RW, VA, WHOLE, bare, by_pages, check, collapsed, entry, frame, huge, is_own, litter, on, page,
    parted, stamp, write, written,
};
use crate::common::machines;
use abi::{Access, Event, Level, PAGE_SIZE, PMD_SIZE, Prot, VirtRange};
use granule_machine::SimWorld;
use mm::thp::Policy;
use mm::{Advice, Collapsed, FaultOutcome, Huge, Move};
use stress::World;

/// Runs a scenario on each kind of machine.
fn everywhere(scenario: impl Fn(&SimWorld)) {
    machines().into_iter().for_each(|base| on(base, &scenario));
}

#[test]
fn pages_become_one() {
    everywhere(|world| {
        let space = written(world, 0..512);
        let tables = world.mm().stats.total(Event::PgTableAlloc);
        collapsed(&space, Collapsed::Copied);
        let leaf = huge(&space);
        assert!(leaf.is_writable() && leaf.is_dirty() && leaf.is_young(), "{leaf:?}");
        check(world, &space, 0..512);
        assert!(is_own(&space));
        assert_eq!(world.mm().stats.total(Event::PgTableAlloc), tables + 1);
        // It can be split, which needs the table that was put aside, and collapsed again.
        space.split_block(VA);
        collapsed(&space, Collapsed::InPlace);
        check(world, &space, 0..512);
        collapsed(&space, Collapsed::Already);
    });
}

#[test]
fn what_was_never_written_is_zero() {
    for pages in [0..1, 511..512, 100..300] {
        everywhere(|world| {
            litter(world);
            let space = written(world, pages.clone());
            collapsed(&space, Collapsed::Copied);
            check(world, &space, pages.clone());
        });
    }
}

#[test]
fn zeros_that_were_only_read_become_memory() {
    everywhere(|world| {
        litter(world);
        let space = written(world, 9..12);
        by_pages(world, || {
            for n in [0, 8, 12, 511] {
                assert_eq!(space.fault(page(n), Access::Read), FaultOutcome::Mapped);
            }
        });
        collapsed(&space, Collapsed::Copied);
        check(world, &space, 9..12);
        assert!(is_own(&space));
    });
}

#[test]
fn folios_of_every_size_are_copied() {
    everywhere(|world| {
        let space = written(world, 0..5);
        // A table is there, so the largest that fits is 64 KiB.
        write(world, &space, 5..200);
        assert!(world.mm().stats.total(Event::Anon64kAlloc) > 10);
        // A part of one is gone.
        space.unmap(VirtRange::from_size(page(100), 2 * PAGE_SIZE)).expect("memory");
        space.map(mm::Place::At(page(100)), 2 * PAGE_SIZE, RW, Huge::Default).expect("free");
        by_pages(world, || write(world, &space, 100..102));
        collapsed(&space, Collapsed::Copied);
        check(world, &space, 0..200);
    });
}

#[test]
fn the_parts_of_a_huge_folio_are_copied_when_they_are_not_all_there() {
    everywhere(|world| {
        let space = parted(world);
        space
            .advise(VirtRange::from_size(page(511), PAGE_SIZE), Advice::DontNeed)
            .expect("an area");
        let before = frame(&space, 0);
        collapsed(&space, Collapsed::Copied);
        assert_ne!(frame(&space, 0), before);
        check(world, &space, 0..511);
        assert_eq!(world.mm().deferred_folios(), 0, "the old folio is gone");
    });
}

#[test]
fn what_others_share_is_copied() {
    everywhere(|world| {
        let space = written(world, 0..300);
        let child = space.fork().expect("memory");
        let before = frame(&space, 3);
        collapsed(&space, Collapsed::Copied);
        assert_ne!(frame(&space, 3), before);
        assert_eq!(frame(&child, 3), before, "the other one keeps what it had");
        assert!(is_own(&space), "a copy is nobody else's");
        world.inside(&space, &mut || world.store(&space, page(3), 1).expect("mapped"));
        check(world, &child, 0..300);
        collapsed(&child, Collapsed::Copied);
        check(world, &child, 0..300);
    });
}

#[test]
fn a_huge_folio_that_is_mapped_by_pages_stays_where_it_is() {
    everywhere(|world| {
        let space = parted(world);
        let (before, stats) = (frame(&space, 0), &world.mm().stats);
        let copies = stats.total(Event::PgCopy);
        collapsed(&space, Collapsed::InPlace);
        assert_eq!(huge(&space).pfn(), before);
        assert_eq!(stats.total(Event::ThpCollapseAlloc), 0, "no memory is needed");
        assert_eq!(stats.total(Event::PgCopy), copies);
        assert!(huge(&space).is_writable() && huge(&space).is_dirty());
        check(world, &space, 0..512);
        assert!(is_own(&space));
    });
}

#[test]
fn a_huge_folio_that_others_share_stays_shared() {
    everywhere(|world| {
        let space = parted(world);
        let child = space.fork().expect("memory");
        let before = frame(&space, 0);
        collapsed(&space, Collapsed::InPlace);
        collapsed(&child, Collapsed::InPlace);
        assert_eq!((huge(&space).pfn(), huge(&child).pfn()), (before, before));
        assert!(!huge(&space).is_writable() && !huge(&child).is_writable());
        world.inside(&space, &mut || world.store(&space, page(7), 1).expect("an area"));
        check(world, &child, 0..512);
        world.mm().audit().expect("nothing is broken");
    });
}

/// Written, read, written by one page only: the one entry knows what the 512 knew.
#[test]
fn history_is_that_of_all() {
    everywhere(|world| {
        let space = parted(world);
        space.advise(WHOLE, Advice::Free).expect("an area");
        collapsed(&space, Collapsed::InPlace);
        assert!(!huge(&space).is_dirty() && !huge(&space).is_young());
        space.split_block(VA);
        world.inside(&space, &mut || world.store(&space, page(300), 5).expect("mapped"));
        collapsed(&space, Collapsed::InPlace);
        assert!(huge(&space).is_dirty() && huge(&space).is_young());
    });
}

#[test]
fn rights_are_those_of_the_area() {
    for prot in [Prot::Read, Prot::None, Prot::ReadExec] {
        everywhere(|world| {
            for space in [written(world, 0..512), parted(world)] {
                space.protect(WHOLE, prot).expect("an area");
                assert!(space.collapse(VA).is_ok());
                world.mm().audit().expect("nothing is broken");
                assert_eq!(entry(&space, VA).0, Level::Pmd);
                space.protect(WHOLE, RW).expect("an area");
                check(world, &space, 0..512);
                assert!(is_own(&space));
            }
        });
    }
}

/// What is moved is found again by its folio's name, and has the place in a block that it had.
#[test]
fn what_was_moved_can_be_collapsed() {
    everywhere(|world| {
        let space = written(world, 0..512);
        let to = VA + 64 * PMD_SIZE + 5 * PAGE_SIZE;
        let there = space.remap(WHOLE, PMD_SIZE, Move::To(to)).expect("room");
        assert!(space.collapse(there.start).is_err(), "it lies across two blocks");
        let back = space.remap(there, PMD_SIZE, Move::To(VA + 32 * PMD_SIZE)).expect("room");
        assert_eq!(space.collapse(back.start), Ok(Collapsed::Copied));
        assert_eq!(space.split_folio_at(back.start, abi::Order::PAGE), Ok(()));
        world.mm().audit().expect("nothing is broken");
        world.inside(&space, &mut || {
            for n in 0..512 {
                assert_eq!(world.load(&space, back.start + n * PAGE_SIZE), Ok(stamp(n)));
            }
        });
    });
}

/// Advice says so of all blocks that lie in its range.
#[test]
fn advice_collapses_whole_blocks() {
    everywhere(|world| {
        let space = written(world, 0..700);
        let range = VirtRange::new(page(1), page(1024));
        space.advise(range, Advice::Collapse).expect("memory");
        assert_eq!(entry(&space, VA).0, Level::Pte, "not all of it was meant");
        assert_eq!(entry(&space, page(600)).0, Level::Pmd);
        space.advise(VirtRange::new(VA, page(1024)), Advice::Collapse).expect("memory");
        check(world, &space, 0..512);
    });
}

/// A program's wish counts more than the settings, and less than what the area has refused.
#[test]
fn who_may_ask() {
    everywhere(|world| {
        let thp = &world.mm().thp;
        thp.set_enabled(Policy::Never);
        let space = bare(world);
        write(world, &space, 0..3);
        space.advise(WHOLE, Advice::NoHuge).expect("an area");
        assert!(space.collapse(VA).is_err());
        space.advise(WHOLE, Advice::Huge).expect("an area");
        space.set_thp(Some(Policy::Never));
        assert!(space.collapse(VA).is_err());
        space.set_thp(None);
        collapsed(&space, Collapsed::Copied);
    });
}
