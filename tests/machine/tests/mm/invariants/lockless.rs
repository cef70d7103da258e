//! References and pins without locks.

use super::stage::{
    KINDS, Kind, RW, Scene, VA, block, entry, everywhere, fork_kept, frame, head, intruded, kept,
    leaf, page, pages,
};
use crate::common::machines;
use crate::common::races::{misses, translation};
use abi::{Access, Event, Order, PMD_SIZE, Prot};
use granule_machine::Machine;
use mm::audit::FolioRule;
use mm::frame::Kind as Owned;
use mm::mutant::Mutant;
use mm::{Advice, FaultOutcome, Huge, Place, Space};
use std::sync::Mutex;
use stress::World;

fn text(error: impl ToString) -> String {
    error.to_string()
}

/// What a lockless walk for page `n` gives is what hardware would give to a program, if that stays the
/// same meanwhile.
fn as_a_program(space: &Space<'_, Machine>, n: u64) -> Result<(), String> {
    for access in [Access::Read, Access::Write] {
        let permitted = |space: &Space<'_, Machine>| {
            let usable =
                leaf(space, page(n)).is_some_and(|leaf| leaf.permits(access) && !leaf.is_special());
            let valid = matches!(entry(space, page(n)).2, pte::Entry::Leaf(_));
            (usable && valid).then(|| translation(space, page(n))).flatten()
        };
        let before = permitted(space);
        let got = space.gup_fast(page(n), access).map(|folio| folio.pfn());
        if before == permitted(space) && got != before {
            return Err(format!("{access} page {n}: {got:?} where a program gets {before:?}"));
        }
    }
    Ok(())
}

/// Always: no entry is used without locks that hardware may not use: invalid for the moment, without rights,
/// or of memory that nobody counts.
#[test]
fn i60_no_entry_is_used_that_hardware_may_not_use() {
    let works: [fn(&Space<'_, Machine>); 3] = [
        |space| space.unmap(pages(100, 1)).expect("memory"),
        |space| space.protect(block(0), Prot::None).expect("memory"),
        |space| drop(space.freeze_folio_at(VA)),
    ];
    let scenario = |mutant| {
        works.iter().find_map(|work| {
            let kinds = &[Kind::Sets, Kind::Huge];
            intruded(mutant, kinds, 3, work, |_, space| {
                [0, 1, 511].into_iter().try_for_each(|n| as_a_program(space, n))
            })
        })
    };
    misses(scenario, &[Mutant::GupTrustsPresent, Mutant::GupProtNone]);
    let zeros = |mutant| {
        everywhere(mutant, &[Kind::Small, Kind::Huge], |scene| {
            let space = scene.empty();
            space.map(Place::At(VA), PMD_SIZE, RW, Huge::Default).map_err(text)?;
            if space.fault(VA, Access::Read) != FaultOutcome::Mapped {
                return Err("no zeros".into());
            }
            as_a_program(space, 0)
        })
    };
    misses(zeros, &[Mutant::GupSpecial]);
}

/// Always: what is returned was mapped so while the reference could already be seen: it is not free, and not
/// yet somebody else's.
#[test]
fn i61_what_is_returned_was_mapped_when_the_reference_was_seen() {
    let scenario = |mutant| {
        intruded(
            mutant,
            &KINDS,
            1,
            |space| {
                let Some(folio) = space.gup_fast(page(1), Access::Read) else { return };
                let (mm, pfn) = (space.mm(), folio.pfn());
                // Mapped here, or ours alone since: not free, and nobody else's.
                let ours = frame(space, page(1)) == Some(pfn);
                let desc = mm.frames.map().desc(folio.head());
                let held =
                    desc.kind() == Owned::Folio && (desc.maps() == 0 || desc.order() > Order::PAGE);
                assert!(ours || held, "{pfn} is another's");
            },
            |_, space| {
                space.unmap(pages(1, 1)).map_err(text)?;
                // Another address gets the page, where pages are mapped one by one.
                let _ = space.fault(page(2), Access::Write);
                Ok(())
            },
        )
    };
    misses(scenario, &[Mutant::GupNoRecheck]);
}

/// Always: an attempt that failed leaves every count as it was.
#[test]
fn i62_a_failed_attempt_leaves_the_counts_as_they_were() {
    let asks: [fn(&Space<'_, Machine>); 2] = [
        |space| drop(space.gup_fast(page(1), Access::Read)),
        |space| drop(space.pin_fast(page(1), Access::Write)),
    ];
    let changes: [fn(&Space<'_, Machine>); 4] = [
        |space| space.protect(block(0), Prot::None).expect("memory"),
        |space| space.split_block(VA),
        |space| space.advise(pages(1, 1), Advice::DontNeed).expect("an area"),
        |space| fork_kept(space),
    ];
    let scenario = |mutant| {
        asks.iter().find_map(|ask| {
            changes.iter().find_map(|change| {
                intruded(mutant, &KINDS, 1, ask, |_, space| {
                    change(space);
                    Ok(())
                })
            })
        })
    };
    misses(scenario, &[Mutant::GupKeepsFailed]);
}

/// Always: a walk without locks is short and waits for nobody, whatever is locked at that moment; the way
/// with locks waits.
#[test]
fn i63_a_lockless_walk_is_bounded_and_waits_for_nobody() {
    let works: [fn(&Space<'_, Machine>); 3] = [
        |space| space.unmap(pages(1, 40)).expect("memory"),
        |space| fork_kept(space),
        |space| drop(space.freeze_folio_at(VA)),
    ];
    // Four loads down, four more to look again, counts and a fence: twice as much is too much.
    const MOST: u64 = 24;
    let took = |slow: bool| {
        let longest = Mutex::new(0);
        for work in works {
            let found = intruded(None, &[Kind::Sets, Kind::Huge], 7, work, |scene, space| {
                let hw = &scene.world.mm().hw;
                let before = hw.steps();
                if slow {
                    drop(space.gup(page(2), Access::Write));
                } else {
                    drop(space.gup_fast(page(2), Access::Write));
                    drop(space.pin_fast(page(2), Access::Write));
                }
                let steps = hw.steps() - before;
                let mut longest = longest.lock().expect("alone");
                *longest = steps.max(*longest);
                Ok(())
            });
            assert_eq!(found, None);
        }
        longest.into_inner().expect("alone")
    };
    let (fast, slow) = (took(false), took(true));
    assert!(fast <= 2 * MOST, "two walks took {fast} steps");
    assert!(slow > 2 * MOST, "the way with locks took {slow} steps: nothing was ever in the way");
}

/// At rest: there are no pins when everybody has let go, and one that is kept is found.
#[test]
fn i64_there_are_no_pins_when_all_have_let_go() {
    for config in machines() {
        for kind in KINDS {
            let scene = Scene::new(config, kind, None);
            let (mm, space) = (scene.world.mm(), scene.space());
            let head = head(space, VA);
            let mut pins: Vec<_> =
                (0..3).map(|_| space.pin(VA, Access::Write).expect("memory")).collect();
            pins.extend(space.pin_fast(VA, Access::Read));
            assert_eq!(mm.pins(head), 4, "{kind:?}");
            // Through a fork and a cut as well.
            let _child = kept(space.fork().expect("memory"));
            space.split_block(VA);
            let last = pins.pop();
            drop(pins);
            assert_eq!(mm.pins(head), 1, "{kind:?}");
            let found = super::stage::folio_rule(mm.audit().err());
            assert!(matches!(found, Some(FolioRule::References | FolioRule::Pins(_))), "{found:?}");
            drop(last);
            assert_eq!(mm.pins(head), 0);
            let total = |event| mm.stats.total(event);
            assert_eq!(total(Event::PinAcquired), total(Event::PinReleased));
            assert_eq!(scene.wrong(), None);
        }
    }
}
