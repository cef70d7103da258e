//! The memory manager's hardware trait on the simulated machine.

use crate::memory::Use;
use crate::{Issued, Machine, State};
use abi::{Asid, CpuId, Level, Order, Pfn, PhysAddr};
use mm::{Hardware, Note, Slot};
use pte::{Caps, Scope, Tlbi};
use sync::{Class, Cpu, IrqState, Wait, WaitKey};

/// Turns of waiting after which nobody will come any more.
const FOREVER: u32 = 1_000_000;

impl Cpu for Machine {
    fn id(&self) -> CpuId {
        CpuId(self.me() as u16)
    }

    fn irq_save(&self) -> IrqState {
        let cpu = self.me();
        let masked = &mut self.state().cpus[cpu].masked;
        *masked += 1;
        IrqState(*masked - 1)
    }

    fn irq_restore(&self, IrqState(before): IrqState) {
        let cpu = self.me();
        let mut state = self.state();
        if state.cpus[cpu].masked != before + 1 {
            state.violate(cpu, "interrupt masks do not nest".into());
        }
        state.cpus[cpu].masked = before;
    }

    fn relax(&self) {
        self.state().step += 1;
        self.inner().baton.hand_over();
    }

    fn lock_wanted(&self, class: Class) {
        self.step();
        let cpu = self.me();
        let mut state = self.state();
        if let Some(&held) = state.cpus[cpu].locks.iter().find(|held| **held >= class) {
            state.violate(cpu, format!("lock order: {class:?} wanted while {held:?} is held"));
        }
        state.cpus[cpu].locks.push(class);
    }

    fn lock_tried(&self, class: Class) {
        let cpu = self.me();
        self.state().cpus[cpu].locks.push(class);
    }

    fn lock_dropped(&self, class: Class) {
        let cpu = self.me();
        let mut state = self.state();
        let locks = &mut state.cpus[cpu].locks;
        if let Some(at) = locks.iter().rposition(|held| *held == class) {
            locks.remove(at);
        }
    }
}

impl Wait for Machine {
    fn wait(&self, _key: WaitKey, ready: &mut dyn FnMut() -> bool) {
        if self.state().cpus[self.me()].masked > 0 {
            self.state().violate(self.me(), "sleeping with interrupts masked".into());
        }
        for _ in 0..FOREVER {
            if ready() {
                return;
            }
            self.relax();
        }
        panic!("deadlock: nobody makes ready what CPU {} waits for", self.me());
    }

    fn wake(&self, _key: WaitKey) {}
}

impl State {
    /// A software access to a table's slot.
    fn check_slot(&mut self, cpu: usize, slot: Slot, how: &str) {
        if !matches!(self.memory.use_of(slot.table()), Some(Use::Table(_))) {
            let now = self.memory.use_of(slot.table());
            let what = format!("{how} of slot {}, whose page is no table: {now:?}", slot.0);
            self.violate(cpu, what);
        }
    }

    /// The frames of a block leave their owner: no CPU may have a translation of them.
    fn check_unreachable(&mut self, me: usize, pfn: Pfn, order: Order) {
        let block = pfn.0..pfn.0 + order.pages();
        let stale = self.cpus.iter().enumerate().find_map(|(cpu, state)| {
            let reaches = |cached: &&crate::tlb::Cached| {
                cached.leaf().is_some_and(|leaf| {
                    let first = leaf.pfn().0;
                    first < block.end && block.start < first + leaf.order().pages()
                })
            };
            state.tlb.iter().find(reaches).map(|cached| (cpu, *cached))
        });
        if let Some((cpu, cached)) = stale {
            let what = format!(
                "frame {pfn} (order {}) freed while cpu {cpu} has {} for {} of asid {} since step {}",
                order.0,
                pte::decode(cached.level, cached.word),
                cached.va,
                cached.asid,
                cached.since
            );
            self.violate(me, what);
        }
    }

    /// A table leaves its owner: no CPU may have a walk-cache entry that points to it.
    fn check_unwalkable(&mut self, me: usize, table: Pfn, level: Level) {
        let stale = self.cpus.iter().enumerate().find_map(|(cpu, state)| {
            let cached = state.tlb.iter().find(|cached| cached.table() == Some(table))?;
            Some((cpu, *cached))
        });
        if let Some((cpu, cached)) = stale {
            let what = format!(
                "{level} table {table} freed while cpu {cpu} has a walk-cache entry to it for {} \
                 of asid {} since step {}",
                cached.va, cached.asid, cached.since
            );
            self.violate(me, what);
        }
    }

    /// Carries out a TLBI on the CPUs whose bits are set.
    pub(crate) fn carry_out(&mut self, op: &Tlbi, cpus: u64) {
        for (cpu, state) in self.cpus.iter_mut().enumerate() {
            if cpus >> cpu & 1 != 0 {
                state.tlb.invalidate(op);
            }
        }
    }
}

impl Hardware for Machine {
    fn caps(&self) -> &Caps {
        &self.inner().caps
    }

    fn nr_cpus(&self) -> usize {
        self.inner().cpus
    }

    fn load(&self, slot: Slot) -> u64 {
        self.step();
        let cpu = self.me();
        let mut state = self.state();
        state.check_slot(cpu, slot, "load");
        let word = state.memory.read(slot.0).unwrap_or(0);
        drop(state);
        // What the caller does with the word may come much later.
        self.step();
        word
    }

    fn store(&self, slot: Slot, word: u64) {
        self.swap(slot, word);
    }

    fn swap(&self, slot: Slot, word: u64) -> u64 {
        self.step();
        let cpu = self.me();
        let mut state = self.state();
        state.check_slot(cpu, slot, "store");
        state.memory.write_slot(cpu, slot.0, word).unwrap_or(0)
    }

    fn compare_exchange(&self, slot: Slot, old: u64, new: u64) -> Result<(), u64> {
        self.step();
        let cpu = self.me();
        let mut state = self.state();
        state.check_slot(cpu, slot, "exchange");
        match state.memory.read(slot.0) {
            Some(now) if now == old => {
                state.memory.write_slot(cpu, slot.0, new);
                Ok(())
            }
            now => Err(now.unwrap_or(0)),
        }
    }

    fn peek(&self, at: PhysAddr) -> u64 {
        self.step();
        self.state().memory.read(at).unwrap_or(0)
    }

    fn poke(&self, at: PhysAddr, value: u64) {
        self.step();
        self.state().memory.write(at, value);
    }

    fn zero(&self, pfn: Pfn, order: Order) {
        self.step();
        let cpu = self.me();
        self.state().memory.fill(cpu, pfn, order);
    }

    fn copy(&self, from: Pfn, to: Pfn, order: Order) {
        self.step();
        let mut state = self.state();
        for offset in (0..order.bytes()).step_by(8) {
            let word = state.memory.read(from.base() + offset).unwrap_or(0);
            state.memory.write(to.base() + offset, word);
        }
    }

    fn tlbi(&self, op: Tlbi) {
        self.step();
        let cpu = self.me();
        let mut state = self.state();
        let owed = match op.scope {
            Scope::Local => 1 << cpu,
            Scope::InnerShareable => (1 << state.cpus.len()) - 1,
        };
        state.cpus[cpu].issued.push(Issued { op, owed });
    }

    fn publish(&self, _scope: Scope) {
        self.step();
        let cpu = self.me();
        self.state().memory.publish(cpu);
    }

    fn complete(&self, scope: Scope) {
        self.step();
        let cpu = self.me();
        let mut state = self.state();
        // A barrier of a smaller scope finishes only the operations of that scope.
        let (done, rest): (Vec<_>, Vec<_>) = std::mem::take(&mut state.cpus[cpu].issued)
            .into_iter()
            .partition(|issued| scope == Scope::InnerShareable || issued.op.scope == Scope::Local);
        state.cpus[cpu].issued = rest;
        for Issued { op, owed } in &done {
            state.carry_out(op, *owed);
        }
        state.memory.publish(cpu);
    }

    fn synchronize_context(&self) {
        self.step();
    }

    fn switch_user(&self, root: Pfn, asid: Asid) {
        self.step();
        let cpu = self.me();
        self.state().cpus[cpu].user = Some((root, asid));
    }

    fn switch_user_off(&self) {
        self.step();
        let cpu = self.me();
        self.state().cpus[cpu].user = None;
    }

    fn note(&self, note: Note) {
        let cpu = self.me();
        let mut state = self.state();
        match note {
            Note::FrameAlloc(pfn, order) => state.memory.set_use(pfn, order, Use::Data),
            Note::FrameFree(pfn, order) => {
                state.check_unreachable(cpu, pfn, order);
                state.memory.set_use(pfn, order, Use::Free);
            }
            Note::TableAlloc(pfn, level) => {
                state.memory.set_use(pfn, Order::PAGE, Use::Table(level));
            }
            Note::TableFree(pfn, level) => state.check_unwalkable(cpu, pfn, level),
            Note::Walk(va) => {
                state.remember(va.align_down(abi::PAGE_SIZE));
                drop(state);
                self.inner().baton.tempt();
            }
            Note::Count(_) => {
                drop(state);
                self.step();
            }
        }
    }
}
