//! Playing a step.

use crate::access::wrong_entry;
use crate::stage::{Stage, page_at, va};
use crate::step::{BLOCK, Because, Part, Step, Who};
use abi::{Order, PAGE_SHIFT, PMD_SIZE, VirtRange};
use mm::{Advice, Move, Place, RemapError, SplitError};
use stress::{Failure, World};

impl<W: World> Stage<'_, '_, W> {
    /// Does what a step says, or sees that it is so.
    pub(crate) fn act(&mut self, step: Step) -> Result<(), Failure> {
        match step {
            Step::Map(part, prot, huge) => {
                let range = self.range(part);
                self.space(Who::Parent)?.map(Place::At(range.start), range.bytes(), prot, huge)?;
            }
            Step::Write(who, part) => self.write(who, part)?,
            Step::Zeros(who, part) => self.zeros(who, part)?,
            Step::Check(who) => self.check(who)?,
            Step::Denied(who, access, part) => self.denied(who, access, part)?,
            Step::Unmap(who, part) => {
                self.space(who)?.unmap(self.range(part))?;
                self.forget(who, &self.pages(part));
            }
            Step::Protect(who, part, prot) => self.space(who)?.protect(self.range(part), prot)?,
            Step::Advise(who, part, advice) => {
                self.space(who)?.advise(self.range(part), advice)?;
                if advice == Advice::DontNeed {
                    self.clear(who, &self.pages(part));
                }
            }
            Step::Fork(who, child) => {
                self.spaces[child as usize] = Some(self.space(who)?.fork()?);
                self.inherit(who, child)?;
            }
            Step::Exit(who) => {
                self.spaces[who as usize] = None;
                self.forget(who, &(0..u32::MAX));
            }
            Step::Move(who, part, page) => {
                let pages = self.pages(part).len() as u32;
                self.remap(who, part, pages, Move::To(va(page)))?;
            }
            Step::Resize(who, part, pages, moves) => {
                let to = if moves { Move::IfNeeded } else { Move::No };
                self.remap(who, part, pages, to)?;
            }
            Step::Remap(who, part, pages, page) => {
                self.remap(who, part, pages.into(), Move::To(va(page)))?;
            }
            Step::NoMove(who, part, page, why) => {
                let (old, to) = (self.range(part), Move::To(va(page)));
                self.no_remap(who, old, old.bytes(), to, why)?;
            }
            Step::NoResize(who, part, pages, why) => {
                self.no_remap(who, self.range(part), bytes(pages), Move::No, why)?;
            }
            Step::Misaligned(who, part, from, to) => {
                let old = self.range(part);
                let from = VirtRange::from_size(old.start + u64::from(from), old.bytes());
                let to = Move::To(old.start + (PMD_SIZE + u64::from(to)));
                self.no_remap(who, from, old.bytes(), to, Because::BadRange)?;
            }
            Step::SplitBlocks(who, part) => {
                let space = self.space(who)?;
                let blocks = self.pages(part).step_by(BLOCK as usize);
                blocks.for_each(|page| space.split_block(va(page)));
            }
            Step::SplitFolio(who, page, order) => {
                self.space(who)?.split_folio_at(va(page), order)?;
            }
            Step::NoSplit(who, page) => {
                let space = self.space(who)?;
                match space.split_folio_at(va(page), Order::PAGE) {
                    Err(SplitError::Busy { .. }) => {}
                    _ => return Err(wrong_entry(space, va(page), "its folio is held by somebody")),
                }
            }
            Step::Collapse(who, page, how) => self.collapse(who, page, how)?,
            Step::Scan(none, shared) => self.scan(none.into(), shared.into())?,
            Step::NoCollapse(who, page, why) => self.no_collapse(who, page, why)?,
            Step::Migrate(who, part) => self.migrate(who, part)?,
            Step::NoMigrate(who, part) => self.no_migrate(who, part)?,
            Step::MigrateInUse(who) => self.migrate_in_use(who)?,
            Step::Folios(who, part, order) => self.folios(who, part, order)?,
            Step::Huge(who, part, blocks) => self.huge(who, part, blocks)?,
            Step::Areas(who, areas) => self.areas(who, areas)?,
            Step::Hold(who, way, access) => self.hold(who, way, access)?,
            Step::HeldStays => self.held_stays()?,
            Step::HeldIsSeen(who) => self.held_is_seen(who)?,
            Step::WriteHeld(who) => self.write_held(who)?,
            Step::Release => self.kept = None,
            Step::HoldInTurn(who, way, access) => self.hold_in_turn(who, way, access)?,
            Step::FreezeAndThaw(who, part) => {
                let space = self.space(who)?;
                let mut pages = self.pages(part);
                while let Some(page) = pages.next() {
                    let frozen = space.freeze_folio_at(va(page))?;
                    // Once for each folio.
                    pages.start += frozen.order().pages() as u32 - 1;
                    frozen.thaw();
                }
            }
        }
        Ok(())
    }

    fn remap(&mut self, who: Who, part: Part, pages: u32, to: Move) -> Result<(), Failure> {
        let new = self.space(who)?.remap(self.range(part), bytes(pages), to)?;
        let old = self.pages(part);
        let kept = old.start..old.end.min(old.start + pages);
        self.forget(who, &(kept.end..old.end));
        self.shift(who, &kept, page_at(new.start))
    }

    /// Another place or size is refused, for this reason.
    fn no_remap(
        &self,
        who: Who,
        old: VirtRange,
        bytes: u64,
        to: Move,
        why: Because,
    ) -> Result<(), Failure> {
        let space = self.space(who)?;
        let right = match space.remap(old, bytes, to) {
            Err(RemapError::BadRange(_)) => why == Because::BadRange,
            Err(RemapError::Hole(_)) => why == Because::Hole,
            Err(RemapError::Border { .. }) => why == Because::Border,
            Err(RemapError::Overlap { .. }) => why == Because::Overlap,
            Err(RemapError::Occupied { .. }) => why == Because::Occupied,
            _ => false,
        };
        if right {
            Ok(())
        } else {
            Err(wrong_entry(space, old.start, "moving it should be refused"))
        }
    }
}

/// So many pages in bytes.
const fn bytes(pages: u32) -> u64 {
    (pages as u64) << PAGE_SHIFT
}
