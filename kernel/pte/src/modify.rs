//! The same mapping with other rights or another history.
//!
//! Every method takes a value and gives a value; storing it is somebody else's, who must know
//! whether hardware updates the same word meanwhile.
//!
//! # Writable and dirty
//! Two bits of software (WRITE, which is the hardware's DBM, and DIRTY) and one of hardware (RDONLY)
//! make four states; the methods never leave them:
//!
//! | dirty | writable | RDONLY | WRITE | DIRTY |
//! | --- | --- | --- | --- | --- |
//! | no | no | 1 | 0 | 0 |
//! | no | yes | 1 | 1 | 0 |
//! | yes | no | 1 | 0 | 1 |
//! | yes | yes | 0 | 1 | either |
//!
//! A writable clean leaf is read-only to hardware. Where hardware manages dirty state it clears
//! RDONLY at the first write; elsewhere the write faults, and the handler stores
//! [`Leaf::made_dirty`]. A handler that maps for a write on such a machine applies it at once.
//!
//! Source: Linux `pte_mkwrite`, `pte_mkdirty`, `pte_wrprotect`, `pte_modify`; Arm ARM, "Hardware
//! management of the dirty state".

use crate::bits::{
    AF, CONT, DIRTY, GP, NG, PRESENT_INVALID, PXN, RDONLY, SPECIAL, UFFD_WP, USER, UXN, VALID,
    WRITE,
};
use crate::granule::Granule;
use crate::leaf::{Leaf, rights};
use crate::word::is_protnone;
use abi::Prot;

/// What [`Leaf::with_prot`] replaces.
const RIGHTS: u64 = VALID | NG | USER | RDONLY | WRITE | PXN | UXN | GP;

/// How far the places of two bits are from each other.
const fn apart(high: u64, low: u64) -> u32 {
    high.trailing_zeros() - low.trailing_zeros()
}

/// Rights of user leaves as bits, worked out once for many leaves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rights {
    set: u64,
    /// What stays of a leaf that gets them.
    kept: u64,
}

impl Rights {
    /// What `prot` permits. `Prot::None` makes leaves invalid, and takes them out of contiguous sets: the
    /// mark must not come back with the first right.
    pub const fn of(prot: Prot) -> Self {
        let set = rights(prot);
        let replaced = if set & VALID == 0 { RIGHTS | CONT } else { RIGHTS };
        Self { set, kept: !replaced }
    }

    /// Whether writing is among them.
    pub const fn is_writable(self) -> bool {
        self.set & WRITE != 0
    }
}

impl<G: Granule> Leaf<G> {
    /// Not writable. What hardware knew of dirt moves to software first, or it would be lost.
    #[doc(alias = "pte_wrprotect")]
    #[must_use]
    pub const fn write_protected(self) -> Self {
        let kept = if self.is_hw_dirty() { self.set(DIRTY) } else { self };
        kept.clear(WRITE).set(RDONLY)
    }

    /// Writable. While clean, still read-only to hardware, so that the first write is noticed.
    #[doc(alias = "pte_mkwrite")]
    #[must_use]
    pub const fn made_writable(self) -> Self {
        let writable = self.set(WRITE);
        if self.has(DIRTY) { writable.clear(RDONLY) } else { writable }
    }

    /// Dirty, and if writable then to hardware too: the next write goes unnoticed.
    #[doc(alias = "pte_mkdirty")]
    #[must_use]
    pub const fn made_dirty(self) -> Self {
        let dirty = self.set(DIRTY);
        if self.has(WRITE) { dirty.clear(RDONLY) } else { dirty }
    }

    /// Clean, as far as rights permit writable.
    #[doc(alias = "pte_mkclean")]
    #[must_use]
    pub const fn made_clean(self) -> Self {
        self.clear(DIRTY).set(RDONLY)
    }

    /// Accessed.
    #[doc(alias = "pte_mkyoung")]
    #[must_use]
    pub const fn made_young(self) -> Self {
        self.set(AF)
    }

    /// Not accessed: the next access faults, or hardware marks it.
    #[doc(alias = "pte_mkold")]
    #[must_use]
    pub const fn made_old(self) -> Self {
        self.clear(AF)
    }

    /// A user leaf with other rights; its history stays. See [`Rights::of`].
    #[doc(alias = "pte_modify")]
    #[must_use]
    pub const fn with_prot(self, prot: Prot) -> Self {
        self.with_rights(Rights::of(prot))
    }

    /// As [`Self::with_prot`], without a branch: for loops.
    #[inline]
    #[must_use]
    pub const fn with_rights(self, rights: Rights) -> Self {
        let word = self.word();
        // Dirty by either record: software's bit, or writable and not read-only.
        let by_hw = word & !(word << apart(WRITE, RDONLY)) & WRITE;
        let dirty = word & DIRTY | by_hw << apart(DIRTY, WRITE);
        // Dirty and writable is not read-only to hardware.
        let open = (rights.set & WRITE & dirty >> apart(DIRTY, WRITE)) >> apart(WRITE, RDONLY);
        Self::from_raw(self.level(), (word & rights.kept | rights.set | dirty) & !open)
    }

    /// Of a folio that is nobody's to count.
    #[doc(alias = "pte_mkspecial")]
    #[must_use]
    pub const fn special(self) -> Self {
        self.set(SPECIAL)
    }

    /// With or without the contiguous mark.
    #[doc(alias = "pte_mkcont")]
    #[must_use]
    pub const fn contiguous(self, on: bool) -> Self {
        if on { self.set(CONT) } else { self.clear(CONT) }
    }

    /// Write-protected on behalf of userfaultfd.
    #[doc(alias = "pte_mkuffd_wp")]
    #[must_use]
    pub const fn uffd_protected(self) -> Self {
        self.write_protected().set(UFFD_WP)
    }

    /// No longer marked by userfaultfd; rights stay as they are.
    #[doc(alias = "pte_clear_uffd_wp")]
    #[must_use]
    pub const fn uffd_released(self) -> Self {
        self.clear(UFFD_WP)
    }

    /// The same mapping, which hardware now must not use. Rights and history stay readable.
    ///
    /// For user leaves: the mark takes the place of the non-global bit, so a kernel leaf could not
    /// be told from one without rights. Defined on leaves alone, because on a soft entry the mark
    /// would make a mapping out of its payload.
    #[doc(alias = "pmd_mkinvalid")]
    #[must_use]
    pub const fn invalidated(self) -> Self {
        self.clear(VALID).set(PRESENT_INVALID)
    }

    /// The same mapping, which hardware may use again: undoes [`Leaf::invalidated`]. A leaf without
    /// rights was never valid, and stays as it is.
    #[must_use]
    pub const fn revalidated(self) -> Self {
        // The mark of an invalid leaf is the non-global bit of a valid one, which each user leaf has.
        if is_protnone(self.word()) { self } else { self.set(VALID) }
    }
}
