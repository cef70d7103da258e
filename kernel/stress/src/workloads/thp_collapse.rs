//! `thp-collapse`: blocks fall to pieces and are made whole again, by a copy or without, while all CPUs write to
//! them and read them.
//!
//! Hunted: a store that goes to a page after that was copied; a page that is copied after its mapping is
//! there, so that somebody sees what was in its memory before; holes that are not zero; the old table, or
//! pages of it, in a TLB or under a walker when they are somebody else's. A page would show an older
//! version, litter, or what another wrote who got its frame; or an audit would find counts that nobody
//! accounts for.

use super::field::Field;
use crate::run::{Failure, Run};
use crate::world::World;
use abi::Order;

/// The space's number in stamps.
const OURS: u8 = 40;

pub(super) fn run<W: World>(run: &Run<'_, W>, watch: &mut dyn FnMut()) -> Result<(), Failure> {
    let field = Field::new(run, run.options.bytes / 2, OURS)?;
    field.drive(run, watch, |cpu, rng| {
        let own = field.own(field.any(rng), cpu, rng);
        if rng.one_in(8) {
            field.renew(run, cpu, own, rng)?;
        }
        field.visit(own, || {
            field.write(run, cpu, own)?;
            match rng.below(6) {
                0 => field.space.split_block(field.at(own)),
                1 => field.split_folio(field.near(own, rng), Order::PAGE)?,
                2 => field.split_folio(field.near(own, rng), Order(4))?,
                _ => field.collapse(own)?,
            }
            for _ in 0..rng.below(8) {
                field.look(run, cpu, field.near(own, rng), rng)?;
            }
            field.write(run, cpu, own)
        })
    })
}
