//! What a test may ask the machine, and make it do, besides running the memory manager on it. Host side:
//! none of it is a step, none of it yields.

use crate::access::Met;
use crate::explore::Record;
use crate::{Machine, State, Told, Violation};
use abi::{Asid, Level, PAGE_SIZE, Pfn, PhysAddr, VirtAddr, VirtRange};
use oracle::tlb::{Cached, Reach};
use pte::{Change, Leaf, Scope};
use sync::Class;

/// A translation that a CPU has, or may have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Translation {
    /// Which CPU.
    pub cpu: usize,
    /// The root table of its space.
    pub root: Pfn,
    /// What it is tagged with.
    pub asid: Asid,
    /// The addresses it translates.
    pub range: VirtRange,
    /// The level of its descriptor.
    pub level: Level,
    /// The leaf it is made of; `None`: it leads to a table.
    pub leaf: Option<Leaf>,
    /// Whether it was taken for sixteen neighbours.
    pub run: bool,
    /// The first frame it leads to.
    pub pfn: Pfn,
}

impl Translation {
    fn of(state: &State, cpu: usize, cached: &Cached) -> Self {
        Self {
            cpu,
            root: state.tables.root(cached.space),
            asid: cached.asid,
            range: cached.range(),
            level: cached.level,
            leaf: cached.leaf(),
            run: cached.reach == Reach::Run,
            pfn: cached.table().unwrap_or_else(|| cached.pfn()),
        }
    }

    /// Whether it leads into the page `pfn`, as memory.
    pub fn leads_to(&self, pfn: Pfn) -> bool {
        let pages = self.range.bytes() / PAGE_SIZE;
        self.leaf.is_some() && self.pfn <= pfn && pfn.0 < self.pfn.0 + pages
    }
}

impl State {
    /// Whether memory still gives all that a stale translation does: then it is only old.
    fn is_given(&self, stale: &crate::stale::Stale) -> bool {
        let cached = stale.cached();
        let Some(place) = self.tables.place(&self.memory, stale.slot) else { return false };
        let word = self.memory.read(stale.slot).unwrap_or(0);
        // Where sizes change without a flush, the old size does as well as the new one.
        let resizes = self.config.caps.bbm == pte::BbmLevel::L2NoAbort;
        let size = if resizes { pte::bits::CONT } else { 0 };
        let change =
            pte::change(cached.level, cached.word & !size, word & !size, &self.config.caps);
        let kept = matches!(change, Change::Free | Change::InPlace);
        kept && place.space == cached.space && cached.range().contains(place.va)
    }
}

impl Machine {
    /// The first rule that was broken, if any.
    pub fn violation(&self) -> Option<Violation> {
        self.state().violation.clone()
    }

    /// The last events, oldest first, whatever they are about.
    pub fn history(&self) -> Vec<Told> {
        self.state().timeline.iter().map(Told::of).collect()
    }

    /// How often it was asked which CPU runs next.
    pub fn turns(&self) -> u64 {
        self.state().decisions.turns()
    }

    /// What was decided and was not dull, if this machine records it.
    pub fn record(&self) -> Record {
        self.state().decisions.record().cloned().unwrap_or_default()
    }

    /// Steps taken so far.
    pub fn steps(&self) -> u64 {
        self.state().step
    }

    /// How often spin locks of a class were waited for, or could have been.
    pub fn locks_taken(&self, class: Class) -> u64 {
        self.state().taken.get(&class).copied().unwrap_or(0)
    }

    /// The slot that leads to a table.
    pub fn parent_of(&self, table: Pfn) -> Option<PhysAddr> {
        let state = self.state();
        state.tables.parent(&state.memory, table)
    }

    /// Everything that the CPUs' TLBs hold at this moment: what the seed let them keep.
    pub fn cached(&self) -> Vec<Translation> {
        let state = self.state();
        let all = state.cpus.iter().enumerate();
        let held = all.flat_map(|(cpu, here)| here.tlb.iter().map(move |held| (cpu, held.cached)));
        held.map(|(cpu, cached)| Translation::of(&state, cpu, &cached)).collect()
    }

    /// What some CPU may have cached and memory gives no more, whatever the seed let it keep: empty
    /// where all that was taken away or narrowed has been flushed. After a roll-over also what is left
    /// under old numbers on CPUs that will drop it before they run anything new.
    pub fn stale(&self) -> Vec<Translation> {
        let state = self.state();
        let gone = |stale: &&crate::stale::Stale| !state.is_given(stale);
        let stale = state.stale.iter().filter(gone);
        stale.map(|stale| Translation::of(&state, stale.cpu, &stale.cached())).collect()
    }

    /// Whether a program has written to a frame through a mapping, since the frame was allocated or
    /// [`Machine::forget_writes`]. Somebody has to know that it is dirty.
    pub fn wrote(&self, pfn: Pfn) -> bool {
        self.state().memory.wrote(pfn)
    }

    /// Takes a frame for clean.
    pub fn forget_writes(&self, pfn: Pfn) {
        self.state().memory.forget_writes(pfn);
    }

    /// Executes every barrier that any CPU may owe: all stores can be seen, all TLBIs are complete.
    pub fn quiesce(&self) {
        let mut state = self.state();
        for cpu in 0..state.cpus.len() {
            let doubtful = std::mem::take(&mut state.cpus[cpu].doubtful);
            state.cpus[cpu].issued.splice(0..0, doubtful);
            state.complete(cpu, Scope::InnerShareable);
            state.synchronize(cpu);
        }
    }

    /// Runs `body(n)` as CPU `n`, for each `n` below `cpus`, until all are done; whether none panicked.
    pub fn run(&self, cpus: usize, body: &(dyn Fn(usize) + Sync)) -> bool {
        self.schedule(cpus, body).iter().all(Result::is_ok)
    }

    /// A load of the calling CPU at a user address; `None`: it faults.
    pub fn user_load(&self, va: VirtAddr) -> Option<u64> {
        self.user_access(va, None)
    }

    /// A store of the calling CPU at a user address; whether it succeeds.
    #[must_use = "a store that faults has stored nothing"]
    pub fn user_store(&self, va: VirtAddr, value: u64) -> bool {
        self.user_access(va, Some(value)).is_some()
    }

    pub(crate) fn user_access(&self, va: VirtAddr, store: Option<u64>) -> Option<u64> {
        match self.state().access(self.me(), va, store) {
            Met::Done(value) => Some(value),
            Met::Fault => None,
        }
    }

    /// The calling CPU walks for an address that nobody accesses; whether it came to a leaf.
    pub fn prefetch(&self, va: VirtAddr) -> bool {
        let (mut state, cpu) = (self.state(), self.me());
        let Some((root, asid)) = state.half(cpu, va) else { return false };
        let found = state.walk(cpu, root, asid, va);
        state.look_ahead(cpu, va, found);
        found.is_some()
    }
}
