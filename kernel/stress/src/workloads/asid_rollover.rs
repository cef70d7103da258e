//! `asid-rollover`: more spaces than ASIDs. All spaces map the same addresses; each must see its own
//! stamps whichever number it runs under, and whoever had that number before.
//!
//! Besides these, all CPUs share one space that CPU 0 maps and unmaps: a space that runs on several
//! CPUs must keep one number through every roll-over, or its unmapping misses some of them; and a CPU that
//! heard nothing of an unmapping must not come back with what it knew.

use super::shared::Shared;
use crate::rng::Rng;
use crate::run::{Failure, Run};
use crate::stamp::Stamp;
use crate::world::World;
use abi::{PAGE_SIZE, Prot, VirtAddr};
use alloc::vec::Vec;
use mm::{Huge, OutOfMemory, Place, Space};

/// Spaces for each CPU, at least.
const SPACES: usize = 12;
/// Pages of each space, at the same addresses in all.
const PAGES: u64 = 4;
const START: VirtAddr = VirtAddr(1 << 40);
/// The shared space's number in stamps: above all others but the next owner's.
const SHARED: u8 = 253;

pub(super) fn run<W: World>(run: &Run<'_, W>, watch: &mut dyn FnMut()) -> Result<(), Failure> {
    let generation = run.mm().asids.generation();
    // The machine needs a few numbers for each CPU that it may ever run; take more spaces than that.
    let numbers = run.mm().limit_asids(Some(run.options.cpus as u32 + 7)) as usize;
    let spaces = SPACES.max(numbers / run.options.cpus + 2);
    let result = drive(run, watch, spaces);
    run.mm().limit_asids(None);
    result?;
    // Not one roll-over beyond the two that setting and lifting the limit make: nothing was tested.
    let rolled = run.mm().asids.generation() - generation;
    if rolled <= 2 && run.operations() > 64 * numbers as u64 {
        return Err(Failure::Count { what: "ASID generations", expected: 3, found: rolled });
    }
    Ok(())
}

fn drive<W: World>(
    run: &Run<'_, W>,
    watch: &mut dyn FnMut(),
    nr_spaces: usize,
) -> Result<(), Failure> {
    let shared = Shared::new(run.mm(), PAGES * PAGE_SIZE, SHARED)?;
    run.on_cpus(watch, |cpu, rng| {
        let mut spaces = Vec::new();
        let no_memory = |_| Failure::Memory(OutOfMemory { order: abi::Order::PAGE });
        spaces.try_reserve_exact(nr_spaces).map_err(no_memory)?;
        for _ in 0..nr_spaces {
            let space = Space::new(run.mm())?;
            space.map(Place::At(START), PAGES * PAGE_SIZE, Prot::ReadWrite, Huge::Never)?;
            spaces.push((space, 0u16));
        }
        let mut round = 0;
        while run.goes_on(round) {
            round += 1;
            let which = rng.below(nr_spaces as u64) as usize;
            let (space, version) = &mut spaces[which];
            // Unique for up to 253 spaces; beyond that, CPUs far apart share numbers.
            let number = ((cpu * nr_spaces + which) % SHARED as usize) as u8;
            let va = START + rng.below(PAGES) * PAGE_SIZE;
            run.inside(space, || {
                if *version > 0 {
                    // What any earlier round left: each page holds the version of its last stamping.
                    check_any(run, space, cpu, va, number, *version)?;
                }
                *version = version.wrapping_add(1).max(1);
                let stamp = Stamp::new(number, va, *version);
                run.mark(space, cpu, va, stamp)?;
                if rng.one_in(4) {
                    run.world.yield_now();
                }
                run.check(space, cpu, va, stamp)
            })?;
            run.did(1);
            if rng.one_in(4) {
                meet(run, &shared, cpu, rng)?;
            }
        }
        Ok(())
    })
}

/// A visit to the shared space, long enough for others to roll over meanwhile.
fn meet<W: World>(
    run: &Run<'_, W>,
    shared: &Shared<'_, W::Machine>,
    cpu: usize,
    rng: &mut Rng,
) -> Result<(), Failure> {
    if cpu == 0 {
        return shared.change(run, cpu, rng);
    }
    // Now and then somebody sleeps between two visits, and hears nothing of what is unmapped meanwhile.
    let sleeps = rng.one_in(2);
    let mut visit = || {
        run.inside(&shared.space, || {
            for _ in 0..16 {
                shared.look(run, cpu, rng)?;
                run.world.yield_now();
            }
            Ok(())
        })
    };
    visit()?;
    if sleeps {
        run.sleep_deeply();
        visit()?;
    }
    Ok(())
}

/// The page must be fresh or carry this space's stamp, of whichever version; `newest` is what a report
/// names as expected.
fn check_any<W: World>(
    run: &Run<'_, W>,
    space: &Space<'_, W::Machine>,
    cpu: usize,
    va: VirtAddr,
    number: u8,
    newest: u16,
) -> Result<(), Failure> {
    let found = run.load(space, cpu, va)?;
    let ours = |stamp: Stamp| stamp == Stamp::new(number, va, stamp.version);
    if found == 0 || Stamp::read(found).is_some_and(ours) {
        return Ok(());
    }
    Err(run.wrong_data(space, cpu, va, Stamp::new(number, va, newest), found))
}
