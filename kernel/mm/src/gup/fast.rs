//! Without locks.
//!
//! # The order that makes it right
//! Inside a walkers' epoch, where tables stay tables: read some entries, count on what they name, execute
//! a full fence, and *read the entries again*.
//!
//! * Whoever unmaps clears the entry, invalidates, and then gives its reference back. An entry that
//!   still says the same was not cleared before our count was visible, so the memory is the one that
//!   it names. The entry above is read again too: a whole table may have been unlinked with its
//!   entries left as they were.
//! * Whoever takes a page's exclusivity away for good clears the entry, executes a full fence, and looks
//!   for pins. Either he sees ours, or we see the entry gone; and if a read-only one comes back, the
//!   page is not exclusive any more for whoever has seen it.
//! * A fork takes it away without clearing the entry. It makes the space's `write_protect` odd, executes
//!   a full fence, and looks for pins; we pin, execute a full fence, and look whether the count is as
//!   it was before the walk. The one fence serves both.
//! * A fork looks for pins only in a space where somebody ever pinned: that is noted before the walk, and
//!   ordered by the same fences.
//!
//! What was counted in vain is given back to the descriptor it was counted on.
//!
//! # By windows and runs
//! Neighbours in a table are taken together, as many as [`super::window::WINDOW`] small pages or what is left of a
//! block: one epoch, one descent and one fence for all of them. Those that are neighbours in a folio as
//! well are a [`Run`] and counted in one step. Nothing of that weakens the order: each count comes
//! before the fence, and each entry is read after it.
//!
//! # What the second look compares
//! That the entry maps the same page and permits the access: hardware may have noted an access or a
//! write meanwhile, which takes nothing away. There is no loop: who finds anything else keeps what
//! comes before it and gives up.
//!
//! Corresponds to Linux's `gup_fast_pte_range`, `gup_fast_pmd_leaf`, `try_grab_folio_fast`; there the first
//! counts page by page, with a barrier for each pin.

use super::window::{Got, Sighting, Window};
use super::{Hold, Run};
use crate::mutant::Mutant;
use crate::space::{Core, USER_END};
use crate::{Hardware, Mm, Note, Slot};
use abi::{Access, Event, Level, Pfn, VirtAddr};
use pte::{Entry, Leaf};
use sync::atomic::Ordering;
use sync::{SeqSample, WalkGuard};

/// The space's count of forks, as whoever pins found it.
struct Before(Option<SeqSample>);

impl<H: Hardware> Mm<H> {
    /// Holds the page that `space` has at `va`, if it can be had without waiting.
    #[inline]
    pub(crate) fn hold_fast(
        &self,
        space: &Core,
        va: VirtAddr,
        access: Access,
        hold: Hold,
    ) -> Option<Pfn> {
        let before = self.before(space, va, hold)?;
        let _epoch = self.epoch(va);
        let seen = self.sight(space.root, va, access)?;
        if !self.count_one(&seen, hold) {
            return None;
        }
        if !self.is_undisturbed(space, before) || !self.confirm_one(&seen, access, hold) {
            return self.let_go(seen.pfn(), hold);
        }
        self.count_had(1, hold);
        Some(seen.pfn())
    }

    /// Holds the pages that `space` has from `va` on, at most `pages`, as far as they can be had without
    /// waiting and as `runs` has room for. There may be more to be had behind them.
    pub(crate) fn hold_window(
        &self,
        space: &Core,
        va: VirtAddr,
        pages: u64,
        access: Access,
        hold: Hold,
        runs: &mut [Run],
    ) -> Option<Got> {
        let before = self.before(space, va, hold)?;
        let _epoch = self.epoch(va);
        let seen = self.sight(space.root, va, access)?;
        let block = seen.leaf.level() != Level::Pte;
        let mut window = Window::new(self, &seen, access, hold, pages);
        let counted = match block {
            true => self.count_block(&seen, pages, hold, runs),
            false => window.count(runs),
        };
        if counted.pages == 0 {
            return None;
        }
        let runs = &mut runs[..counted.runs];
        let undisturbed =
            self.commits(Mutant::WindowFencedFirst) || self.is_undisturbed(space, before);
        let good = match undisturbed {
            false => 0,
            true if block => self.confirm_block(&seen, access, hold, runs[0]),
            true => window.confirm(counted, runs),
        };
        self.count_had(good, hold);
        let kept = if good == counted.pages { counted } else { self.give_up(good, hold, runs) };
        (kept.pages > 0).then_some(kept)
    }

    /// Counts, for statistics, pages that were had without locks.
    #[inline(always)]
    fn count_had(&self, pages: u64, hold: Hold) {
        self.count(Event::GupFast, pages);
        if hold == Hold::Pin {
            self.count(Event::PinAcquired, pages);
        }
    }

    /// What comes before the walk: who pins asks whether a fork is at work.
    #[inline(always)]
    fn before(&self, space: &Core, va: VirtAddr, hold: Hold) -> Option<Before> {
        // A table looks at 48 bits: without this, an address of the upper half would find the page
        // that has the same low bits. Linux: `access_ok`.
        if va >= USER_END {
            return None;
        }
        if hold == Hold::Reference {
            return Some(Before(None));
        }
        self.note_pinning(space);
        let sample = space.write_protect.read();
        (sample.is_some() || self.commits(Mutant::PinDuringFork)).then_some(Before(sample))
    }

    #[inline(always)]
    fn epoch(&self, va: VirtAddr) -> Option<WalkGuard<'_, H>> {
        let epoch = (!self.commits(Mutant::GupNoEpoch)).then(|| self.walkers.enter(&self.hw));
        self.hw.note(Note::Walk(va));
        epoch
    }

    /// The fence: counts are visible before the second look. Says whether no fork has come between; where
    /// that is asked, so is the fence.
    #[inline(always)]
    fn is_undisturbed(&self, space: &Core, before: Before) -> bool {
        match before.0 {
            Some(sample) if !self.commits(Mutant::PinForgetsFork) => {
                space.write_protect.unchanged(sample)
            }
            _ => {
                self.fence(Mutant::GupUnfenced);
                true
            }
        }
    }

    /// Counts on the page that was looked for.
    #[inline(always)]
    fn count_one(&self, seen: &Sighting, hold: Hold) -> bool {
        let (map, pfn) = (self.frames.map(), seen.pfn());
        let head = match seen.leaf.level() {
            Level::Pte => map.head(pfn),
            // A block maps a folio from its first page on, if it maps memory at all.
            _ => map.find(seen.leaf.pfn()).map(|_| seen.leaf.pfn()),
        };
        head.is_some_and(|head| match hold {
            Hold::Reference => self.head_try_get(head, pfn, 1),
            Hold::Pin => self.head_try_pin(head, pfn, 1),
        })
    }

    /// The second look at one page.
    #[inline(always)]
    fn confirm_one(&self, seen: &Sighting, access: Access, hold: Hold) -> bool {
        if self.commits(Mutant::GupNoRecheck) {
            return true;
        }
        let (word, leaf) = (self.hw.load(seen.slot), seen.leaf);
        let unasked = hold == Hold::Reference || leaf.is_writable();
        self.is_linked(seen)
            && (unasked && word == leaf.word()
                || self.confirm_word(leaf.level(), word, seen.pfn(), access, hold))
    }

    /// Whether an entry that says `word` now maps `page` still, which may be held so: where hardware has
    /// noted something meanwhile, or whose the page is must be asked.
    #[cold]
    #[inline(never)]
    pub(super) fn confirm_word(
        &self,
        level: Level,
        word: u64,
        page: Pfn,
        access: Access,
        hold: Hold,
    ) -> bool {
        let within = |leaf: &Leaf| page.align_down(leaf.order()) == leaf.pfn();
        let leaf = self.usable(pte::decode(level, word), access).filter(within);
        leaf.is_some_and(|leaf| hold == Hold::Reference || !self.must_unshare(leaf, page))
    }

    /// Remembers that pages of this space may be pinned, before any is: fork asks.
    #[doc(alias = "mm_set_has_pinned_flag")]
    #[inline]
    pub(super) fn note_pinning(&self, space: &Core) {
        // Looked at first: the flag is set once and read by every pin.
        let noted = space.pinned.load(Ordering::Relaxed);
        if !noted && !self.commits(Mutant::PinUnnoted) {
            space.pinned.store(true, Ordering::Relaxed);
        }
    }

    /// Walks down to the leaf that maps `va`, if there is one and it permits `access`. The caller is in
    /// a walkers' epoch.
    #[inline(always)]
    fn sight(&self, root: Pfn, va: VirtAddr, access: Access) -> Option<Sighting> {
        let mut table = root;
        let mut above = None;
        // The last level stands by itself: so each turn of the loop is compiled for its level.
        for &level in Level::Pte.above() {
            let slot = Slot::new(table, level.index(va));
            let word = self.hw.load(slot);
            match pte::decode(level, word) {
                Entry::Table(next) => table = next.pfn(),
                entry => {
                    let leaf = self.usable(entry, access)?;
                    return Some(Sighting { leaf, slot, va, above });
                }
            }
            above = Some((slot, word));
        }
        let slot = Slot::new(table, Level::Pte.index(va));
        let leaf = self.usable(pte::decode(Level::Pte, self.hw.load(slot)), access)?;
        Some(Sighting { leaf, slot, va, above })
    }

    /// The leaf, if the entry is one that hardware may use for `access` right now, of memory that is
    /// counted.
    #[doc(alias = "pte_access_permitted")]
    #[inline]
    pub(super) fn usable(&self, entry: Entry, access: Access) -> Option<Leaf> {
        match entry {
            Entry::Leaf(leaf) if leaf.permits(access) => {
                let counted = !leaf.is_special() || self.commits(Mutant::GupSpecial);
                counted.then_some(leaf)
            }
            Entry::PresentInvalid(leaf) if self.commits(Mutant::GupTrustsPresent) => {
                leaf.prot().allows(access).then_some(leaf)
            }
            Entry::ProtNone(leaf) if self.commits(Mutant::GupProtNone) => Some(leaf),
            _ => None,
        }
    }
}
