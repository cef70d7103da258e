//! The short way for most stores: what was judged right once is right again, one entry further.
//!
//! A memory manager works on tables of pages in runs: sixteen or five hundred times the same change, of other
//! frames. Of such a store nothing has to be found out but what belongs to its slot and its frame. Where its
//! table is reached is remembered (`reach`), and so is that one word may follow the other (`pairs`).
//!
//! Whatever is not so is none of this file's business: the store goes the long way (`stores`), and a rule
//! can be broken there only. What the short way keeps is what the long way would have
//! (`tests/short_way.rs` holds the two against each other).

use crate::debt::Taken;
use crate::reach::Reach;
use crate::shadow::{DebtId, Kind, SlotId};
use crate::site::SiteId;
use crate::stores::{Change, How};
use crate::{By, Oracle};
use abi::{Level, PAGE_SHIFT, PAGE_SIZE, Pfn};
use pte::bits::{ADDRESS, VALID};

impl Oracle {
    /// A store was right, the long way: the next like it may go the short one.
    pub(crate) fn learn(&mut self, change: &Change) {
        if !self.is_thorough {
            self.note_pair(change);
        }
    }

    /// Whether a store to a slot of `table` is like one before, right, and remembered now.
    #[inline]
    #[expect(clippy::too_many_arguments, reason = "a store, and what is known of it")]
    pub(crate) fn is_routine(
        &mut self,
        by: By,
        table: usize,
        slot: SlotId,
        old: u64,
        new: u64,
        how: How,
        now: u64,
    ) -> bool {
        let Some(reach) = self.reach(table) else { return false };
        let Some(facts) = self.pairs.find(old, new, how).map(|pair| pair.facts) else {
            return false;
        };
        let kept = self.tables[table].slots[slot.index()];
        let (was, is) = (old & VALID != 0, new & VALID != 0);
        let ours = if was { !self.history() } else { u64::MAX };
        let cached = reach.holders != 0 && (facts.is_cacheable() || (was && kept.cached));
        let takes = cached && facts.owes();
        // A slot that owes meets what it owed when it becomes valid, and owes one thing only.
        let meets = (is || takes) && !self.book.is_paid(kept.debt, slot, &self.cpus);
        let needs_lock = reach.root.is_some() && (reach.is_running || facts.is_locks_only());
        let is_locked = self.cpus.get(by.cpu).held[usize::from(true)] != 0;
        if (old ^ kept.word()) & ours != 0 || meets || (needs_lock && !is_locked) {
            return false;
        }
        // What goes names the frame that what comes does, if that names any.
        let frame = self.frame_of(Pfn((if was { old } else { new } & ADDRESS) >> PAGE_SHIFT));
        if let Some(frame) = frame {
            let frame = &mut self.frames[frame];
            if facts.names_frame() && matches!(frame.kind, Kind::Free | Kind::Table) {
                return false;
            }
            if frame.kind != Kind::Table && was != is {
                frame.maps = frame.maps.wrapping_add_signed(if is { 1 } else { -1 });
                if is {
                    frame.link = slot.0;
                }
            }
        }
        let site = self.sites.id(by.site);
        let debt = match reach.root {
            Some(root) if takes => {
                let frame = frame.map_or(u32::MAX, |frame| frame as u32);
                self.take_page(slot, old, frame, root, &reach, (by.cpu, now, site))
            }
            _ => kept.debt,
        };
        if facts.is_touched() {
            self.cpus.get_mut(by.cpu).touch(slot, facts.is_locks_only());
        }
        let shadow = &mut self.tables[table];
        shadow.live = shadow.live + u16::from(is) - u16::from(was);
        if was && reach.root.is_none() {
            shadow.filled = (now, by.cpu);
        }
        let kept = &mut shadow.slots[slot.index()];
        kept.put(new);
        (kept.site, kept.cpu, kept.debt) = (site, by.cpu, debt);
        kept.cached = is && cached;
        true
    }

    /// The debt for a page's entry that was taken away, by which CPU, when, and where in the program.
    #[inline(never)]
    fn take_page(
        &mut self,
        slot: SlotId,
        old: u64,
        frame: u32,
        root: u32,
        reach: &Reach,
        (cpu, at, site): (u8, u64, SiteId),
    ) -> DebtId {
        let (space, asid) = self.space_of(root);
        let va = reach.base + slot.index() as u64 * PAGE_SIZE;
        let (level, left, is_walk, hull) = (Level::Pte, reach.holders, false, (0, 0));
        let what = Taken {
            slot,
            nr: 1,
            stride: 1,
            level,
            va,
            old,
            is_walk,
            space,
            asid,
            left,
            at,
            cpu,
            site,
            hull,
            frame,
        };
        self.enter_in_book(&what)
    }
}
