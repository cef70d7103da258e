//! The levels of a translation table with a 4 KiB granule and 48-bit addresses.

use crate::{PAGE_SHIFT, VirtAddr};
use core::fmt;

/// Descriptors in a table page.
pub const ENTRIES: usize = 512;

/// A level of the translation, by the name kernel engineers give its entries.
///
/// Arm counts from the root: the PGD is level 0, the PTE level 3.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum Level {
    /// Level 0: each entry spans 512 GiB.
    Pgd = 0,
    /// Level 1: each entry spans 1 GiB.
    Pud = 1,
    /// Level 2: each entry spans 2 MiB.
    Pmd = 2,
    /// Level 3: each entry maps one 4 KiB page.
    Pte = 3,
}

impl Level {
    /// From the root down.
    pub const ALL: [Self; 4] = [Self::Pgd, Self::Pud, Self::Pmd, Self::Pte];

    /// log2 of the bytes that one entry spans.
    pub const fn shift(self) -> u32 {
        PAGE_SHIFT + 9 * (3 - self as u32)
    }

    /// Bytes that one entry spans.
    pub const fn span(self) -> u64 {
        1 << self.shift()
    }

    /// Which entry of a table of this level translates `va`.
    pub const fn index(self, va: VirtAddr) -> usize {
        (va.0 >> self.shift()) as usize & (ENTRIES - 1)
    }

    /// The next level towards the leaves; `None` below the PTE.
    pub const fn down(self) -> Option<Self> {
        match self {
            Self::Pgd => Some(Self::Pud),
            Self::Pud => Some(Self::Pmd),
            Self::Pmd => Some(Self::Pte),
            Self::Pte => None,
        }
    }

    /// The levels that a walk passes before this one, from the root down.
    pub const fn above(self) -> &'static [Self] {
        Self::ALL.split_at(self as usize).0
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pgd => "pgd",
            Self::Pud => "pud",
            Self::Pmd => "pmd",
            Self::Pte => "pte",
        })
    }
}
