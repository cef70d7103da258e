//! Areas, rights, advice, splits and moves of both kinds, at random, under everybody's feet.

use super::{Player, is_usual};
use crate::rng::Rng;
use crate::run::Failure;
use crate::stamp::Stamp;
use crate::workloads::field::{BATCH, move_pages};
use crate::world::World;
use abi::{Order, PAGE_SIZE, PMD_SIZE, Prot, VirtAddr, VirtRange};
use mm::{
    Advice, AdviseError, Huge, MapError, Move, Place, ProtectError, RemapError, SplitError,
    UnmapError,
};

/// Where things are moved to and fro: a CPU's own part of each space.
const JOURNEYS: VirtAddr = VirtAddr(1 << 37);
/// Its size, and that of one place in it.
const OWN: u64 = 16 * PMD_SIZE;
const STAGE: u64 = 2 * PMD_SIZE;
/// The number in the stamps of what is moved.
const TRAVELLER: u8 = 30;
/// Pages of it that are looked at.
const PAGES: u64 = 24;

impl<W: World> Player<'_, '_, W> {
    /// A range of the shared memory: a page, some, a block, or much.
    fn range(&self, rng: &mut Rng) -> VirtRange {
        let page = self.field.any(rng);
        let most = self.field.range.pages() - page;
        let pages = match rng.below(8) {
            0 | 1 => 1,
            2 => 1 + rng.below(most.min(64)),
            // So that it can be huge again.
            3..=6 => return self.field.block_of(page),
            _ => 1 + rng.below(most),
        };
        VirtRange::from_size(self.field.at(page), pages * PAGE_SIZE)
    }

    /// Takes an area away, or puts one there, or gives it other rights.
    pub(super) fn change_area(&self, rng: &mut Rng) -> Result<(), Failure> {
        let (space, range) = (&self.field.space, self.range(rng));
        if rng.one_in(2) {
            let prot = if rng.one_in(3) { Prot::Read } else { Prot::ReadWrite };
            return match space.protect(range, prot) {
                Ok(()) | Err(ProtectError::Hole(_) | ProtectError::OutOfMemory) => Ok(()),
                Err(error) => Err(error.into()),
            };
        }
        match space.unmap(range) {
            Ok(()) | Err(UnmapError::OutOfMemory) => {}
            Err(error) => return Err(error.into()),
        }
        // Sometimes it takes a while until there is something again.
        if rng.one_in(8) {
            return Ok(());
        }
        let huge = [Huge::Default, Huge::Advised, Huge::Never][rng.below(3) as usize];
        match space.map(Place::At(range.start), range.bytes(), Prot::ReadWrite, huge) {
            Ok(_) | Err(MapError::Occupied { .. } | MapError::OutOfMemory) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Says something of a range, or throws it away.
    pub(super) fn advise(&self, rng: &mut Rng) -> Result<(), Failure> {
        let advice = match rng.below(9) {
            0 | 1 => Advice::DontNeed,
            2 => Advice::Free,
            3 | 4 => Advice::Huge,
            5 => Advice::NoHuge,
            6 => Advice::PopulateRead,
            7 => Advice::Collapse,
            _ => Advice::PopulateWrite,
        };
        match self.field.space.advise(self.range(rng), advice) {
            Ok(()) | Err(AdviseError::Hole(_) | AdviseError::NoRoom) => Ok(()),
            Err(AdviseError::Denied(_) | AdviseError::OutOfMemory(..)) => Ok(()),
            Err(AdviseError::Apart(..)) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Splits an entry or a folio.
    pub(super) fn split(&self, rng: &mut Rng) -> Result<(), Failure> {
        let page = self.field.any(rng);
        if rng.one_in(2) {
            self.field.space.split_block(self.field.at(page));
            return Ok(());
        }
        self.field.split_folio(page, Order(rng.below(u64::from(Order::PMD.0)) as u8))
    }

    /// Takes all mappings of a folio away for a while.
    pub(super) fn freeze(&self, rng: &mut Rng) -> Result<(), Failure> {
        let (space, va) = (&self.field.space, self.field.at(self.field.any(rng)));
        match space.freeze_folio_at(va) {
            Ok(frozen) => {
                for _ in 0..rng.below(8) {
                    self.run.world.yield_now();
                }
                if rng.one_in(2) {
                    space.split_block(va);
                }
                frozen.thaw();
                Ok(())
            }
            Err(SplitError::NotMapped | SplitError::Busy { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Moves folios to other frames, those that travel among them.
    pub(super) fn migrate(&self, rng: &mut Rng) -> Result<(), Failure> {
        let cpus = self.run.options.cpus as u64;
        let mut pages = [JOURNEYS; BATCH];
        for page in &mut pages {
            *page = match rng.below(4) {
                0 => JOURNEYS + rng.below(cpus * OWN / PAGE_SIZE) * PAGE_SIZE,
                _ => self.field.at(self.field.any(rng)),
            };
        }
        // Where memory is short nothing may be moved, and where areas come and go there may be nothing.
        let _ = move_pages(&self.field.space, &pages);
        Ok(())
    }

    /// Moves a mapping of the CPU's own through the shared space. Nobody throws that away.
    pub(super) fn travel(&self, rng: &mut Rng) -> Result<(), Failure> {
        let (run, space, cpu) = (self.run, &self.field.space, self.cpu);
        let stage = |n: u64, rng: &mut Rng| {
            let offset = if rng.one_in(2) { 0 } else { rng.below(PMD_SIZE / PAGE_SIZE) };
            Place::At(JOURNEYS + cpu as u64 * OWN + n * STAGE + offset * PAGE_SIZE)
        };
        let bytes = if rng.one_in(2) { PMD_SIZE } else { (1 + rng.below(PAGES)) * PAGE_SIZE };
        let mut range = match space.map(stage(0, rng), bytes, Prot::ReadWrite, Huge::Advised) {
            Ok(range) => range,
            Err(MapError::OutOfMemory) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let version = rng.next() as u16;
        let step = range.pages().div_ceil(PAGES);
        let stamp = |page: u64| Stamp::new(TRAVELLER, VirtAddr(page * PAGE_SIZE), version);
        let mut filled = 0;
        while filled < range.pages() {
            match run.world.store(space, range.start + filled * PAGE_SIZE, stamp(filled).word()) {
                Ok(()) => filled += step,
                Err(outcome) if is_usual(outcome) => break,
                Err(outcome) => {
                    let (va, access) = (range.start, abi::Access::Write);
                    return Err(run.wrong_outcome(space, cpu, va, access, Some(outcome)));
                }
            }
        }
        for n in 1..1 + rng.below(4) {
            let Place::At(to) = stage(n, rng) else { continue };
            match space.remap(range, bytes, Move::To(to)) {
                Ok(moved) => range = moved,
                Err(RemapError::OutOfMemory) => {}
                Err(error) => return Err(error.into()),
            }
            for page in (0..filled).step_by(step as usize) {
                let va = range.start + page * PAGE_SIZE;
                let found = run.load(space, cpu, va)?;
                if found != stamp(page).word() {
                    return Err(run.wrong_data(space, cpu, va, stamp(page), found));
                }
            }
        }
        Ok(space.unmap(range)?)
    }
}
