//! The cases of Linux's `test_vmalloc` ([`crate::cases`]), turn by turn as there: each area's first bytes are written
//! before it is given back.

use super::vmalloc::list;
use crate::bench::seat::Seat;
use crate::cases::{self, Ask, Case};
use crate::rng::Rng;
use crate::run::Failure;
use crate::world::World;
use abi::{Order, PAGE_SIZE, VirtRange};
use mm::VmallocError;
use mm::vmalloc::{Area, Backing};
use pte::{KernelProt, MemType};
use sync::Cpu;

/// Turns of a round. With little memory fewer: on a model each of a turn's steps is as long as thousands.
const TURNS: u64 = 8192;

/// An operation for each case but the last.
macro_rules! operations {
    ($($name:ident: $case:ident),*) => {$(
        pub(crate) fn $name<W: World>(seat: &Seat<'_, W>) -> Result<(), Failure> {
            round(seat, &cases::$case)
        }
    )*};
}

operations! {
    fix_size: FIX_SIZE,
    full_fit: FULL_FIT,
    long_busy_list: LONG_BUSY_LIST,
    random_size: RANDOM_SIZE,
    fix_align: FIX_ALIGN,
    random_size_align: RANDOM_SIZE_ALIGN,
    align_shift: ALIGN_SHIFT,
    pcpu: PCPU
}

/// `vm_map_ram`: a page of one's own, at a kernel address for a moment.
pub(crate) fn map_ram<W: World>(seat: &Seat<'_, W>) -> Result<(), Failure> {
    let page = seat.block(Order::PAGE)?;
    seat.mm().unmap_aliases();
    let result = seat.time_each(turns(seat), |_| {
        let area = seat.mm().vm_map_ram(&[page], KernelProt::Data, MemType::Normal)?;
        let touched = touch(seat, area.range());
        seat.mm().vm_unmap_ram(area);
        touched
    });
    seat.give(page);
    result
}

fn turns<W: World>(seat: &Seat<'_, W>) -> u64 {
    seat.afford(TURNS * PAGE_SIZE) / PAGE_SIZE
}

fn round<W: World>(seat: &Seat<'_, W>, case: &Case) -> Result<(), Failure> {
    let cpus = seat.world.cpus();
    let mut rng = Rng::new(1, "bench", seat.mm().hw.id().index());
    let count = (seat.afford(case.held * PAGE_SIZE) / PAGE_SIZE).min(case.held);
    let mut held = list(count)?;
    // Each round begins with nothing lazy.
    seat.mm().unmap_aliases();
    let result = hold(seat, case, &mut held, count).and_then(|()| {
        seat.time_each(turns(seat), |turn| {
            let mut areas = [None, None];
            let asks = case.asks(turn, cpus as u64, &mut rng);
            let taken = asks.zip(&mut areas).try_for_each(|(ask, area)| {
                *area = take(seat, ask, cpus)?;
                area.as_ref().map_or(Ok(()), |area| touch(seat, area.range()))
            });
            areas.into_iter().rev().flatten().for_each(|area| seat.mm().vfree(area));
            taken
        })
    });
    held.into_iter().for_each(|area| seat.mm().vfree(area));
    result
}

/// What the case has beside its turns.
fn hold<W: World>(
    seat: &Seat<'_, W>,
    case: &Case,
    held: &mut alloc::vec::Vec<Area>,
    count: u64,
) -> Result<(), Failure> {
    for _ in 0..count {
        held.push(seat.mm().vmalloc(PAGE_SIZE, Backing::Pages)?);
    }
    if case.is_thinned {
        let mut n = held.len() & !1;
        while n > 0 {
            n -= 2;
            // What takes its place is one that stays.
            seat.mm().vfree(held.swap_remove(n));
        }
    }
    Ok(())
}

/// An area, or none where there can be none.
#[inline]
fn take<W: World>(seat: &Seat<'_, W>, ask: Ask, cpus: usize) -> Result<Option<Area>, Failure> {
    let mm = seat.mm();
    match mm.vmalloc_aligned(ask.pages * PAGE_SIZE, ask.align, Backing::Pages) {
        Ok(area) => Ok(Some(area)),
        Err(VmallocError::NoRoom { .. }) if ask.has_few_places(mm.vmalloc_space(), cpus) => {
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

#[inline]
fn touch<W: World>(seat: &Seat<'_, W>, range: VirtRange) -> Result<(), Failure> {
    if seat.world.kernel_store(range.start, 0) {
        return Ok(());
    }
    let cpu = seat.mm().hw.id().index();
    Err(Failure::Kernel { cpu, va: range.start, expected: 0, found: None })
}
