//! `asid-rollover`: more spaces than ASIDs. All spaces map the same addresses; each must see its own
//! stamps whichever number it runs under, and whoever had that number before.

use crate::run::{Failure, Run};
use crate::stamp::Stamp;
use crate::world::World;
use abi::{PAGE_SIZE, Prot, VirtAddr};
use alloc::vec::Vec;
use mm::{Huge, OutOfMemory, Place, Space};

/// Spaces for each CPU; each has a few pages at the same addresses.
const SPACES: usize = 12;
const PAGES: u64 = 4;
const START: VirtAddr = VirtAddr(1 << 40);

pub(super) fn run<W: World>(run: &Run<'_, W>, watch: &mut dyn FnMut()) -> Result<(), Failure> {
    let generation = run.mm().asids.generation();
    // Fewer numbers than spaces, on each CPU count.
    run.mm().limit_asids(Some(run.options.cpus as u32 + 7));
    let result = drive(run, watch);
    run.mm().limit_asids(None);
    result?;
    // Not one roll-over beyond the two that setting and lifting the limit make: nothing was tested.
    let rolled = run.mm().asids.generation() - generation;
    if rolled <= 2 && run.operations() > 64 {
        return Err(Failure::Count { what: "ASID generations", expected: 3, found: rolled });
    }
    Ok(())
}

fn drive<W: World>(run: &Run<'_, W>, watch: &mut dyn FnMut()) -> Result<(), Failure> {
    run.on_cpus(watch, |cpu, rng| {
        let mut spaces = Vec::new();
        let no_memory = |_| Failure::Memory(OutOfMemory { order: abi::Order::PAGE });
        spaces.try_reserve_exact(SPACES).map_err(no_memory)?;
        for _ in 0..SPACES {
            let space = Space::new(run.mm())?;
            space.map(Place::At(START), PAGES * PAGE_SIZE, Prot::ReadWrite, Huge::Never)?;
            spaces.push((space, 0u16));
        }
        let mut round = 0;
        while run.goes_on(round) {
            round += 1;
            let which = rng.below(SPACES as u64) as usize;
            let (space, version) = &mut spaces[which];
            // Unique over all CPUs for up to 21 of them; beyond that neighbours share a number.
            let number = (cpu * SPACES + which) as u8;
            let page = rng.below(PAGES);
            let va = START + page * PAGE_SIZE;
            let mut result = Ok(());
            run.world.inside(space, &mut || {
                if *version > 0 {
                    // What any earlier round left: each page holds the version of its last stamping.
                    result = check_any(run, space, cpu, va, number, *version);
                }
                if result.is_ok() {
                    *version = version.wrapping_add(1).max(1);
                    result = run.mark(space, cpu, va, Stamp::new(number, va, *version));
                }
                if result.is_ok() && rng.one_in(4) {
                    run.world.yield_now();
                }
                if result.is_ok() {
                    result = run.check(space, cpu, va, Stamp::new(number, va, *version));
                }
            });
            result?;
            run.did(1);
        }
        Ok(())
    })
}

/// The page is fresh, or carries this space's stamp of some version up to `newest`.
fn check_any<W: World>(
    run: &Run<'_, W>,
    space: &Space<'_, W::Machine>,
    cpu: usize,
    va: VirtAddr,
    number: u8,
    newest: u16,
) -> Result<(), Failure> {
    let found = match run.world.load(space, va) {
        Ok(found) => found,
        Err(outcome) => {
            return Err(run.wrong_outcome(space, cpu, va, abi::Access::Read, Some(outcome)));
        }
    };
    let ours = |stamp: Stamp| stamp == Stamp::new(number, va, stamp.version);
    if found == 0 || Stamp::read(found).is_some_and(ours) {
        return Ok(());
    }
    Err(run.wrong_data(space, cpu, va, Stamp::new(number, va, newest), found))
}
