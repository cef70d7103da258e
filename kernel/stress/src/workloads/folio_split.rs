//! `folio-split`: huge folios are split into folios of every smaller order while all CPUs write to their
//! memory and read it.
//!
//! Hunted: a page that gets the wrong head, so that its memory is freed under its mapping or never; a store
//! that a migration entry does not remember; a fault that waits for ever for a split that is over. A page
//! would show zeros, an older version, or what somebody else wrote who got its frame; or an audit would
//! find counts that nobody accounts for.

use super::field::Field;
use crate::run::{Failure, Run};
use crate::world::World;
use abi::Order;

/// The space's number in stamps.
const OURS: u8 = 6;

pub(super) fn run<W: World>(run: &Run<'_, W>, watch: &mut dyn FnMut()) -> Result<(), Failure> {
    let field = Field::new(run, run.options.bytes / 2, OURS)?;
    field.drive(run, watch, |cpu, rng| {
        let own = field.own(field.any(rng), cpu, rng);
        if rng.one_in(8) {
            field.renew(run, cpu, own, rng)?;
        }
        field.visit(own, || {
            field.write(run, cpu, own)?;
            if rng.one_in(2) {
                // Parts of a part, too: 9 to 4 to 0, if it comes so.
                let order = Order(rng.below(u64::from(Order::PMD.0)) as u8);
                field.split_folio(field.near(own, rng), order)?;
            }
            for _ in 0..rng.below(8) {
                field.look(run, cpu, field.near(own, rng), rng)?;
            }
            field.write(run, cpu, own)
        })
    })
}
