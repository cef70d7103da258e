//! Accesses of programs: by a cached translation or by a new walk, as is decided; and the history
//! that hardware writes for them.
//!
//! Source: Arm ARM, "Hardware management of the dirty state", "Data accesses permissions".

use crate::State;
use crate::descriptors::first_of_run;
use crate::memory::Use;
use crate::timeline::Concern;
use abi::{Access, Asid, Level, Order, PAGE_SIZE, Pfn, VirtAddr};
use oracle::tlb::{Cached, RUN, Reach};
use pte::Entry;
use pte::bits::{AF, RDONLY, USER, WRITE};
use stress::Rng;

/// What an access met.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Met {
    /// A translation that permits it; the access was made. For loads, the value.
    Done(u64),
    /// A fault.
    Fault,
}

/// Whether a translation lets an access through.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Right {
    Yes,
    No,
    /// Hardware would have to write to a descriptor that is not there any more: it walks again.
    Changed,
}

impl State {
    /// A user access of CPU `cpu`.
    pub(crate) fn access(&mut self, cpu: usize, va: VirtAddr, store: Option<u64>) -> Met {
        let Some((root, asid)) = self.cpus[cpu].user else { return Met::Fault };
        self.remember(va.align_down(PAGE_SIZE));
        let tlb = &self.cpus[cpu].tlb;
        let options = tlb.leaves(va, asid).count() as u64 + 1;
        let pick = self.decisions.outcome(options, |rng| rng.below(options));
        let known = tlb.leaves(va, asid).nth(pick as usize).map(|held| held.cached);
        let found = match known {
            Some(cached) => Some(cached),
            None => self.walk(cpu, root, asid, va),
        };
        let Some(mut found) = found else { return Met::Fault };
        match self.permitted(cpu, &found, store.is_some(), (root, asid), va) {
            Right::Yes => {}
            Right::No => return Met::Fault,
            Right::Changed => match self.make_dirty_now(cpu, (root, asid), va) {
                Some(now) => found = now,
                None => return Met::Fault,
            },
        }
        let pfn = found.frame(va);
        let used = self.memory.use_of(pfn);
        if used != Some(Use::Data) {
            let access = if store.is_some() { Access::Write } else { Access::Read };
            let what = format!("{access} of {va} through {found}: frame {pfn} is {used:?}");
            self.violate(cpu, &Concern::frames(pfn, Order::PAGE).and(&found), what);
        }
        let at = pfn.base() + va.0 % PAGE_SIZE;
        let value = match store {
            Some(value) => {
                self.memory.note_write(pfn);
                self.memory.write(at, value)
            }
            None => self.memory.read(at),
        };
        Met::Done(value.unwrap_or(0))
    }

    /// Whether the translation lets the access through; hardware sets the dirty state where it can.
    fn permitted(
        &mut self,
        cpu: usize,
        found: &Cached,
        write: bool,
        (root, asid): (Pfn, Asid),
        va: VirtAddr,
    ) -> Right {
        if found.word & USER == 0 {
            return Right::No;
        }
        if !write || found.word & RDONLY == 0 {
            return Right::Yes;
        }
        if !self.config.caps.hw_dirty || found.word & WRITE == 0 {
            return Right::No;
        }
        match self.make_dirty(cpu, found, (root, asid), va) {
            true => Right::Yes,
            false => Right::Changed,
        }
    }

    /// As [`State::make_dirty`], for whatever is in the tables at this moment; the translation that it makes.
    fn make_dirty_now(
        &mut self,
        cpu: usize,
        (root, asid): (Pfn, Asid),
        va: VirtAddr,
    ) -> Option<Cached> {
        let space = self.tables.space(root)?;
        let (mut table, mut level) = (root, Level::Pgd);
        loop {
            let slot = table.base() + 8 * level.index(va) as u64;
            let word = self.memory.read(slot)?;
            match pte::decode(level, word) {
                Entry::Table(next) => (table, level) = (next.pfn(), level.down()?),
                Entry::Leaf(leaf) => {
                    let may = word & USER != 0 && (word & RDONLY == 0 || word & WRITE != 0);
                    if !may || !leaf.is_young() && !self.config.caps.hw_af {
                        return None;
                    }
                    let dirty = (word | AF) & !RDONLY;
                    if dirty != word {
                        self.mark(cpu, slot, level, word, dirty);
                    }
                    let new = Cached::of(space, asid, va, level, dirty, false)?;
                    self.keep(cpu, new, slot);
                    return Some(new);
                }
                _ => return None,
            }
        }
    }

    /// Writes the dirty state to the descriptor that is there now, if that still permits it. Of a run,
    /// any member will do.
    fn make_dirty(
        &mut self,
        cpu: usize,
        found: &Cached,
        (root, asid): (Pfn, Asid),
        va: VirtAddr,
    ) -> bool {
        let level = found.level;
        let Some(own) = self.walk_to(cpu, root, asid, va, level) else { return false };
        let (mut slot, mut va) = (own, va.align_down(level.span()));
        if found.reach == Reach::Run {
            let luck = |rng: &mut Rng| if rng.one_in(2) { 1 + rng.below(RUN) } else { 0 };
            if let Some(member) = self.decisions.outcome(1 + RUN, luck).checked_sub(1) {
                slot = first_of_run(own) + 8 * member;
                va = found.va + member * level.span();
            }
        }
        let word = self.memory.read(slot).unwrap_or(0);
        let Entry::Leaf(leaf) = pte::decode(level, word) else { return false };
        let wanted = AF | USER | WRITE;
        let same = leaf.pfn() == found.frame(va)
            && leaf.is_contiguous() == (found.word & pte::bits::CONT != 0);
        if !same || word & wanted != wanted {
            return false;
        }
        let mut dirty = word & !RDONLY;
        if word & RDONLY != 0 {
            dirty = self.mark(cpu, slot, level, word, dirty);
        }
        let run = found.reach == Reach::Run;
        if let Some(new) = Cached::of(found.space, asid, va, level, dirty, run) {
            self.keep(cpu, new, slot);
        }
        true
    }
}
