//! What a folio counts, in one 64-bit word: references, mappings, and whether its pages are exclusive.
//!
//! | bits | field |
//! | --- | --- |
//! | 31..0 | references; 0 means frozen or free |
//! | 61..32 | mappings: one for each PMD, one for each PTE |
//! | 62 | every page is exclusive |
//! | 63 | some pages may be: the bitmap in the tails decides |
//!
//! One word, so that one atomic step takes a mapping with its reference, or gives both back: at no
//! instant are there more mappings than references, and a fork that shares a small page does so in
//! one step, exclusivity included.
//!
//! Corresponds to Linux's `_refcount`, `_large_mapcount` and `PageAnonExclusive`.

use core::fmt;

/// The most references that may be taken. Beyond, somebody takes them and never puts them; refusing
/// early keeps the count from ever reaching the mappings' bits.
pub(crate) const MOST_REFS: u32 = 1 << 30;

const MAP: u64 = 1 << 32;
const MAPS: u64 = (1 << 30) - 1;

/// A reading of a folio's counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Counts(pub(crate) u64);

impl Counts {
    /// Every page is exclusive.
    pub(crate) const EXCLUSIVE: u64 = 1 << 62;
    /// The bitmap decides.
    pub(crate) const MIXED: u64 = 1 << 63;

    /// Nothing at all.
    pub(crate) const NONE: Self = Self(0);

    /// `refs` references and nothing else.
    pub(crate) const fn held(refs: u32) -> Self {
        Self(refs as u64)
    }

    /// `n` mappings with a reference each, of pages that are nobody else's.
    pub(crate) const fn mapped_exclusively(n: u32) -> Self {
        Self(Self::mappings(n) | Self::EXCLUSIVE)
    }

    /// What to add for `n` mappings with a reference each, and to subtract when they go.
    #[inline]
    pub(crate) const fn mappings(n: u32) -> u64 {
        n as u64 | (n as u64 * MAP)
    }

    /// What to add for `n` mappings alone.
    #[inline]
    pub(crate) const fn maps_only(n: u32) -> u64 {
        n as u64 * MAP
    }

    /// References.
    #[inline]
    pub const fn refs(self) -> u32 {
        self.0 as u32
    }

    /// Mappings.
    #[inline]
    pub const fn maps(self) -> u32 {
        ((self.0 / MAP) & MAPS) as u32
    }

    /// Whether the only mappings are `n`, and every page is exclusive: whoever has them has all there is.
    #[inline]
    pub(crate) const fn is_sole(self, n: u32) -> bool {
        let sole = Self::EXCLUSIVE | (n as u64 * MAP);
        self.0 & (Self::EXCLUSIVE | (MAPS * MAP)) == sole
    }

    /// Whether every page is exclusive.
    #[inline]
    pub const fn is_exclusive(self) -> bool {
        self.0 & Self::EXCLUSIVE != 0
    }

    /// Whether the bitmap in the tails says which pages are.
    #[inline]
    pub const fn is_mixed(self) -> bool {
        self.0 & Self::MIXED != 0
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pages = match (self.is_exclusive(), self.is_mixed()) {
            (true, _) => ", exclusive",
            (false, true) => ", partly exclusive",
            (false, false) => "",
        };
        write!(f, "{} references, {} mappings{pages}", self.refs(), self.maps())
    }
}
