//! Waiting ends.

use super::stage::{KINDS, Kind, Scene, VA, everywhere, intruded, judged, kept, page};
use crate::common::races::misses;
use abi::{Access, Event, Order};
use granule_machine::{Config, Machine};
use mm::mutant::Mutant;
use mm::{FaultOutcome, Space, SplitError};
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use stress::World;

fn text(error: impl ToString) -> String {
    error.to_string()
}

/// Always: who waits for a migration goes on when it is over; the slow way to a reference ends; and a folio
/// that nobody holds can be split and frozen, however many spaces have it, and whatever they do.
#[test]
fn i90_waiting_ends() {
    for kind in KINDS {
        for seed in 1..6 {
            let scene = Scene::new(Config { seed, ..Config::default() }, kind, None);
            let found = judged(&scene, |scene| {
                let (world, space) = (&scene.world, scene.space());
                let stage = AtomicU32::new(0);
                let body = |cpu| {
                    if cpu == 0 {
                        let frozen = space.freeze_folio_at(VA).expect("nobody holds it");
                        stage.store(1, SeqCst);
                        while world.mm().stats.total(Event::MigrationWait) == 0 {
                            world.yield_now();
                        }
                        stage.store(2, SeqCst);
                        drop(frozen);
                    } else {
                        while stage.load(SeqCst) == 0 {
                            world.yield_now();
                        }
                        let waited = space.fault(VA, Access::Write);
                        assert!(!matches!(waited, FaultOutcome::Denied(_)), "{waited:?}");
                        drop(space.pin(VA, Access::Write).expect("it comes back"));
                        assert_eq!(stage.load(SeqCst), 2, "nobody waited");
                    }
                };
                world.run(2, &body, &mut || ());
                Ok(())
            });
            assert_eq!(found, None, "{kind:?}, seed {seed}");
        }
    }
    let shared = |mutant| {
        everywhere(mutant, &[Kind::Sets, Kind::Huge], |scene| {
            let space = scene.space();
            let mut others = Vec::new();
            for _ in 0..4 {
                others.push(kept(space.fork().map_err(text)?));
            }
            drop(space.freeze_folio_at(VA).map_err(text)?);
            others[2].split_folio_at(VA, Order(2)).map_err(text)?;
            space.split_folio_at(VA, Order::PAGE).map_err(text)
        })
    };
    misses(shared, &[Mutant::WalkStopsEarly]);
    // Whoever splits the entry at any step of the walk does not hide it.
    let meets = {
        let splits = |space: &Space<'_, Machine>| space.split_block(VA);
        intruded(None, &[Kind::Huge], 1, splits, |_, space| {
            match space.split_folio_at(page(1), Order::PAGE) {
                Ok(()) | Err(SplitError::NotMapped) => Ok(()),
                Err(busy) => Err(busy.to_string()),
            }
        })
    };
    assert_eq!(meets, None);
}
