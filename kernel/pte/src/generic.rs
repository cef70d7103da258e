//! The form of a soft entry that does not depend on an architecture.
//!
//! Linux's core passes such entries around with the kind in the top five bits, where the word of a
//! slot has it in the middle. Both are 64 bits, and either read as the other is silently another entry;
//! so this one is a type of its own, made and unmade only through [`Soft`].
//!
//! Source: Linux `swp_entry`, `swp_type`, `swp_offset`; `BITS_PER_XA_VALUE`.

use crate::Soft;
use crate::granule::Granule;
use crate::pack::Parts;
use abi::Level;
use core::marker::PhantomData;

/// log2 of the kind's unit: the word must fit an XArray value, which has 63 bits.
const TYPE_SHIFT: u32 = 63 - 5;
const OFFSET: u64 = (1 << TYPE_SHIFT) - 1;

/// A soft entry as Linux's core writes it: kind in bits 62 to 58, payload below. It has no place for
/// what a slot keeps beside the payload, see [`Beside`].
#[doc(alias("swp_entry_t", "softleaf_t"))]
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct GenericSoft<G: Granule> {
    word: u64,
    granule: PhantomData<G>,
}

/// What the slot of a soft entry says beside kind and payload.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Beside {
    /// A swap entry: nobody else has it.
    pub exclusive: bool,
    /// userfaultfd write-protects it.
    pub uffd_wp: bool,
}

impl<G: Granule> GenericSoft<G> {
    /// Of an entry that is legal for a page, and what this form drops of it.
    pub const fn of(soft: Soft) -> (Self, Beside) {
        debug_assert!(soft.is_legal_in::<G>(Level::Pte));
        let Parts { code, offset, exclusive, uffd_wp } = soft.parts::<G>();
        (Self::from_raw(code << TYPE_SHIFT | offset & OFFSET), Beside { exclusive, uffd_wp })
    }

    /// The entry again; `None` if there is none of this kind with this payload, or with these bits
    /// beside it.
    pub const fn soft(self, beside: Beside) -> Option<Soft> {
        let Beside { exclusive, uffd_wp } = beside;
        let (code, offset) = (self.word >> TYPE_SHIFT, self.word & OFFSET);
        match Soft::from_parts::<G>(Parts { code, offset, exclusive, uffd_wp }) {
            Some(soft) if soft.is_legal_in::<G>(Level::Pte) => Some(soft),
            _ => None,
        }
    }

    /// From a word of this form.
    pub const fn from_raw(word: u64) -> Self {
        Self { word, granule: PhantomData }
    }

    /// The word of this form. It is no word for a slot.
    pub const fn raw(self) -> u64 {
        self.word
    }
}

#[cfg(test)]
#[path = "generic_tests.rs"]
mod tests;
