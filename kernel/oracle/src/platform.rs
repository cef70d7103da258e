//! What a platform could have shown by itself: the last line of each report.
//!
//! An emulator's TLB is not an Arm TLB: it has no walk cache, drops whole sets when asked for a page, and
//! finishes an invalidation before the next instruction. Hardware has all of it, and shows a stale
//! translation when it happens to have kept it. So silence elsewhere says little, and each report says
//! how little.

use crate::report::Miss;
use crate::rule::Rule;
use core::fmt;

/// Where the oracle watches.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Platform {
    /// A model that keeps whatever the architecture lets it.
    Model,
    /// QEMU's emulation, as measured on version 10.
    Emulator,
    /// Real CPUs.
    Hardware,
}

impl Platform {
    /// Whether this platform by itself could have shown the consequence, in words.
    pub fn could_show(self, rule: Rule, missing: Option<Miss>) -> impl fmt::Display {
        match self {
            Self::Model => "on a model: a stale translation is used when the schedule lets it be",
            Self::Hardware => {
                "on hardware: shows only if a TLB happens to have kept it until its use"
            }
            Self::Emulator if hides(rule, missing) => {
                "on this emulator: could not have shown (whole sets flushed, no walk cache, TLBIs done at once)"
            }
            Self::Emulator => "on this emulator: would show only if the stale translation is used",
        }
    }
}

/// Whether QEMU hides it always: measured, row by row, with a probe.
fn hides(rule: Rule, missing: Option<Miss>) -> bool {
    let by_missing = matches!(
        missing,
        Some(
            Miss::OtherAsid(_)
                | Miss::LastLevel
                | Miss::Hint(_)
                | Miss::NotPublished
                | Miss::NotComplete(_)
        )
    );
    let by_rule = matches!(
        rule,
        Rule::Break(_)
            | Rule::LinkUnpublished
            | Rule::MixedRun
            | Rule::TableFreed
            | Rule::AsidStale
            | Rule::AsidTrap
    );
    by_missing || by_rule
}
