//! Clearing and copying, and nothing else: what no memory manager can do without.

use crate::bench::seat::Seat;
use crate::run::Failure;
use crate::world::World;
use abi::Order;
use mm::Hardware;

/// Blocks a round.
const TURNS: u64 = 16;
/// 64 KiB.
const RUN: Order = Order(4);

pub(crate) fn clear_small<W: World>(seat: &Seat<'_, W>) -> Result<(), Failure> {
    clear(seat, Order::PAGE)
}

pub(crate) fn clear_run<W: World>(seat: &Seat<'_, W>) -> Result<(), Failure> {
    clear(seat, RUN)
}

pub(crate) fn clear_huge<W: World>(seat: &Seat<'_, W>) -> Result<(), Failure> {
    clear(seat, Order::PMD)
}

pub(crate) fn copy_small<W: World>(seat: &Seat<'_, W>) -> Result<(), Failure> {
    copy(seat, Order::PAGE)
}

pub(crate) fn copy_huge<W: World>(seat: &Seat<'_, W>) -> Result<(), Failure> {
    copy(seat, Order::PMD)
}

fn clear<W: World>(seat: &Seat<'_, W>, order: Order) -> Result<(), Failure> {
    let block = seat.block(order)?;
    let result = seat.time_each(TURNS, |_| {
        seat.mm().hw.zero(block, order);
        Ok(())
    });
    seat.give(block);
    result
}

fn copy<W: World>(seat: &Seat<'_, W>, order: Order) -> Result<(), Failure> {
    let from = seat.block(order)?;
    let to = seat.block(order).inspect_err(|_| seat.give(from))?;
    let result = seat.time_each(TURNS, |_| {
        seat.mm().hw.copy(from, to, order);
        Ok(())
    });
    seat.give(from);
    seat.give(to);
    result
}
