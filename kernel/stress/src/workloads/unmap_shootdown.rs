//! `unmap-shootdown`: CPU 0 maps, stamps, unmaps, and lets others have the frames at once; the other
//! CPUs read through the same space all the while.
//!
//! A second space takes the freed frames and stamps them as its own, so that a translation that
//! outlived its unmapping shows the next owner's data.

use super::shared::Shared;
use crate::run::{Failure, Run};
use crate::world::World;
use abi::{PAGE_SIZE, PMD_SIZE};

/// The space's number in stamps.
const OURS: u8 = 1;

pub(super) fn run<W: World>(run: &Run<'_, W>, watch: &mut dyn FnMut()) -> Result<(), Failure> {
    let bytes = (run.options.bytes / 4).clamp(PAGE_SIZE, PMD_SIZE) & !(PAGE_SIZE - 1);
    let shared = Shared::new(run.mm(), bytes, OURS)?;
    run.on_cpus(watch, |cpu, rng| {
        if cpu == 0 {
            let mut result = Ok(());
            let mut round = 0;
            while result.is_ok() && run.goes_on(round) {
                result = shared.change(run, 0, rng);
                round += 1;
            }
            // The readers have nothing to do without the changer.
            run.stop();
            return result;
        }
        run.inside(&shared.space, || {
            while !run.stopped() {
                shared.look(run, cpu, rng)?;
                if rng.one_in(16) {
                    run.world.yield_now();
                }
            }
            Ok(())
        })
    })
}
