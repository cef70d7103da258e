//! What TLBs, walk caches and walkers may still have.

use super::stage::{
    KINDS, Kind, PAGES, RW, Scene, VA, block, everywhere, fork_kept, frame, intruded, judged, kept,
    page, pages,
};
use crate::common::machines;
use crate::common::races::{at_each_step, misses};
use abi::{Access, PAGE_SIZE, PMD_SIZE, Prot};
use granule_machine::{Config, Machine};
use mm::mutant::Mutant;
use mm::{Advice, Destination, FaultOutcome, Hardware, Huge, MigrateError, Move, Place, Space};
use stress::World;

fn text(error: impl ToString) -> String {
    error.to_string()
}

/// Always: memory that is freed or given to somebody else is in nobody's TLB: every CPU has forgotten it
/// before, by a TLBI that names its address and its space and that was waited for.
#[test]
fn i30_t1_t4_freed_memory_is_in_no_tlb() {
    let scenario = |mutant| {
        everywhere(mutant, &KINDS, |scene| {
            // The second, so that its number is not the first one's neighbour.
            let (first, space) = (scene.space(), scene.space());
            scene.run_everywhere(first);
            scene.run_everywhere(space);
            space.advise(pages(1, 1), Advice::DontNeed).map_err(text)?;
            scene.wrong().map_or(Ok(()), Err)?;
            // A copy for the child, in the place of what was shared.
            let child = kept(space.fork().map_err(text)?);
            scene.run_everywhere(child);
            scene.write(child, 1000);
            for range in [pages(0, 1), pages(1, 200)] {
                scene.run_everywhere(space);
                let mut unmapped = Ok(());
                scene.world.inside(space, &mut || unmapped = space.unmap(range));
                unmapped.map_err(text)?;
                scene.wrong().map_or(Ok(()), Err)?;
            }
            // Somebody else has the memory now.
            let other = scene.space();
            scene.write(other, 9000);
            space.unmap(block(0)).map_err(text)?;
            scene.misread(child, 1000).map_or(Ok(()), Err)
        })
    };
    let bugs = [
        Mutant::UnmapNoTlbi,
        Mutant::UnmapLocalTlbi,
        Mutant::FreeBeforeFlush,
        Mutant::NoPublish,
        Mutant::NoComplete,
        Mutant::WrongAsid,
        Mutant::ReplaceNoFlush,
        Mutant::FirstCpuOnly,
        Mutant::TlbiNotRepeated,
        Mutant::FlushNoIsb,
    ];
    misses(scenario, &bugs);
}

/// Always: one address has one translation: what must not be beside its like is broken, flushed and made.
#[test]
fn i31_t5_t6_one_address_has_one_translation() {
    let scenario = |mutant| {
        everywhere(mutant, &KINDS, |scene| {
            let space = scene.space();
            scene.run_everywhere(space);
            space.split_block(VA);
            scene.run_everywhere(space);
            // Takes a set apart, and puts a copy in the place of a page.
            space.protect(pages(15, 1), Prot::Read).map_err(text)?;
            let child = kept(space.fork().map_err(text)?);
            scene.run_everywhere(child);
            scene.write(child, 1000);
            scene.misread(child, 1000).map_or(Ok(()), |what| match what.starts_with("page 15") {
                // It may not be written.
                true => Ok(()),
                false => Err(what),
            })
        })
    };
    let bugs = [Mutant::SplitNoBreak, Mutant::ContNoBreak, Mutant::ReplaceSetBeforeFlush];
    misses(scenario, &bugs);
}

/// Nobody may still use what lay in the first `n` pages; only that with which he can write, where `written`.
fn forgotten(scene: &Scene, n: u64, written: bool) -> Result<(), String> {
    let there = |old: &granule_machine::Translation| {
        PAGES.iter().any(|at| *at < n && old.range.contains(page(*at)))
            && (!written || old.leaf.is_some_and(|leaf| leaf.is_writable()))
    };
    let still = scene.world.mm().hw.stale().into_iter().find(there);
    still.map_or(Ok(()), |old| Err(format!("a CPU may still use {old:?}")))
}

/// Takes mappings away for a while, and holds no lock while they are gone.
const MOVES: [fn(&Space<'_, Machine>); 2] = [
    |space| drop(space.freeze_folio_at(VA)),
    |space| {
        let mut moved = [Err(MigrateError::NotMapped); 3];
        let _ = space.move_pages(&[VA, page(1), page(15)], Destination::Anywhere, &mut moved);
    },
];

/// Always: when a table's lock is released after something was taken away under a claim, either the flush is
/// done, or what stands there says that it may still be cached: a migration entry. Whoever finds nothing
/// there owes nothing, and whoever unmaps such an entry flushes.
#[test]
fn i32_t18_what_is_pending_when_the_lock_goes_can_be_seen() {
    let forget = |space: &Space<'_, Machine>| {
        space.advise(pages(0, 16), Advice::DontNeed).expect("an area");
    };
    let scenario = |mutant| {
        [forget as fn(&Space<'_, Machine>), MOVES[0], MOVES[1]].iter().find_map(|work| {
            intruded(mutant, &[Kind::Small, Kind::Sets], 1, work, |scene, space| {
                // Finds nothing, and returns; or does it itself.
                space.advise(pages(0, 16), Advice::DontNeed).map_err(text)?;
                if frame(space, VA).is_none() { forgotten(scene, 16, false) } else { Ok(()) }
            })
        })
    };
    misses(scenario, &[Mutant::DontneedFlushLate, Mutant::MigrationNotCached]);
}

/// When memory has been given up, nobody uses what a migration has taken out of it meanwhile.
#[test]
fn i32_what_is_given_up_is_not_used_as_it_was_before_it_moved() {
    let scenario = |mutant| {
        MOVES.iter().find_map(|work| {
            intruded(mutant, &KINDS, 1, work, |scene, space| {
                let range = if scene.kind == Kind::Huge { block(0) } else { pages(0, 16) };
                space.advise(range, Advice::Free).map_err(text)?;
                if frame(space, VA).is_none() { forgotten(scene, 16, false) } else { Ok(()) }
            })
        })
    };
    misses(scenario, &[Mutant::MigrationNotCached]);
}

/// Where there is no area nobody keeps the tables: whoever is asked about it does not read any.
#[test]
fn i33_tables_are_not_read_where_there_is_no_area() {
    let beside = VA + PMD_SIZE;
    let work = |space: &Space<'_, Machine>| {
        let mut moved = [Ok(abi::Pfn(0))];
        space.move_pages(&[beside], Destination::Anywhere, &mut moved).expect("memory");
        assert_eq!(moved, [Err(MigrateError::NotMapped)]);
        space.split_block(beside);
        // Something to come between, also if the above takes no step.
        let _ = space.fault(page(3), Access::Write);
    };
    let found = intruded(None, &[Kind::Small], 1, work, |_, space| {
        // All tables go with the only area.
        space.unmap(block(0)).map_err(text)
    });
    assert_eq!(found, None);
}

/// Whoever weakens a migration entry flushes what it was: when a change of rights is over, nobody can write.
#[test]
fn i32_t22_rights_that_go_from_a_migration_entry_go_from_tlbs() {
    let scenario = |mutant| {
        MOVES.iter().find_map(|work| {
            intruded(mutant, &KINDS, 3, work, |scene, space| {
                space.protect(block(0), Prot::Read).map_err(text)?;
                forgotten(scene, 512, true)
            })
        })
    };
    misses(scenario, &[Mutant::MigrationNotCached]);
}

/// Whoever shares a migration entry does: when a fork is over, the parent writes to nothing that is shared.
#[test]
fn i35_a_fork_flushes_what_migration_entries_were() {
    let scenario = |mutant| {
        MOVES.iter().find_map(|work| {
            intruded(mutant, &KINDS, 3, work, |scene, space| {
                kept(space.fork().map_err(text)?);
                forgotten(scene, 512, true)
            })
        })
    };
    misses(scenario, &[Mutant::MigrationNotCached]);
}

/// Whoever moves one does: when a move is over, nobody uses the old addresses.
#[test]
fn i32_a_moved_migration_entry_is_forgotten_where_it_was() {
    let scenario = |mutant| {
        [pages(0, 16), block(0)].into_iter().find_map(|range| {
            MOVES.iter().find_map(|work| {
                intruded(mutant, &KINDS, 3, work, |scene, space| {
                    let to = Move::To(VA + 4 * PMD_SIZE);
                    space.remap(range, range.bytes(), to).map_err(text)?;
                    forgotten(scene, range.pages(), false)
                })
            })
        })
    };
    misses(scenario, &[Mutant::RemapWithOwed]);
}

/// A table takes the place of a huge migration entry only when nobody has the block cached.
#[test]
fn i31_a_table_comes_after_the_flush_of_the_block() {
    let scenario = |mutant| {
        MOVES.iter().find_map(|work| {
            at_each_step(1, |steps| {
                let mut reached = false;
                let scene = Scene::plain(Kind::Huge, mutant);
                let found = judged(&scene, |scene| {
                    let space = scene.space();
                    // While the child's entry is taken out, the parent's is not flushed.
                    fork_kept(space);
                    let inside = |work: &dyn Fn()| scene.world.inside(space, &mut || work());
                    // What a CPU has cached counts while it runs the space.
                    let work = || inside(&|| work(space));
                    let split = || inside(&|| space.split_block(VA));
                    scene.run_everywhere(space);
                    reached = scene.world.intrude(steps, &work, &split);
                    Ok(())
                });
                found.map_or(reached.then_some(Ok(())), |what| Some(Err(what)))
            })
        })
    };
    misses(scenario, &[Mutant::SplitMigrationUnflushed]);
}

/// Always: a table that is freed is in no walk cache, and no walker is inside.
#[test]
fn i33_t2_t3_a_freed_table_has_no_walker() {
    let tables = |mutant| {
        everywhere(mutant, &KINDS, |scene| {
            let space = scene.space();
            scene.run_everywhere(space);
            space.split_block(VA);
            scene.run_everywhere(space);
            space.unmap(block(0)).map_err(text)?;
            scene.wrong().map_or(Ok(()), Err)?;
            // Whoever gets the pages of the tables writes what he likes.
            let other = scene.space();
            scene.write(other, 1000);
            scene.run_everywhere(space);
            Ok(())
        })
    };
    misses(tables, &[Mutant::TablesLastLevel]);
    let walkers = |mutant| {
        intruded(
            mutant,
            &[Kind::Small],
            1,
            |space| drop(space.gup_fast(VA, Access::Read)),
            |_, space| space.unmap(block(0)).map_err(text),
        )
    };
    misses(walkers, &[Mutant::GupNoEpoch, Mutant::NoGrace]);
}

/// Always: a copy is made of what nobody can write to any more: it is what the last one wrote.
#[test]
fn i34_a_copy_is_of_what_was_written_last() {
    let scenario = |mutant| {
        everywhere(mutant, &KINDS, |scene| {
            let space = scene.space();
            let world = &scene.world;
            let mut found = None;
            world.inside(space, &mut || {
                // This CPU may go on writing through what it has cached.
                for n in PAGES {
                    let _ = world.store(space, page(n), 1000 + n);
                }
                let Ok(child) = space.fork().map(kept) else { return };
                for n in PAGES {
                    let _ = child.fault(page(n), Access::Write);
                    let _ = world.store(space, page(n), 2000 + n);
                }
                let hw = &world.mm().hw;
                found = PAGES.into_iter().find_map(|n| {
                    let copy = frame(child, page(n)).map(|pfn| hw.peek(pfn.base()));
                    (copy != Some(1000 + n)).then(|| format!("the copy of page {n} has {copy:?}"))
                });
            });
            found.map_or(Ok(()), Err)
        })
    };
    misses(scenario, &[Mutant::ForkKeepsWritable, Mutant::CowReuseShared]);
}

/// Always: when a fork has returned, no CPU writes to what is shared.
#[test]
fn i35_after_a_fork_nobody_writes_to_what_is_shared() {
    let scenario = |mutant| {
        (1..8).find_map(|seed| {
            KINDS.iter().find_map(|&kind| {
                let config = Config { seed, ..machines()[seed as usize % 4] };
                let scene = Scene::new(config, kind, mutant);
                judged(&scene, |scene| {
                    let (world, space) = (&scene.world, scene.space());
                    let mut child = None;
                    world.inside(space, &mut || {
                        let _ = world.store(space, VA, 1);
                        child = space.fork().ok().map(kept);
                        let _ = world.store(space, VA, 2);
                    });
                    let Some(child) = child else { return Err("no memory".into()) };
                    let mut seen = None;
                    world.inside(child, &mut || seen = world.load(child, VA).ok());
                    (seen == Some(1)).then_some(()).ok_or(format!("the child reads {seen:?}"))
                })
            })
        })
    };
    misses(scenario, &[Mutant::ForkNoFlush, Mutant::ForkKeepsWritable]);
}

/// An entry that says that it was never accessed is flushed before its page is freed, like any.
#[test]
fn t7_an_entry_that_looks_unused_is_flushed_like_any() {
    let scenario = |mutant| {
        everywhere(mutant, &KINDS, |scene| {
            let space = scene.space();
            scene.run_everywhere(space);
            // Old and clean from here on, and used all the same: by hardware, or by a fault.
            space.advise(block(0), Advice::Free).map_err(text)?;
            scene.run_everywhere(space);
            for n in PAGES {
                let (level, slot, entry) = super::stage::entry(space, page(n));
                let Some(leaf) = entry.leaf() else { continue };
                // As if another CPU had cached it, and software had made it old without a flush.
                let _ = (level, scene.world.mm().hw.swap(slot, leaf.word() & !pte::bits::AF));
            }
            space.unmap(block(0)).map_err(text)
        })
    };
    misses(scenario, &[Mutant::UnmapNoTlbi]);
}

/// Always: when a call that takes rights or memory away has returned, no CPU has them, even if another
/// thread did the clearing.
#[test]
fn t19_what_was_taken_away_is_gone_when_the_call_returns() {
    type Change = (&'static str, fn(&Space<'_, Machine>));
    let changes: [Change; 3] = [
        ("protect", |space| space.protect(block(0), Prot::Read).expect("memory")),
        ("remap", |space| {
            let _ = space.remap(block(0), PMD_SIZE, Move::To(block(3).start)).expect("free");
        }),
        ("unmap", |space| space.unmap(block(0)).expect("memory")),
    ];
    let scenario = |mutant| {
        changes.iter().find_map(|(what, change)| {
            (1..6).find_map(|seed| {
                KINDS.iter().find_map(|&kind| {
                    let config = Config { seed, ..machines()[seed as usize % 4] };
                    let scene = Scene::new(config, kind, mutant);
                    judged(&scene, |scene| {
                        let (world, space) = (&scene.world, scene.space());
                        scene.run_everywhere(space);
                        let mut stored = false;
                        world.inside(space, &mut || {
                            let _ = world.store(space, VA, 1);
                            change(space);
                            stored = world.store(space, VA, 2).is_ok();
                        });
                        (!stored).then_some(()).ok_or(format!("a store got through after {what}"))
                    })
                })
            })
        })
    };
    misses(scenario, &[Mutant::ProtectNoFlush, Mutant::RemapNoFlush, Mutant::UnmapNoTlbi]);
}

/// A whole space is forgotten in one operation only when nobody can run it: one that runs cannot be
/// dropped, and one that is dropped goes with one operation however much it had.
#[test]
fn t20_only_a_space_that_nobody_runs_is_forgotten_whole() {
    for config in machines() {
        let scene = Scene::new(config, Kind::Huge, None);
        let world = &scene.world;
        let space = Space::new(world.mm()).expect("memory");
        space.map(Place::At(VA), 2 * PMD_SIZE, RW, Huge::Default).expect("free");
        assert_eq!(space.fault(VA, Access::Write), FaultOutcome::Mapped);
        assert_eq!(space.fault(VA + PMD_SIZE + PAGE_SIZE, Access::Write), FaultOutcome::Mapped);
        scene.run_everywhere(&space);
        let ops = || {
            let total = |event| world.mm().stats.total(event);
            [abi::Event::TlbiAsid, abi::Event::TlbiAll, abi::Event::TlbiVa, abi::Event::TlbiVaLast]
                .map(total)
        };
        let before = ops();
        drop(space);
        let after = ops();
        let issued: [u64; 4] = core::array::from_fn(|n| after[n] - before[n]);
        assert_eq!(issued, [1, 0, 0, 0], "{:?}", config.caps);
        assert_eq!(scene.wrong(), None);
        let running = Space::new(world.mm()).expect("memory");
        running.enter();
        let dropped = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(running)));
        assert!(dropped.is_err(), "a space that runs was dropped");
    }
}
