//! First touches.
//!
//! Tables are made on the way, as they are for Linux's: one PTE table in 512 small pages.

use crate::bench::seat::{Seat, at};
use crate::run::Failure;
use crate::world::World;
use abi::{PAGE_SIZE, PMD_SIZE};
use mm::Huge;

/// What a round touches in small pages.
const SMALL: u64 = 4 << 20;
/// What a round touches in huge ones.
const LARGE: u64 = 32 << 20;

/// Stores to one page after the other: the store, the exception, the page.
pub(crate) fn small<W: World>(seat: &Seat<'_, W>) -> Result<(), Failure> {
    let range = seat.map(0, seat.afford(SMALL), Huge::Never)?;
    seat.time_each(range.pages(), |n| seat.store(at(range, n, PAGE_SIZE)))?;
    seat.unmap(range)
}

/// The same pages without exceptions.
pub(crate) fn populate<W: World>(seat: &Seat<'_, W>) -> Result<(), Failure> {
    let range = seat.map(0, seat.afford(SMALL), Huge::Never)?;
    seat.time_each(range.pages(), |n| seat.fault(at(range, n, PAGE_SIZE)))?;
    seat.unmap(range)
}

/// Stores to one huge page after the other.
pub(crate) fn huge<W: World>(seat: &Seat<'_, W>) -> Result<(), Failure> {
    let range = seat.map(0, seat.afford(LARGE), Huge::Advised)?;
    seat.time_each(range.bytes() / PMD_SIZE, |n| seat.store(at(range, n, PMD_SIZE)))?;
    seat.unmap(range)
}
