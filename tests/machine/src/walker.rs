//! The hardware's walk: what it reads, what it keeps, what it writes.
//!
//! A walker may walk any address of the space that its CPU runs, at any moment, from the root or from a
//! cached table; it sees what it cannot miss, or something older; it keeps each descriptor it read that
//! causes no fault. Where it finds the contiguous mark it has read one descriptor, and may take the
//! fifteen others for granted.

use crate::State;
use crate::descriptors::first_of_run;
use crate::memory::Use;
use crate::rules::guards;
use crate::timeline::{Concern, What};
use abi::{Asid, Level, Pfn, PhysAddr, VirtAddr};
use oracle::tlb::Cached;
use pte::bits::AF;
use pte::{Entry, Leaf};

/// Addresses kept for speculation.
const RECENT: usize = 64;

impl State {
    /// Now and then a walker fetches what nobody asked for, or a TLB forgets something.
    pub(crate) fn speculate(&mut self) {
        self.deliver();
        if self.recent.is_empty() {
            return;
        }
        let (cpus, recent) = (self.cpus.len() as u64, self.recent.len() as u64);
        let kernel = self.tables.kernel_root();
        let Self { cpus: all, decisions, .. } = self;
        let mut chosen = None;
        let walk = decisions.outcome(1 + cpus * recent, |rng| {
            if !rng.one_in(3) {
                return 0;
            }
            let cpu = rng.below(cpus);
            chosen = Some(cpu as usize);
            let here = &all[cpu as usize];
            let runs = here.user.is_some() || kernel.is_some();
            if runs { 1 + cpu * recent + rng.below(recent) } else { 0 }
        });
        if let Some(walk) = walk.checked_sub(1) {
            let (cpu, va) = ((walk / recent) as usize, self.recent[(walk % recent) as usize]);
            if let Some((root, asid)) = self.half(cpu, va) {
                let found = self.walk(cpu, root, asid, va);
                self.look_ahead(cpu, va, found);
            }
        }
        self.forget(chosen);
    }

    /// Now and then a TLB forgets something: with dice, the one that might have walked.
    fn forget(&mut self, chosen: Option<usize>) {
        let Self { cpus: all, decisions, .. } = self;
        let held: u64 = all.iter().map(|cpu| cpu.tlb.len() as u64).sum();
        let before = |cpu: usize| all[..cpu].iter().map(|cpu| cpu.tlb.len() as u64).sum::<u64>();
        let evicted = decisions.outcome(1 + held, |rng| match chosen {
            Some(cpu) if rng.one_in(64) => {
                all[cpu].tlb.victim(rng.next()).map_or(0, |nth| 1 + before(cpu) + nth as u64)
            }
            _ => 0,
        });
        let Some(mut nth) = evicted.checked_sub(1) else { return };
        for cpu in all {
            match nth.checked_sub(cpu.tlb.len() as u64) {
                Some(rest) => nth = rest,
                None => return cpu.tlb.evict(nth as usize),
            }
        }
    }

    /// Now and then a CPU carries out a TLBI before anybody waits for it.
    fn deliver(&mut self) {
        let cpus = self.cpus.len() as u64;
        let Self { cpus: all, decisions, .. } = self;
        let owes = |issuer: usize, cpu: usize| {
            all[issuer].issued.first().filter(|first| first.owed >> cpu & 1 != 0).copied()
        };
        let any = all.iter().any(|issuer| !issuer.issued.is_empty());
        let done = decisions.outcome(if any { 1 + cpus * cpus } else { 1 }, |rng| {
            let issuer = rng.below(cpus);
            if all[issuer as usize].issued.is_empty() {
                return 0;
            }
            let cpu = rng.below(cpus);
            let owed = owes(issuer as usize, cpu as usize).is_some();
            if owed { 1 + issuer * cpus + cpu } else { 0 }
        });
        let Some(done) = done.checked_sub(1) else { return };
        let (issuer, cpu) = ((done / cpus) as usize, (done % cpus) as usize);
        if let Some(first) = owes(issuer, cpu) {
            self.cpus[issuer].issued[0].owed &= !(1 << cpu);
            self.cpus[cpu].tlb.invalidate(&first.op);
        }
    }

    /// Remembers that `va` is in use somewhere.
    pub(crate) fn remember(&mut self, va: VirtAddr) {
        if self.recent.contains(&va) {
            return;
        }
        if self.recent.len() < RECENT {
            self.recent.push(va);
        } else {
            let which = self.decisions.outcome(RECENT as u64, |rng| rng.below(RECENT as u64));
            self.recent[which as usize] = va;
        }
    }

    /// Walks, keeps all it reads, and returns the leaf.
    pub(crate) fn walk(
        &mut self,
        cpu: usize,
        root: Pfn,
        asid: Asid,
        va: VirtAddr,
    ) -> Option<Cached> {
        let space = self.tables.space(root)?;
        let (mut table, mut level) = self.walk_begins(cpu, root, asid, va);
        loop {
            let slot = self.walked_slot(cpu, table, level, va)?;
            let mut word = self.walked_word(cpu, slot);
            let mut run = false;
            if let Entry::Leaf(leaf) = pte::decode(level, word) {
                if !leaf.is_young() {
                    // Without the access flag it is not cached; hardware may set it, but only on what
                    // is there now.
                    if !self.config.caps.hw_af || self.memory.read(slot) != Some(word) {
                        return None;
                    }
                    word = self.mark(cpu, slot, level, word, word | AF);
                }
                run = leaf.is_contiguous()
                    && self.decisions.outcome(2, |rng| rng.one_in(2).into()) == 1;
                self.check_run(cpu, slot, level, leaf);
            }
            let new = Cached::of(space, asid, va, level, word, run)?;
            self.keep(cpu, new, slot);
            let Some(next) = new.table() else { return Some(new) };
            (table, level) = (next, level.down()?);
        }
    }

    /// Where a walk begins: at the root, or at a cached table.
    fn walk_begins(&mut self, cpu: usize, root: Pfn, asid: Asid, va: VirtAddr) -> (Pfn, Level) {
        let tlb = &self.cpus[cpu].tlb;
        let options = tlb.tables(va, asid).count() as u64 + 1;
        let begin = self.decisions.outcome(options, |rng| rng.below(options));
        let known = tlb.tables(va, asid).nth(begin as usize);
        let next = known.and_then(|held| Some((held.cached.table()?, held.cached.level.down()?)));
        next.unwrap_or((root, Level::Pgd))
    }

    /// The slot for `va` in a table that a walk has come to.
    fn walked_slot(
        &mut self,
        cpu: usize,
        table: Pfn,
        level: Level,
        va: VirtAddr,
    ) -> Option<PhysAddr> {
        let found = self.memory.use_of(table);
        if found == Some(Use::Table(level)) {
            return Some(table.base() + 8 * level.index(va) as u64);
        }
        let what =
            format!("a walk for {va} comes to {table}, which is no {level} table: {found:?}");
        self.violate(cpu, &Concern::frames(table, abi::Order::PAGE), what);
        None
    }

    /// What a walk reads: what is there, or something that it may still see.
    fn walked_word(&mut self, cpu: usize, slot: PhysAddr) -> u64 {
        if let Some(own) = self.in_its_copy(cpu, slot) {
            return own;
        }
        let now = self.memory.read(slot).unwrap_or(0);
        if let Some(copy) = self.copied_word(cpu, slot, now) {
            return copy;
        }
        let olds = self.hidden.olds(cpu, slot).len() as u64;
        if olds == 0 {
            return now;
        }
        // Of the older values, the oldest is the worst as a rule.
        let which = self.decisions.outcome(1 + olds, |rng| match rng.below(4) {
            0 | 1 => 0,
            2 => 1,
            _ => 1 + rng.below(olds),
        });
        if which == 0 {
            self.hidden.walked(cpu, slot);
        }
        let old = which.checked_sub(1);
        old.and_then(|old| self.hidden.olds(cpu, slot).nth(old as usize)).unwrap_or(now)
    }

    /// What the CPU still has of this place from an earlier walk, on whatever way that came here: without
    /// FEAT_nTLBPA it may be taken for what is there.
    fn copied_word(&mut self, cpu: usize, slot: PhysAddr, now: u64) -> Option<u64> {
        let tlb = &self.cpus[cpu].tlb;
        if self.config.caps.ntlbpa || tlb.is_empty() || self.tables.untouched(slot) {
            return None;
        }
        let old = |held: &&oracle::tlb::Held| held.cached.word != now;
        let copies = tlb.copies(slot).filter(old).count() as u64;
        if copies == 0 {
            return None;
        }
        let which = self.decisions.outcome(1 + copies, |rng| rng.below(1 + copies));
        let nth = which.checked_sub(1)? as usize;
        self.cpus[cpu].tlb.copies(slot).filter(old).nth(nth).map(|held| held.cached.word)
    }

    /// Puts a descriptor into a TLB.
    pub(crate) fn keep(&mut self, cpu: usize, new: Cached, slot: PhysAddr) {
        let (is_new, clash) = self.cpus[cpu].tlb.insert(new, slot, self.step, &self.config.caps);
        if is_new {
            self.timeline.add(self.step, cpu, What::Cached(new));
        }
        if let Some(old) = clash {
            let (cached, since) = (old.cached, old.since);
            let what = format!("TLB conflict: {new} beside {cached} (since step {since})");
            self.violate(cpu, &Concern::default().and(&new), what);
        }
    }

    /// Hardware adds to a descriptor's history, in one step with reading it.
    pub(crate) fn mark(
        &mut self,
        cpu: usize,
        slot: PhysAddr,
        level: Level,
        old: u64,
        new: u64,
    ) -> u64 {
        self.memory.write(slot, new);
        if self.hidden.settled(slot) {
            self.recheck_visibility(Some(slot));
        }
        let young = (old ^ new) & AF != 0;
        self.tables.mark(slot, young, old & !AF != new & !AF);
        if young {
            let now = self.tick();
            self.tables.set_since(slot, now);
        }
        self.timeline.add(self.step, cpu, What::Marked { slot, level, old, new });
        new
    }

    /// A walker met the contiguous mark while nobody changes a table of this level: all sixteen have
    /// it. Where the kernel's mappings come and go no lock says whether somebody does.
    fn check_run(&mut self, cpu: usize, slot: PhysAddr, level: Level, leaf: Leaf) {
        let changing = |state: &crate::CpuState| state.locks.iter().any(|c| guards(*c, level));
        if !leaf.is_contiguous()
            || self.memory.read(slot) != Some(leaf.word())
            || self.cpus.iter().any(changing)
        {
            return;
        }
        let place = self.tables.place(&self.memory, slot);
        if place.is_some_and(|place| self.tables.quarantine().is_at(&place)) {
            return;
        }
        if let Some(wrong) = self.judge_run(level, first_of_run(slot)) {
            self.violate(cpu, &Concern::slot(slot, None), format!("walked: {wrong}"));
        }
    }

    /// The slot of `level` for `va` as a walk finds it now.
    pub(crate) fn walk_to(
        &mut self,
        cpu: usize,
        root: Pfn,
        asid: Asid,
        va: VirtAddr,
        level: Level,
    ) -> Option<PhysAddr> {
        let (mut table, mut at) = self.walk_begins(cpu, root, asid, va);
        while at < level {
            let slot = self.walked_slot(cpu, table, at, va)?;
            let word = self.walked_word(cpu, slot);
            let Entry::Table(next) = pte::decode(at, word) else { return None };
            (table, at) = (next.pfn(), at.down()?);
        }
        self.walked_slot(cpu, table, level, va).filter(|_| at == level)
    }
}
