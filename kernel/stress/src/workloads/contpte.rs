//! `contpte`: folios of 64 KiB, each mapped by a contiguous set of entries, of which single pages are
//! written, protected, thrown away, pinned, copied and split off while others use their neighbours.
//!
//! Hunted: a set that is taken apart or put together without a moment in which it is invalid, so that a
//! TLB has one page twice; a neighbour that is taken for unmapped in that moment, and gets a new page; the
//! history of one page of the set lost, or a fault that is found done and comes again for ever (2026). A page
//! would show zeros or an older version, would be permitted where it is not, or nothing would go on; or an
//! audit would find a set that is torn.

use super::Work;
use super::field::Field;
use super::snapshot::Snapshot;
use crate::rng::Rng;
use crate::run::{Failure, Run};
use crate::world::World;
use abi::{Access, Order, PAGE_SIZE, Prot, VirtRange};
use mm::thp::{Policy, Thp};
use mm::{Advice, AdviseError, Hardware};

/// The space's number in stamps.
const OURS: u8 = 14;
/// Folios that a set of 16 entries maps, and smaller ones.
const SET: u64 = 4;

pub(super) fn run<W: World>(run: &Run<'_, W>, watch: &mut dyn FnMut()) -> Result<(), Failure> {
    in_sets(run, watch, drive)
}

/// Runs `drive` where memory comes in folios of 64 KiB.
pub(super) fn in_sets<W: World>(
    run: &Run<'_, W>,
    watch: &mut dyn FnMut(),
    drive: Work<W>,
) -> Result<(), Failure> {
    let thp = &run.mm().thp;
    let before = (thp.enabled(), thp.enabled_64k());
    want(thp, true);
    let result = drive(run, watch);
    thp.set_enabled(before.0);
    thp.set_enabled_64k(before.1);
    result
}

/// From now on new memory comes in folios of 64 KiB, or else in huge pages where they are advised.
pub(super) fn want(thp: &Thp, sets: bool) {
    let (huge, mid) =
        if sets { (Policy::Never, Policy::Always) } else { (Policy::Madvise, Policy::Never) };
    thp.set_enabled(huge);
    thp.set_enabled_64k(Some(mid));
}

fn drive<W: World>(run: &Run<'_, W>, watch: &mut dyn FnMut()) -> Result<(), Failure> {
    // Small, for each fork is of all of it.
    let field = Field::new(run, run.options.bytes / 8, OURS)?;
    field.space.advise(field.range, Advice::PopulateWrite)?;
    run.rounds(watch, |cpu, rng| {
        let own = field.own(field.any(rng), cpu, rng);
        run.inside(&field.space, || {
            if rng.one_in(16) {
                field.renew(run, cpu, own, rng)?;
                field.visit(own, || fill(&field, own))?;
            }
            field.visit(own, || {
                field.write(run, cpu, own)?;
                disturb(run, &field, cpu, own, rng)?;
                for _ in 0..rng.below(8) {
                    field.look(run, cpu, field.near(own, rng), rng)?;
                }
                field.write(run, cpu, own)
            })
        })?;
        if rng.one_in(8) {
            field.visit(own, || fork(run, &field, cpu, own, rng))?;
        }
        Ok(())
    })
}

/// Gives the block of a page all its folios, as far as that is permitted just now.
fn fill<H: Hardware>(field: &Field<'_, H>, page: u64) -> Result<(), Failure> {
    match field.space.advise(field.block_of(page), Advice::PopulateWrite) {
        Ok(()) | Err(AdviseError::Denied(_)) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Does something to one page of a set.
fn disturb<W: World>(
    run: &Run<'_, W>,
    field: &Field<'_, W::Machine>,
    cpu: usize,
    own: u64,
    rng: &mut Rng,
) -> Result<(), Failure> {
    let (space, va) = (&field.space, field.at(own));
    let page = VirtRange::from_size(va, PAGE_SIZE);
    match rng.below(6) {
        0 | 1 => {
            space.protect(page, Prot::Read)?;
            if run.world.store(space, va, 0).is_ok() {
                return Err(run.not_denied(space, cpu, va, Access::Write));
            }
            space.protect(page, Prot::ReadWrite)?;
        }
        2 => field.forget(own)?,
        3 => {
            let pin = space.pin(va, Access::Write)?;
            field.write_behind(run, cpu, own, pin.pfn())?;
        }
        4 => field.split_folio(own, Order(2 * rng.below(SET / 2) as u8))?,
        _ => run.world.yield_now(),
    }
    Ok(())
}

/// Forks, writes what is shared then, and looks whether the child notices.
fn fork<W: World>(
    run: &Run<'_, W>,
    field: &Field<'_, W::Machine>,
    cpu: usize,
    own: u64,
    rng: &mut Rng,
) -> Result<(), Failure> {
    let mut snapshot = Snapshot::begin(field, own, rng);
    let child = field.space.fork()?;
    snapshot.end(field);
    run.inside(&field.space, || field.write(run, cpu, own))?;
    run.inside(&child, || snapshot.check(run, field, &child, cpu))
}
