//! The audit's own count: how many entries name each page, as the tables say.
//!
//! One word for each page, in a page of scratch memory for each 2 MiB of RAM that is mapped at all. The
//! scratch comes from the page allocator and goes back to it, so an audit of a large machine leaves
//! nothing behind, and one without memory says so.

use crate::rmap::NO_HEAP;
use crate::{Hardware, Mm, OutOfMemory};
use abi::{ENTRIES, Order, Pfn, PhysAddr};
use alloc::vec::Vec;

/// Pages that one page of scratch counts for.
const CHUNK: u64 = ENTRIES as u64;

/// What to add for one more entry of a kind.
#[derive(Clone, Copy, Debug)]
#[repr(u64)]
pub(super) enum Entries {
    /// A PTE that maps the page; or, of a table, whatever links it.
    Pte = 1,
    /// A PMD that maps the folio that begins at the page.
    Pmd = 1 << 20,
    /// A migration entry of a table of pages.
    SoftPte = 1 << 40,
    /// A migration entry of a PMD, of the folio that begins at the page.
    SoftPmd = 1 << 52,
}

/// A migration entry that says of itself that it is the only entry: beside the counts.
const ALONE: u64 = 1 << 63;

/// What was counted of one page.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Found(u64);

impl Found {
    const fn field(self, at: Entries, bits: u32) -> u64 {
        self.0 / at as u64 & ((1 << bits) - 1)
    }

    /// PTEs that map the page; or links to the table.
    pub(super) const fn ptes(self) -> u64 {
        self.field(Entries::Pte, 20)
    }

    /// PMDs that map the folio that begins here.
    pub(super) const fn pmds(self) -> u64 {
        self.field(Entries::Pmd, 20)
    }

    /// Migration entries that name the page.
    pub(super) const fn soft_ptes(self) -> u64 {
        self.field(Entries::SoftPte, 12)
    }

    /// Migration entries of PMDs that name the folio that begins here.
    pub(super) const fn soft_pmds(self) -> u64 {
        self.field(Entries::SoftPmd, 11)
    }

    /// Whether one of the migration entries claims to be the only entry.
    pub(super) const fn claims_alone(self) -> bool {
        self.0 & ALONE != 0
    }
}

/// The count of one audit.
pub(super) struct Tally<'m, H: Hardware> {
    mm: &'m Mm<H>,
    /// By 2 MiB of RAM: its page of scratch, once anything there was counted.
    chunks: Vec<Option<Pfn>>,
}

impl<'m, H: Hardware> Tally<'m, H> {
    /// Nothing was counted yet.
    pub(super) fn new(mm: &'m Mm<H>) -> Result<Self, OutOfMemory> {
        let len = mm.frames.map().range().pages().div_ceil(CHUNK) as usize;
        let mut chunks = Vec::new();
        chunks.try_reserve_exact(len).map_err(|_| NO_HEAP)?;
        chunks.resize(len, None);
        Ok(Self { mm, chunks })
    }

    /// Which chunk a page is counted in, and where in it.
    fn place(&self, pfn: Pfn) -> (usize, u64) {
        let index = u64::from(self.mm.frames.map().index(pfn));
        ((index / CHUNK) as usize, index % CHUNK * 8)
    }

    fn word(&self, pfn: Pfn) -> Option<PhysAddr> {
        let (chunk, offset) = self.place(pfn);
        Some((*self.chunks.get(chunk)?)?.base() + offset)
    }

    /// What was counted of a page of RAM.
    pub(super) fn of(&self, pfn: Pfn) -> Found {
        self.word(pfn).map_or(Found::default(), |at| Found(self.mm.hw.peek(at)))
    }

    /// Counts one more entry of a page of RAM; says what was counted before. Past a million entries of
    /// one page the count is no longer exact.
    pub(super) fn add(&mut self, pfn: Pfn, what: Entries) -> Result<Found, OutOfMemory> {
        let (chunk, offset) = self.place(pfn);
        let base = match self.chunks[chunk] {
            Some(base) => base,
            None => *self.chunks[chunk].insert(self.mm.alloc_zeroed(Order::PAGE)?),
        };
        let at = base.base() + offset;
        let before = self.mm.hw.peek(at);
        self.mm.hw.poke(at, before.wrapping_add(what as u64));
        Ok(Found(before))
    }

    /// Remembers that a migration entry of this page, which was counted, claims to be the only one.
    pub(super) fn claim_alone(&self, pfn: Pfn) {
        if let Some(at) = self.word(pfn) {
            self.mm.hw.poke(at, self.mm.hw.peek(at) | ALONE);
        }
    }
}

impl<H: Hardware> Drop for Tally<'_, H> {
    fn drop(&mut self) {
        for chunk in self.chunks.drain(..).flatten() {
            self.mm.free(chunk);
        }
    }
}
