//! The language of the tables: what a case does and expects, a step at a time.
//!
//! Addresses are pages, counted from where a case's memory begins, which is a multiple of 1 GiB. What is
//! written is remembered, page by page and for each space; so a row says who looks, and never what
//! must be seen.

use abi::{Access, Order, Prot};
use mm::{Advice, Collapsed, Huge};

/// Whose space. A case begins with the parent's.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Who {
    /// The first.
    Parent,
    /// Made by a fork.
    Child,
    /// Likewise; as a rule from the child.
    Grandchild,
}

impl Who {
    /// How many there are.
    pub(crate) const COUNT: usize = 3;
}

/// Pages in a row.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Part {
    /// The first, counted from the beginning of the case's memory.
    pub(crate) from: u32,
    /// How many.
    pub(crate) pages: u32,
}

/// All of the case's memory, as its form has made it.
pub(crate) const ALL: Part = Part { from: 0, pages: u32::MAX };

/// So many pages from one on.
pub(crate) const fn at(from: u32, pages: u32) -> Part {
    Part { from, pages }
}

/// A block of 2 MiB, in pages.
pub(crate) const BLOCK: u32 = Order::PMD.pages() as u32;
/// A gigabyte, in pages.
pub(crate) const GIB: u32 = BLOCK * BLOCK;

/// How pages are held past all page tables.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Way {
    /// References, with faults for what is missing.
    Get,
    /// References without a lock where that is enough, and else as [`Way::Get`].
    GetFast,
    /// Pins, with faults for what is missing.
    Pin,
    /// Pins without a lock where that is enough, and else as [`Way::Pin`].
    PinFast,
    /// Pins of somebody who means to keep them.
    PinLong,
}

impl Way {
    /// Whether lockless walks alone are tried first.
    pub(crate) const fn tries_fast(self) -> bool {
        matches!(self, Self::GetFast | Self::PinFast)
    }

    /// Whether pins are taken.
    pub(crate) const fn pins(self) -> bool {
        matches!(self, Self::Pin | Self::PinFast | Self::PinLong)
    }
}

/// Why a change must be refused.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Because {
    /// The range is no range of whole user pages.
    BadRange,
    /// Nothing is mapped there.
    Hole,
    /// More than one area is.
    Border,
    /// Old and new place share addresses.
    Overlap,
    /// Something else is there.
    Occupied,
}

/// Why a block must stay as it is.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Refused {
    /// No area has all of it.
    NoArea,
    /// Somebody wants no huge pages there.
    Unwanted,
    /// Nothing was ever there.
    Empty,
    /// Somebody holds one of its pages.
    Busy,
}

/// One thing that is done, or that must be so. What is done must work.
#[derive(Clone, Copy)]
pub(crate) enum Step {
    /// The parent maps memory.
    Map(Part, Prot, Huge),
    /// Writes something new to each page.
    Write(Who, Part),
    /// Reads each page for the first time: they are zeros.
    Zeros(Who, Part),
    /// Every CPU finds everything that was written and not lost.
    Check(Who),
    /// The first of the pages may not be accessed so.
    Denied(Who, Access, Part),
    /// Unmaps.
    Unmap(Who, Part),
    /// Changes the rights.
    Protect(Who, Part, Prot),
    /// Advises.
    Advise(Who, Part, Advice),
    /// The first has a child, the second, which begins as it is.
    Fork(Who, Who),
    /// The space ends.
    Exit(Who),
    /// Moves to a page.
    Move(Who, Part, u32),
    /// Gives so many pages where it is, or else wherever there is room if it may move.
    Resize(Who, Part, u32, bool),
    /// Moves to a page, and gives so many pages.
    Remap(Who, Part, u16, u32),
    /// Moving to a page is refused.
    NoMove(Who, Part, u32, Because),
    /// Another size where it is, in pages, is refused.
    NoResize(Who, Part, u32, Because),
    /// Moving from so many bytes behind it, to so many behind a page further on, is refused.
    Misaligned(Who, Part, u16, u16),
    /// Each huge entry becomes small ones.
    SplitBlocks(Who, Part),
    /// The folio of a page is split into parts of an order.
    SplitFolio(Who, u32, Order),
    /// The folio of a page cannot be split: somebody holds it.
    NoSplit(Who, u32),
    /// Each page is in a folio of this order.
    Folios(Who, Part, Order),
    /// So many of the blocks that the part lies in are mapped by one entry.
    Huge(Who, Part, u32),
    /// Holds all of the memory, until the case ends or [`Step::Release`].
    Hold(Who, Way, Access),
    /// What is held is as it was when it was taken, whatever became of the mapping.
    HeldStays,
    /// What is held is what this space sees.
    HeldIsSeen(Who),
    /// Something is written past all page tables to what is held; this space sees it.
    WriteHeld(Who),
    /// Gives back what is held.
    Release,
    /// Holds all of the memory, as many pages at once as the case says, and looks at each.
    HoldInTurn(Who, Way, Access),
    /// The space has so many areas.
    Areas(Who, u8),
    /// All folios of the part are taken out of all tables and put back: every mapping of them, in every
    /// space, is found on the way.
    FreezeAndThaw(Who, Part),
    /// All folios of the part move to other frames, at once.
    Migrate(Who, Part),
    /// None of them can: somebody holds each.
    NoMigrate(Who, Part),
    /// Makes one huge page of the block around a page, in this way.
    Collapse(Who, u32, Collapsed),
    /// The background goes over all spaces, with these limits: so many pages may be missing, so many may be
    /// others' too.
    Scan(u16, u16),
    /// The block around a page cannot become one.
    NoCollapse(Who, u32, Refused),
    /// All folios of the memory move, again and again, while all other CPUs look at it.
    MigrateInUse(Who),
}

// There are many of them, in an image that is to be small.
const _: () = assert!(size_of::<Step>() == 16);
