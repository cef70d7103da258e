//! The page allocator: blocks taken and given back, in the order in which a large mapping comes and
//! goes.
//!
//! More at a time than a CPU keeps in stock, so that the zone's share is in the figure. A round of single pages
//! meets the zone two or three times, and each finds there the pieces that the one before left: only many rounds
//! say what it comes to.

use crate::bench::seat::Seat;
use crate::run::Failure;
use crate::world::World;
use abi::{Order, Pfn};
use alloc::vec::Vec;
use mm::OutOfMemory;

/// What a round takes in single pages, and in blocks of 2 MiB.
const SMALL: u64 = 2 << 20;
const LARGE: u64 = 32 << 20;

pub(crate) fn alloc_small<W: World>(seat: &Seat<'_, W>) -> Result<(), Failure> {
    alloc(seat, Order::PAGE, SMALL)
}

pub(crate) fn free_small<W: World>(seat: &Seat<'_, W>) -> Result<(), Failure> {
    free(seat, Order::PAGE, SMALL)
}

pub(crate) fn alloc_huge<W: World>(seat: &Seat<'_, W>) -> Result<(), Failure> {
    alloc(seat, Order::PMD, LARGE)
}

pub(crate) fn free_huge<W: World>(seat: &Seat<'_, W>) -> Result<(), Failure> {
    free(seat, Order::PMD, LARGE)
}

fn alloc<W: World>(seat: &Seat<'_, W>, order: Order, bytes: u64) -> Result<(), Failure> {
    let (mut blocks, count) = room(seat, order, bytes)?;
    let result = seat.time_each(count, |_| {
        blocks.push(seat.block(order)?);
        Ok(())
    });
    blocks.into_iter().for_each(|block| seat.give(block));
    result
}

fn free<W: World>(seat: &Seat<'_, W>, order: Order, bytes: u64) -> Result<(), Failure> {
    let (mut blocks, count) = room(seat, order, bytes)?;
    for _ in 0..count {
        match seat.block(order) {
            Ok(block) => blocks.push(block),
            Err(failure) => {
                blocks.into_iter().for_each(|block| seat.give(block));
                return Err(failure);
            }
        }
    }
    let mut left = blocks.iter();
    seat.time_each(count, |_| {
        if let Some(&block) = left.next() {
            seat.give(block);
        }
        Ok(())
    })
}

/// Room to remember the blocks in, and how many there will be.
fn room<W: World>(
    seat: &Seat<'_, W>,
    order: Order,
    bytes: u64,
) -> Result<(Vec<Pfn>, u64), Failure> {
    let count = seat.afford(bytes) / order.bytes();
    let mut blocks = Vec::new();
    let refused = Failure::Memory(OutOfMemory { order });
    blocks.try_reserve_exact(count as usize).map_err(|_| refused)?;
    Ok((blocks, count))
}
