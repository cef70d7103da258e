//! `migrate-vs-fork`: pages move while their space is being forked, and pages that parent and children
//! share move under all of them.
//!
//! Hunted: a fork that copies a migration entry and leaves the right to write in a TLB; a child whose
//! entries the move does not find again; a flush that one space of the family gets and the others do not;
//! a page that is exclusive again though two have it. A child would see what was written after it was
//! born, the parent what the child has written; a page would show an older version, or what the old
//! frame's next owner wrote; or somebody would wait for ever.

use super::field::Field;
use super::snapshot::Snapshot;
use crate::rng::Rng;
use crate::run::{Failure, Run};
use crate::stamp::Stamp;
use crate::world::World;

/// The number of the space that all share, in stamps, and that of the copies.
const OURS: u8 = 36;
const COPIES: u8 = 37;

pub(super) fn run<W: World>(run: &Run<'_, W>, watch: &mut dyn FnMut()) -> Result<(), Failure> {
    // Small, for each fork is of all of it.
    let field = Field::new(run, run.options.bytes / 8, OURS)?;
    run.rounds(watch, |cpu, rng| {
        let own = field.own(field.any(rng), cpu, rng);
        run.inside(&field.space, || {
            if rng.one_in(8) {
                field.renew(run, cpu, own, rng)?;
            }
            field.visit(own, || {
                field.write(run, cpu, own)?;
                field.migrate(&field.space, own, rng)?;
                field.look(run, cpu, field.near(own, rng), rng)
            })
        })?;
        if rng.one_in(2) {
            return Ok(());
        }
        field.visit(own, || fork_and_move(run, &field, cpu, own, rng))
    })
}

/// Forks, moves what is shared then, and looks what both see.
fn fork_and_move<W: World>(
    run: &Run<'_, W>,
    field: &Field<'_, W::Machine>,
    cpu: usize,
    own: u64,
    rng: &mut Rng,
) -> Result<(), Failure> {
    let mut snapshot = Snapshot::begin(field, own, rng);
    let child = field.space.fork()?;
    snapshot.end(field);
    run.inside(&child, || {
        // So that there is something to flush.
        snapshot.check(run, field, &child, cpu)?;
        let space = if rng.one_in(2) { &child } else { &field.space };
        field.migrate(space, own, rng)?;
        snapshot.check(run, field, &child, cpu)
    })?;
    run.inside(&field.space, || field.write(run, cpu, own))?;
    let stamp = Stamp::new(COPIES, field.at(own), rng.next() as u16);
    run.inside(&child, || {
        run.mark(&child, cpu, field.at(own), stamp)?;
        snapshot.forget(own);
        field.migrate(&child, own, rng)?;
        run.check(&child, cpu, field.at(own), stamp)?;
        snapshot.check(run, field, &child, cpu)
    })?;
    run.inside(&field.space, || field.write(run, cpu, own))
}
