//! The hardware's walk, and accesses through what it finds.

use crate::memory::Use;
use crate::tlb::Cached;
use crate::{Machine, State};
use abi::{Access, Asid, Level, PAGE_SIZE, Pfn, PhysAddr, VirtAddr};
use pte::{Entry, Leaf};

/// What an access met.
pub(crate) enum Met {
    /// A translation that permits it; the access was made. For loads, the value.
    Done(u64),
    /// A fault.
    Fault,
}

/// Addresses kept for speculation.
const RECENT: usize = 64;

impl State {
    /// Now and then a walker fetches what nobody asked for, or a TLB forgets something.
    pub(crate) fn speculate(&mut self) {
        self.deliver();
        if self.recent.is_empty() || !self.rng.one_in(3) {
            return;
        }
        let cpu = self.rng.below(self.cpus.len() as u64) as usize;
        if let Some((root, asid)) = self.cpus[cpu].user {
            let which = self.rng.below(self.recent.len() as u64) as usize;
            let va = self.recent[which];
            self.walk(cpu, root, asid, va);
        }
        if self.rng.one_in(64) {
            let which = self.rng.next();
            self.cpus[cpu].tlb.evict(which);
        }
    }

    /// Now and then a CPU carries out a TLBI before anybody waits for it.
    fn deliver(&mut self) {
        let issuer = self.rng.below(self.cpus.len() as u64) as usize;
        let Some(&first) = self.cpus[issuer].issued.first() else { return };
        let cpu = self.rng.below(self.cpus.len() as u64) as usize;
        if first.owed >> cpu & 1 != 0 {
            self.cpus[issuer].issued[0].owed &= !(1 << cpu);
            self.carry_out(&first.op, 1 << cpu);
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
            let which = self.rng.below(RECENT as u64) as usize;
            self.recent[which] = va;
        }
    }

    /// Walks from memory or from a cached table descriptor, caches all it reads, and returns the leaf.
    fn walk(&mut self, cpu: usize, root: Pfn, asid: Asid, va: VirtAddr) -> Option<Cached> {
        let (mut table, mut level) = (root, Level::Pgd);
        let known: Vec<_> = self.cpus[cpu].tlb.tables(va, asid).collect();
        let begin = self.rng.below(known.len() as u64 + 1) as usize;
        if let Some(cached) = known.get(begin)
            && let (Some(next), Some(down)) = (cached.table(), cached.level.down())
        {
            (table, level) = (next, down);
        }
        loop {
            let slot = table.base() + 8 * level.index(va) as u64;
            let late = self.rng.one_in(2);
            let mut word = self.memory.walk_slot(slot, late)?;
            if let Entry::Leaf(leaf) = pte::decode(level, word)
                && !leaf.is_young()
            {
                // Without the access flag the entry is not cached; hardware may set it.
                if !self.config.caps.hw_af || self.memory.read(slot) != Some(word) {
                    return None;
                }
                word = leaf.made_young().word();
                self.memory.write(slot, word);
            }
            let new =
                Cached { asid, va: va.align_down(level.span()), level, word, since: self.step };
            match pte::decode(level, word) {
                Entry::Table(next) => {
                    self.cpus[cpu].tlb.insert(new);
                    table = next.pfn();
                    level = level.down()?;
                }
                Entry::Leaf(_) => {
                    if let Some(old) = self.cpus[cpu].tlb.insert(new) {
                        let what = format!(
                            "TLB conflict at {va}: {} (step {}) beside {}",
                            pte::decode(old.level, old.word),
                            old.since,
                            pte::decode(level, word),
                        );
                        self.violate(cpu, what);
                    }
                    return Some(new);
                }
                _ => return None,
            }
        }
    }

    /// A user access of CPU `cpu`: by a cached translation or by a new walk, as the seed decides.
    pub(crate) fn access(&mut self, cpu: usize, va: VirtAddr, store: Option<u64>) -> Met {
        let Some((root, asid)) = self.cpus[cpu].user else { return Met::Fault };
        self.remember(va.align_down(PAGE_SIZE));
        let cached: Vec<_> = self.cpus[cpu].tlb.leaves(va, asid).collect();
        let pick = self.rng.below(cached.len() as u64 + 1) as usize;
        let found = match cached.get(pick) {
            Some(&cached) => Some(cached),
            None => self.walk(cpu, root, asid, va),
        };
        let Some(found) = found else { return Met::Fault };
        let Some(leaf) = found.leaf() else { return Met::Fault };
        let access = if store.is_some() { Access::Write } else { Access::Read };
        if !self.permitted(cpu, &found, leaf, access, root, va) {
            return Met::Fault;
        }
        let at = PhysAddr(leaf.pfn().base().0 + va.0 % leaf.level().span());
        if self.memory.use_of(at.pfn()) != Some(Use::Data) {
            let what = format!(
                "{access} of {va} through {} cached at step {}: frame {} is {:?}",
                pte::decode(found.level, found.word),
                found.since,
                at.pfn(),
                self.memory.use_of(at.pfn())
            );
            self.violate(cpu, what);
        }
        let value = match store {
            Some(value) => self.memory.write(at, value),
            None => self.memory.read(at),
        };
        Met::Done(value.unwrap_or(0))
    }

    /// Whether the leaf lets the access through; hardware sets the dirty state where it can.
    fn permitted(
        &mut self,
        cpu: usize,
        found: &Cached,
        leaf: Leaf,
        access: Access,
        root: Pfn,
        va: VirtAddr,
    ) -> bool {
        if access == Access::Read {
            return leaf.permits(access);
        }
        if !leaf.permits(access) {
            return false;
        }
        if leaf.is_dirty() {
            return true;
        }
        if !self.config.caps.hw_dirty {
            return false;
        }
        // The update goes to the descriptor in memory, and only if that still permits it.
        let Some(slot) = self.slot_of(root, va, found.level) else { return false };
        let Some(word) = self.memory.read(slot) else { return false };
        let Entry::Leaf(now) = pte::decode(found.level, word) else { return false };
        if now.pfn() != leaf.pfn() || !now.permits(access) {
            return false;
        }
        let dirty = now.made_dirty().word();
        self.memory.write(slot, dirty);
        self.cpus[cpu].tlb.insert(Cached { word: dirty, since: self.step, ..*found });
        true
    }

    /// Where the descriptor of `level` for `va` is now, if every table on the way is there.
    fn slot_of(&self, root: Pfn, va: VirtAddr, level: Level) -> Option<PhysAddr> {
        let mut table = root;
        for &at in level.above() {
            let slot = table.base() + 8 * at.index(va) as u64;
            let Entry::Table(next) = pte::decode(at, self.memory.read(slot)?) else { return None };
            table = next.pfn();
        }
        Some(table.base() + 8 * level.index(va) as u64)
    }
}

impl Machine {
    /// A load or store of the calling CPU at a user address.
    pub(crate) fn user_access(&self, va: VirtAddr, store: Option<u64>) -> Met {
        self.step();
        let cpu = self.me();
        self.state().access(cpu, va, store)
    }
}
