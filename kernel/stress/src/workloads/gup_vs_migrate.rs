//! `gup-vs-migrate`: pages are held, without locks and with them, while all CPUs try to move them; and
//! move once they are let go.
//!
//! Hunted: a folio that is moved though somebody holds it, or comes to hold it between the look and the
//! copy; a reference that ends up on the frame that is left; a hold that is over and keeps its folio in
//! place all the same. What was written through the mapping would not be seen in the frame that is held,
//! or what a device writes there would not be seen through the mapping; an answer would be one that
//! cannot be; or nothing would move.

use super::field::{Field, migrate};
use super::gup_vs_split::hold;
use crate::rng::Rng;
use crate::run::{Failure, Run, keep_walk};
use crate::world::World;
use abi::Order;

/// The space's number in stamps.
const OURS: u8 = 35;

pub(super) fn run<W: World>(run: &Run<'_, W>, watch: &mut dyn FnMut()) -> Result<(), Failure> {
    let field = Field::new(run, run.options.bytes / 2, OURS)?;
    field.drive(run, watch, |cpu, rng| {
        let own = field.own(field.any(rng), cpu, rng);
        if rng.one_in(8) {
            field.renew(run, cpu, own, rng)?;
        }
        field.visit(own, || {
            field.write(run, cpu, own)?;
            if rng.one_in(8) {
                // Some are huge, some are not.
                field.split_folio(field.near(own, rng), Order(4))?;
            }
            hold_and_move(run, &field, cpu, own, rng)?;
            field.migrate(&field.space, own, rng)?;
            field.write(run, cpu, own)
        })
    })
}

/// Holds a page, and looks that neither this CPU nor another moves it.
fn hold_and_move<W: World>(
    run: &Run<'_, W>,
    field: &Field<'_, W::Machine>,
    cpu: usize,
    own: u64,
    rng: &mut Rng,
) -> Result<(), Failure> {
    let page = if rng.one_in(2) { own } else { field.near(own, rng) };
    // Zeros that everybody shares are another page as soon as there is something else.
    if !field.was_written(page) {
        return Ok(());
    }
    let Some(held) = hold(field, page, rng)? else { return Ok(()) };
    let va = field.at(page);
    for _ in 0..1 + rng.below(3) {
        if migrate(&field.space, &[va])?[0].is_ok() {
            let (walk, what) = (keep_walk(&field.space, va), "a page that is held was moved");
            return Err(Failure::WrongEntry { cpu, va, what, walk });
        }
        // Another CPU may be at it.
        run.world.yield_now();
        field.write(run, cpu, own)?;
        field.look_behind(run, cpu, page, held.frame())?;
        if page == own {
            // As a device does; a reference will do where nobody forks.
            field.write_behind(run, cpu, page, held.frame())?;
        }
    }
    Ok(())
}
