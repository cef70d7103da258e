//! A block of RAM that plays a device: mapped at kernel addresses by pages and by blocks, by turns.

use crate::run::{Failure, Run};
use crate::stamp::Stamp;
use crate::world::World;
use abi::{Order, PAGE_SIZE, PMD_SIZE, Pfn, PhysRange, VirtAddr};
use mm::vmalloc::{Area, Io};
use mm::{Hardware, VmallocError};

/// Pages of the block that carry a stamp.
const STAMPED: [u64; 6] = [0, 1, 7, 8, 255, 511];
/// Blocks of addresses that one mapping has at most, all of the same memory.
pub(super) const MOST: usize = 3;
/// Pages that are taken and given back where a table may have been.
const REUSED: usize = 4;
/// What looks like a page's descriptor and leads to nobody's memory.
const BAIT: u64 = 0x40_0000_0000_0703;

/// The memory, and who has it.
pub(super) struct Device<'r, 'w, W: World> {
    run: &'r Run<'w, W>,
    cpu: usize,
    block: Pfn,
}

impl<'r, 'w, W: World> Device<'r, 'w, W> {
    /// Takes a block for this CPU; none if there is none now.
    pub(super) fn new(run: &'r Run<'w, W>, cpu: usize) -> Option<Self> {
        let block = run.mm().alloc(Order::PMD).ok()?;
        let device = Self { run, cpu, block };
        for page in STAMPED {
            run.mm().hw.poke((block + page).base(), device.stamp(page));
        }
        Some(device)
    }

    /// Gives the block back, mapped nowhere.
    pub(super) fn give_back(self) {
        self.run.mm().free(self.block);
    }

    /// Uses so many blocks of addresses by pages, gives them up, and uses blocks: at the same addresses, unless
    /// somebody else has them by then.
    pub(super) fn promote(&self, blocks: usize) -> Result<(), Failure> {
        let whole = PhysRange::from_size(self.block.base(), PMD_SIZE);
        // Each begins a page further on: no block fits.
        let cut = whole.start + PAGE_SIZE;
        let (long, short) = (PhysRange::new(cut, whole.end), PhysRange::new(whole.start, cut));
        let turned: [PhysRange; 2 * MOST] =
            core::array::from_fn(|n| if n % 2 == 0 { long } else { short });
        self.visit(&turned[..2 * blocks], 1)?;
        // Addresses are handed out again only when they are in no TLB.
        self.run.mm().unmap_aliases();
        self.visit(&[whole; MOST][..blocks], 0)?;
        self.take_tables();
        self.run.did(1);
        Ok(())
    }

    /// Maps the chunks, of which the first begins `first` pages into the block, checks what is there, and takes the
    /// mapping back. Without memory for it, or room, nothing.
    fn visit(&self, chunks: &[PhysRange], first: u64) -> Result<(), Failure> {
        let area = match self.run.mm().ioremap_chunks(chunks, Io::MEMORY) {
            Ok(area) => area,
            Err(VmallocError::OutOfMemory(_)) => {
                self.run.world.yield_now();
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        };
        let checked = self.check(&area, first);
        self.run.mm().iounmap(area);
        checked
    }

    fn check(&self, area: &Area, first: u64) -> Result<(), Failure> {
        let pages = Order::PMD.pages();
        for block in 0..area.range().bytes() / PMD_SIZE {
            for page in STAMPED {
                let place = (page + pages - first) % pages;
                let va = area.range().start + block * PMD_SIZE + place * PAGE_SIZE;
                self.expect(va, self.stamp(page))?;
                self.run.world.kernel_store(va + 8, self.stamp(page));
            }
        }
        Ok(())
    }

    fn expect(&self, va: VirtAddr, expected: u64) -> Result<(), Failure> {
        let found = self.run.world.kernel_load(va);
        let wrong = Failure::Kernel { cpu: self.cpu, va, expected, found };
        if found == Some(expected) { Ok(()) } else { Err(wrong) }
    }

    /// Takes pages that may have been tables a moment ago, and fills them with what a walker would follow.
    fn take_tables(&self) {
        let mm = self.run.mm();
        let pages: [Option<Pfn>; REUSED] = core::array::from_fn(|_| mm.alloc(Order::PAGE).ok());
        for page in pages.into_iter().flatten() {
            (0..PAGE_SIZE).step_by(64).for_each(|at| mm.hw.poke(page.base() + at, BAIT));
            mm.free(page);
        }
    }

    fn stamp(&self, page: u64) -> u64 {
        Stamp::new(self.cpu as u8, VirtAddr(page * PAGE_SIZE), 1).word()
    }
}
