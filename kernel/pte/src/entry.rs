//! What a descriptor can be.
//!
//! [`decode`] looks at one snapshot of 64 bits and says what it is; it never fails and never
//! guesses. Accessors of a leaf exist on [`Leaf`] only, those of a soft entry on [`Soft`] only, so a
//! migration entry cannot be asked for its output address, which would look right by accident.
//!
//! Source: Linux `pmd_present`, `pmd_leaf`, `pmd_protnone`.

use crate::Soft;
use crate::bits::{
    ADDRESS_ANY, AF, NT, PRESENT_INVALID, PXN_TABLE, RDONLY, SH, SH_INNER, TYPE, UXN_TABLE, VALID,
    WRITE,
};
use crate::granule::{Granule, K4, base, has_leaves, has_tables, leaf_address};
use crate::leaf::Leaf;
use crate::word::is_protnone;
use abi::{Level, Pfn};
use core::marker::PhantomData;

/// What a descriptor is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Entry<G: Granule> {
    /// Nothing: the whole word is 0.
    None,
    /// A pointer to the next table.
    Table(Table<G>),
    /// A mapping that hardware uses.
    Leaf(Leaf<G>),
    /// A mapping that hardware must not use for the moment; only under the page-table lock.
    PresentInvalid(Leaf<G>),
    /// A mapping that permits nothing, and stays.
    ProtNone(Leaf<G>),
    /// No mapping, but software remembers something.
    Soft(Soft),
    /// A word that no correct step produces.
    Corrupt(u64),
}

impl<G: Granule> Entry<G> {
    /// Whether it names a folio that the mapping keeps alive.
    pub const fn is_present(&self) -> bool {
        matches!(self, Self::Leaf(_) | Self::PresentInvalid(_) | Self::ProtNone(_))
    }

    /// Whether hardware may use it, and so may have it cached.
    pub const fn is_valid(&self) -> bool {
        matches!(self, Self::Table(_) | Self::Leaf(_))
    }

    /// The leaf, if it is present in any way.
    pub const fn leaf(&self) -> Option<Leaf<G>> {
        match self {
            Self::Leaf(leaf) | Self::PresentInvalid(leaf) | Self::ProtNone(leaf) => Some(*leaf),
            _ => None,
        }
    }

    /// The mapping, if it is one that stays: valid, or permitting nothing. A leaf that is invalid for the
    /// moment is somebody's step between two others, and the business of whoever took it.
    #[inline]
    pub const fn mapping(&self) -> Option<Leaf<G>> {
        match self {
            Self::Leaf(leaf) | Self::ProtNone(leaf) => Some(*leaf),
            _ => None,
        }
    }

    /// The word that decodes to this at `level`.
    pub const fn word(&self, level: Level) -> u64 {
        match self {
            Self::None => 0,
            Self::Table(table) => table.word(),
            Self::Leaf(leaf) | Self::PresentInvalid(leaf) | Self::ProtNone(leaf) => leaf.word(),
            Self::Soft(soft) => soft.encode_in::<G>(level),
            Self::Corrupt(word) => *word,
        }
    }
}

/// A pointer to the next table.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct Table<G: Granule> {
    word: u64,
    granule: PhantomData<G>,
}

impl<G: Granule> Table<G> {
    /// A table of the user half. Nothing below is executable at EL1, whatever a leaf says.
    ///
    /// The access flag is set at once: where hardware manages it for tables (FEAT_HAFT) an unset
    /// one would cost a fault, elsewhere it is ignored.
    pub const fn new(pfn: Pfn) -> Self {
        Self::from_raw(VALID | TYPE | AF | PXN_TABLE | base::<G>(pfn) & G::ADDRESS)
    }

    /// A table of the kernel half. Nothing below is executable at EL0.
    pub const fn kernel(pfn: Pfn) -> Self {
        Self::from_raw(VALID | TYPE | AF | UXN_TABLE | base::<G>(pfn) & G::ADDRESS)
    }

    const fn from_raw(word: u64) -> Self {
        Self { word, granule: PhantomData }
    }

    /// The frame of the next table.
    pub const fn pfn(self) -> Pfn {
        Pfn((self.word & G::ADDRESS) >> G::PAGE_SHIFT)
    }

    /// The descriptor.
    pub const fn word(self) -> u64 {
        self.word
    }

    /// Whether both lead to the same table under the same limits. Their words may differ: where
    /// hardware manages the access flag of tables it writes that bit.
    pub const fn same_table(self, other: Self) -> bool {
        (self.word ^ other.word) & !AF == 0
    }
}

/// What `word` is in a table of `level`, with 4 KiB pages.
#[doc(alias = "pmd_leaf")]
#[inline(always)]
pub const fn decode(level: Level, word: u64) -> Entry<K4> {
    decode_in(level, word)
}

/// What `word` is in a table of `level`.
#[inline(always)]
pub const fn decode_in<G: Granule>(level: Level, word: u64) -> Entry<G> {
    if word == 0 {
        return Entry::None;
    }
    if word & VALID != 0 {
        return if has_tables::<G>(level) && word & TYPE != 0 {
            if word & ADDRESS_ANY & !G::ADDRESS == 0 {
                Entry::Table(Table::from_raw(word))
            } else {
                Entry::Corrupt(word)
            }
        } else if is_leaf_shaped::<G>(level, word) {
            Entry::Leaf(Leaf::from_raw(level, word))
        } else {
            Entry::Corrupt(word)
        };
    }
    if word & PRESENT_INVALID != 0 {
        if !is_leaf_shaped::<G>(level, word) || !is_built_here(word) {
            return Entry::Corrupt(word);
        }
        let leaf = Leaf::from_raw(level, word);
        return if is_protnone(word) { Entry::ProtNone(leaf) } else { Entry::PresentInvalid(leaf) };
    }
    decode_soft(level, word)
}

/// As [`decode_in`], for what is neither nothing nor present: out of the way of the walks.
const fn decode_soft<G: Granule>(level: Level, word: u64) -> Entry<G> {
    match Soft::decode_in::<G>(level, word) {
        Some(soft) => Entry::Soft(soft),
        None => Entry::Corrupt(word),
    }
}

/// Whether the bits other than VALID are those of a block or page of `level`.
#[inline(always)]
const fn is_leaf_shaped<G: Granule>(level: Level, word: u64) -> bool {
    let (type_bit, nt) = if matches!(level, Level::Pte) { (TYPE, 0) } else { (0, NT) };
    let zero = ADDRESS_ANY & !leaf_address::<G>(level) & !nt;
    let reserved_shareability = 0b01 << 8;
    has_leaves::<G>(level)
        && word & TYPE == type_bit
        && word & zero == 0
        && word & SH != reserved_shareability
}

/// Whether an invalid leaf has what each leaf of ours has: inner shareable, and one of the four
/// states of writable and dirty. The mark of a present-invalid leaf, set by mistake on an empty or a
/// soft entry, is found out by this.
const fn is_built_here(word: u64) -> bool {
    word & SH == SH_INNER && word & (RDONLY | WRITE) != 0
}

#[cfg(test)]
#[path = "entry_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "trap_tests.rs"]
mod traps;

#[cfg(test)]
#[path = "exhaustive_tests.rs"]
mod exhaustive;
