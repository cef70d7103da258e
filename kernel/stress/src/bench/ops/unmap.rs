//! Taking mappings away: much at once, and one page at a time with its area.

use crate::bench::seat::Seat;
use crate::run::Failure;
use crate::world::World;
use abi::{PAGE_SIZE, PMD_SIZE, VirtAddr, VirtRange};
use mm::Huge;

/// A gibibyte, where there is that much.
const BULK: u64 = 1 << 30;
/// Single pages a round.
const SINGLES: u64 = 64;

/// All of a large area of small pages.
pub(crate) fn small_bulk<W: World>(seat: &Seat<'_, W>) -> Result<(), Failure> {
    bulk(seat, Huge::Never, PAGE_SIZE)
}

/// All of a large area of huge pages.
pub(crate) fn huge_bulk<W: World>(seat: &Seat<'_, W>) -> Result<(), Failure> {
    bulk(seat, Huge::Advised, PMD_SIZE)
}

fn bulk<W: World>(seat: &Seat<'_, W>, huge: Huge, step: u64) -> Result<(), Failure> {
    let range = seat.filled(0, seat.afford(BULK), huge, step)?;
    seat.time(range.bytes() / step, || seat.unmap(range))
}

/// Unmapping a touched page that is an area of its own.
pub(crate) fn one_page<W: World>(seat: &Seat<'_, W>) -> Result<(), Failure> {
    beside_a_neighbour(seat, |va| {
        let page = seat.map(va - seat.base, PAGE_SIZE, Huge::Never)?;
        seat.store(va)?;
        seat.time(1, || seat.unmap(page))
    })
}

/// Mapping a page and storing to it.
pub(crate) fn map_and_touch<W: World>(seat: &Seat<'_, W>) -> Result<(), Failure> {
    beside_a_neighbour(seat, |va| {
        seat.time(1, || {
            seat.map(va - seat.base, PAGE_SIZE, Huge::Never)?;
            seat.store(va)
        })?;
        seat.unmap(VirtRange::from_size(va, PAGE_SIZE))
    })
}

/// Does `body` for one page after the other, near a page that keeps their tables: a program's
/// mappings lie close together, so that no call makes or frees a table.
fn beside_a_neighbour<W: World>(
    seat: &Seat<'_, W>,
    body: impl Fn(VirtAddr) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let neighbour = seat.filled(0, PAGE_SIZE, Huge::Never, PAGE_SIZE)?;
    for n in 0..SINGLES {
        // A page between each two, so that the areas do not become one.
        body(seat.base + (2 + 2 * n) * PAGE_SIZE)?;
    }
    seat.unmap(neighbour)
}
