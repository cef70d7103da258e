//! What the replacement of one descriptor by another owes.
//!
//! A TLB may hold the old descriptor when the new one is stored. For some pairs that is harmless,
//! for some it must be flushed afterwards, and for some the two must never be in TLBs together: the
//! old one is made invalid and flushed first (break-before-make).
//!
//! The judgement is by the two words alone and errs on the careful side. It takes any valid old
//! descriptor for cached, also one with the access flag clear, because clearing that flag owes no
//! flush. It takes the contents behind different output addresses to differ. What it cannot see is
//! the rest of a contiguous set: whoever changes rights there changes all members, or leaves first.
//!
//! Source: Arm ARM, "TLB invalidation: using break-before-make when updating translation table
//! entries", "Block translation entry and support levels for changing table or block size"; Linux
//! `pgattr_change_is_safe`.

use crate::bits::{
    ADDRESS_ANY, AF, AP_TABLE, ATTR, CONT, GP, NG, NT, OVERLAY, PXN, PXN_TABLE, RDONLY, SH,
    SOFTWARE, TYPE, USER, UXN, UXN_TABLE, VALID, WRITE,
};
use crate::{BbmLevel, Caps, MemType};
use abi::Level;

/// What has to be done about TLBs when one descriptor replaces another.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Change {
    /// Nothing: hardware sees no difference.
    Free,
    /// Store it. A TLB that still has the old one makes a spurious fault at worst, or an access
    /// that goes unrecorded in the access flag.
    InPlace,
    /// Store it and flush: until then the old, wider rights may be used.
    Narrowing,
    /// Make the old one invalid and flush, then store.
    BreakBeforeMake(Reason),
    /// Store it and flush before what the old one led to is used for anything else.
    ToInvalid,
    /// Store it. Faulting descriptors are not cached.
    FromInvalid,
}

/// Why two descriptors must not be in TLBs together.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Reason {
    /// Normal and Device, or different kinds of Device.
    MemoryType,
    /// Cacheable and not.
    Cacheability,
    /// Different shareability.
    Shareability,
    /// Different memory behind the same address.
    OutputAddress,
    /// A table and a block.
    Size,
    /// One and sixteen.
    Contiguous,
    /// A global leaf over entries of single address spaces.
    Global,
    /// Another table with perhaps other leaves.
    NextTable,
}

/// What storing `new` over `old` in a table of `level` owes. The same for every granule: it compares
/// addresses, and does not read them.
///
/// Where the CPU lets sizes change directly ([`BbmLevel::L2NoAbort`]), the caller answers for the
/// rest of that bargain: that address and attributes are the same on both sides, which for a table
/// is written in the table.
pub const fn change(level: Level, old: u64, new: u64, caps: &Caps) -> Change {
    match (old & VALID != 0, new & VALID != 0) {
        (false, false) => return Change::Free,
        (false, true) => return Change::FromInvalid,
        (true, false) => return Change::ToInvalid,
        (true, true) => {}
    }
    let bottom = matches!(level, Level::Pte);
    match (!bottom && old & TYPE != 0, !bottom && new & TYPE != 0) {
        (true, true) => change_table(old, new),
        (false, false) => change_leaf(level, old, new, caps),
        _ if may_resize(caps) => Change::Narrowing,
        _ => Change::BreakBeforeMake(Reason::Size),
    }
}

/// A conflict abort on the kernel's own path is not survivable, so the levels that permit one are
/// worth nothing here.
const fn may_resize(caps: &Caps) -> bool {
    matches!(caps.bbm, BbmLevel::L2NoAbort)
}

const fn change_table(old: u64, new: u64) -> Change {
    let limits = PXN_TABLE | UXN_TABLE | AP_TABLE;
    if (old ^ new) & ADDRESS_ANY != 0 {
        Change::BreakBeforeMake(Reason::NextTable)
    } else if new & !old & limits != 0 {
        Change::Narrowing
    } else if (old ^ new) & (limits | AF) != 0 {
        Change::InPlace
    } else {
        Change::Free
    }
}

const fn change_leaf(level: Level, old: u64, new: u64, caps: &Caps) -> Change {
    let block_only = if matches!(level, Level::Pte) { 0 } else { NT };
    if let Some(reason) = conflict(old, new, ADDRESS_ANY & !block_only) {
        return Change::BreakBeforeMake(reason);
    }
    let change = change_attributes(old, new, block_only, caps);
    if breaks_set(old, new, caps) && !matches!(change, Change::Free) {
        return Change::BreakBeforeMake(Reason::Contiguous);
    }
    change
}

/// Whether the two may not follow each other as members of a contiguous set, or of none.
///
/// To join or leave is a change of size: a CPU that permits it directly permits nothing else in the
/// same step. The access flag does not count, since a leaf without it is not cached. Within a set,
/// members differ while they are changed one by one; a user can stand that, the kernel cannot.
const fn breaks_set(old: u64, new: u64, caps: &Caps) -> bool {
    let diff = old ^ new;
    if diff & CONT != 0 {
        !may_resize(caps) || diff & !(CONT | AF | SOFTWARE) != 0
    } else {
        old & CONT != 0 && old & NG == 0
    }
}

const fn change_attributes(old: u64, new: u64, block_only: u64, caps: &Caps) -> Change {
    let diff = old ^ new;
    let flushed = diff & (NG | CONT | OVERLAY | block_only) != 0 || new & !old & GP != 0;
    if flushed || rights(old, caps) & !rights(new, caps) != 0 {
        Change::Narrowing
    } else if diff & (AF | GP) != 0 || rights(old, caps) != rights(new, caps) {
        Change::InPlace
    } else {
        Change::Free
    }
}

/// The first difference that may not be in TLBs together whatever the CPU.
const fn conflict(old: u64, new: u64, address: u64) -> Option<Reason> {
    let diff = old ^ new;
    if diff & ATTR != 0 {
        let normal_on_both_sides = matches!(
            (MemType::from_word(old), MemType::from_word(new)),
            (Some(MemType::Normal | MemType::NormalNc), Some(MemType::Normal | MemType::NormalNc))
        );
        return Some(if normal_on_both_sides { Reason::Cacheability } else { Reason::MemoryType });
    }
    if diff & SH != 0 {
        return Some(Reason::Shareability);
    }
    if diff & address != 0 {
        return Some(Reason::OutputAddress);
    }
    // The other direction may be done in place: too few entries match, not too many.
    if old & NG != 0 && new & NG == 0 {
        return Some(Reason::Global);
    }
    None
}

// EL0 writes what it reads and EL1 writes: that comes and goes with these two.
const EL0_READ: u32 = 0b00001;
const EL0_EXEC: u32 = 0b00010;
const EL1_WRITE: u32 = 0b00100;
const EL1_EXEC: u32 = 0b01000;
const UNRECORDED_WRITE: u32 = 0b10000;

/// Everything that a CPU with this leaf in its TLB may do. Writing without a record in the
/// descriptor is a right of its own: whoever takes it away wants to learn of the next write.
const fn rights(word: u64, caps: &Caps) -> u32 {
    let user = word & USER != 0;
    let unrecorded = word & RDONLY == 0;
    let write = unrecorded || (caps.hw_dirty && word & WRITE != 0);
    let mut rights = 0;
    if user {
        rights |= EL0_READ;
    }
    if word & UXN == 0 {
        rights |= EL0_EXEC;
    }
    if write {
        rights |= EL1_WRITE;
    }
    // What EL0 can write, EL1 never executes.
    if word & PXN == 0 && !(user && write) {
        rights |= EL1_EXEC;
    }
    if unrecorded {
        rights |= UNRECORDED_WRITE;
    }
    rights
}

#[cfg(test)]
#[path = "bbm_tests.rs"]
mod tests;
