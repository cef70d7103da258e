//! A mapping of a page or block: how it is made, and what it says of its rights and its use.
//!
//! Invariant: user leaves belong to one address space and never run at EL1, kernel leaves are global
//! and never run at EL0, and none can be both written and executed.
//!
//! Source: Arm ARM, "VMSAv8-64 Block descriptor and Page descriptor formats", "Access permissions
//! for instruction execution"; Linux `pte_access_permitted`.

use crate::bits::{
    AF, ATTR, ATTR_SHIFT, CONT, DIRTY, NG, PRESENT_INVALID, PXN, RDONLY, SH_INNER, SPECIAL, TYPE,
    UFFD_WP, USER, UXN, VALID, WRITE,
};
use crate::granule::{self, Granule, base, leaf_address};
use crate::regs;
use abi::{Access, Level, Order, Pfn, Prot};
use core::marker::PhantomData;

/// What a kernel mapping permits. None of them is executable at EL0.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum KernelProt {
    /// Read and execute.
    Text,
    /// Read.
    Rodata,
    /// Read and write.
    Data,
}

/// What kind of memory is behind a mapping.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum MemType {
    /// Write-back cacheable.
    Normal,
    /// Device-nGnRE.
    Device,
    /// Normal, not cacheable.
    NormalNc,
}

impl MemType {
    const fn attr(self) -> u64 {
        let index = match self {
            Self::Normal => regs::MAIR_NORMAL,
            Self::Device => regs::MAIR_DEVICE,
            Self::NormalNc => regs::MAIR_NORMAL_NC,
        };
        index << ATTR_SHIFT
    }

    /// By attribute index; `None` for an index that MAIR_EL1 leaves unused.
    pub(crate) const fn from_word(word: u64) -> Option<Self> {
        match (word & ATTR) >> ATTR_SHIFT {
            regs::MAIR_NORMAL => Some(Self::Normal),
            regs::MAIR_DEVICE => Some(Self::Device),
            regs::MAIR_NORMAL_NC => Some(Self::NormalNc),
            _ => None,
        }
    }
}

/// A present leaf of a known level: valid, or invalid for hardware only.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Leaf<G: Granule> {
    word: u64,
    level: Level,
    granule: PhantomData<G>,
}

/// The bits of a user leaf's rights, clean.
pub(crate) const fn rights(prot: Prot) -> u64 {
    match prot {
        Prot::None => PRESENT_INVALID | RDONLY | PXN | UXN,
        Prot::Read => VALID | NG | USER | RDONLY | PXN | UXN,
        Prot::ReadWrite => VALID | NG | USER | RDONLY | WRITE | PXN | UXN,
        Prot::ReadExec => VALID | NG | USER | RDONLY | PXN,
        Prot::Exec => VALID | NG | RDONLY | PXN,
    }
}

impl<G: Granule> Leaf<G> {
    /// A user mapping of `pfn`: young, clean, of one ASID, never executable at EL1.
    ///
    /// `pfn` is aligned to what `level` maps, and `level` is one that has leaves.
    pub const fn user(level: Level, pfn: Pfn, prot: Prot) -> Self {
        Self::build(level, pfn, rights(prot) | AF | MemType::Normal.attr())
    }

    /// A kernel mapping of `pfn`: global, young, and dirty if it can be. Device memory is never
    /// executable: a speculative fetch from a device can have side effects.
    pub const fn kernel(level: Level, pfn: Pfn, prot: KernelProt, mem: MemType) -> Self {
        let rights = match (prot, mem) {
            (KernelProt::Text, MemType::Normal | MemType::NormalNc) => RDONLY,
            (KernelProt::Text, MemType::Device) | (KernelProt::Rodata, _) => RDONLY | PXN,
            (KernelProt::Data, _) => WRITE | DIRTY | PXN,
        };
        Self::build(level, pfn, rights | VALID | UXN | AF | mem.attr())
    }

    const fn build(level: Level, pfn: Pfn, bits: u64) -> Self {
        let (address, field) = (base::<G>(pfn), leaf_address::<G>(level));
        debug_assert!(granule::has_leaves::<G>(level));
        debug_assert!(address & field == address);
        let type_bit = if matches!(level, Level::Pte) { TYPE } else { 0 };
        Self::from_raw(level, address & field | type_bit | SH_INNER | bits)
    }

    pub(crate) const fn from_raw(level: Level, word: u64) -> Self {
        Self { word, level, granule: PhantomData }
    }

    pub(crate) const fn has(self, bits: u64) -> bool {
        self.word & bits != 0
    }

    pub(crate) const fn set(self, bits: u64) -> Self {
        Self::from_raw(self.level, self.word | bits)
    }

    pub(crate) const fn clear(self, bits: u64) -> Self {
        Self::from_raw(self.level, self.word & !bits)
    }

    /// The descriptor.
    pub const fn word(self) -> u64 {
        self.word
    }

    /// The level of the table it belongs into.
    pub const fn level(self) -> Level {
        self.level
    }

    /// How much it maps: a page, or a block.
    pub const fn order(self) -> Order {
        granule::order::<G>(self.level)
    }

    /// The first frame it maps.
    #[doc(alias("pte_pfn", "pmd_pfn"))]
    pub const fn pfn(self) -> Pfn {
        let field = G::OUTPUT & !(granule::span::<G>(self.level) - 1);
        Pfn((self.word & field) >> G::PAGE_SHIFT)
    }

    /// Whether hardware may use it.
    pub const fn is_valid(self) -> bool {
        self.has(VALID)
    }

    /// Whether writing is permitted, though the first write may have to mark it dirty.
    #[doc(alias = "pte_write")]
    pub const fn is_writable(self) -> bool {
        self.has(WRITE)
    }

    /// Whether it was written since it was last made clean, by either record of it.
    #[doc(alias = "pte_dirty")]
    pub const fn is_dirty(self) -> bool {
        self.has(DIRTY) || self.is_hw_dirty()
    }

    /// Whether hardware recorded a write, or would not record the next.
    pub(crate) const fn is_hw_dirty(self) -> bool {
        self.has(WRITE) && !self.has(RDONLY)
    }

    /// Whether it was used since it was last made old.
    pub const fn is_young(self) -> bool {
        self.has(AF)
    }

    /// Whether EL0 may read it.
    pub const fn is_user(self) -> bool {
        self.has(USER)
    }

    /// Whether code may run from it, at whichever level it is for.
    pub const fn is_exec(self) -> bool {
        !self.has(UXN) || !self.has(PXN)
    }

    /// Whether EL1 may execute from it.
    pub const fn is_kernel_exec(self) -> bool {
        !self.has(PXN)
    }

    /// Whether its folio is nobody's to count.
    pub const fn is_special(self) -> bool {
        self.has(SPECIAL)
    }

    /// Whether it is one of a set of neighbours that map one run. Never so of an invalid leaf: the
    /// mark means something to hardware only, so what is left of it in software's hands says
    /// nothing of the neighbours.
    #[doc(alias = "pte_valid_cont")]
    pub const fn is_contiguous(self) -> bool {
        self.has(VALID) && self.has(CONT)
    }

    /// Whether it holds in every address space. An invalid leaf never does.
    pub const fn is_global(self) -> bool {
        !self.has(NG)
    }

    /// Whether userfaultfd write-protects it.
    pub const fn is_uffd_wp(self) -> bool {
        self.has(UFFD_WP)
    }

    /// The kind of memory; `None` for an attribute index that nothing here uses.
    pub const fn mem_type(self) -> Option<MemType> {
        MemType::from_word(self.word)
    }

    /// Whether a program may do this right now. An invalid leaf permits nothing.
    #[doc(alias = "pte_access_permitted")]
    pub const fn permits(self, access: Access) -> bool {
        self.has(VALID)
            && match access {
                Access::Read => self.has(USER),
                Access::Write => self.has(USER) && self.has(WRITE),
                Access::Exec => !self.has(UXN),
            }
    }

    /// The rights of a user leaf; of an invalid one, those it had. What [`Prot`] has no name for
    /// loses what is too much: writable and executable is `ReadWrite`.
    pub const fn prot(self) -> Prot {
        match (self.has(USER), self.has(WRITE), self.has(UXN)) {
            (false, false, false) => Prot::Exec,
            (false, ..) => Prot::None,
            (true, true, _) => Prot::ReadWrite,
            (true, false, true) => Prot::Read,
            (true, false, false) => Prot::ReadExec,
        }
    }
}

impl<G: Granule> From<Leaf<G>> for u64 {
    fn from(leaf: Leaf<G>) -> Self {
        leaf.word
    }
}

#[cfg(test)]
#[path = "leaf_tests.rs"]
mod tests;
