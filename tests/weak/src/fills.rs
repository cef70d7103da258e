//! What TLBs may hold: everything that a walker could have found since what removed it. It is filled at
//! once and forgets nothing by itself; who uses it chooses.
//!
//! What a descriptor is to a TLB, and what removes it, is the model's to say (`oracle::tlb`).

use crate::state::{Held, State};
use crate::{Machine, TooLarge};
use abi::{Asid, Level, PhysAddr, VirtAddr};
use oracle::tlb::{Cached, Reach, SpaceId};
use pte::{Target, Tlbi};
use std::collections::HashMap;

/// A descriptor that a walk has read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Read {
    /// It may be kept.
    Kept(Cached),
    /// It causes a fault, or has hardware write to it: it is what is there.
    Fresh { slot: u64, word: u64, va: VirtAddr, asid: Asid, level: Level },
}

type Key = (u64, u64, u64, u64, u16, u8, u8);

impl Read {
    const fn key(&self) -> Key {
        match self {
            Self::Kept(c) => (0, 0, c.va.0, c.word, c.asid.0, c.level as u8, 1 + c.reach as u8),
            Self::Fresh { slot, word, va, asid, level } => {
                (1, *slot, va.0, *word, asid.0, *level as u8, 0)
            }
        }
    }

    /// Whether a TLBI is about it.
    pub(crate) fn is_covered(&self, op: &Tlbi) -> bool {
        match self {
            Self::Kept(cached) => cached.is_covered(op),
            Self::Fresh { va, asid, level, .. } => match op.target {
                Target::All => true,
                Target::Asid(only) => only == *asid,
                _ => op.covers(*va, *asid, *level, true, false),
            },
        }
    }
}

/// All descriptors met so far, by number.
#[derive(Default)]
pub(crate) struct Universe {
    all: Vec<Read>,
    known: HashMap<Key, u8>,
}

impl Universe {
    pub(crate) fn number(&mut self, read: Read) -> Result<u8, TooLarge> {
        if let Some(known) = self.known.get(&read.key()) {
            return Ok(*known);
        }
        let new = self.all.len();
        if new >= Held::BITS as usize {
            return Err(TooLarge("too many descriptors"));
        }
        self.all.push(read);
        self.known.insert(read.key(), new as u8);
        Ok(new as u8)
    }

    pub(crate) fn read(&self, number: u8) -> &Read {
        &self.all[usize::from(number)]
    }

    /// The kept descriptors of a set, with their numbers.
    pub(crate) fn kept(&self, held: Held) -> impl Iterator<Item = (u8, &Cached)> {
        let known = (0..self.all.len() as u8).filter(move |n| held >> n & 1 != 0);
        known.filter_map(|n| match self.read(n) {
            Read::Kept(cached) => Some((n, cached)),
            Read::Fresh { .. } => None,
        })
    }

    /// Those of a set that a TLBI does not remove.
    pub(crate) fn spared(&self, held: Held, op: &Tlbi) -> Held {
        let kept = (0..self.all.len()).filter(|n| held >> n & 1 != 0);
        kept.filter(|n| !self.all[*n].is_covered(op)).fold(0, |set, n| set | 1 << n)
    }
}

/// The number of all: entries go by ASID, whatever tables they came from.
const ANY_SPACE: SpaceId = SpaceId(0);

/// The root and the ASID of a TTBR0 value.
pub(crate) const fn context(ttbr: u64) -> (Option<u64>, Asid) {
    (Some(ttbr & 0xffff_ffff_f000), Asid((ttbr >> 48) as u16))
}

/// A descriptor that a walk can come to now.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reached {
    pub(crate) slot: u64,
    pub(crate) level: Level,
    pub(crate) word: u64,
    pub(crate) asid: Asid,
}

impl Machine<'_> {
    /// What a walk for `va` can come to, from the root or from a table that `held` knows.
    pub(crate) fn reached(
        &self,
        memory: &[u64],
        held: Held,
        (root, asid): (Option<u64>, Asid),
        va: VirtAddr,
        found: &mut Vec<Reached>,
    ) {
        found.clear();
        let mut add = |table: u64, level: Level| {
            let slot = table + 8 * level.index(va) as u64;
            let word = self.read(memory, slot);
            if !found.iter().any(|reached| reached.slot == slot && reached.level == level) {
                found.push(Reached { slot, level, word, asid });
            }
        };
        if let Some(root) = root {
            add(root, Level::Pgd);
        }
        for (_, cached) in self.universe.kept(held) {
            if cached.serves(asid)
                && cached.translates(va)
                && let (Some(table), Some(down)) = (cached.table(), cached.level.down())
            {
                add(table.base().0, down);
            }
        }
    }

    /// Adds to `held` all that walkers with these contexts can find; `fresh`: also what they cannot keep.
    pub(crate) fn filled(
        &mut self,
        memory: &[u64],
        contexts: &[u64],
        mut held: Held,
        fresh: bool,
    ) -> Result<Held, TooLarge> {
        let mut found = Vec::new();
        loop {
            let before = held;
            let mut begins: Vec<_> = contexts.iter().map(|ttbr| context(*ttbr)).collect();
            // A walk that began in an earlier context goes on from the table that it holds.
            for (_, cached) in self.universe.kept(held) {
                let known = begins.iter().any(|(_, asid)| *asid == cached.asid);
                if !known && cached.reach == Reach::Walk {
                    begins.push((None, cached.asid));
                }
            }
            for (root, asid) in begins {
                for nth in 0..self.pages.len() {
                    let va = self.pages[nth];
                    self.reached(memory, held, (root, asid), va, &mut found);
                    for &Reached { slot, level, word, asid } in &found {
                        let of = |run| Cached::of(ANY_SPACE, asid, va, level, word, run);
                        match (of(false), of(true)) {
                            (Some(one), Some(run)) => {
                                held |= 1 << self.universe.number(Read::Kept(one))?;
                                if run.reach == Reach::Run {
                                    held |= 1 << self.universe.number(Read::Kept(run))?;
                                    held |= self.pieces(&run)?;
                                }
                            }
                            _ if fresh => {
                                let read = Read::Fresh { slot, word, va, asid, level };
                                held |= 1 << self.universe.number(read)?;
                            }
                            _ => {}
                        }
                    }
                }
            }
            if held == before {
                return Ok(held);
            }
        }
    }

    /// The pages that a set gives, each by itself.
    fn pieces(&mut self, run: &Cached) -> Result<Held, TooLarge> {
        let mut held = 0;
        for nth in 0..self.pages.len() {
            let va = self.pages[nth];
            if run.translates(va) {
                held |= 1 << self.universe.number(Read::Kept(run.piece(va)))?;
            }
        }
        Ok(held)
    }

    /// Lets every walker find what is new in the tables.
    pub(crate) fn refill(&mut self, state: &mut State) -> Result<(), TooLarge> {
        for thread in 0..state.threads.len() {
            let contexts = self.contexts(thread, &state.threads[thread]);
            let held = state.threads[thread].tlb;
            state.threads[thread].tlb = self.filled(&state.memory, &contexts, held, false)?;
            // Contexts are in program order, those in flight last.
            let here = &state.threads[thread];
            let settled = here.contexts.len();
            let switches = here.window.iter().enumerate().filter(|(_, flight)| flight.before != 0);
            let switches: Vec<_> = switches.map(|(nth, flight)| (nth, flight.before)).collect();
            for (done, &(nth, before)) in switches.iter().enumerate() {
                let contexts = &contexts[..settled + done];
                let before = self.filled(&state.memory, contexts, before, false)?;
                state.threads[thread].window[nth].before = before;
            }
            for issuer in 0..state.threads.len() {
                for nth in 0..state.threads[issuer].window.len() {
                    let Some(&left) = state.threads[issuer].window[nth].left.get(thread) else {
                        continue;
                    };
                    let left = self.filled(&state.memory, &contexts, left, true)?;
                    state.threads[issuer].window[nth].left[thread] = left;
                }
            }
        }
        Ok(())
    }

    /// Whether a place is a slot of a table.
    pub(crate) fn is_slot(&self, at: u64) -> bool {
        let page = PhysAddr(at).align_down(abi::PAGE_SIZE);
        self.layout.tables.iter().any(|table| table.at == page)
    }
}
