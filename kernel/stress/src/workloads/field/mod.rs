//! Memory that all CPUs share, huge pages if it can be: each page has one CPU that writes it, and
//! everybody reads it. What neighbours write lies in one huge page, so whatever becomes of that, each
//! of them notices.
//!
//! In blocks of 2 MiB. A block that is worn, because what was huge is in pieces, is renewed by whoever finds
//! nobody else in it: its content is thrown away, and it begins as one huge page again.

mod blocks;
mod moves;

pub(crate) use moves::{BATCH, migrate, move_pages};

use super::ledger::{Entry, Ledger};
use super::list_of;
use crate::rng::Rng;
use crate::run::{Failure, Run, WORDS};
use crate::stamp::Stamp;
use crate::world::World;
use abi::{PAGE_SIZE, PMD_SIZE, Pfn, Prot, VirtAddr, VirtRange};
use alloc::vec::Vec;
use core::sync::atomic::AtomicU32;
use mm::{Hardware, Huge, Place, Space};

/// Where the memory is.
const START: VirtAddr = VirtAddr(1 << 38);
/// Pages of a block.
pub(crate) const BLOCK: u64 = PMD_SIZE / PAGE_SIZE;
/// More than these are not needed to keep CPUs apart.
const MOST_BLOCKS: u64 = 16;
/// A block that is being renewed, in place of the number of its visitors.
const CLOSED: u32 = u32::MAX;

/// The memory, its space, and what may be found in it.
pub(crate) struct Field<'m, H: Hardware> {
    pub(crate) space: Space<'m, H>,
    pub(crate) range: VirtRange,
    pub(crate) ledger: Ledger,
    /// The space's number in stamps.
    number: u8,
    cpus: u64,
    /// Whether everybody throws content away.
    fleeting: bool,
    /// Of each block, how many are in it.
    visitors: Vec<AtomicU32>,
}

impl<'m, H: Hardware> Field<'m, H> {
    /// As many blocks as fit into `bytes`, at least one and not many. `number`: the space's in stamps.
    pub(crate) fn new<W: World<Machine = H>>(
        run: &Run<'m, W>,
        bytes: u64,
        number: u8,
    ) -> Result<Self, Failure> {
        let blocks = (bytes / PMD_SIZE).clamp(1, MOST_BLOCKS);
        let range = VirtRange::from_size(START, blocks * PMD_SIZE);
        let space = Space::new(run.mm())?;
        space.map(Place::At(START), range.bytes(), Prot::ReadWrite, Huge::Advised)?;
        let (ledger, cpus) = (Ledger::new(range.pages())?, run.options.cpus as u64);
        let visitors = list_of(blocks, |_| Ok(AtomicU32::new(0)))?;
        Ok(Self { space, range, ledger, number, cpus, fleeting: false, visitors })
    }

    /// The same, of content that anybody may throw away at any time.
    pub(crate) fn fleeting(self) -> Self {
        Self { fleeting: true, ..self }
    }

    /// Whether content may be thrown away at any time, and areas with it.
    pub(crate) const fn is_fleeting(&self) -> bool {
        self.fleeting
    }

    // --- which page --------------------------------------------------------------------------

    /// Any page.
    pub(crate) fn any(&self, rng: &mut Rng) -> u64 {
        rng.below(self.range.pages())
    }

    /// Any page of the same block.
    pub(crate) fn near(&self, page: u64, rng: &mut Rng) -> u64 {
        page - page % BLOCK + rng.below(BLOCK)
    }

    /// A page of the same block that `cpu` writes.
    pub(crate) fn own(&self, page: u64, cpu: usize, rng: &mut Rng) -> u64 {
        let any = rng.below(BLOCK);
        let own = any - any % self.cpus + cpu as u64;
        page - page % BLOCK + if own < BLOCK { own } else { own - self.cpus }
    }

    /// Where a page is.
    pub(crate) fn at(&self, page: u64) -> VirtAddr {
        self.range.start + page * PAGE_SIZE
    }

    /// The block of a page.
    pub(crate) fn block_of(&self, page: u64) -> VirtRange {
        VirtRange::from_size(self.at(page - page % BLOCK), PMD_SIZE)
    }

    // --- content -----------------------------------------------------------------------------

    /// How a version of a page is marked.
    pub(crate) fn stamp(&self, page: u64, version: u16) -> Stamp {
        Stamp::new(self.number, self.at(page), version)
    }

    /// Whether somebody may have found `word` in a page who looked between `before` and `after`.
    pub(crate) fn allows(&self, page: u64, (before, after): (Entry, Entry), word: u64) -> bool {
        let before = if self.fleeting { before.or_zero() } else { before };
        before.allows(after, word, self.stamp(page, 0))
    }

    /// Fails unless a word of the page may be `word`, which was read since `before`, through `space`.
    pub(crate) fn judge<W: World<Machine = H>>(
        &self,
        run: &Run<'_, W>,
        (space, cpu): (&Space<'_, H>, usize),
        (page, before): (u64, Entry),
        word: u64,
    ) -> Result<(), Failure> {
        let after = self.ledger.after(page);
        if self.allows(page, (before, after), word) {
            return Ok(());
        }
        let newest = self.stamp(page, after.next.wrapping_sub(1));
        Err(run.wrong_data(space, cpu, self.at(page), newest, word))
    }

    /// Reads one word of a page, whoever writes it.
    pub(crate) fn look<W: World<Machine = H>>(
        &self,
        run: &Run<'_, W>,
        cpu: usize,
        page: u64,
        rng: &mut Rng,
    ) -> Result<(), Failure> {
        let before = self.ledger.before(page);
        let offset = WORDS[rng.below(WORDS.len() as u64) as usize];
        let word = run.load(&self.space, cpu, self.at(page) + offset)?;
        run.did(1);
        self.judge(run, (&self.space, cpu), (page, before), word)
    }

    /// Reads all words of a page past its mapping, by the frame that is held.
    pub(crate) fn look_behind<W: World<Machine = H>>(
        &self,
        run: &Run<'_, W>,
        cpu: usize,
        page: u64,
        frame: Pfn,
    ) -> Result<(), Failure> {
        for offset in WORDS {
            let before = self.ledger.before(page);
            let word = run.mm().hw.peek(frame.base() + offset);
            self.judge(run, (&self.space, cpu), (page, before), word)?;
        }
        run.did(1);
        Ok(())
    }

    /// Checks a page of `cpu`'s own, and writes its next version.
    pub(crate) fn write<W: World<Machine = H>>(
        &self,
        run: &Run<'_, W>,
        cpu: usize,
        page: u64,
    ) -> Result<(), Failure> {
        let before = self.ledger.before(page);
        for offset in WORDS {
            let word = run.load(&self.space, cpu, self.at(page) + offset)?;
            self.judge(run, (&self.space, cpu), (page, before), word)?;
        }
        self.put(run, cpu, page)
    }

    /// Writes the next version of a page of `cpu`'s own.
    pub(crate) fn put<W: World<Machine = H>>(
        &self,
        run: &Run<'_, W>,
        cpu: usize,
        page: u64,
    ) -> Result<(), Failure> {
        let version = self.ledger.begin(page);
        run.mark(&self.space, cpu, self.at(page), self.stamp(page, version))?;
        self.ledger.finish(page, version);
        run.did(1);
        Ok(())
    }

    /// Writes the next version of a page of `cpu`'s own past its mapping, by the frame that is pinned, as a
    /// device does; the mapping shows it.
    pub(crate) fn write_behind<W: World<Machine = H>>(
        &self,
        run: &Run<'_, W>,
        cpu: usize,
        page: u64,
        frame: Pfn,
    ) -> Result<(), Failure> {
        let version = self.ledger.begin(page);
        let stamp = self.stamp(page, version);
        for offset in WORDS {
            run.mm().hw.poke(frame.base() + offset, stamp.word());
        }
        self.ledger.finish(page, version);
        run.did(1);
        run.check(&self.space, cpu, self.at(page), stamp)
    }

    /// Whether the page has memory of its own: its writer has written it and not thrown it away.
    pub(crate) fn was_written(&self, page: u64) -> bool {
        !self.ledger.before(page).zero
    }
}
