//! Each step of a collapse, taken away and missed.

use super::against::{Kind, Other, Weave, against};
use super::scene::{
    NEXT, VA, WHOLE, bare, check, config, frame, huge, litter, page, parted, stamp, write, written,
};
use crate::common::machines;
use crate::common::races::{at_each_step, misses, translation, wrong};
use abi::Access;
use granule_machine::{Config, Machine, SimWorld};
use mm::mutant::Mutant;
use mm::{Advice, Collapsed, Space};
use std::sync::Mutex;
use stress::World;

/// What a panic said.
fn said(panic: Box<dyn std::any::Any + Send>) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or(panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
}

/// What goes wrong when `body` is run on a machine with the bug.
fn alone(mutant: Option<Mutant>, base: Config, body: impl FnOnce(&SimWorld)) -> Option<String> {
    let run = || {
        let world = SimWorld::new(config(base, 1));
        world.mm().arm(mutant);
        body(&world);
        wrong(&world)
    };
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).unwrap_or_else(|it| Some(said(it)))
}

/// A space that stays: what a bug has left of it is better not taken apart.
fn kept(space: Space<'_, Machine>) -> &Space<'_, Machine> {
    Box::leak(Box::new(space))
}

/// Whatever comes in between a collapse and the others, with dice, until something is wrong.
fn woven(mutant: Option<Mutant>, pairs: &[(Kind, Other)], seeds: u64) -> Option<String> {
    (1..seeds).find_map(|seed| {
        pairs.iter().find_map(|&(kind, other)| {
            let base = Config { seed, ..machines()[seed as usize % 4] };
            let run = || against(base, kind, other, Weave::Dice, mutant);
            std::panic::catch_unwind(run).err().map(said)
        })
    })
}

/// Somebody is in the table without a lock while it is freed.
#[test]
fn walkers_are_waited_for() {
    let scenario = |mutant| {
        at_each_step(1, |steps| {
            let world = SimWorld::new(config(machines()[0], 2));
            let space = kept(written(&world, 0..4));
            world.mm().arm(mutant);
            let got = Mutex::new(None);
            let reached = world.intrude(
                steps,
                &|| *got.lock().expect("alone") = space.gup_fast(VA, Access::Read),
                &|| {
                    let _ = space.collapse(VA);
                },
            );
            drop(got);
            reached.then(|| wrong(&world).map_or(Ok(()), Err))
        })
    };
    misses(scenario, &[Mutant::CollapseNoGrace]);
}

/// The table is somebody else's at once when it is put aside: here its neighbour is split meanwhile.
#[test]
fn a_table_is_put_aside_when_nobody_is_in_it() {
    let look = |mutant, seed| {
        let world = SimWorld::new(Config { seed, ..config(machines()[0], 3) });
        let space = kept(parted(&world));
        world.inside(space, &mut || world.store(space, NEXT, 1).expect("memory"));
        world.mm().arm(mutant);
        let head = frame(space, 0);
        let strange = Mutex::new(None);
        let body = |cpu| match cpu {
            0 => {
                for _ in 0..40 {
                    if let Some(found) = translation(space, page(3))
                        && found != head + 3
                    {
                        *strange.lock().expect("alone") = Some(format!("{found} is seen"));
                    }
                }
            }
            1 => {
                let _ = space.collapse(VA);
            }
            _ => {
                (0..seed % 300).for_each(|_| world.yield_now());
                space.split_block(NEXT);
            }
        };
        world.run(3, &body, &mut || ());
        strange.into_inner().expect("alone").or_else(|| wrong(&world))
    };
    let scenario = |mutant: Option<Mutant>| {
        (1..if mutant.is_none() { 60 } else { 2000 }).find_map(|seed| look(mutant, seed))
    };
    misses(scenario, &[Mutant::CollapseDepositEarly]);
}

/// What a CPU has cached of the pages, or of the way to them, is gone before they are somebody else's.
#[test]
fn everything_that_is_cached_is_flushed() {
    let scenario = |mutant| {
        machines().into_iter().find_map(|base| {
            alone(mutant, base, |world| {
                let space = kept(written(world, 0..512));
                world.inside(space, &mut || {
                    for n in 0..512 {
                        assert_eq!(world.load(space, page(n)), Ok(stamp(n)));
                    }
                    assert_eq!(space.collapse(VA), Ok(Collapsed::Copied));
                    for n in 0..512 {
                        assert_eq!(world.load(space, page(n)), Ok(stamp(n)));
                    }
                });
            })
        })
    };
    misses(scenario, &[Mutant::CollapseLevelHint]);
}

/// A pin comes after the look for pins and before the table goes.
#[test]
fn pins_are_looked_for_when_none_can_come() {
    let scenario = |mutant| woven(mutant, &[(Kind::Few, Other::Pin)], 200);
    misses(scenario, &[Mutant::CollapsePinsFirst]);
}

#[test]
fn what_is_held_is_not_copied() {
    let scenario = |mutant| {
        alone(mutant, machines()[0], |world| {
            let space = kept(written(world, 0..9));
            let pin = space.pin(page(3), Access::Write).expect("mapped");
            let _ = space.collapse(VA);
            assert_eq!(frame(space, 3), pin.pfn(), "the program sees another page than the device");
        })
    };
    misses(scenario, &[Mutant::CollapseHeld]);
}

#[test]
fn holes_are_filled_with_zeros() {
    let scenario = |mutant| {
        alone(mutant, machines()[0], |world| {
            litter(world);
            let space = kept(written(world, 0..9));
            let _ = space.collapse(VA);
            check(world, space, 0..9);
        })
    };
    misses(scenario, &[Mutant::CollapseHolesLeft]);
}

#[test]
fn faults_are_kept_out() {
    let pairs = [(Kind::Few, Other::StoreHole), (Kind::Shared, Other::Store)];
    let scenario = |mutant| woven(mutant, &pairs, 60);
    misses(scenario, &[Mutant::CollapseUnexcluded]);
}

#[test]
fn the_content_is_there_before_the_mapping() {
    let scenario = |mutant| woven(mutant, &[(Kind::Few, Other::Load)], 100);
    misses(scenario, &[Mutant::CollapseCopiesLate]);
}

#[test]
fn what_others_share_is_not_written() {
    let scenario = |mutant| {
        alone(mutant, machines()[0], |world| {
            let space = kept(parted(world));
            let child = kept(space.fork().expect("memory"));
            assert_eq!(space.collapse(VA), Ok(Collapsed::InPlace));
            world.inside(space, &mut || world.store(space, page(7), 1).expect("an area"));
            check(world, child, 0..512);
        })
    };
    misses(scenario, &[Mutant::CollapseOwnsShared]);
}

/// One page of a huge folio was copied since: it is a folio of its own.
#[test]
fn pages_of_other_folios_are_not_overlooked() {
    let scenario = |mutant| {
        alone(mutant, machines()[0], |world| {
            let space = kept(parted(world));
            let _child = kept(space.fork().expect("memory"));
            world.inside(space, &mut || world.store(space, page(7), 1).expect("an area"));
            let _ = space.collapse(VA);
            world.inside(space, &mut || {
                assert_eq!(world.load(space, page(7)), Ok(1), "what was written is lost");
            });
        })
    };
    misses(scenario, &[Mutant::CollapseOverlooksPages]);
}

#[test]
fn history_is_not_lost() {
    let scenario = |mutant| {
        alone(mutant, machines()[1], |world| {
            let space = kept(parted(world));
            space.advise(WHOLE, Advice::Free).expect("an area");
            world.inside(space, &mut || world.store(space, page(300), 1).expect("an area"));
            assert_eq!(space.collapse(VA), Ok(Collapsed::InPlace));
            assert!(huge(space).is_dirty(), "written, and nobody knows");
        })
    };
    misses(scenario, &[Mutant::CollapseFirstHistory]);
}

#[test]
fn mappings_are_counted() {
    let scenario = |mutant| {
        alone(mutant, machines()[0], |world| {
            let space = kept(parted(world));
            assert_eq!(space.collapse(VA), Ok(Collapsed::InPlace));
        })
    };
    misses(scenario, &[Mutant::CollapseKeepsMappings]);
}

#[test]
fn a_refused_collapse_changes_nothing() {
    let scenario = |mutant| {
        alone(mutant, machines()[0], |world| {
            let space = kept(bare(world));
            world.mm().thp.set_enabled(mm::thp::Policy::Never);
            write(world, space, 0..9);
            let held = space.gup(page(3), Access::Read).expect("mapped");
            assert!(space.collapse(VA).is_err());
            drop(held);
            check(world, space, 0..9);
        })
    };
    misses(scenario, &[Mutant::CollapseForgetsTable]);
}
