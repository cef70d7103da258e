//! Making huge pages of small ones.

use crate::access::wrong_entry;
use crate::stage::{Stage, va};
use crate::step::{Refused, Who};
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
