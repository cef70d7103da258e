//! `ptdump-race`: some CPUs dump the kernel's tree and a space's, while the others map, unmap and promote there.
//!
//! Hunted: a dump in a table that is freed; a region that is told twice, or out of order; a leaf that is both
//! written and executed.

use super::device::{Device, MOST};
use crate::rng::Rng;
use crate::run::{Failure, Run};
use crate::world::World;
use abi::{PAGE_SIZE, PMD_SIZE, Pfn, Prot, VirtAddr, VirtRange};
use mm::dump::Half;
use mm::{Huge, Place, Space};

/// Where the first CPU changes the space; the others do behind it.
const BASE: VirtAddr = VirtAddr(1 << 38);
/// Pages of what is mapped there.
const PAGES: u64 = 3;

pub(super) fn run<W: World>(run: &Run<'_, W>, watch: &mut dyn FnMut()) -> Result<(), Failure> {
    let space = Space::new(run.mm())?;
    run.on_cpus(watch, |cpu, rng| {
        let device = Device::new(run, cpu);
        let (mut round, mut result) = (0, Ok(()));
        while result.is_ok() && run.goes_on(round) {
            // Every other CPU; one alone does both.
            let dumps = if run.options.cpus > 1 { cpu as u64 } else { round } % 2 == 0;
            result = match dumps {
                true => dump(run, cpu, run.mm().vmalloc_root(), Half::Kernel)
                    .and_then(|()| dump(run, cpu, space.root(), Half::User)),
                false => change(run, &space, cpu, device.as_ref(), rng),
            };
            round += 1;
        }
        if let Some(device) = device {
            device.give_back();
        }
        result
    })
}

/// What a dump tells is in order, and nothing in it is both written and executed.
fn dump<W: World>(run: &Run<'_, W>, cpu: usize, root: Pfn, half: Half) -> Result<(), Failure> {
    let (mut behind, mut wrong) = (None, None);
    let totals = run.mm().dump(root, half, &mut |region| {
        if behind.is_some_and(|behind: VirtAddr| region.start < behind) {
            wrong.get_or_insert((region.start, "a dump tells of an address twice"));
        }
        behind = Some(VirtAddr(region.start.0.saturating_add(region.bytes)));
    });
    if let Some(region) = totals.first_broken {
        wrong = Some((region.start, "a leaf is both written and executed"));
    }
    run.did(1);
    let Some((va, what)) = wrong else { return Ok(()) };
    let mut walk = [0; 4];
    run.mm().walk(root, va, |level, _, _, word| walk[level as usize] = word);
    Err(Failure::WrongEntry { cpu, va, what, walk })
}

/// Changes both trees.
fn change<W: World>(
    run: &Run<'_, W>,
    space: &Space<'_, W::Machine>,
    cpu: usize,
    device: Option<&Device<'_, '_, W>>,
    rng: &mut Rng,
) -> Result<(), Failure> {
    let area = VirtRange::from_size(BASE + cpu as u64 * PMD_SIZE, PAGES * PAGE_SIZE);
    space.map(Place::At(area.start), area.bytes(), Prot::ReadWrite, Huge::Never)?;
    run.inside(space, || run.mark_all(space, cpu, area, cpu as u8, 1))?;
    space.unmap(area)?;
    device.map_or(Ok(()), |device| device.promote(1 + rng.below(MOST as u64) as usize))
}
