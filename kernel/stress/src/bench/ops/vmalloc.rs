//! Kernel mappings that come and go. Giving back contains the purges that it leads to.

use crate::bench::seat::Seat;
use crate::run::Failure;
use crate::world::World;
use abi::{Order, PAGE_SIZE, PMD_SIZE, Pfn};
use alloc::vec::Vec;
use mm::OutOfMemory;
use mm::vmalloc::{Area, Backing, RamArea};
use pte::{KernelProt, MemType};

/// Areas of a page a round: they go well beyond what is given back before a purge.
const SMALL: u64 = 4096;
/// Areas of 1 MiB.
const MIB: u64 = 1 << 20;
const LARGE: u64 = 32;
/// Areas of 2 MiB.
const HUGE: u64 = 16;
/// Pages of others' that are mapped at once, and how often.
const MAPPED: u64 = 256;
const MAPS: u64 = 16;
/// Pages of a short-lived mapping, and how many of those are held at once: several blocks of addresses.
const FEW: u64 = 4;
const PIECES: u64 = 2048;

pub(crate) fn alloc_small<W: World>(seat: &Seat<'_, W>) -> Result<(), Failure> {
    alloc(seat, SMALL, PAGE_SIZE, Backing::Pages, 1)
}

pub(crate) fn free_small<W: World>(seat: &Seat<'_, W>) -> Result<(), Failure> {
    free(seat, SMALL, PAGE_SIZE, Backing::Pages, 1)
}

pub(crate) fn alloc_large<W: World>(seat: &Seat<'_, W>) -> Result<(), Failure> {
    alloc(seat, LARGE, MIB, Backing::Pages, MIB / PAGE_SIZE)
}

pub(crate) fn free_large<W: World>(seat: &Seat<'_, W>) -> Result<(), Failure> {
    free(seat, LARGE, MIB, Backing::Pages, MIB / PAGE_SIZE)
}

pub(crate) fn alloc_huge<W: World>(seat: &Seat<'_, W>) -> Result<(), Failure> {
    alloc(seat, HUGE, PMD_SIZE, Backing::Huge, 1)
}

pub(crate) fn free_huge<W: World>(seat: &Seat<'_, W>) -> Result<(), Failure> {
    free(seat, HUGE, PMD_SIZE, Backing::Huge, 1)
}

pub(crate) fn map<W: World>(seat: &Seat<'_, W>) -> Result<(), Failure> {
    mapping(seat, true)
}

pub(crate) fn unmap<W: World>(seat: &Seat<'_, W>) -> Result<(), Failure> {
    mapping(seat, false)
}

pub(crate) fn map_ram<W: World>(seat: &Seat<'_, W>) -> Result<(), Failure> {
    pieces(seat, true)
}

pub(crate) fn unmap_ram<W: World>(seat: &Seat<'_, W>) -> Result<(), Failure> {
    pieces(seat, false)
}

fn alloc<W: World>(
    seat: &Seat<'_, W>,
    wanted: u64,
    bytes: u64,
    backing: Backing,
    units: u64,
) -> Result<(), Failure> {
    let (mut areas, count) = room(seat, wanted, bytes)?;
    let result = seat.time_units(count, units, |_| {
        areas.push(seat.mm().vmalloc(bytes, backing)?);
        Ok(())
    });
    areas.into_iter().for_each(|area| seat.mm().vfree(area));
    result
}

fn free<W: World>(
    seat: &Seat<'_, W>,
    wanted: u64,
    bytes: u64,
    backing: Backing,
    units: u64,
) -> Result<(), Failure> {
    let (mut areas, count) = room(seat, wanted, bytes)?;
    for _ in 0..count {
        match seat.mm().vmalloc(bytes, backing) {
            Ok(area) => areas.push(area),
            Err(error) => {
                areas.into_iter().for_each(|area| seat.mm().vfree(area));
                return Err(error.into());
            }
        }
    }
    seat.time_units(count, units, |_| {
        areas.pop().into_iter().for_each(|area| seat.mm().vfree(area));
        Ok(())
    })
}

/// Room to remember areas of so many bytes in, and how many of `wanted` memory allows.
fn room<W: World>(
    seat: &Seat<'_, W>,
    wanted: u64,
    bytes: u64,
) -> Result<(Vec<Area>, u64), Failure> {
    let count = seat.afford(wanted * bytes) / bytes;
    Ok((list(count)?, count))
}

/// An empty list with room for so many.
pub(super) fn list<T>(count: u64) -> Result<Vec<T>, Failure> {
    let mut list = Vec::new();
    let refused = Failure::Memory(OutOfMemory { order: Order::PAGE });
    list.try_reserve_exact(count as usize).map_err(|_| refused)?;
    Ok(list)
}

/// Scattered pages at consecutive addresses, and taken back.
fn mapping<W: World>(seat: &Seat<'_, W>, counts_map: bool) -> Result<(), Failure> {
    let mut pages: Vec<Pfn> = list(2 * MAPPED)?;
    let result = (|| {
        for _ in 0..2 * MAPPED {
            pages.push(seat.block(Order::PAGE)?);
        }
        // No two neighbours.
        let scattered: Vec<Pfn> = {
            let mut scattered = list(MAPPED)?;
            scattered.extend(pages.iter().copied().step_by(2));
            scattered
        };
        for _ in 0..MAPS {
            let map = || seat.mm().vmap(&scattered, KernelProt::Data, MemType::Normal);
            let area = if counts_map { seat.time(MAPPED, map)? } else { map()? };
            let unmap = || seat.mm().vunmap(area);
            if counts_map { unmap() } else { seat.time(MAPPED, unmap) }
        }
        Ok(())
    })();
    pages.into_iter().for_each(|page| seat.give(page));
    result
}

/// A few pages mapped for a short time, and taken back: with the blocks that are made and given up on the way.
fn pieces<W: World>(seat: &Seat<'_, W>, counts_map: bool) -> Result<(), Failure> {
    let mut pages: Vec<Pfn> = list(FEW)?;
    let mut held: Vec<RamArea> = list(PIECES)?;
    let result = (|| {
        for _ in 0..FEW {
            pages.push(seat.block(Order::PAGE)?);
        }
        let mut map = |_| {
            held.push(seat.mm().vm_map_ram(&pages, KernelProt::Data, MemType::Normal)?);
            Ok(())
        };
        if counts_map {
            seat.time_units(PIECES, 1, map)
        } else {
            (0..PIECES).try_for_each(&mut map)
        }
    })();
    let unmap =
        |area: Option<RamArea>| area.into_iter().for_each(|area| seat.mm().vm_unmap_ram(area));
    let result = match result {
        Ok(()) if !counts_map => seat.time_units(PIECES, 1, |_| {
            unmap(held.pop());
            Ok(())
        }),
        result => result,
    };
    held.into_iter().for_each(|area| unmap(Some(area)));
    pages.into_iter().for_each(|page| seat.give(page));
    result
}
