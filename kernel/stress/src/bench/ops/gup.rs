//! References to mapped pages. Giving them back is not in these rows.

use crate::bench::seat::{Seat, at};
use crate::run::Failure;
use crate::world::World;
use abi::{Access, PAGE_SIZE, PMD_SIZE, VirtRange};
use alloc::vec::Vec;
use mm::{Huge, OutOfMemory};

/// References a round.
const TURNS: u64 = 64;

/// Pages of one small mapping after the other, a call for each.
pub(crate) fn small_single<W: World>(seat: &Seat<'_, W>) -> Result<(), Failure> {
    let range = seat.filled(0, TURNS * PAGE_SIZE, Huge::Never, PAGE_SIZE)?;
    single(seat, range)
}

/// Pages of one huge mapping, a call for each.
pub(crate) fn huge_single<W: World>(seat: &Seat<'_, W>) -> Result<(), Failure> {
    let range = seat.filled(0, PMD_SIZE, Huge::Advised, PMD_SIZE)?;
    single(seat, range)
}

fn single<W: World>(seat: &Seat<'_, W>, range: VirtRange) -> Result<(), Failure> {
    let mut held = Vec::new();
    let refused = OutOfMemory { order: abi::Order::PAGE };
    held.try_reserve_exact(TURNS as usize).map_err(|_| Failure::Memory(refused))?;
    seat.time_each(TURNS, |n| {
        if let Some(page) = seat.space.gup_fast(at(range, n, PAGE_SIZE), Access::Write) {
            held.push(page);
        }
        Ok(())
    })?;
    let found = held.len() as u64;
    drop(held);
    seat.unmap(range)?;
    match found {
        TURNS => Ok(()),
        _ => Err(Failure::Count { what: "pages referenced", expected: TURNS, found }),
    }
}
