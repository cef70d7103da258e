//! References to mapped pages, and pins. Giving back is a row of its own.

use crate::bench::seat::{Seat, at};
use crate::run::Failure;
use crate::world::World;
use abi::{Access, PAGE_SIZE, PMD_SIZE, VirtRange};
use alloc::vec::Vec;
use mm::gup::Run;
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

/// Pages that a call of many asks for.
const FEW: u64 = 16;
const MANY: u64 = 512;

/// Sixteen pages of one small mapping after the other.
pub(crate) fn small_few<W: World>(seat: &Seat<'_, W>) -> Result<(), Failure> {
    many(seat, Huge::Never, FEW, Part::Reference)
}

/// All pages of a table.
pub(crate) fn small_many<W: World>(seat: &Seat<'_, W>) -> Result<(), Failure> {
    many(seat, Huge::Never, MANY, Part::Reference)
}

/// All pages of a huge mapping.
pub(crate) fn huge_many<W: World>(seat: &Seat<'_, W>) -> Result<(), Failure> {
    many(seat, Huge::Advised, MANY, Part::Reference)
}

/// All pages of a table, pinned.
pub(crate) fn pin_small<W: World>(seat: &Seat<'_, W>) -> Result<(), Failure> {
    many(seat, Huge::Never, MANY, Part::Pin)
}

/// The pins of all pages of a table, given back.
pub(crate) fn unpin_small<W: World>(seat: &Seat<'_, W>) -> Result<(), Failure> {
    many(seat, Huge::Never, MANY, Part::Unpin)
}

/// The pins of all pages of a huge mapping, given back.
pub(crate) fn unpin_huge<W: World>(seat: &Seat<'_, W>) -> Result<(), Failure> {
    many(seat, Huge::Advised, MANY, Part::Unpin)
}

/// What is measured.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Reference,
    Pin,
    Unpin,
}

/// The pages of 2 MiB, `pages` a call.
fn many<W: World>(seat: &Seat<'_, W>, huge: Huge, pages: u64, part: Part) -> Result<(), Failure> {
    let fill = if huge == Huge::Never { PAGE_SIZE } else { PMD_SIZE };
    let range = seat.filled(0, PMD_SIZE, huge, fill)?;
    let mut runs = Vec::new();
    let refused = OutOfMemory { order: abi::Order::PAGE };
    runs.try_reserve_exact(pages as usize).map_err(|_| Failure::Memory(refused))?;
    runs.resize(pages as usize, Run::EMPTY);
    let mut found = 0;
    for first in (0..MANY).step_by(pages as usize) {
        let va = at(range, first, PAGE_SIZE);
        let hold = |runs| match part {
            Part::Reference => seat.space.gup_fast_many(va, pages, Access::Write, runs),
            Part::Pin | Part::Unpin => seat.space.pin_fast_many(va, pages, Access::Write, runs),
        };
        let held = if part == Part::Unpin {
            hold(&mut runs)
        } else {
            seat.time(pages, || hold(&mut runs))
        };
        found += held.pages();
        if part == Part::Unpin {
            seat.time(pages, || drop(held));
        }
    }
    seat.unmap(range)?;
    match found {
        MANY => Ok(()),
        _ => Err(Failure::Count { what: "pages held", expected: MANY, found }),
    }
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
