//! Splitting huge pages: their entries, and themselves.

use crate::bench::seat::{Seat, at};
use crate::run::Failure;
use crate::world::World;
use abi::{Order, PAGE_SIZE, PMD_SIZE};
use mm::Huge;

/// Huge pages a round.
const BLOCKS: u64 = 16;

/// The entry: one huge mapping becomes 512 small ones of the same memory.
pub(crate) fn entry<W: World>(seat: &Seat<'_, W>) -> Result<(), Failure> {
    let range = seat.filled(0, seat.afford(BLOCKS * PMD_SIZE), Huge::Advised, PMD_SIZE)?;
    seat.time_each(range.bytes() / PMD_SIZE, |n| {
        seat.space.split_block(at(range, n, PMD_SIZE));
        Ok(())
    })?;
    seat.unmap(range)
}

/// The folio, full of data: one of order 9 becomes 512 of order 0, mapped as before.
pub(crate) fn folio<W: World>(seat: &Seat<'_, W>) -> Result<(), Failure> {
    let range = seat.filled(0, seat.afford(BLOCKS * PMD_SIZE), Huge::Advised, PMD_SIZE)?;
    for page in 0..range.pages() {
        seat.store(at(range, page, PAGE_SIZE))?;
    }
    seat.time_each(range.bytes() / PMD_SIZE, |n| {
        Ok(seat.space.split_folio_at(at(range, n, PMD_SIZE), Order::PAGE)?)
    })?;
    seat.unmap(range)
}
