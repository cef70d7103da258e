//! The audit's own count: how many entries name each page, as the tables say.
//!
//! One word for each page, in a page of scratch memory for each 2 MiB of RAM that is mapped at all. The
//! scratch comes from the page allocator and goes back to it, so an audit of a large machine leaves
//! nothing behind, and one without memory says so.

use crate::rmap::NO_HEAP;
use crate::{Hardware, Mm, OutOfMemory};
use abi::{ENTRIES, Order, Pfn};
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

/// What is noted of a page besides how many entries name it.
#[derive(Clone, Copy, Debug)]
#[repr(u64)]
pub(super) enum Remark {
    /// A migration entry says of itself that it is the only entry.
    Alone = 1 << 63,
    /// The folio that begins here is on the deferred list.
    Deferred = 1 << 62,
}

/// What was counted of one page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Found(u64);

impl Found {
    const fn field(self, at: Entries, bits: u32) -> u64 {
        (self.0 / at as u64) & ((1 << bits) - 1)
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
        self.field(Entries::SoftPmd, 10)
    }

    /// Whether this was noted.
    pub(super) const fn has(self, remark: Remark) -> bool {
        self.0 & remark as u64 != 0
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

    /// What was counted and noted of a page of RAM.
    pub(super) fn of(&self, pfn: Pfn) -> Found {
        let (chunk, offset) = self.place(pfn);
        self.chunks[chunk].map_or(Found(0), |base| Found(self.mm.hw.peek(base.base() + offset)))
    }

    /// Counts one more entry of a page of RAM; says what was counted before. Past a million entries of
    /// one page the count is no longer exact.
    pub(super) fn add(&mut self, pfn: Pfn, what: Entries) -> Result<Found, OutOfMemory> {
        self.change(pfn, |word| word.wrapping_add(what as u64))
    }

    /// Notes something of a page of RAM; says what was known before.
    pub(super) fn note(&mut self, pfn: Pfn, what: Remark) -> Result<Found, OutOfMemory> {
        self.change(pfn, |word| word | what as u64)
    }

    fn change(&mut self, pfn: Pfn, to: impl Fn(u64) -> u64) -> Result<Found, OutOfMemory> {
        let (chunk, offset) = self.place(pfn);
        let base = match self.chunks[chunk] {
            Some(base) => base,
            None => *self.chunks[chunk].insert(self.mm.alloc_zeroed(Order::PAGE)?),
        };
        let at = base.base() + offset;
        let before = self.mm.hw.peek(at);
        self.mm.hw.poke(at, to(before));
        Ok(Found(before))
    }
}

impl<H: Hardware> Drop for Tally<'_, H> {
    fn drop(&mut self) {
        for chunk in self.chunks.drain(..).flatten() {
            self.mm.free(chunk);
        }
    }
}
