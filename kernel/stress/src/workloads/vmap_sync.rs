//! `vmap-sync`: all CPUs map frames of theirs at kernel addresses, several mappings to a scope of barriers, and use them
//! as soon as the scope is left; others read there. Some mappings fail half way, and into others something comes that
//! maps and uses a page at once, as an interrupt does.
//!
//! Hunted: an address that faults, or shows somebody else's frame, because its entry was stored and not shown; and where
//! spaces have the kernel's upper tables in copies, an address that one of them does not lead to. Each CPU runs a space
//! of its own, and other addresses than before begin now and then below another entry of the first level.

use super::list_of;
use super::notice::Board;
use crate::rng::Rng;
use crate::run::{Failure, Run};
use crate::stamp::Stamp;
use crate::world::World;
use abi::{Level, Order, PAGE_SIZE, Pfn, VirtAddr};
use alloc::vec::Vec;
use core::convert::Infallible;
use mm::vmalloc::{ApplyError, Area, DeferredBarriers, Io, PageChange};
use mm::{Hardware, Mm, Note, Space, VmallocError};
use pte::{KernelProt, MemType};
use sync::Cpu;

/// Frames of the allocator's that a CPU maps.
const FRAMES: u64 = 6;
/// Mappings to a scope, at most.
const MOST: u64 = 10;
/// Where nothing is, on machines without bare memory: that is mapped, looked up, and never touched.
const NOWHERE: Pfn = Pfn(1 << 26);
/// What stamps say that were written in an interrupt, and for others.
const ASIDE: u64 = 0xaaaa;
const SHOWN: u16 = 0x5555;

type Scope<'m, W> = DeferredBarriers<'m, <W as World>::Machine>;

pub(super) fn run<W: World>(run: &Run<'_, W>, watch: &mut dyn FnMut()) -> Result<(), Failure> {
    let board = Board::new(run)?;
    run.on_cpus(watch, |cpu, rng| {
        let space = Space::new(run.mm())?;
        let mapper = Mapper::new(run, cpu, &board)?;
        let (mut round, mut result) = (0, Ok(()));
        while result.is_ok() && run.goes_on(round) {
            result = run.inside(&space, || mapper.round(round, rng));
            round += 1;
        }
        mapper.end();
        result
    })
}

/// An area, and the frames behind its first pages.
struct Piece {
    area: Area,
    frames: Vec<Pfn>,
}

impl Piece {
    fn is_memory(&self) -> bool {
        self.frames.iter().all(|pfn| *pfn < NOWHERE)
    }
}

/// One CPU's part.
struct Mapper<'r, 'w, W: World> {
    run: &'r Run<'w, W>,
    cpu: usize,
    board: &'r Board,
    /// Of the allocator's, and bare ones.
    frames: Vec<Pfn>,
    bare: Vec<Pfn>,
    /// A page that is mapped and taken away in between, with its tables.
    aside: Area,
}

impl<'r, 'w, W: World> Mapper<'r, 'w, W> {
    fn new(run: &'r Run<'w, W>, cpu: usize, board: &'r Board) -> Result<Self, Failure> {
        let mm = run.mm();
        let all = run.world.bare_frames();
        let share = all.bytes() / PAGE_SIZE / run.options.cpus as u64;
        let (first, share) = if share > 0 { (all.start.pfn(), share) } else { (NOWHERE, FRAMES) };
        let bare = list_of(share, |n| Ok(first + cpu as u64 * share + n))?;
        let aside = mm.reserve_area(PAGE_SIZE, PAGE_SIZE)?;
        let mut mapper = Self { run, cpu, board, frames: Vec::new(), bare, aside };
        match mapper.prepare() {
            Ok(()) => Ok(mapper),
            Err(failure) => {
                mapper.end();
                Err(failure)
            }
        }
    }

    fn prepare(&mut self) -> Result<(), Failure> {
        self.frames.try_reserve(FRAMES as usize).map_err(|_| none())?;
        for _ in 0..FRAMES {
            self.frames.push(self.mm().alloc(Order::PAGE)?);
        }
        let keep = &mut |_, _| Ok::<_, Infallible>(PageChange::Keep);
        let tables = self.mm().apply_to_page_range(&self.aside, self.aside.range(), keep);
        tables.map_err(|_| none())
    }

    fn mm(&self) -> &'w Mm<W::Machine> {
        self.run.mm()
    }

    fn round(&self, round: u64, rng: &mut Rng) -> Result<(), Failure> {
        let mut pieces = Vec::new();
        pieces.try_reserve(MOST as usize).map_err(|_| none())?;
        let mut result = self.map_some(&mut pieces, rng);
        for (n, piece) in (0..).zip(&pieces) {
            result = result.and_then(|()| self.use_all(piece, round << 16 | n << 8));
        }
        if result.is_ok() {
            self.show(&pieces, rng);
            result = self.board.visit(self.run, self.cpu, rng);
            self.board.withdraw(self.run, self.cpu);
        }
        pieces.into_iter().for_each(|piece| self.mm().vunmap(piece.area));
        self.run.did(1);
        result
    }

    /// Maps several pieces, none of which is used before all are there.
    fn map_some(&self, pieces: &mut Vec<Piece>, rng: &mut Rng) -> Result<(), Failure> {
        let mut scope = self.mm().defer_barriers();
        for _ in 0..1 + rng.below(MOST) {
            pieces.extend(self.map(&mut scope, rng)?);
        }
        Ok(())
    }

    /// Maps something in one of the ways that there are, or tries to.
    fn map(&self, scope: &mut Scope<'_, W>, rng: &mut Rng) -> Result<Option<Piece>, Failure> {
        let pages = 1 + rng.below(FRAMES);
        let some = |all: &[Pfn]| list_of(pages, |n| Ok(all[n as usize % all.len()]));
        match rng.below(5) {
            0 => {
                let frames = some(&self.frames)?;
                let made = scope.vmap(&frames, KernelProt::Data, MemType::Normal);
                Ok(there(made)?.map(|area| Piece { area, frames }))
            }
            1 => {
                let frames = some(&self.bare)?;
                let io = if frames[0] < NOWHERE { Io::MEMORY } else { Io::DEVICE };
                Ok(there(scope.vmap_pfn(&frames, io))?.map(|area| Piece { area, frames }))
            }
            2 => self.must_be_refused(scope).map(|()| None),
            _ => self.apply(scope, some(&self.frames)?, rng),
        }
    }

    /// Behind the bare frames comes one of the allocator's: tables were made, and nothing is mapped.
    fn must_be_refused(&self, scope: &mut Scope<'_, W>) -> Result<(), Failure> {
        let (last, bare) = (self.frames[0], &self.bare);
        let all = bare.len() as u64 + 1;
        let frames = list_of(all, |n| Ok(bare.get(n as usize).copied().unwrap_or(last)))?;
        let made = scope.vmap_pfn(&frames, Io::MEMORY);
        if made == Err(VmallocError::Managed(last)) {
            return Ok(());
        }
        let Some(area) = there(made)? else { return Ok(()) };
        self.mm().vunmap(area);
        Err(count("frames of the allocator's that are mapped as bare ones"))
    }

    /// Maps frames one by one, far from all else or near; sometimes something fails on the way, sometimes an
    /// interrupt comes.
    fn apply(
        &self,
        scope: &mut Scope<'_, W>,
        mut frames: Vec<Pfn>,
        rng: &mut Rng,
    ) -> Result<Option<Piece>, Failure> {
        let Some(area) = self.reserve(frames.len() as u64, rng)? else { return Ok(None) };
        let (start, pages) = (area.range().start, frames.len() as u64);
        let (fails, interrupts) = (rng.below(2 * pages), rng.below(4 * pages));
        let result = scope.apply_to_page_range(&area, area.range(), &mut |va, _| {
            let n = (va - start) / PAGE_SIZE;
            if n == interrupts {
                self.interrupt().map_err(Some)?;
            }
            let map = PageChange::Map(frames[n as usize], KernelProt::Data, MemType::Normal);
            if n == fails { Err(None) } else { Ok(map) }
        });
        let done = match result {
            Ok(()) => pages,
            // What was mapped before is there.
            Err(ApplyError::Refused(va, None)) => (va - start) / PAGE_SIZE,
            Err(ApplyError::OutOfMemory(_)) => 0,
            Err(error) => {
                self.mm().vunmap(area);
                let ApplyError::Refused(_, Some(failure)) = error else {
                    return Err(count("functions on a CPU's own pages that are refused"));
                };
                return Err(failure);
            }
        };
        frames.truncate(done as usize);
        Ok(Some(Piece { area, frames }))
    }

    /// Now and then below an entry of the first level that nobody has used yet, where there are many.
    fn reserve(&self, pages: u64, rng: &mut Rng) -> Result<Option<Area>, Failure> {
        let (mm, far) = (self.mm(), Level::Pgd.span());
        let is_wide = mm.vmalloc_space().bytes() > 8 * far;
        let align = if is_wide && rng.one_in(4) { far } else { PAGE_SIZE };
        there(mm.reserve_area(pages * PAGE_SIZE, align))
    }

    /// Maps a page, uses it and takes it away, whatever the thread is at.
    fn interrupt(&self) -> Result<(), Failure> {
        let _masked = self.mm().hw.mask_irqs();
        let (range, pfn) = (self.aside.range(), self.frames[0]);
        let change = |to| {
            let to = &mut |_, _| Ok::<_, Infallible>(to);
            let changed = self.mm().apply_to_existing_page_range(&self.aside, range, to);
            changed.map_err(|_| count("errors of a function that has none"))
        };
        change(PageChange::Map(pfn, KernelProt::Data, MemType::Normal))?;
        let used = self.use_page(range.start, pfn, ASIDE);
        change(PageChange::Clear)?;
        used
    }

    fn use_all(&self, piece: &Piece, word: u64) -> Result<(), Failure> {
        (0..).zip(&piece.frames).try_for_each(|(n, pfn)| {
            let va = piece.area.range().start + n * PAGE_SIZE;
            if piece.is_memory() {
                return self.use_page(va, *pfn, word + n);
            }
            let is_found = self.mm().vmalloc_frame(va) == Some(*pfn);
            if is_found {
                Ok(())
            } else {
                Err(count("bare frames that are not where they were mapped"))
            }
        })
    }

    /// Stores a word by an address and finds it in the frame, and the other way round.
    fn use_page(&self, va: VirtAddr, pfn: Pfn, word: u64) -> Result<(), Failure> {
        let word = Stamp::new(self.cpu as u8, va, word as u16).word();
        let wrong = |found| Failure::Kernel { cpu: self.cpu, va, expected: word, found };
        if !self.run.world.kernel_store(va, word) {
            return Err(wrong(None));
        }
        let found = self.mm().hw.peek(pfn.base());
        if found != word {
            return Err(Failure::WrongFrame {
                cpu: self.cpu,
                at: pfn.base(),
                expected: word,
                found,
            });
        }
        self.mm().hw.poke(pfn.base(), !word);
        match self.run.world.kernel_load(va) {
            Some(found) if found == !word => Ok(()),
            found => Err(wrong(found)),
        }
    }

    /// Lets others read a page of one of the pieces.
    fn show(&self, pieces: &[Piece], rng: &mut Rng) {
        let n = rng.below(pieces.len().max(1) as u64) as usize;
        let Some(piece) = pieces.get(n).filter(|piece| piece.is_memory()) else { return };
        let Some(pfn) = piece.frames.last() else { return };
        let at = piece.area.range().start + (piece.frames.len() as u64 - 1) * PAGE_SIZE;
        let word = Stamp::new(self.cpu as u8, at, SHOWN).word();
        self.mm().hw.poke(pfn.base(), word);
        self.board.show(self.cpu, at, word);
    }

    /// Gives everything back.
    fn end(self) {
        let mm = self.mm();
        mm.vunmap(self.aside);
        mm.unmap_aliases();
        for pfn in self.frames {
            mm.hw.note(Note::Unaliased(pfn, Order::PAGE));
            mm.free(pfn);
        }
    }
}

/// What was made, unless there is no memory or no room for it now.
fn there(made: Result<Area, VmallocError>) -> Result<Option<Area>, Failure> {
    match made {
        Err(VmallocError::NoRoom { .. } | VmallocError::OutOfMemory(_)) => Ok(None),
        made => Ok(Some(made?)),
    }
}

fn none() -> Failure {
    Failure::Memory(mm::OutOfMemory { order: Order::PAGE })
}

const fn count(what: &'static str) -> Failure {
    Failure::Count { what, expected: 0, found: 1 }
}
