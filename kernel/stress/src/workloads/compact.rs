//! `compact`: all CPUs give single pages back here and there, and make huge blocks out of what is left free,
//! while the others use theirs.
//!
//! Hunted: a page that is moved and found by nobody, or by two; one that is moved while it is written; a page
//! block that is emptied and given to nobody afterwards, or given to somebody before it is empty. A page would
//! show zeros, an older version or another's stamp; or memory would not come back.

use super::budget::Budget;
use crate::rng::Rng;
use crate::run::{Failure, Run};
use crate::stamp::Stamp;
use crate::world::World;
use abi::{PAGE_SIZE, PMD_SIZE, Prot, VirtAddr, VirtRange};
use mm::{Advice, Huge, Place, Space};

/// The first CPU's memory; the others' comes behind it.
const BASE: VirtAddr = VirtAddr(1 << 38);
/// Areas of 2 MiB that a CPU uses by turns.
const AREAS: u64 = 4;

pub(super) fn run<W: World>(run: &Run<'_, W>, watch: &mut dyn FnMut()) -> Result<(), Failure> {
    let space = Space::new(run.mm())?;
    // What is left of the other areas is less than one.
    let budget = Budget::new(run.options.bytes / 2);
    run.on_cpus(watch, |cpu, rng| {
        let mut left = [None; AREAS as usize];
        let mut round = 0;
        while run.goes_on(round) {
            if let Some(_share) = budget.take(1) {
                run.inside(&space, || wear(run, &space, (cpu, round), rng, &mut left))?;
            }
            run.mm().compact(1 + rng.below(4))?;
            run.inside(&space, || {
                left.iter().flatten().try_for_each(|left| left.check(run, &space))
            })?;
            round += 1;
        }
        Ok(())
    })?;
    let mm = run.mm();
    let isolated = mm.frames.isolated_pages(&mm.hw);
    if isolated > 0 {
        let what = "pages that are isolated though nobody empties their page blocks";
        return Err(Failure::Count { what, expected: 0, found: isolated });
    }
    match mm.frames.lost_pages(&mm.hw) {
        0 => Ok(()),
        found => Err(Failure::Count { what: "free pages that nobody has", expected: 0, found }),
    }
}

/// What is left of an area: one page of a few, each with its stamp.
#[derive(Clone, Copy)]
struct Left {
    cpu: usize,
    area: VirtRange,
    first: u64,
    step: u64,
    version: u16,
}

impl Left {
    fn pages(&self) -> impl Iterator<Item = VirtAddr> + '_ {
        let pages = (self.first..self.area.pages()).step_by(self.step as usize);
        pages.map(|page| self.area.start + page * PAGE_SIZE)
    }

    fn stamp(&self, va: VirtAddr) -> Stamp {
        Stamp::new(self.cpu as u8, va, self.version)
    }

    fn check<W: World>(
        &self,
        run: &Run<'_, W>,
        space: &Space<'_, W::Machine>,
    ) -> Result<(), Failure> {
        for va in self.pages() {
            run.check(space, self.cpu, va, self.stamp(va))?;
            run.did(1);
        }
        Ok(())
    }
}

/// Uses an area up, page by page, and gives most of it back: here and there something is left.
fn wear<W: World>(
    run: &Run<'_, W>,
    space: &Space<'_, W::Machine>,
    (cpu, round): (usize, u64),
    rng: &mut Rng,
    left: &mut [Option<Left>; AREAS as usize],
) -> Result<(), Failure> {
    let which = round % AREAS;
    let start = BASE + (cpu as u64 * AREAS + which) * PMD_SIZE;
    let area = VirtRange::from_size(start, PMD_SIZE);
    let now =
        Left { cpu, area, first: rng.below(4), step: 4 + rng.below(8), version: round as u16 };
    left[which as usize] = None;
    space.unmap(area)?;
    space.map(Place::At(start), PMD_SIZE, Prot::ReadWrite, Huge::Never)?;
    for page in 0..area.pages() {
        let va = start + page * PAGE_SIZE;
        run.mark(space, cpu, va, now.stamp(va))?;
    }
    let mut gone = start;
    for va in now.pages().chain([area.end]) {
        if gone < va {
            space.advise(VirtRange::new(gone, va), Advice::DontNeed)?;
        }
        gone = va + PAGE_SIZE;
    }
    left[which as usize] = Some(now);
    Ok(())
}
