//! The small protocols of this crate as scenarios for loom, on its own source: two CPUs, a few steps each,
//! and what must not come of it. `tests/loom.rs` explores them, as they are and with one order taken away.
//!
//! | file | protocol |
//! | --- | --- |
//! | `folios` | the last reference is taken away from all others, against whoever takes one without a lock |
//! | `pins` | exclusivity against pins: taken away with the entry cleared, and by a fork |
//! | `rows` | entries that are taken out together, against pages that are held together: one fence for all on either side |
//! | `splits` | a folio is cut into parts, against lockless readers and late waiters |
//! | `tables` | a table is filled and linked, a page is filled and mapped, against lockless readers |
//! | `collapse` | a table is taken out, to be reused or to have its pages copied, against lockless readers |
//! | `asids` | a CPU goes on with its number, against a roll-over |
//!
//! A scenario that comes to what it must not panics with words that begin with "wrong:", or touches a cell
//! in a way that loom reports.

mod asids;
mod collapse;
mod folios;
mod machine;
mod pins;
mod rows;
mod splits;
mod tables;

pub use asids::going_on_against_a_rollover;
pub use collapse::{checking_against_pinning, reusing_against_walking};
pub use folios::freezing_against_getting;
pub use pins::{
    discarding_against_referencing, forking_against_pinning, reclaiming_against_writing,
    sharing_a_large_folio, sharing_a_page,
};
pub use rows::{
    discarding_a_row_against_referencing, moving_a_folio_against_pinning,
    moving_a_row_against_pinning, moving_a_row_against_pinning_its_end,
};
pub use splits::{cutting_against_getting, cutting_against_marking, cutting_against_waiting};
pub use tables::{faulting_against_reading, linking_against_walking};

use crate::Mm;
use crate::mutant::Mutant;
use machine::Machine;
use std::sync::Arc;

/// What is taken away in a scenario, besides what is armed in `sync`.
#[derive(Clone, Copy, Default, Debug)]
pub struct Without {
    /// A step of this crate's.
    pub step: Option<Mutant>,
    /// What the hardware promises of a descriptor's store: that it is a release.
    pub release: bool,
}

impl Without {
    /// Without this step.
    pub fn step(step: Mutant) -> Self {
        Self { step: Some(step), ..Self::default() }
    }

    /// Where the hardware stores descriptors plainly.
    pub fn release() -> Self {
        Self { release: true, ..Self::default() }
    }

    /// A memory manager with these bugs.
    fn boot(self) -> Arc<Mm<Machine>> {
        let mm = machine::boot(self.release);
        mm.arm(self.step);
        mm
    }
}
