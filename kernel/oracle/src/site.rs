//! Where in the program a step was taken, in two bytes.
//!
//! A kernel's or a host's step is known by its place in the source, which `#[track_caller]` hands down for
//! nothing where nobody asks; a plugin that watches instructions knows an address. Either is kept
//! once, in a table, and shadows hold its number.

use alloc::boxed::Box;
use core::fmt;
use core::panic::Location;

/// Where a step was taken.
#[derive(Clone, Copy, Debug)]
pub enum Site {
    /// Nobody knows.
    Unknown,
    /// A line of source.
    Source(&'static Location<'static>),
    /// An instruction.
    Address(u64),
}

impl Site {
    /// The caller's line.
    #[track_caller]
    pub fn here() -> Self {
        Self::Source(Location::caller())
    }

    /// Whether it is the same one, without a look at the names of files.
    #[inline]
    pub(crate) fn is(self, other: Self) -> bool {
        match (self, other) {
            (Self::Unknown, Self::Unknown) => true,
            (Self::Source(one), Self::Source(other)) => core::ptr::eq(one, other),
            (Self::Address(one), Self::Address(other)) => one == other,
            _ => false,
        }
    }

    #[inline]
    fn hash(self) -> usize {
        let key = match self {
            Self::Unknown => 0,
            Self::Source(location) => core::ptr::from_ref(location).addr() as u64,
            Self::Address(address) => address,
        };
        (key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as usize
    }
}

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => f.write_str("a place unknown"),
            Self::Source(at) => write!(f, "{}:{}", at.file(), at.line()),
            Self::Address(address) => write!(f, "{address:#x}"),
        }
    }
}

/// The number of a site.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct SiteId(pub(crate) u16);

impl SiteId {
    pub(crate) const UNKNOWN: Self = Self(0);
}

/// More places than any program has from which it changes descriptors.
const SITES: usize = 1024;

/// Every site that was seen, by a hash of it. When the table is full, new ones are unknown.
pub(crate) struct Sites {
    table: Box<[Site; SITES]>,
    len: usize,
}

impl Sites {
    pub(crate) fn new() -> Self {
        Self { table: Box::new([Site::Unknown; SITES]), len: 0 }
    }

    /// The number of a site: one more than its place in the table, for 0 stands for none.
    #[inline]
    pub(crate) fn id(&mut self, site: Site) -> SiteId {
        let first = site.hash() % SITES;
        for at in [first, (first + 1) % SITES] {
            if self.table[at].is(site) && !site.is(Site::Unknown) {
                return SiteId(at as u16 + 1);
            }
        }
        self.find(site, first)
    }

    /// As [`Sites::id`], for one that is new or has gone a long way.
    #[cold]
    fn find(&mut self, site: Site, first: usize) -> SiteId {
        for at in (first..SITES).chain(0..first) {
            let known = &mut self.table[at];
            if known.is(Site::Unknown) {
                if self.len >= SITES / 2 || site.is(Site::Unknown) {
                    return SiteId::UNKNOWN;
                }
                self.len += 1;
                *known = site;
            }
            if known.is(site) {
                return SiteId(at as u16 + 1);
            }
        }
        SiteId::UNKNOWN
    }

    pub(crate) fn site(&self, id: SiteId) -> Site {
        let at = usize::from(id.0).checked_sub(1);
        at.and_then(|at| self.table.get(at)).copied().unwrap_or(Site::Unknown)
    }
}
