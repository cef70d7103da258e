//! The ground that a test runs on: memory of its own, and tables that map that and no more.
//!
//! Each instance of a test has 512 GiB of addresses to itself, with tables of its own below the roots,
//! which all instances share. In them every group of variables has 1 GiB, so that entries of every level
//! belong to one group of one instance. Instructions reach the tables at [`LINEAR`] and the frames
//! at their variables' addresses; besides there is the code, which nobody can write there.

use super::shape;
use crate::threads::Hw;
use abi::{Level, Order, PAGE_SIZE, Pfn, PhysAddr, VirtAddr, VirtRange};
use alloc::vec::Vec;
use arch::litmus::CODE;
use litmus::encode::{Host, Unencodable, encode};
use litmus::layout::{Layout, Page, TablePage};
use litmus::test::{Holder, Test, Value};
use mm::{Hardware, Mm, Slot};
use pte::{Table, bits, regs};

/// What is added to a table's physical address for the address that instructions reach it at.
const LINEAR: u64 = 0x6000_0000_0000;
/// Physical addresses below this have such an address.
const LINEAR_BYTES: u64 = CODE.start.0 - LINEAR;

/// How a thread's own exception return is carried out, and its end.
const HOST: Host =
    Host { stop: arch::litmus::END, eret: arch::litmus::RESUME, elr: arch::litmus::LINK_REGISTER };

/// Why there is no ground for a test.
#[derive(Debug)]
pub(crate) enum GroundError {
    /// No memory.
    OutOfMemory,
    /// A thread's instruction has no word.
    Code(usize, usize, Unencodable),
    /// A block larger than memory comes in.
    Block,
}

/// A test's memory, for so many instances.
pub(crate) struct Ground {
    mm: &'static Mm<Hw>,
    taken: Vec<Pfn>,
    roots: Vec<Pfn>,
    instances: Vec<Instance>,
    code: Vec<u64>,
    /// Whether some of it is accessed past the caches.
    uncached: bool,
    /// Whether pages are written elsewhere than where something is said to be.
    beyond: bool,
}

/// One instance.
pub(crate) struct Instance {
    /// Its numbers.
    pub(crate) layout: Layout,
    /// What its memory holds at the beginning, in whole words.
    words: Vec<(PhysAddr, u64)>,
}

impl Ground {
    /// Memory for `instances` of `test`, or for fewer if there is not so much.
    pub(crate) fn new(
        mm: Option<&'static Mm<Hw>>,
        test: &Test,
        instances: usize,
    ) -> Result<Self, GroundError> {
        let mm = mm.ok_or(GroundError::OutOfMemory)?;
        let order = shape::block_of(test).ok_or(GroundError::Block)?;
        let mut ground = Self {
            mm,
            taken: Vec::new(),
            roots: Vec::new(),
            instances: Vec::new(),
            code: Vec::new(),
            uncached: shape::is_uncached(test),
            beyond: shape::goes_beyond(test),
        };
        for _ in &test.spaces {
            let root = ground.take(Order::PAGE)?;
            ground.roots.push(root);
        }
        ground.write_code(test)?;
        for root in ground.roots.clone() {
            ground.map_table(root)?;
        }
        let wanted = if order == Order::PMD { instances.min(8) } else { instances };
        for nth in 0..wanted {
            match ground.add_instance(test, nth, order) {
                Ok(()) => {}
                Err(_) if nth > 0 => break,
                Err(error) => return Err(error),
            }
        }
        mm.hw.publish(pte::Scope::InnerShareable);
        Ok(ground)
    }

    /// Memory, zeroed, that goes back with the ground.
    fn take(&mut self, order: Order) -> Result<Pfn, GroundError> {
        self.taken.try_reserve(1).map_err(|_| GroundError::OutOfMemory)?;
        let pfn = self.mm.alloc_zeroed(order).map_err(|_| GroundError::OutOfMemory)?;
        self.taken.push(pfn);
        if pfn.base().0 >= LINEAR_BYTES {
            return Err(GroundError::OutOfMemory);
        }
        Ok(pfn)
    }

    /// Each thread's instructions, in pages of their own.
    fn write_code(&mut self, test: &Test) -> Result<(), GroundError> {
        let mut next = CODE.start;
        for (thread, column) in test.threads.iter().enumerate() {
            self.code.push(next.0);
            let pages: Vec<_> = column.code.chunks((PAGE_SIZE / 4) as usize).collect();
            for (nth, instructions) in pages.into_iter().enumerate() {
                let page = self.take(Order::PAGE)?;
                let first = nth * (PAGE_SIZE / 4) as usize;
                let mut words = Vec::new();
                for (at, instruction) in instructions.iter().enumerate() {
                    let word = encode(instruction, first + at, &HOST)
                        .map_err(|why| GroundError::Code(thread, first + at, why))?;
                    words.push(word);
                }
                for (at, pair) in words.chunks(2).enumerate() {
                    let high = pair.get(1).copied().unwrap_or(HOST.stop);
                    let word = u64::from(high) << 32 | u64::from(pair[0]);
                    self.mm.hw.poke(page.base() + 8 * at as u64, word);
                }
                let va = arch::layout::LINEAR_BASE + page.base().0;
                let range = VirtRange::from_size(va, PAGE_SIZE);
                arch::cache::synchronize_text(range, self.mm.hw.caps());
                let rights = bits::USER | bits::RDONLY;
                for root in self.roots.clone() {
                    self.map(root, next, page, rights)?;
                }
                next = next + PAGE_SIZE;
                if next >= CODE.end {
                    return Err(GroundError::OutOfMemory);
                }
            }
        }
        Ok(())
    }

    /// Lets instructions reach a table, in every space; those of EL1.
    fn map_table(&mut self, table: Pfn) -> Result<(), GroundError> {
        let rights = bits::PXN | bits::UXN;
        for root in self.roots.clone() {
            self.map(root, VirtAddr(LINEAR + table.base().0), table, rights)?;
        }
        Ok(())
    }

    /// Maps a page for good.
    fn map(&mut self, root: Pfn, va: VirtAddr, page: Pfn, rights: u64) -> Result<(), GroundError> {
        let mut table = root;
        for level in Level::Pte.above() {
            let slot = Slot::new(table, level.index(va)).0;
            let word = self.mm.hw.peek(slot);
            table = if word == 0 {
                let below = self.take(Order::PAGE)?;
                // Unlike a program's tables, these lead to code that EL1 executes.
                self.mm.hw.poke(slot, Table::new(below).word() & !bits::PXN_TABLE);
                below
            } else {
                PhysAddr(word & bits::ADDRESS).pfn()
            };
        }
        let word = page.base().0
            | regs::MAIR_NORMAL << bits::ATTR_SHIFT
            | bits::SH_INNER
            | bits::AF
            | bits::TYPE
            | bits::VALID
            | rights;
        self.mm.hw.poke(Slot::new(table, Level::Pte.index(va)).0, word);
        Ok(())
    }

    fn add_instance(&mut self, test: &Test, nth: usize, order: Order) -> Result<(), GroundError> {
        let start = Level::Pgd.span() * (nth as u64 + 1);
        let groups = test.variables.iter().map(|variable| variable.group + 1).max().unwrap_or(0);
        let mut layout = Layout { linear: LINEAR, code: self.code.clone(), ..Layout::default() };
        let mut frames: Vec<PhysAddr> = Vec::new();
        for group in 0..groups {
            let block = self.take(order)?.base();
            // Of a block, the frames lie in it as the addresses do in theirs.
            let inside = shape::offset(nth, group, groups) & (order.bytes() - 1);
            frames.push(block + inside);
        }
        let mut members = alloc::vec![0; groups];
        for variable in &test.variables {
            let group = variable.group;
            let va = start + Level::Pud.span() * group as u64 + shape::offset(nth, group, groups);
            let before = PAGE_SIZE * members[group];
            members[group] += 1;
            layout.pages.push(Page { va: VirtAddr(va + before), frame: frames[group] + before });
        }
        for (space, root) in self.roots.iter().enumerate() {
            let (holder, first) = (Holder::Space(space), VirtAddr(0));
            let root = TablePage { holder, level: Level::Pgd, first, at: root.base() };
            layout.tables.push(root);
        }
        // How many tables are missing, and then those.
        let mut count = 0;
        layout.clone().add_tables(test, &mut || {
            count += 1;
            PhysAddr(count * PAGE_SIZE)
        });
        let mut tables = Vec::new();
        for _ in 0..count {
            let table = self.take(Order::PAGE)?;
            self.map_table(table)?;
            tables.push(table.base());
        }
        layout.add_tables(test, &mut || tables.pop().unwrap_or(PhysAddr(0)));
        let words = shape::whole_words(&layout, test);
        self.instances.try_reserve(1).map_err(|_| GroundError::OutOfMemory)?;
        self.instances.push(Instance { layout, words });
        Ok(())
    }

    /// The instances.
    pub(crate) fn instances(&self) -> &[Instance] {
        &self.instances
    }

    /// TTBR0_EL1 for a thread that starts in `space`.
    pub(crate) fn ttbr(&self, test: &Test, space: usize) -> u64 {
        let value = Value::Root(space, None);
        self.instances.first().map_or(0, |instance| instance.layout.value(test, &value))
    }

    /// Gives an instance's memory what it holds at the beginning.
    pub(crate) fn reset(&self, instance: &Instance) {
        if self.beyond {
            for page in &instance.layout.pages {
                self.mm.hw.zero(page.frame.pfn(), Order::PAGE);
            }
        }
        for (at, word) in &instance.words {
            self.mm.hw.poke(*at, *word);
        }
        self.settle(instance);
    }

    /// What an instance's memory holds at a place.
    pub(crate) fn word(&self, at: PhysAddr, bytes: u64) -> u64 {
        let word = self.mm.hw.peek(PhysAddr(at.0 & !7));
        if bytes == 4 { word >> (8 * (at.0 & 4)) & 0xffff_ffff } else { word }
    }

    /// Where frames are accessed past the caches: writes back and drops what the kernel's own accesses
    /// left there.
    pub(crate) fn settle(&self, instance: &Instance) {
        if self.uncached {
            for page in &instance.layout.pages {
                let va = arch::layout::LINEAR_BASE + page.frame.0;
                arch::cache::clean_and_invalidate(VirtRange::from_size(va, PAGE_SIZE));
            }
        }
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        self.taken.iter().for_each(|pfn| self.mm.free(*pfn));
    }
}
