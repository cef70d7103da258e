//! Taking the right to write away.

use crate::bench::seat::{Seat, at};
use crate::run::Failure;
use crate::world::World;
use abi::{PAGE_SIZE, PMD_SIZE, Prot, VirtRange};
use mm::Huge;

/// A large area, in pages of either size.
const BULK: u64 = 64 << 20;
/// Pages of one area that become areas of their own, one after the other.
const SINGLES: u64 = 64;

/// All of a large area of small pages, by one call.
pub(crate) fn small_bulk<W: World>(seat: &Seat<'_, W>) -> Result<(), Failure> {
    bulk(seat, Huge::Never, PAGE_SIZE)
}

/// The same of huge pages.
pub(crate) fn huge_bulk<W: World>(seat: &Seat<'_, W>) -> Result<(), Failure> {
    bulk(seat, Huge::Advised, PMD_SIZE)
}

fn bulk<W: World>(seat: &Seat<'_, W>, huge: Huge, step: u64) -> Result<(), Failure> {
    let range = seat.filled(0, seat.afford(BULK), huge, step)?;
    seat.time(range.bytes() / step, || seat.space.protect(range, Prot::Read))?;
    seat.unmap(range)
}

/// One page in the middle of an area, which becomes three.
pub(crate) fn one_page<W: World>(seat: &Seat<'_, W>) -> Result<(), Failure> {
    let range = seat.filled(0, 3 * SINGLES * PAGE_SIZE, Huge::Never, PAGE_SIZE)?;
    for n in 0..SINGLES {
        let page = VirtRange::from_size(at(range, 3 * n + 1, PAGE_SIZE), PAGE_SIZE);
        seat.time(1, || seat.space.protect(page, Prot::Read))?;
        // And one area again.
        seat.space.protect(page, Prot::ReadWrite)?;
    }
    seat.unmap(range)
}
