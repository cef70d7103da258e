//! `migrate-pmd`: huge pages move to other frames, whole, several with one flush, while all CPUs write to
//! them and read them.
//!
//! Hunted: a huge translation of the old frame that outlives the copy, whoever's of the 512 pages it
//! serves; a huge page that arrives in pieces; a huge migration entry that somebody takes for none, and
//! faults new memory in. A page would show an older version than its writer has finished, zeros, or
//! another's stamp; or the walk to it would be longer than before.

use super::field::Field;
use crate::run::{Failure, Run};
use crate::world::World;
use mm::Hardware;

/// The space's number in stamps.
const OURS: u8 = 32;

pub(super) fn run<W: World>(run: &Run<'_, W>, watch: &mut dyn FnMut()) -> Result<(), Failure> {
    let field = Field::new(run, run.options.bytes / 2, OURS)?;
    field.drive(run, watch, |cpu, rng| {
        let own = field.own(field.any(rng), cpu, rng);
        if rng.one_in(16) {
            field.renew(run, cpu, own, rng)?;
        }
        field.visit(own, || {
            field.write(run, cpu, own)?;
            let before = steps(&field, own);
            field.migrate(&field.space, own, rng)?;
            let walk = crate::run::keep_walk(&field.space, field.at(own));
            if steps(&field, own) > before {
                let (va, what) = (field.at(own), "small entries, where a huge page was moved");
                return Err(Failure::WrongEntry { cpu, va, what, walk });
            }
            for _ in 0..rng.below(8) {
                field.look(run, cpu, field.near(own, rng), rng)?;
            }
            field.write(run, cpu, own)
        })
    })
}

/// Tables on the way to a page.
fn steps<H: Hardware>(field: &Field<'_, H>, page: u64) -> usize {
    let mut steps = 0;
    field.space.mm().walk(field.space.root(), field.at(page), |_, _, _, _| steps += 1);
    steps
}
