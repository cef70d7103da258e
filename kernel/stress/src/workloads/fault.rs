//! `fault-4k` and `thp-fault`: demand faults on all CPUs in one space, with the unmapping of whole
//! and partial ranges between them.
//!
//! Each CPU has a window of its own, side by side with the others' so that they share tables; what a
//! CPU finds in its window is known. The frames move from CPU to CPU through the allocator.
//!
//! Hunted: a fault that gives memory which somebody else still has, or that was not cleared; one that is
//! lost to another one beside it; zeros that everybody shares, written by one; a translation that outlives its
//! unmapping. A page would show somebody else's stamp, or what it held before.

use super::budget::{Budget, Share};
use crate::rng::Rng;
use crate::run::{Failure, Run};
use crate::stamp::Stamp;
use crate::world::World;
use abi::{Access, PAGE_SIZE, PMD_SIZE, Prot, VirtAddr, VirtRange};
use mm::{Huge, Place, Space};

/// The most that one round maps.
const MOST_BYTES: u64 = 4 * PMD_SIZE;
/// The distance of the CPUs' windows.
const WINDOW: u64 = 2 * MOST_BYTES;
/// The first CPU's window.
const WINDOWS: VirtAddr = VirtAddr(1 << 38);

/// What a round maps.
struct Plan<'a> {
    bytes: u64,
    huge: Huge,
    /// Kept for as long as it is mapped.
    _share: Option<Share<'a>>,
}

pub(super) fn small<W: World>(run: &Run<'_, W>, watch: &mut dyn FnMut()) -> Result<(), Failure> {
    let share = run.options.bytes / run.options.cpus as u64;
    drive(run, watch, |rng| {
        let pages = (share / PAGE_SIZE).clamp(1, 512);
        let bytes = (1 + rng.below(pages)) * PAGE_SIZE;
        Some(Plan { bytes, huge: Huge::Never, _share: None })
    })
}

pub(super) fn huge<W: World>(run: &Run<'_, W>, watch: &mut dyn FnMut()) -> Result<(), Failure> {
    let budget = Budget::new(run.options.bytes);
    drive(run, watch, |rng| {
        let share = budget.take(1 + rng.below(MOST_BYTES / PMD_SIZE))?;
        Some(Plan { bytes: share.blocks * PMD_SIZE, huge: Huge::Default, _share: Some(share) })
    })
}

/// Runs rounds of what `choose` says; it says `None` where there is no memory for one just now.
fn drive<'a, W: World>(
    run: &Run<'_, W>,
    watch: &mut dyn FnMut(),
    choose: impl Fn(&mut Rng) -> Option<Plan<'a>> + Sync,
) -> Result<(), Failure> {
    let space = Space::new(run.mm())?;
    run.on_cpus(watch, |cpu, rng| {
        run.inside(&space, || {
            let mut round = 0;
            while run.goes_on(round) {
                match choose(rng) {
                    Some(plan) => one_round(run, &space, cpu, rng, round as u16, &plan)?,
                    None => run.world.yield_now(),
                }
                round += 1;
            }
            Ok(())
        })
    })
}

/// Maps, touches from a random page on, punches a hole half of the time, verifies the rest, unmaps.
fn one_round<W: World>(
    run: &Run<'_, W>,
    space: &Space<'_, W::Machine>,
    cpu: usize,
    rng: &mut Rng,
    version: u16,
    &Plan { bytes, huge, .. }: &Plan<'_>,
) -> Result<(), Failure> {
    let unit = if huge == Huge::Default { PMD_SIZE } else { PAGE_SIZE };
    let start = WINDOWS + cpu as u64 * WINDOW + rng.below(MOST_BYTES / unit) * unit;
    let range = space.map(Place::At(start), bytes, Prot::ReadWrite, huge)?;
    let pages = range.pages();
    // Of a huge range only some pages: the fault is one, the memory is there.
    let step = if huge == Huge::Default { 1 + rng.below(64) } else { 1 };
    let start = rng.below(pages);
    let touched = || (0..pages).step_by(step as usize).map(|n| (n + start) % pages);
    let stamp_of = |page: u64| {
        let va = range.start + page * PAGE_SIZE;
        (va, Stamp::new(cpu as u8, va, version))
    };
    // Zeros, and perhaps everybody's, until they are written.
    if rng.one_in(2) {
        let (va, stamp) = stamp_of(rng.below(pages));
        let found = run.load(space, cpu, va)?;
        if found != 0 {
            return Err(run.wrong_data(space, cpu, va, stamp, found));
        }
    }
    for (va, stamp) in touched().map(stamp_of) {
        run.mark(space, cpu, va, stamp)?;
        run.did(1);
        if run.stopped() {
            break;
        }
    }
    if !run.stopped() {
        let hole_at = rng.below(pages);
        let hole_pages = 1 + rng.below(pages - hole_at);
        let hole = VirtRange::from_size(range.start + hole_at * PAGE_SIZE, hole_pages * PAGE_SIZE);
        let punched = rng.one_in(2);
        if punched {
            space.unmap(hole)?;
            run.did(1);
            check_hole(run, space, cpu, hole)?;
        }
        for (va, stamp) in touched().map(stamp_of) {
            if !(punched && hole.contains(va)) {
                run.check(space, cpu, va, stamp)?;
            }
        }
    }
    space.unmap(range)?;
    run.did(1);
    check_hole(run, space, cpu, range)
}

/// What is unmapped must be denied: its first and its last page.
fn check_hole<W: World>(
    run: &Run<'_, W>,
    space: &Space<'_, W::Machine>,
    cpu: usize,
    hole: VirtRange,
) -> Result<(), Failure> {
    for va in [hole.start, hole.end - PAGE_SIZE] {
        if run.world.load(space, va).is_ok() {
            return Err(run.wrong_outcome(space, cpu, va, Access::Read, None));
        }
    }
    Ok(())
}
