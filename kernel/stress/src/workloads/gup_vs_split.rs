//! `gup-vs-split`: pages are held, without locks and with them, while the huge entries that map them and
//! the huge folios that they are of are split.
//!
//! Hunted: a reference on a folio that is just being cut, so that it ends up on a page that nobody
//! holds, and the one that is held is freed; a lockless reader that goes by an entry that is being
//! split; a folio that is split though it is pinned. What was written through the mapping would not be
//! seen in the frame that is held, or what a device writes there would not be seen through the mapping.

use super::field::Field;
use crate::rng::Rng;
use crate::run::{Failure, Run};
use crate::world::World;
use abi::{Access, Order, Pfn};
use mm::Hardware;
use mm::frame::{FolioPin, FolioRef};

/// The space's number in stamps.
const OURS: u8 = 7;
/// Pages held at once.
const HELD: usize = 6;

/// One way or the other of holding a page.
pub(super) enum Hold<'m, H: Hardware> {
    Reference(FolioRef<'m, H>),
    Pin(FolioPin<'m, H>),
}

impl<H: Hardware> Hold<'_, H> {
    pub(super) fn frame(&self) -> Pfn {
        match self {
            Self::Reference(folio) => folio.pfn(),
            Self::Pin(pin) => pin.pfn(),
        }
    }
}

pub(super) fn run<W: World>(run: &Run<'_, W>, watch: &mut dyn FnMut()) -> Result<(), Failure> {
    let field = Field::new(run, run.options.bytes / 2, OURS)?;
    field.drive(run, watch, |cpu, rng| {
        let own = field.own(field.any(rng), cpu, rng);
        if rng.one_in(8) {
            field.renew(run, cpu, own, rng)?;
        }
        field.visit(own, || {
            field.write(run, cpu, own)?;
            hold_and_look(run, &field, cpu, own, rng, |page, rng| match rng.below(4) {
                0 => {
                    field.space.split_block(field.at(page));
                    Ok(())
                }
                1 => field.split_folio(page, Order::PAGE),
                _ => {
                    run.world.yield_now();
                    Ok(())
                }
            })
        })
    })
}

/// Takes some holds on pages of a block, does something to one of them, writes, and looks what the frames say
/// that are held.
pub(super) fn hold_and_look<W: World>(
    run: &Run<'_, W>,
    field: &Field<'_, W::Machine>,
    cpu: usize,
    own: u64,
    rng: &mut Rng,
    disturb: impl FnOnce(u64, &mut Rng) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut held = [const { None }; HELD];
    for place in held.iter_mut().skip(rng.below(HELD as u64) as usize) {
        let page = if rng.one_in(2) { own } else { field.near(own, rng) };
        // Zeros that everybody shares are another page as soon as there is something else.
        if field.was_written(page) {
            *place = hold(field, page, rng)?.map(|hold| (page, hold));
        }
    }
    disturb(field.near(own, rng), rng)?;
    field.write(run, cpu, own)?;
    for (page, hold) in held.into_iter().flatten() {
        field.look_behind(run, cpu, page, hold.frame())?;
        if page == own && matches!(hold, Hold::Pin(_)) {
            field.write_behind(run, cpu, page, hold.frame())?;
        }
    }
    Ok(())
}

/// Holds a page, if this is the moment.
pub(super) fn hold<'m, H: Hardware>(
    field: &Field<'m, H>,
    page: u64,
    rng: &mut Rng,
) -> Result<Option<Hold<'m, H>>, Failure> {
    let (space, va) = (&field.space, field.at(page));
    let access = if rng.one_in(2) { Access::Write } else { Access::Read };
    Ok(match rng.below(4) {
        0 => Some(Hold::Reference(space.gup(va, access)?)),
        1 => space.gup_fast(va, access).map(Hold::Reference),
        2 => Some(Hold::Pin(space.pin(va, access)?)),
        _ => space.pin_fast(va, access).map(Hold::Pin),
    })
}
