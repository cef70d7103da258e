//! What others do past all page tables: references and pins.

use crate::access::wrong_entry;
use crate::stage::{Kept, NO_HEAP, Stage, va};
use crate::step::{ALL, Way, Who};
use abi::{Access, Pfn};
use alloc::vec::Vec;
use core::ops::Range;
use mm::frame::Flag;
use mm::gup::{GupError, Held, Run};
use mm::{Hardware, Space};
use stress::{Failure, World};

/// Holds the pages, or as many of them as can be had.
fn hold<'w, 'b, H: Hardware>(
    space: &Space<'w, H>,
    pages: &Range<u32>,
    way: Way,
    access: Access,
    room: &'b mut [Run],
) -> Result<Held<'w, 'b, H>, GupError> {
    let (va, pages) = (va(pages.start), pages.len() as u64);
    if way.tries_fast() {
        // That of a lockless walk is given back if it is not all; what is held, is held once.
        let enough = match way.pins() {
            true => space.pin_fast_many(va, pages, access, room).pages() == pages,
            false => space.gup_fast_many(va, pages, access, room).pages() == pages,
        };
        if enough {
            return Ok(match way.pins() {
                true => space.pin_fast_many(va, pages, access, room),
                false => space.gup_fast_many(va, pages, access, room),
            });
        }
    }
    match way {
        Way::PinLong => space.pin_longterm_many(va, pages, access, room),
        way if way.pins() => space.pin_many(va, pages, access, room),
        _ => space.gup_many(va, pages, access, room),
    }
}

impl<W: World> Stage<'_, '_, W> {
    fn peek(&self, pfn: Pfn) -> u64 {
        self.world.mm().hw.peek(pfn.base())
    }

    /// Holds all of the memory until the case ends, or until it is released.
    pub(crate) fn hold(&mut self, who: Who, way: Way, access: Access) -> Result<(), Failure> {
        let pages = self.pages(ALL);
        let room = self.room.take().ok_or(Failure::Count {
            what: "holds in one case",
            expected: 1,
            found: 2,
        })?;
        let held = hold(self.space(who)?, &pages, way, access, room)?;
        count("pages held", pages.len() as u64, held.pages())?;
        let mut was = Vec::new();
        was.try_reserve_exact(pages.len()).map_err(|_| NO_HEAP)?;
        was.extend(held.iter().map(|pfn| self.peek(pfn)));
        self.kept = Some(Kept { held, was });
        self.held_is_seen(who)
    }

    /// What is held is as it was when it was taken.
    pub(crate) fn held_stays(&self) -> Result<(), Failure> {
        let Some(kept) = &self.kept else { return Err(NOTHING_HELD) };
        kept.held.iter().zip(&kept.was).try_for_each(|(pfn, &word)| self.is_in(pfn, word))
    }

    /// What is held is what is known of the memory.
    pub(crate) fn held_is_seen(&self, who: Who) -> Result<(), Failure> {
        let Some(kept) = &self.kept else { return Err(NOTHING_HELD) };
        let known = self.known(who, &self.pages(ALL));
        count("pages known", kept.held.pages(), known.len() as u64)?;
        kept.held.iter().zip(known).try_for_each(|(pfn, known)| self.is_in(pfn, known.1))
    }

    /// Somebody writes to what is held, past all page tables.
    pub(crate) fn write_held(&mut self, who: Who) -> Result<(), Failure> {
        let pages = self.pages(ALL);
        self.renew(who, &pages)?;
        let Some(kept) = &self.kept else { return Err(NOTHING_HELD) };
        for (pfn, known) in kept.held.iter().zip(self.known(who, &pages)) {
            self.world.mm().hw.poke(pfn.base(), known.1);
        }
        Ok(())
    }

    fn is_in(&self, pfn: Pfn, expected: u64) -> Result<(), Failure> {
        let found = self.peek(pfn);
        if found == expected {
            return Ok(());
        }
        Err(Failure::WrongFrame { cpu: 0, at: pfn.base(), expected, found })
    }

    /// Holds all of the memory, so many pages at once, and gives them back. What is held is what is known;
    /// who may write to it, does, past all page tables.
    pub(crate) fn hold_in_turn(
        &mut self,
        who: Who,
        way: Way,
        access: Access,
    ) -> Result<(), Failure> {
        let mut room = Vec::new();
        room.try_reserve_exact(self.batch as usize + 1).map_err(|_| NO_HEAP)?;
        room.resize(self.batch as usize + 1, Run::EMPTY);
        if access == Access::Write {
            // What a page holds before is of no account: it is looked at in other cases.
            self.renew(who, &self.pages(ALL))?;
        }
        let pages = self.pages(ALL);
        let mut at = pages.start;
        while at < pages.end {
            let turn = at..pages.end.min(at + self.batch);
            let space = self.space(who)?;
            let held = hold(space, &turn, way, access, &mut room)?;
            count("pages held", turn.len() as u64, held.pages())?;
            for (pfn, page) in held.iter().zip(turn.clone()) {
                // What was never touched shows zeros.
                let word = self.word(who, page).unwrap_or(0);
                if way.pins() && !self.is_pinned(pfn) {
                    return Err(wrong_entry(space, va(page), "its page should be pinned"));
                }
                match access {
                    Access::Write => self.world.mm().hw.poke(pfn.base(), word),
                    _ => self.is_in(pfn, word)?,
                }
            }
            at = turn.end;
        }
        Ok(())
    }

    /// Whether it is pinned; of the zeros that everybody shares, nobody counts it.
    fn is_pinned(&self, pfn: Pfn) -> bool {
        let (mm, map) = (self.world.mm(), self.world.mm().frames.map());
        map.head(pfn).is_some_and(|head| mm.pins(head) > 0 || map.desc(head).has(Flag::Zero))
    }
}

const NOTHING_HELD: Failure = Failure::Count { what: "holds at a step", expected: 1, found: 0 };

/// A count that must come out.
pub(crate) fn count(what: &'static str, expected: u64, found: u64) -> Result<(), Failure> {
    if expected == found { Ok(()) } else { Err(Failure::Count { what, expected, found }) }
}
