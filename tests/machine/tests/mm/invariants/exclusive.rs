//! Whose page it is.

use super::stage::{
    KINDS, Kind, PAGES, RW, Scene, VA, block, everywhere, folio_rule, fork_kept, frame, intruded,
    kept, leaf, page,
};
use crate::common::races::misses;
use abi::{Access, Order, Prot};
use granule_machine::Machine;
use mm::audit::{Allow, FolioRule};
use mm::mutant::Mutant;
use mm::{Hardware, Space};
use stress::World;

fn text(error: impl ToString) -> String {
    error.to_string()
}

/// Always: an entry is writable only if its page is nobody else's.
#[test]
fn i20_a_writable_entry_is_of_an_exclusive_page() {
    let scenario = |mutant| {
        everywhere(mutant, &KINDS, |scene| {
            let space = scene.space();
            let child = kept(space.fork().map_err(text)?);
            assert_eq!(frame(space, VA), frame(child, VA), "shared");
            for member in [space, child] {
                member.protect(block(0), Prot::Read).map_err(text)?;
                member.protect(block(0), RW).map_err(text)?;
                scene.wrong().map_or(Ok(()), Err)?;
            }
            scene.write(child, 1000);
            Ok(())
        })
    };
    misses(scenario, &[Mutant::ProtectWritableShared, Mutant::CowReuseShared]);
}

/// Always: an exclusive page has one mapping, in one space.
#[test]
fn i21_an_exclusive_page_has_one_mapping() {
    let scenario = |mutant| {
        everywhere(mutant, &KINDS, |scene| {
            let space = scene.space();
            let child = kept(space.fork().map_err(text)?);
            scene.wrong().map_or(Ok(()), Err)?;
            child.split_block(VA);
            scene.wrong().map_or(Ok(()), Err)?;
            // Whoever writes gets a page of his own, and nobody else's becomes exclusive.
            scene.write(child, 1000);
            scene.wrong().map_or(Ok(()), Err)?;
            let _ = space.split_folio_at(VA, Order::PAGE);
            Ok(())
        })
    };
    misses(scenario, &[Mutant::ForkKeepsExclusive]);
}

/// Always: a pinned page stays the one that the program sees, whoever forks, writes, protects or splits.
#[test]
fn i22_a_pinned_page_stays_the_programs() {
    let scenario = |mutant, shared: bool| {
        everywhere(mutant, &KINDS, |scene| {
            let mut space = scene.space();
            if shared {
                // For a pin it becomes the space's own, also for reading.
                space = kept(space.fork().map_err(text)?);
            }
            let pin = space.pin(VA, Access::Read).map_err(text)?;
            let seen = |when| match frame(space, VA) {
                Some(frame) if frame == pin.pfn() => Ok(()),
                frame => Err(format!("{when}: {frame:?} is there, {} is pinned", pin.pfn())),
            };
            seen("at once")?;
            scene.write(space, 2000);
            seen("after a write")?;
            let child = kept(space.fork().map_err(text)?);
            scene.write(space, 3000);
            scene.write(child, 4000);
            seen("after a fork")?;
            let _ = space.split_folio_at(VA, Order::PAGE);
            drop(space.freeze_folio_at(VA));
            space.protect(block(0), Prot::Read).map_err(text)?;
            seen("at the end")?;
            let word = scene.world.mm().hw.peek(pin.pfn().base());
            drop(pin);
            (word == 3000).then_some(()).ok_or(format!("the pin shows {word}"))
        })
    };
    misses(|mutant| scenario(mutant, true), &[Mutant::PinShared]);
    let bugs = [
        Mutant::ForkIgnoresPins,
        Mutant::ForkIgnoresHugePins,
        Mutant::PinUnnoted,
        Mutant::TakeOutPinned,
    ];
    misses(|mutant| scenario(mutant, false), &bugs);
}

/// Always: a migration entry that may write, or says that its page is nobody else's, is the page's only one.
#[test]
fn i23_an_exclusive_migration_entry_is_the_only_one() {
    let scenario = |mutant| {
        everywhere(mutant, &KINDS, |scene| {
            let (mm, space) = (scene.world.mm(), scene.space());
            let frozen = space.freeze_folio_at(VA).map_err(|busy| busy.to_string())?;
            let _child = kept(space.fork().map_err(text)?);
            let migrating = Allow { migration: true, ..Allow::refs(1) };
            let found = mm.audit_but(migrating).err();
            let alone = matches!(folio_rule(found), Some(FolioRule::NotAlone(..)));
            drop(frozen);
            found.map_or(Ok(()), |found| Err(format!("{found}, not alone: {alone}")))
        })
    };
    misses(scenario, &[Mutant::ForkKeepsMigrationWrite]);
}

/// A page that both spaces may write to.
fn both_write(one: &Space<'_, Machine>, other: &Space<'_, Machine>) -> Result<(), String> {
    let writable = |space, n| leaf(space, page(n)).is_some_and(|leaf| leaf.permits(Access::Write));
    let both = |n: &&u64| {
        frame(one, page(**n)) == frame(other, page(**n))
            && writable(one, **n)
            && writable(other, **n)
    };
    PAGES.iter().find(both).map_or(Ok(()), |n| Err(format!("both write to page {n}")))
}

/// Always: no page is writable in two spaces, and what one writes the other does not read.
#[test]
fn i24_no_two_write_to_one_page() {
    let scenario = |mutant| {
        everywhere(mutant, &KINDS, |scene| {
            let space = scene.space();
            let child = kept(space.fork().map_err(text)?);
            both_write(space, child)?;
            for (n, (writer, reader)) in [(child, space), (space, child)].into_iter().enumerate() {
                let base = [1000, 5000][n];
                scene.write(writer, base);
                both_write(space, child)?;
                scene.misread(writer, base).map_or(Ok(()), Err)?;
                scene.misread(reader, [0, 1000][n]).map_or(Ok(()), Err)?;
            }
            Ok(())
        })
    };
    misses(scenario, &[Mutant::ForkKeepsWritable, Mutant::CowReuseShared]);
    // Also at each step of a fork: a child that is half made writes to nothing.
    let forks = |space: &Space<'_, Machine>| fork_kept(space);
    let writes = |scene: &Scene, space: &Space<'_, Machine>| {
        scene.write(space, 7000);
        Ok(())
    };
    assert_eq!(intruded(None, &[Kind::Sets], 7, forks, writes), None);
}
