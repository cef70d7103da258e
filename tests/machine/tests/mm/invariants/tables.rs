//! Tables, and those that are put aside for splits.

use super::stage::{
    KINDS, Kind, PAGES, RW, Scene, VA, block, entry, everywhere, fork_kept, intruded, kept, page,
    pages,
};
use crate::common::machines;
use crate::common::races::misses;
use abi::{Access, Event, Level, Order, PAGE_SIZE, PMD_SIZE, Prot, VirtRange};
use granule_machine::Machine;
use mm::mutant::Mutant;
use mm::{FaultOutcome, Huge, Move, Place, Space};
use pte::Entry;
use stress::World;

fn text(error: impl ToString) -> String {
    error.to_string()
}

/// At rest: as many tables are put aside as there are huge entries, wherever they go and when they go.
#[test]
fn i50_as_many_tables_are_put_aside_as_there_are_huge_entries() {
    let scenario = |mutant| {
        everywhere(mutant, &[Kind::Huge], |scene| {
            let space = scene.space();
            let deposits = |n| match scene.world.mm().audit() {
                Err(broken) => Err(broken.to_string()),
                Ok(audit) if (audit.deposits, audit.pmd_leaves) == (n, n) => Ok(()),
                Ok(audit) => Err(format!("{} for {} of {n}", audit.deposits, audit.pmd_leaves)),
            };
            deposits(1)?;
            // To the end of another PMD table.
            let far = VA + Level::Pud.span() + 7 * PMD_SIZE;
            space.map(Place::At(far + PMD_SIZE), PAGE_SIZE, RW, Huge::Never).map_err(text)?;
            let _ = space.fault(far + PMD_SIZE, Access::Write);
            space.map(Place::At(block(1).start), PAGE_SIZE, RW, Huge::Never).map_err(text)?;
            let _ = space.fault(block(1).start, Access::Write);
            let moved = space.remap(block(0), PMD_SIZE, Move::To(far)).map_err(text)?;
            deposits(1)?;
            let child = kept(space.fork().map_err(text)?);
            deposits(2)?;
            child.split_block(far);
            deposits(1)?;
            space.unmap(moved).map_err(text)?;
            deposits(0)
        })
    };
    misses(scenario, &[Mutant::RemapLeavesDeposit, Mutant::ZapKeepsDeposit]);
}

/// At rest: each table that was taken is linked once or put aside, and is counted so.
#[test]
fn i51_tables_are_those_that_are_linked_and_put_aside() {
    let scenario = |mutant| {
        everywhere(mutant, &KINDS, |scene| {
            let mm = scene.world.mm();
            let agree = |when: &str| {
                let taken =
                    mm.stats.total(Event::PgTableAlloc) - mm.stats.total(Event::PgTableFree);
                let audit = mm.audit().map_err(text)?;
                let found = audit.tables + audit.deposits;
                (taken == found).then_some(()).ok_or(format!("{when}: {taken} for {found}"))
            };
            let space = scene.space();
            // A neighbour keeps the tables above.
            space.map(Place::At(block(20).start), PAGE_SIZE, RW, Huge::Never).map_err(text)?;
            let _ = space.fault(block(20).start, Access::Write);
            agree("mapped")?;
            let child = space.fork().map_err(text)?;
            agree("forked")?;
            child.split_block(VA);
            agree("split")?;
            space.remap(block(0), PMD_SIZE, Move::To(block(9).start)).map(drop).map_err(text)?;
            agree("moved")?;
            space.unmap(VirtRange::from_size(VA, 10 * PMD_SIZE)).map_err(text)?;
            agree("unmapped")?;
            drop(child);
            agree("gone")
        })
    };
    misses(scenario, &[Mutant::ZapKeepsDeposit]);
    let scene = Scene::plain(Kind::Small, None);
    let space = scene.space();
    let (_, slot, _) = entry(space, VA);
    // A second way to the table of another block.
    space.map(Place::At(block(1).start), PMD_SIZE, RW, Huge::Never).expect("free");
    assert_eq!(space.fault(block(1).start, Access::Write), FaultOutcome::Mapped);
    let mut above = None;
    scene.world.mm().walk(space.root(), block(1).start, |level, slot, _, _| {
        above = if level == Level::Pmd { Some(slot) } else { above };
    });
    let word = pte::Table::new(slot.table()).word();
    assert!(scene.audit_with(above.expect("a PMD"), word).is_some(), "not noticed");
}

/// Always: a huge page never reads as nothing to a reader without locks, at each step of what protects or
/// splits it.
#[test]
fn i51b_a_huge_page_never_reads_as_nothing() {
    let works: [fn(&Space<'_, Machine>); 5] = [
        |space| space.protect(block(0), Prot::Read).expect("memory"),
        |space| space.protect(pages(3, 4), Prot::None).expect("memory"),
        |space| space.split_block(VA),
        |space| drop(space.freeze_folio_at(VA)),
        |space| fork_kept(space),
    ];
    let scenario = |mutant| {
        works.iter().find_map(|work| {
            intruded(mutant, &[Kind::Huge], 1, work, |_, space| {
                // A contiguous set below it may be taken apart: then a page is gone for a moment.
                let gone = |n: &u64| {
                    let (level, _, entry) = entry(space, page(*n));
                    level < Level::Pte && entry == Entry::None
                };
                let gone = PAGES.into_iter().find(gone);
                gone.map_or(Ok(()), |n| Err(format!("nothing is at page {n}")))
            })
        })
    };
    misses(scenario, &[Mutant::ProtectThroughNone]);
}

/// Always: a table is linked when walkers see all of it.
#[test]
fn i52_a_table_is_seen_before_it_is_linked() {
    let scenario = |mutant| {
        (1..12).find_map(|seed| {
            machines().into_iter().find_map(|config| {
                KINDS.into_iter().find_map(|kind| {
                    let scene =
                        Scene::new(granule_machine::Config { seed, ..config }, kind, mutant);
                    super::stage::judged(&scene, |scene| {
                        // Pages that were tables with entries in them are tables again.
                        for _ in 0..3 {
                            let space = scene.space();
                            scene.run_everywhere(space);
                            space.split_block(VA);
                            scene.misread(space, 0).map_or(Ok(()), Err)?;
                            space.unmap(block(0)).map_err(text)?;
                        }
                        Ok(())
                    })
                })
            })
        })
    };
    misses(scenario, &[Mutant::LinkBeforeZero]);
}

/// Always: giving memory back takes none: with the last page gone, everything can be unmapped.
#[test]
fn t38_nothing_is_allocated_between_a_clear_and_its_free() {
    for config in machines() {
        for kind in KINDS {
            let scene = Scene::new(config, kind, None);
            let mm = scene.world.mm();
            let space = scene.space();
            let child = space.fork().expect("memory");
            scene.run_everywhere(space);
            let free = mm.frames.free_pages(&mm.hw);
            let mut taken = Vec::new();
            for order in (0..=Order::MAX.0).rev().map(Order) {
                while let Ok(block) = mm.alloc(order) {
                    taken.push(block);
                }
            }
            assert!(space.fork().is_err(), "there is no memory left");
            // All at once, piece by piece, and with the space.
            child.split_block(VA);
            space.unmap(block(0)).expect("it takes no memory");
            child.unmap(pages(100, 1)).expect("it takes no memory");
            drop(child);
            taken.into_iter().for_each(|block| mm.free(block));
            assert!(mm.frames.free_pages(&mm.hw) > free, "nothing came back");
            assert_eq!(scene.wrong(), None, "{kind:?} on {:?}", config.caps);
        }
    }
}
