//! Moving folios to other frames.

use crate::access::wrong_entry;
use crate::shape::mapped;
use crate::stage::{NO_HEAP, Stage, va};
use crate::step::{ALL, Part, Who};
use abi::{Pfn, VirtAddr};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, Ordering};
use mm::{Destination, Hardware, MigrateError, Moved, Space};
use stress::{Failure, World};

/// How often memory is moved under those that read it.
const TIMES: usize = 4;

impl<'w, W: World> Stage<'w, '_, W> {
    /// Moves all folios of the part elsewhere; says what became of each page.
    fn ask_migrate(
        &self,
        space: &Space<'w, W::Machine>,
        part: Part,
    ) -> Result<Vec<Moved>, Failure> {
        let pages = self.pages(part);
        let (mut at, mut moved) = (Vec::new(), Vec::new());
        at.try_reserve_exact(pages.len()).map_err(|_| NO_HEAP)?;
        moved.try_reserve_exact(pages.len()).map_err(|_| NO_HEAP)?;
        at.extend(pages.map(va));
        moved.resize(at.len(), Err(MigrateError::NotMapped));
        space.move_pages(&at, Destination::Anywhere, &mut moved)?;
        Ok(moved)
    }

    /// Moves all folios of the part to other frames.
    pub(crate) fn migrate(&self, who: Who, part: Part) -> Result<(), Failure> {
        let space = self.space(who)?;
        let before = self.frames(space, part)?;
        let moved = self.ask_migrate(space, part)?;
        for ((page, before), moved) in self.pages(part).zip(before).zip(moved) {
            let va = va(page);
            match moved {
                Ok(pfn) if frame_at(space, va) == Some(pfn) && before != Some(pfn) => {}
                Ok(_) => return Err(wrong_entry(space, va, "it should be where it was moved to")),
                Err(MigrateError::OutOfMemory(oom)) => return Err(oom.into()),
                Err(_) => return Err(wrong_entry(space, va, "its folio should be moved")),
            }
        }
        Ok(())
    }

    /// No folio of the part can be moved: somebody holds each.
    pub(crate) fn no_migrate(&self, who: Who, part: Part) -> Result<(), Failure> {
        let space = self.space(who)?;
        let before = self.frames(space, part)?;
        let moved = self.ask_migrate(space, part)?;
        for ((page, before), moved) in self.pages(part).zip(before).zip(moved) {
            let va = va(page);
            if !matches!(moved, Err(MigrateError::Busy { .. })) || frame_at(space, va) != before {
                return Err(wrong_entry(space, va, "it is held, and should stay"));
            }
        }
        Ok(())
    }

    /// Moves the memory again and again, while all other CPUs look at it.
    pub(crate) fn migrate_in_use(&self, who: Who) -> Result<(), Failure> {
        let space = self.space(who)?;
        let known = self.known(who, &self.pages(ALL));
        let done = AtomicBool::new(false);
        self.on_cpus(&|cpu| {
            if cpu == 0 {
                let result = (0..TIMES).try_for_each(|_| self.migrate(who, ALL));
                done.store(true, Ordering::Release);
                return result;
            }
            loop {
                let last = done.load(Ordering::Acquire);
                self.look(space, cpu, known)?;
                if last {
                    return Ok(());
                }
            }
        })
    }

    /// The frames of the part's pages.
    fn frames(
        &self,
        space: &Space<'w, W::Machine>,
        part: Part,
    ) -> Result<Vec<Option<Pfn>>, Failure> {
        let pages = self.pages(part);
        let mut frames = Vec::new();
        frames.try_reserve_exact(pages.len()).map_err(|_| NO_HEAP)?;
        frames.extend(pages.map(|page| frame_at(space, va(page))));
        Ok(frames)
    }
}

/// The page that is mapped at `va`.
fn frame_at<H: Hardware>(space: &Space<'_, H>, va: VirtAddr) -> Option<Pfn> {
    mapped(space, va).map(|(pfn, _)| pfn)
}
