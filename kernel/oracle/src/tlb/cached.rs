//! One descriptor in a TLB: what it translates, what removes it, what contradicts it.
//!
//! Which descriptors an operation's operand names is pte's to say ([`Tlbi::covers`]); here it is applied to
//! what a TLB may have made of them.
//!
//! Source: Arm ARM, "TLB maintenance instructions", "Misprogramming the Contiguous bit"; pte's `bbm`.

use abi::{Asid, Level, PAGE_SIZE, Pfn, VirtAddr, VirtRange};
use core::fmt;
use pte::bits::{ADDRESS, ATTR, CONT, SH};
use pte::{BbmLevel, Caps, Change, Entry, Leaf, Tlbi};

/// Entries that the contiguous mark joins.
pub const RUN: u64 = 16;

/// Which address space, ever: roots are reused, these numbers are not.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct SpaceId(pub u32);

/// What one descriptor serves for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reach {
    /// It leads to the next table.
    Walk,
    /// It translates the page or block that it stands for.
    One,
    /// It has the contiguous mark and translates all sixteen, the others by assumption.
    Run,
}

/// A descriptor as a TLB keeps it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cached {
    /// Whose it is.
    pub space: SpaceId,
    /// Under which number it was read. It counts for all but global leaves.
    pub asid: Asid,
    /// The first address it translates.
    pub va: VirtAddr,
    /// The level of the table it was read from.
    pub level: Level,
    /// The descriptor.
    pub word: u64,
    /// What it serves for.
    pub reach: Reach,
}

impl Cached {
    /// What a TLB may keep of `word`, found at `level` on the way to `va`: nothing where the word
    /// causes a fault. `run`: as sixteen, if the word has the mark.
    pub fn of(
        space: SpaceId,
        asid: Asid,
        va: VirtAddr,
        level: Level,
        word: u64,
        run: bool,
    ) -> Option<Self> {
        let reach = match pte::decode(level, word) {
            Entry::Table(_) => Reach::Walk,
            Entry::Leaf(leaf) if !leaf.is_young() => return None,
            Entry::Leaf(leaf) if run && leaf.is_contiguous() => Reach::Run,
            Entry::Leaf(_) => Reach::One,
            _ => return None,
        };
        let mut cached = Self { space, asid, va, level, word, reach };
        cached.va = va.align_down(cached.span());
        Some(cached)
    }

    /// The leaf; `None` for a table descriptor.
    pub fn leaf(&self) -> Option<Leaf> {
        match pte::decode(self.level, self.word) {
            Entry::Leaf(leaf) => Some(leaf),
            _ => None,
        }
    }

    /// The next table; `None` for a leaf.
    pub fn table(&self) -> Option<Pfn> {
        match pte::decode(self.level, self.word) {
            Entry::Table(table) => Some(table.pfn()),
            _ => None,
        }
    }

    /// Whether it is a leaf that holds under every ASID. A walk never is, whatever is below it.
    pub fn is_global(&self) -> bool {
        self.reach != Reach::Walk && self.leaf().is_some_and(Leaf::is_global)
    }

    /// Whether a CPU that runs `asid` may use it.
    pub fn serves(&self, asid: Asid) -> bool {
        self.asid == asid || self.is_global()
    }

    /// Bytes it translates.
    pub const fn span(&self) -> u64 {
        match self.reach {
            Reach::Walk | Reach::One => self.level.span(),
            Reach::Run => self.level.span() * RUN,
        }
    }

    /// The addresses it translates.
    pub const fn range(&self) -> VirtRange {
        VirtRange::from_size(self.va, self.span())
    }

    /// Whether `va` is one of the addresses it translates.
    pub const fn translates(&self, va: VirtAddr) -> bool {
        va.align_down(self.span()).0 == self.va.0
    }

    /// The first of the frames it leads to. A run is aligned in physical memory as well.
    pub const fn pfn(&self) -> Pfn {
        let pages = self.span() / PAGE_SIZE;
        Pfn(((self.word & ADDRESS) / PAGE_SIZE) & !(pages - 1))
    }

    /// The frame behind `va`, which it translates.
    pub const fn frame(&self, va: VirtAddr) -> Pfn {
        Pfn(self.pfn().0 + (va.0 - self.va.0) / PAGE_SIZE)
    }

    /// Whether it leads into the `pages` frames from `first` on.
    pub fn leads_into(&self, first: Pfn, pages: u64) -> bool {
        let mine = self.pfn();
        self.reach != Reach::Walk
            && mine.0 < first.0 + pages
            && first.0 < mine.0 + self.span() / PAGE_SIZE
    }

    /// Whether a TLBI must remove it. Of a run, an operation on any member removes the whole: it
    /// would go on translating that member.
    pub fn is_covered(&self, op: &Tlbi) -> bool {
        let leaf = self.reach != Reach::Walk;
        let covers = |va| op.covers(va, self.asid, self.level, leaf, self.is_global());
        match self.reach {
            Reach::Walk | Reach::One => covers(self.va),
            Reach::Run => (0..RUN).any(|n| covers(self.va + n * self.level.span())),
        }
    }

    /// Of a run, the page at `va` by itself: a TLB may take a set page by page, each of them from whichever
    /// member's descriptor it has read.
    #[must_use]
    pub fn piece(&self, va: VirtAddr) -> Self {
        let va = va.align_down(self.level.span());
        Self { va, word: self.word_at(va), reach: Reach::One, ..*self }
    }

    /// The word that stands for `va` alone.
    fn word_at(&self, va: VirtAddr) -> u64 {
        let unit = VirtAddr(va.0).align_down(self.level.span());
        self.word & !ADDRESS | self.frame(unit).base().0 & ADDRESS
    }

    /// Whether a TLB must never have both: they translate an address to different places, with
    /// different attributes, or in different sizes where the CPU does not permit that.
    pub fn clashes(&self, newer: &Self, caps: &Caps) -> bool {
        if self.reach == Reach::Walk
            || newer.reach == Reach::Walk
            || !self.range().overlaps(&newer.range())
        {
            return false;
        }
        let va = self.va.max(newer.va);
        let resizes = caps.bbm == BbmLevel::L2NoAbort;
        if self.level == newer.level {
            // Rights may change as well, if not in the same step.
            let size = if resizes { CONT } else { 0 };
            let [old, new] = [self, newer].map(|cached| cached.word_at(va) & !size);
            let change = pte::change(self.level, old, new, caps);
            return matches!(change, Change::BreakBeforeMake(_));
        }
        !resizes || self.frame(va) != newer.frame(va) || (self.word ^ newer.word) & (ATTR | SH) != 0
    }
}

impl fmt::Display for Cached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let run = if self.reach == Reach::Run { " (all sixteen)" } else { "" };
        let entry = pte::decode(self.level, self.word);
        write!(f, "{entry}{run} for {} of asid {}", self.va, self.asid)
    }
}
