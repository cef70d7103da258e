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
    /// Nobody has said.
    Unknown,
}

impl Platform {
    /// Whether this platform by itself could have shown the consequence, in words.
    pub fn could_show(self, rule: Rule, missing: Option<Miss>) -> impl fmt::Display {
        let moment = is_of_a_moment(rule);
        match self {
            Self::Model if moment => "on a model: shows when the schedule lets somebody meet it",
            Self::Model => "on a model: a stale translation is used when the schedule lets it be",
            Self::Hardware if moment => {
                "on hardware: shows only if somebody meets it at that moment"
            }
            Self::Hardware => {
                "on hardware: shows only if a TLB happens to have kept it until its use"
            }
            Self::Emulator if moment => {
                "on this emulator: would show only if somebody meets it at that moment"
            }
            Self::Emulator if hides(rule, missing) => {
                "on this emulator: could not have shown (whole sets flushed, no walk cache, TLBIs done at once)"
            }
            Self::Emulator => "on this emulator: would show only if the stale translation is used",
            Self::Unknown => {
                "an emulator could hardly have shown it, hardware by chance; which this is, nobody said"
            }
        }
    }
}

/// Whether the rule is about what is in memory, and not about what TLBs have kept of it.
fn is_of_a_moment(rule: Rule) -> bool {
    matches!(
        rule,
        Rule::Transition(_)
            | Rule::LinkNoTable
            | Rule::MapsNobodys
            | Rule::PlainStore
            | Rule::ForeignStore
            | Rule::NoLock
            | Rule::NoTable
            | Rule::InvalidOutlives
            | Rule::FrameMapped
            | Rule::FrameTaken
            | Rule::TableLinked
            | Rule::RootNoTable
    )
}

/// Whether QEMU hides it always: measured, row by row, with a probe.
fn hides(rule: Rule, missing: Option<Miss>) -> bool {
    let by_missing = matches!(
        missing,
        Some(
            Miss::OtherAsid(_)
                | Miss::Away
                | Miss::LastLevel
                | Miss::Hint(_)
                | Miss::NotPublished
                | Miss::NotComplete(_)
                | Miss::NotRepeated(_)
                | Miss::NotSynchronized(_)
        )
    );
    let by_rule = matches!(
        rule,
        Rule::Break(_)
            | Rule::LinkUnpublished
            | Rule::KernelUnseen
            | Rule::MixedRun
            | Rule::TableFreed
            | Rule::AsidStale
            | Rule::AsidTrap
    );
    by_missing || by_rule
}
