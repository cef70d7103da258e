//! The kernel's half: one root for all CPUs (or copies of it, see [`crate::copies`]), mappings that hold under every ASID, and accesses that must not
//! fault.
//!
//! Its leaves are global, its walks are cached under whatever ASID a CPU runs meanwhile. What changes
//! there is not guarded by a table's lock.
//!
//! Source: Arm ARM, "Global and process-specific translation table entries"; Linux `flush_tlb_kernel_range`,
//! `__flush_tlb_kernel_pgtable`.

use crate::memory::Use;
use crate::timeline::Concern;
use crate::{Machine, State};
use abi::{Asid, Level, Order, PAGE_SIZE, Pfn, PhysAddr, VirtAddr, VirtRange};
use mm::Slot;
use oracle::tlb::Cached;
use pte::Entry;
use pte::bits::{PXN, RDONLY};

/// The first address of the upper half.
pub(crate) const BASE: u64 = 0xffff << 48;

/// Bytes of sixteen pages.
const SET: u64 = 16 * PAGE_SIZE;

/// Whether an address is in the upper half.
pub(crate) const fn is_kernel(va: VirtAddr) -> bool {
    va.0 >> 63 != 0
}

/// How the program has come to a kernel address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Known {
    /// It has always known it: nothing orders the walk after what made the mapping.
    Before,
    /// It has just loaded it: the walk comes after that load.
    ByPointer,
    /// It tries: there may be nothing, or not that right, or not any more. A fault is an answer.
    Perhaps,
}

/// What the kernel does at an address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Act {
    Load,
    Store(u64),
    Fetch,
}

impl Act {
    /// Whether a translation permits it.
    fn is_permitted(self, by: &Cached) -> bool {
        match self {
            Self::Load => true,
            Self::Store(_) => by.word & RDONLY == 0,
            Self::Fetch => by.word & PXN == 0,
        }
    }

    const fn words(self) -> &'static str {
        match self {
            Self::Load => "load from",
            Self::Store(_) => "store to",
            Self::Fetch => "fetch from",
        }
    }
}

impl State {
    /// What was mapped in a range can be used, if it is one where the kernel's mappings come and go: contiguous sets
    /// are whole. All else that the note says is the oracle's to judge.
    pub(crate) fn kernel_done(&mut self, cpu: usize, root: Pfn, range: VirtRange) {
        let space =
            (self.tables.kernel_root() == Some(root)).then(|| self.tables.kernel()).flatten();
        if !self.tables.quarantine().covers(space, range) {
            return;
        }
        let mut at = range.start.align_down(SET);
        while at < range.end {
            let slot = self.kernel_page_slot(at);
            let wrong = slot.and_then(|slot| self.judge_run(Level::Pte, slot));
            if let (Some(wrong), Some(slot)) = (wrong, slot) {
                self.violate(cpu, &Concern::slot(slot, None), format!("told of: {wrong}"));
            }
            at = at + SET;
        }
    }

    /// The slot of a page in the kernel's half as memory has it, if it is mapped by pages.
    fn kernel_page_slot(&self, va: VirtAddr) -> Option<PhysAddr> {
        let mut table = self.tables.kernel_root()?;
        for &level in Level::Pte.above() {
            let word = self.memory.read(Slot::new(table, level.index(va)).0)?;
            let Entry::Table(next) = pte::decode(level, word) else { return None };
            table = next.pfn();
        }
        Some(Slot::new(table, Level::Pte.index(va)).0)
    }

    /// The table and the ASID that translate `va` on `cpu`.
    pub(crate) fn half(&self, cpu: usize, va: VirtAddr) -> Option<(Pfn, Asid)> {
        match is_kernel(va) {
            false => self.cpus[cpu].user,
            // No device walks the kernel's tables.
            true if cpu >= self.config.cpus => None,
            true => Some((self.tables.kernel_root()?, self.cpus[cpu].asid())),
        }
    }

    /// `cpu` runs the kernel's half, as ever, under `asid` from now on.
    pub(crate) fn enter_kernel(&mut self, cpu: usize, asid: Asid) {
        let Some(space) = self.tables.kernel().filter(|_| cpu < self.config.cpus) else { return };
        self.stays.enter(space, cpu, asid);
        let hides = |cpu, slot, at| self.hidden.hides(cpu, slot, at);
        self.stale.enter(space, cpu, asid, hides);
    }

    /// What translates a kernel address: worked out ahead, cached, or found now.
    fn kernel_translation(&mut self, cpu: usize, va: VirtAddr) -> Option<Cached> {
        let page = va.align_down(PAGE_SIZE);
        let (root, asid) = self.half(cpu, va)?;
        let here = &self.cpus[cpu];
        let ahead = here.ahead.iter().filter(|ahead| ahead.va == page).count() as u64;
        let held = here.tlb.leaves(va, asid).count() as u64;
        let options = 1 + ahead + held;
        let pick = self.decisions.outcome(options, |rng| rng.below(options));
        let here = &self.cpus[cpu];
        match pick.checked_sub(1) {
            None => {
                let found = self.walk(cpu, root, asid, va);
                // With FEAT_ETS2 no fault comes of missing what precedes the access.
                match found {
                    None if self.config.caps.ets2 => self.given(cpu, va),
                    found => found,
                }
            }
            Some(nth) if nth < ahead => {
                here.ahead.iter().filter(|ahead| ahead.va == page).nth(nth as usize)?.found
            }
            Some(nth) => here.tlb.leaves(va, asid).nth((nth - ahead) as usize).map(|h| h.cached),
        }
    }

    /// What memory gives `cpu` for a kernel address.
    fn given(&self, cpu: usize, va: VirtAddr) -> Option<Cached> {
        let space = self.tables.kernel()?;
        let (mut table, mut level) = (self.tables.kernel_root()?, Level::Pgd);
        loop {
            let slot = table.base() + 8 * level.index(va) as u64;
            let word = self.in_its_copy(cpu, slot).or_else(|| self.memory.read(slot))?;
            let here = Cached::of(space, Asid(0), va, level, word, false)?;
            let Some(next) = here.table() else { return Some(here) };
            (table, level) = (next, level.down()?);
        }
    }

    /// Whether the copy of the kernel's first-level table that `cpu` walks has nothing where the kernel's own has.
    fn lacks_entry(&self, cpu: usize, va: VirtAddr) -> bool {
        let Some(root) = self.tables.kernel_root() else { return false };
        let slot = root.base() + 8 * Level::Pgd.index(va) as u64;
        self.in_its_copy(cpu, slot).is_some_and(|own| own == 0)
            && self.memory.read(slot).is_some_and(|word| word != 0)
    }

    fn kernel_access(&mut self, cpu: usize, va: VirtAddr, known: Known, act: Act) -> Option<u64> {
        self.remember(va.align_down(PAGE_SIZE));
        if known != Known::Before {
            let page = va.align_down(PAGE_SIZE);
            self.cpus[cpu].ahead.retain(|ahead| ahead.va != page);
        }
        let given = self.given(cpu, va).filter(|given| act.is_permitted(given));
        let found = self.kernel_translation(cpu, va);
        let words = act.words();
        let Some(found) = found.filter(|found| act.is_permitted(found)) else {
            let why = match (given, found) {
                (Some(_), None) => {
                    "a walk that came before the mapping was made: no barrier, or no context synchronisation, in between"
                }
                (Some(_), Some(_)) => "by rights that memory gives no more",
                (None, _) if self.lacks_entry(cpu, va) => {
                    "the space has no entry of the first level for what the kernel has mapped"
                }
                (None, _) => "nothing is mapped there that permits it",
            };
            if known != Known::Perhaps {
                let what = format!("the kernel's {words} {va} faults: {why}");
                self.violate(cpu, &Concern::default(), what);
            }
            return None;
        };
        let frame = found.frame(va);
        if known != Known::Perhaps && given.is_none_or(|given| given.frame(va) != frame) {
            let what =
                format!("the kernel's {words} {va} goes by {found}, which memory gives no more");
            self.violate(cpu, &Concern::default().and(&found), what);
        } else if let (Act::Store(_), Some(used @ Use::Table(_))) = (act, self.memory.use_of(frame))
        {
            let what = format!("the kernel's {words} {va} writes to {used:?}");
            self.violate(cpu, &Concern::frames(frame, Order::PAGE), what);
        }
        let at = frame.base() + va.0 % PAGE_SIZE;
        match act {
            Act::Store(value) => self.memory.write(at, value),
            Act::Load => self.memory.read(at),
            Act::Fetch => {
                if !self.memory.is_fetched(frame) {
                    let what = format!(
                        "the kernel's {words} {va} gives what was at {frame} before: no maintenance of the caches since"
                    );
                    self.violate(cpu, &Concern::frames(frame, Order::PAGE), what);
                }
                self.memory.read(at)
            }
        }
    }
}

impl Machine {
    /// Makes `root`, a table of the first level, the kernel's on every CPU: TTBR1.
    pub fn run_kernel(&self, root: Pfn) {
        let mut state = self.state();
        state.tables.set_kernel(root);
        for cpu in 0..state.config.cpus {
            let asid = state.cpus[cpu].asid();
            state.enter_kernel(cpu, asid);
        }
    }

    /// A load of the calling CPU's kernel; `None`, and a violation, where it faults.
    pub fn kernel_load(&self, va: VirtAddr, known: Known) -> Option<u64> {
        self.state().kernel_access(self.me(), va, known, Act::Load)
    }

    /// A store of the calling CPU's kernel; whether it did not fault.
    pub fn kernel_store(&self, va: VirtAddr, known: Known, value: u64) -> bool {
        self.state().kernel_access(self.me(), va, known, Act::Store(value)).is_some()
    }

    /// A fetch of the calling CPU's kernel: the word of instructions; `None`, and a violation, where it faults.
    pub fn kernel_fetch(&self, va: VirtAddr, known: Known) -> Option<u64> {
        self.state().kernel_access(self.me(), va, known, Act::Fetch)
    }
}
