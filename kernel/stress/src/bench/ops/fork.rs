//! Fork, and the first writes after it.
//!
//! A fork here is of the address space alone: there is no process around it.

use crate::bench::seat::{Seat, at};
use crate::run::Failure;
use crate::world::World;
use abi::{PAGE_SIZE, PMD_SIZE};
use mm::Huge;

/// What is forked.
const BULK: u64 = 64 << 20;
/// What is written afterwards, in small pages.
const WRITTEN: u64 = 4 << 20;

/// A space with nothing in it.
pub(crate) fn empty<W: World>(seat: &Seat<'_, W>) -> Result<(), Failure> {
    let child = seat.time(1, || seat.space.fork())?;
    drop(child);
    Ok(())
}

/// A space of small pages, less an empty one.
pub(crate) fn small_bulk<W: World>(seat: &Seat<'_, W>) -> Result<(), Failure> {
    bulk(seat, Huge::Never, PAGE_SIZE)
}

/// A space of huge pages, less an empty one.
pub(crate) fn huge_bulk<W: World>(seat: &Seat<'_, W>) -> Result<(), Failure> {
    bulk(seat, Huge::Advised, PMD_SIZE)
}

fn bulk<W: World>(seat: &Seat<'_, W>, huge: Huge, step: u64) -> Result<(), Failure> {
    let range = seat.filled(0, seat.afford(BULK), huge, step)?;
    let child = seat.time(range.bytes() / step, || seat.space.fork())?;
    drop(child);
    seat.unmap(range)?;
    let child = seat.time_less(|| seat.space.fork())?;
    drop(child);
    Ok(())
}

/// Writes to small pages that a child has too: each is copied.
pub(crate) fn copy<W: World>(seat: &Seat<'_, W>) -> Result<(), Failure> {
    write(seat, Huge::Never, PAGE_SIZE, true)
}

/// Writes to small pages that a child had: each is the parent's own again.
pub(crate) fn reuse<W: World>(seat: &Seat<'_, W>) -> Result<(), Failure> {
    write(seat, Huge::Never, PAGE_SIZE, false)
}

/// The first write to a huge page that a child has too.
pub(crate) fn huge_first_write<W: World>(seat: &Seat<'_, W>) -> Result<(), Failure> {
    write(seat, Huge::Advised, PMD_SIZE, true)
}

fn write<W: World>(
    seat: &Seat<'_, W>,
    huge: Huge,
    step: u64,
    child_lives: bool,
) -> Result<(), Failure> {
    let bytes = if huge == Huge::Never { WRITTEN } else { BULK };
    let range = seat.filled(0, seat.afford(bytes), huge, step)?;
    let child = Some(seat.space.fork()?).filter(|_| child_lives);
    seat.time_each(range.bytes() / step, |n| seat.store(at(range, n, step)))?;
    drop(child);
    seat.unmap(range)
}
