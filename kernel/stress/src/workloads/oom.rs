//! `oom`: uses up all memory, is refused cleanly, gives everything back, and again.
//!
//! Memory beyond `mem=` is set aside first, without touching it, so that running out is quick on a
//! large machine.

use super::hoard::Hoard;
use crate::rng::Rng;
use crate::run::{Failure, Run};
use crate::stamp::Stamp;
use crate::world::World;
use abi::{Access, Order, PAGE_SIZE, Prot, VirtAddr, VirtRange};
use core::sync::atomic::{AtomicU64, Ordering};
use mm::{FaultOutcome, Huge, MapError, Place, Space, UnmapError};

const START: VirtAddr = VirtAddr(1 << 41);

pub(super) fn run<W: World>(run: &Run<'_, W>, watch: &mut dyn FnMut()) -> Result<(), Failure> {
    let hoard = Hoard::all_but(run.mm(), run.options.bytes / PAGE_SIZE, Order::MAX)?;
    let refused = AtomicU64::new(0);
    run.on_cpus(watch, |cpu, rng| {
        let mut round = 0;
        // The first round runs out whatever time it takes: without that nothing was shown.
        while round == 0 || run.goes_on(round) {
            one_round(run, cpu, rng, round as u16, &refused)?;
            round += 1;
        }
        Ok(())
    })?;
    drop(hoard);
    // An out-of-memory workload that never ran out has shown nothing.
    let refused = refused.load(Ordering::Relaxed);
    if refused == 0 && !run.stopped() {
        return Err(Failure::Count { what: "refused page faults", expected: 1, found: refused });
    }
    Ok(())
}

/// Touches page after page until memory is out, verifies all, gives all back.
fn one_round<W: World>(
    run: &Run<'_, W>,
    cpu: usize,
    rng: &mut Rng,
    version: u16,
    refused: &AtomicU64,
) -> Result<(), Failure> {
    // Also this may be refused: others are using everything.
    let Ok(space) = Space::new(run.mm()) else {
        run.world.yield_now();
        return Ok(());
    };
    let huge = if rng.one_in(2) { Huge::Default } else { Huge::Never };
    // More than there can be.
    let bytes = (run.mm().frames.managed_pages(&run.mm().hw) + 1) * PAGE_SIZE;
    let range = match space.map(Place::At(START), bytes, Prot::ReadWrite, huge) {
        Ok(range) => range,
        Err(MapError::OutOfMemory) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    run.inside(&space, || fill(run, &space, cpu, range, version, refused))?;
    // Half the rounds give the memory back in pieces.
    if rng.one_in(2) {
        let middle = range.start + rng.below(range.pages()) * PAGE_SIZE;
        let lower = VirtRange::new(range.start, middle);
        match space.unmap(lower) {
            Ok(()) | Err(UnmapError::BadRange(_) | UnmapError::OutOfMemory) => {}
        }
    }
    Ok(())
}

/// Stamps pages until one is refused, and checks that each stamped one is whole.
fn fill<W: World>(
    run: &Run<'_, W>,
    space: &Space<'_, W::Machine>,
    cpu: usize,
    range: VirtRange,
    version: u16,
    refused: &AtomicU64,
) -> Result<(), Failure> {
    let mut filled = 0;
    while filled < range.pages() && !run.stopped() && (version == 0 || run.goes_on(0)) {
        let va = range.start + filled * PAGE_SIZE;
        let stamp = Stamp::new(cpu as u8, va, version);
        match run.world.store(space, va, stamp.word()) {
            Ok(()) => filled += 1,
            Err(FaultOutcome::OutOfMemory(_)) => {
                refused.fetch_add(1, Ordering::Relaxed);
                break;
            }
            Err(outcome) => {
                return Err(run.wrong_outcome(space, cpu, va, Access::Write, Some(outcome)));
            }
        }
    }
    for page in 0..filled {
        let va = range.start + page * PAGE_SIZE;
        let stamp = Stamp::new(cpu as u8, va, version);
        let found = run.load(space, cpu, va)?;
        if found != stamp.word() {
            return Err(run.wrong_data(space, cpu, va, stamp, found));
        }
    }
    run.did(filled);
    Ok(())
}
