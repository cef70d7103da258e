//! What one walk takes together: neighbours in a table, counted by runs, each looked at again.
//!
//! [`super::fast`] says in which order, and why.

use super::{Hold, Run};
use crate::frame::PIN_BIAS;
use crate::mutant::Mutant;
use crate::{Hardware, Mm, Slot};
use abi::{Access, Level, PAGE_SIZE, PMD_SIZE, Pfn, VirtAddr};
use pte::{Kin, Leaf};

/// A page as a walk found it mapped.
pub(super) struct Sighting {
    /// What maps it: a page, or a block that contains it.
    pub(super) leaf: Leaf,
    /// Where the leaf is.
    pub(super) slot: Slot,
    /// The address it is mapped at.
    pub(super) va: VirtAddr,
    /// The entry above the leaf's table, and what it said; none above the root.
    pub(super) above: Option<(Slot, u64)>,
}

impl Sighting {
    /// The page that was looked for.
    #[inline]
    pub(super) fn pfn(&self) -> Pfn {
        self.leaf.pfn() + self.va.0 % self.leaf.level().span() / PAGE_SIZE
    }

    /// Pages from it on to the end of the block, or of the table.
    fn left(&self) -> u64 {
        let span = PMD_SIZE.max(self.leaf.level().span());
        (span - self.va.0 % span).div_ceil(PAGE_SIZE)
    }
}

/// How much of a window is counted, or held.
#[derive(Clone, Copy, Default)]
pub(crate) struct Got {
    pub(crate) runs: usize,
    pub(crate) pages: u64,
}

/// The most small pages that one walk takes: interrupts are masked meanwhile.
const WINDOW: u64 = 128;

/// Entries of a table from a sighting on, which are read one after the other.
pub(super) struct Window<'m, H: Hardware> {
    mm: &'m Mm<H>,
    seen: &'m Sighting,
    access: Access,
    hold: Hold,
    /// How many are wanted.
    wanted: usize,
    /// Leaves that need no decoding: they have the rights of the last one that did.
    kin: Kin,
    /// All that were read may be written, so nobody has to ask whose their pages are.
    writable: bool,
}

impl<'m, H: Hardware> Window<'m, H> {
    pub(super) fn new(
        mm: &'m Mm<H>,
        seen: &'m Sighting,
        access: Access,
        hold: Hold,
        wanted: u64,
    ) -> Self {
        let (kin, writable) = (seen.leaf.kin(), seen.leaf.is_writable());
        let wanted = wanted.min(seen.left()).min(WINDOW) as usize;
        Self { mm, seen, access, hold, wanted, kin, writable }
    }

    /// Counts on the pages, as far as they can be used and there is room for runs.
    #[inline]
    pub(super) fn count(&mut self, runs: &mut [Run]) -> Got {
        let mut got = Got::default();
        let mut next = Some(self.seen.leaf.pfn());
        while let Some(first) = next {
            let at = got.pages as usize;
            let Some(room) = runs.get_mut(got.runs..).filter(|room| !room.is_empty()) else {
                break;
            };
            let (more, behind) = match self.count_small(first, at, room) {
                (0, _) => self.count_large(first, at, room),
                (n, behind) => (Got { runs: n, pages: n as u64 }, behind),
            };
            got.runs += more.runs;
            got.pages += more.pages;
            next = behind.filter(|_| more.runs > 0);
        }
        got
    }

    /// Counts on pages from entry `at` on, which maps `first`, as long as each is a folio by itself. Says
    /// how many, and the page behind them.
    #[inline(always)]
    fn count_small(&mut self, first: Pfn, at: usize, runs: &mut [Run]) -> (usize, Option<Pfn>) {
        // In registers: nobody changes these meanwhile.
        let (mm, map, slot, mut kin) =
            (self.mm, *self.mm.frames.map(), self.seen.slot.ahead(at), self.kin);
        let refs = if self.hold == Hold::Pin { PIN_BIAS } else { 1 };
        let room = runs.len().min(self.wanted - at);
        let mut pfn = first;
        for (n, run) in runs[..room].iter_mut().enumerate() {
            if n > 0 {
                let word = mm.hw.load(slot.ahead(n));
                if !kin.has(word) {
                    let Some(other) = self.turn_to(word) else { return (n, None) };
                    kin = other;
                }
                pfn = kin.pfn(word);
            }
            if !map.find(pfn).is_some_and(|desc| mm.small_try_get(pfn, desc, refs)) {
                return (n, Some(pfn));
            }
            if at + n == 0 {
                mm.fence_first(Mutant::WindowFencedFirst);
            }
            *run = Run { first: pfn, pages: 1 };
        }
        (room, None)
    }

    /// Counts on a run of pages from entry `at` on, which maps `first`, of a folio that has more than one.
    #[inline(never)]
    fn count_large(&mut self, first: Pfn, at: usize, runs: &mut [Run]) -> (Got, Option<Pfn>) {
        let map = self.mm.frames.map();
        let (Some(head), Some(run)) = (map.head(first), runs.first_mut()) else {
            return (Got::default(), None);
        };
        // A guess, which is confirmed when the run is counted on.
        let most = map.desc(head).order().pages().saturating_sub(first - head);
        let mut pages = 1;
        let next = loop {
            let next = self.page(at + pages as usize);
            if pages >= most || next != Some(first + pages) {
                break next;
            }
            pages += 1;
        };
        *run = Run { first, pages: pages as u32 };
        let counted = self.mm.count_run(head, *run, self.hold);
        (if counted { Got { runs: 1, pages } } else { Got::default() }, next)
    }

    /// The page that entry `n` maps, if it is wanted and can be used.
    fn page(&mut self, n: usize) -> Option<Pfn> {
        if n >= self.wanted {
            return None;
        }
        let word = self.mm.hw.load(self.seen.slot.ahead(n));
        let kin = if self.kin.has(word) { self.kin } else { self.turn_to(word)? };
        Some(kin.pfn(word))
    }

    /// An entry has other rights than those before it.
    #[cold]
    #[inline(never)]
    fn turn_to(&mut self, word: u64) -> Option<Kin> {
        let leaf = self.mm.usable(pte::decode(Level::Pte, word), self.access)?;
        self.writable &= leaf.is_writable();
        self.kin = leaf.kin();
        Some(self.kin)
    }

    /// The second look: how many of the pages of `runs` are mapped as they were seen, and may be held so.
    #[inline]
    pub(super) fn confirm(&self, counted: Got, runs: &[Run]) -> u64 {
        let (mm, slot, kin) = (self.mm, self.seen.slot, self.kin);
        if mm.commits(Mutant::GupNoRecheck) {
            return counted.pages;
        }
        if !mm.is_linked(self.seen) {
            return 0;
        }
        let unasked = self.hold == Hold::Reference || self.writable;
        let good = |n, page| {
            let word = mm.hw.load(slot.ahead(n));
            unasked && kin.maps(word, page)
                || mm.confirm_word(Level::Pte, word, page, self.access, self.hold)
        };
        let mut n = 0;
        for run in runs {
            // Written out for the page that is a folio by itself: most are.
            let held = match run.pages {
                1 => usize::from(good(n, run.first)),
                _ => run.iter().zip(n..).take_while(|(page, n)| good(*n, *page)).count(),
            };
            n += held;
            if held < run.pages as usize {
                break;
            }
        }
        n as u64
    }
}

impl<H: Hardware> Mm<H> {
    /// Counts on the first `wanted` pages of a block from a sighting on, as one run.
    pub(super) fn count_block(
        &self,
        seen: &Sighting,
        wanted: u64,
        hold: Hold,
        runs: &mut [Run],
    ) -> Got {
        let Some(run) = runs.first_mut() else { return Got::default() };
        let pages = wanted.min(seen.left());
        *run = Run { first: seen.pfn(), pages: pages as u32 };
        // It maps a folio from its first page on, if it maps memory at all.
        let head = seen.leaf.pfn();
        match self.frames.map().find(head) {
            Some(_) if self.count_run(head, *run, hold) => Got { runs: 1, pages },
            _ => Got::default(),
        }
    }

    /// The second look at a block: how many of a run's pages are mapped as they were seen, and may be held
    /// so.
    pub(super) fn confirm_block(
        &self,
        seen: &Sighting,
        access: Access,
        hold: Hold,
        run: Run,
    ) -> u64 {
        let all = u64::from(run.pages);
        if self.commits(Mutant::GupNoRecheck) {
            return all;
        }
        let (word, level) = (self.hw.load(seen.slot), seen.leaf.level());
        let now = self.usable(pte::decode(level, word), access);
        let now = now.filter(|now| now.pfn() == seen.leaf.pfn() && self.is_linked(seen));
        match now {
            None => 0,
            Some(leaf) if hold == Hold::Reference || leaf.is_writable() => all,
            Some(leaf) => {
                run.iter().take_while(|page| !self.must_unshare(leaf, *page)).count() as u64
            }
        }
    }

    /// Counts on a run of what was the folio of `head` a moment ago, if it still is.
    fn count_run(&self, head: Pfn, run: Run, hold: Hold) -> bool {
        let last = run.first + u64::from(run.pages - 1);
        match hold {
            Hold::Reference => self.head_try_get(head, last, run.pages),
            Hold::Pin => self.head_try_pin(head, last, run.pages),
        }
    }

    /// Whether the table of what was seen is linked where it was.
    #[inline(always)]
    pub(super) fn is_linked(&self, seen: &Sighting) -> bool {
        let same = |(slot, word): (Slot, u64)| self.hw.load(slot) == word;
        self.commits(Mutant::GupNoTableRecheck) || seen.above.is_none_or(same)
    }
}
