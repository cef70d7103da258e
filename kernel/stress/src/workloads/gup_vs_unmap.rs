//! `gup-vs-unmap`: CPU 0 maps, stamps and unmaps; the others take lockless references to its pages
//! and read the memory through the linear map while they hold them.
//!
//! A page that is referenced must not be reused: whatever version it had, its words stay the same
//! until the reference is dropped.

use crate::rng::Rng;
use crate::run::{Failure, Run, WORDS};
use crate::stamp::Stamp;
use crate::world::World;
use abi::{Access, PAGE_SIZE, PMD_SIZE, Prot, VirtAddr, VirtRange};
use mm::{Hardware, Huge, Place, Space};

const SHARED: VirtAddr = VirtAddr(1 << 39);
const OURS: u8 = 3;

pub(super) fn run<W: World>(run: &Run<'_, W>, watch: &mut dyn FnMut()) -> Result<(), Failure> {
    let space = Space::new(run.mm())?;
    let bytes = (run.options.bytes / 4).clamp(PAGE_SIZE, PMD_SIZE) & !(PAGE_SIZE - 1);
    let range = VirtRange::from_size(SHARED, bytes);
    run.on_cpus(watch, |cpu, rng| {
        if cpu == 0 {
            let result = change(run, &space, range, rng);
            run.stop();
            return result;
        }
        while !run.stopped() {
            look(run, &space, cpu, range, rng)?;
        }
        Ok(())
    })
}

fn change<W: World>(
    run: &Run<'_, W>,
    space: &Space<'_, W::Machine>,
    range: VirtRange,
    rng: &mut Rng,
) -> Result<(), Failure> {
    let mut round = 0;
    while run.goes_on(round) {
        round += 1;
        let huge = if rng.one_in(3) { Huge::Allowed } else { Huge::Never };
        space.map(Place::At(range.start), range.bytes(), Prot::ReadWrite, huge)?;
        let mut result = Ok(());
        run.world.inside(space, &mut || {
            for page in 0..range.pages() {
                let va = range.start + page * PAGE_SIZE;
                if result.is_ok() {
                    result = run.mark(space, 0, va, Stamp::new(OURS, va, round as u16));
                }
            }
            // With one CPU nobody else looks: do it here.
            if result.is_ok() && run.options.cpus == 1 {
                result = look(run, space, 0, range, rng);
            }
        });
        result?;
        let hole = rng.below(range.pages());
        space.unmap(VirtRange::from_size(range.start + hole * PAGE_SIZE, PAGE_SIZE))?;
        space.unmap(range)?;
        run.did(range.pages());
    }
    Ok(())
}

/// Takes up to eight references, looks at the memory behind each twice, and drops them.
fn look<W: World>(
    run: &Run<'_, W>,
    space: &Space<'_, W::Machine>,
    cpu: usize,
    range: VirtRange,
    rng: &mut Rng,
) -> Result<(), Failure> {
    let mut held = [const { None }; 8];
    let first = rng.below(range.pages());
    for (n, place) in held.iter_mut().enumerate() {
        let va = range.start + (first + n as u64) % range.pages() * PAGE_SIZE;
        let access = if rng.one_in(2) { Access::Write } else { Access::Read };
        *place = space.gup_fast(va, access).map(|folio| {
            let word = run.mm().hw.peek(folio.pfn().base());
            (va, folio, word)
        });
    }
    for _ in 0..rng.below(4) {
        run.world.yield_now();
    }
    for (va, folio, before) in held.into_iter().flatten() {
        run.did(1);
        for offset in WORDS {
            let found = run.mm().hw.peek(folio.pfn().base() + offset);
            // A fresh page is zero until it is stamped, which may be between the two looks.
            let fits = |word: u64| match Stamp::read(word) {
                Some(stamp) => stamp == Stamp::new(OURS, va, stamp.version),
                None => word == 0,
            };
            let same = before == 0 || offset != 0 || found == before;
            if !fits(found) || !same {
                let version = Stamp::read(before).map_or(0, |stamp| stamp.version);
                let expected = Stamp::new(OURS, va, version);
                return Err(run.wrong_data(space, cpu, va, expected, found));
            }
        }
    }
    Ok(())
}
