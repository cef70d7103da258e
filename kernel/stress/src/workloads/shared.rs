//! A range that one CPU maps and unmaps, round after round, while others read it.
//!
//! A reader may find: a stamp of a version that is not gone yet; zero (mapped, not yet stamped); or
//! be denied (unmapped). A stamp of another page or space is a crossed translation. A stamp of a
//! version whose unmapping had returned before the read began is a stale one.

use crate::rng::Rng;
use crate::run::{Failure, Run};
use crate::stamp::Stamp;
use crate::world::World;
use abi::{Access, PAGE_SIZE, Prot, VirtAddr, VirtRange};
use core::sync::atomic::{AtomicU64, Ordering};
use mm::{Denial, FaultOutcome, Hardware, Huge, Mm, Place, Space};

/// Where the range is, round after round: the readers know it beforehand.
const START: VirtAddr = VirtAddr(1 << 39);

/// The number in the stamps of whoever gets the frames next.
const NEXT_OWNER: u8 = 254;

/// The range, its space, and what readers must not see any more.
pub(super) struct Shared<'m, H: Hardware> {
    pub(super) space: Space<'m, H>,
    pub(super) range: VirtRange,
    /// Who gets the frames next.
    next: Space<'m, H>,
    /// The space's number in stamps.
    number: u8,
    /// Rounds begun, by the one CPU that changes.
    round: AtomicU64,
    /// The newest version whose unmapping has returned.
    gone: AtomicU64,
}

impl<'m, H: Hardware> Shared<'m, H> {
    pub(super) fn new(mm: &'m Mm<H>, bytes: u64, number: u8) -> Result<Self, Failure> {
        let range = VirtRange::from_size(START, bytes);
        let next = Space::new(mm)?;
        // A page of its own next door keeps the next owner's tables, so that what it is handed
        // becomes memory again at once, and not tables.
        next.map(Place::At(range.end), PAGE_SIZE, Prot::ReadWrite, Huge::Never)?;
        if let FaultOutcome::OutOfMemory(oom) = next.fault(range.end, Access::Write) {
            return Err(oom.into());
        }
        Ok(Self {
            space: Space::new(mm)?,
            next,
            range,
            number,
            round: AtomicU64::new(0),
            gone: AtomicU64::new(0),
        })
    }

    /// One round of the changer: maps, stamps, lets others look, unmaps, lets others have the frames.
    pub(super) fn change<W: World<Machine = H>>(
        &self,
        run: &Run<'_, W>,
        cpu: usize,
        rng: &mut Rng,
    ) -> Result<(), Failure> {
        self.change_with(run, cpu, rng, &mut |_| Ok(()))
    }

    /// As [`Shared::change`], with something to do of one's own while all is mapped.
    pub(super) fn change_with<W: World<Machine = H>>(
        &self,
        run: &Run<'_, W>,
        cpu: usize,
        rng: &mut Rng,
        meanwhile: &mut dyn FnMut(&mut Rng) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let round = self.round.fetch_add(1, Ordering::Relaxed) + 1;
        let (space, range, version) = (&self.space, self.range, round as u16);
        let huge = if rng.one_in(3) { Huge::Default } else { Huge::Never };
        space.map(Place::At(range.start), range.bytes(), Prot::ReadWrite, huge)?;
        run.inside(space, || {
            run.mark_all(space, cpu, range, self.number, version)?;
            // Let the readers meet it.
            for _ in 0..rng.below(64) {
                run.world.yield_now();
            }
            meanwhile(rng)
        })?;
        // All of it at once, or in pieces between which the readers run.
        let mut start = range.start;
        while start < range.end {
            let left = (range.end - start) / PAGE_SIZE;
            let pages = if rng.one_in(2) { left } else { 1 + rng.below(left) };
            let piece = VirtRange::from_size(start, pages * PAGE_SIZE);
            space.unmap(piece)?;
            self.hand_on(run, cpu, piece, version)?;
            start = piece.end;
        }
        self.gone.store(round, Ordering::SeqCst);
        run.did(range.pages());
        Ok(())
    }

    /// What the unmapping of `range` freed becomes the next owner's, at the same addresses: its pages
    /// carry other stamps, its tables are others' tables. Whoever still uses an old translation sees
    /// it there.
    fn hand_on<W: World<Machine = H>>(
        &self,
        run: &Run<'_, W>,
        cpu: usize,
        range: VirtRange,
        version: u16,
    ) -> Result<(), Failure> {
        let next = &self.next;
        next.map(Place::At(range.start), range.bytes(), Prot::ReadWrite, Huge::Never)?;
        run.inside(next, || run.mark_all(next, cpu, range, NEXT_OWNER, version))?;
        next.unmap(range)?;
        Ok(())
    }

    /// One look of a reader, which is inside the space.
    pub(super) fn look<W: World<Machine = H>>(
        &self,
        run: &Run<'_, W>,
        cpu: usize,
        rng: &mut Rng,
    ) -> Result<(), Failure> {
        let va = self.range.start + rng.below(self.range.pages()) * PAGE_SIZE;
        let gone = self.gone.load(Ordering::SeqCst) as u16;
        let found = match run.world.load(&self.space, va) {
            Ok(0) | Err(FaultOutcome::Denied(Denial::NoArea)) => return Ok(()),
            Ok(found) => found,
            Err(outcome) => {
                let outcome = Some(outcome);
                return Err(run.wrong_outcome(&self.space, cpu, va, Access::Read, outcome));
            }
        };
        run.did(1);
        let alive = Stamp::read(found).is_some_and(|stamp| {
            // Versions wrap; a live one is ahead of the newest gone by less than half the circle.
            let ahead = stamp.version.wrapping_sub(gone);
            stamp == Stamp::new(self.number, va, stamp.version) && (1..0x8000).contains(&ahead)
        });
        if alive {
            return Ok(());
        }
        let expected = Stamp::new(self.number, va, gone.wrapping_add(1));
        Err(run.wrong_data(&self.space, cpu, va, expected, found))
    }
}
