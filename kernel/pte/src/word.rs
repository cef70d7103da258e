//! Descriptors as words of a known level, and the raw questions that Linux asks of them.
//!
//! The predicates answer bit by bit and for any word, also for one that [`decode`] calls corrupt:
//! this is what a walker sees that does not decode. Whoever has to act on an entry decodes it.
//!
//! Source: Linux `pmd_present`, `pmd_trans_huge`, `pmd_bad`, `pmd_protnone`.
//!
//! [`decode`]: crate::decode

use crate::bits::{PRESENT_INVALID, TYPE, USER, UXN, VALID};
use crate::entry::{Entry, decode_in};
use crate::granule::Granule;
use abi::Level;
use core::marker::PhantomData;

pub(crate) const fn is_protnone(word: u64) -> bool {
    word & (VALID | PRESENT_INVALID) == PRESENT_INVALID && word & (USER | UXN) == UXN
}

macro_rules! descriptor {
    ($(#[$doc:meta])* $name:ident, $level:expr) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
        #[repr(transparent)]
        pub struct $name<G: Granule> {
            word: u64,
            granule: PhantomData<G>,
        }

        impl<G: Granule> $name<G> {
            /// The level of tables that hold these.
            pub const LEVEL: Level = $level;

            /// From the 64 bits as loaded.
            pub const fn from_word(word: u64) -> Self {
                Self { word, granule: PhantomData }
            }

            /// The 64 bits to store.
            pub const fn word(self) -> u64 {
                self.word
            }

            /// What it is.
            pub const fn decode(self) -> Entry<G> {
                decode_in(Self::LEVEL, self.word)
            }

            /// Nothing at all.
            pub const fn is_none(self) -> bool {
                self.word == 0
            }

            /// Usable by hardware.
            pub const fn is_valid(self) -> bool {
                self.word & VALID != 0
            }

            /// Mapped for software, faulting for hardware.
            pub const fn is_present_invalid(self) -> bool {
                self.word & (VALID | PRESENT_INVALID) == PRESENT_INVALID
            }

            /// Usable by hardware, or mapped for software.
            pub const fn is_present(self) -> bool {
                self.is_valid() || self.is_present_invalid()
            }

            /// Present and permitting nothing.
            pub const fn is_protnone(self) -> bool {
                is_protnone(self.word)
            }
        }
    };
}

macro_rules! upper {
    ($name:ident) => {
        impl<G: Granule> $name<G> {
            /// A pointer to a table.
            pub const fn is_table(self) -> bool {
                self.word & (VALID | TYPE) == VALID | TYPE
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
                self.is_present() && !Self::from_word(self.word | VALID).is_table()
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
#[path = "truth_tests.rs"]
mod truth;
