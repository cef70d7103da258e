//! Without locks.
//!
//! # The order that makes it right
//! Inside a walkers' epoch, where tables stay tables: read an entry, count on what it names, execute a
//! full fence, and *read the entry again*.
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
//! # What the second look compares
//! That the entry maps the same page with the same rights: hardware may have noted an access or a write
//! meanwhile, which takes nothing away. There is no loop: who finds anything else gives up.
//!
//! Corresponds to Linux's `gup_fast_pte_range`, `gup_fast_pmd_leaf`, `try_grab_folio_fast`.

use super::Hold;
use crate::mutant::Mutant;
use crate::space::{Core, USER_END};
use crate::{Hardware, Mm, Note, Slot};
use abi::{Access, Event, Level, PAGE_SIZE, Pfn, VirtAddr};
use pte::{Entry, Leaf};
use sync::atomic::Ordering;

/// A page as a walk found it mapped.
struct Sighting {
    pfn: Pfn,
    leaf: Leaf,
    /// Where the leaf is.
    slot: Slot,
    /// The entry above the leaf's table, and what it said; none above the root.
    above: Option<(Slot, u64)>,
}

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
        // A table looks at 48 bits: without this, an address of the upper half would find the page
        // that has the same low bits. Linux: `access_ok`.
        if va >= USER_END {
            return None;
        }
        let before = match hold {
            Hold::Reference => None,
            Hold::Pin => {
                self.note_pinning(space);
                let sample = space.write_protect.read();
                if sample.is_none() && !self.commits(Mutant::PinDuringFork) {
                    return None;
                }
                sample
            }
        };
        let _epoch = (!self.commits(Mutant::GupNoEpoch)).then(|| self.walkers.enter(&self.hw));
        self.hw.note(Note::Walk(va));
        let seen = self.sight(space.root, va, access)?;
        let map = self.frames.map();
        let head = match seen.leaf.level() {
            Level::Pte => map.head(seen.pfn)?,
            // A block maps a folio from its first page on, if it maps memory at all.
            _ => map.find(seen.leaf.pfn()).map(|_| seen.leaf.pfn())?,
        };
        let held = match hold {
            Hold::Reference => self.head_try_get(head, seen.pfn, 1),
            Hold::Pin => self.head_try_pin(head, seen.pfn),
        };
        if !held {
            return None;
        }
        // The count is visible before the second look. Where a fork is asked for, so is the fence.
        let undisturbed = match before {
            Some(sample) if !self.commits(Mutant::PinForgetsFork) => {
                space.write_protect.unchanged(sample)
            }
            _ => {
                self.fence(Mutant::GupUnfenced);
                true
            }
        };
        if undisturbed && self.still_holds(&seen, access, hold, head) {
            self.count(Event::GupFast, 1);
            return Some(seen.pfn);
        }
        self.count(Event::GupFastRetry, 1);
        match hold {
            _ if self.commits(Mutant::GupKeepsFailed) => {}
            Hold::Reference => self.head_put(head, 1),
            Hold::Pin => self.folio_unpin(seen.pfn),
        }
        None
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
    #[inline]
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
                    let pfn = leaf.pfn() + va.0 % level.span() / PAGE_SIZE;
                    return Some(Sighting { pfn, leaf, slot, above });
                }
            }
            above = Some((slot, word));
        }
        let slot = Slot::new(table, Level::Pte.index(va));
        let leaf = self.usable(pte::decode(Level::Pte, self.hw.load(slot)), access)?;
        Some(Sighting { pfn: leaf.pfn(), leaf, slot, above })
    }

    /// The leaf, if the entry is one that hardware may use for `access` right now, of memory that is
    /// counted.
    #[doc(alias = "pte_access_permitted")]
    #[inline]
    fn usable(&self, entry: Entry, access: Access) -> Option<Leaf> {
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

    /// The second look: the page that is held now is mapped as it was seen, and may be held so.
    #[inline]
    fn still_holds(&self, seen: &Sighting, access: Access, hold: Hold, head: Pfn) -> bool {
        if self.commits(Mutant::GupNoRecheck) {
            return true;
        }
        let linked = |(slot, word): (Slot, u64)| self.hw.load(slot) == word;
        let (word, mut leaf) = (self.hw.load(seen.slot), seen.leaf);
        if word != leaf.word() {
            match self.usable(pte::decode(leaf.level(), word), access) {
                Some(now) if now.same_mapping(leaf) => leaf = now,
                _ => return false,
            }
        }
        if !self.commits(Mutant::GupNoTableRecheck) && !seen.above.is_none_or(linked) {
            return false;
        }
        hold == Hold::Reference || !self.must_unshare(leaf, head, seen.pfn - head)
    }
}
