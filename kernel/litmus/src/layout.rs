//! Names become numbers.
//!
//! A layout says where the pages of a test's variables are, virtual and physical, where its tables are, and
//! where its threads' code is. From that follows every number that a test can name, and every word that
//! memory holds when it begins: [`Layout::value`], [`Layout::memory`].
//!
//! Whoever makes one keeps these rules: pages of one group are neighbours in their order, virtually and
//! physically, and begin at a multiple of a contiguous set; the offset of the first one in a block of any
//! level that the test maps is the same in both; different groups share no level-3 table; each table is a
//! page of its own; no data page's address is a table's linear address.

use crate::test::{
    Descriptor, EntryId, EntryName, Holder, Observed, Operand, Output, Test, ThreadId, Value, Var,
};
use abi::{Level, PAGE_SHIFT, PAGE_SIZE, Pfn, PhysAddr, VirtAddr};
use alloc::{collections::BTreeMap, vec::Vec};
use pte::{MemType, bits, regs};

/// Where everything is.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Layout {
    /// Each variable's page, by [`Var`].
    pub pages: Vec<Page>,
    /// Each table, found by [`Layout::table`].
    pub tables: Vec<TablePage>,
    /// What must be added to a table's physical address to reach it with a load or store.
    pub linear: u64,
    /// The address of each thread's first instruction, by [`ThreadId`].
    pub code: Vec<u64>,
}

/// A variable's page.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Page {
    /// Its address.
    pub va: VirtAddr,
    /// The frame that it has at the beginning.
    pub frame: PhysAddr,
}

/// A table's page.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct TablePage {
    /// Whose.
    pub holder: Holder,
    /// Of which level its entries are.
    pub level: Level,
    /// The first address that it translates; zero for tables that belong to no space.
    pub first: VirtAddr,
    /// Where it is.
    pub at: PhysAddr,
}

/// The bytes that a table of `level` translates.
const fn reach(level: Level) -> u64 {
    level.span() * abi::ENTRIES as u64
}

/// A word of memory at the beginning of a test.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Word {
    /// Where, physically.
    pub at: PhysAddr,
    /// In bytes: 4 or 8.
    pub width: u64,
    /// What.
    pub value: u64,
}

impl Layout {
    /// The law's own: groups a gigabyte apart, tables above, code above that; physical addresses of tables
    /// are their linear ones.
    #[must_use]
    #[inline(never)]
    pub fn law(test: &Test) -> Self {
        const DATA: u64 = 0x40_0000_0000;
        const FRAMES: u64 = 0x80_0000_0000;
        const TABLES: u64 = 0x100_0000_0000;
        const CODE: u64 = 0x200_0000_0000;
        let mut taken: BTreeMap<usize, u64> = BTreeMap::new();
        let mut layout = Self::default();
        for variable in &test.variables {
            let nth = taken.entry(variable.group).or_insert(0);
            let offset = Level::Pud.span() * variable.group as u64 + PAGE_SIZE * *nth;
            *nth += 1;
            layout
                .pages
                .push(Page { va: VirtAddr(DATA + offset), frame: PhysAddr(FRAMES + offset) });
        }
        let mut next = TABLES;
        let mut page = || {
            next += PAGE_SIZE;
            PhysAddr(next)
        };
        layout.add_tables(test, &mut page);
        layout.code = (0..test.threads.len() as u64).map(|thread| CODE + (thread << 20)).collect();
        layout
    }

    /// Takes a page for each table that the test has, from `page`, which never runs out.
    #[inline(never)]
    pub fn add_tables(&mut self, test: &Test, page: &mut dyn FnMut() -> PhysAddr) {
        for space in 0..test.spaces.len() {
            let holder = Holder::Space(space);
            for var in 0..self.pages.len() {
                for level in Level::ALL {
                    let first = self.pages[var].va.align_down(reach(level));
                    if !self.tables.iter().any(|t| t.is(holder, level, first)) {
                        self.tables.push(TablePage { holder, level, first, at: page() });
                    }
                }
            }
        }
        for table in 0..test.tables.len() {
            let (holder, first) = (Holder::Table(table), VirtAddr(0));
            self.tables.push(TablePage { holder, level: Level::Pte, first, at: page() });
        }
    }

    /// The physical address of the table in which `holder` has the entries of `level` for `variable`.
    #[must_use]
    pub fn table(&self, holder: Holder, level: Level, variable: Var) -> Option<PhysAddr> {
        let first = match holder {
            Holder::Space(_) => self.pages.get(variable)?.va.align_down(reach(level)),
            Holder::Table(_) => VirtAddr(0),
        };
        let found = |table: &&TablePage| match holder {
            Holder::Space(_) => table.is(holder, level, first),
            Holder::Table(_) => table.holder == holder,
        };
        self.tables.iter().find(found).map(|table| table.at)
    }

    /// The physical address of a descriptor.
    #[must_use]
    pub fn entry(&self, entry: EntryName) -> Option<PhysAddr> {
        let table = self.table(entry.within, entry.level, entry.variable)?;
        let index = entry.level.index(self.pages.get(entry.variable)?.va);
        Some(table + 8 * index as u64)
    }

    /// The physical address of a space's root.
    #[must_use]
    pub fn root(&self, space: usize) -> Option<PhysAddr> {
        // Of whatever variable, or of none: there is one.
        let is_root = |t: &&TablePage| (t.holder, t.level) == (Holder::Space(space), Level::Pgd);
        self.tables.iter().find(is_root).map(|table| table.at)
    }

    /// A descriptor as the word that memory holds.
    #[must_use]
    #[inline(never)]
    pub fn word(&self, descriptor: &Descriptor) -> u64 {
        let flag = |on, bit| if on { bit } else { 0 };
        let level = descriptor.level;
        let below = level.down().unwrap_or(Level::Pte);
        match descriptor.output {
            Output::None => 0,
            Output::Next(holder) => {
                let table = self.table(holder, below, descriptor.of.unwrap_or(0));
                let word = pte::Table::new(table.map_or(Pfn(0), PhysAddr::pfn)).word();
                word & !bits::VALID | flag(descriptor.valid, bits::VALID)
            }
            Output::Frame(var) => {
                let frame = self.pages.get(var).map_or(0, |page| page.frame.0);
                let index = match descriptor.memory {
                    MemType::Normal => regs::MAIR_NORMAL,
                    MemType::Device => regs::MAIR_DEVICE,
                    MemType::NormalNc => regs::MAIR_NORMAL_NC,
                };
                frame & !(level.span() - 1) & bits::ADDRESS
                    | index << bits::ATTR_SHIFT
                    | bits::SH_INNER
                    | bits::PXN
                    | bits::UXN
                    | flag(descriptor.valid, bits::VALID)
                    | flag(level == Level::Pte, bits::TYPE)
                    | flag(descriptor.af, bits::AF)
                    | flag(!descriptor.db, bits::RDONLY)
                    | flag(descriptor.dbm, bits::WRITE)
                    | flag(descriptor.el0, bits::USER)
                    | flag(descriptor.ng, bits::NG)
                    | flag(descriptor.cont, bits::CONT)
            }
        }
    }

    /// What a name stands for. Names of things that do not exist stand for zero.
    #[must_use]
    pub fn value(&self, test: &Test, value: &Value) -> u64 {
        let page = |var: Var| self.pages.get(var);
        match value {
            Value::Number(number) => *number,
            Value::Address(var, plus) => page(*var).map_or(0, |page| page.va.0.wrapping_add(*plus)),
            Value::Frame(var) => page(*var).map_or(0, |page| page.frame.0),
            Value::Entry(id) => self.entry_address(test, *id),
            Value::Label(thread, place) => self.label(*thread, *place),
            Value::Descriptor(descriptor) => self.word(descriptor),
            Value::Root(space, asid) => {
                let own = test.spaces.get(*space).map_or(0, |space| space.asid);
                let root = self.root(*space).map_or(0, |root| root.0);
                root | u64::from(asid.unwrap_or(own)) << 48
            }
            Value::Operand(operand) => self.operand(operand),
        }
    }

    /// The address by which instructions reach a descriptor.
    #[must_use]
    pub fn entry_address(&self, test: &Test, id: EntryId) -> u64 {
        let entry = test.entries.get(id).and_then(|entry| self.entry(*entry));
        entry.map_or(0, |at| at.0.wrapping_add(self.linear))
    }

    /// The address of an instruction.
    #[must_use]
    pub fn label(&self, thread: ThreadId, place: usize) -> u64 {
        self.code.get(thread).map_or(0, |code| code + 4 * place as u64)
    }

    fn operand(&self, operand: &Operand) -> u64 {
        const GRANULE_4K: u64 = 0b01;
        let va = operand.va.and_then(|var| self.pages.get(var)).map_or(0, |page| page.va.0);
        let number = (va >> PAGE_SHIFT) + operand.plus;
        let (asid, ttl) = (u64::from(operand.asid), u64::from(operand.ttl));
        match operand.range {
            None if ttl == 0 => asid << 48 | number,
            None => asid << 48 | GRANULE_4K << 46 | ttl << 44 | number,
            Some((scale, num)) => {
                let (scale, num) = (u64::from(scale), u64::from(num));
                asid << 48 | GRANULE_4K << 46 | scale << 44 | num << 39 | ttl << 37 | number
            }
        }
    }

    /// Where something observed is in memory, and how wide; `None` for what is not memory.
    #[must_use]
    #[inline(never)]
    pub fn place(&self, test: &Test, observed: &Observed) -> Option<(PhysAddr, u64)> {
        match *observed {
            Observed::Memory(var, element) => {
                let width = test.variables.get(var)?.width;
                Some((self.pages.get(var)?.frame + width * element as u64, width))
            }
            Observed::Entry(id) => Some((self.entry(*test.entries.get(id)?)?, 8)),
            Observed::Register(..) | Observed::Fault(_) => None,
        }
    }

    /// Every word that memory holds at the beginning, in the order of addresses; what is not among them is
    /// zero.
    #[must_use]
    #[inline(never)]
    pub fn memory(&self, test: &Test) -> Vec<Word> {
        let mut words = BTreeMap::new();
        for (var, _) in self.pages.iter().enumerate() {
            for space in 0..test.spaces.len() {
                self.path(space, var, &mut words);
            }
        }
        for (entry, descriptor) in test.entries.iter().zip(&test.initial) {
            if let Some(at) = self.entry(*entry) {
                words.insert(at, (8, self.word(descriptor)));
            }
        }
        for (variable, page) in test.variables.iter().zip(&self.pages) {
            for (nth, value) in variable.initial.iter().enumerate() {
                let at = page.frame + variable.width * nth as u64;
                words.insert(at, (variable.width, self.value(test, value)));
            }
        }
        words.into_iter().map(|(at, (width, value))| Word { at, width, value }).collect()
    }

    /// The descriptors on the way to a variable that are as they are in every space.
    fn path(&self, space: usize, var: Var, words: &mut BTreeMap<PhysAddr, (u64, u64)>) {
        let within = Holder::Space(space);
        for level in Level::ALL {
            let output = match level {
                Level::Pte => Output::Frame(var),
                _ => Output::Next(within),
            };
            let descriptor = Descriptor { output, level, ..Descriptor::page(var) };
            if let Some(at) = self.entry(EntryName { variable: var, level, within }) {
                words.insert(at, (8, self.word(&descriptor)));
            }
        }
    }
}

impl TablePage {
    fn is(&self, holder: Holder, level: Level, first: VirtAddr) -> bool {
        (self.holder, self.level, self.first) == (holder, level, first)
    }
}
