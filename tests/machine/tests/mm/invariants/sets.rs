//! Contiguous sets.

use super::stage::{Kind, PAGES, Scene, VA, entry, entry_rule, everywhere, leaf, page, pages};
use crate::common::machines;
use crate::common::races::misses;
use abi::{Access, Order, Prot};
use mm::audit::EntryRule;
use mm::mutant::Mutant;
use mm::{Advice, FaultOutcome, Hardware};
use stress::World;

fn text(error: impl ToString) -> String {
    error.to_string()
}

/// Under the lock: sixteen marked entries are one aligned stretch of one folio with the same rights, and
/// all sixteen are marked or none is.
#[test]
fn i80_t8_all_of_a_set_are_alike() {
    let scenario = |mutant| {
        everywhere(mutant, &[Kind::Sets, Kind::Huge], |scene| {
            let space = scene.space();
            space.split_block(VA);
            scene.run_everywhere(space);
            space.protect(pages(15, 1), Prot::Read).map_err(text)?;
            scene.wrong().map_or(Ok(()), Err)?;
            space.advise(pages(1, 1), Advice::DontNeed).map_err(text)?;
            scene.wrong().map_or(Ok(()), Err)?;
            // A copy in the place of one.
            let child = super::stage::kept(space.fork().map_err(text)?);
            scene.write(child, 1000);
            let _ = space.split_folio_at(page(100), Order(3));
            Ok(())
        })
    };
    misses(scenario, &[Mutant::ContCutWhole]);
    // By hand: one without the mark, one with other rights, one with another page.
    for config in machines() {
        let scene = Scene::new(config, Kind::Sets, None);
        let space = scene.space();
        for n in 0..16 {
            let leaf = leaf(space, page(n)).expect("mapped");
            assert!(leaf.is_contiguous(), "page {n}");
            let (_, slot, _) = entry(space, page(n));
            let other = leaf.word() ^ abi::PAGE_SIZE;
            for word in [leaf.contiguous(false).word(), leaf.write_protected().word(), other] {
                let found = entry_rule(scene.audit_with(slot, word));
                let torn =
                    matches!(found, Some(EntryRule::TornSet(_) | EntryRule::Unfindable { .. }));
                assert!(torn, "page {n}: {found:?}");
            }
        }
        assert_eq!(scene.world.mm().audit().err(), None);
    }
}

/// Always: the mark in an entry that is not valid means nothing: its neighbours stay what they are.
#[test]
fn i81_the_mark_means_nothing_where_nothing_is_valid() {
    let scenario = |mutant| {
        everywhere(mutant, &[Kind::Small], |scene| {
            let space = scene.space();
            let hw = &scene.world.mm().hw;
            for n in [2, 4] {
                let _ = space.fault(page(n), Access::Write);
            }
            let around = || [0, 1, 2, 15].map(|n| leaf(space, page(n)));
            let before = around();
            let (_, slot, now) = entry(space, page(4));
            let Some(old) = now.leaf() else { return Err("not mapped".into()) };
            let marked = old.with_prot(Prot::None).word() | pte::bits::CONT;
            hw.swap(slot, marked);
            // Once it is mended by a fault, once it is taken away.
            let _ = space.fault(page(4), Access::Write);
            if entry(space, page(4)).2.leaf().is_some_and(|leaf| leaf.is_contiguous()) {
                return Err("it came back with the mark".into());
            }
            hw.swap(slot, marked);
            space.unmap(pages(4, 1)).map_err(text)?;
            let unfolded = scene.world.mm().stats.total(abi::Event::ContUnfold);
            (around() == before && unfolded == 0)
                .then_some(())
                .ok_or(format!("{unfolded} sets were taken apart that were none"))
        })
    };
    misses(scenario, &[Mutant::ContMarkTrusted]);
}

/// Always: an access whose fault was resolved does not fault again for the same reason, also for who records
/// no history and shares the tables with somebody who does.
#[test]
fn i82_a_resolved_fault_does_not_come_back() {
    let scenario = |mutant| {
        everywhere(mutant, &[Kind::Small, Kind::Sets, Kind::Huge], |scene| {
            let space = scene.space();
            let hw = &scene.world.mm().hw;
            for access in [Access::Read, Access::Write] {
                space.advise(pages(0, 512), Advice::Free).map_err(text)?;
                // Somebody else has used one member of each set.
                for n in [1, 100] {
                    let (_, slot, now) = entry(space, page(n));
                    let Some(old) = now.leaf() else { continue };
                    hw.swap(slot, old.made_young().made_dirty().word());
                }
                hw.quiesce();
                for n in PAGES {
                    // A walker may miss for a while what was just stored: such a fault finds nothing to do.
                    let (mut turns, mut resolved) = (0, 0);
                    scene.world.inside(space, &mut || {
                        let done = || match access {
                            Access::Write => hw.user_store(page(n), n),
                            _ => hw.user_load(page(n)).is_some(),
                        };
                        while turns < 100 && !done() {
                            turns += 1;
                            resolved +=
                                u32::from(space.fault(page(n), access) == FaultOutcome::Mapped);
                        }
                    });
                    if turns == 100 || resolved > 1 {
                        return Err(format!(
                            "{access} page {n}: {turns} faults, {resolved} resolved"
                        ));
                    }
                }
            }
            Ok(())
        })
    };
    misses(scenario, &[Mutant::ContGatheredNoop]);
}
