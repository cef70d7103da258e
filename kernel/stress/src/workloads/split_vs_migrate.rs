//! `split-vs-migrate`: huge pages move, and are split while the migration entry stands for them, and
//! readers without locks walk there all the time.
//!
//! Hunted: what `split-migration` hunts by hand, now where it comes from; besides, a table in the place
//! of a huge migration entry whose old translation may still be in a TLB; entries that a split leaves
//! behind and the move does not find again, so that who waits for them waits for ever; a lockless
//! reference to a frame that is being left. The walker would see a mapping where there is none; a frame
//! that is held would not show what its page shows; or a page would show an older version than its writer
//! has finished.

use super::field::{BLOCK, Field};
use super::split_migration::{Frosts, freeze_and_split, look_at_frozen};
use crate::rng::Rng;
use crate::run::{Failure, Run};
use crate::world::World;
use abi::Access;

/// The space's number in stamps.
const OURS: u8 = 34;

pub(super) fn run<W: World>(run: &Run<'_, W>, watch: &mut dyn FnMut()) -> Result<(), Failure> {
    let field = Field::new(run, run.options.bytes / 2, OURS)?;
    let frosts = Frosts::new(field.range.pages() / BLOCK)?;
    field.drive(run, watch, |cpu, rng| {
        let own = field.own(field.any(rng), cpu, rng);
        if rng.one_in(4) {
            field.renew(run, cpu, own, rng)?;
        }
        field.visit(own, || {
            match rng.below(8) {
                0 | 1 => field.migrate(&field.space, own, rng)?,
                2 | 3 => field.space.split_block(field.at(field.near(own, rng))),
                4 => freeze_and_split(run, &field, &frosts, cpu, own, rng)?,
                // Who touches what is on its way sleeps; these do not.
                _ => {
                    look_at_frozen(run, &field, &frosts, cpu, own, rng)?;
                    return hold(run, &field, cpu, own, rng);
                }
            }
            hold(run, &field, cpu, own, rng)?;
            field.write(run, cpu, own)
        })
    })
}

/// Holds pages of a block without a lock, and looks at their frames.
fn hold<W: World>(
    run: &Run<'_, W>,
    field: &Field<'_, W::Machine>,
    cpu: usize,
    own: u64,
    rng: &mut Rng,
) -> Result<(), Failure> {
    for n in 0..8 {
        let page = if n == 0 { own } else { field.near(own, rng) };
        // Zeros that everybody shares are another page as soon as there is something else.
        if field.was_written(page)
            && let Some(folio) = field.space.gup_fast(field.at(page), Access::Read)
        {
            field.look_behind(run, cpu, page, folio.pfn())?;
        }
    }
    Ok(())
}
