//! `gup-vs-unmap`: CPU 0 maps, stamps and unmaps; the others take lockless references to its pages
//! and read the memory through the linear map while they hold them.
//!
//! A page that is referenced must not be reused: whatever version it had, its words stay the same
//! until the reference is dropped.

use super::shared::Shared;
use crate::rng::Rng;
use crate::run::{self, Failure, WORDS};
use crate::stamp::Stamp;
use crate::world::World;
use abi::{Access, PAGE_SIZE, PMD_SIZE, Pfn};
use mm::Hardware;
use mm::gup::Run;

/// The space's number in stamps.
const OURS: u8 = 3;

pub(super) fn run<W: World>(run: &run::Run<'_, W>, watch: &mut dyn FnMut()) -> Result<(), Failure> {
    let bytes = (run.options.bytes / 4).clamp(PAGE_SIZE, PMD_SIZE) & !(PAGE_SIZE - 1);
    let shared = Shared::new(run.mm(), bytes, OURS)?;
    run.on_cpus(watch, |cpu, rng| {
        if cpu == 0 {
            let result = change(run, &shared, rng);
            run.stop();
            return result;
        }
        while !run.stopped() {
            look(run, &shared, cpu, rng)?;
        }
        Ok(())
    })
}

fn change<W: World>(
    run: &run::Run<'_, W>,
    shared: &Shared<'_, W::Machine>,
    rng: &mut Rng,
) -> Result<(), Failure> {
    let mut round = 0;
    while run.goes_on(round) {
        round += 1;
        shared.change_with(run, 0, rng, &mut |rng| {
            // With one CPU nobody else looks: do it here.
            if run.options.cpus == 1 { look(run, shared, 0, rng) } else { Ok(()) }
        })?;
    }
    Ok(())
}

/// Pages that are looked at together.
const PAGES: usize = 8;

/// Takes up to eight references, one by one or in a batch, looks at the memory behind each twice, and drops
/// them.
fn look<W: World>(
    run: &run::Run<'_, W>,
    shared: &Shared<'_, W::Machine>,
    cpu: usize,
    rng: &mut Rng,
) -> Result<(), Failure> {
    let (space, range) = (&shared.space, shared.range);
    let mut held = [const { None }; PAGES];
    let mut runs = [Run::EMPTY; PAGES];
    let mut seen = [None; PAGES];
    let first = rng.below(range.pages());
    let at = |n: usize| range.start + (first + n as u64) % range.pages() * PAGE_SIZE;
    let peek = |pfn: Pfn| run.mm().hw.peek(pfn.base());
    let mut batch = None;
    if rng.one_in(3) {
        let pages = (range.pages() - first).min(PAGES as u64);
        let held = batch.insert(space.gup_fast_many(at(0), pages, Access::Read, &mut runs));
        for (n, (pfn, place)) in held.iter().zip(&mut seen).enumerate() {
            *place = Some((at(n), pfn, peek(pfn)));
        }
    } else {
        for (n, (place, seen)) in held.iter_mut().zip(&mut seen).enumerate() {
            let access = if rng.one_in(2) { Access::Write } else { Access::Read };
            *place = space.gup_fast(at(n), access);
            *seen = place.as_ref().map(|folio| (at(n), folio.pfn(), peek(folio.pfn())));
        }
    }
    // With nothing found there is only to wait for the changer.
    let turns = if seen.iter().all(Option::is_none) { 4 } else { rng.below(4) };
    for _ in 0..turns {
        run.world.yield_now();
    }
    for (va, pfn, before) in seen.into_iter().flatten() {
        run.did(1);
        for offset in WORDS {
            let found = run.mm().hw.peek(pfn.base() + offset);
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
