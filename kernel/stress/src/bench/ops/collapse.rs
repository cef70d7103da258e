//! Making huge pages of small ones.

use crate::bench::seat::{Seat, at};
use crate::run::Failure;
use crate::world::World;
use abi::{PAGE_SIZE, PMD_SIZE, VirtRange};
use mm::{Advice, Huge};

/// Huge pages a round.
const BLOCKS: u64 = 8;

/// 512 small folios, all of them written, become one huge folio.
pub(crate) fn pages<W: World>(seat: &Seat<'_, W>) -> Result<(), Failure> {
    let range = seat.filled(0, seat.afford(BLOCKS * PMD_SIZE), Huge::Never, PAGE_SIZE)?;
    seat.space.advise(range, Advice::Huge)?;
    collapse(seat, range)
}

/// One huge folio that is mapped by pages gets its one entry back.
pub(crate) fn whole<W: World>(seat: &Seat<'_, W>) -> Result<(), Failure> {
    let range = seat.filled(0, seat.afford(BLOCKS * PMD_SIZE), Huge::Advised, PMD_SIZE)?;
    (0..range.bytes() / PMD_SIZE).for_each(|n| seat.space.split_block(at(range, n, PMD_SIZE)));
    collapse(seat, range)
}

fn collapse<W: World>(seat: &Seat<'_, W>, range: VirtRange) -> Result<(), Failure> {
    seat.time_each(range.bytes() / PMD_SIZE, |n| {
        seat.space.collapse(at(range, n, PMD_SIZE))?;
        Ok(())
    })?;
    seat.unmap(range)
}
