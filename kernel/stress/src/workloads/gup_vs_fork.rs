//! `gup-vs-fork`: all CPUs pin pages of one space, and write them through their mapping and behind it,
//! while all of them fork that space.
//!
//! Hunted: the bugs of 2020. A pin taken while a fork shares the page is a pin of a page that the program
//! loses with its next write: what a device writes does not reach it. A pinned page must stay the one that
//! the program sees, so a fork copies it for the child; what the device writes afterwards must not reach
//! the child. A write behind the mapping would not be seen through it, or the reverse; or a child would
//! see what was written after it was born.

use super::field::Field;
use super::snapshot::Snapshot;
use crate::rng::Rng;
use crate::run::{Failure, Run};
use crate::world::World;
use abi::Access;
use mm::frame::FolioPin;

/// The space's number in stamps.
const OURS: u8 = 13;

pub(super) fn run<W: World>(run: &Run<'_, W>, watch: &mut dyn FnMut()) -> Result<(), Failure> {
    // Small, for each fork is of all of it.
    let field = Field::new(run, run.options.bytes / 8, OURS)?;
    run.rounds(watch, |cpu, rng| {
        let own = field.own(field.any(rng), cpu, rng);
        if rng.one_in(8) {
            run.inside(&field.space, || field.renew(run, cpu, own, rng))?;
        }
        field.visit(own, || pin_and_fork(run, &field, cpu, own, rng))
    })
}

fn pin_and_fork<W: World>(
    run: &Run<'_, W>,
    field: &Field<'_, W::Machine>,
    cpu: usize,
    own: u64,
    rng: &mut Rng,
) -> Result<(), Failure> {
    let mut pin = None;
    run.inside(&field.space, || {
        field.write(run, cpu, own)?;
        if rng.below(4) > 0 {
            pin = take(field, own, rng)?;
        }
        behind_and_before(run, field, cpu, own, pin.as_ref())
    })?;
    if rng.one_in(2) {
        let mut snapshot = Snapshot::begin(field, own, rng);
        let child = field.space.fork()?;
        snapshot.end(field);
        run.inside(&field.space, || behind_and_before(run, field, cpu, own, pin.as_ref()))?;
        run.inside(&child, || snapshot.check(run, field, &child, cpu))?;
    }
    run.inside(&field.space, || {
        for _ in 0..rng.below(4) {
            run.world.yield_now();
            behind_and_before(run, field, cpu, own, pin.as_ref())?;
        }
        // A page that somebody else writes, and perhaps is writing.
        let page = field.near(own, rng);
        let other = if field.was_written(page) { take(field, page, rng)? } else { None };
        other.map_or(Ok(()), |pin| field.look_behind(run, cpu, page, pin.pfn()))
    })
}

/// Pins a page, if this is the moment.
fn take<'m, H: mm::Hardware>(
    field: &Field<'m, H>,
    page: u64,
    rng: &mut Rng,
) -> Result<Option<FolioPin<'m, H>>, Failure> {
    let access = if rng.one_in(2) { Access::Write } else { Access::Read };
    if rng.one_in(2) {
        return Ok(field.space.pin_fast(field.at(page), access));
    }
    Ok(Some(field.space.pin(field.at(page), access)?))
}

/// Writes a page through its mapping and looks behind, and the reverse.
fn behind_and_before<W: World>(
    run: &Run<'_, W>,
    field: &Field<'_, W::Machine>,
    cpu: usize,
    own: u64,
    pin: Option<&FolioPin<'_, W::Machine>>,
) -> Result<(), Failure> {
    field.write(run, cpu, own)?;
    let Some(pin) = pin else { return Ok(()) };
    field.look_behind(run, cpu, own, pin.pfn())?;
    field.write_behind(run, cpu, own, pin.pfn())
}
