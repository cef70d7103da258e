//! Descriptors in words, for people: "leaf 2M pfn=0x48000 rw- user nG AF dirty".
//!
//! One line each, no trailing space, most telling first. Used by the shell's page-table walk and by
//! failure reports.

use crate::any::{Entry, GenericSoft, Leaf, Pgd, Pmd, Pte, Pud, Table};
use crate::bits::{AF, AP_TABLE, GP, NG, NT, PXN, PXN_TABLE, RDONLY, USER, UXN, UXN_TABLE};
use crate::granule::{Granule, shift};
use crate::{DeviceAccess, Marker, MemType, MigrationKind, Soft};
use abi::Level;
use core::fmt;

impl<G: Granule> fmt::Display for Entry<G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Table(table) => write!(f, "{table}"),
            Self::Leaf(leaf) => write!(f, "leaf {leaf}"),
            Self::PresentInvalid(leaf) => write!(f, "invalid leaf {leaf}"),
            Self::ProtNone(leaf) => write!(f, "protnone leaf {leaf}"),
            Self::Soft(soft) => write!(f, "{soft}"),
            Self::Corrupt(word) => write!(f, "corrupt {word:#018x}"),
        }
    }
}

/// Writes each word whose condition holds.
fn words(f: &mut fmt::Formatter<'_>, list: &[(bool, &str)]) -> fmt::Result {
    for (_, word) in list.iter().filter(|(on, _)| *on) {
        write!(f, " {word}")?;
    }
    Ok(())
}

/// Writes a power of two of bytes, with the largest unit that divides it.
fn bytes(f: &mut fmt::Formatter<'_>, shift: u32) -> fmt::Result {
    let (unit, name) = match shift {
        ..20 => (10, "K"),
        20..30 => (20, "M"),
        30.. => (30, "G"),
    };
    write!(f, "{}{name}", 1u64 << (shift - unit))
}

impl<G: Granule> fmt::Display for Table<G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let has = |bits| self.word() & bits != 0;
        write!(f, "table pfn={}", self.pfn())?;
        words(
            f,
            &[
                (has(PXN_TABLE), "PXN"),
                (has(UXN_TABLE), "UXN"),
                (has(AP_TABLE), "AP"),
                (has(AF), "AF"),
            ],
        )
    }
}

impl<G: Granule> fmt::Display for Leaf<G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let has = |bits| self.word() & bits != 0;
        // Of a user leaf, what EL0 may; of any other, what EL1 may, which reads whatever is valid.
        let kernel = !has(USER) && has(UXN) && self.is_valid();
        let read = if has(USER) || kernel { 'r' } else { '-' };
        let write = if self.is_writable() || !has(RDONLY) { 'w' } else { '-' };
        let exec = if self.is_exec() { 'x' } else { '-' };
        bytes(f, shift::<G>(self.level()))?;
        write!(f, " pfn={} {read}{write}{exec}", self.pfn())?;
        words(
            f,
            &[
                (has(USER), "user"),
                (has(NG) && self.is_valid(), "nG"),
                (has(AF), "AF"),
                (self.is_dirty(), "dirty"),
                (!has(PXN) && has(USER), "kernel-exec"),
                (has(GP), "guarded"),
                (self.is_contiguous(), "contiguous"),
                (self.is_special(), "special"),
                (self.is_uffd_wp(), "uffd-wp"),
                (has(NT) && self.level() != Level::Pte, "nT"),
            ],
        )?;
        match self.mem_type() {
            Some(MemType::Normal) => Ok(()),
            Some(MemType::Device) => f.write_str(" device"),
            Some(MemType::NormalNc) => f.write_str(" uncached"),
            None => f.write_str(" unknown-memory"),
        }
    }
}

impl fmt::Display for Soft {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Migration { pfn, kind, young, dirty, uffd_wp } => {
                let kind = match kind {
                    MigrationKind::Read => "read",
                    MigrationKind::ReadExclusive => "read-exclusive",
                    MigrationKind::Write => "write",
                };
                write!(f, "migration {kind} pfn={pfn}")?;
                words(f, &[(young, "young"), (dirty, "dirty"), (uffd_wp, "uffd-wp")])
            }
            Self::Swap { device, offset, exclusive, uffd_wp } => {
                write!(f, "swap device={device} offset={offset:#x}")?;
                words(f, &[(exclusive, "exclusive"), (uffd_wp, "uffd-wp")])
            }
            Self::DevicePrivate { pfn, access, uffd_wp } => {
                let access = match access {
                    DeviceAccess::Write => "write",
                    DeviceAccess::Read => "read",
                };
                write!(f, "device-private {access} pfn={pfn}")?;
                words(f, &[(uffd_wp, "uffd-wp")])
            }
            Self::HwPoison { pfn } => write!(f, "hwpoison pfn={pfn}"),
            Self::DeviceExclusive { pfn, uffd_wp } => {
                write!(f, "device-exclusive pfn={pfn}")?;
                words(f, &[(uffd_wp, "uffd-wp")])
            }
            Self::Marker(Marker { uffd_wp, poisoned, guard }) => {
                f.write_str("marker")?;
                words(f, &[(uffd_wp, "uffd-wp"), (poisoned, "poisoned"), (guard, "guard")])
            }
        }
    }
}

impl<G: Granule> fmt::Debug for Leaf<G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Leaf({} {:#018x})", self.level(), self.word())
    }
}

macro_rules! debug_as_word {
    ($($name:ident $word:ident),*) => {
        $(impl<G: Granule> fmt::Debug for $name<G> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({:#018x})"), self.$word())
            }
        })*
    };
}

debug_as_word!(Table word, Pgd word, Pud word, Pmd word, Pte word, GenericSoft raw);

#[cfg(test)]
#[path = "show_tests.rs"]
mod tests;
