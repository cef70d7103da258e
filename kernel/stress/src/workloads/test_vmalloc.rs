//! The cases that Linux's vmalloc is measured with (`lib/test_vmalloc.c`), under the same names and with the same
//! sizes; here each word that is written is read again, by another address never.
//!
//! Hunted: an address that is handed out while a CPU still has what was there before; two areas that overlap; a
//! purge that returns what somebody has.

use crate::rng::Rng;
use crate::run::{Failure, Run};
use crate::stamp::Stamp;
use crate::world::World;
use abi::{PAGE_SIZE, VirtAddr};
use alloc::vec::Vec;
use mm::VmallocError;
use mm::vmalloc::{Area, Backing};

/// A case: what is held throughout, and what a turn does besides.
struct Case<W: World> {
    /// Areas of a page held throughout, as far as memory goes.
    held: u64,
    /// Every second one of them is given back before the turns begin.
    thinned: bool,
    turn: fn(&Turn<'_, '_, W>, &mut Rng) -> Result<(), Failure>,
}

/// One CPU's turn.
struct Turn<'r, 'w, W: World> {
    run: &'r Run<'w, W>,
    cpu: usize,
    round: u64,
}

/// `fix_size_alloc`: a page.
pub(super) fn fix_size<W: World>(run: &Run<'_, W>, watch: &mut dyn FnMut()) -> Result<(), Failure> {
    turns(run, watch, &Case { held: 0, thinned: false, turn: |turn, _| turn.one(1, 1) })
}

/// `full_fit_alloc`: a page, where a gap of just a page lies between any two.
pub(super) fn full_fit<W: World>(run: &Run<'_, W>, watch: &mut dyn FnMut()) -> Result<(), Failure> {
    turns(run, watch, &Case { held: 16_384, thinned: true, turn: |turn, _| turn.one(1, 1) })
}

/// `long_busy_list_alloc`: 100 pages and a page, beside 15 000 others.
pub(super) fn long_busy_list<W: World>(
    run: &Run<'_, W>,
    watch: &mut dyn FnMut(),
) -> Result<(), Failure> {
    let turn = |turn: &Turn<'_, '_, W>, _: &mut Rng| {
        let Some(large) = turn.area(100, 1)? else { return Ok(()) };
        let small = turn.one(1, 1);
        let large = turn.give(large);
        small.and(large)
    };
    turns(run, watch, &Case { held: 15_000, thinned: false, turn })
}

/// `random_size_alloc`: 1 to 100 pages.
pub(super) fn random_size<W: World>(
    run: &Run<'_, W>,
    watch: &mut dyn FnMut(),
) -> Result<(), Failure> {
    let turn = |turn: &Turn<'_, '_, W>, rng: &mut Rng| turn.one(1 + rng.below(100), 1);
    turns(run, watch, &Case { held: 0, thinned: false, turn })
}

/// `fix_align_alloc`: 5 pages at a multiple of 32 KiB.
pub(super) fn fix_align<W: World>(
    run: &Run<'_, W>,
    watch: &mut dyn FnMut(),
) -> Result<(), Failure> {
    turns(run, watch, &Case { held: 0, thinned: false, turn: |turn, _| turn.one(5, 32 << 10) })
}

/// `random_size_align_alloc`: 1 to 10 pages at a multiple of up to 4 MiB.
pub(super) fn random_size_align<W: World>(
    run: &Run<'_, W>,
    watch: &mut dyn FnMut(),
) -> Result<(), Failure> {
    let turn =
        |turn: &Turn<'_, '_, W>, rng: &mut Rng| turn.one(1 + rng.below(10), 1 << rng.below(23));
    turns(run, watch, &Case { held: 0, thinned: false, turn })
}

/// `align_shift_alloc`: a page at every power of two. Beyond the space there is none, and that is said.
pub(super) fn align_shift<W: World>(
    run: &Run<'_, W>,
    watch: &mut dyn FnMut(),
) -> Result<(), Failure> {
    let turn = |turn: &Turn<'_, '_, W>, _: &mut Rng| {
        (0..u64::BITS).try_for_each(|shift| match turn.one(1, 1 << shift) {
            Err(Failure::Refused(crate::failure::Refusal::Vmalloc(VmallocError::NoRoom {
                ..
            }))) if turn.has_few_places(1 << shift) => Ok(()),
            result => result,
        })
    };
    turns(run, watch, &Case { held: 0, thinned: false, turn })
}

/// `pcpu_alloc`: a share for each CPU, of 1 to 1024 bytes, at a multiple of up to 2 KiB from the area's start.
pub(super) fn pcpu<W: World>(run: &Run<'_, W>, watch: &mut dyn FnMut()) -> Result<(), Failure> {
    let turn = |turn: &Turn<'_, '_, W>, rng: &mut Rng| {
        let (bytes, align) = (1 + rng.below(PAGE_SIZE / 4), 2u64 << rng.below(11));
        let share = bytes.next_multiple_of(align);
        turn.one((share * turn.run.options.cpus as u64).div_ceil(PAGE_SIZE), 1)
    };
    turns(run, watch, &Case { held: 0, thinned: false, turn })
}

fn turns<W: World>(
    run: &Run<'_, W>,
    watch: &mut dyn FnMut(),
    case: &Case<W>,
) -> Result<(), Failure> {
    // Half of the memory at most, all CPUs together.
    let share = run.options.bytes / 2 / PAGE_SIZE / run.options.cpus as u64;
    run.on_cpus(watch, |cpu, rng| {
        let mut held = Vec::new();
        let turn = Turn { run, cpu, round: 0 };
        let mut result = turn.hold(&mut held, case.held.min(share));
        if case.thinned {
            let mut n = held.len() & !1;
            while n > 0 {
                n -= 2;
                // What takes its place is one that stays.
                run.mm().vfree(held.swap_remove(n));
            }
        }
        let mut round = 0;
        while result.is_ok() && run.goes_on(round) {
            result = (case.turn)(&Turn { run, cpu, round }, rng);
            round += 1;
        }
        let checked = held.iter().try_for_each(|area| turn.check(area));
        held.into_iter().for_each(|area| run.mm().vfree(area));
        result.and(checked)
    })
}

impl<W: World> Turn<'_, '_, W> {
    /// Areas of a page, each with its stamp, as many of `n` as there is memory for.
    fn hold(&self, held: &mut Vec<Area>, n: u64) -> Result<(), Failure> {
        for _ in 0..n {
            let Some(area) = self.area(1, 1)? else { return Ok(()) };
            if held.try_reserve(1).is_err() {
                return self.give(area);
            }
            held.push(area);
        }
        Ok(())
    }

    /// An area that comes and goes.
    fn one(&self, pages: u64, align: u64) -> Result<(), Failure> {
        self.area(pages, align)?.map_or(Ok(()), |area| self.give(area))
    }

    /// Whether the others may have all places of the space at a multiple of `align` bytes: each CPU one in use, and
    /// one that is lazy.
    fn has_few_places(&self, align: u64) -> bool {
        let places = self.run.mm().vmalloc_space().bytes() / align;
        places <= 2 * self.run.options.cpus as u64
    }

    /// A stamped area, or none where others have all memory.
    fn area(&self, pages: u64, align: u64) -> Result<Option<Area>, Failure> {
        let align = align.max(PAGE_SIZE);
        let area = match self.run.mm().vmalloc_aligned(pages * PAGE_SIZE, align, Backing::Pages) {
            Ok(area) => area,
            Err(VmallocError::OutOfMemory(_)) => {
                self.run.world.yield_now();
                return Ok(None);
            }
            Err(error) => return Err(error.into()),
        };
        for va in Self::ends(&area) {
            if !self.run.world.kernel_store(va, self.stamp(va).word()) {
                let lost = self.wrong(va, None);
                self.run.mm().vfree(area);
                return Err(lost);
            }
        }
        Ok(Some(area))
    }

    fn give(&self, area: Area) -> Result<(), Failure> {
        let checked = self.check(&area);
        self.run.mm().vfree(area);
        self.run.did(1);
        checked
    }

    fn check(&self, area: &Area) -> Result<(), Failure> {
        Self::ends(area).into_iter().try_for_each(|va| {
            let found = self.run.world.kernel_load(va);
            if found == Some(self.stamp(va).word()) { Ok(()) } else { Err(self.wrong(va, found)) }
        })
    }

    /// The words that are written: an area's first and its last.
    fn ends(area: &Area) -> [VirtAddr; 2] {
        [area.range().start, VirtAddr(area.range().end.0 - 8)]
    }

    fn stamp(&self, va: VirtAddr) -> Stamp {
        Stamp::new(self.cpu as u8, va, self.round as u16)
    }

    fn wrong(&self, va: VirtAddr, found: Option<u64>) -> Failure {
        Failure::Kernel { cpu: self.cpu, va, expected: self.stamp(va).word(), found }
    }
}
