//! First touches.
//!
//! Tables are made on the way, as they are for Linux's: one PTE table in 512 small pages.

use crate::bench::seat::{Seat, at};
use crate::run::Failure;
use crate::world::World;
use abi::{PAGE_SIZE, PMD_SIZE};
use mm::thp::Policy;
use mm::{Advice, Huge};

/// What a round touches in small pages.
const SMALL: u64 = 4 << 20;
/// A contiguous run.
const RUN: u64 = 64 << 10;
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
    seat.time(range.pages(), || seat.space.advise(range, Advice::PopulateWrite))?;
    seat.unmap(range)
}

/// Loads from one untouched page after the other: each finds the zeros that all share.
pub(crate) fn zeros<W: World>(seat: &Seat<'_, W>) -> Result<(), Failure> {
    let range = seat.map(0, seat.afford(SMALL), Huge::Never)?;
    seat.time_each(range.pages(), |n| seat.load(at(range, n, PAGE_SIZE)))?;
    seat.unmap(range)
}

/// Stores to one run of 64 KiB after the other, where policy gives no huge pages.
pub(crate) fn run<W: World>(seat: &Seat<'_, W>) -> Result<(), Failure> {
    let thp = &seat.mm().thp;
    let (huge, runs) = (thp.enabled(), thp.enabled_64k());
    thp.set_enabled(Policy::Never);
    thp.set_enabled_64k(Some(Policy::Always));
    let range = seat.map(0, seat.afford(SMALL), Huge::Advised)?;
    let result = seat.time_each(range.bytes() / RUN, |n| seat.store(at(range, n, RUN)));
    thp.set_enabled(huge);
    thp.set_enabled_64k(runs);
    result?;
    seat.unmap(range)
}

/// Stores to one huge page after the other.
pub(crate) fn huge<W: World>(seat: &Seat<'_, W>) -> Result<(), Failure> {
    let range = seat.map(0, seat.afford(LARGE), Huge::Advised)?;
    seat.time_each(range.bytes() / PMD_SIZE, |n| seat.store(at(range, n, PMD_SIZE)))?;
    seat.unmap(range)
}
