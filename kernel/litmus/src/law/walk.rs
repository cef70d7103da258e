//! Translation: the walk of an access, with everything that it may find.
//!
//! Each level's descriptor is one implicit read, which may see any value of its place, old ones too: that is
//! how a TLB or a walk cache shows. What bounds the age of what it sees is the order ([`super::local`],
//! [`super::candidate`], [`super::tlbi`]), not the walk. Three things cannot be said so and are choices here:
//!
//! * *the unit*: what the CPU has cached of the walk, from the top down to some level; TLBIs ask for the
//!   unit, and below it is read afresh;
//! * *the context*: a walk may use what was cached through the tables of a space that this CPU was in
//!   before, if its ASID was the same or the leaf is of all ASIDs;
//! * *the set*: a contiguous set may be translated by the cached descriptor of any of its members.

use super::TooLarge;
use super::event::{Effect, Event, Sources, Walk};
use super::run::Runner;
use super::set::{Set, each, only};
use super::state::State;
use crate::semantics::{Asked, permit};
use crate::test::FaultKind;
use abi::{Asid, Level, VirtAddr};
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
    /// The level of the first read that is an event: what is above is the same for ever.
    first: Option<Level>,
}

/// What is looked for.
#[derive(Clone, Copy, Debug)]
struct Wanted {
    va: VirtAddr,
    asid: Asid,
    asked: Asked,
    address: Sources,
    /// In a context that is no more: whether its ASID was the current one.
    old: Option<bool>,
}

/// The descriptor that ends a walk.
#[derive(Clone, Copy, Debug)]
struct End {
    location: u64,
    word: u64,
    read: u8,
    /// Whether it is that of another member of a set.
    foreign: bool,
}

/// Where a thread's `TTBR0_EL1` is, as if it were memory.
pub(crate) const fn context_location(thread: usize) -> u64 {
    u64::MAX - thread as u64
}

const fn root(ttbr: u64) -> u64 {
    ttbr & bits::ADDRESS
}

const fn asid(ttbr: u64) -> Asid {
    Asid((ttbr >> 48) as u16)
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

/// Whether a word leads to the next table.
pub(super) fn is_table(level: Level, word: u64) -> bool {
    level != Level::Pte && word & (bits::VALID | bits::TYPE) == bits::VALID | bits::TYPE
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
            let va = VirtAddr(va);
            let wanted = Wanted { va, asid: asid(ttbr), asked, address, old: None };
            let level = Level::Pgd;
            let state = state.clone();
            let step = Step { state, walk: 0, table: root(ttbr), level, first: None };
            self.down(step.clone(), &wanted, &mut found)?;
            for old in step.state.contexts[..current].iter().copied() {
                if root(old) != step.table {
                    let wanted = Wanted { old: Some(asid(old) == wanted.asid), ..wanted };
                    self.down(self.begin_in(&step, &wanted, old)?, &wanted, &mut found)?;
                }
            }
        }
        Ok(found)
    }

    /// A walk in a context that is no more: reading that is its first read.
    fn begin_in(&self, step: &Step, wanted: &Wanted, ttbr: u64) -> Result<Step, TooLarge> {
        let mut step = step.clone();
        let location = context_location(self.thread);
        let read = self.read(&mut step, wanted, location, ttbr, false)?;
        (step.table, step.walk) = (root(ttbr), only(read.into()));
        Ok(step)
    }

    /// An event for the walk's next read.
    fn read(
        &self,
        step: &mut Step,
        wanted: &Wanted,
        location: u64,
        value: u64,
        absent: bool,
    ) -> Result<u8, TooLarge> {
        let Wanted { va, asid, address, .. } = *wanted;
        let walk = Walk { va, asid, level: step.level, leaf: true, global: false, absent };
        let event = step.state.event(Effect::Walk(walk));
        step.first.get_or_insert(step.level);
        let above = step.walk;
        let read = step.state.push(Event {
            location,
            value,
            address,
            flow: address,
            walk: above,
            ..event
        })?;
        step.walk |= only(read.into());
        Ok(read)
    }

    /// One level down, or to the end.
    fn down(
        &self,
        step: Step,
        wanted: &Wanted,
        found: &mut Vec<(State, Translated)>,
    ) -> Result<(), TooLarge> {
        let index = step.level.index(wanted.va) as u64;
        let own = step.table + 8 * index;
        for word in self.values.of(own) {
            if is_table(step.level, word) {
                let mut next = step.clone();
                if self.values.changes(own) {
                    self.read(&mut next, wanted, own, word, false)?;
                }
                next.table = word & bits::ADDRESS;
                next.level = step.level.down().unwrap_or(Level::Pte);
                self.down(next, wanted, found)?;
            } else {
                self.end(&step, wanted, own, word, false, found)?;
            }
        }
        if step.level < Level::Pmd {
            return Ok(());
        }
        let set = index & !(CONT_PTES as u64 - 1);
        for location in (set..set + CONT_PTES as u64).map(|member| step.table + 8 * member) {
            for word in self.values.of(location) {
                let cached = bits::AF | bits::CONT;
                if location != own && is_leaf(step.level, word) && word & cached == cached {
                    self.end(&step, wanted, location, word, true, found)?;
                }
            }
        }
        Ok(())
    }

    /// The walk reads the descriptor that ends it.
    fn end(
        &self,
        step: &Step,
        wanted: &Wanted,
        location: u64,
        word: u64,
        foreign: bool,
        found: &mut Vec<(State, Translated)>,
    ) -> Result<(), TooLarge> {
        let leaf = is_leaf(step.level, word);
        let permitted = if leaf { permit(word, wanted.asked) } else { Err(FaultKind::Translation) };
        let absent = matches!(permitted, Err(FaultKind::Translation | FaultKind::AccessFlag));
        let mut step = step.clone();
        let first = step.first;
        let read = self.read(&mut step, wanted, location, word, absent)?;
        let Effect::Walk(walk) = step.state.events[usize::from(read)].effect else { return Ok(()) };
        let end = End { location, word, read, foreign };
        let global = leaf && word & bits::NG == 0;
        // All of it is cached, or down to some table, or nothing; of old contexts and sets, something must be.
        let here = wanted.old != Some(false);
        if (!absent || (first.is_none() && !foreign)) && (here || global) {
            let unit = Walk { leaf: true, global, ..walk };
            self.finish(&step, wanted, unit, end, permitted, found)?;
        }
        let tables = first.filter(|_| here && !foreign);
        let above = |level: &Level| tables.is_some_and(|first| (first..step.level).contains(level));
        for level in Level::ALL.into_iter().filter(above) {
            let unit = Walk { level, leaf: false, global: false, ..walk };
            self.finish(&step, wanted, unit, end, permitted, found)?;
        }
        Ok(())
    }

    /// The walk is over, with `unit` cached.
    fn finish(
        &self,
        step: &Step,
        wanted: &Wanted,
        unit: Walk,
        end: End,
        permitted: Result<u64, FaultKind>,
        found: &mut Vec<(State, Translated)>,
    ) -> Result<(), TooLarge> {
        let (mut state, level) = (step.state.clone(), step.level);
        for read in each(step.walk) {
            if let Effect::Walk(walk) = &mut state.events[read].effect {
                let inside = unit.leaf || walk.level <= unit.level;
                let absent = walk.absent || !inside;
                let leaf = read == usize::from(end.read);
                let own = Walk { leaf, global: false, absent, ..*walk };
                *walk = if inside { Walk { absent, ..unit } } else { own };
            }
        }
        let end = match permitted {
            Err(kind) => Translated::Fault(kind, step.walk),
            Ok(new) => {
                let End { location, word, read, foreign } = end;
                if new != word {
                    let (address, flow) = (wanted.address, state.flow_of_walk(step.walk));
                    let event = state.event(Effect::Update);
                    let event = Event { location, value: new, address, flow, ..event };
                    state.push(Event { pair: Some(read), one: true, ..event })?;
                }
                // A set's members differ in the address bits that then come from what is translated.
                let pages = if foreign { CONT_PTES as u64 } else { 1 };
                let inside = pages * level.span() - 1;
                let physical = word & bits::leaf_address(level) & !inside | wanted.va.0 & inside;
                Translated::To(physical, step.walk)
            }
        };
        found.push((state, end));
        Ok(())
    }
}
