//! The rules, by name. Each is an invariant of translation; the first to be broken is reported.

use core::fmt;
use pte::{Illegal, Reason};

/// A rule that a step broke.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rule {
    // --- what a store may do ---------------------------------------------------------------------
    /// A live descriptor was replaced by one that must not be in TLBs beside it.
    Break(Reason),
    /// It was made invalid first, but may still be in a TLB.
    BreakIncomplete,
    /// No right step leads from what was there to what is there now.
    Transition(Illegal),
    /// A table was linked before walkers could see what is in it.
    LinkUnpublished,
    /// What was linked is no table of that level, or is linked elsewhere too.
    LinkNoTable,
    /// A mapping of memory that is free, or a table.
    MapsNobodys,
    /// A user's mapping that every space would share.
    GlobalUser,
    /// A descriptor that hardware may be writing to was changed by a plain store.
    PlainStore,
    /// A slot changed, and nobody stored to it.
    ForeignStore,
    /// A slot of a running space was changed without its table's lock.
    NoLock,
    /// A valid entry went into a table that was taken out, and that walkers may still be in.
    Frozen,
    /// A slot was changed in a page that is no table.
    NoTable,
    // --- what a lock's release leaves ------------------------------------------------------------
    /// A present-invalid entry outlived the lock.
    InvalidOutlives,
    /// Of sixteen entries some have the contiguous mark, or they disagree.
    MixedRun,
    // --- who may have what -----------------------------------------------------------------------
    /// A frame was freed while a CPU may reach it by a translation that memory no longer gives.
    FrameFreed,
    /// A frame was freed while an entry maps it.
    FrameMapped,
    /// A block was given out that is not free.
    FrameTaken,
    /// A table was freed while a walk may lead to it.
    TableFreed,
    /// A table was freed while a running space has it linked.
    TableLinked,
    /// An operation is over, and a CPU may still do what it took away.
    DoneEarly,
    /// A kernel mapping is given out, and walkers may not see all of it.
    KernelUnseen,
    // --- address-space identifiers ---------------------------------------------------------------
    /// Two spaces run under one ASID.
    AsidShared,
    /// An ASID was taken up where another space's translations may be left under it.
    AsidStale,
    /// An ASID was taken up with a translation that must not be used any more.
    AsidTrap,
    /// What a CPU runs is no root.
    RootNoTable,
}

impl Rule {
    /// Its name, for tables and filters.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Break(_) => "break-before-make",
            Self::BreakIncomplete => "break-incomplete",
            Self::Transition(_) => "transition",
            Self::LinkUnpublished => "link-unpublished",
            Self::LinkNoTable => "link-no-table",
            Self::MapsNobodys => "maps-nobodys",
            Self::GlobalUser => "global-user",
            Self::PlainStore => "plain-store",
            Self::ForeignStore => "foreign-store",
            Self::NoLock => "no-lock",
            Self::Frozen => "frozen",
            Self::NoTable => "no-table",
            Self::InvalidOutlives => "invalid-outlives",
            Self::MixedRun => "mixed-run",
            Self::FrameFreed => "frame-freed",
            Self::FrameMapped => "frame-mapped",
            Self::FrameTaken => "frame-taken",
            Self::TableFreed => "table-freed",
            Self::TableLinked => "table-linked",
            Self::DoneEarly => "done-early",
            Self::KernelUnseen => "kernel-unseen",
            Self::AsidShared => "asid-shared",
            Self::AsidStale => "asid-stale",
            Self::AsidTrap => "asid-trap",
            Self::RootNoTable => "root-no-table",
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::Break(reason) => {
                return write!(f, "a live entry replaced without a break ({reason:?})");
            }
            Self::Transition(illegal) => return write!(f, "{illegal}"),
            Self::BreakIncomplete => "a new translation beside one that is not yet flushed",
            Self::LinkUnpublished => "a table linked before walkers can see what is in it",
            Self::LinkNoTable => "a link to what is no such table, or to one linked elsewhere",
            Self::MapsNobodys => "a mapping of memory that is nobody's",
            Self::GlobalUser => "a user's mapping that holds in every space",
            Self::PlainStore => "a plain store where hardware may be writing",
            Self::ForeignStore => "a slot changed, and nobody stored there",
            Self::NoLock => "a running space's table changed without its lock",
            Self::Frozen => "a valid entry in a table that was taken out",
            Self::NoTable => "a descriptor stored where no table is",
            Self::InvalidOutlives => "a present-invalid entry outlives the lock",
            Self::MixedRun => "a contiguous set whose members disagree",
            Self::FrameFreed => "a frame freed that a TLB may still reach",
            Self::FrameMapped => "a frame freed that is still mapped",
            Self::FrameTaken => "a frame given out that is somebody's",
            Self::TableFreed => "a table freed that a walk may still reach",
            Self::TableLinked => "a table freed that a running space has linked",
            Self::DoneEarly => "an operation over before its flush",
            Self::KernelUnseen => "a kernel mapping given out before walkers can see it",
            Self::AsidShared => "two spaces run under one ASID",
            Self::AsidStale => "an ASID taken up with another space's translations left under it",
            Self::AsidTrap => "an ASID taken up with a translation that must not be used",
            Self::RootNoTable => "a CPU runs what is no root",
        };
        f.write_str(text)
    }
}
