//! What is known of accesses and writes.

use super::stage::{KINDS, PAGES, VA, block, everywhere, head, kept, leaf, page};
use crate::common::races::misses;
use abi::{Access, Order, Prot};
use granule_machine::Machine;
use mm::Space;
use mm::frame::Flag;
use mm::mutant::Mutant;
use stress::World;

fn text(error: impl ToString) -> String {
    error.to_string()
}

/// A page that a program has written and nobody knows of.
fn forgotten(space: &Space<'_, Machine>) -> Result<(), String> {
    let mm = space.mm();
    let lost = PAGES.into_iter().find(|&n| {
        let (Some(leaf), Some(pfn)) = (leaf(space, page(n)), super::stage::frame(space, page(n)))
        else {
            return false;
        };
        let dirty = mm.frames.map().desc(head(space, page(n))).has(Flag::Dirty);
        mm.hw.wrote(pfn) && !leaf.is_dirty() && !dirty
    });
    lost.map_or(Ok(()), |n| Err(format!("page {n} was written, and is clean")))
}

/// Always: that memory was written is known until it goes, whatever becomes of the entry that says so:
/// by the entry, its folio, or the migration entry in its place.
#[test]
fn i40_what_was_written_stays_known_to_be() {
    let scenario = |mutant| {
        everywhere(mutant, &KINDS, |scene| {
            let space = scene.space();
            let child = kept(space.fork().map_err(text)?);
            for member in [space, child] {
                member.protect(block(0), Prot::Read).map_err(text)?;
                forgotten(member)?;
            }
            drop(space.freeze_folio_at(VA));
            let _ = space.split_folio_at(VA, Order::PAGE);
            forgotten(space).and(forgotten(child))
        })
    };
    let bugs = [Mutant::ProtectDropsDirty, Mutant::ForkDropsDirty, Mutant::TakeOutForgetsDirt];
    misses(scenario, &bugs);
}

/// At rest: a mapping that went and came back is as young, dirty, writable and exclusive as it was.
#[test]
fn i41_a_mapping_comes_back_as_it_was() {
    let scenario = |mutant| {
        everywhere(mutant, &KINDS, |scene| {
            let space = scene.space();
            let shown = |n: u64| {
                let leaf = leaf(space, page(n)).ok_or(format!("page {n} is gone"))?;
                let dirty = leaf.is_dirty()
                    || scene.world.mm().frames.map().desc(head(space, page(n))).has(Flag::Dirty);
                Ok::<_, String>((
                    leaf.is_young(),
                    leaf.permits(Access::Write) && leaf.is_writable(),
                    dirty,
                ))
            };
            let all = || PAGES.into_iter().map(shown).collect::<Result<Vec<_>, _>>();
            let before = all()?;
            drop(space.freeze_folio_at(VA).map_err(|busy| busy.to_string())?);
            if all()? != before {
                return Err(format!("{:?} for {before:?}", all()?));
            }
            // Cut on the way.
            let frozen = space.freeze_folio_at(VA).map_err(|busy| busy.to_string())?;
            space.split_block(VA);
            drop(frozen);
            if all()? != before {
                return Err(format!("{:?} for {before:?}", all()?));
            }
            scene.misread(space, 0).map_or(Ok(()), Err)
        })
    };
    let bugs = [Mutant::SplitMisreadsMigration, Mutant::PutBackShared, Mutant::TakeOutForgetsDirt];
    misses(scenario, &bugs);
}
