//! Moving folios to other frames, in batches.

use crate::bench::seat::{Seat, at};
use crate::run::Failure;
use crate::world::World;
use abi::{PAGE_SIZE, PMD_SIZE, VirtAddr};
use alloc::vec::Vec;
use mm::{Destination, Huge, MigrateError, Moved};

/// Pages of a call.
const PAGES: u64 = 1000;
/// Huge pages of a call.
const BLOCKS: u64 = 32;

/// One call for many small pages.
pub(crate) fn small<W: World>(seat: &Seat<'_, W>) -> Result<(), Failure> {
    folios(seat, PAGES * PAGE_SIZE, Huge::Never, PAGE_SIZE)
}

/// One call for many huge pages.
pub(crate) fn huge<W: World>(seat: &Seat<'_, W>) -> Result<(), Failure> {
    folios(seat, seat.afford(BLOCKS * PMD_SIZE), Huge::Advised, PMD_SIZE)
}

fn folios<W: World>(seat: &Seat<'_, W>, bytes: u64, huge: Huge, each: u64) -> Result<(), Failure> {
    let range = seat.filled(0, bytes, huge, each)?;
    let pages: Vec<VirtAddr> = (0..range.bytes() / each).map(|n| at(range, n, each)).collect();
    let mut moved: Vec<Moved> = pages.iter().map(|_| Err(MigrateError::NotMapped)).collect();
    seat.time(pages.len() as u64, || {
        seat.space.move_pages(&pages, Destination::Anywhere, &mut moved)
    })?;
    for result in moved {
        result?;
    }
    seat.unmap(range)
}
