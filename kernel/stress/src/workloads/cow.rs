//! `cow`: all CPUs fork one space, and write to it and to the copies that they have.
//!
//! Hunted: a write that goes to a page which somebody else still sees; a fork that forgets an entry, or
//! shares one without taking the right to write, on some CPU; a huge page that is split for its copy at the
//! same time as another CPU writes to it. The child must see what the parent held when it was forked, and
//! from then on each of them what it has written itself, whatever the other does: else a page would
//! show the other's stamp, or a version that is too old or too new.

use super::field::Field;
use super::snapshot::Snapshot;
use crate::rng::Rng;
use crate::run::{Failure, Run};
use crate::stamp::Stamp;
use crate::world::World;

/// The number of the space that all share, in stamps, and that of the copies.
const OURS: u8 = 11;
const COPIES: u8 = 12;

pub(super) fn run<W: World>(run: &Run<'_, W>, watch: &mut dyn FnMut()) -> Result<(), Failure> {
    // Small, for each fork is of all of it.
    let field = Field::new(run, run.options.bytes / 8, OURS)?;
    run.rounds(watch, |cpu, rng| {
        let own = field.own(field.any(rng), cpu, rng);
        run.inside(&field.space, || {
            if rng.one_in(4) {
                field.renew(run, cpu, own, rng)?;
            }
            field.visit(own, || field.write(run, cpu, own))
        })?;
        field.visit(own, || generations(run, &field, cpu, own, rng))
    })
}

/// Forks the shared space, writes to both, and sometimes forks the copy.
fn generations<W: World>(
    run: &Run<'_, W>,
    field: &Field<'_, W::Machine>,
    cpu: usize,
    own: u64,
    rng: &mut Rng,
) -> Result<(), Failure> {
    let mut snapshot = Snapshot::begin(field, own, rng);
    let child = field.space.fork()?;
    snapshot.end(field);
    let stamp = |page: u64, rng: &mut Rng| {
        let version = rng.next() as u16;
        Stamp::new(COPIES, field.at(page), version)
    };
    // One page of our own, and its neighbour, which somebody else writes in the parent.
    let mut changed = [own, own ^ 1].map(|page| (page, stamp(page, rng)));
    let write_ours = |rng: &mut Rng| {
        run.inside(&field.space, || {
            field.write(run, cpu, own)?;
            field.look(run, cpu, field.near(own, rng), rng)
        })
    };
    // Either may be the first to write.
    if rng.one_in(2) {
        write_ours(rng)?;
    }
    run.inside(&child, || {
        snapshot.check(run, field, &child, cpu)?;
        for (page, stamp) in changed {
            run.mark(&child, cpu, field.at(page), stamp)?;
            snapshot.forget(page);
        }
        snapshot.check(run, field, &child, cpu)
    })?;
    write_ours(rng)?;
    let grandchild = if rng.one_in(3) { Some(child.fork()?) } else { None };
    if let Some(grandchild) = &grandchild {
        run.inside(grandchild, || {
            for (page, stamp) in changed {
                run.check(grandchild, cpu, field.at(page), stamp)?;
            }
            snapshot.check(run, field, grandchild, cpu)?;
            run.mark(grandchild, cpu, field.at(own), stamp(own, rng))
        })?;
    }
    run.inside(&child, || {
        for (page, written) in &mut changed {
            run.check(&child, cpu, field.at(*page), *written)?;
            *written = stamp(*page, rng);
            run.mark(&child, cpu, field.at(*page), *written)?;
        }
        snapshot.check(run, field, &child, cpu)
    })?;
    // Whoever is the last to have a page writes it in place.
    if rng.one_in(2) {
        drop(child);
        run.inside(&field.space, || field.write(run, cpu, own))?;
    }
    Ok(())
}
