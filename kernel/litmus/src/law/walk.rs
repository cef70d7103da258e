//! Translation: the walk of an access, with everything that it may find.
//!
//! Each level's descriptor is one implicit read, which may see any value of its place, old ones too: that is
//! how a TLB or a walk cache shows. What bounds the age of what it sees is the order ([`super::local`],
//! [`super::candidate`]), not the walk. Two things cannot be said so and are choices here: a walk may go
//! through the tables of a space that this CPU was in before, if its ASID was the same or the translation is
//! of all ASIDs; and a contiguous set may be translated by the descriptor of any of its members.

use super::TooLarge;
use super::event::{Effect, Event, Sources, Walk};
use super::run::Runner;
use super::set::{Set, only};
use super::state::State;
use crate::semantics::{Asked, permit};
use crate::test::FaultKind;
use abi::{Asid, Level, PhysAddr, VirtAddr};
use alloc::vec::Vec;
use pte::{CONT_PTES, bits};

/// What became of a translation.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Translated {
    /// Where the access goes.
    To(u64, Set),
    /// Why it goes nowhere.
    Fault(FaultKind, Set),
}

/// A walk under way.
#[derive(Clone, Debug)]
struct Step {
    state: State,
    walk: Set,
    table: u64,
    level: Level,
}

/// What is looked for.
#[derive(Clone, Copy, Debug)]
struct Wanted {
    va: u64,
    asid: Asid,
    asked: Asked,
    address: Sources,
}

/// The last descriptor of a walk.
#[derive(Clone, Copy, Debug)]
struct End {
    location: u64,
    word: u64,
    leaf: bool,
    /// The read that saw it.
    read: Option<u8>,
}

/// Where a thread's `TTBR0_EL1` is, as if it were memory.
pub(crate) const fn context_location(thread: usize) -> u64 {
    u64::MAX - thread as u64
}

const fn root(ttbr: u64) -> u64 {
    ttbr & bits::ADDRESS
}

impl Runner<'_> {
    /// All that a translation of `va` may come to.
    pub(crate) fn translate(
        &self,
        state: &State,
        va: u64,
        asked: Asked,
        address: Sources,
    ) -> Result<Vec<(State, Translated)>, TooLarge> {
        if let Some(word) = self.values.table_word(va) {
            // Tables are the kernel's.
            let direct = if asked.el0 {
                Translated::Fault(FaultKind::Permission, 0)
            } else {
                Translated::To(word, 0)
            };
            return Ok(alloc::vec![(state.clone(), direct)]);
        }
        let mut found = Vec::new();
        for current in state.synced..state.contexts.len() {
            let ttbr = state.contexts[current];
            let wanted = Wanted { va, asid: Asid((ttbr >> 48) as u16), asked, address };
            let start = |state: State, walk, table| Step { state, walk, table, level: Level::Pgd };
            self.down(start(state.clone(), 0, root(ttbr)), &wanted, None, &mut found)?;
            for old in &state.contexts[..current] {
                if root(*old) != root(ttbr) {
                    let mut cached = state.clone();
                    let same = Asid((*old >> 48) as u16) == wanted.asid;
                    if same {
                        let read = self.stale(&mut cached, &wanted, *old, Level::Pgd, false)?;
                        let step = start(cached, only(read), root(*old));
                        self.down(step, &wanted, None, &mut found)?;
                    }
                    let step = start(state.clone(), 0, root(*old));
                    self.down(step, &wanted, Some((*old, same)), &mut found)?;
                }
            }
        }
        Ok(found)
    }

    /// The use of what was cached in a context that is no more.
    fn stale(
        &self,
        state: &mut State,
        wanted: &Wanted,
        ttbr: u64,
        level: Level,
        leaf: bool,
    ) -> Result<usize, TooLarge> {
        let (va, asid, global) = (VirtAddr(wanted.va), wanted.asid, false);
        let effect = Effect::Walk(Walk { va, asid, level, leaf, global, absent: false });
        let (location, value) = (context_location(self.thread), ttbr);
        let address = wanted.address;
        let event = Event { location, value, address, flow: address, ..state.event(effect) };
        state.push(event).map(usize::from)
    }

    /// One level down, or to the end. `old`: the context that a cached leaf is of, and whether its ASID is
    /// the current one.
    fn down(
        &self,
        step: Step,
        wanted: &Wanted,
        old: Option<(u64, bool)>,
        found: &mut Vec<(State, Translated)>,
    ) -> Result<(), TooLarge> {
        let index = step.level.index(VirtAddr(wanted.va)) as u64;
        let own = step.table + 8 * index;
        for word in self.values.of(own) {
            self.take(&step, wanted, own, word, old, found)?;
        }
        // Whatever member of a contiguous set a TLB has read, it may use for all.
        if step.level >= Level::Pmd {
            let set = index & !(CONT_PTES as u64 - 1);
            for member in set..set + CONT_PTES as u64 {
                let location = step.table + 8 * member;
                if location == own {
                    continue;
                }
                for word in self.values.of(location) {
                    let cached = bits::VALID | bits::AF | bits::CONT;
                    if word & cached == cached && is_leaf(step.level, word) {
                        self.take(&step, wanted, location, word, old, found)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// The walk reads `word` at `location`.
    fn take(
        &self,
        step: &Step,
        wanted: &Wanted,
        location: u64,
        word: u64,
        old: Option<(u64, bool)>,
        found: &mut Vec<(State, Translated)>,
    ) -> Result<(), TooLarge> {
        let level = step.level;
        let leaf = is_leaf(level, word);
        let table = word & bits::VALID != 0 && !leaf && level != Level::Pte;
        let mut next = step.clone();
        let mut read = None;
        if !table || self.values.changes(location) {
            let permitted = permit(word, wanted.asked);
            let uncached = Err(FaultKind::AccessFlag) == permitted;
            let (va, asid) = (VirtAddr(wanted.va), wanted.asid);
            let global = leaf && word & bits::NG == 0;
            let absent = !table && (!leaf || uncached);
            let walk = Walk { va, asid, level, leaf: !table, global, absent };
            let address = wanted.address;
            let event = next.state.event(Effect::Walk(walk));
            let event = Event { location, value: word, address, flow: address, ..event };
            let index = next.state.push(event)?;
            next.walk |= only(index.into());
            read = Some(index);
        }
        if table {
            next.table = word & bits::ADDRESS;
            next.level = level.down().unwrap_or(Level::Pte);
            return self.down(next, wanted, old, found);
        }
        if let Some((ttbr, same)) = old {
            // A cached leaf: a valid one, of this ASID or of all.
            let global = word & bits::NG == 0;
            if !leaf || word & bits::AF == 0 || !(same || global) {
                return Ok(());
            }
            let cached = self.stale(&mut next.state, wanted, ttbr, level, true)?;
            if let Effect::Walk(walk) = &mut next.state.events[cached].effect {
                walk.global = global;
            }
            next.walk |= only(cached);
        }
        let end = End { location, word, leaf, read };
        self.end(next, wanted, end, found)
    }

    /// The walk is over at a leaf, or at nothing.
    fn end(
        &self,
        mut step: Step,
        wanted: &Wanted,
        end: End,
        found: &mut Vec<(State, Translated)>,
    ) -> Result<(), TooLarge> {
        let End { location, word, leaf, read } = end;
        let permitted = if leaf { permit(word, wanted.asked) } else { Err(FaultKind::Translation) };
        let end = match permitted {
            Err(kind) => Translated::Fault(kind, step.walk),
            Ok(new) => {
                if new != word {
                    let address = wanted.address;
                    let flow = step.state.flow_of_walk(step.walk);
                    let event = step.state.event(Effect::Update);
                    let event = Event { location, value: new, address, flow, pair: read, ..event };
                    step.state.push(Event { one: true, ..event })?;
                }
                let page = bits::leaf_address(step.level);
                let inside = step.level.span() - 1;
                // A set's members differ in these bits, which come from the address then.
                let own = step.table + 8 * step.level.index(VirtAddr(wanted.va)) as u64;
                let inside =
                    if location == own { inside } else { CONT_PTES as u64 * step.level.span() - 1 };
                let physical = word & page & !inside | wanted.va & inside;
                Translated::To(PhysAddr(physical).0, step.walk)
            }
        };
        found.push((step.state, end));
        Ok(())
    }
}

/// Whether a word translates at this level.
const fn is_leaf(level: Level, word: u64) -> bool {
    let kind = word & (bits::VALID | bits::TYPE);
    match level {
        Level::Pgd => false,
        Level::Pte => kind == bits::VALID | bits::TYPE,
        Level::Pud | Level::Pmd => kind == bits::VALID,
    }
}
