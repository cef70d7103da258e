//! A machine of one CPU whose memory is a map: what is not in it is zero. Nothing is cached, so nothing
//! is ever stale.

extern crate std;

use crate::{Hardware, MemMap, Mm, PageDesc, Slot};
use abi::{Asid, CpuId, Order, PAGE_SIZE, Pfn, PhysAddr, PhysRange};
use pte::{Caps, Scope, Tlbi};
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};
use std::vec::Vec;
use sync::{Cpu, IrqState, Wait, WaitKey};

/// Where RAM begins.
const RAM: Pfn = Pfn(0x4_0000);

pub(crate) struct Plain {
    words: Mutex<BTreeMap<PhysAddr, u64>>,
}

/// A memory manager with `pages` of such memory.
pub(crate) fn boot(pages: u64) -> Mm<Plain> {
    let descs: Vec<_> = (0..pages).map(|_| PageDesc::blank()).collect();
    let mm = Mm::new(Plain { words: Mutex::new(BTreeMap::new()) }, MemMap::new(RAM, descs.leak()));
    mm.frames.add(&mm.hw, PhysRange::new(RAM.base(), (RAM + pages).base()));
    mm
}

impl Plain {
    fn words(&self) -> MutexGuard<'_, BTreeMap<PhysAddr, u64>> {
        self.words.lock().expect("nobody panics with it")
    }
}

impl Cpu for Plain {
    fn id(&self) -> CpuId {
        CpuId(0)
    }
    fn irq_save(&self) -> IrqState {
        IrqState(0)
    }
    fn irq_restore(&self, _: IrqState) {}
    fn relax(&self) {
        panic!("nobody else is there to wait for");
    }
}

impl Wait for Plain {
    fn wait(&self, _: WaitKey, ready: &mut dyn FnMut() -> bool) {
        assert!(ready(), "nobody else is there to wait for");
    }
    fn wake(&self, _: WaitKey) {}
}

impl Hardware for Plain {
    fn caps(&self) -> &Caps {
        &Caps::CORTEX_A72
    }
    fn nr_cpus(&self) -> usize {
        1
    }
    fn load(&self, slot: Slot) -> u64 {
        self.peek(slot.0)
    }
    fn store(&self, slot: Slot, word: u64) {
        self.poke(slot.0, word);
    }
    fn swap(&self, slot: Slot, word: u64) -> u64 {
        self.words().insert(slot.0, word).unwrap_or(0)
    }
    fn compare_exchange(&self, slot: Slot, old: u64, new: u64) -> Result<(), u64> {
        let mut words = self.words();
        let now = words.entry(slot.0).or_insert(0);
        if *now != old {
            return Err(*now);
        }
        *now = new;
        Ok(())
    }
    fn peek(&self, at: PhysAddr) -> u64 {
        self.words().get(&at).copied().unwrap_or(0)
    }
    fn poke(&self, at: PhysAddr, value: u64) {
        self.words().insert(at, value);
    }
    fn zero(&self, pfn: Pfn, order: Order) {
        let block = PhysRange::from_size(pfn.base(), order.pages() * PAGE_SIZE);
        let mut words = self.words();
        let gone: Vec<_> = words.range(block.start..block.end).map(|(at, _)| *at).collect();
        for at in gone {
            words.remove(&at);
        }
    }
    fn copy(&self, from: Pfn, to: Pfn, order: Order) {
        for at in (0..order.bytes()).step_by(8) {
            self.poke(to.base() + at, self.peek(from.base() + at));
        }
    }
    fn tlbi(&self, _: Tlbi) {}
    fn publish(&self, _: Scope) {}
    fn complete(&self, _: Scope) {}
    fn synchronize_context(&self) {}
    fn switch_user(&self, _: Pfn, _: Asid) {}
    fn switch_user_off(&self) {}
}
