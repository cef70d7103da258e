//! TLB maintenance operations: what they are called, what they carry, what they must remove.
//!
//! Invariant: an operand never has a bit set outside the fields of its format. An upper-half address
//! shifted by 12 has ones where FEAT_TTL puts the level hint, and a wrong hint removes nothing; so
//! the address is masked, not only shifted.
//!
//! Source: Arm ARM, "TLB maintenance instructions", "TLBI VAE1", "TLBI RVAE1", "TLB maintenance
//! instruction ordering and completion"; Linux `__TLBI_VADDR`, `__TLBI_VADDR_RANGE`.

use crate::Caps;
use abi::{Asid, Event, Level, PAGE_SHIFT, PAGE_SIZE, VirtAddr, VirtRange};
use core::fmt;

/// Who takes part in an operation, and in the barriers around it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Scope {
    /// The issuing CPU.
    Local,
    /// Every CPU, and every device that listens.
    InnerShareable,
}

/// Which address spaces an operation reaches.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum AsidMatch {
    /// All of them: the VAA forms. Kernel tables need it, since walks are cached under any ASID.
    Any,
    /// Entries of this ASID, and global leaves.
    Only(Asid),
}

/// Which cached descriptors of an address go.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Depth {
    /// Leaves and walks: owed when a table pointer went.
    AllLevels,
    /// Leaves only: the VAL forms.
    LastLevel,
}

/// What an operation removes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Target {
    /// Everything of this translation regime.
    All,
    /// All that is tagged with this ASID; global leaves stay.
    Asid(Asid),
    /// What translates one address.
    Va {
        /// An address in the page or block.
        va: VirtAddr,
        /// In which address spaces.
        asid: AsidMatch,
        /// Leaves, or walks too.
        depth: Depth,
        /// The level of the leaf, only where it is known for certain.
        hint: Option<Level>,
    },
    /// What translates any address of `(num + 1) << (5 * scale + 1)` pages (FEAT_TLBIRANGE).
    Range {
        /// The first address.
        start: VirtAddr,
        /// 0 to 3: the unit is 2, 64, 2048 or 65536 pages.
        scale: u8,
        /// 0 to 31: one less than the number of units.
        num: u8,
        /// In which address spaces.
        asid: AsidMatch,
        /// Leaves, or walks too.
        depth: Depth,
        /// The level of the leaves, only where it is known for certain.
        hint: Option<Level>,
    },
}

/// One TLB maintenance operation.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Tlbi {
    /// What goes.
    pub target: Target,
    /// Where.
    pub scope: Scope,
}

/// The operand's code for a 4 KiB granule, in the TTL and in the TG field. Not TCR_EL1.TG0's code.
const GRANULE_4K: u64 = 0b01;
/// An address takes part up to this bit; above it are tags and the sign.
const ADDRESS_BITS: u32 = 56;

impl Tlbi {
    /// The value of the instruction's register; 0 where it takes none.
    #[inline]
    pub fn operand(&self, caps: &Caps) -> u64 {
        match self.target {
            Target::All => 0,
            Target::Asid(asid) => asid_field(asid),
            Target::Va { va, asid, hint, .. } => {
                let ttl = if caps.ttl { level_field(hint) } else { 0 };
                let ttl = if ttl == 0 { 0 } else { GRANULE_4K << 2 | ttl };
                match_field(asid) | ttl << 44 | low(va.page(), 44)
            }
            Target::Range { start, scale, num, asid, hint, .. } => {
                match_field(asid)
                    | GRANULE_4K << 46
                    | low(scale.into(), 2) << 44
                    | low(num.into(), 5) << 39
                    | level_field(hint) << 37
                    | low(start.page(), 37)
            }
        }
    }

    /// The counter of its kind. What stays on one CPU counts in [`Event::TlbiLocal`] besides.
    #[inline]
    pub const fn event(&self) -> Event {
        match self.target {
            Target::All => Event::TlbiAll,
            Target::Asid(_) => Event::TlbiAsid,
            Target::Va { depth: Depth::AllLevels, .. } => Event::TlbiVa,
            Target::Va { depth: Depth::LastLevel, .. } => Event::TlbiVaLast,
            Target::Range { .. } => Event::TlbiRange,
        }
    }

    /// Whether a CPU in scope must drop a descriptor of `level` that it cached while translating
    /// `va` under `asid`. `global` counts for leaves only: walks are tagged with an ASID even where
    /// every leaf below is global.
    ///
    /// An address removes all of the block around it, but of a contiguous run only the member it
    /// lies in. A hint that is not the level of the leaf removes nothing, as the Arm ARM permits;
    /// it is judged here even for CPUs that ignore it.
    pub fn covers(
        &self,
        va: VirtAddr,
        asid: Asid,
        level: Level,
        is_leaf: bool,
        global: bool,
    ) -> bool {
        let same_space = |wanted| match wanted {
            AsidMatch::Any => true,
            AsidMatch::Only(only) => only == asid || (is_leaf && global),
        };
        let same_kind = |depth, hint: Option<Level>| match (is_leaf, depth, hint) {
            (true, _, Some(hint)) if hint != Level::Pgd => hint == level,
            (true, ..) => true,
            (false, Depth::LastLevel, _) => false,
            (false, Depth::AllLevels, Some(hint)) if hint != Level::Pgd => level < hint,
            (false, Depth::AllLevels, _) => true,
        };
        match self.target {
            Target::All => true,
            Target::Asid(only) => only == asid && !(is_leaf && global),
            Target::Va { va: at, asid, depth, hint } => {
                same_space(asid)
                    && same_kind(depth, hint)
                    && address(at) >> level.shift() == address(va) >> level.shift()
            }
            Target::Range { start, scale, num, asid, depth, hint } => {
                let first = address(start) & !(PAGE_SIZE - 1);
                let last = first + (range_pages(scale, num) << PAGE_SHIFT) - 1;
                let block = address(va) >> level.shift();
                same_space(asid)
                    && same_kind(depth, hint)
                    && first >> level.shift() <= block
                    && block <= last >> level.shift()
            }
        }
    }

    /// The addresses it names: the page, the block that its hint promises, or the range. `None`
    /// where it goes by no address.
    pub fn range(&self) -> Option<VirtRange> {
        match self.target {
            Target::All | Target::Asid(_) => None,
            Target::Va { va, hint, .. } => {
                let bytes = match hint {
                    None | Some(Level::Pgd) => PAGE_SIZE,
                    Some(level) => level.span(),
                };
                Some(VirtRange::from_size(va.align_down(bytes), bytes))
            }
            Target::Range { start, scale, num, .. } => Some(VirtRange::from_size(
                start.align_down(PAGE_SIZE),
                range_pages(scale, num) << PAGE_SHIFT,
            )),
        }
    }

    /// The operation as an assembler spells it.
    pub const fn mnemonic(&self) -> &'static str {
        use {AsidMatch::Any, AsidMatch::Only, Depth::AllLevels, Depth::LastLevel};
        let (local, broadcast) = match self.target {
            Target::All => ("vmalle1", "vmalle1is"),
            Target::Asid(_) => ("aside1", "aside1is"),
            Target::Va { asid, depth, .. } => match (asid, depth) {
                (Only(_), AllLevels) => ("vae1", "vae1is"),
                (Only(_), LastLevel) => ("vale1", "vale1is"),
                (Any, AllLevels) => ("vaae1", "vaae1is"),
                (Any, LastLevel) => ("vaale1", "vaale1is"),
            },
            Target::Range { asid, depth, .. } => match (asid, depth) {
                (Only(_), AllLevels) => ("rvae1", "rvae1is"),
                (Only(_), LastLevel) => ("rvale1", "rvale1is"),
                (Any, AllLevels) => ("rvaae1", "rvaae1is"),
                (Any, LastLevel) => ("rvaale1", "rvaale1is"),
            },
        };
        match self.scope {
            Scope::Local => local,
            Scope::InnerShareable => broadcast,
        }
    }
}

/// How many pages a range operation with these fields names.
pub(crate) const fn range_pages(scale: u8, num: u8) -> u64 {
    (num as u64 + 1) << (5 * scale as u32 + 1)
}

/// The part of an address that TLBs compare.
const fn address(va: VirtAddr) -> u64 {
    low(va.0, ADDRESS_BITS)
}

const fn low(value: u64, bits: u32) -> u64 {
    value & ((1 << bits) - 1)
}

const fn asid_field(asid: Asid) -> u64 {
    (asid.0 as u64) << 48
}

const fn match_field(asid: AsidMatch) -> u64 {
    match asid {
        AsidMatch::Any => 0,
        AsidMatch::Only(asid) => asid_field(asid),
    }
}

/// 1 to 3; 0 is "any level", which is also all that can be said of level 0.
const fn level_field(hint: Option<Level>) -> u64 {
    match hint {
        None => 0,
        Some(level) => level as u64,
    }
}

impl fmt::Display for Tlbi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.mnemonic())?;
        let (asid, hint) = match self.target {
            Target::All => return Ok(()),
            Target::Asid(asid) => return write!(f, " asid={asid}"),
            Target::Va { va, asid, hint, .. } => {
                write!(f, " va={va}")?;
                (asid, hint)
            }
            Target::Range { start, scale, num, asid, hint, .. } => {
                write!(f, " va={start} pages={}", range_pages(scale, num))?;
                (asid, hint)
            }
        };
        if let AsidMatch::Only(asid) = asid {
            write!(f, " asid={asid}")?;
        }
        match hint {
            Some(level) => write!(f, " ttl={}", level as u8),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
#[path = "tlbi_tests.rs"]
mod tests;
