//! `ioremap-huge`: all CPUs map a device by pages, take the mapping back, and map it by blocks at the same
//! addresses, beside others' kernel memory.
//!
//! Hunted: a walker in a table that a block has taken the place of. Its page is used by somebody at once, with
//! content that looks like descriptors: an access would go to memory of nobody's.

use super::device::{Device, MOST};
use crate::run::{Failure, Run};
use crate::world::World;
use abi::PAGE_SIZE;
use mm::vmalloc::Backing;
use mm::{Space, VmallocError};

/// Pages of the kernel memory that comes and goes beside.
const BESIDE: u64 = 40;

pub(super) fn run<W: World>(run: &Run<'_, W>, watch: &mut dyn FnMut()) -> Result<(), Failure> {
    let space = Space::new(run.mm())?;
    run.on_cpus(watch, |cpu, rng| {
        let Some(device) = Device::new(run, cpu) else { return Ok(()) };
        let (mut round, mut result) = (0, Ok(()));
        while result.is_ok() && run.goes_on(round) {
            let (pages, blocks) = (1 + rng.below(BESIDE), 1 + rng.below(MOST as u64));
            let work = || beside(run, pages, || device.promote(blocks as usize));
            // Walks to the kernel's tables are cached under whatever ASID a CPU runs.
            result = if round % 2 == 0 { work() } else { run.inside(&space, work) };
            round += 1;
        }
        device.give_back();
        result
    })
}

/// Does `work` while kernel memory of so many pages is there.
fn beside<W: World>(
    run: &Run<'_, W>,
    pages: u64,
    work: impl FnOnce() -> Result<(), Failure>,
) -> Result<(), Failure> {
    let area = match run.mm().vmalloc(pages * PAGE_SIZE, Backing::Pages) {
        Ok(area) => Some(area),
        Err(VmallocError::OutOfMemory(_)) => None,
        Err(error) => return Err(error.into()),
    };
    let result = work();
    if let Some(area) = area {
        run.mm().vfree(area);
    }
    result
}
