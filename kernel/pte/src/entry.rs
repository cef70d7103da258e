//! Typed descriptors, and what a descriptor can be.
//!
//! [`decode`] looks at one snapshot of 64 bits and says what it is; it never fails and never
//! guesses. Accessors of a leaf exist on [`Leaf`] only, those of a soft entry on [`Soft`] only, so a
//! migration entry cannot be asked for its output address, which would look right by accident.
//!
//! The predicates on [`Pmd`] and its siblings are the raw ones of Linux, bit by bit. They answer for
//! any word, also for one that [`decode`] calls corrupt.
//!
//! Source: Linux `pmd_present`, `pmd_trans_huge`, `pmd_bad`, `pmd_protnone`.

use crate::bits::{
    ADDRESS, ADDRESS_HIGH, AF, NT, PRESENT_INVALID, PXN_TABLE, RDONLY, SH, SH_INNER, TYPE, USER,
    UXN, UXN_TABLE, VALID, WRITE, leaf_address,
};
use crate::{Leaf, Soft};
use abi::{Level, Pfn, PhysAddr};

/// What a descriptor is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Entry {
    /// Nothing: the whole word is 0.
    None,
    /// A pointer to the next table.
    Table(Table),
    /// A mapping that hardware uses.
    Leaf(Leaf),
    /// A mapping that hardware must not use for the moment; only under the page-table lock.
    PresentInvalid(Leaf),
    /// A mapping that permits nothing, and stays.
    ProtNone(Leaf),
    /// No mapping, but software remembers something.
    Soft(Soft),
    /// A word that no correct step produces.
    Corrupt(u64),
}

impl Entry {
    /// Whether it names a folio that the mapping keeps alive.
    pub const fn is_present(&self) -> bool {
        matches!(self, Self::Leaf(_) | Self::PresentInvalid(_) | Self::ProtNone(_))
    }

    /// Whether hardware may use it, and so may have it cached.
    pub const fn is_valid(&self) -> bool {
        matches!(self, Self::Table(_) | Self::Leaf(_))
    }

    /// The leaf, if it is present in any way.
    pub const fn leaf(&self) -> Option<Leaf> {
        match self {
            Self::Leaf(leaf) | Self::PresentInvalid(leaf) | Self::ProtNone(leaf) => Some(*leaf),
            _ => None,
        }
    }

    /// The word that decodes to this at `level`.
    pub const fn word(&self, level: Level) -> u64 {
        match self {
            Self::None => 0,
            Self::Table(table) => table.word(),
            Self::Leaf(leaf) | Self::PresentInvalid(leaf) | Self::ProtNone(leaf) => leaf.word(),
            Self::Soft(soft) => soft.encode(level),
            Self::Corrupt(word) => *word,
        }
    }
}

/// A pointer to the next table.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(transparent)]
pub struct Table(u64);

impl Table {
    /// A table of the user half. Nothing below is executable at EL1, whatever a leaf says.
    ///
    /// The access flag is set at once: where hardware manages it for tables (FEAT_HAFT) an unset
    /// one would cost a fault, elsewhere it is ignored.
    pub const fn new(pfn: Pfn) -> Self {
        Self(VALID | TYPE | AF | PXN_TABLE | pfn.base().0 & ADDRESS)
    }

    /// A table of the kernel half. Nothing below is executable at EL0.
    pub const fn kernel(pfn: Pfn) -> Self {
        Self(VALID | TYPE | AF | UXN_TABLE | pfn.base().0 & ADDRESS)
    }

    /// The frame of the next table.
    pub const fn pfn(self) -> Pfn {
        PhysAddr(self.0 & ADDRESS).pfn()
    }

    /// The descriptor.
    pub const fn word(self) -> u64 {
        self.0
    }
}

/// What `word` is in a table of `level`.
#[doc(alias = "pmd_leaf")]
pub const fn decode(level: Level, word: u64) -> Entry {
    if word == 0 {
        return Entry::None;
    }
    if word & VALID != 0 {
        return match level {
            Level::Pgd | Level::Pud | Level::Pmd if word & TYPE != 0 => {
                if word & ADDRESS_HIGH == 0 {
                    Entry::Table(Table(word))
                } else {
                    Entry::Corrupt(word)
                }
            }
            _ if is_leaf_shaped(level, word) => Entry::Leaf(Leaf::from_raw(level, word)),
            _ => Entry::Corrupt(word),
        };
    }
    if word & PRESENT_INVALID != 0 {
        if !is_leaf_shaped(level, word) || !is_built_here(word) {
            return Entry::Corrupt(word);
        }
        let leaf = Leaf::from_raw(level, word);
        return if is_protnone(word) { Entry::ProtNone(leaf) } else { Entry::PresentInvalid(leaf) };
    }
    match Soft::decode(level, word) {
        Some(soft) => Entry::Soft(soft),
        None => Entry::Corrupt(word),
    }
}

/// Whether the bits other than VALID are those of a block or page of `level`.
const fn is_leaf_shaped(level: Level, word: u64) -> bool {
    let (type_bit, nt) = match level {
        Level::Pgd => return false,
        Level::Pud | Level::Pmd => (0, NT),
        Level::Pte => (TYPE, 0),
    };
    let zero = (ADDRESS & !leaf_address(level) & !nt) | ADDRESS_HIGH;
    let reserved_shareability = 0b01 << 8;
    word & TYPE == type_bit && word & zero == 0 && word & SH != reserved_shareability
}

/// Whether an invalid leaf has what each leaf of ours has: inner shareable, and one of the four
/// states of writable and dirty. The mark of a present-invalid leaf, set by mistake on an empty or a
/// soft entry, is found out by this.
const fn is_built_here(word: u64) -> bool {
    word & SH == SH_INNER && word & (RDONLY | WRITE) != 0
}

const fn is_protnone(word: u64) -> bool {
    word & (VALID | PRESENT_INVALID) == PRESENT_INVALID && word & (USER | UXN) == UXN
}

macro_rules! descriptor {
    ($(#[$doc:meta])* $name:ident, $level:expr) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
        #[repr(transparent)]
        pub struct $name(u64);

        impl $name {
            /// The level of tables that hold these.
            pub const LEVEL: Level = $level;

            /// From the 64 bits as loaded.
            pub const fn from_word(word: u64) -> Self {
                Self(word)
            }

            /// The 64 bits to store.
            pub const fn word(self) -> u64 {
                self.0
            }

            /// What it is.
            pub const fn decode(self) -> Entry {
                decode(Self::LEVEL, self.0)
            }

            /// Nothing at all.
            pub const fn is_none(self) -> bool {
                self.0 == 0
            }

            /// Usable by hardware.
            pub const fn is_valid(self) -> bool {
                self.0 & VALID != 0
            }

            /// Mapped for software, faulting for hardware.
            pub const fn is_present_invalid(self) -> bool {
                self.0 & (VALID | PRESENT_INVALID) == PRESENT_INVALID
            }

            /// Usable by hardware, or mapped for software.
            pub const fn is_present(self) -> bool {
                self.is_valid() || self.is_present_invalid()
            }

            /// Present and permitting nothing.
            pub const fn is_protnone(self) -> bool {
                is_protnone(self.0)
            }
        }
    };
}

macro_rules! upper {
    ($name:ident) => {
        impl $name {
            /// A pointer to a table.
            pub const fn is_table(self) -> bool {
                self.0 & (VALID | TYPE) == VALID | TYPE
            }

            /// Present, and no pointer to a table.
            pub const fn is_leaf(self) -> bool {
                self.is_present() && !self.is_table()
            }

            /// No pointer to a table: nothing to descend into.
            pub const fn is_bad(self) -> bool {
                !self.is_table()
            }

            /// A huge mapping. Differs from [`Self::is_leaf`] only for a table pointer that was
            /// wrongly made present-invalid: where the two disagree, the entry is corrupt.
            #[doc(alias = "pmd_trans_huge")]
            pub const fn is_trans_huge(self) -> bool {
                self.is_present() && !Self(self.0 | VALID).is_table()
            }
        }
    };
}

descriptor! {
    /// A level 0 descriptor.
    Pgd, Level::Pgd
}
descriptor! {
    /// A level 1 descriptor.
    Pud, Level::Pud
}
descriptor! {
    /// A level 2 descriptor.
    Pmd, Level::Pmd
}
descriptor! {
    /// A level 3 descriptor.
    Pte, Level::Pte
}
upper!(Pgd);
upper!(Pud);
upper!(Pmd);

#[cfg(test)]
#[path = "entry_tests.rs"]
mod tests;
