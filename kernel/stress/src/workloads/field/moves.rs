//! Moving the folios of a field to other frames.

use super::Field;
use crate::rng::Rng;
use crate::run::Failure;
use abi::{Order, VirtAddr};
use mm::{Destination, Hardware, MigrateError, Moved, OutOfMemory, Space};

/// Addresses that are moved with one call, at most.
pub(crate) const BATCH: usize = 8;

/// Moves what is mapped at `pages`, [`BATCH`] at most, and says of each what became of it.
#[inline(never)]
pub(crate) fn move_pages<H: Hardware>(
    space: &Space<'_, H>,
    pages: &[VirtAddr],
) -> Result<[Moved; BATCH], OutOfMemory> {
    let mut moved = [Err(MigrateError::NotMapped); BATCH];
    space.move_pages(pages, Destination::Anywhere, &mut moved)?;
    Ok(moved)
}

/// The same where memory suffices: huge pages may be hard to come by, small ones are not.
#[inline(never)]
pub(crate) fn migrate<H: Hardware>(
    space: &Space<'_, H>,
    pages: &[VirtAddr],
) -> Result<[Moved; BATCH], Failure> {
    let moved = move_pages(space, pages)?;
    for moved in moved {
        if let Err(error @ MigrateError::OutOfMemory(OutOfMemory { order: Order::PAGE })) = moved {
            return Err(error.into());
        }
    }
    Ok(moved)
}

impl<H: Hardware> Field<'_, H> {
    /// Moves the folio of `page`, and with it those of some more pages, of its block and of others, as far as
    /// nothing is in the way of that just now. `space`: the field's, or a copy of it.
    pub(crate) fn migrate(
        &self,
        space: &Space<'_, H>,
        page: u64,
        rng: &mut Rng,
    ) -> Result<(), Failure> {
        let mut pages = [self.at(page); BATCH];
        for at in &mut pages[1..] {
            *at = self.at(if rng.one_in(2) { self.any(rng) } else { self.near(page, rng) });
        }
        let _ = migrate(space, &pages[..1 + rng.below(BATCH as u64) as usize])?;
        Ok(())
    }
}
