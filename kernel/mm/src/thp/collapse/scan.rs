//! The background: goes from space to space and from block to block, and collapses what is worth it.
//!
//! # Whose space it is
//! A space is found as walks from folios find it, by its family, and looked at with the family's members
//! held, so that it stays. A collapse must not hold them: it puts a mapping back by such a walk. So the
//! background becomes a *guest* of the space while the members are held, and lets go of them. An exit
//! leaves its family, which ends invitations, and waits until there is no guest; that is as long as one
//! collapse takes. What is collapsed meanwhile is given back with the rest: a walk does not find the
//! space any more, and a migration entry owns nothing.
//!
//! Corresponds to Linux's `khugepaged_scan_mm_slot` and `khugepaged_exit`.

use super::{By, CollapseError, Collapsed};
use crate::mutant::Mutant;
use crate::space::{Core, Layout, USER_END};
use crate::{Hardware, Mm};
use abi::{ENTRIES, Event, PMD_SIZE, VirtAddr};
use core::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use sync::{Arc, Mutex, WaitKey};

/// Where the background is.
#[derive(Clone, Copy, Debug)]
struct Cursor {
    /// The family's number.
    family: usize,
    /// Which of its members.
    member: usize,
    /// The next block's first address.
    va: VirtAddr,
}

const START: Cursor = Cursor { family: 0, member: 0, va: VirtAddr(0) };

/// The background's state.
#[doc(alias = "khugepaged_scan")]
pub(crate) struct Background {
    /// Held as long as the background is at work: who wants it to rest takes it.
    cursor: Mutex<Cursor>,
}

impl Background {
    pub(crate) fn new() -> Self {
        Self { cursor: Mutex::new(START) }
    }
}

/// What the background has done.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Scanned {
    /// Entries that were looked at.
    pub entries: u64,
    /// Blocks that became huge pages.
    pub collapsed: u64,
    /// It stopped early, since there was no memory for a huge page.
    pub out_of_memory: bool,
    /// It has come past the last space.
    pub round: bool,
}

/// What there is at the cursor.
enum Next {
    /// This block.
    Block(Guest, VirtAddr),
    /// Nothing more in this member.
    Member,
    /// No more members.
    Family,
    /// No more families.
    End,
}

/// Having this means: the space is not taken apart.
struct Guest {
    core: Arc<Core>,
}

impl<H: Hardware> Mm<H> {
    /// Looks at up to `entries` entries, from where it stopped the last time, and collapses the blocks that
    /// are worth it by the limits ([`super::Limits`]). Stops at the end of the last space.
    ///
    /// Context: thread, may sleep on changes of layouts and on faults; holds no lock, no claim.
    #[doc(alias("khugepaged_do_scan", "khugepaged_scan_mm_slot"))]
    pub fn collapse_scan(&self, entries: u64) -> Scanned {
        let mut cursor = self.background.cursor.lock(&self.hw);
        let mut done = Scanned::default();
        while done.entries < entries && !done.out_of_memory && !done.round {
            match self.next_block(&cursor) {
                Next::Block(guest, block) => {
                    cursor.va = block + PMD_SIZE;
                    done.entries += ENTRIES as u64;
                    match self.collapse_block(&guest.core, block, By::Background) {
                        Ok(Collapsed::Already) => {}
                        Ok(_) => done.collapsed += 1,
                        Err(CollapseError::OutOfMemory(_)) => done.out_of_memory = true,
                        Err(_) => {}
                    }
                    self.guest_leaves(guest);
                }
                Next::Member => {
                    *cursor = Cursor { member: cursor.member + 1, va: START.va, ..*cursor }
                }
                Next::Family => *cursor = Cursor { family: cursor.family + 1, ..START },
                Next::End => {
                    *cursor = START;
                    done.round = true;
                }
            }
        }
        self.count(Event::ThpScanned, done.entries);
        done
    }

    /// Runs `body` while the background does nothing.
    #[doc(alias("stop_khugepaged", "khugepaged_pause"))]
    pub(crate) fn background_rests<R>(&self, body: impl FnOnce() -> R) -> R {
        let _resting = self.background.cursor.lock(&self.hw);
        body()
    }

    /// The next block from the cursor on that lies in an area which wants huge pages.
    fn next_block(&self, at: &Cursor) -> Next {
        if at.family >= self.families() {
            return Next::End;
        }
        let Some(family) = self.family(at.family as u32) else { return Next::Family };
        let members = family.members(self);
        let Some(core) = members.get(at.member) else { return Next::Family };
        let find = |layout: &Layout| {
            let wanted = layout.iter_from(at.va).filter(|area| self.thp.wants(core, area));
            wanted.map(|area| area.range).find_map(|area| {
                let block = area.start.max(at.va).align_up(PMD_SIZE);
                (block < USER_END && block + PMD_SIZE <= area.end).then_some(block)
            })
        };
        // Whoever changes the areas is not waited for with the members held.
        let Some((Some(block), _claim)) =
            core.layout.try_read_at(&self.hw, at.va.page().min(sync::PAGES - 1), find)
        else {
            return Next::Member;
        };
        core.guests.fetch_add(1, Relaxed);
        Next::Block(Guest { core: core.clone() }, block)
    }

    #[inline(never)]
    fn guest_leaves(&self, guest: Guest) {
        let guests = &guest.core.guests;
        if guests.fetch_sub(1, Release) == 1 {
            self.hw.wake(WaitKey::of(guests));
        }
    }

    /// Waits until nobody is a guest of a space that has left its family.
    #[doc(alias = "khugepaged_exit")]
    pub(crate) fn await_guests(&self, core: &Core) {
        if core.guests.load(Acquire) != 0 && !self.commits(Mutant::ExitForgetsGuests) {
            self.hw.wait(WaitKey::of(&core.guests), &mut || core.guests.load(Acquire) == 0);
        }
    }
}
