//! Making huge pages of small ones.

use crate::access::wrong_entry;
use crate::stage::{NO_HEAP, Stage, va};
use crate::step::{BLOCK, Refused, Who};
use mm::{CollapseError, Collapsed};
use stress::{Failure, World};

impl<W: World> Stage<'_, '_, W> {
    /// Makes one huge page of the block around a page, in this way.
    pub(crate) fn collapse(&self, who: Who, page: u32, how: Collapsed) -> Result<(), Failure> {
        let space = self.space(who)?;
        match space.collapse(va(page)) {
            Ok(did) if did == how => Ok(()),
            Err(CollapseError::OutOfMemory(oom)) => Err(oom.into()),
            Err(error) => Err(error.into()),
            Ok(Collapsed::Copied) => Err(wrong_entry(space, va(page), "nothing had to be copied")),
            Ok(_) => Err(wrong_entry(space, va(page), "it should have been copied")),
        }
    }

    /// The background goes over all spaces, with limits of its own for this time.
    pub(crate) fn scan(&self, none: u32, shared: u32) -> Result<(), Failure> {
        let limits = &self.world.mm().thp.collapse;
        let before = (limits.max_none(), limits.max_shared());
        limits.set_max_none(none);
        limits.set_max_shared(shared);
        // From wherever it is to the end, and once from the beginning.
        let result = (0..2).try_for_each(|_| {
            loop {
                let scanned = self.world.mm().collapse_scan(BLOCK.into());
                if scanned.out_of_memory {
                    return Err(NO_HEAP);
                }
                if scanned.round {
                    return Ok(());
                }
            }
        });
        limits.set_max_none(before.0);
        limits.set_max_shared(before.1);
        result
    }

    /// The block around a page cannot become one, for this reason.
    pub(crate) fn no_collapse(&self, who: Who, page: u32, why: Refused) -> Result<(), Failure> {
        let space = self.space(who)?;
        let right = match space.collapse(va(page)) {
            Err(CollapseError::NoArea(_)) => why == Refused::NoArea,
            Err(CollapseError::Unwanted(_)) => why == Refused::Unwanted,
            Err(CollapseError::Empty(_)) => why == Refused::Empty,
            Err(CollapseError::Busy { .. }) => why == Refused::Busy,
            _ => false,
        };
        if right { Ok(()) } else { Err(wrong_entry(space, va(page), "it should stay as it is")) }
    }
}
