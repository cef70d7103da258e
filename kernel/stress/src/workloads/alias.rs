//! `alias`: all CPUs map frames at kernel addresses for a short time, let the others read there, and give the frames
//! away when an alias flush has promised that nobody reaches them any more.
//!
//! Hunted: a translation that is still there when the flush has returned, of a block of addresses that is used up, or
//! just being given up, or that somebody else is just flushing; an address that is handed out again with an old
//! translation, so that a store goes to somebody else's frame, or a load comes from there; a page of the space that is
//! in two places, or in none. Both judges check the promise where it is relied on; without them the words would not
//! be where they were written.

use super::list_of;
use super::notice::Board;
use crate::rng::Rng;
use crate::run::{Failure, Run};
use crate::stamp::Stamp;
use crate::world::World;
use abi::{Order, PAGE_SIZE, Pfn, VirtAddr, VirtRange};
use alloc::vec::Vec;
use mm::vmalloc::{Area, Backing, RamArea};
use mm::{Hardware, Mm, Note};
use pte::{KernelProt, MemType};

/// Mappings that a CPU has at a time, most of them of as many pages as fit: blocks are used up.
const HELD: usize = 24;
/// The pages of the largest.
const MOST: u64 = 66;
/// Frames behind each of them, at most.
const FRAMES: u64 = 4;
/// Rounds between a CPU's alias flushes.
const PERIOD: u64 = 6;
/// What the stamps of frames say that were given away.
const GIVEN: u8 = 251;

pub(super) fn run<W: World>(run: &Run<'_, W>, watch: &mut dyn FnMut()) -> Result<(), Failure> {
    let board = Board::new(run)?;
    run.on_cpus(watch, |cpu, rng| {
        let mut user =
            User { run, cpu, board: &board, held: Vec::new(), gone: Vec::new(), given: Vec::new() };
        let mut round = 0;
        let mut result = Ok(());
        while result.is_ok() && run.goes_on(round) {
            result = user.round(round, rng);
            round += 1;
        }
        let ended = user.end();
        result.and(ended)
    })
}

/// A mapping, as it was asked for.
enum Mapped {
    Ram(RamArea),
    Frames(Area),
    Memory(Area),
}

/// A mapping and the frames behind it, which come again and again: none where it has memory of its own.
struct Piece {
    mapped: Mapped,
    frames: Vec<Pfn>,
    word: u64,
}

impl Piece {
    fn range(&self) -> VirtRange {
        match &self.mapped {
            Mapped::Ram(area) => area.range(),
            Mapped::Frames(area) | Mapped::Memory(area) => area.range(),
        }
    }
}

/// One CPU's part.
struct User<'r, 'w, W: World> {
    run: &'r Run<'w, W>,
    cpu: usize,
    board: &'r Board,
    held: Vec<Piece>,
    /// Frames that were mapped, and may be cached.
    gone: Vec<Pfn>,
    /// Frames that have another owner, and what he has written there.
    given: Vec<(Pfn, u64)>,
}

impl<W: World> User<'_, '_, W> {
    fn mm(&self) -> &Mm<W::Machine> {
        self.run.mm()
    }

    fn round(&mut self, round: u64, rng: &mut Rng) -> Result<(), Failure> {
        if self.held.len() < HELD {
            self.map(round, rng)?;
        } else {
            let n = rng.below(self.held.len() as u64) as usize;
            let piece = self.held.swap_remove(n);
            self.unmap(piece)?;
            // Sometimes nearly all: a block of which nothing is used is purged.
            let keep = if rng.below(8) == 0 { 2 } else { HELD };
            while self.held.len() > keep {
                let piece = self.held.swap_remove(0);
                self.unmap(piece)?;
            }
        }
        self.board.visit(self.run, self.cpu, rng)?;
        if round % PERIOD == PERIOD - 1 {
            self.give_away(round)?;
        }
        self.run.did(1);
        Ok(())
    }

    /// Maps a few frames, again and again, and uses them from either side.
    fn map(&mut self, round: u64, rng: &mut Rng) -> Result<(), Failure> {
        let word = Stamp::new(self.cpu as u8, VirtAddr(round * PAGE_SIZE), round as u16).word();
        let pages = if rng.below(3) == 0 { 1 + rng.below(MOST) } else { 64 };
        self.held.try_reserve(1).map_err(|_| none())?;
        let (mm, kind) = (self.run.mm(), rng.below(8));
        if kind == 0 {
            let area = mm.vmalloc(pages * PAGE_SIZE, Backing::Pages)?;
            return self.used(Piece { mapped: Mapped::Memory(area), frames: Vec::new(), word });
        }
        let frames = list_of(1 + rng.below(FRAMES), |_| Ok(mm.alloc(Order::PAGE)?))?;
        let many = list_of(pages, |n| Ok(frames[n as usize % frames.len()]))?;
        let mapped = match kind {
            1 => Mapped::Frames(mm.vmap(&many, KernelProt::Data, MemType::Normal)?),
            _ => Mapped::Ram(mm.vm_map_ram(&many, KernelProt::Data, MemType::Normal)?),
        };
        self.used(Piece { mapped, frames, word })
    }

    /// A new mapping is written and read through; others may read there from now on.
    fn used(&mut self, piece: Piece) -> Result<(), Failure> {
        let start = piece.range().start;
        let result = self.use_all(&piece);
        self.held.push(piece);
        result?;
        self.board.withdraw(self.run, self.cpu);
        self.board.show(self.cpu, start, 0);
        Ok(())
    }

    fn use_all(&self, piece: &Piece) -> Result<(), Failure> {
        let pages = piece.range().pages();
        // The first, the last, and one between.
        for n in [0, pages / 2, pages - 1] {
            let (va, word) = (piece.range().start + n * PAGE_SIZE, piece.word + (n << 48));
            if !self.run.world.kernel_store(va, word) {
                return Err(faulted());
            }
            self.expect_load(va, word)?;
            let Some(pfn) = piece.frames.get(n as usize % piece.frames.len().max(1)) else {
                continue;
            };
            self.expect_frame(*pfn, word)?;
            self.mm().hw.poke(pfn.base(), piece.word);
            self.expect_load(va, piece.word)?;
        }
        Ok(())
    }

    fn expect_load(&self, va: VirtAddr, expected: u64) -> Result<(), Failure> {
        match self.run.world.kernel_load(va) {
            Some(found) if found == expected => Ok(()),
            found => Err(Failure::Kernel { cpu: self.cpu, va, expected, found }),
        }
    }

    fn expect_frame(&self, pfn: Pfn, expected: u64) -> Result<(), Failure> {
        let found = self.mm().hw.peek(pfn.base());
        if found == expected {
            return Ok(());
        }
        Err(Failure::WrongFrame { cpu: self.cpu, at: pfn.base(), expected, found })
    }

    fn unmap(&mut self, piece: Piece) -> Result<(), Failure> {
        if self.board.shows(self.cpu, piece.range().start) {
            self.board.withdraw(self.run, self.cpu);
        }
        let used = self.gone.try_reserve(piece.frames.len()).map_err(|_| none());
        let used = used.and_then(|()| self.use_all(&piece));
        match piece.mapped {
            Mapped::Ram(area) => self.mm().vm_unmap_ram(area),
            Mapped::Frames(area) => self.mm().vunmap(area),
            Mapped::Memory(area) => self.mm().vfree(area),
        }
        used?;
        self.gone.extend(piece.frames);
        Ok(())
    }

    /// Nobody reaches what was unmapped: its frames are somebody else's now.
    fn give_away(&mut self, round: u64) -> Result<(), Failure> {
        self.mm().unmap_aliases();
        self.take_back()?;
        self.given.try_reserve(self.gone.len()).map_err(|_| none())?;
        for pfn in core::mem::take(&mut self.gone) {
            self.mm().hw.note(Note::Unaliased(pfn, Order::PAGE));
            let word = Stamp::new(GIVEN, VirtAddr(pfn.0 * PAGE_SIZE), round as u16).word();
            self.mm().hw.poke(pfn.base(), word);
            self.given.push((pfn, word));
        }
        Ok(())
    }

    /// The other owner finds what he has written, and is done with it.
    fn take_back(&mut self) -> Result<(), Failure> {
        let given = core::mem::take(&mut self.given);
        let checked = given.iter().try_for_each(|(pfn, word)| self.expect_frame(*pfn, *word));
        given.iter().for_each(|(pfn, _)| self.mm().free(*pfn));
        checked
    }

    /// Gives everything back, whatever went wrong before.
    fn end(&mut self) -> Result<(), Failure> {
        self.board.withdraw(self.run, self.cpu);
        let mut result = Ok(());
        while let Some(piece) = self.held.pop() {
            result = result.and(self.unmap(piece));
        }
        result = result.and(self.give_away(0));
        result.and(self.take_back())
    }
}

fn none() -> Failure {
    Failure::Memory(mm::OutOfMemory { order: Order::PAGE })
}

fn faulted() -> Failure {
    Failure::Count { what: "faults at kernel addresses that are mapped", expected: 0, found: 1 }
}
