//! Giving content up while the area stays.

use crate::bench::seat::{Seat, at};
use crate::run::Failure;
use crate::world::World;
use abi::{PAGE_SIZE, PMD_SIZE, VirtRange};
use mm::{Advice, Huge};

/// A large area of small pages.
const BULK: u64 = 64 << 20;
/// What a round gives up call by call, in small pages and in huge ones.
const SINGLES: u64 = 2 << 20;
const BLOCKS: u64 = 32 << 20;

/// All of it by one call.
pub(crate) fn small_bulk<W: World>(seat: &Seat<'_, W>) -> Result<(), Failure> {
    let range = seat.filled(0, seat.afford(BULK), Huge::Never, PAGE_SIZE)?;
    seat.time(range.pages(), || seat.space.advise(range, Advice::DontNeed))?;
    seat.unmap(range)
}

/// A page a call.
pub(crate) fn small_single<W: World>(seat: &Seat<'_, W>) -> Result<(), Failure> {
    each(seat, seat.filled(0, SINGLES, Huge::Never, PAGE_SIZE)?, PAGE_SIZE)
}

/// A huge page a call.
pub(crate) fn huge_single<W: World>(seat: &Seat<'_, W>) -> Result<(), Failure> {
    each(seat, seat.filled(0, seat.afford(BLOCKS), Huge::Advised, PMD_SIZE)?, PMD_SIZE)
}

fn each<W: World>(seat: &Seat<'_, W>, range: VirtRange, step: u64) -> Result<(), Failure> {
    seat.time_each(range.bytes() / step, |n| {
        let part = VirtRange::from_size(at(range, n, step), step);
        Ok(seat.space.advise(part, Advice::DontNeed)?)
    })?;
    seat.unmap(range)
}
