//! What an audit can find wrong: one case for each rule, with the evidence.

use crate::frame::{Counts, Kind, OutOfMemory};
use crate::rmap::Owner;
use crate::vmalloc::{AddressRule, Found};
use abi::{Level, Order, Pfn, Prot, VirtAddr};
use core::fmt;

/// A rule that does not hold, though nothing is in flight.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use = "a broken rule is memory corruption that has not struck yet"]
pub enum Broken {
    /// An entry of a live space breaks a rule.
    Entry(Seen, EntryRule),
    /// A table of one, or a page that should be one, breaks a rule.
    Table(Pfn, TableRule),
    /// A folio, by its first page, breaks a rule; with what it counts.
    Folio(Pfn, Counts, FolioRule),
    /// Addresses of the kernel's, from here on, break a rule.
    Addresses(VirtAddr, AddressRule),
    /// There was no memory to count in. Nothing is known to be wrong.
    NotAudited(OutOfMemory),
}

/// An entry, as it was read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Seen {
    /// The root table of the space.
    pub root: Pfn,
    /// The first address that the entry translates.
    pub va: VirtAddr,
    /// The level of its table.
    pub level: Level,
    /// Its 64 bits.
    pub word: u64,
}

/// What is wrong with an entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EntryRule {
    /// No correct step leaves such a word behind.
    Corrupt,
    /// It is a leaf above the PMD level: nobody makes any.
    TooLarge,
    /// It was made invalid for a moment, and left so.
    LeftInvalid,
    /// It waits for a migration that is over.
    LeftMigration,
    /// It is global or executable at EL1.
    Privileged,
    /// It maps or remembers something where no area is.
    Outside,
    /// It permits more than its area, which permits this.
    Rights(Prot),
    /// It names a page that is no RAM.
    NoRam,
    /// It maps a page that belongs to no folio, but to somebody else.
    NoFolio(Kind),
    /// It leads to a page that is no table, but somebody else's.
    NoTable(Kind),
    /// It leads to a table that something else leads to as well.
    SecondWay(Pfn),
    /// It is huge and maps something else than the whole of this folio.
    NotWhole(Pfn, Order),
    /// Its folio does not say that it is mapped here: a walk from the folio would miss it.
    Unfindable {
        /// What the folio is called.
        called: Name,
        /// What it would have to be called.
        expected: Name,
    },
    /// It is writable, and its page is not exclusive: somebody else may read what is written.
    SharedWritable,
    /// It makes memory writable that everybody shares.
    WritableZeros,
    /// It maps memory that nobody counts, without the mark that says so.
    NotSpecial,
    /// It has that mark, and its folio is counted.
    Special,
    /// It begins a contiguous set of entries that is none.
    TornSet(pte::Misfit),
    /// It begins a contiguous set that is not within one folio.
    SetOfFolios,
}

/// What is wrong with a table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TableRule {
    /// It is the root of a space, and belongs to somebody else.
    NoTable(Kind),
    /// It is reached by two ways.
    SecondWay,
    /// Nothing leads to it.
    Lost,
    /// It has not one table put aside for each huge entry.
    Deposits {
        /// Huge entries.
        huge: usize,
        /// Tables put aside with it, as far as they were counted.
        spare: usize,
    },
    /// A page was put aside with it that is no table.
    NoSpare(Pfn),
}

/// What is wrong with a folio.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FolioRule {
    /// So many entries map it, and it counts another number.
    Mappings(u64),
    /// So many PMDs map it, and it counts another number.
    PmdMappings {
        /// What it counts.
        counted: u32,
        /// How many there are.
        found: u64,
    },
    /// It has fewer references than mappings, or more than anybody holds.
    References,
    /// Nobody maps it, and nobody holds what references it has.
    Lost,
    /// It has so many pins, which is more than the references that are no mapping's.
    Pins(u32),
    /// This page of it is exclusive, and so many entries map it.
    SharedExclusive(Pfn, u64),
    /// A migration entry says that it is the only one of this page, and there are so many.
    NotAlone(Pfn, u64),
    /// Everybody shares it uncounted, and it counts mappings or pages that are exclusive.
    CountedZeros,
    /// This tail of it has references: who took them has the wrong page.
    TailHeld(Pfn),
    /// It is locked, and nobody is at work.
    LeftLocked,
    /// It is on the deferred list after it was freed, and is this now.
    ListedAfterAll(Kind),
    /// It is on the deferred list twice.
    ListedTwice,
    /// The deferred list and its flags do not agree.
    Deferred {
        /// It is marked as partly mapped.
        partial: bool,
        /// It is marked as being on the list.
        queued: bool,
        /// It is on the list.
        listed: bool,
    },
}

/// What a folio's first page is called.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Name {
    /// The family of spaces that may map it.
    pub family: u32,
    /// The number of the virtual page at birth.
    pub index: u64,
}

impl From<Owner> for Name {
    fn from(Owner { family, index }: Owner) -> Self {
        Self { family, index }
    }
}

impl From<OutOfMemory> for Broken {
    fn from(oom: OutOfMemory) -> Self {
        Self::NotAudited(oom)
    }
}

impl core::error::Error for Broken {}

impl From<Found> for Broken {
    fn from(found: Found) -> Self {
        match found {
            Found::Broken(va, rule) => Self::Addresses(va, rule),
            Found::OutOfMemory(error) => Self::NotAudited(error),
        }
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Entry(at, rule) => write!(f, "{at} {rule}"),
            Self::Table(table, rule) => write!(f, "table {table} {rule}"),
            Self::Folio(head, counts, rule) => write!(f, "folio {head} ({counts}) {rule}"),
            Self::Addresses(va, rule) => write!(f, "kernel addresses from {va} on {rule}"),
            Self::NotAudited(oom) => write!(f, "nothing audited, for want of memory: {oom}"),
        }
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { root, va, level, word } = self;
        let entry = pte::decode(*level, *word);
        write!(f, "the {level} entry of {va} under root {root} ({entry}, {word:#018x})")
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "page {:#x} of family {}", self.index, self.family)
    }
}

impl fmt::Display for EntryRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Corrupt => write!(f, "is corrupt"),
            Self::TooLarge => write!(f, "maps more than a huge page"),
            Self::LeftInvalid => write!(f, "was made invalid and left so"),
            Self::LeftMigration => write!(f, "waits for a migration that is over"),
            Self::Privileged => write!(f, "is global or executable at EL1"),
            Self::Outside => write!(f, "lies in no area"),
            Self::Rights(area) => write!(f, "permits more than its area's {area}"),
            Self::NoRam => write!(f, "names a page that is no RAM"),
            Self::NoFolio(kind) => write!(f, "maps a page that is no folio's, but {kind:?}"),
            Self::NoTable(kind) => write!(f, "leads to a page that is no table, but {kind:?}"),
            Self::SecondWay(table) => write!(f, "is a second way to table {table}"),
            Self::NotWhole(head, order) => {
                write!(f, "is huge and maps a part of folio {head}, order {}", order.0)
            }
            Self::Unfindable { called, expected } => {
                write!(f, "maps a folio that is called {called} instead of {expected}")
            }
            Self::SharedWritable => write!(f, "is writable, and its page is not exclusive"),
            Self::WritableZeros => write!(f, "makes everybody's zeros writable"),
            Self::NotSpecial => write!(f, "maps uncounted memory without the mark for it"),
            Self::Special => write!(f, "is marked special, and its folio is counted"),
            Self::TornSet(misfit) => write!(f, "begins a torn set: {misfit}"),
            Self::SetOfFolios => write!(f, "begins a set that is of more than one folio"),
        }
    }
}

impl fmt::Display for TableRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoTable(kind) => write!(f, "is a root, and is {kind:?}"),
            Self::SecondWay => write!(f, "is reached by two ways"),
            Self::Lost => write!(f, "is lost: nothing leads to it"),
            Self::Deposits { huge, spare } => {
                write!(f, "has {huge} huge entries and {spare} tables put aside")
            }
            Self::NoSpare(page) => write!(f, "has page {page} put aside, which is no table"),
        }
    }
}

impl fmt::Display for FolioRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mappings(found) => write!(f, "is mapped by {found} entries"),
            Self::PmdMappings { counted, found } => {
                write!(f, "counts {counted} PMDs and is mapped by {found}")
            }
            Self::References => write!(f, "has other references than anybody holds"),
            Self::Lost => write!(f, "is lost: nobody maps it and nobody holds it"),
            Self::Pins(pins) => write!(f, "has {pins} pins"),
            Self::SharedExclusive(page, entries) => {
                write!(f, "has exclusive page {page}, which {entries} entries map")
            }
            Self::NotAlone(page, entries) => {
                write!(f, "has page {page}, whose only entry is one of {entries}")
            }
            Self::CountedZeros => write!(f, "is everybody's, and counts"),
            Self::TailHeld(page) => write!(f, "has references on its tail {page}"),
            Self::LeftLocked => write!(f, "is locked, and nobody is at work"),
            Self::ListedAfterAll(kind) => write!(f, "is on the deferred list, and is {kind:?}"),
            Self::ListedTwice => write!(f, "is on the deferred list twice"),
            Self::Deferred { partial, queued, listed } => write!(
                f,
                "is partly mapped: {partial}, marked as queued: {queued}, queued: {listed}"
            ),
        }
    }
}
