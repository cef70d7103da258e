//! The memory manager's hardware trait on the simulated machine.

use crate::coroutines::takes_part;
use crate::rules::How;
use crate::schedule::Go;
use crate::stale::Stale;
use crate::timeline::{Concern, What};
use crate::{CpuState, Issued, Machine, State};
use abi::{Asid, Order, PAGE_SIZE, Pfn, PhysAddr, VirtRange};
use mm::{Hardware, Levels, Note, Slot};
use pte::{Caps, Scope, Target, Tlbi};

/// After so many refusals of one exchange nobody will ever let it through: whoever could has had time.
const HOPELESS: u32 = 100_000;

impl State {
    /// One bit for each CPU in `scope` of `cpu`.
    fn in_scope(&self, cpu: usize, scope: Scope) -> u64 {
        match scope {
            Scope::Local => 1 << cpu,
            Scope::InnerShareable => {
                let hears = |(_, state): &(usize, &CpuState)| !state.away;
                let cpus = self.cpus[..self.config.cpus].iter().enumerate().filter(hears);
                cpus.fold(0, |set, (cpu, _)| set | 1 << cpu)
            }
        }
    }

    /// Issues a TLBI. A CPU without level hints does not read them.
    fn issue(&mut self, cpu: usize, mut op: Tlbi) {
        self.timeline.add(self.step, cpu, What::Issued(op));
        let caps = &self.config.caps;
        match &mut op.target {
            Target::Va { hint, .. } if !caps.ttl => *hint = None,
            Target::Range { .. } if !caps.tlb_range => {
                self.violate(
                    cpu,
                    &Concern::default(),
                    format!("{op} on a CPU without FEAT_TLBIRANGE"),
                );
            }
            _ => {}
        }
        let cpus = self.in_scope(cpu, op.scope);
        self.issue_to(cpu, op, cpus);
    }

    /// Issues a TLBI for `cpus`.
    pub(crate) fn issue_to(&mut self, cpu: usize, op: Tlbi, cpus: u64) {
        let at = self.tick();
        self.cpus[cpu].issued.push(Issued { op, at, cpus, owed: cpus });
    }

    /// Makes `cpu`'s stores visible.
    fn publish(&mut self, cpu: usize, scope: Scope) {
        self.walks_after(cpu);
        if self.hidden.publish(cpu, scope) {
            self.recheck_visibility(None);
        }
    }

    /// A barrier that finishes what `cpu` has issued, and makes its stores visible. With the erratum,
    /// operations are finished for certain only when another one follows that is waited for.
    fn barrier(&mut self, cpu: usize, scope: Scope) {
        if !self.config.caps.repeat_tlbi {
            return self.complete(cpu, scope);
        }
        let here = &mut self.cpus[cpu];
        let late = std::mem::take(&mut here.issued);
        if !late.is_empty() {
            here.issued = std::mem::replace(&mut here.doubtful, late);
        }
        self.complete(cpu, scope);
    }

    /// Finishes what `cpu` has issued, and makes its stores visible.
    pub(crate) fn complete(&mut self, cpu: usize, scope: Scope) {
        // A barrier of a smaller scope finishes only the operations of that scope.
        let (done, rest): (Vec<_>, Vec<_>) = std::mem::take(&mut self.cpus[cpu].issued)
            .into_iter()
            .partition(|issued| scope == Scope::InnerShareable || issued.op.scope == Scope::Local);
        self.cpus[cpu].issued = rest;
        for Issued { op, at, cpus, owed } in done {
            for (n, state) in self.cpus.iter_mut().enumerate() {
                if owed >> n & 1 != 0 {
                    state.tlb.invalidate(&op);
                }
            }
            self.forget_ahead(cpu, &op, cpus);
            let runs = self.runs_ahead(cpu);
            let kernel = self.tables.kernel();
            let ahead = |stale: &Stale| {
                stale.cpu == cpu && runs == Some(stale.asid) && Some(stale.cached().space) != kernel
            };
            self.lose(&op, at, cpus, ahead);
            if runs.is_some() && cpus >> cpu & 1 != 0 {
                self.cpus[cpu].unsynchronized.push((op, at));
            }
            self.stays.completed(&op, at, cpus);
        }
        if self.hidden.made_sure(cpu) {
            self.recheck_visibility(None);
        }
        self.publish(cpu, scope);
    }

    /// `cpus` have carried out an operation that was issued at `at`: what it covers they have no more, but for
    /// what they have worked out by it.
    fn lose(&mut self, op: &Tlbi, at: u64, cpus: u64, ahead: impl Fn(&Stale) -> bool) {
        let (memory, stays) = (&self.memory, &self.stays);
        let walking =
            |stale: &Stale| stays.has_run(stale.cached().space, stale.cpu, stale.asid, at);
        let resident = |stale: &Stale| memory.read(stale.slot) == Some(stale.cached().word);
        self.stale.completed(op, at, cpus, walking, resident, ahead);
    }

    /// `cpu` synchronises its context: its next instructions go by what its own operations have left.
    pub(crate) fn synchronize(&mut self, cpu: usize) {
        self.cpus[cpu].ahead.clear();
        for (op, at) in std::mem::take(&mut self.cpus[cpu].unsynchronized) {
            self.lose(&op, at, 1 << cpu, |_| false);
        }
    }

    /// An exchange found `words.1` in place of `words.0`. How often now in a row, with nothing new.
    fn refused(&mut self, cpu: usize, slot: PhysAddr, words: (u64, u64)) -> u32 {
        let last = &mut self.cpus[cpu].refused;
        let again = (last.0, last.1) == (slot, words);
        *last = (slot, words, if again { last.2 + 1 } else { 1 });
        last.2
    }

    /// Fills a block with zeros. A page may be about to become a table: to walkers its zeros are stores
    /// like any.
    fn clear(&mut self, cpu: usize, pfn: Pfn, order: Order) {
        if order == Order::PAGE {
            for at in (0..PAGE_SIZE).step_by(8).map(|offset| pfn.base() + offset) {
                if let Some(old @ 1..) = self.memory.read(at) {
                    let now = self.tick();
                    self.hidden.stored(cpu, at, old, now);
                }
            }
        }
        self.memory.clear(pfn, order);
    }
}

impl Machine {
    /// Does something at once, some time after what came before and some time before what comes next:
    /// other CPUs may see the moment between it and the caller's next own store.
    fn between<R>(&self, body: impl FnOnce(&mut State, usize) -> R) -> R {
        self.step();
        let result = body(&mut self.state(), self.me());
        self.step();
        result
    }
}

/// Tells who watches of an access to an entry. The host has nothing at such low addresses.
fn touch(at: PhysAddr, writes: bool) {
    sync::atomic::touch(at.0 as usize, writes);
}

impl Hardware for Machine {
    fn caps(&self) -> &Caps {
        &self.inner().caps
    }

    fn nr_cpus(&self) -> usize {
        self.inner().cpus
    }

    fn load(&self, slot: Slot) -> u64 {
        touch(slot.0, false);
        self.between(|state, cpu| state.load_slot(cpu, slot.0))
    }

    fn store(&self, slot: Slot, word: u64) {
        touch(slot.0, true);
        self.between(|state, cpu| state.store_slot(cpu, slot.0, word, How::Store));
    }

    fn swap(&self, slot: Slot, word: u64) -> u64 {
        touch(slot.0, true);
        self.between(|state, cpu| state.store_slot(cpu, slot.0, word, How::Exchange))
    }

    fn compare_exchange(&self, slot: Slot, old: u64, new: u64) -> Result<(), u64> {
        touch(slot.0, true);
        let (result, refusals) = self.between(|state, cpu| {
            let now = state.load_slot(cpu, slot.0);
            if now != old {
                return (Err(now), state.refused(cpu, slot.0, (old, now)));
            }
            state.store_slot(cpu, slot.0, new, How::Exchange);
            (Ok(()), 0)
        });
        if refusals > HOPELESS {
            self.go(
                Go::Never,
                &format!("exchanges {old:#x} at slot {}, which is not there", slot.0),
            );
        }
        result
    }

    fn fill(&self, first: Slot, n: usize, word: u64, step: u64) {
        self.step();
        let mut state = self.state();
        for i in 0..n {
            let word = word.wrapping_add(step.wrapping_mul(i as u64));
            touch(first.ahead(i).0, true);
            state.store_slot(self.me(), first.ahead(i).0, word, How::Fill);
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
        self.state().clear(self.me(), pfn, order);
    }

    fn copy(&self, from: Pfn, to: Pfn, order: Order) {
        self.step();
        self.state().memory.copy(from, to, order);
    }

    fn make_executable(&self, pfn: Pfn, order: Order) {
        self.step();
        let mut state = self.state();
        state.memory.make_executable(pfn, order);
        state.synchronize(self.me());
    }

    fn tlbi(&self, op: Tlbi) {
        self.step();
        self.state().issue(self.me(), op);
    }

    fn publish(&self, scope: Scope) {
        self.step();
        let mut state = self.state();
        let step = state.step;
        state.timeline.add(step, self.me(), What::Published(scope));
        state.publish(self.me(), scope);
    }

    fn complete(&self, scope: Scope) {
        self.between(|state, cpu| {
            state.timeline.add(state.step, cpu, What::Completed(scope));
            state.barrier(cpu, scope);
        });
    }

    fn synchronize_context(&self) {
        self.step();
        let mut state = self.state();
        let step = state.step;
        state.timeline.add(step, self.me(), What::Synchronized);
        state.synchronize(self.me());
    }

    fn switch_user(&self, root: Pfn, asid: Asid) {
        self.between(|state, cpu| state.enter(cpu, root, asid));
    }

    fn switch_user_off(&self) {
        self.between(State::leave);
    }

    fn copied(&self) -> Levels {
        self.inner().copied
    }

    fn sync_kernel(&self, range: VirtRange) {
        self.between(|state, _| state.sync_copies(range));
    }

    fn note(&self, note: Note) {
        let cpu = self.me();
        let mut state = self.state();
        match note {
            Note::FrameAlloc(pfn, order) => state.frame_alloc(cpu, pfn, order),
            Note::FrameFree(pfn, order) => state.frame_free(cpu, pfn, order),
            Note::TableAlloc(pfn, level) => state.table_alloc(cpu, pfn, level),
            Note::TableFree(pfn, level) => state.table_free(cpu, pfn, level),
            Note::Done(root, range) => state.kernel_done(cpu, root, range),
            Note::Quarantine(range) => state.tables.set_quarantine(range),
            Note::Unaliased(pfn, order) => state.unaliased(cpu, pfn, order),
            Note::CpuLeaves | Note::CpuJoins => {
                let away = note == Note::CpuLeaves;
                let step = state.step;
                state.timeline.add(step, cpu, What::Hears(!away));
                state.cpus[cpu].away = away;
            }
            Note::Walk(va) => {
                state.remember(va.align_down(PAGE_SIZE));
                if takes_part() {
                    state.decisions.tempted(cpu);
                }
            }
            // Between what a walk found and its counting on it is where folios are split and freed.
            Note::Count(_) => {
                drop(state);
                self.step();
            }
        }
    }
}
