//! `mremap-vs-migrate`: each CPU moves a parcel of memory from address to address, as in `mremap`, while
//! all of them move whatever is there from frame to frame.
//!
//! Hunted: migration entries, or a table of them, that arrive at their new addresses while the flush of
//! what they were is owed to the old ones; a move that is looked for where it was, so that who waits for
//! it waits for ever; two that exclude each other in two orders. The old place would not be denied, the
//! new one would show zeros, an older version or another page's stamp, or a CPU would not come back.

use super::field::{BATCH, BLOCK, migrate};
use super::mremap::roam;
use super::parcel::{Parcel, address};
use crate::rng::Rng;
use crate::run::{Failure, Run};
use crate::world::World;
use abi::VirtAddr;
use mm::{Hardware, Space};

pub(super) fn run<W: World>(run: &Run<'_, W>, watch: &mut dyn FnMut()) -> Result<(), Failure> {
    roam(run, watch, disturb)
}

/// Moves pages of some parcels to other frames, wherever they are just now.
fn disturb<H: Hardware>(
    space: &Space<'_, H>,
    parcels: &[Parcel],
    rng: &mut Rng,
) -> Result<(), Failure> {
    let mut pages = [VirtAddr(0); BATCH];
    for page in &mut pages {
        let parcel = &parcels[rng.below(parcels.len() as u64) as usize];
        *page = address(parcel.place(), rng.below(BLOCK));
    }
    let _ = migrate(space, &pages)?;
    Ok(())
}
