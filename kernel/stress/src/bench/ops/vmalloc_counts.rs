//! Things done to the kernel's mappings many at a time, for what they ask of the machine: TLBIs and barriers.

use super::vmalloc::list;
use crate::bench::seat::Seat;
use crate::run::Failure;
use crate::world::World;
use abi::{Order, PAGE_SIZE, Pfn, PhysAddr, PhysRange};
use alloc::vec::Vec;
use mm::vmalloc::{Area, Backing, Io};
use pte::{KernelProt, MemType};

/// Areas of a page that come and go.
const PAIRS: u64 = 10_000;
/// Areas that are given up, each between two that stay.
const SCATTERED: u64 = 1000;
/// Bytes that are mapped by blocks where pages were.
const PROMOTED: u64 = 64 << 20;
/// Frames that are mapped at once.
const FRAMES: u64 = 512;
/// Where a device could be: behind all memory, and nobody looks there.
const DEVICE: PhysAddr = PhysAddr(1 << 40);

/// Areas that come and go, with the purges that this leads to.
pub(crate) fn pairs<W: World>(seat: &Seat<'_, W>) -> Result<(), Failure> {
    seat.mm().unmap_aliases();
    seat.time(1, || {
        (0..PAIRS).try_for_each(|_| {
            seat.mm().vfree(seat.mm().vmalloc(PAGE_SIZE, Backing::Pages)?);
            Ok(())
        })
    })
}

/// One purge of areas that do not touch.
pub(crate) fn purge<W: World>(seat: &Seat<'_, W>) -> Result<(), Failure> {
    let mut areas: Vec<Area> = list(2 * SCATTERED)?;
    let taken = (0..2 * SCATTERED).try_for_each(|_| {
        areas.push(seat.mm().vmalloc(PAGE_SIZE, Backing::Pages)?);
        Ok(())
    });
    seat.mm().unmap_aliases();
    if taken.is_ok() {
        let mut n = areas.len();
        while n > 0 {
            n -= 2;
            // What takes its place is one that stays.
            seat.mm().vfree(areas.swap_remove(n));
        }
        seat.time(1, || seat.mm().unmap_aliases());
    }
    areas.into_iter().for_each(|area| seat.mm().vfree(area));
    taken
}

/// Blocks where pages left their tables behind.
pub(crate) fn promote<W: World>(seat: &Seat<'_, W>) -> Result<(), Failure> {
    let (mm, device) = (seat.mm(), |from| PhysRange::from_size(DEVICE + from, PROMOTED));
    // Of no block: page by page.
    mm.iounmap(mm.ioremap(device(PAGE_SIZE), Io::DEVICE)?);
    // All addresses are handed out anew, from the lowest on.
    mm.unmap_aliases();
    mm.iounmap(seat.time(1, || mm.ioremap(device(0), Io::DEVICE))?);
    mm.unmap_aliases();
    Ok(())
}

/// Frames from anywhere at consecutive addresses whose tables are there.
pub(crate) fn scattered<W: World>(seat: &Seat<'_, W>) -> Result<(), Failure> {
    let mm = seat.mm();
    let mut frames: Vec<Pfn> = list(FRAMES)?;
    let result = (|| {
        for _ in 0..FRAMES {
            frames.push(seat.block(Order::PAGE)?);
        }
        // No two neighbours that are neighbours.
        let mut mixed: Vec<Pfn> = list(FRAMES)?;
        mixed.extend((0..FRAMES).map(|n| frames[(n * 251 % FRAMES) as usize]));
        let map = || mm.vmap(&mixed, KernelProt::Data, MemType::Normal);
        mm.vunmap(map()?);
        mm.unmap_aliases();
        mm.vunmap(seat.time(1, map)?);
        Ok(())
    })();
    frames.into_iter().for_each(|page| seat.give(page));
    result
}
