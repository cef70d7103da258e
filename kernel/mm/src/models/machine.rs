//! CPUs for loom's threads, and the memory of descriptors. Caches no translation: what is explored is what
//! software sees of software.

use crate::{Hardware, MemMap, Mm, PageDesc, Slot};
use abi::{Asid, CpuId, Order, PAGE_SIZE, Pfn, PhysAddr, PhysRange};
use core::cell::Cell;
use pte::{Caps, Scope, Target, Tlbi};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::vec::Vec;
use sync::atomic::{AtomicU64, Ordering, fence};
use sync::{Cpu, IrqState, Wait, WaitKey};

/// Where RAM begins, and how much there is.
const RAM: Pfn = Pfn(0x4_0000);
const PAGES: u64 = 12;

loom::thread_local! {
    static CPU: Cell<u16> = Cell::new(0);
}

/// Makes the calling thread a CPU.
pub(super) fn be(cpu: u16) {
    CPU.with(|id| id.set(cpu));
}

/// Two CPUs with memory where words appear when they are first stored to.
pub(super) struct Machine {
    words: Mutex<BTreeMap<PhysAddr, Arc<AtomicU64>>>,
    /// A plain store of a descriptor is what Linux makes of it; the memory manager is promised more.
    plain_stores: bool,
    /// How often each CPU has dropped all translations.
    dropped: [AtomicU64; 2],
}

/// A memory manager on such a machine, with stores that keep the promise or do not.
pub(super) fn boot(plain_stores: bool) -> Arc<Mm<Machine>> {
    let descs: Vec<_> = (0..PAGES).map(|_| PageDesc::blank()).collect();
    let machine = Machine {
        words: Mutex::new(BTreeMap::new()),
        plain_stores,
        dropped: [AtomicU64::new(0), AtomicU64::new(0)],
    };
    let mm = Mm::new(machine, MemMap::new(RAM, descs.leak()));
    mm.frames.add(&mm.hw, PhysRange::new(RAM.base(), (RAM + PAGES).base()));
    Arc::new(mm)
}

impl Machine {
    /// How often CPU `cpu` has dropped all translations.
    pub(super) fn dropped(&self, cpu: usize) -> u64 {
        self.dropped[cpu].load(Ordering::Relaxed)
    }

    fn words(&self) -> MutexGuard<'_, BTreeMap<PhysAddr, Arc<AtomicU64>>> {
        self.words.lock().expect("nobody panics with it")
    }

    fn known(&self, at: PhysAddr) -> Option<Arc<AtomicU64>> {
        self.words().get(&at).cloned()
    }

    fn word(&self, at: PhysAddr) -> Arc<AtomicU64> {
        self.words().entry(at).or_insert_with(|| Arc::new(AtomicU64::new(0))).clone()
    }

    fn store_order(&self) -> Ordering {
        if self.plain_stores { Ordering::Relaxed } else { Ordering::Release }
    }
}

impl Cpu for Machine {
    fn id(&self) -> CpuId {
        CpuId(CPU.with(Cell::get))
    }
    fn irq_save(&self) -> IrqState {
        IrqState(0)
    }
    fn irq_restore(&self, _: IrqState) {}
    fn relax(&self) {
        loom::thread::yield_now();
    }
}

impl Wait for Machine {
    fn wait(&self, _: WaitKey, ready: &mut dyn FnMut() -> bool) {
        while !ready() {
            self.relax();
        }
    }
    fn wake(&self, _: WaitKey) {}
}

impl Hardware for Machine {
    fn caps(&self) -> &Caps {
        &Caps::CORTEX_A72
    }
    fn nr_cpus(&self) -> usize {
        2
    }
    fn load(&self, slot: Slot) -> u64 {
        self.known(slot.0).map_or(0, |word| word.load(Ordering::Acquire))
    }
    fn store(&self, slot: Slot, word: u64) {
        self.word(slot.0).store(word, self.store_order());
    }
    fn swap(&self, slot: Slot, word: u64) -> u64 {
        self.word(slot.0).swap(word, self.store_order())
    }
    fn compare_exchange(&self, slot: Slot, old: u64, new: u64) -> Result<(), u64> {
        let word = self.word(slot.0);
        word.compare_exchange(old, new, self.store_order(), Ordering::Relaxed).map(drop)
    }
    fn fill(&self, first: Slot, n: usize, word: u64, step: u64) {
        for i in 0..n {
            let word = word.wrapping_add(step.wrapping_mul(i as u64));
            self.word(first.ahead(i).0).store(word, Ordering::Relaxed);
        }
    }
    fn peek(&self, at: PhysAddr) -> u64 {
        self.known(at).map_or(0, |word| word.load(Ordering::Relaxed))
    }
    fn poke(&self, at: PhysAddr, value: u64) {
        self.word(at).store(value, Ordering::Relaxed);
    }
    fn zero(&self, pfn: Pfn, order: Order) {
        let block = PhysRange::from_size(pfn.base(), order.pages() * PAGE_SIZE);
        let known = self.words();
        let inside: Vec<_> =
            known.range(block.start..block.end).map(|(_, at)| at.clone()).collect();
        drop(known);
        for word in inside {
            word.store(0, Ordering::Relaxed);
        }
    }
    fn copy(&self, _: Pfn, _: Pfn, _: Order) {
        panic!("no scenario copies");
    }
    fn tlbi(&self, op: Tlbi) {
        if op.target == Target::All {
            self.dropped[self.id().index()].fetch_add(1, Ordering::Relaxed);
        }
    }
    fn publish(&self, _: Scope) {
        fence(Ordering::Release);
    }
    fn complete(&self, _: Scope) {
        fence(Ordering::SeqCst);
    }
    fn synchronize_context(&self) {}
    fn switch_user(&self, _: Pfn, _: Asid) {}
    fn switch_user_off(&self) {}
}
