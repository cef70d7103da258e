//! `gup-vs-collapse`: pages are held, without locks and with them, while the blocks that they are in are
//! collapsed.
//!
//! Hunted: a pin that comes between the look for pins and the end of the table, so that the program gets a
//! copy and the device goes on with the page; a reference on a page whose copy is mapped already; a
//! walker in a table that was put aside, and serves other addresses by now. What was written through
//! the mapping would not be seen in the frame that is held, or what a device writes there would not be
//! seen through the mapping.

use super::field::Field;
use super::gup_vs_split::hold_and_look;
use crate::run::{Failure, Run};
use crate::world::World;
use abi::Order;

/// The space's number in stamps.
const OURS: u8 = 41;

pub(super) fn run<W: World>(run: &Run<'_, W>, watch: &mut dyn FnMut()) -> Result<(), Failure> {
    let field = Field::new(run, run.options.bytes / 2, OURS)?;
    field.drive(run, watch, |cpu, rng| {
        let own = field.own(field.any(rng), cpu, rng);
        if rng.one_in(8) {
            field.renew(run, cpu, own, rng)?;
        }
        field.visit(own, || {
            field.write(run, cpu, own)?;
            hold_and_look(run, &field, cpu, own, rng, |page, rng| match rng.below(6) {
                0 => {
                    field.space.split_block(field.at(page));
                    Ok(())
                }
                1 => field.split_folio(page, Order::PAGE),
                _ => field.collapse(page),
            })?;
            field.collapse(own)
        })
    })
}
