//! `deferred-split`: parts of huge pages are unmapped or thrown away, while all CPUs split what is left of
//! them to get the memory back.
//!
//! Hunted: a folio that is split while the last of its pages are being unmapped, or is freed while it is on
//! the list of those to be split; a part that is freed though somebody maps it, or kept though nobody does.
//! A page that was kept would show somebody else's stamp or zeros; or memory would not come back.

use super::budget::Budget;
use super::field::BLOCK;
use crate::rng::Rng;
use crate::run::{Failure, Run};
use crate::stamp::Stamp;
use crate::world::World;
use abi::{Access, PAGE_SIZE, PMD_SIZE, Prot, VirtAddr, VirtRange};
use mm::{Advice, Huge, Place, Space};

/// The first CPU's block; the others' come behind it.
const BLOCKS: VirtAddr = VirtAddr(1 << 37);

pub(super) fn run<W: World>(run: &Run<'_, W>, watch: &mut dyn FnMut()) -> Result<(), Failure> {
    let space = Space::new(run.mm())?;
    // The last round's pieces stay until the end, so a block may be held by half.
    let budget = Budget::new(run.options.bytes / 2);
    run.on_cpus(watch, |cpu, rng| {
        let mut share = None;
        let mut round = 0;
        while run.goes_on(round) {
            share = share.or_else(|| budget.take(1));
            if share.is_some() {
                run.inside(&space, || wear(run, &space, cpu, rng, round as u16))?;
            }
            run.mm().reclaim_deferred(rng.below(2 * BLOCK));
            round += 1;
        }
        Ok(())
    })?;
    // Nobody is in the way now: what is not mapped comes back.
    run.mm().reclaim_deferred(u64::MAX);
    let audit = run.mm().audit()?;
    let waiting = audit.partial + run.mm().deferred_folios();
    if waiting > 0 {
        let what = "folios that are partly mapped and were not split";
        return Err(Failure::Count { what, expected: 0, found: waiting });
    }
    Ok(())
}

/// What is known of a page.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Known {
    Zero,
    Stamped,
    Unmapped,
}

/// Fills a block, takes pieces out of it, and looks at the rest again and again. Some of it stays mapped.
fn wear<W: World>(
    run: &Run<'_, W>,
    space: &Space<'_, W::Machine>,
    cpu: usize,
    rng: &mut Rng,
    version: u16,
) -> Result<(), Failure> {
    let block = VirtRange::from_size(BLOCKS + cpu as u64 * PMD_SIZE, PMD_SIZE);
    space.unmap(block)?;
    space.map(Place::At(block.start), PMD_SIZE, Prot::ReadWrite, Huge::Advised)?;
    let mut known = [Known::Zero; BLOCK as usize];
    let at = |page: usize| block.start + page as u64 * PAGE_SIZE;
    let stamp = |page: usize| Stamp::new(cpu as u8, at(page), version);
    for page in (0..known.len()).step_by(1 + rng.below(32) as usize) {
        run.mark(space, cpu, at(page), stamp(page))?;
        known[page] = Known::Stamped;
    }
    for _ in 0..1 + rng.below(4) {
        let first = rng.below(BLOCK) as usize;
        let end = first + 1 + rng.below(BLOCK - first as u64) as usize;
        let piece = VirtRange::new(at(first), at(end));
        let drops = rng.one_in(2) && !known[first..end].contains(&Known::Unmapped);
        let left = if drops {
            space.advise(piece, Advice::DontNeed)?;
            Known::Zero
        } else {
            space.unmap(piece)?;
            Known::Unmapped
        };
        known[first..end].fill(left);
        if rng.one_in(2) {
            run.mm().reclaim_deferred(1 + rng.below(BLOCK));
        }
        for _ in 0..16 {
            let page = rng.below(BLOCK) as usize;
            let va = at(page);
            match known[page] {
                Known::Stamped => run.check(space, cpu, va, stamp(page))?,
                Known::Unmapped if run.world.load(space, va).is_ok() => {
                    return Err(run.not_denied(space, cpu, va, Access::Read));
                }
                Known::Unmapped => {}
                Known::Zero => {
                    let found = run.load(space, cpu, va)?;
                    if found != 0 {
                        return Err(run.wrong_data(space, cpu, va, stamp(page), found));
                    }
                    run.mark(space, cpu, va, stamp(page))?;
                    known[page] = Known::Stamped;
                }
            }
            run.did(1);
        }
    }
    Ok(())
}
