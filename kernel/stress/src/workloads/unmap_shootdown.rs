//! `unmap-shootdown`: CPU 0 maps, stamps, unmaps, and lets others have the frames at once; the other
//! CPUs read through the same space all the while.
//!
//! A reader may find: this version's stamp; zero (mapped, not yet stamped); or be denied (unmapped).
//! A stamp of another page or space is a crossed translation. A stamp of a version whose unmapping had
//! returned before the read began is a stale one. To make the second visible, a second space takes the
//! freed frames and stamps them as its own.

use crate::rng::Rng;
use crate::run::{Failure, Run};
use crate::stamp::Stamp;
use crate::world::World;
use abi::{Access, PAGE_SIZE, PMD_SIZE, Prot, VirtAddr, VirtRange};
use core::sync::atomic::{AtomicU64, Ordering};
use mm::{Denial, FaultOutcome, Huge, Place, Space};

/// Where the shared range is, round after round: the readers know it beforehand.
const SHARED: VirtAddr = VirtAddr(1 << 39);
/// The space number in the shared range's stamps, and in those of the frames' next owner.
const OURS: u8 = 1;
const NEXT: u8 = 2;

pub(super) fn run<W: World>(run: &Run<'_, W>, watch: &mut dyn FnMut()) -> Result<(), Failure> {
    let shared = Space::new(run.mm())?;
    let next = Space::new(run.mm())?;
    let bytes = (run.options.bytes / 4).clamp(PAGE_SIZE, PMD_SIZE) & !(PAGE_SIZE - 1);
    let range = VirtRange::from_size(SHARED, bytes);
    // The newest version whose unmapping has returned.
    let gone = AtomicU64::new(0);
    run.on_cpus(watch, |cpu, rng| {
        if cpu == 0 {
            let result = change(run, &shared, &next, range, rng, &gone);
            // The readers have nothing to do without the changer.
            run.stop();
            return result;
        }
        let mut result = Ok(());
        run.world.inside(&shared, &mut || {
            while result.is_ok() && !run.stopped() {
                result = read_one(run, &shared, cpu, range, rng, &gone);
            }
        });
        result
    })
}

fn change<W: World>(
    run: &Run<'_, W>,
    shared: &Space<'_, W::Machine>,
    next: &Space<'_, W::Machine>,
    range: VirtRange,
    rng: &mut Rng,
    gone: &AtomicU64,
) -> Result<(), Failure> {
    let mut round = 0;
    while run.goes_on(round) {
        round += 1;
        let version = round as u16;
        let huge = if rng.one_in(3) { Huge::Allowed } else { Huge::Never };
        shared.map(Place::At(range.start), range.bytes(), Prot::ReadWrite, huge)?;
        let mut result = Ok(());
        run.world.inside(shared, &mut || {
            for page in 0..range.pages() {
                let va = range.start + page * PAGE_SIZE;
                if result.is_ok() {
                    result = run.mark(shared, 0, va, Stamp::new(OURS, va, version));
                }
            }
            for _ in 0..rng.below(8) {
                run.world.yield_now();
            }
        });
        result?;
        unmap(shared, range, rng)?;
        gone.store(round, Ordering::SeqCst);
        run.did(range.pages());
        // The frames are free: let the other space have them and write them.
        let reuse = run.map(next, range.bytes(), huge)?;
        run.world.inside(next, &mut || {
            for page in 0..reuse.pages() {
                let va = reuse.start + page * PAGE_SIZE;
                if result.is_ok() {
                    result = run.mark(next, 0, va, Stamp::new(NEXT, va, version));
                }
            }
        });
        result?;
        next.unmap(reuse)?;
    }
    Ok(())
}

/// Unmaps all of it: at once, or in pieces in between which the readers run.
fn unmap<H: mm::Hardware>(
    space: &Space<'_, H>,
    range: VirtRange,
    rng: &mut Rng,
) -> Result<(), Failure> {
    let mut start = range.start;
    while start < range.end {
        let left = (range.end - start) / PAGE_SIZE;
        let pages = if rng.one_in(2) { left } else { 1 + rng.below(left) };
        let piece = VirtRange::from_size(start, pages * PAGE_SIZE);
        space.unmap(piece)?;
        start = piece.end;
    }
    Ok(())
}

fn read_one<W: World>(
    run: &Run<'_, W>,
    space: &Space<'_, W::Machine>,
    cpu: usize,
    range: VirtRange,
    rng: &mut Rng,
    gone: &AtomicU64,
) -> Result<(), Failure> {
    let va = range.start + rng.below(range.pages()) * PAGE_SIZE;
    let gone_before = gone.load(Ordering::SeqCst);
    let found = match run.world.load(space, va) {
        Ok(0) => return Ok(()),
        Ok(found) => found,
        Err(FaultOutcome::Denied(Denial::NoArea)) => return Ok(()),
        Err(outcome) => {
            return Err(run.wrong_outcome(space, cpu, va, Access::Read, Some(outcome)));
        }
    };
    run.did(1);
    let newest_gone = Stamp::new(OURS, va, gone_before as u16);
    let ours = Stamp::read(found).is_some_and(|stamp| {
        // Versions wrap; a live one is ahead of the newest gone by less than half the circle.
        let ahead = stamp.version.wrapping_sub(newest_gone.version);
        stamp == Stamp { version: stamp.version, ..newest_gone } && (1..0x8000).contains(&ahead)
    });
    if ours {
        return Ok(());
    }
    let expected = Stamp { version: newest_gone.version.wrapping_add(1), ..newest_gone };
    Err(run.wrong_data(space, cpu, va, expected, found))
}
